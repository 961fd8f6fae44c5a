"""What an element of a SLURM array runs: the points of one trajectory, by number, the longest first.

It needs nobody: the command that submitted it may have ended. Why a point failed is written to its run directory.
"""

import json
import os
import sys
from pathlib import Path

from epochwise.common.errors import InputError, RunError, one_line
from epochwise.common.files import read_json, write_text
from epochwise.common.hosts import host_name
from epochwise.common.processes import exit_on_signals, print_in_any_encoding
from epochwise.sweeps.directory import failure_file
from epochwise.sweeps.host import describe_host, difference
from epochwise.sweeps.job import free_memory, run_number
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.slurm import forget_hosts
from epochwise.trajectory.identity import OF_A_HOST, PROCESS


def run_element(batch: Path, index: int) -> bool:
    """Run the points of an element of a batch file; returns whether all are done."""
    content = read_json(batch)
    sweep = SweepRecord.read(batch.parent)
    parts = ("versions", "code") if sweep.mixed else ("versions", "code", *OF_A_HOST)
    problem = difference(content["identity"], PROCESS, parts)
    if problem:
        forget_hosts()
        problem = (
            f"node {_node()} has another {problem}; choose nodes by hydra.launcher.constraint, or sweep.mixed=true"
        )
    done = True
    for number in content["elements"][index]:
        run = sweep.run_directory(sweep.points[number])
        failure = problem or _attempt(batch.parent, number)
        if failure:
            print(f"failed: {sweep.points[number].name}: {failure}", flush=True)
            write_text(failure_file(run), failure + "\n")
            done = False
        else:
            print(f"done: {sweep.points[number].name}", flush=True)
    return done


def _attempt(folder: Path, number: int) -> str:
    """Why a point failed; nothing if it is done."""
    try:
        run_number(str(folder), number)
    except (InputError, RunError) as error:
        return one_line(error)
    except Exception as error:  # a point may raise anything; the others of its trajectory are run all the same
        return f"{type(error).__name__}: {one_line(error)}"
    finally:
        free_memory()
    return ""


def _node() -> str:
    """The node's name as SLURM has it."""
    return os.environ.get("SLURMD_NODENAME") or host_name()


def main() -> None:
    """Run an element, or with `--host PROBE` print what `describe_host` says of this node."""
    exit_on_signals()
    print_in_any_encoding()
    try:
        if sys.argv[1] == "--host":
            print(json.dumps(describe_host(Path(sys.argv[2])).as_plain() | {"name": _node()}))
            return
        done = run_element(Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"]))
    except (InputError, OSError) as error:  # files are gone, damaged, or another user's
        sys.exit(f"error: {one_line(error)}")
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
