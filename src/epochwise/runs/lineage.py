"""Where a result comes from: code, versions, the stage and the command."""

import os
import platform
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.config.compose import as_overrides, parameters
from epochwise.trajectory.identity import PROCESS

RESULTS = ("dvc.lock", "reports/metrics.json")  # tracked by git, yet what a run writes: they do not make code dirty


@dataclass(frozen=True)
class Lineage:
    """Code and circumstances of a run. Outside a git checkout the commit is None."""

    git_commit: str | None
    git_dirty: bool
    git_diff: str
    overrides: tuple[str, ...]
    reproduce: str
    sweep: str = ""

    def tags(self) -> dict[str, str]:
        """As MLflow tags; DVC's environment says which stage and which experiment this process is."""
        found = {
            "git.commit": self.git_commit,
            "git.dirty": str(self.git_dirty).lower(),
            "mlflow.source.git.commit": self.git_commit,
            "dvc.stage": os.environ.get("DVC_STAGE"),
            "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
            "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
            "sweep.id": self.sweep,
            "overrides": " ".join(self.overrides),
            "reproduce": self.reproduce,
            "version.python": platform.python_version(),
            **{f"version.{name}": number for name, number in PROCESS["versions"].items()},
            "cpu": PROCESS["processor"].get("model name") or PROCESS["processor"]["machine"],
        }
        return {key: value for key, value in found.items() if value}


def trace(root: Path, cfg: DictConfig, overrides: list[str], sweep: str = "") -> Lineage:
    """The lineage of a run of `cfg`, of that `sweep` if any, that starts now in the project at `root`."""
    commit = _git(root, "rev-parse", "HEAD")
    scope = [".", *(f":(exclude){path}" for path in RESULTS)]
    changed = _git(root, "status", "--porcelain", "--", *scope) or ""
    untracked = [line[3:] for line in changed.splitlines() if line.startswith("??")]
    plain = ("--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")  # whatever git is set to
    patch = _git(root, "diff", *plain, "HEAD", "--", *scope, strip=False) or ""
    diff = "".join(f"# untracked, not in this diff: {name}\n" for name in untracked) + patch
    command = shlex.join(["epochwise", "run", *as_overrides(cfg)])
    checkout = f"git checkout {commit} && " if commit else ""
    apply = "git apply git.diff && " if patch else ""  # an artifact of the run
    return Lineage(commit, bool(changed), diff, tuple(overrides), f"{checkout}{apply}{command}", sweep)


def changed_parameters(root: Path, cfg: DictConfig) -> list[str]:
    """What `cfg` has otherwise than the commit's params.yaml, as overrides: an edit's or `dvc exp run -S`'s change."""
    committed = _git(root, "show", "HEAD:./params.yaml")
    if committed is None:
        return []
    before, now = parameters(OmegaConf.create(committed)), parameters(cfg)
    return [override for key, override in zip(now, as_overrides(cfg), strict=True) if before[key] != now[key]]


def _git(root: Path, *arguments: str, strip: bool = True) -> str | None:
    """What git says, or None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError:
        return None
    if answer.returncode:
        return None
    return answer.stdout.rstrip() if strip else answer.stdout
