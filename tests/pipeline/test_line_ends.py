"""A checkout has the bytes of the commit whatever git is told of line ends, and files with CRLF are read."""

import hashlib
from pathlib import Path

import pytest
from conftest import ROOT

CODE = ("src/epochwise/training", "conf", "params.yaml", "dvc.yaml", "requirements.lock")


def digests(folder: Path) -> dict[str, str]:
    paths = [path for name in CODE for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf"])
def test_a_clone_that_git_converts_has_the_same_bytes(project, setting):
    project.ok("git", "clone", "--quiet", "--config", setting, ".", "clone")
    assert digests(project.path / "clone") == digests(project.path)
    assert project.run("git", "-C", "clone", "status", "--porcelain").stdout == ""


def test_a_commit_on_a_machine_that_converts_changes_no_line(project):
    project.ok("git", "config", "core.autocrlf", "true")
    (project.path / "params.yaml").touch()
    project.ok("git", "add", "--renormalize", "--all")
    assert project.ok("git", "status", "--porcelain") == ""


def with_crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def test_files_with_crlf_are_read(project):
    before = project.cli("run", "--cfg", "job", "experiment=quick").stdout
    for path in (project.path / "params.yaml", project.path / "dvc.yaml", *(project.path / "conf").rglob("*.yaml")):
        with_crlf(path)
    assert project.cli("check").returncode == 0
    assert project.cli("run", "--cfg", "job", "experiment=quick").stdout == before
    assert project.cli("run", "-m", "+sweep=grid", "train.epochs=0").returncode == 2
    assert "\r" not in project.cli("run", "--help").stdout


def test_parameters_are_written_into_a_file_with_crlf_with_its_line_ends(project):
    from epochwise.commands.promote import _write_params
    from epochwise.config.compose import load
    from epochwise.config.schema import parameters

    path = project.path / "params.yaml"
    with_crlf(path)
    before = path.read_bytes()
    _write_params(parameters(load(["train.epochs=7", "model.filters=[8,16]"])), "data", write_data=False)
    after = path.read_bytes()
    assert after.count(b"\r\n") == after.count(b"\n") == before.count(b"\n")
    changed = {line for line in after.splitlines() if line not in before.splitlines()}
    assert len(changed) == 3 and any(b"epochs: 7" in line for line in changed)


def test_this_repository_says_so():
    assert "* -text" in (ROOT / ".gitattributes").read_text().splitlines()
