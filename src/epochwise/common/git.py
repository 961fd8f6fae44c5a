"""Run git."""

import os
import subprocess
from pathlib import Path

from epochwise.common.errors import GitError, one_line

# Variables by which git takes another repository than that of the folder. Hooks set some of them.
LEADING_ASTRAY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")


def git_bytes(folder: Path, *arguments: str | Path) -> bytes:
    """Standard output of a git command in `folder`. Raises GitError if git refuses or is not installed."""
    environment = {name: value for name, value in os.environ.items() if name not in LEADING_ASTRAY}
    # No lock for what is only looked at: a user may commit at the same time, or the folder may be read-only.
    command = ["git", "--no-optional-locks", "-C", folder, *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, env=environment)
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    except OSError as error:
        raise GitError(f"git: {error}") from error
    if answer.returncode:
        reason = one_line(_text(answer.stderr)).removeprefix("fatal: ").removeprefix("error: ")
        raise GitError(f"git {arguments[0]}: {reason or f'ended with {answer.returncode}'}")
    return answer.stdout


def git(folder: Path, *arguments: str | Path) -> str:
    """As `git_bytes`, decoded: for what is read, not for a patch, of which every byte counts."""
    return _text(git_bytes(folder, *arguments))


def try_git(folder: Path, *arguments: str | Path) -> str | None:
    """As `git`, but None where there is no git, no repository or no commit."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="replace")
