"""Which sweeps there are, and which runs on disk count as finished."""

import os

import pytest
from conftest import A_RECORD
from made_sweeps import finish, make_sweep, point

from epochwise.common.errors import InputError
from epochwise.common.files import write_json
from epochwise.sweeps.directory import find_sweep, finished_runs, known_sweeps
from epochwise.sweeps.record import SweepRecord


def test_a_sweep_is_found_by_its_id_or_its_folder_or_as_the_latest(tmp_path):
    with pytest.raises(InputError, match="no sweep is in multirun/ yet"):
        find_sweep(tmp_path, None)
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    for wanted in (None, "day_time", "day_", "multirun/day/time"):
        assert find_sweep(tmp_path, wanted).id == sweep.id
    with pytest.raises(InputError, match="no sweep nonsense; the latest in multirun/: day_time"):
        find_sweep(tmp_path, "nonsense")


def test_the_latest_sweep_comes_first_and_a_damaged_one_is_left_out(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    for name, seconds in (("older", 1000), ("newer", 3000)):
        folder = tmp_path / "multirun" / name
        folder.mkdir()
        SweepRecord(folder, name, *(sweep.command, sweep.experiment, sweep.varied, sweep.points, False, True)).write()
        os.utime(folder / "sweep.json", (seconds, seconds))
    os.utime(sweep.folder / "sweep.json", (2000, 2000))
    (tmp_path / "multirun/damaged").mkdir()
    (tmp_path / "multirun/damaged/sweep.json").write_text("{")
    assert [known.id for known in known_sweeps(tmp_path)] == ["newer", "day_time", "older"]


def test_runs_elsewhere_count_if_they_are_the_same(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), point(1, seed=1))
    finish(tmp_path / "outputs/day/time", 0)
    finish(tmp_path / "multirun/another day/time/7", 1)
    found = finished_runs(tmp_path, sweep)
    assert {job: run.path.name for job, run in found.items()} == {0: "time", 1: "7"}
    assert list(finished_runs(tmp_path, sweep, sweep.points[1:])) == [1]
    alone = make_sweep(tmp_path, ["seed"], point(0, seed=0), reuse=False)
    assert finished_runs(tmp_path, alone) == {}, "that run had reused an epoch of another"
    rerun = make_sweep(tmp_path, ["seed"], point(0, seed=0), rerun=True)
    assert finished_runs(tmp_path, rerun) == {}


def test_a_sweeps_own_run_comes_before_the_same_run_elsewhere(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    finish(tmp_path / "outputs/day/time", 0)
    finish(sweep.folder / "0", 0)
    assert finished_runs(tmp_path, sweep)[0].path == sweep.folder / "0"


def test_an_unfinished_or_incomplete_run_does_not_count(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], *(point(job, seed=job) for job in range(3)))
    for job in range(3):
        finish(sweep.folder / str(job), job)
    (sweep.folder / "0" / "metrics.json").unlink()
    write_json(sweep.folder / "1" / "run.json", A_RECORD | {"status": "KILLED", "fingerprint": "fingerprint 1"})
    (sweep.folder / "2" / "run.json").write_text("{torn")
    assert finished_runs(tmp_path, sweep) == {}
    finish(tmp_path / "outputs/day/time", 0)
    assert list(finished_runs(tmp_path, sweep)) == [0], "the complete one elsewhere"
