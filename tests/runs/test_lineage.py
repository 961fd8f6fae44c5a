"""What is recorded of uncommitted code is what git says, byte by byte."""

import subprocess

from epochwise.config.compose import load
from epochwise.runs.lineage import trace_lineage

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
