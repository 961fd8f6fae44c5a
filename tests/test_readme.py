"""README's commands, typed one after the other in a fresh copy of the project."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Every line of README's shell blocks, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    return [command.strip() for words in lines for command in shlex.join(words).split("'&&'")]


def test_set_up_is_two_commands():
    assert commands()[:2] == ["make repro", "make test"]


@pytest.mark.slow
def test_every_command_works(project):
    """The write-up's experiment takes minutes, so it is composed only; make's recipes are set-up and this very test."""
    project.edit("conf/sweep/grid.yaml", "2,4,6,8,10,12", "1,2")
    for command in commands():
        words = shlex.split(command)
        if words[0] == "make":
            project.ok("make", "--dry-run", words[1])
        elif words[0] != "source":
            project.ok(*words, *(["--cfg", "job"] if "experiment=seed" in words else []))


def test_every_file_and_target_that_is_named_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert target in targets, target
