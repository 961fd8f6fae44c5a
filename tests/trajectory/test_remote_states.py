"""States in a store with a URL: what is written is what is read, and no fault of the store costs a training."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
from cluster_nodes import s3_server

from epochwise.config.limits import PASSWORD
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.scheduler import Job, Queue, StoreView, untrained
from epochwise.training.history import COLUMNS
from epochwise.trajectory.identity import trajectory_key
from epochwise.trajectory.remote_states import (
    RemoteStates,
    all_kept_epochs,
    kept_epochs,
    kept_history,
    largest_state,
    open_states,
)
from epochwise.trajectory.states import StateStore

IDENTITY = {"a": "training"}
KEY = trajectory_key(IDENTITY)
URL = "memory://states/of a team"


@pytest.fixture(autouse=True)
def memory():
    """An empty file system in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


def keep(states: RemoteStates, *epochs: int) -> None:
    for epoch in epochs:
        history = [dict.fromkeys(COLUMNS, 0.5) | {"epoch": number} for number in range(1, epoch + 1)]
        states.write([np.full((2, 2), epoch, np.float32)], history, [0.1] * epoch)


def newest(states: RemoteStates, epoch: int) -> int | None:
    with states.turn_to_train(epoch) as state:
        return state and state.epoch


def test_what_is_written_comes_back_and_is_found_by_its_epoch(tmp_path):
    states = open_states(URL, IDENTITY, max_gb=1)
    assert newest(states, 3) is None and kept_epochs(URL, KEY) == []
    keep(states, 1, 2)
    with RemoteStates(URL, IDENTITY).turn_to_train(5) as state:
        assert state.epoch == 2 and state.variables[0].tolist() == [[2, 2], [2, 2]]
        assert len(state.history) == 2 and state.path.parts[-3:-1] == ("of a team", KEY)
    assert newest(states, 1) == 1
    assert kept_epochs(URL, KEY) == [1, 2] and all_kept_epochs(URL) == {KEY: [1, 2]}
    assert isinstance(open_states(tmp_path, IDENTITY, 1), StateStore)


def test_how_large_a_state_is(tmp_path):
    for store in (URL, tmp_path):
        assert largest_state(store, KEY) is None
        keep(open_states(store, IDENTITY, 1), 1, 2)
        assert 500 < largest_state(store, KEY) < 2000
    assert largest_state("memory://nowhere", KEY) is None


def test_half_a_state_is_not_used_and_left_to_whoever_writes_it(memory, capsys):
    states = RemoteStates(URL, IDENTITY)
    keep(states, 1, 2)
    (second,) = [name for name in memory.store if "/00002-" in name]
    memory.pipe_file(second, memory.cat_file(second)[:100])
    assert newest(states, 2) == 1
    assert f"{URL}/{KEY}/00002-" in capsys.readouterr().err
    assert memory.exists(second)


def test_a_run_with_patience_takes_no_state_beyond_its_end(memory):
    """All rows are equal, so with a patience of 2 a run ends with epoch 3."""
    states = RemoteStates(URL, IDENTITY)
    keep(states, 1, 2, 5)
    with states.turn_to_train(9, patience=2) as state:
        assert state.epoch == 2
    keep(states, 3)
    with states.turn_to_train(9, patience=2) as state:
        assert state.epoch == 3
    assert [row["epoch"] for row in kept_history(URL, KEY, 5)] == [1, 2, 3, 4, 5]
    assert kept_history(URL, KEY, 4) == []
    job = Job(0, "", RunDirectory(Path()), 1, 9, [(KEY, 9)], URL, 2)
    assert StoreView().ends(job) == StoreView(whole=True).ends(job) == (3, 3) and not untrained(job)
    (fifth,) = [name for name in memory.store if "/00005-" in name]
    memory.mv(fifth, fifth.replace("/00005-", "/00006-"))
    memory.pipe_file(fifth.replace("/00005-", "/00006-"), b"half a state")
    assert StoreView().ends(job) == (3, 9), "a damaged state tells nothing"


