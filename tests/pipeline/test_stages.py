"""The stages one by one: no run gets the score of another run's model, and runs are named by what varies."""

from dataclasses import replace

import pytest

from epochwise.common.errors import InputError, RunError
from epochwise.config.compose import load
from epochwise.pipeline.directories import pipeline_run
from epochwise.pipeline.recorded_run import run_name
from epochwise.pipeline.stages import evaluate_stage, prepare_stage, train_stage


@pytest.mark.slow
def test_no_run_gets_the_score_of_another_runs_model(project):
    cfg = load(["train.epochs=1", "tracking=off"])
    prepare_stage(cfg)
    train_stage(cfg)
    run = pipeline_run()
    first, model = run.read_record(), run.model.read_bytes()
    with pytest.raises(RunError, match="diverged"):
        train_stage(load(["train.learning_rate=1e38", "tracking=off"]))
    assert not run.model.exists()
    with pytest.raises(InputError, match="has no|not FINISHED"):
        evaluate_stage(cfg)
    other = load(["train.epochs=1", "seed=1", "tracking=off"])
    train_stage(other)
    second = run.read_record()
    with pytest.raises(InputError, match="was trained with train.epochs=1, not with what is asked for"):
        evaluate_stage(load(["train.epochs=3", "tracking=off"]))
    run.model.write_bytes(model)
    from epochwise.evaluation.evaluate import load_scorer

    with pytest.raises(InputError, match="is not the model of run"):
        load_scorer(other, run, second)
    assert not run.metrics.exists()
    evaluate_stage(cfg)
    assert run.read_record().token == first.token, "the model's own run has the score"


@pytest.mark.slow
def test_while_evaluate_is_at_work_the_run_is_not_called_published(project, monkeypatch):
    """The results that the server has are not those that are being made; if evaluate fails, it never gets them."""
    from epochwise.evaluation import evaluate

    cfg, run, seen = load(["train.epochs=1", "tracking=off"]), pipeline_run(), []
    prepare_stage(cfg)
    train_stage(cfg)
    run.write_record(replace(run.read_record(), published="http://a server"))

    def fail(*_):
        seen.append(run.read_record().published)
        raise RunError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(evaluate, "evaluate", fail)
        with pytest.raises(RunError, match="the disk is full"):
            evaluate_stage(cfg)
    assert seen == [False]
    assert run.read_record().published is False
    evaluate_stage(cfg)
    assert run.read_record().published is False and run.metrics.is_file()


def test_a_run_is_named_by_what_varies(project):
    overrides = ["experiment=writeup", "train.epochs=10", "model.dense_dropout=0.25", "hydra.verbose=true"]
    assert run_name(overrides) == "epochs=10 dense_dropout=0.25"
