"""Tab completion: keys, values, presets, and the ids of runs and sweeps. What the shell asks for is in `cli.py`.

Nothing here raises: outside a project, or in a damaged one, there is nothing to complete.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class, shell_complete

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config.limits import OPTIMIZERS, PRECISIONS
from epochwise.config.params_file import read_params
from epochwise.config.schema import all_keys, parameter_keys
from epochwise.data.downloads import DATASETS
from epochwise.data.sources import DIGITS
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.sweeps.directory import known_sweeps
from epochwise.tracking.registry import CHAMPION

GROUPS = {"experiment": "experiment", "+sweep": "sweep"}  # what is typed, and the folder of conf/ with its presets
GROUPS |= {name: name for name in ("tracking", "hydra/launcher", "hydra/sweeper")}
MAX_RUNS = 100  # whose ids are offered, the latest first
BOOLEANS = (
    *("prepare.transpose", "tracking.enabled", "tracking.required", "train.reuse", "sweep.rerun"),
    *("train.nesterov", "train.augment.horizontal_flip"),
)
CHOICES = {"train.precision": PRECISIONS, "train.optimizer": OPTIMIZERS}


@add_completion_class
class Bash(BashComplete):
    """Bash, which shall put no space after a key, because its value comes next."""

    source_template = BashComplete.source_template.replace(
        "\n    return 0\n",
        "\n    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *= ]] && compopt -o nospace\n    return 0\n",
        1,
    )


@add_completion_class
class Zsh(ZshComplete):
    """Zsh, which shall put no space after a key, because its value comes next."""

    source_template = ZshComplete.source_template.replace(
        "        compadd -U -V unsorted -a completions\n",
        "        local -a keys=(${(M)completions:#*=}) others=(${completions:#*=})\n"
        "        compadd -U -S '' -V unsorted -a keys\n"
        "        compadd -U -V unsorted -a others\n",
    )


def answer_shell(command: click.Command, variable: str, instruction: str) -> int:
    """Print the script that a shell reads to complete `command`, or the completions that it asks for.

    `instruction` is the value of the environment variable `variable`. Returns the exit code.
    """
    return shell_complete(command, {}, "epochwise", variable, instruction)


def complete_overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`key=`, or the values of a key whose name and `=` are there."""
    typed = [str(word) for word in context.params.get(parameter.name or "") or ()]
    key, equals, start = incomplete.rpartition("=")
    if equals:
        return [CompletionItem(f"{key}={value}") for value in _values(key) if value.startswith(start)]
    # Bash takes a key, its `=` and its value for three words, and click leaves out an `=` that ends the line.
    before = typed[-2] if typed[-1:] == ["="] and len(typed) > 1 else typed[-1] if typed else ""
    if before in _keys():
        return [CompletionItem(value) for value in _values(before) if value.startswith(incomplete)]
    return [CompletionItem(f"{name}=") for name in _keys() if name.startswith(incomplete)]


def complete_conditions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`column=` or `parameter=`, for a condition on runs."""
    from epochwise.commands.runs import COLUMNS

    return [CompletionItem(f"{name}=") for name in (*COLUMNS, *parameter_keys()) if name.startswith(incomplete)]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of runs, each with its name."""
    return _matching(_runs(), incomplete)


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`champion`, and the ids of runs."""
    return _matching([(CHAMPION, "the model in MLflow's registry"), *_runs()], incomplete)


def complete_sweeps(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of sweeps, each with its command."""
    return _matching(_sweeps(), incomplete)


def complete_reports(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of sweeps and runs."""
    return _matching([*_sweeps(), *_runs()], incomplete)


def _matching(offered: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=about or None) for name, about in offered if name.startswith(incomplete)]


def _keys() -> list[str]:
    return [*all_keys(), *GROUPS]


def _values(key: str) -> list[str]:
    """The values to choose from, or for a number its value in params.yaml."""
    if key in GROUPS:
        with suppress(InputError):
            return sorted(path.stem for path in (find_root() / "conf" / GROUPS[key]).glob("*.yaml"))
        return []
    if key in BOOLEANS:
        return ["true", "false"]
    if key in CHOICES:
        return list(CHOICES[key])
    if key == "prepare.source":
        return [*DATASETS, DIGITS]
    with suppress(InputError):
        value: Any = read_params()
        for part in key.split("."):
            value = value.get(part) if hasattr(value, "get") else None
        return [str(value)] if isinstance(value, (int, float, str)) else []
    return []


def _runs() -> list[tuple[str, str]]:
    found = []
    with suppress(InputError):
        for run in islice((pipeline_run(), *run_directories(find_root())), MAX_RUNS):
            with suppress(InputError):
                record = run.read_record()
                found.append((record.run_id, record.name))
    return found


def _sweeps() -> list[tuple[str, str]]:
    with suppress(InputError):
        return [(sweep.id, sweep.command) for sweep in known_sweeps(find_root())]
    return []
