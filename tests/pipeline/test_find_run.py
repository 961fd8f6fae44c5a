"""A run is found by its id, and looking for one changes nothing that is at work."""

import pytest
from conftest import A_RECORD

from epochwise.common.directory_locks import lock_directory
from epochwise.common.errors import InputError
from epochwise.common.files import file_digest, read_json, write_json
from epochwise.config.compose import load
from epochwise.pipeline.directories import pipeline_run
from epochwise.pipeline.find_run import find_run
from epochwise.pipeline.model_record import keep_record
from epochwise.runs.record import RunRecord


@pytest.fixture
def models(project):
    """A run at work in models/ that has just saved its model, which is that of an earlier run."""
    run = pipeline_run()
    run.path.mkdir(exist_ok=True)
    run.model.write_bytes(b"a model")
    earlier = A_RECORD | {"run_id": "earlier", "token": "earlier", "model_sha256": file_digest(run.model)}
    keep_record(RunRecord(**earlier))
    at_work = RunRecord(**A_RECORD | {"run_id": "at work", "token": "at work", "status": "RUNNING"})
    run.write_record(at_work)
    return run


def test_the_record_of_a_run_at_work_is_left_alone(project, models):
    with lock_directory(project.path, models.path):
        before = models.record.read_bytes()
        assert find_run("earlier") is None
        assert models.record.read_bytes() == before


def test_where_nothing_is_at_work_the_record_of_the_model_comes_back(project, models):
    models.write_config(load([]))
    assert find_run("earlier") == models
    assert read_json(models.record)["token"] == "earlier"


def test_no_id_finds_no_run(project, models):
    """Records of early versions have no token."""
    models.write_record(RunRecord(**A_RECORD | {"token": ""}))
    assert find_run("") is None


def test_the_start_of_an_id_that_is_shown_nowhere_finds_no_run(project):
    """MLflow has given both runs ids, which every list shows; their tokens are in run.json alone."""
    ids = {"one": ("c1b526b7" * 4, "a8a2d786" * 4), "two": ("c2b526b7" * 4, "c1ffffff" * 4)}
    for name, (run_id, token) in ids.items():
        write_json(project.path / "outputs" / name / "run.json", A_RECORD | {"run_id": run_id, "token": token})
    assert [find_run(start) for start in ("a8", "c1f")] == [None, None]
    assert str(find_run("c1").path).endswith("one"), "the token of the other one begins so, too"
    with pytest.raises(InputError, match="^c: the ids of 2 runs begin so: c[12]b526b7"):
        find_run("c")
    for name, whole in ids.items():
        assert all(str(find_run(one).path).endswith(name) for one in whole)
