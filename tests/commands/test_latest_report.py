"""Without a name `epochwise report` takes what was at work last, by the times in the records."""

import os
import shutil

import pytest
from conftest import A_RECORD
from made_sweeps import bare_project, finish, make_sweep, point  # noqa: F401

from epochwise.commands.report import _latest
from epochwise.common.errors import InputError
from epochwise.common.files import write_json
from epochwise.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("bare_project")


def single_run(folder, ended: int) -> RunDirectory:
    finish(folder, 0)
    write_json(RunDirectory(folder).record, A_RECORD | {"ended": ended})
    return RunDirectory(folder)


def test_the_times_in_the_records_count_and_not_those_of_the_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no run or sweep is here yet"):
        _latest(tmp_path)
    older = single_run(tmp_path / "outputs/a/older", 1000)
    newer = single_run(tmp_path / "outputs/a/newer", 2000)
    os.utime(older.record, (10**10, 10**10))
    assert _latest(tmp_path) == newer
    shutil.copytree(older.path, tmp_path / "outputs/z/copied")
    assert _latest(tmp_path) == newer
    monkeypatch.setattr("epochwise.sweeps.record.now", lambda: 1500)
    sweep = make_sweep(tmp_path, ["seed"], point(0, seed=0))
    finish(sweep.folder / "0", 0)
    assert _latest(tmp_path) == newer
    monkeypatch.setattr("epochwise.sweeps.record.now", lambda: 3000)
    latest = sweep.write()
    assert _latest(tmp_path) == latest


def test_a_damaged_record_is_passed_over(tmp_path):
    run = single_run(tmp_path / "outputs/a/run", 1000)
    broken = single_run(tmp_path / "outputs/b/broken", 2000)
    broken.record.write_text("{torn")
    assert _latest(tmp_path) == run
