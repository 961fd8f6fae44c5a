"""What a run records of its code where git refuses, is missing or damaged: what is not known is None, never false."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, copy_project

from epochwise.config.compose import load
from epochwise.runs.lineage import Lineage, changed_parameters, code_problem, trace_lineage

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


@pytest.fixture(autouse=True)
def plain_git(monkeypatch):
    """Without the settings of this machine, which may trust every directory."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def lineage(root: Path) -> Lineage:
    return trace_lineage(root, load([]), [])


def commit_of(root: Path) -> str:
    return subprocess.run([*GIT, "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def surround(project: Project, commit_project: bool) -> None:
    """Put the project, without a repository of its own, into another repository."""
    shutil.rmtree(project.path / ".git")
    outer = project.path.parent
    (outer / "theirs.txt").write_text("another project")
    subprocess.run([*GIT, "init", "--quiet", outer], check=True)
    subprocess.run([*GIT, "-C", outer, "add", "--all" if commit_project else "theirs.txt"], check=True)
    subprocess.run([*GIT, "-C", outer, "commit", "--quiet", "--message", "theirs"], check=True)


def test_a_clean_and_a_changed_checkout(project):
    clean = lineage(project.path)
    assert (clean.git_commit, clean.git_dirty, clean.git_problem) == (commit_of(project.path), False, "")
    project.edit("params.yaml", "seed: 0", "seed: 1")
    changed = lineage(project.path)
    assert (changed.git_dirty, changed.git_problem) == (True, "") and b"+seed: 1" in changed.git_diff


def remove_index(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.path / ".git/index").unlink()


def damage_index(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.path / ".git/index").write_bytes(b"DIRC and no more")


def lock_out(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a checkout that belongs to another user, such as a volume in a container."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")


def uninstall(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def empty_head(project: Project, _: pytest.MonkeyPatch) -> None:
    """As after a crash of the machine in the middle of a commit."""
    (project.path / ".git/HEAD").write_bytes(b"")


def lose_objects(project: Project, _: pytest.MonkeyPatch) -> None:
    for pack in (project.path / ".git/objects").rglob("*.*"):
        pack.unlink()


def unpack_archive(project: Project, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.path / ".git")


def begin(project: Project, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.path / ".git")
    subprocess.run([*GIT, "init", "--quiet", project.path], check=True)


def unpack_inside_another(project: Project, _: pytest.MonkeyPatch) -> None:
    surround(project, commit_project=False)


@pytest.mark.parametrize(
    "break_git, knows_commit, problem",
    [
        (remove_index, True, "the repository has no index; `git reset` makes it"),
        (damage_index, True, "git status: "),
        (lock_out, False, "dubious ownership"),
        (uninstall, False, "git is not installed"),
        (empty_head, False, "not a git repository"),
        (lose_objects, False, "git "),
        (unpack_archive, False, "not a git repository"),
        (begin, False, "has no commit yet"),
        (unpack_inside_another, False, "is not one of this project: it has no params.yaml of it"),
    ],
)
def test_what_git_does_not_say_is_unknown_and_it_is_said_why(
    project, monkeypatch, break_git: Callable[[Project, pytest.MonkeyPatch], None], knows_commit, problem
):
    project.edit("params.yaml", "seed: 0", "seed: 1")  # so that "not changed" would be wrong
    commit = commit_of(project.path)
    break_git(project, monkeypatch)
    found = lineage(project.path)
    assert found.git_commit == (commit if knows_commit else None)
    assert found.git_dirty is None and found.git_diff == b""
    assert problem in found.git_problem and "\n" not in found.git_problem
    assert code_problem(project.path).startswith("git does not say ")
    if not knows_commit:
        assert "git checkout" not in found.reproduce


def test_a_project_that_a_larger_repository_has_committed_is_its_own(project):
    surround(project, commit_project=True)
    found = lineage(project.path)
    assert (found.git_commit, found.git_dirty) == (commit_of(project.path.parent), False)


def test_the_variables_of_a_hook_do_not_lead_to_another_repository(project, tmp_path, monkeypatch):
    other = copy_project(tmp_path / "other")
    other.ok("git", "commit", "--quiet", "--allow-empty", "--message", "another commit")
    expected = commit_of(project.path)
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    assert lineage(project.path).git_commit == expected != commit_of(other.path)


def test_untracked_code_counts_even_if_the_user_hides_it(project):
    subprocess.run([*GIT, "-C", project.path, "config", "status.showUntrackedFiles", "no"], check=True)
    (project.path / "src/epochwise/training/new.py").touch()
    found = lineage(project.path)
    assert found.git_dirty is True and b"untracked, not in this diff: src/epochwise/training/new.py" in found.git_diff


def test_without_git_it_is_not_claimed_that_no_parameter_was_changed(project, monkeypatch):
    assert changed_parameters(project.path, load(["seed=1"])) == ["seed=1"]
    lock_out(project, monkeypatch)
    assert changed_parameters(project.path, load(["seed=1"])) is None


def test_check_says_what_a_project_without_a_repository_needs(project):
    unpack_archive(project, pytest.MonkeyPatch())
    done = project.cli("check")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is in no git repository, which DVC needs; `git init && git add --all && git commit -m start`" in done.stderr
    assert "`dvc config core.no_scm true`" in done.stderr and "`epochwise run` works as it is" in done.stderr
    project.edit(".dvc/config", "[core]", "[core]\n    no_scm = true")
    done = project.cli("check")
    assert done.returncode == 0
    assert "note: git does not say the commit and whether the code was changed" in done.stdout


def test_check_notes_what_runs_will_not_record(project, monkeypatch):
    assert "note:" not in project.cli("check").stdout
    lock_out(project, monkeypatch)
    done = project.cli("check")
    assert done.returncode == 0 and "so runs do not record it (git rev-parse: detected dubious ownership" in done.stdout
