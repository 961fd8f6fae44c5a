"""Files that several processes write, also on hosts or in containers that know nothing of each other."""

import subprocess
import sys

import pytest
from conftest import ROOT, clean_environment

from epochwise.common import files
from epochwise.common.files import replacing, temporary_names, write_text
from epochwise.common.hosts import kernel

WRITE = """
import os, sys
from pathlib import Path
from epochwise.common import files
os.getpid = lambda: 1  # as the first process of each container
for number in range(300):
    files.write_text(Path(sys.argv[1]), sys.argv[2] * 1000)
"""


@pytest.mark.slow
def test_two_containers_whose_processes_have_one_number_write_one_file(tmp_path):
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    commands = [[sys.executable, "-c", WRITE, tmp_path / "file", letter] for letter in "abc"]
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "file").read_text() in [letter * 1000 for letter in "abc"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_temporary_name_names_the_host_and_is_never_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "name_in_files", lambda: "node-7")
    with replacing(tmp_path / "a.npz") as first, replacing(tmp_path / "a.npz") as second:
        assert first != second and first.suffix == ".npz" and first.name.startswith(".node-7.")
        for temporary in (first, second):
            assert temporary_names("a.npz").fullmatch(temporary.name)
            write_text(temporary, "text")
    assert temporary_names("a.npz").fullmatch(".4711.a.npz"), "as they were before"
    assert not temporary_names("a.npz").fullmatch(".b.a.npz")


def test_all_processes_of_a_host_have_one_kernel():
    command = [sys.executable, "-c", "from epochwise.common.hosts import kernel; print(kernel())"]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip() == kernel()
