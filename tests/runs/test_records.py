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
