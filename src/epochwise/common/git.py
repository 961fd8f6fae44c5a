"""Run git."""

import subprocess
from pathlib import Path

from epochwise.common.errors import GitError


def git_bytes(folder: Path, *arguments: str | Path) -> bytes:
    """Standard output of a git command in `folder`. Raises GitError if git refuses or is not installed."""
    try:
        answer = subprocess.run(["git", "-C", folder, *arguments], capture_output=True)
    except OSError as error:
        raise GitError(f"git: {error}") from error
    if answer.returncode:
        raise GitError(f"git {arguments[0]}: {_text(answer.stderr).strip()}")
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
