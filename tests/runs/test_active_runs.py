"""The register of running runs, in a folder that hosts share: no live run is marked, and every dead one is."""

import os
from dataclasses import replace

import pytest
from conftest import A_RECORD

from epochwise.common.files import read_json, write_json
from epochwise.runs import active_runs
from epochwise.runs.active_runs import SILENCE, mark_orphans, orphans, register_as_running
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run directory whose run.json says that its run, `token`, is at work."""
    made = RunDirectory(tmp_path / "outputs" / "run")
    write_json(made.record, A_RECORD | {"status": "RUNNING", "token": "token"})
    return made


@pytest.fixture
def entry(tmp_path, run):
    """The entry of the run in the register: its process is gone, or lives on a host whose locks are not seen here."""
    with register_as_running(tmp_path, "token", run.path, None, "e"):
        path = tmp_path / ".epochwise" / "token.json"
        content = read_json(path)
    write_json(path, content)
    return path


def on_another_host(entry, seconds_since_a_sign: float = 0) -> None:
    write_json(entry, read_json(entry) | {"host": "other", "kernel": "another kernel"})
    at = entry.stat().st_mtime - seconds_since_a_sign
    os.utime(entry, (at, at))


def test_an_entry_says_on_which_host_the_run_works(entry):
    assert {"host", "kernel", "directory"} <= read_json(entry).keys()
    assert read_json(entry)["directory"] == "outputs/run"


def test_a_run_of_this_host_whose_lock_is_free_is_dead(entry, run, tmp_path):
    assert mark_orphans(tmp_path) == []
    assert run.read_record().status == "KILLED"
    assert not entry.exists(), "no server is to be told"


def test_a_run_of_another_host_that_gives_signs_of_life_is_never_marked(entry, run, tmp_path):
    """Its lock may be held, but not visible here, as on a file system that keeps locks on each node."""
    on_another_host(entry, SILENCE - 60)
    assert orphans(tmp_path) == mark_orphans(tmp_path) == []
    assert run.read_record().status == "RUNNING"
    assert entry.exists() and not list(entry.parent.glob(".tmp*"))


def test_a_run_of_another_host_that_is_silent_is_dead(entry, run, tmp_path):
    on_another_host(entry, SILENCE + 60)
    mark_orphans(tmp_path)
    assert run.read_record().status == "KILLED"


def test_a_clock_that_differs_from_the_file_servers_marks_nothing(entry, run, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 4e9)
    on_another_host(entry)
    assert orphans(tmp_path) == []


def test_signs_of_life_are_given_while_a_run_works(tmp_path, run, monkeypatch):
    monkeypatch.setattr(active_runs, "SIGN_INTERVAL", 0.01)
    with register_as_running(tmp_path, "token", run.path, None, "e"):
        path = tmp_path / ".epochwise" / "token.json"
        os.utime(path, (1, 1))
        while path.stat().st_mtime == 1:
            pass
    before = path.stat().st_mtime_ns
    assert before > 1e18


def test_who_works_in_a_directory_ends_the_run_that_worked_there(entry, run, tmp_path):
    """Its node has died, and the job was given to another one, long before the silence is long enough."""
    on_another_host(entry)
    with register_as_running(tmp_path, "next", run.path, None, "e"):
        assert run.read_record().status == "KILLED"
        run.write_record(replace(RunRecord.read(run.record), status="RUNNING", token="next"))
        assert [orphan.token for orphan in orphans(tmp_path)] == ["token"]
        mark_orphans(tmp_path)
        assert run.read_record().status == "RUNNING", "that of the run that works there now"
    assert not entry.exists()


def test_a_run_elsewhere_is_not_ended_by_one_that_starts(entry, run, tmp_path):
    on_another_host(entry)
    with register_as_running(tmp_path, "next", tmp_path / "outputs" / "other", None, "e"):
        assert run.read_record().status == "RUNNING"
