"""Which code a run was made from, and the command that makes it again."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import GitError
from epochwise.common.git import git_bytes, try_git
from epochwise.config.compose import as_overrides
from epochwise.config.schema import parameters

RESULTS = ("dvc.lock", "reports/metrics.json")  # git tracks them, but runs write them: they do not make code dirty
# Options that make `git diff` print a patch that `git apply` takes, whatever the user's git configuration says.
PLAIN_DIFF = ("--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")


@dataclass(frozen=True)
class Lineage:
    """The code and the command of a run. Outside a git repository the commit is None."""

    git_commit: str | None
    git_dirty: bool
    git_diff: bytes  # changes to tracked files as git prints them, after comment lines that name the untracked files
    overrides: tuple[str, ...]
    reproduce: str  # a shell command


def trace_lineage(root: Path, cfg: DictConfig, overrides: list[str]) -> Lineage:
    """The lineage of a run of `cfg` that starts now in the project at `root`."""
    commit = (try_git(root, "rev-parse", "HEAD") or "").strip() or None
    scope = [".", *(f":(exclude){path}" for path in RESULTS)]
    changed = (try_git(root, "status", "--porcelain", "--", *scope) or "").rstrip()
    untracked = [line[3:] for line in changed.splitlines() if line.startswith("??")]
    patch = _patch(root, scope) if commit else b""
    diff = "".join(f"# untracked, not in this diff: {name}\n" for name in untracked).encode() + patch
    command = shlex.join(["epochwise", "run", *as_overrides(cfg)])
    checkout = f"git checkout {commit} && " if commit else ""
    apply = "git apply git.diff && " if patch else ""  # git.diff is an artifact of the run
    return Lineage(commit, bool(changed), diff, tuple(overrides), f"{checkout}{apply}{command}")


def _patch(root: Path, scope: list[str]) -> bytes:
    try:
        return git_bytes(root, "diff", *PLAIN_DIFF, "HEAD", "--", *scope)
    except GitError:
        return b""


def changed_parameters(root: Path, cfg: DictConfig) -> list[str]:
    """The parameters in which `cfg` differs from the commit's params.yaml, as overrides.

    These are what an edit of the file or `dvc exp run -S` has changed.
    """
    committed = try_git(root, "show", "HEAD:./params.yaml")
    params = None if committed is None else OmegaConf.create(committed)
    if not isinstance(params, DictConfig):
        return []
    before, now = parameters(params), parameters(cfg)
    return [override for key, override in zip(now, as_overrides(cfg), strict=True) if before[key] != now[key]]
