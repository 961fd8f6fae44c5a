"""The stages one by one, as dvc.yaml calls them, with DVC's outputs."""

from dataclasses import replace

from omegaconf import DictConfig

from epochwise.common.directory_locks import lock_directory
from epochwise.common.errors import InputError
from epochwise.common.paths import display_path, find_root, main_root
from epochwise.config.schema import parameters
from epochwise.pipeline.checks import check_network_watched
from epochwise.pipeline.datasets import check_data, describe_changes, describe_data, open_prepared, prepare_once
from epochwise.pipeline.directories import MODELS, PREPARED, REPORTS, check_links, pipeline_run
from epochwise.pipeline.model_record import keep_record, restore_pipeline_record, restore_record
from epochwise.pipeline.recorded_run import print_result, recorded_run, require_published, run_name
from epochwise.pipeline.run_of_epoch import run_of_epoch
from epochwise.runs.lineage import changed_parameters
from epochwise.tracking.address import check_address
from epochwise.tracking.recorder_thread import create_recorder


def prepare_stage(cfg: DictConfig) -> None:
    """Write data/prepared. Raises InputError if the data cannot serve `cfg` or cannot be downloaded."""
    check_links()
    check_data(cfg)
    data = prepare_once(cfg, find_root() / PREPARED)
    print(f"{PREPARED}: {describe_data(data)}", *describe_changes(data), sep="\n")


def train_stage(cfg: DictConfig) -> None:
    """Write models, from data/prepared.

    Raises InputError if the prepared data is not what `cfg` asks for, the network cannot be trained or the tracking
    address is none, and RunError if the training fails.
    """
    check_links()
    root, run = find_root(), pipeline_run()
    check_network_watched(cfg)
    data = open_prepared(root / PREPARED, cfg.prepare)
    changed = changed_parameters(root, cfg)
    name = "run" if changed is None else run_name(changed) or "baseline"
    with recorded_run(cfg, data, run, changed or [], name) as this:
        this.train()
    keep_record(this.record)


def evaluate_stage(cfg: DictConfig) -> None:
    """Write reports, from models and data/prepared. Raises InputError unless models holds a finished training."""
    check_links()
    if cfg.tracking.enabled:
        check_address()
    root, run = find_root(), pipeline_run()
    data = open_prepared(root / PREPARED, cfg.prepare)
    with lock_directory(main_root(), run.path):
        restore_record(run, data)
        record = run.read_finished()
        trained = run.read_config()
        if record.data_sha256 != data.sha256:
            raise InputError(f"{MODELS}: was trained on other data than {PREPARED} holds; run `dvc repro`")
        _check_trained_with(cfg, trained)
        from epochwise.evaluation.evaluate import evaluate, load_scorer  # imports TensorFlow

        run.report.unlink(missing_ok=True)  # of earlier results
        record = replace(record, published=False)  # until MLflow has these results, too
        run.write_record(record)
        recorder = create_recorder(main_root(), cfg, run)
        recorder.start()
        try:
            metrics = evaluate(cfg, data, run, load_scorer(cfg, run, record))
        finally:
            record = recorder.finish(record)
            run.write_record(record)
        keep_record(record)
    print_result(metrics, recorder)
    require_published(cfg, run, recorder)


def evaluate_epoch(cfg: DictConfig, epoch: int) -> None:
    """Take an epoch of the pipeline's run from its state, without training, as a run of its own in outputs/.

    models and reports stay as they are, but for the last epoch, which is the pipeline's own. Raises InputError unless
    models holds a finished training with the parameters of `cfg`, and as `run_of_epoch` does.
    """
    check_links()
    if cfg.tracking.enabled:
        check_address()
    run = pipeline_run()
    restore_pipeline_record(run)
    run.read_finished()
    _check_trained_with(cfg, run.read_config())
    taken = run_of_epoch(run, epoch, cfg.tracking)
    if taken == run:
        evaluate_stage(cfg)
    else:
        print(f"{MODELS} and {REPORTS} stay as they are: epoch {epoch} is in {display_path(taken.path)}")


def _check_trained_with(cfg: DictConfig, trained: DictConfig) -> None:
    wanted, used = (
        {key: value for key, value in parameters(given).items() if key.startswith(("model.", "train."))}
        for given in (cfg, trained)
    )
    other = [f"{key}={used.get(key)}" for key in wanted if used.get(key) != wanted[key]]
    if other:
        raise InputError(f"{MODELS}: was trained with {', '.join(other)}, not with what is asked for; train again")
