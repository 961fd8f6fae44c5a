"""run.json: what is written is what is read, earlier versions are read, and what is no record is refused."""

from dataclasses import replace

import pytest
from conftest import A_RECORD

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / "run.json", A_RECORD)
    record = replace(RunRecord.read(tmp_path / "run.json"), token="t", started=1, model_sha256="m", name="n")
    record.write(tmp_path / "run.json")
    assert RunRecord.read(tmp_path / "run.json") == record
    assert {key: read_json(tmp_path / "run.json")[key] for key in A_RECORD} == A_RECORD


@pytest.mark.parametrize("key", A_RECORD)
def test_a_record_without_a_needed_key_is_refused(tmp_path, key):
    write_json(tmp_path / "run.json", {name: value for name, value in A_RECORD.items() if name != key})
    refusal = f"run.json: not a run's record: {key} is None"
    if key in ("git_commit", "weights_sha256"):  # may be null, and so may be absent
        assert getattr(RunRecord.read(tmp_path / "run.json"), key) is None
    else:
        with pytest.raises(InputError, match=refusal):
            RunRecord.read(tmp_path / "run.json")


DATASET = {"name": "digits", "md5": "m", "sha256": "s", "meta": {}}


@pytest.mark.parametrize(
    "key, wrong",
    [
        ("status", "DONE"),
        ("published", True),
        ("published", None),
        ("epochs", True),
        ("epochs", 2.5),
        ("train_seconds", "3"),
        ("token", 7),
        ("name", None),
        ("failure", ["x"]),
        ("started", "yesterday"),
        ("ended", 1.5),
        ("git_dirty", "no"),
        ("git_diff", False),
        ("git_problem", None),
        ("model_sha256", 1),
        ("mlflow", []),
        ("mlflow", {"params": []}),
        ("mlflow", {"tags": "a=b"}),
        ("mlflow", {"dataset": "digits"}),
        ("mlflow", {"dataset": DATASET | {"md5": 3}}),
        ("mlflow", {"dataset": DATASET | {"meta": []}}),
        ("mlflow", {"dataset": DATASET | {"meta": {"image_shape": "8x8"}}}),
        ("mlflow", {"dataset": DATASET | {"meta": {"classes": "ten"}}}),
        ("mlflow", {"dataset": DATASET | {"meta": {"class_names": "zero"}}}),
        ("mlflow", {"dataset": DATASET | {"meta": {"prepare": {"source": 1}}}}),
        ("identity", {"versions": []}),
        ("identity", {"parameters": None}),
    ],
)
def test_a_record_with_a_wrong_value_is_refused_by_its_name(tmp_path, key, wrong):
    write_json(tmp_path / "run.json", A_RECORD | {key: wrong})
    with pytest.raises(InputError, match=f"run.json: not a run's record: {key}"):
        RunRecord.read(tmp_path / "run.json")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused(tmp_path, value):
    write_json(tmp_path / "run.json", A_RECORD)
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"train_seconds": 1.5', f'"train_seconds": {value}'))
    with pytest.raises(InputError, match=f"run.json: not readable .{value} is no number of JSON"):
        RunRecord.read(tmp_path / "run.json")


@pytest.mark.parametrize(
    "lacking", ["params", "tags", "dataset", "dataset.meta", "dataset.md5", "dataset.meta.classes"]
)
def test_a_record_with_half_of_what_mlflow_shows_is_not_published(tmp_path, lacking):
    meta = {"image_shape": [8, 8, 1], "classes": 10, "prepare": {"source": "digits"}}
    shown = {"params": {}, "tags": {}, "dataset": DATASET | {"meta": meta}}
    whole = A_RECORD | {"token": "t", "name": "n", "started": 1, "mlflow": shown}
    write_json(tmp_path / "run.json", whole)
    RunRecord.read(tmp_path / "run.json").check_publishable(tmp_path / "run.json")
    *parents, last = lacking.split(".")
    inside = shown
    for parent in parents:
        inside = inside[parent]
    del inside[last]
    write_json(tmp_path / "run.json", whole)
    with pytest.raises(InputError, match=f"run.json: not a run's record: mlflow.{lacking} is None"):
        RunRecord.read(tmp_path / "run.json").check_publishable(tmp_path / "run.json")


def test_what_mlflow_cannot_show_is_refused(tmp_path):
    write_json(tmp_path / "run.json", A_RECORD)
    with pytest.raises(InputError, match="lacks token, name, started, mlflow, which MLflow shows"):
        RunRecord.read(tmp_path / "run.json").check_publishable(tmp_path / "run.json")


def test_mlflows_id_replaces_the_token_and_stays(tmp_path):
    write_json(tmp_path / "run.json", A_RECORD | {"run_id": "token", "token": "token"})
    record = RunRecord.read(tmp_path / "run.json")
    assert record.with_mlflow_id(None).run_id == "token"
    assert record.with_mlflow_id("first").with_mlflow_id("second").run_id == "first"


def test_a_run_is_complete_only_with_all_its_results(tmp_path):
    run = RunDirectory(tmp_path)
    write_json(run.record, A_RECORD)
    run.write_history([{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}])
    metrics = ("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy", "test_accuracy", "test_loss")
    write_json(run.metrics, dict.fromkeys(metrics, 0.5))
    run.config.touch()
    assert run.read_complete() is None
    run.model.touch()
    assert run.read_complete() == run.read_record()
    write_json(run.record, A_RECORD | {"status": "KILLED"})
    assert run.read_complete() is None
    write_json(run.record, A_RECORD)
    write_json(run.metrics, {})
    assert run.read_complete() is None


def test_what_a_later_version_has_written_into_a_record_stays(tmp_path):
    write_json(tmp_path / "run.json", A_RECORD | {"a_newer_key": [1]})
    record = RunRecord.read(tmp_path / "run.json")
    replace(record, status="KILLED").write(tmp_path / "run.json")
    assert read_json(tmp_path / "run.json")["a_newer_key"] == [1]
    assert read_json(tmp_path / "run.json")["status"] == "KILLED"
