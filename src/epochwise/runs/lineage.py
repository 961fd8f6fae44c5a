"""Which code a run was made from, and the command that makes it again."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import GitError
from epochwise.common.git import git, git_bytes, try_git
from epochwise.config.compose import as_overrides
from epochwise.config.schema import parameters
from epochwise.trajectory.identity import network_code

# Git tracks them, but runs write them, and mlruns may be a link to another disk: they do not make code dirty.
RESULTS = ("dvc.lock", "reports/metrics.json", "mlruns")
# Options that make `git diff` print a patch that `git apply` takes, whatever the user's git configuration says.
PLAIN_DIFF = ("--binary", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")
UNTRACKED = "# untracked, not in this diff: "  # begins the line of a file that is not in a run's git.diff

# Files that every version of the project has. A commit without them is one of other code, around this project.
OWN_FILES = ("params.yaml", "conf/config.yaml", "src/epochwise/__main__.py")


@dataclass(frozen=True)
class Lineage:
    """The code and the command of a run. What git does not say is None; `git_problem` says why."""

    git_commit: str | None
    git_dirty: bool | None
    git_diff: bytes  # changes as git prints them, after comment lines that name the untracked files that are not in it
    overrides: tuple[str, ...]
    reproduce: str  # a shell command
    git_problem: str = ""


def trace_lineage(root: Path, cfg: DictConfig, overrides: list[str]) -> Lineage:
    """The lineage of a run of `cfg` that starts now in the project at `root`."""
    commit: str | None = None
    dirty: bool | None = None
    diff, patch, problem = b"", b"", ""
    try:
        commit = _own_commit(root)
        changed, untracked, patch = _changes(root)
        added = _untracked(root, network_code(cfg.model.network))
        patch += b"".join(_patch_of_new(root, name) for name in added)
        dirty = changed or bool(added)
        left_out = [name for name in untracked if name not in {_from_top(root) + name for name in added}]
        diff = "".join(f"{UNTRACKED}{name}\n" for name in left_out).encode() + patch
    except GitError as error:
        problem = str(error)
    command = shlex.join(["epochwise", "run", *as_overrides(cfg)])
    checkout = f"git checkout {commit} && " if commit else ""
    apply = "git apply git.diff && " if patch else ""  # git.diff is an artifact of the run
    return Lineage(commit, dirty, diff, tuple(overrides), f"{checkout}{apply}{command}", problem)


def code_problem(root: Path) -> str:
    """What runs in the project at `root` do not record of their code, and why; empty if they record all of it."""
    commit = None
    try:
        commit = _own_commit(root)
        _changes(root)
    except GitError as error:
        return not_recorded(commit, str(error))
    return ""


def not_recorded(commit: str | None, problem: str) -> str:
    """A sentence on what is not known of the code of a run whose commit is `commit`."""
    what = "whether the code is as committed" if commit else "the commit and whether the code was changed"
    return f"git does not say {what}, so runs do not record it ({problem})"


def _own_commit(root: Path) -> str:
    """The commit that is checked out. Raises GitError if there is none, or if it is not one of this project.

    A project that was unpacked inside another repository is not in that one's commits.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel").strip())
    try:
        commit = git(root, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    except GitError as error:
        raise GitError(f"the repository {top} has no commit yet, or its HEAD is damaged") from error
    expected = [name for name in OWN_FILES if (root / name).is_file()]
    committed = git(root, "ls-tree", "-z", "--name-only", "HEAD", "--", *expected).split("\0")
    lacking = [name for name in expected if name not in committed]
    if lacking:
        raise GitError(f"the commit of the repository {top} is not one of this project: it has no {lacking[0]} of it")
    return commit


def _changes(root: Path) -> tuple[bool, list[str], bytes]:
    """Whether the code is not as committed, the untracked files, and the changes to tracked ones. Raises GitError."""
    if not (root / git(root, "rev-parse", "--git-path", "index").strip()).is_file():
        raise GitError("the repository has no index; `git reset` makes it")
    scope = [".", *(f":(exclude){path}" for path in RESULTS)]
    # A user's configuration can hide untracked files.
    changed = git(root, "status", "--porcelain", "-z", "--untracked-files=all", "--", *scope)
    untracked = [entry[3:] for entry in changed.split("\0") if entry.startswith("??")]
    return bool(changed), untracked, git_bytes(root, "diff", *PLAIN_DIFF, "HEAD", "--", *scope)


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


def changed_parameters(root: Path, cfg: DictConfig) -> list[str] | None:
    """The parameters in which `cfg` differs from the commit's params.yaml, as overrides; None if git does not say.

    These are what an edit of the file or `dvc exp run -S` has changed.
    """
    committed = try_git(root, "show", "HEAD:./params.yaml")
    params = None if committed is None else OmegaConf.create(committed)
    if not isinstance(params, DictConfig):
        return None
    before, now = parameters(params), parameters(cfg)
    return [override for key, override in zip(now, as_overrides(cfg), strict=True) if before.get(key) != now[key]]
