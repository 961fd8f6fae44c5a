"""The leaderboard of a sweep: its settings, best first by validation, with what they cost and what failed.

Made from run directories alone. The test set is shown and never ranks.
"""

import csv
import hashlib
import io
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from epochwise.common.files import write_text
from epochwise.runs import directory as rundir
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.record import Point, Sweep
from epochwise.training import history

SUMMED = ("epochs_trained", "epochs_reused", "train_seconds", "trajectory_seconds")
DISPENSABLE = ("val_loss", "trained", "reused", "best epoch")  # columns left out, in this order, of a narrow terminal
CHARTS = "&compareRunsMode=CHART"  # on the link of MLflow's runs page opens it at the charts
MOST_CURVES = 10  # in one picture; more cannot be told apart


@dataclass(frozen=True)
class Result:
    """A finished run of the sweep: its point, where it lies, what it measured and what it cost."""

    point: Point
    folder: Path
    record: dict
    metrics: dict[str, float]


@dataclass(frozen=True)
class Row:
    """A setting, which is all parameters but the seed: its runs, the best first."""

    setting: dict[str, object]
    results: list[Result]

    def mean(self, metric: str) -> float:
        return statistics.fmean(result.metrics[metric] for result in self.results)

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None for one run."""
        values = [result.metrics[metric] for result in self.results]
        return statistics.stdev(values) if len(values) > 1 else None

    def cost(self, name: str) -> float:
        return sum(result.record[name] for result in self.results)


@dataclass(frozen=True)
class Board:
    """Rows, best first; then, by the name of their point, what failed and what has not been run."""

    sweep: Sweep
    rows: list[Row]
    failures: list[tuple[str, str]]
    missing: list[str]

    @property
    def keys(self) -> list[str]:
        """The parameters that tell settings apart."""
        return [key for key in self.sweep.varied if key != "seed"]

    @property
    def best(self) -> Result | None:
        """Of the best setting, the run with the best validation."""
        return self.rows[0].results[0] if self.rows else None

    @property
    def files(self) -> list[Path]:
        names = ("leaderboard.csv", "leaderboard.json", "leaderboard.md", "curves.png", "heat_map.png")
        return [path for name in names if (path := self.sweep.folder / name).is_file()]


def make(root: Path, sweep: Sweep) -> Board:
    """The leaderboard of what is finished now."""
    finished = sweepdir.finished(root, sweep)
    runs: dict[Path, Result] = {}
    for point in sweep.points:
        folder = finished.get(point.job)
        if folder and folder not in runs:  # two points of a grid can be one and the same run
            runs[folder] = Result(point, folder, rundir.read_record(folder), rundir.read_metrics(folder))
    settings: dict[str, list[Result]] = {}
    for result in runs.values():
        setting = {key: value for key, value in result.point.parameters.items() if key != "seed"}
        settings.setdefault(json.dumps(setting), []).append(result)
    rows = [Row(json.loads(key), sorted(results, key=_rank)) for key, results in settings.items()]
    rows.sort(key=lambda row: (-row.mean("val_accuracy"), row.mean("val_loss")))
    unfinished = [point for point in sweep.points if point.job not in finished]
    reasons = _reasons(sweep, unfinished)
    failed = [
        (point.name, _why(root, sweep, point, reasons[point.job])) for point in unfinished if point.job in reasons
    ]
    return Board(sweep, rows, failed, [point.name for point in unfinished if point.job not in reasons])


def _reasons(sweep: Sweep, unfinished: list[Point]) -> dict[int, str]:
    """Why points failed, by job: as the sweep was told, or, of a run that another launcher ran, as run.json says."""
    jobs = {str(point.job): point.fingerprint for point in sweep.points if point.fingerprint}
    told = {jobs[job]: reason for job, reason in sweep.failures.items() if job in jobs}
    reasons = {}
    for point in unfinished:
        reason = sweep.failures.get(str(point.job)) or told.get(point.fingerprint)  # its twin's, if it is the same run
        if reason or rundir.status(sweep.run_folder(point)) == "FAILED":
            reasons[point.job] = reason or "FAILED"
    return reasons


def _rank(result: Result) -> tuple[float, float]:
    return -result.metrics["val_accuracy"], result.metrics["val_loss"]


def _why(root: Path, sweep: Sweep, point: Point, reason: str) -> str:
    log = sweep.run_folder(point) / sweepdir.LOG
    if not log.is_file():
        return reason
    return f"{reason} (log: {log.relative_to(root) if log.is_relative_to(root) else log})"


def write(board: Board) -> None:
    """leaderboard.{csv,json,md} and the pictures, into the sweep's directory."""
    from epochwise.sweeps import pictures as charts

    folder = board.sweep.folder
    for suffix, form in (("csv", "csv"), ("json", "json"), ("md", "markdown")):
        write_text(folder / f"leaderboard.{suffix}", text(board, form))
    if not board.rows:
        return
    lines = _lines(board)
    left_out = f"; the best {MOST_CURVES} of {len(lines)}" if len(lines) > MOST_CURVES else ""
    seeds = "; of several seeds the best" if board.keys and any(len(row.results) > 1 for row in board.rows) else ""
    heading = f"measured on {_validation(board)}; a dot where a run ends{seeds}{left_out}"
    charts.curves(lines[:MOST_CURVES], folder / "curves.png", heading)
    if len(board.keys) == 2:
        cells = {tuple(_plain(row.setting[key]) for key in board.keys): row.mean("val_accuracy") for row in board.rows}
        charts.heat_map(board.keys, cells, folder / "heat_map.png", f"val_accuracy ({_validation(board)})")


