"""A project that may only be read, such as a colleague's: what only reads works, and writes elsewhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project, clean_environment
from mlflow_runs import provide_database, train

from epochwise.runs.directory import RunDirectory

SETPRIV = shutil.which("setpriv")


def as_user() -> list[str]:
    """What makes permissions count for root, too, as in a container."""
    return [SETPRIV, "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 and SETPRIV else []


needs_permissions = pytest.mark.skipif(os.geteuid() == 0 and not SETPRIV, reason="root may write everything")


class ReadOnly(Project):
    def run(self, *command: str, within: float = 600, **environment: str) -> subprocess.CompletedProcess:
        return super().run(*as_user(), *command, within=within, **environment)


@pytest.fixture
def read_only(project, plain_pictures) -> Iterator[ReadOnly]:
    train(RunDirectory(project.path / "outputs/run"), "train.epochs=1", "tracking=off")
    provide_database(project)
    paths = [path for path in (project.path, *project.path.rglob("*")) if not path.is_symlink()]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield ReadOnly(project.path)
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def snapshot(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@needs_permissions
@pytest.mark.slow
def test_what_only_reads_works_and_leaves_nothing(read_only, tmp_path):
    before = snapshot(read_only.path)
    commands = ["--help", "run --help", "check", "run --cfg job", "compare --help"]
    commands += [f"predict --random 2 --model outputs/run --out {tmp_path}/p.png"]
    commands += [f"report outputs/run --out {tmp_path}/report.html"]
    for command in commands:
        read_only.ok("epochwise", *command.split())
    completion = {"_EPOCHWISE_COMPLETE": "bash_complete", "COMP_WORDS": "epochwise predict --model ", "COMP_CWORD": "3"}
    assert "champion" in read_only.run("epochwise", **completion).stdout
    assert {path.name for path in tmp_path.glob("*.*")} == {"p.png", "report.html"}
    assert snapshot(read_only.path) == before


@needs_permissions
@pytest.mark.parametrize(
    "command, says",
    [
        ("report outputs/run", "report.html: may not be written (Permission denied); name another file by --out"),
        ("run train.epochs=1", "Permission denied"),
        ("prepare", "Permission denied"),
    ],
)
def test_what_writes_is_refused_in_one_line(read_only, command, says):
    before = snapshot(read_only.path)
    done = read_only.run("epochwise", *command.split())
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1 and says in done.stderr
    assert snapshot(read_only.path) == before


CONNECT = """
import sys
from pathlib import Path
from epochwise.tracking.redacted_errors import warn
from epochwise.tracking.server import Server
try:
    Server(Path.cwd()).ping()
except Exception as error:
    warn(error, "the run goes on")
"""


@needs_permissions
@pytest.mark.parametrize("unwritable", ["mlflow.db", "."])
def test_a_database_that_may_not_be_written_costs_one_warning(project, unwritable):
    provide_database(project)
    (project.path / "mlruns").mkdir()
    path = project.path / unwritable
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        command = [*as_user(), sys.executable, "-c", CONNECT]
        environment = clean_environment() | {"PYTHONPATH": str(project.path / "src")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    finally:
        path.chmod(mode)
    (warning,) = done.stderr.splitlines()
    assert "mlflow.db: this user may not write the database" in warning and warning.endswith("; the run goes on")
