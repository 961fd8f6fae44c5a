"""Which sweeps there are, and which runs on disk count as finished."""

import os
import shutil
from dataclasses import replace

import pytest
from conftest import A_RECORD
from made_sweeps import finish, make_sweep, point

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.sweeps.directory import find_sweep, finished_runs, known_sweeps
from epochwise.sweeps.record import SweepRecord
from epochwise.trajectory.identity import mixed_fingerprint_of


def test_a_sweep_is_found_by_its_id_or_its_folder_or_as_the_latest(tmp_path):
    with pytest.raises(InputError, match="no sweep is in multirun/ yet"):
        find_sweep(tmp_path, None)
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    for wanted in (None, "day_time", "day_", "multirun/day/time"):
        assert find_sweep(tmp_path, wanted).id == sweep.id
    with pytest.raises(InputError, match="no sweep nonsense; the latest in multirun/: day_time"):
        find_sweep(tmp_path, "nonsense")


@pytest.fixture
def clock(monkeypatch):
    """The time that is written into sweep.json, in milliseconds."""
    now = [1000]
    monkeypatch.setattr("epochwise.sweeps.record.now", lambda: now[0])
    return now


def another(sweep: SweepRecord, name: str) -> SweepRecord:
    folder = sweep.folder.parent / name
    folder.mkdir()
    made = SweepRecord(folder, name, *(sweep.command, sweep.experiment, sweep.varied, sweep.points, False, True))
    made.write()
    return made


def test_the_latest_sweep_comes_first_and_a_damaged_one_is_left_out(tmp_path, clock):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    for name, clock[0] in (("older", 500), ("newer", 3000)):
        another(sweep, name)
    (tmp_path / "multirun/damaged").mkdir()
    (tmp_path / "multirun/damaged/sweep.json").write_text("{")
    assert [known.id for known in known_sweeps(tmp_path)] == ["newer", "day_time", "older"]


def test_no_copy_and_no_touch_makes_another_sweep_the_latest(tmp_path, clock):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    clock[0] = 2000
    another(sweep, "newer")
    os.utime(sweep.folder / "sweep.json", (10**10, 10**10))
    assert find_sweep(tmp_path, None).id == "newer"
    shutil.copytree(sweep.folder, tmp_path / "multirun/copied")  # of an archive, or back from a scratch disk
    assert find_sweep(tmp_path, None).id == "newer"
    clock[0] = 3000
    sweep.write(keep_time=True)  # MLflow got it
    assert find_sweep(tmp_path, None).id == "newer"
    sweep.write()  # it is run again
    assert find_sweep(tmp_path, None).id == "day_time"


def test_of_a_sweep_of_an_earlier_version_the_time_of_the_file_counts(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    content = read_json(sweep.folder / "sweep.json")
    del content["changed"]
    write_json(sweep.folder / "sweep.json", content)
    os.utime(sweep.folder / "sweep.json", (5, 5))
    assert SweepRecord.read(sweep.folder).changed == 5000


def test_sweeps_and_runs_behind_links_are_found_once(tmp_path):
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0), point(1, seed=1))
    finish(sweep.folder / "0", 0)
    scratch = tmp_path / "scratch"
    shutil.move(tmp_path / "multirun", scratch)
    (tmp_path / "multirun").symlink_to(scratch)
    (scratch / "again").symlink_to(scratch / "day")  # two ways to one folder
    (scratch / "circle").symlink_to(scratch)
    finish(tmp_path / "far/time", 1)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/a day").symlink_to(tmp_path / "far")
    assert [known.id for known in known_sweeps(tmp_path)] == ["day_time"]
    assert sorted(finished_runs(tmp_path, known_sweeps(tmp_path)[0])) == [0, 1]


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


def test_in_a_mixed_sweep_runs_of_other_processors_count_also_if_they_have_ended_early(tmp_path):
    identity, rule = {"parameters": {"seed": 0}, "processor": {"model name": "a"}}, {"epochs": 9, "patience": 2}
    mixed = mixed_fingerprint_of(identity | {"processor": {"model name": "b"}}, rule)
    sweep = make_sweep(tmp_path, ["seed"], replace(point(0, seed=0), fingerprint=mixed), mixed=True)
    finish(tmp_path / "outputs/day/longer", 0, identity=identity, end_rule=rule | {"patience": 3}, epochs=5)
    assert finished_runs(tmp_path, sweep) == {}
    finish(tmp_path / "outputs/day/time", 0, identity=identity, end_rule=rule, epochs=4)
    assert {job: run.path.name for job, run in finished_runs(tmp_path, sweep).items()} == {0: "time"}


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
