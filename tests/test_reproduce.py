"""A recorded run is trained again from nothing, and the answer is same or different, and why."""

import json

import pytest

from epochwise import InputError, RunError
from epochwise.files import read_json, write_json
from epochwise.reproduce import _compare, reproduce


@pytest.mark.slow
def test_same(reproduced):
    record = read_json(reproduced.path / "models/run.json")
    said = reproduced.ok("epochwise", "reproduce", record["run_id"])
    assert "epoch 1/2" in said and "reused" not in said
    assert said.endswith(f"same: 2 epochs and weights {record['weights_sha256']}, to the bit\n")


@pytest.mark.slow
def test_changed_code_and_own_data_come_back_from_the_record(project):
    """The run of uncommitted code on a file beside it, found in MLflow only, after the code has changed again."""
    import numpy as np

    from epochwise import sources

    np.savez(project.path / "own.npz", **sources.load("digits", project.path)._asdict())
    project.edit("src/epochwise/model.py", "Adam(learning_rate)", "Adam(learning_rate, beta_1=0.8)")
    project.ok("epochwise", "run", "prepare.source=own.npz")
    record = read_json(next(project.path.glob("outputs/*/*/run.json")))
    project.ok("git", "checkout", "src")
    project.ok("rm", "-r", "outputs")
    assert "same: 2 epochs" in project.ok("epochwise", "reproduce", record["run_id"])
    (project.path / "own.npz").unlink()
    done = project.run("epochwise", "reproduce", record["run_id"])
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "own.npz" in done.stderr


@pytest.fixture
def pair(reproduced, tmp_path):
    """Two copies of a run directory."""
    for name in ("recorded", "again"):
        (tmp_path / name).mkdir()
        for file in ("run.json", "history.csv"):
            (tmp_path / name / file).write_bytes((reproduced.path / "models" / file).read_bytes())
    return tmp_path / "recorded", tmp_path / "again"


def test_the_same_on_another_machine(pair, capsys):
    record = read_json(pair[1] / "run.json")
    record["identity"]["processor"]["cpu"] = "Another One"
    record["identity"]["versions"]["keras"] = "9.9"
    write_json(pair[1] / "run.json", record)
    _compare(*pair)
    said = capsys.readouterr().out.splitlines()
    was = read_json(pair[0] / "run.json")["identity"]
    assert said[0] == f"not as recorded: processor.cpu is Another One, was {was['processor']['cpu']}"
    assert said[1] == f"not as recorded: versions.keras is 9.9, was {was['versions']['keras']}"
    assert said[2].startswith("same: 2 epochs")


def test_different_names_the_first_epoch_that_is(pair):
    lines = (pair[1] / "history.csv").read_text().splitlines()
    epoch, loss, *rest = lines[2].split(",")
    other = ",".join((epoch, "0.5", *rest))
    (pair[1] / "history.csv").write_text("\n".join((*lines[:2], other)) + "\n")
    with pytest.raises(RunError, match=rf"^different from epoch 2 on: loss is 0\.5, was {loss}$"):
        _compare(*pair)


def test_different_weights_under_the_same_history(pair):
    write_json(pair[1] / "run.json", read_json(pair[1] / "run.json") | {"weights_sha256": "0"})
    with pytest.raises(RunError, match="the history is the same, but weights_sha256 is 0, was"):
        _compare(*pair)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "KILLED"}, "its training is KILLED, not FINISHED"),
        ({"git_commit": None}, "was not trained in a git repository"),
        ({"git_commit": "0" * 40}, "the run's commit is not in this repository"),
    ],
)
def test_what_cannot_be_made_again_is_refused(reproduced, monkeypatch, change, said):
    monkeypatch.chdir(reproduced.path)
    path = reproduced.path / "models/run.json"
    record = read_json(path)
    path.write_text(json.dumps(record | change))
    try:
        with pytest.raises(InputError, match=said):
            reproduce(record["run_id"])
    finally:
        path.write_text(json.dumps(record, indent=2) + "\n")