def text(board: Board, form: str) -> str:
    """The leaderboard as markdown, csv or json."""
    if form == "json":
        about = {"sweep": board.sweep.id, "validation": _validation(board), "rows": records(board)}
        return json.dumps(about | {"failed": dict(board.failures), "not_run": board.missing}, indent=2) + "\n"
    if form == "csv":
        stream = io.StringIO()
        rows = [{**row, "runs": " ".join(row["runs"])} for row in records(board)]
        writer = csv.DictWriter(stream, list(rows[0]) if rows else ["rank"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()
    heads, lines = cells(board)
    table = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in table) + "".join(f"\n{line}\n" for line in foot(board))


def digest(board: Board) -> str:
    """SHA-256 over all that the leaderboard says, by which it is known whether MLflow has this one."""
    return hashlib.sha256(text(board, "json").encode()).hexdigest()


def records(board: Board) -> list[dict[str, object]]:
    """A row each, in full precision; seconds and epochs are sums over its n runs."""
    made = []
    for rank, row in enumerate(board.rows, 1):
        about: dict[str, object] = {"rank": rank, **{key: _plain(row.setting[key]) for key in board.keys}}
        about |= {"epochs": row.setting["train.epochs"], "n": len(row.results)}
        for metric in rundir.MEASURED:
            about[metric] = row.mean(metric)
            about[f"{metric}_sd"] = row.deviation(metric)
        made.append(about | {name: row.cost(name) for name in SUMMED} | {"runs": [_id(run) for run in row.results]})
    return made


def cells(board: Board) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table for people."""
    seeds = "seed" in board.sweep.varied
    epochs = [] if "train.epochs" in board.keys else ["epochs"]
    heads = ["", *map(_short, board.keys), *epochs, *(["n"] if seeds else [])]
    heads += ["val_accuracy", "val_loss", "best epoch", "test_accuracy", "trained", "reused", "time"]
    lines = []
    for rank, row in enumerate(board.rows, 1):
        line = [str(rank), *(str(_plain(row.setting[key])) for key in board.keys)]
        line += [str(row.setting["train.epochs"])] * len(epochs) + [str(len(row.results))] * seeds
        line += [_with_deviation(row, "val_accuracy", 4), _with_deviation(row, "val_loss", 4)]
        line += [_with_deviation(row, "best_epoch", 1 if seeds else 0), _with_deviation(row, "test_accuracy", 4)]
        trained, reused, seconds = (row.cost(name) for name in SUMMED[:3])
        lines.append([*line, str(trained), str(reused), f"{seconds:.0f} s"])
    return heads, lines


def foot(board: Board) -> list[str]:
    """What is to be said under the table: costs, failures, how to take the winner."""
    said = [*_ranking(board), _cost(board)] if board.rows else []
    said += _twins(board)
    said += [f"failed: {name}: {reason}" for name, reason in board.failures]
    if board.missing:
        said.append(f"not run yet: {'; '.join(board.missing)}; the same command goes on with what is missing")
    if board.best:
        said.append(f"the winner as the pipeline's default: epochwise promote {_id(board.best)} --params && dvc repro")
    return said


def _ranking(board: Board) -> list[str]:
    said = [f"ranked by val_accuracy of the last epoch ({_validation(board)}); the test set is shown, not ranked by"]
    if board.sweep.validates_on_test:
        said = ["ranked on the test set, which is the validation here: not fit for choosing between settings"]
    if len({point.data_sha256 for point in board.sweep.points if point.data_sha256}) > 1:
        said.append("the settings differ in their data, so their validation images may not be the same")
    return said


def _cost(board: Board) -> str:
    """What the finished runs took to train, whoever trained their epochs and in however many attempts."""
    every = [result.record for row in board.rows for result in row.results]
    longest = {record["trajectory"]: record for record in sorted(every, key=lambda record: record["epochs"])}
    alone, shared = (
        f"{sum(record['epochs'] for record in some)} epochs, "
        f"{sum(record['trajectory_seconds'] for record in some):.0f} s of training"
        for some in (every, longest.values())
    )
    return f"{shared}, shared epochs counted once; each run by itself: {alone}" if board.sweep.reuse else alone


def _twins(board: Board) -> list[str]:
    """Points that are one and the same run, such as those of a parameter that another one makes ineffective."""
    names: dict[str, list[str]] = {}
    for point in board.sweep.points:
        if point.fingerprint:
            names.setdefault(point.fingerprint, []).append(point.name)
    return [f"the same run: {', '.join(same)}" for same in names.values() if len(same) > 1]


def show(board: Board) -> None:
    """Print the table, its foot and the link to the runs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    table = Table(title=Text(f"sweep {board.sweep.id}"), title_justify="left", box=box.SIMPLE_HEAD)
    heads, lines = cells(board)
    for left_out in ((), *(DISPENSABLE[:number] for number in range(1, len(DISPENSABLE) + 1))):
        kept = [index for index, head in enumerate(heads) if head not in left_out]
        table.columns, table.rows = [], []
        for index in kept:
            table.add_column(Text(heads[index]), justify="right", overflow="fold")
        for line in lines:
            table.add_row(*(Text(line[index]) for index in kept))
        width = Console(width=1000).measure(table).maximum
        if width <= console.width or not console.is_terminal:
            break
    if not console.is_terminal:  # a file has no width
        console.width = max(console.width, width)
    if board.rows:
        console.print(table)
    for line in foot(board):
        console.print(line, markup=False)
    if board.sweep.link:
        console.print(f"runs {board.sweep.link}", markup=False)
        console.print(f"curves {board.sweep.link}{CHARTS}", markup=False)


def _with_deviation(row: Row, metric: str, digits: int) -> str:
    deviation = row.deviation(metric)
    return f"{row.mean(metric):.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _lines(board: Board) -> list[tuple[str, history.Rows, list[int]]]:
    """Label, history and last epochs of the runs on each trajectory, which have all but their length in common."""
    shown = [row.results[0] for row in board.rows] if board.keys else board.rows[0].results
    trajectories: dict[str, list[Result]] = {}
    for result in shown:
        trajectories.setdefault(result.record["trajectory"], []).append(result)
    lines = []
    for results in trajectories.values():
        longest = max(results, key=lambda result: result.record["epochs"])
        keys = [key for key in board.keys if len(results) == 1 or key != "train.epochs"]
        keys = keys or [key for key in board.sweep.varied if key == "seed"]
        label = " ".join(f"{_short(key)}={_plain(longest.point.parameters[key])}" for key in keys) or "all runs"
        rows = history.read(longest.folder / rundir.HISTORY)
        lines.append((label, rows, sorted(result.record["epochs"] for result in results)))
    return lines


def _validation(board: Board) -> str:
    return "the test set" if board.sweep.validates_on_test else "validation images"


def _plain(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _short(key: str) -> str:
    return key.split(".")[-1]


def _id(result: Result) -> str:
    return result.record["run_id"]
