"""A sweep's directory: sweep.json says what its points are and why some failed; each has its run directory.

Which points are finished is read from the run directories, wherever they lie, so it is never out of date.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.runs import directory as rundir

RECORD, LOG = "sweep.json", "run.log"


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep. Without a fingerprint its data could not be prepared, as `refused` says."""

    job: int
    name: str
    overrides: list[str]
    parameters: dict[str, object]
    fingerprint: str | None = None
    data_sha256: str | None = None
    refused: str = ""


@dataclass
class Sweep:
    """What sweep.json holds, and the folder it lies in."""

    folder: Path
    id: str
    command: str
    experiment: str
    varied: list[str]
    points: list[Point]
    validates_on_test: bool
    reuse: bool  # whether runs take epochs from one another; if not, only those that took none count as finished
    rerun: bool = False  # whether only its own run directories count
    failures: dict[str, str] = field(default_factory=dict)  # why, by job
    link: str = ""  # to its runs in MLflow, once they are there
    published: str = ""  # the tracking server that has them
    told: str = ""  # sha256 of the leaderboard that it has

    def run_folder(self, point: Point) -> Path:
        return self.folder / str(point.job)

    def write(self) -> None:
        write_json(self.folder / RECORD, {key: value for key, value in asdict(self).items() if key != "folder"})


def read(folder: Path) -> Sweep:
    """Raises InputError if `folder` holds no sweep."""
    record = read_json(folder / RECORD)
    try:
        points = [Point(**point) for point in record.pop("points")]
        return Sweep(folder=folder, points=points, **record)
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / RECORD}: not a sweep's record ({error})") from error


def known(root: Path) -> list[Sweep]:
    """All sweeps in multirun/, the latest first; what is not readable is left out."""
    found = []
    for path in sorted((root / "multirun").glob(f"**/{RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found.append(read(path.parent))
        except InputError:
            continue
    return found


def find(root: Path, wanted: Path | str | None) -> Sweep:
    """The sweep of that id or in that folder; the latest if `wanted` is None. Raises InputError if there is none."""
    if wanted and (root / wanted / RECORD).is_file():
        return read((root / wanted).resolve())
    sweeps = known(root)
    chosen = next((sweep for sweep in sweeps if wanted in (None, sweep.id)), None)
    if chosen is None:
        there = f"there is {', '.join(sweep.id for sweep in sweeps[:5])}" if sweeps else "there is none in multirun/"
        raise InputError(f"no sweep {wanted or ''}".strip() + f"; {there}; `epochwise run -m …` makes one")
    return chosen


def finished(root: Path, sweep: Sweep) -> dict[int, Path]:
    """Run directories of the sweep's finished points, by job: its own, or any that holds the very same run."""
    wanted = {point.fingerprint for point in sweep.points if point.fingerprint}
    elsewhere = {}
    own = [sweep.run_folder(point) for point in sweep.points]
    for folder in own if sweep.rerun else [*own, *rundir.all_of(root)]:
        made = rundir.complete(folder)
        if made and made.get("fingerprint") in wanted and (sweep.reuse or not made["epochs_reused"]):
            elsewhere.setdefault(made["fingerprint"], folder)
    return {point.job: elsewhere[point.fingerprint] for point in sweep.points if point.fingerprint in elsewhere}
