"""sweep.json: the points of a sweep, why some of them failed, and what MLflow has of the sweep."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.config.schema import BEFORE
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import now

RECORD = "sweep.json"

POINT_TYPES: dict[str, Any] = {  # of the keys that every point in sweep.json has
    **{"job": int, "name": str, "overrides": list, "parameters": dict, "fingerprint": (str, NoneType)},
    **{"data_sha256": (str, NoneType), "refused": str, "bracket": int},
}
SWEEP_TYPES: dict[str, Any] = {  # of the other keys in sweep.json
    **dict.fromkeys(("id", "command", "experiment", "link", "published", "published_digest"), str),
    **dict.fromkeys(("validates_on_test", "reuse", "rerun", "mixed", "search_ended"), bool),
    **{"varied": list, "points": list, "failures": dict, "changed": int, "search": dict},
}


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep. Without a fingerprint its data could not be prepared; `refused` says why."""

    job: int  # Hydra's number of the job
    name: str  # what sets the point apart from the others: `epochs=12 dense_dropout=0.5`
    overrides: list[str]
    parameters: dict[str, Any]  # all of them, by dotted key
    fingerprint: str | None = None
    data_sha256: str | None = None
    refused: str = ""
    bracket: int = 0  # of a search: which settings it is ranked among, see `search`


@dataclass(frozen=True)
class SweepRecord:
    """What sweep.json holds, and the folder that it lies in. A changed record is a new one: `replace(sweep, …)`."""

    folder: Path
    id: str
    command: str
    experiment: str
    varied: list[str]  # the parameters that differ between points, by dotted key
    points: list[Point]
    validates_on_test: bool
    reuse: bool  # whether runs reuse each other's epochs; if not, only runs that reused none count as finished
    rerun: bool = False  # whether only runs in the sweep's own run directories count as finished
    mixed: bool = False  # whether a run counts on whatever processor; then fingerprints are `mixed_fingerprint`s
    failures: dict[int, str] = field(default_factory=dict)  # why a job failed, by its number
    link: str = ""  # to the sweep's runs in MLflow, once they are there
    published: str = ""  # the tracking server that has the sweep
    published_digest: str = ""  # sha256 of the leaderboard that this server has
    changed: int = (
        0  # when jobs were last begun or failed, in milliseconds since 1970; the latest sweep has the largest
    )
    search: dict[str, Any] = field(default_factory=dict)  # how a search chooses its points, see `search.Search`
    search_ended: bool = False  # whether the points are all that it chooses; a search that is broken off chooses others

    def run_directory(self, point: Point) -> RunDirectory:
        """Where the run of a point is written; the finished run may lie elsewhere, see `directory.finished_runs`."""
        return RunDirectory(self.folder / str(point.job))

    @property
    def is_broken_off(self) -> bool:
        """Whether this is a search that has not come to its end: the same command goes on with it."""
        return bool(self.search) and not self.search_ended

    def unpublished(self) -> "SweepRecord":
        """The record of this sweep when MLflow could not be brought up to date."""
        return replace(self, link="", published="", published_digest="")

    def write(self, keep_time: bool = False) -> "SweepRecord":
        """Write sweep.json, and return what it holds. With `keep_time` the latest sweep stays the latest.

        The time stands in the file: to copy, unpack or touch a folder must not make another sweep the latest.
        """
        written = self if keep_time else replace(self, changed=now())
        write_json(self.folder / RECORD, {key: value for key, value in asdict(written).items() if key != "folder"})
        return written

    @staticmethod
    def exists(folder: Path) -> bool:
        return (folder / RECORD).is_file()

    @staticmethod
    def read(folder: Path) -> "SweepRecord":
        """Raises InputError if `folder` holds no sweep."""
        path = folder / RECORD
        content = read_json(path)
        # Until version 0.1 `published_digest` was called `told`, and the time was that of the file.
        optional = {"rerun": False, "mixed": False, "failures": {}, "link": "", "published": "", "search": {}}
        optional["search_ended"] = False
        optional["changed"] = _time_of_change(path)
        values = _checked(optional | {"published_digest": content.get("told", "")} | content, SWEEP_TYPES, path)
        if not all(job.isdecimal() and isinstance(reason, str) for job, reason in values["failures"].items()):
            raise InputError(f"{path}: not a sweep's record: failures is {values['failures']!r}")
        values["failures"] = {int(job): reason for job, reason in values["failures"].items()}
        needed = {"train.epochs", *values["varied"]}
        values["points"] = [_read_point(point, needed, path) for point in values["points"]]
        return SweepRecord(folder=folder, **values)


def _time_of_change(path: Path) -> int:
    return int(path.stat().st_mtime * 1000)


def _read_point(content: object, needed: set[str], path: Path) -> Point:
    """A point of sweep.json, which must have the `needed` parameters. It has those that are newer, too: see BEFORE."""
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a sweep's record: a point is {content!r}")
    optional = {"fingerprint": None, "data_sha256": None, "refused": "", "bracket": 0}
    point = Point(**_checked(optional | content, POINT_TYPES, path))
    older = {key: value for key, value in BEFORE.items() if key not in point.parameters}
    lacking = sorted(needed - point.parameters.keys() - older.keys())
    if lacking:
        raise InputError(f"{path}: not a sweep's record: point {point.job} lacks {', '.join(lacking)}")
    return replace(point, parameters=point.parameters | older)


def _checked(values: Mapping[str, Any], types: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values of the keys in `types`. Raises InputError if one of them has another type."""
    for key, expected in types.items():
        if not isinstance(values.get(key), expected):
            raise InputError(f"{path}: not a sweep's record: {key} is {values.get(key)!r}")
    return {key: values[key] for key in types}
