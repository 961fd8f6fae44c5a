"""How long an epoch and a run take on this machine, and how much disk, from the runs that are there."""

import json
import statistics
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochwise.common.errors import InputError
from epochwise.config.schema import PATIENCE
from epochwise.pipeline.directories import run_directories
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import FINISHED, RunRecord
from epochwise.sweeps.record import Point
from epochwise.trajectory.identity import PROCESS
from epochwise.trajectory.remote_states import Store, largest_state

MAX_RUNS = 20  # of one kind that are looked at, the latest
SAME_PACE = (
    *("train.epochs", PATIENCE, "train.learning_rate"),
    *("train.decay_every", "train.decay_factor", "train.cooldown_epochs"),
)


@dataclass(frozen=True)
class Pace:
    """Medians over `runs` runs of one network on the same data; what none of them shows is None."""

    runs: int
    epoch: float  # seconds
    around: float | None  # seconds that a run takes beside its training
    directory: int | None  # bytes of a run directory
    state: int | None  # bytes of a state


def paces(root: Path, store: Store | None, points: Iterable[Point]) -> dict[str, Pace]:
    """The pace of each kind of run among `points` of which there are runs, see `kind`."""
    wanted = {kind(point.parameters, point.data_sha256) for point in points}
    samples: dict[str, list[tuple[RunDirectory, RunRecord]]] = {}
    for run in run_directories(root):
        with suppress(InputError):
            record = run.read_record()
            found = kind(record.identity.get("parameters", {}), record.data_sha256)
            here = record.identity.get("processor") == PROCESS["processor"]
            if found in wanted and here and record.epochs_trained and len(samples.get(found, [])) < MAX_RUNS:
                samples.setdefault(found, []).append((run, record))
    return {key: _pace(store, found) for key, found in samples.items()}


def kind(parameters: Mapping[str, Any], data_sha256: str | None) -> str:
    """What runs have in common whose epochs take as long: data and all parameters but rates, dropouts and the seed."""
    decisive = {
        key: value
        for key, value in sorted(parameters.items())
        if key.startswith(("model.", "train.")) and key not in SAME_PACE and not key.endswith("dropout")
    }
    return json.dumps([data_sha256, decisive])


def _pace(store: Store | None, found: list[tuple[RunDirectory, RunRecord]]) -> Pace:
    finished = [(run, record) for run, record in found if record.status == FINISHED and record.started and record.ended]
    around = [((record.ended or 0) - (record.started or 0)) / 1000 - record.train_seconds for _, record in finished]
    sizes = [sum(path.stat().st_size for path in run.path.iterdir() if path.is_file()) for run, _ in finished]
    return Pace(
        len(found),
        statistics.median(record.train_seconds / record.epochs_trained for _, record in found),
        statistics.median(around) if around else None,
        int(statistics.median(sizes)) if sizes else None,
        largest_state(store, found[0][1].trajectory) if store else None,
    )
