"""A copy of the project on scikit-learn's bundled digits, so that no test needs a network or touches this checkout."""

import atexit
import compileall
import contextlib
import functools
import io
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

from epochwise import cli
from epochwise.common.files import write_text
from epochwise.common.processes import ENDING

ROOT = Path(__file__).resolve().parent.parent
COPIED = (".dvc/config", ".dvc/.gitignore", ".dvc/plots.html", ".dvcignore", ".gitattributes", ".gitignore")
COPIED += ("Makefile", "conf", "dvc.yaml", "networks", "params.yaml", "pyproject.toml", "requirements.lock", "src")
QUICK = {
    "source: mnist ": "source: digits ",
    "validation_size: 5000": "validation_size: 300",
    "epochs: 12": "epochs: 2",
    "threads: 2 ": "threads: 1 ",  # the networks are so small that a second thread mostly waits, which costs CPU time
}


A_RECORD = {  # what run.json holds at least
    **{"run_id": "recorded", "experiment": "epochwise", "fingerprint": "f", "trajectory": "t", "data_sha256": "d"},
    **{"status": "FINISHED", "epochs": 2, "epochs_trained": 1, "epochs_reused": 1, "steps_trained": 9},
    **{"train_seconds": 1.5, "trajectory_seconds": 3.0, "git_commit": "0" * 40, "weights_sha256": "abc"},
    **{"published": False, "identity": {}},
}

Value = TypeVar("Value")


class Project:
    """A checkout of its own, and the commands a user would type in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.printed = ""  # what the command printed that a fixture ran

    def run(self, *command: str, within: float = 600, **environment: str) -> subprocess.CompletedProcess:
        """The result of a command, which must end `within` seconds."""
        options = {"capture_output": True, "text": True, "timeout": within}
        return subprocess.run(command, cwd=self.path, env=clean_environment() | environment, **options)

    def ok(self, *command: str, **environment: str) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*command, **environment)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cli(self, *arguments: str) -> subprocess.CompletedProcess:
        """The result of an epochwise command in this process: a new one would import everything again."""
        output, errors, code = io.StringIO(), io.StringIO(), 0
        before, handlers_of, typed = Path.cwd(), {number: signal.getsignal(number) for number in ENDING}, sys.argv
        # Hydra sets up logging anew and closes all handlers there are. One of TensorFlow's would close pytest's stderr.
        handlers, root_handlers = logging._handlerList[:], logging.root.handlers[:]
        del logging._handlerList[:]
        os.chdir(self.path)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                cli.main(list(arguments))
        except SystemExit as end:
            code = end.code or 0
        finally:
            os.chdir(before)
            logging._handlerList[:0], logging.root.handlers[:] = handlers, root_handlers
            for number, handler in handlers_of.items():
                signal.signal(number, handler)
            sys.argv = typed
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text
        (self.path / name).write_text(text.replace(old, new))


def wait_for(condition: Callable[[], Value], what: str = "the condition", seconds: float = 300) -> Value:
    """The first true value of `condition`. The limit is only there so that a failing test ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds:.0f} s")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead a child out of its project."""
    leading_out = ("DVC_", "MLFLOW_", "EPOCHWISE_", "PYTHONPATH", "HYDRA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(leading_out)}
    who = {f"GIT_{role}_{what}": "tester@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return kept | who | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "200"}


@functools.cache
def template() -> Path:
    """A project that has been committed, its code compiled: copying it is a fraction of the work of making it."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name)
    for name in COPIED:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(ROOT / name, path / name)
    compileall.compile_dir(path / "src", quiet=1)
    project = Project(path)
    for old, new in QUICK.items():
        project.edit("params.yaml", old, new)
    project.ok("git", "init", "--quiet", "--template=")
    project.ok("git", "add", "--all")
    project.ok("git", "commit", "--quiet", "--message", "start")
    project.ok("git", "gc", "--quiet")  # fewer files to copy for each test
    return path


def copy_project(path: Path) -> Project:
    shutil.copytree(template(), path, symlinks=True)
    return Project(path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh project, also the working directory of this process."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    made = copy_project(tmp_path / "a project")
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture(scope="session")
def tensors() -> None:
    """TensorFlow, set as every training here sets it: a process does that once."""
    from epochwise.training.backend import configure

    configure(1)


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project after one `dvc repro`, which is run once for all worker processes of pytest-xdist; each has a copy."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    original, output = Project(shared / "original"), shared / "original.txt"
    with FileLock(shared / "original.lock"):
        if not output.exists():
            copy_project(original.path)
            write_text(output, original.ok("dvc", "repro"))
    made = Project(base / "reproduced")
    shutil.copytree(original.path, made.path, symlinks=True)
    made.printed = output.read_text()
    return made


@pytest.fixture
def plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate writes empty pictures: drawing them takes as long as a small training, and other tests look at them."""
    from matplotlib import pyplot

    from epochwise.evaluation import figures

    def save(figure: pyplot.Figure, path: Path, software: str = "") -> None:
        write_text(path, "")
        pyplot.close(figure)

    monkeypatch.setattr(figures, "save", save)
