"""A recorded run is trained again from nothing; the answer is that it is the same, or where it differs."""

import zipfile

import pytest
from conftest import A_RECORD

from epochwise.commands.reproduce import MACHINE_PARTS, compare_runs, print_differences, reproduce
from epochwise.common.errors import InputError, RunError
from epochwise.common.files import read_json, write_json
from epochwise.runs.directory import RunDirectory
from epochwise.runs.model_archive import MEMBERS


@pytest.mark.slow
def test_same(reproduced):
    record = read_json(reproduced.path / "models/run.json")
    printed = reproduced.ok("epochwise", "reproduce", record["run_id"])
    assert "epoch 1/2" in printed and "reused" not in printed
    assert printed.endswith(f"same: 2 epochs and weights {record['weights_sha256']}, to the bit\n")


@pytest.mark.slow
def test_changed_code_and_own_data_come_back_from_the_record(project):
    """The run of uncommitted code on a file beside it, found in MLflow only, after the code has changed again."""
    import numpy as np

    from epochwise.data.sources import load_images

    np.savez(project.path / "own.npz", **load_images("digits", project.path)._asdict())
    project.edit("src/epochwise/training/optimizer.py", "FusedAdam(train.learning_rate,", "FusedAdam(0.002,")
    project.ok("epochwise", "run", "prepare.source=own.npz")
    record = read_json(next(project.path.glob("outputs/*/*/run.json")))
    project.ok("git", "checkout", "src")
    project.ok("rm", "-r", "outputs")
    assert "same: 2 epochs" in project.ok("epochwise", "reproduce", record["run_id"])
    (project.path / "own.npz").unlink()
    done = project.run("epochwise", "reproduce", record["run_id"])
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "own.npz" in done.stderr


RECORD = A_RECORD | {
    "identity": {"versions": {"keras": "3.15.1"}, "processor": {"cpu": "One", "gpus": ""}, "data": "abc"},
}
HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy\n1,0.75,0.5,0.25,0.5\n2,0.25,0.5,0.25,0.75\n"


@pytest.fixture
def pair(tmp_path):
    """Two equal run directories, as far as they are compared."""
    for name in ("recorded", "again"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "run.json", RECORD)
        (tmp_path / name / "history.csv").write_text(HISTORY)
    return RunDirectory(tmp_path / "recorded"), RunDirectory(tmp_path / "again")


def test_what_is_not_as_recorded_is_named(pair, capsys):
    other = {"versions": {"keras": "9.9"}, "processor": {"cpu": "Another", "gpus": ""}, "data": "def"}
    write_json(pair[1].record, RECORD | {"identity": other})
    print_differences(RECORD["identity"], other, MACHINE_PARTS)
    assert capsys.readouterr().out.splitlines() == [
        "not as recorded: processor.cpu is Another, was One",
        "not as recorded: versions.keras is 9.9, was 3.15.1",
    ]
    compare_runs(*pair)
    assert capsys.readouterr().out.splitlines() == [
        "not as recorded: data is def, was abc",
        "same: 2 epochs and weights abc, to the bit",
    ]


def test_different_names_the_first_epoch_that_is(pair):
    pair[1].history.write_text(HISTORY.replace("2,0.25", "2,0.5"))
    with pytest.raises(RunError, match=r"^different from epoch 2 on: loss is 0\.5, was 0\.25$"):
        compare_runs(*pair)


def test_different_weights_under_the_same_history(pair):
    write_json(pair[1].record, RECORD | {"weights_sha256": "0"})
    with pytest.raises(RunError, match="the history is the same, but weights_sha256 is 0, was abc"):
        compare_runs(*pair)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"status": "KILLED"}, "its training is KILLED, not FINISHED"),
        ({"git_commit": None}, "was not trained in a git repository"),
        ({}, "0{40}: the run's commit is not in this repository"),
        ({"epochs": "2"}, "recorded: no run with a model here or in MLflow"),
        ({"git_commit": "HEAD", "git_diff": "0"}, "recorded: no run with a model here or in MLflow"),
    ],
)
def test_what_cannot_be_made_again_is_refused(project, change, refusal):
    for name in ("config.yaml", "history.csv", "model.keras"):
        (project.path / "outputs").mkdir(exist_ok=True)
        (project.path / "outputs" / name).touch()
    with zipfile.ZipFile(project.path / "outputs/model.keras", "w") as archive:
        for name in MEMBERS:
            archive.writestr(name, "")
    write_json(project.path / "outputs/run.json", RECORD | change)
    with pytest.raises(InputError, match=refusal):
        reproduce("recorded")
