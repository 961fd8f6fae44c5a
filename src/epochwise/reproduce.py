"""Train a recorded run again from nothing, with its own code, and say whether the result is the same to the bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from epochwise import InputError, RunError, history, overrides, rundir
from epochwise.files import read_json
from epochwise.pipeline import cache
from epochwise.project import find_root, main_root
from epochwise.tracking import fetch_run

PARAMETERS = ("seed", "prepare", "model", "train")  # the sections of config.yaml that decide a result
AGAIN = Path("outputs/again")


def reproduce(run_id: str) -> None:
    """Print `same`, and what was otherwise all the same; raises RunError if the result differs, and says from where.

    Raises InputError if the run is not known, did not finish, or has no commit that is in this repository.
    """
    with tempfile.TemporaryDirectory(prefix="epochwise-") as scratch:
        recorded = rundir.find(find_root(), run_id)
        if recorded is None:
            recorded = Path(scratch) / "recorded"
            fetch_run(main_root(), run_id, recorded)
        record = rundir.read_finished(recorded)
        place = _check_out(record["git_commit"], recorded, Path(scratch) / "code")
        _train(recorded, place)
        _compare(recorded, place / AGAIN)


def _check_out(commit: str | None, recorded: Path, folder: Path) -> Path:
    """A clone of this repository at `commit`, with the run's changes on top; returns the project in it."""
    root = find_root()
    if commit is None:
        raise InputError(f"{recorded}: was not trained in a git repository, so its code is not known")
    _git(root, "clone", "--quiet", "--shared", "--no-checkout", _git(root, "rev-parse", "--show-toplevel"), str(folder))
    try:
        _git(folder, "checkout", "--quiet", "--detach", commit)
    except RunError as error:
        raise InputError(f"{commit}: the run's commit is not in this repository; fetch it first") from error
    if (recorded / rundir.DIFF).is_file():
        _git(folder, "apply", "--allow-empty", str((recorded / rundir.DIFF).resolve()))
    project = folder / _git(root, "rev-parse", "--show-prefix")
    cache().mkdir(parents=True, exist_ok=True)
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / "cache").symlink_to(cache())
    return project


def _train(recorded: Path, place: Path) -> None:
    """Run the training in `place`, whose own state store is empty."""
    leading_out = ("DVC_", "MLFLOW_", "EPOCHWISE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(leading_out)}
    arguments = [*_parameters(recorded), "tracking=off", f"hydra.run.dir={AGAIN}"]
    command = [sys.executable, "-m", "epochwise", "run", *arguments]
    code = subprocess.run(command, cwd=place, env=environment).returncode
    if code:
        raise RunError(f"{recorded}: trained again, it ended with exit code {code}, see above")


def _parameters(recorded: Path) -> list[str]:
    """The recorded parameters as overrides. A source that is a path keeps its meaning from elsewhere."""
    cfg = OmegaConf.to_container(OmegaConf.load(recorded / rundir.CONFIG))
    cfg["train"].pop("reuse", None)
    if (find_root() / cfg["prepare"]["source"]).exists():
        cfg["prepare"]["source"] = str(find_root() / cfg["prepare"]["source"])
    return [overrides.text(key, value) for key, value in _leaves({name: cfg[name] for name in PARAMETERS})]


def _compare(recorded: Path, again: Path) -> None:
    was, is_ = (read_json(folder / rundir.RECORD) for folder in (recorded, again))
    parts_were, parts_are = (dict(_leaves(record.get("identity", {}))) for record in (was, is_))
    for part in sorted({*parts_were, *parts_are}):
        if parts_were.get(part) != parts_are.get(part):
            print(f"not as recorded: {part} is {parts_are.get(part)}, was {parts_were.get(part)}")
    rows_were, rows_are = (history.read(folder / rundir.HISTORY) for folder in (recorded, again))
    for before, now in zip(rows_were, rows_are, strict=False):
        values = [f"{name} is {now[name]!r}, was {before[name]!r}" for name in before if now[name] != before[name]]
        if values:
            raise RunError(f"different from epoch {before['epoch']} on: {'; '.join(values)}")
    weights_were, weights_are = was["weights_sha256"], is_["weights_sha256"]
    if weights_are != weights_were:
        raise RunError(f"different: the history is the same, but weights_sha256 is {weights_are}, was {weights_were}")
    print(f"same: {was['epochs']} epochs and weights {weights_were}, to the bit")


def _leaves(values: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    if answer.returncode:
        raise RunError(f"git {arguments[0]}: {answer.stderr.strip()}")
    return answer.stdout.strip()
