"""`epochwise runs`: the runs on disk, filtered and sorted."""

import json
import operator
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from omegaconf import OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import display_path, find_root
from epochwise.common.tables import as_csv, as_json, as_markdown, print_table
from epochwise.common.terminal import Terminal
from epochwise.config.limits import unknown_key
from epochwise.config.schema import OWN_PARAMETERS, is_parameter, parameter_keys, parameters
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.pipeline.model_record import record_of_model
from epochwise.runs.directory import MEASURED, RunDirectory
from epochwise.runs.record import FAILED, FINISHED, KILLED, RUNNING, RunRecord
from epochwise.sweeps.table import SHORT_ID

Value = str | int | float | None

COLUMNS = ("run", "name", "status", "started", "epochs", *MEASURED, "directory", "sweep", "published")
SHOWN = ("run", "name", "status", "started", "val_accuracy", "test_accuracy", "published", "directory")  # in the table
DISPENSABLE = ("published", "directory", "started", "test_accuracy", "name")  # a narrow terminal lacks the first
TO_THE_LEFT = ("run", "name", "status", "directory", "published")
SORT_KEYS = f"there is {', '.join(COLUMNS)}"
KEYS = f"{SORT_KEYS}, and the keys of params.yaml, such as train.epochs"
NUMBERS = ("epochs", *MEASURED)  # columns
IDS = ("run", "sweep")  # columns
STATUSES = (FINISHED, RUNNING, FAILED, KILLED)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    **{"<=": operator.le, ">=": operator.ge, "!=": operator.ne},
    **{"=": operator.eq, "<": operator.lt, ">": operator.gt},
}
CONDITION = re.compile(r"([\w.]+)(<=|>=|!=|=|<|>)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """What a run must meet to be listed: `val_accuracy>=0.99`, `status=FINISHED`, `train.epochs=12`."""

    key: str  # a column or a parameter
    comparison: str
    value: Value

    @staticmethod
    def parse(text: str) -> "Condition":
        """Raises InputError if there is no such column or parameter, or if `text` is no condition at all."""
        parts = CONDITION.fullmatch(text)
        if parts is None:
            raise InputError(f"{text}: not a condition; type one as status=FINISHED, train.epochs=12 or 'val_loss<0.1'")
        key, comparison, value = parts.groups()
        if key == OWN_PARAMETERS or not (key in COLUMNS or is_parameter(key)):
            raise InputError(f"{text}: {unknown_key(key, (*COLUMNS, *parameter_keys()), KEYS)}")
        if key == "status" and value not in STATUSES:
            raise InputError(f"{text}: a status is one of {', '.join(STATUSES)}")
        if key not in COLUMNS:
            return Condition(key, comparison, _typed(value) if value else "")
        typed = _number(value) if key in NUMBERS else value
        if key in NUMBERS and isinstance(typed, str):
            raise InputError(f"{text}: {key} is a number")
        return Condition(key, comparison, typed)

    def is_met_by(self, value: Value) -> bool:
        """Numbers are compared as numbers, all else as text; what a run does not have is an empty text.

        An empty text, and a text and a number such as null and 2, meet no condition but `=` and `!=`. An id may be
        shortened to its start, here as everywhere.
        """
        if value is None or value == "":
            return self.comparison in ("=", "!=") and (self.value == "") == (self.comparison == "=")
        if self.key in IDS and self.comparison in ("=", "!=") and self.value != "":
            return str(value).startswith(str(self.value)) == (self.comparison == "=")
        if isinstance(value, str) != isinstance(self.value, str):
            return self.comparison in ("=", "!=") and COMPARISONS[self.comparison](str(value), str(self.value))
        return COMPARISONS[self.comparison](value, self.value)


def runs(conditions: Sequence[str], sort: str, limit: int | None, form: str) -> None:
    """Print the runs in models/, outputs/ and multirun/ that meet all `conditions`, as table, markdown, csv or json.

    `sort` is a column, with a minus before it for the largest value first; runs without a value come last. Raises
    InputError for an unknown column or parameter.
    """
    wanted, column = [Condition.parse(text) for text in conditions], sort.removeprefix("-")
    if column not in COLUMNS:
        raise InputError(f"--sort {sort}: {unknown_key(column, COLUMNS, SORT_KEYS)}")
    found = [row for row in _rows(wanted) if all(condition.is_met_by(row[condition.key]) for condition in wanted)]
    with_value = [row for row in found if row[column] not in (None, "")]
    with_value.sort(key=lambda row: _order(row[column]), reverse=sort != column)
    listed = [*with_value, *(row for row in found if row[column] in (None, ""))][:limit]
    if form == "json":
        print(as_json([{name: row[name] for name in COLUMNS} for row in listed]), end="")
    elif form == "csv":
        print(as_csv([{name: row[name] for name in COLUMNS} for row in listed], COLUMNS), end="")
    elif form == "markdown":
        print(as_markdown(SHOWN, _lines(listed)), end="")
    else:
        _print(listed, len(found), bool(conditions))


def _print(listed: list[dict[str, Value]], found: int, filtered: bool) -> None:
    if not found:
        print("no run meets these conditions" if filtered else "no run is here yet; `epochwise run` makes one")
        return
    console = Terminal()
    left_out = print_table(SHOWN, _lines(listed), DISPENSABLE, console, to_the_left=TO_THE_LEFT)
    if left_out:
        console.print(f"not shown at this width: {', '.join(left_out)}; --format csv shows all", markup=False)
    if len(listed) < found:
        console.print(f"{len(listed)} of {found} runs; --limit {found} lists all", markup=False)


def _rows(conditions: Sequence[Condition]) -> list[dict[str, Value]]:
    """A row for each run, with the parameters that `conditions` ask for. A damaged run is left out."""
    asked = [condition.key for condition in conditions if condition.key not in COLUMNS]
    rows = []
    pipeline = pipeline_run()
    for run in (pipeline, *run_directories(find_root())):
        with suppress(InputError):
            record = (record_of_model(run) if run == pipeline else None) or run.read_record()
            rows.append(_row(run, record) | (_parameters(run, record, asked) if asked else {}))
    return rows


def _row(run: RunDirectory, record: RunRecord) -> dict[str, Value]:
    metrics: dict[str, float] = {}
    with suppress(InputError):
        metrics = run.read_own_metrics()
    started = datetime.fromtimestamp(record.started / 1000, UTC) if record.started else None
    return {
        **{"run": record.run_id, "name": record.name, "status": record.status},
        **{"started": started.isoformat(timespec="seconds") if started else "", "epochs": record.epochs},
        **{name: metrics.get(name) for name in MEASURED},
        **{"directory": display_path(run.path), "sweep": str(record.mlflow.get("tags", {}).get("sweep.id", ""))},
        "published": str(record.published or ""),
    }


def _parameters(run: RunDirectory, record: RunRecord, keys: Sequence[str]) -> dict[str, Value]:
    """The run's parameters; from config.yaml, which takes time to read, only what run.json does not hold."""
    logged = record.mlflow.get("params", {})
    if not all(key in logged for key in keys):
        values = parameters(run.read_config())
        logged = {key: logged.get(key, values.get(key, "")) for key in keys}
    return {key: _as_value(logged[key]) for key in keys}


def _lines(rows: Sequence[dict[str, Value]]) -> list[list[str]]:
    return [[_cell(column, row[column]) for column in SHOWN] for row in rows]


def _cell(column: str, value: Value) -> str:
    if value is None:
        return ""
    if column == "run":
        return str(value)[:SHORT_ID]
    if column == "started" and value:
        return f"{datetime.fromisoformat(str(value)).astimezone():%Y-%m-%d %H:%M}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _number(text: str) -> Value:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _typed(text: str) -> Value:
    """The value of a parameter as it is typed on the command line: false, null, [32,64], adam."""
    try:
        return _as_value(OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"])  # type: ignore
    except Exception:  # OmegaConf passes on whatever the YAML parser raises
        return text


def _as_value(value: object) -> Value:
    """Numbers and texts as they are; all else as text that is equal for equal values."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else json.dumps(value)


def _order(value: Value) -> tuple[bool, float | str]:
    """Numbers before texts, each in their own order."""
    return isinstance(value, str), value if value is not None else ""
