"""`epochwise reproduce`: train a recorded run again from nothing, with its own code, and compare the two to the bit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from epochwise.common.errors import GitError, InputError, RunError
from epochwise.common.files import file_digest
from epochwise.common.git import git
from epochwise.common.paths import find_root, main_root
from epochwise.common.wording import counted, listed
from epochwise.config.overrides import as_override
from epochwise.data.sources import is_named
from epochwise.pipeline.directories import cache_folder
from epochwise.pipeline.find_run import find_run
from epochwise.runs.directory import RunDirectory
from epochwise.runs.lineage import UNTRACKED, not_recorded
from epochwise.runs.record import RunRecord
from epochwise.tracking.download import fetch_run
from epochwise.trajectory.identity import PROCESS

PARAMETER_SECTIONS = ("seed", "prepare", "model", "train")  # of config.yaml
MACHINE_PARTS = ("versions", "processor", "flags")  # the parts of an identity that this machine decides
NEW_RUN = Path("outputs/again")  # in the temporary clone
LEADING_ASTRAY = ("DVC_", "MLFLOW_", "EPOCHWISE_")  # environment variables that would lead out of the clone


def reproduce(run_id: str) -> None:
    """Print that the run is the same; raise RunError if it is not, with the first epoch that differs.

    Raises InputError if the run is not known or did not finish, or if its code can no longer be had.
    """
    with tempfile.TemporaryDirectory(prefix="epochwise-") as scratch:
        recorded = find_run(run_id)
        if recorded is None:
            recorded = RunDirectory(Path(scratch) / "recorded")
            fetch_run(main_root(), run_id, recorded.path)
        record = recorded.read_finished()
        clone = _check_out(record, recorded, Path(scratch))
        print_differences(record.identity, PROCESS, MACHINE_PARTS)
        _train(recorded, clone)
        compare_runs(recorded, RunDirectory(clone / NEW_RUN))


def _check_out(record: RunRecord, recorded: RunDirectory, scratch: Path) -> Path:
    """Clone this repository at the run's commit and apply the run's changes; returns the project in the clone."""
    root, commit, folder = find_root(), record.git_commit, scratch / "code"
    if commit is None:
        reason = record.git_problem or "was not trained in a git repository"
        raise InputError(f"{recorded.path}: its code is not known ({reason})")
    if record.git_dirty is None and record.git_problem:
        print(f"note: when this run was trained, {not_recorded(commit, record.git_problem)}")
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except GitError as error:
        raise InputError(f"{commit}: the run's commit is not in this repository; fetch it first") from error
    repository = git(root, "rev-parse", "--show-toplevel").strip()
    # The bytes of the commit, whatever git converts in a checkout: they decide the fingerprint.
    git(root, "clone", "--quiet", "--shared", "--no-checkout", "--config", "core.autocrlf=false", repository, folder)
    git(folder, "checkout", "--quiet", "--detach", commit)
    if record.git_diff:
        git(folder, "apply", "--allow-empty", _recorded_diff(record, recorded, scratch))
        changed = [line[3:] for line in git(folder, "status", "--porcelain").splitlines()]
        if changed:
            print(f"applies the run's uncommitted changes: {', '.join(changed)}", flush=True)
    project = folder / git(root, "rev-parse", "--show-prefix").strip()
    cache_folder().mkdir(parents=True, exist_ok=True)
    (project / "data").mkdir(exist_ok=True)
    (project / "data" / "cache").symlink_to(cache_folder())
    return project


def _recorded_diff(record: RunRecord, recorded: RunDirectory, scratch: Path) -> Path:
    """The run's git.diff: from its directory, or from MLflow if another run's results are in the directory by now."""
    path = recorded.diff
    if not path.is_file() or file_digest(path) != record.git_diff:
        fetched = RunDirectory(scratch / "fetched")
        fetch_run(main_root(), record.run_id, fetched.path)
        path = fetched.diff
    if not path.is_file() or file_digest(path) != record.git_diff:
        raise InputError(
            f"{recorded.path}: was trained with uncommitted code, and its git.diff is neither here nor in MLflow"
        )
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    untracked = [line.removeprefix(UNTRACKED) for line in lines if line.startswith(UNTRACKED)]
    if untracked:
        print(f"not recorded: {counted(len(untracked), 'untracked file')}, {listed(untracked)}")
    return path.resolve()


def _train(recorded: RunDirectory, clone: Path) -> None:
    """Train in the clone, whose state store is empty. If that fails, this process ends with the same exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(LEADING_ASTRAY)}
    environment["PYTHONIOENCODING"] = "utf-8"  # what is read here, whatever the terminal shows
    arguments = [*_parameter_overrides(recorded), "tracking=off", f"hydra.run.dir={NEW_RUN}"]
    command = [sys.executable, "-m", "epochwise", "run", *arguments]
    with subprocess.Popen(command, cwd=clone, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as child:
        for line in child.stdout or ():
            if not line.startswith(("files ", "next: ")):  # name a run of the clone, which is removed at the end
                print(line.replace(f"; in {NEW_RUN}", ""), end="", flush=True)
    if child.returncode:
        sys.exit(child.returncode)


def _parameter_overrides(recorded: RunDirectory) -> list[str]:
    """The recorded parameters as overrides. The path of a source is made absolute, since the clone lies elsewhere."""
    cfg = OmegaConf.to_container(recorded.read_config())
    assert isinstance(cfg, dict)
    if "reuse" in cfg["train"]:  # runs of early versions have no such key
        cfg["train"]["reuse"] = False
    if not is_named(cfg["prepare"]["source"]):
        cfg["prepare"]["source"] = str(find_root() / Path(cfg["prepare"]["source"]).expanduser())
    return [as_override(key, value) for key, value in _leaves({name: cfg[name] for name in PARAMETER_SECTIONS})]


def compare_runs(recorded: RunDirectory, again: RunDirectory) -> None:
    """Print that two runs are the same, or raise RunError with the first epoch that differs."""
    before, after = recorded.read_record(), again.read_record()
    print_differences(before.identity, after.identity, {*before.identity, *after.identity} - {*MACHINE_PARTS})
    for old, new in zip(recorded.read_history(), again.read_history(), strict=False):
        values = [f"{name} is {new[name]!r}, was {old[name]!r}" for name in old if new[name] != old[name]]
        if values:
            raise RunError(f"different from epoch {old['epoch']} on: {'; '.join(values)}")
    if after.weights_sha256 != before.weights_sha256:
        raise RunError(
            "different: the history is the same, but "
            f"weights_sha256 is {after.weights_sha256}, was {before.weights_sha256}"
        )
    print(f"same: {before.epochs} epochs and weights {before.weights_sha256}, to the bit")


def print_differences(before: Mapping[str, Any], after: Mapping[str, Any], parts: Iterable[str]) -> None:
    """Print each value in these parts of two identities that differs."""
    old, new = (dict(_leaves({part: identity.get(part, {}) for part in sorted(parts)})) for identity in (before, after))
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            print(f"not as recorded: {key} is {new.get(key)}, was {old.get(key)}", flush=True)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values that are no mappings, by dotted key."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
