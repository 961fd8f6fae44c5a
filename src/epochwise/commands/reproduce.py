"""Train a recorded run again from nothing, with its own code, and say whether the result is the same to the bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from omegaconf import OmegaConf

from epochwise.common.errors import InputError, RunError
from epochwise.common.files import digest, read_json
from epochwise.common.paths import find_root, main_root
from epochwise.config import overrides
from epochwise.data.sources import is_named
from epochwise.pipeline.stages import cache
from epochwise.runs import directory as rundir
from epochwise.tracking.server import fetch_run
from epochwise.training import history
from epochwise.trajectory.identity import PROCESS

PARAMETERS = ("seed", "prepare", "model", "train")  # the sections of config.yaml that decide a result
HERE = ("versions", "processor", "flags")  # the parts of an identity that this machine gives
AGAIN = Path("outputs/again")


def reproduce(run_id: str) -> None:
    """Print `same`, and what was otherwise all the same; raises RunError if the result differs, and says from where.

    Raises InputError if the run is not known or did not finish, or if its code is not to be had any more.
    """
    with tempfile.TemporaryDirectory(prefix="epochwise-") as scratch:
        recorded = rundir.find(find_root(), run_id)
        if recorded is None:
            recorded = Path(scratch) / "recorded"
            fetch_run(main_root(), run_id, recorded)
        record = rundir.read_finished(recorded)
        place = _check_out(record, recorded, Path(scratch))
        _say_differences(record, {"identity": PROCESS}, HERE)
        _train(recorded, place)
        _compare(recorded, place / AGAIN)


def _check_out(record: dict, recorded: Path, scratch: Path) -> Path:
    """A clone of this repository at the run's commit, with its changes on top; returns the project in it."""
    root, commit, folder = find_root(), record["git_commit"], scratch / "code"
    if commit is None:
        raise InputError(f"{recorded}: was not trained in a git repository, so its code is not known")
    try:
        _git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except RunError as error:
        raise InputError(f"{commit}: the run's commit is not in this repository; fetch it first") from error
    _git(root, "clone", "--quiet", "--shared", "--no-checkout", _git(root, "rev-parse", "--show-toplevel"), str(folder))
    _git(folder, "checkout", "--quiet", "--detach", commit)
    if record.get("git_diff"):
        _git(folder, "apply", "--allow-empty", str(_diff(record, recorded, scratch)))
    project = folder / _git(root, "rev-parse", "--show-prefix")
    cache().mkdir(parents=True, exist_ok=True)
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / "cache").symlink_to(cache())
    return project


def _diff(record: dict, recorded: Path, scratch: Path) -> Path:
    """The run's git.diff: from its directory, or from MLflow if DVC has put another run's results there since."""
    path = recorded / rundir.DIFF
    if not path.is_file() or digest(path) != record["git_diff"]:
        fetch_run(main_root(), record["run_id"], scratch / "fetched")
        path = scratch / "fetched" / rundir.DIFF
    if not path.is_file() or digest(path) != record["git_diff"]:
        raise InputError(f"{recorded}: was trained with uncommitted code, whose git.diff is neither here nor in MLflow")
    for line in path.read_text().splitlines():
        if line.startswith("# untracked"):
            print(f"not recorded: {line.removeprefix('# ')}")
    return path.resolve()


def _train(recorded: Path, place: Path) -> None:
    """Run the training in `place`, whose own state store is empty. Ends with its exit code if it fails."""
    leading_out = ("DVC_", "MLFLOW_", "EPOCHWISE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(leading_out)}
    arguments = [*_parameters(recorded), "tracking=off", f"hydra.run.dir={AGAIN}"]
    command = [sys.executable, "-m", "epochwise", "run", *arguments]
    code = subprocess.run(command, cwd=place, env=environment).returncode
    if code:
        sys.exit(code)


def _parameters(recorded: Path) -> list[str]:
    """The recorded parameters as overrides. A source that is a path keeps its meaning from elsewhere."""
    cfg = OmegaConf.to_container(rundir.read_config(recorded))
    if "reuse" in cfg["train"]:
        cfg["train"]["reuse"] = False
    if not is_named(cfg["prepare"]["source"]):
        cfg["prepare"]["source"] = str(find_root() / Path(cfg["prepare"]["source"]).expanduser())
    return [overrides.text(key, value) for key, value in _leaves({name: cfg[name] for name in PARAMETERS})]


def _compare(recorded: Path, again: Path) -> None:
    was, now = (read_json(folder / rundir.RECORD) for folder in (recorded, again))
    _say_differences(was, now, {*was.get("identity", {}), *now.get("identity", {})} - {*HERE})
    rows_were, rows_are = (history.read(folder / rundir.HISTORY) for folder in (recorded, again))
    for before, after in zip(rows_were, rows_are, strict=False):
        values = [f"{name} is {after[name]!r}, was {before[name]!r}" for name in before if after[name] != before[name]]
        if values:
            raise RunError(f"different from epoch {before['epoch']} on: {'; '.join(values)}")
    weights_were, weights_are = was["weights_sha256"], now["weights_sha256"]
    if weights_are != weights_were:
        raise RunError(f"different: the history is the same, but weights_sha256 is {weights_are}, was {weights_were}")
    print(f"same: {was['epochs']} epochs and weights {weights_were}, to the bit")


def _say_differences(was: dict, now: dict, parts: Iterable[str]) -> None:
    before, after = (
        dict(_leaves({part: record.get("identity", {}).get(part, {}) for part in sorted(parts)}))
        for record in (was, now)
    )
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            print(f"not as recorded: {key} is {after.get(key)}, was {before.get(key)}", flush=True)


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
