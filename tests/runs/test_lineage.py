"""What is recorded of uncommitted code is what git says, byte by byte."""

import subprocess

import pytest

from epochwise.config.compose import load
from epochwise.runs.lineage import changed_parameters, trace_lineage

CONTENTS = {"crlf.txt": b"one\r\ntwo\r\n", "latin.txt": b"na\xefve\n", "binary": bytes(range(256))}


def test_a_recorded_diff_brings_back_every_byte(project, tmp_path):
    git = ("git", "-C", project.path)
    for name in CONTENTS:
        (project.path / name).write_bytes(b"before\r\n")
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "before"], check=True)
    for name, content in CONTENTS.items():
        (project.path / name).write_bytes(content)
    (tmp_path / "git.diff").write_bytes(trace_lineage(project.path, load([]), []).git_diff)
    subprocess.run(["git", "clone", "--quiet", project.path, tmp_path / "clone"], check=True)
    subprocess.run(["git", "-C", tmp_path / "clone", "apply", tmp_path / "git.diff"], check=True)
    assert {name: (tmp_path / "clone" / name).read_bytes() for name in CONTENTS} == CONTENTS


NETWORK = b"import parts\r\ndef build(image_shape, classes): ...\n# no line feed at the end: na\xc3\xafve"
OWN = "model.network=my nets/own.py:build"


@pytest.mark.parametrize("inside", ["", "sub"], ids=["at the top of a repository", "in a folder of it"])
def test_an_own_network_that_git_does_not_have_is_in_the_diff(project, tmp_path, monkeypatch, inside):
    """Be it untracked or ignored; what is not part of the network is only named."""
    top = project.path
    git = ("git", "-C", top)
    if inside:
        (top / inside).mkdir()
        for name in ("conf", "params.yaml", "networks"):
            (top / name).rename(top / inside / name)
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "moved"], check=True)
        monkeypatch.chdir(top / inside)
    root = top / inside
    (root / "my nets").mkdir()
    files = {"own.py": NETWORK, "parts.py": b""}
    for name, content in files.items():
        (root / "my nets" / name).write_bytes(content)
    (root / "notes.txt").touch()
    with open(top / ".gitignore", "a") as ignored:
        ignored.write("parts.py\n")
    lineage = trace_lineage(root, load([OWN]), [])
    assert lineage.git_dirty
    assert "notes.txt" in lineage.git_diff.decode().partition("diff --git")[0]
    (tmp_path / "git.diff").write_bytes(lineage.git_diff)
    subprocess.run(["git", "clone", "--quiet", top, tmp_path / "clone"], check=True)
    subprocess.run(["git", "-C", tmp_path / "clone", "apply", tmp_path / "git.diff"], check=True)
    made = tmp_path / "clone" / inside / "my nets"
    assert {path.name: path.read_bytes() for path in made.iterdir()} == files


def test_an_own_network_that_git_has_is_in_the_diff_once(project):
    before = trace_lineage(project.path, load(["model.network=networks/residual.py:build"]), [])
    assert (before.git_dirty, before.git_diff) == (False, b"")
    project.edit("networks/residual.py", "width=16", "width=17")
    edited = trace_lineage(project.path, load(["model.network=networks/residual.py:build"]), [])
    assert edited.git_diff.count(b"diff --git") == 1


def test_an_own_networks_parameter_that_params_yaml_lacks_is_a_change(project):
    project.edit("params.yaml", "parameters: {} ", "parameters: {width: 8} ")
    assert changed_parameters(project.path, load([])) == ["model.parameters.width=8"]


@pytest.mark.parametrize("name", ["networks/mine/net.py", "networks/netz_ä.py"])
def test_an_own_network_that_is_in_the_diff_is_not_named_as_missing(project, name):
    path = project.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"def build(image_shape, classes): ...\n")
    diff = trace_lineage(project.path, load([f"model.network='{name}:build'"]), []).git_diff
    assert b"not in this diff" not in diff and name.encode() in diff
