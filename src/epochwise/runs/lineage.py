"""Which code a run was made from, and the command that makes it again."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import GitError
from epochwise.common.git import git_bytes, try_git
from epochwise.config.compose import as_overrides
from epochwise.config.schema import parameters
from epochwise.trajectory.identity import network_code

RESULTS = ("dvc.lock", "reports/metrics.json")  # git tracks them, but runs write them: they do not make code dirty
# Options that make `git diff` print a patch that `git apply` takes, whatever the user's git configuration says.
PLAIN_DIFF = ("--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")


@dataclass(frozen=True)
class Lineage:
    """The code and the command of a run. Outside a git repository the commit is None."""

    git_commit: str | None
    git_dirty: bool
    git_diff: bytes  # changes as git prints them, after comment lines that name the untracked files that are not in it
    overrides: tuple[str, ...]
    reproduce: str  # a shell command


def trace_lineage(root: Path, cfg: DictConfig, overrides: list[str]) -> Lineage:
    """The lineage of a run of `cfg` that starts now in the project at `root`."""
    commit = (try_git(root, "rev-parse", "HEAD") or "").strip() or None
    scope = [".", *(f":(exclude){path}" for path in RESULTS)]
    changed = (try_git(root, "status", "--porcelain", "--", *scope) or "").rstrip()
    untracked = [line[3:] for line in changed.splitlines() if line.startswith("??")]
    added = _untracked(root, network_code(cfg.model.network)) if commit else []
    patch = _patch(root, scope) + b"".join(_patch_of_new(root, name) for name in added) if commit else b""
    left_out = [name for name in untracked if name not in {_from_top(root) + name for name in added}]
    diff = "".join(f"# untracked, not in this diff: {name}\n" for name in left_out).encode() + patch
    command = shlex.join(["epochwise", "run", *as_overrides(cfg)])
    checkout = f"git checkout {commit} && " if commit else ""
    apply = "git apply git.diff && " if patch else ""  # git.diff is an artifact of the run
    return Lineage(commit, bool(changed or patch), diff, tuple(overrides), f"{checkout}{apply}{command}")


def _patch(root: Path, scope: list[str]) -> bytes:
    try:
        return git_bytes(root, "diff", *PLAIN_DIFF, "HEAD", "--", *scope)
    except GitError:
        return b""


def _untracked(root: Path, names: Iterable[str]) -> list[str]:
    """Of files of the project those that git does not have, be they ignored or not: a clone would lack them."""
    tracked = (try_git(root, "ls-files", "-z", "--", *names) or "").split("\0") if names else []
    return [name for name in names if name not in tracked]


def _from_top(root: Path) -> str:
    """The path from the top of the repository to the project, with a slash at its end; empty if they are the same."""
    return (try_git(root, "rev-parse", "--show-prefix") or "").strip()


def _patch_of_new(root: Path, name: str) -> bytes:
    """What `git apply` makes a file of the project from, for `git diff` leaves out what git does not have."""
    path, content = _from_top(root) + name, (root / name).read_bytes()
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n".encode()
    if not content:
        return head
    *lines, rest = content.split(b"\n")
    end = b"+" + rest + b"\n\\ No newline at end of file\n" if rest else b""
    to = f"+++ b/{path}" + ("\t" if " " in path else "")  # as git ends a name that has a space
    head += f"--- /dev/null\n{to}\n@@ -0,0 +1,{len(lines) + bool(rest)} @@\n".encode()
    return head + b"".join(b"+" + line + b"\n" for line in lines) + end


def changed_parameters(root: Path, cfg: DictConfig) -> list[str]:
    """The parameters in which `cfg` differs from the commit's params.yaml, as overrides.

    These are what an edit of the file or `dvc exp run -S` has changed.
    """
    committed = try_git(root, "show", "HEAD:./params.yaml")
    params = None if committed is None else OmegaConf.create(committed)
    if not isinstance(params, DictConfig):
        return []
    before, now = parameters(params), parameters(cfg)
    return [override for key, override in zip(now, as_overrides(cfg), strict=True) if before.get(key) != now[key]]