def test_a_scheduler_lists_a_store_with_an_url_at_most_every_few_seconds(memory, monkeypatch):
    store = type(fsspec.filesystem("memory"))
    find, looks = store.find, []
    monkeypatch.setattr(store, "find", lambda *given, **options: looks.append(given) or find(*given, **options))
    queue = Queue(
        [Job(n, "", RunDirectory(Path()), 1, 9 - n % 2, [(f"key {n // 2}", 9 - n % 2)], URL) for n in range(40)]
    )
    while job := queue.next():
        queue.start(job)
        queue.count_untrained()
    assert len(queue.running) == 20 and len(looks) <= 2, "one look of all before the first job, one for those that run"


def test_a_store_that_is_away_costs_a_warning_for_each_epoch(monkeypatch, capsys):
    def fail(*_, **__):
        raise ConnectionError("no route\nto host")

    states = RemoteStates(URL, IDENTITY)
    for name in ("pipe_file", "exists", "find"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), name, fail)
    keep(states, 1)
    assert newest(states, 1) is None and kept_epochs(URL, KEY) == []
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"warning: {URL}: epoch 1 is not kept (ConnectionError: no route to host)"
    assert "its states are not used" in second


@pytest.mark.parametrize(
    "store, reason",
    [
        ("nowhere://bucket", "there is no nowhere://"),
        ("://bucket", "null, a folder, or a URL"),
        ("''", "null, a folder"),
        ("'ftp://me:pass/w@rd@host/states'", "a URL without a password"),
        ("'simplecache::ftp://:secret@host/states'", "fsspec reads FSSPEC_FTP_PASSWORD"),
    ],
)
def test_a_store_that_cannot_be_is_refused_before_anything_runs(project, store, reason):
    done = project.cli("run", f"trajectories.store={store}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: trajectories.store must be ") and reason in done.stderr
    assert "w@rd" not in done.stderr and "secret" not in done.stderr


def test_a_sweep_is_refused_without_the_password_that_was_typed(project):
    done = project.cli("run", "-m", "train.epochs=1,2", "trajectories.store='ftp://me:secret@host/states'")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2) and "secret" not in done.stderr


def test_a_port_is_no_password():
    assert PASSWORD.search("s3://host:9000/states@v2") is None
    assert PASSWORD.search("ftp://me:9000@host/states") and PASSWORD.search("ftp://me:pass/w@rd@host/states")


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """The address of an S3 server, set for this process and its children."""
    with s3_server(tmp_path) as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield settings["AWS_ENDPOINT_URL"]


@pytest.mark.long
def test_s3_a_second_clone_goes_on_from_the_states_of_the_first(project, s3, tmp_path):
    from conftest import copy_project

    store = "trajectories.store=s3://team/states"
    project.ok("epochwise", "run", "tracking=off", "train.epochs=2", store)
    other = copy_project(tmp_path / "other")
    printed = other.ok("epochwise", "run", "tracking=off", "train.epochs=3", store)
    assert "epochs 1…2 of 3 reused from states/" in printed and "epoch 3/3" in printed
    assert not (project.path / "trajectories").exists()
    alone = project.ok("epochwise", "run", "tracking=off", "train.epochs=3", "train.reuse=false")
    assert "epoch 1/3" in alone
    weights = {read["weights_sha256"] for read in map(_record, (project, other)) if read["epochs"] == 3}
    assert len(weights) == 1


def _record(project) -> dict:
    import json

    paths = sorted(project.path.glob("outputs/**/run.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(paths[-1].read_text())


@pytest.mark.long
def test_s3_dvc_pushes_and_pulls(project, s3, tmp_path):
    """A colleague's clone has the model after `dvc pull`."""
    project.ok("dvc", "repro")
    project.ok("dvc", "remote", "add", "--default", "storage", "s3://team/dvc")
    project.ok("dvc", "remote", "modify", "storage", "endpointurl", s3)
    project.ok("git", "add", "--all")
    project.ok("git", "commit", "--quiet", "--message", "a result")
    assert "pushed" in project.ok("dvc", "push")
    project.ok("git", "clone", "--quiet", str(project.path), str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone.ok("dvc", "pull")
    assert (clone.path / "models/model.keras").read_bytes() == (project.path / "models/model.keras").read_bytes()
