"""Runs whose process was killed: the next run that starts ends them, and no register entry ever fails a run."""

import subprocess

import pytest
from conftest import clean_environment, wait_for
from mlflow_runs import all_runs, provide_database, run_directory, train

from epochwise.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("plain_pictures")


@pytest.fixture
def client(project):
    return provide_database(project)


@pytest.mark.slow
def test_a_killed_run_is_marked_by_the_next_one_that_starts(project, client):
    process = subprocess.Popen(
        ["epochwise", "run", "train.epochs=2000"], env=clean_environment(), stdout=subprocess.PIPE
    )
    assert any(line.startswith(b"epoch 1/2000") for line in process.stdout)
    at_work = wait_for(lambda: next(iter(all_runs(client)), None))
    wait_for(lambda: client.get_metric_history(at_work.info.run_id, "val_accuracy"))
    (path,) = project.path.glob("outputs/2*/*/run.json")
    orphan = RunDirectory(path.parent)
    wait_for(lambda: orphan.read_record().run_id == at_work.info.run_id)
    train(run_directory(project, "other"), "train.epochs=1", "seed=1")
    assert client.get_run(at_work.info.run_id).info.status == "RUNNING"
    process.kill()
    process.communicate()
    assert orphan.read_record().status == "RUNNING"
    last_change = path.stat().st_mtime
    following = run_directory(project, "next")
    train(following, "train.epochs=1", replay=False)
    runs = client.search_runs([at_work.info.experiment_id], order_by=["attributes.start_time"])
    assert [run.info.status for run in runs] == ["KILLED", "FINISHED", "FINISHED"]
    assert runs[0].data.tags["failure"] == "its process was killed"
    assert runs[0].info.end_time == int(last_change * 1000)
    record, epochs = orphan.read_record(), len(orphan.read_history())
    assert record.status == "KILLED"
    assert 1 <= record.epochs_trained in (epochs, epochs - 1), "it may have been killed between the two files"
    assert runs[0].data.metrics["epochs_trained"] == record.epochs_trained
    assert following.read_record().epochs_reused == 1
    assert not list((project.path / ".epochwise").glob("*.json"))


def test_entries_of_other_runs_never_fail_a_run(project, client, capsys):
    register = project.path / ".epochwise"
    register.mkdir()
    (register / "a.json").write_text("{")
    (register / "b.json").write_text("{}")
    (register / "c.json").write_text('{"folder": "/nowhere", "server": null}')
    (register / "d.json").write_text('{"folder": "/nowhere", "server": "http://another"}')
    (register / "e.json").write_text('{"directory": "/nowhere", "server": "local", "experiment": "epochwise"}')
    (register / "f.json").write_text('{"directory": null}')
    (register / "g.json").write_text('{"directory": "/nowhere", "experiment": 3}')
    train(run_directory(project), "train.epochs=1")
    (run,) = all_runs(client)
    assert run.info.status == "FINISHED"
    assert sorted(path.name for path in register.glob("*.json")) == ["a.json", "d.json", "f.json", "g.json"]
    assert "warning" not in capsys.readouterr().err
