"""results.zip has the same bytes for the same files, and nothing but a run's results is taken out of it."""

import zipfile

import pytest
from conftest import A_RECORD
from mlflow_runs import provide_database, untracked_run

from epochwise.common.errors import InputError
from epochwise.common.files import write_json
from epochwise.runs.directory import RunDirectory
from epochwise.tracking.download import fetch_run
from epochwise.tracking.result_archive import ARCHIVE, pack, packed_files, unpack
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import Server


def test_what_is_packed_comes_back_and_the_bytes_are_the_same(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    files = packed_files(run, evaluated=True)
    for number, file in enumerate(files):
        file.write_text("x" * number)
    pack(files, tmp_path / "one.zip")
    pack(files, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    back = RunDirectory(tmp_path / "back")
    back.path.mkdir()
    unpack(tmp_path / "one.zip", back)
    assert {path.name: path.read_text() for path in back.path.iterdir()} == {
        path.name: path.read_text() for path in files
    }
    assert packed_files(run, evaluated=False) == [run.history]


def test_other_members_are_left_alone(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    write_json(run.record, A_RECORD)
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        for name in ("../history.csv", "/tmp/history.csv", "run.json", "model.keras", "metrics.json/x"):
            archive.writestr(name, "crafted")
    before = sorted(tmp_path.rglob("*"))
    unpack(tmp_path / ARCHIVE, run)
    assert sorted(tmp_path.rglob("*")) == before
    assert "crafted" not in run.record.read_text()


@pytest.mark.parametrize("fault", ["torn", "not one", "a bomb", "encrypted"])
def test_a_damaged_archive_is_refused(tmp_path, fault):
    path = tmp_path / ARCHIVE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if fault == "a bomb" else zipfile.ZIP_STORED) as archive:
        archive.writestr("history.csv", b"0" * 10_000)
    if fault == "torn":
        path.write_bytes(path.read_bytes()[:5000])
    elif fault == "not one":
        path.write_text("history")
    elif fault == "encrypted":
        content = bytearray(path.read_bytes())
        for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(header) + flags] |= 1
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"results.zip: not a readable archive of a run's results"):
        unpack(path, RunDirectory(tmp_path))
    assert [left.name for left in tmp_path.iterdir()] == [ARCHIVE]


@pytest.fixture
def earlier(project):
    """A run as an earlier version has logged it, file by file: the run directory, MLflow's id, and the artifacts."""
    provide_database(project)
    run, server = untracked_run(project), Server(project.path)
    mirror = sync_run(server, run)
    assert mirror and mirror.run_id
    folder = project.path / "mlruns" / "epochwise" / mirror.run_id / "artifacts"
    (folder / ARCHIVE).unlink()
    for file in packed_files(run, evaluated=True):
        name = file.name if file == run.history else f"evaluation/{file.name}"
        (folder / name).write_bytes(file.read_bytes())
    return run, mirror.run_id, folder


def test_a_run_of_an_earlier_version_is_downloaded(project, earlier, tmp_path):
    run, run_id, _ = earlier
    fetch_run(project.path, run_id, tmp_path / "fetched")
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()
    }


def test_the_files_that_an_earlier_version_has_logged_stay_up_to_date(project, earlier, tmp_path):
    run, run_id, folder = earlier
    table = run.evaluation / "class_metrics.csv"
    table.write_text("evaluated again")
    sync_run(Server(project.path), run)
    assert (folder / "evaluation" / table.name).read_text() == "evaluated again"
    fetch_run(project.path, run_id, tmp_path / "fetched")
    assert (tmp_path / "fetched" / table.name).read_text() == "evaluated again"
