"""Run git."""

import subprocess
from pathlib import Path

from epochwise.common.errors import GitError


def git(folder: Path, *arguments: str | Path) -> str:
    """Standard output of a git command in `folder`. Raises GitError if git refuses or is not installed."""
    try:
        answer = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise GitError(f"git: {error}") from error
    if answer.returncode:
        raise GitError(f"git {arguments[0]}: {answer.stderr.strip()}")
    return answer.stdout


def try_git(folder: Path, *arguments: str | Path) -> str | None:
    """As `git`, but None where there is no git, no repository or no commit."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None
