"""Tab completion, as click asks for it and as real shells on a pseudo-terminal do."""

import os
import pty
import re
import select
import shutil
import time

import pytest
from click.shell_completion import ShellComplete
from conftest import clean_environment
from mlflow_runs import untracked_run

from epochwise import cli

SCRIPTS = {
    "bash": (["bash", "--norc", "-i"], 'eval "$(_EPOCHWISE_COMPLETE=bash_source epochwise)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u; eval "$(_EPOCHWISE_COMPLETE=zsh_source epochwise)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "_EPOCHWISE_COMPLETE=fish_source epochwise | source"),
}


def completions(*words: str) -> list[str]:
    """What is offered for the last word."""
    *before, last = words
    asked = ShellComplete(cli.epochwise, {}, "epochwise", cli.COMPLETION).get_completions(before, last)
    return [item.value for item in asked]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pro"], ["promote"]),
        (["run", "train.epo"], ["train.epochs="]),
        (["run", "experiment="], ["experiment=fast", "experiment=quick", "experiment=writeup"]),
        (["run", "+sw"], ["+sweep="]),
        (["run", "-m", "+sweep=d"], ["+sweep=dropout"]),
        (["run", "experiment", "=", "q"], ["quick"]),  # three words to Bash
        (["run", "hydra/launcher", ""], ["parallel", "ray", "serial", "slurm"]),
        (["run", "train.precision=m"], ["train.precision=mixed_bfloat16"]),
        (["run", "train.reuse="], ["train.reuse=true", "train.reuse=false"]),
        (["check", "train.epochs="], ["train.epochs=2"]),
        (["train", "prepare.source=f"], ["prepare.source=fashion_mnist"]),
        (["run", "no.such.key="], []),
        (["compare", "--format", "m"], ["markdown"]),
        (["reproduce", ""], []),
    ],
)
def test_commands_keys_and_values(project, words, offered):
    assert completions(*words) == offered


def test_ids_of_runs(project, tensors):
    run_id = untracked_run(project).read_record().run_id
    for command in (["reproduce"], ["promote"], ["report"], ["predict", "--model"]):
        assert completions(*command, run_id[:5]) == [run_id]
    assert completions("predict", "--model", "ch") == ["champion"]


def test_outside_a_project_nothing_is_offered_and_nothing_fails(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completions("run", "experiment=") == completions("promote", "") == []


@pytest.mark.slow
@pytest.mark.parametrize("shell", SCRIPTS)
def test_in_a_real_shell(project, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    terminal = Terminal(SCRIPTS[shell][0], str(project.path))
    terminal.type(f"{SCRIPTS[shell][1]}\n", None)
    for typed, completed in (
        ("epochwise prom\t", "epochwise promote "),
        ("epochwise run train.epo\t", "epochwise run train.epochs="),
        ("epochwise run experiment=qu\t", "epochwise run experiment=quick "),
    ):
        terminal.type(typed, completed)
        terminal.type("\x15", None)  # Ctrl-U empties the line, in order with what is typed next
    terminal.close()


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, command: list[str], folder: str) -> None:
        self.process, self.terminal = pty.fork()
        if not self.process:
            os.chdir(folder)
            os.execvpe(command[0], command, clean_environment() | {"TERM": "xterm"})

    def type(self, text: str, expected: str | None, seconds: float = 60) -> None:
        """Type, and wait until the last line is as `expected`; without that, until the shell is silent for a second."""
        os.write(self.terminal, text.encode())
        seen, deadline = "", time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 65536).decode(errors="replace")
            elif expected is None:
                return
            if expected and expected in self._plain(seen):
                return
        raise AssertionError(f"{expected!r} does not appear; there is {self._plain(seen)!r}")

    def close(self) -> None:
        os.close(self.terminal)
        os.waitpid(self.process, 0)

    @staticmethod
    def _plain(seen: str) -> str:
        """What is printed without control sequences and what they draw again."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()=>][A-Z0-9]?|\x08|\x07", "", seen)
