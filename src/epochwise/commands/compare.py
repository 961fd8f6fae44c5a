"""`epochwise compare`: the leaderboard of sweeps, or what two runs differ in."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from epochwise.commands.difference import difference, print_difference
from epochwise.commands.find_named import find_named
from epochwise.common.errors import InputError
from epochwise.common.paths import find_root, main_root
from epochwise.common.tables import as_csv, as_json, as_markdown
from epochwise.common.wording import counted
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.directory import find_sweep
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.table import as_text, print_leaderboard
from epochwise.tracking.download import fetch_run


def compare(wanted: Sequence[Path | str], form: str, seeds: bool = False) -> None:
    """Print the leaderboard of the sweeps `wanted`, of the latest one for none, or the difference of two runs.

    Each is an id or a directory; runs that only MLflow has are downloaded for the moment. With `seeds` the runs of each
    setting of a leaderboard stand below it. Raises InputError if one is not there, or if they are neither sweeps nor
    two runs.
    """
    root = find_root()
    with ExitStack() as stack:
        found = [_find(one, stack) for one in wanted] or [find_sweep(root, None)]
        runs = [one for one in found if isinstance(one, RunDirectory)]
        sweeps = [one for one in found if isinstance(one, SweepRecord)]
        if sweeps and not runs:
            leaderboard = make_leaderboard(root, *sweeps)
            if form == "table":
                print_leaderboard(leaderboard, seeds)
            else:
                print(as_text(leaderboard, form, seeds), end="")
        elif len(runs) == 2 and not sweeps:
            if seeds:
                raise InputError("--seeds unfolds the settings of a leaderboard; leave it out to compare two runs")
            _print_difference(runs[0], runs[1], form)
        else:
            raise InputError(
                f"compare takes sweeps, or two runs; got {counted(len(sweeps), 'sweep')} and "
                f"{counted(len(runs), 'run')}; `epochwise report RUN` shows one run, `epochwise runs` lists all"
            )


def _print_difference(one: RunDirectory, other: RunDirectory, form: str) -> None:
    found = difference(one, other)
    if form == "json":
        print(as_json(found.as_json()), end="")
    elif form == "csv":
        print(as_csv(found.rows(), ("part", "what", "A", "B")), end="")
    elif form == "markdown":
        lines = [[str(value) for value in row.values()] for row in found.rows()]
        print(as_markdown(("part", "what", "A", "B"), lines), end="")
    else:
        print_difference(found)


def _find(wanted: Path | str, stack: ExitStack) -> RunDirectory | SweepRecord:
    """As `find_named`, but a run that only MLflow has is downloaded until `stack` closes."""
    try:
        return find_named(wanted)
    except InputError as unknown:
        if isinstance(wanted, Path):
            raise
        scratch = RunDirectory(Path(stack.enter_context(TemporaryDirectory(prefix="epochwise-"))))
        try:
            fetch_run(main_root(), wanted, scratch.path)
        except InputError:
            raise unknown from None
        return scratch
