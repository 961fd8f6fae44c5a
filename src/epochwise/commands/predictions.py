"""Predictions as text: a table on the terminal, csv or json."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from epochwise.common.tables import as_csv, as_json, natural_width
from epochwise.common.terminal import Terminal

TABLE = "table"
DECIMALS = 6  # of a probability in csv and json


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image. Classes are called by their names."""

    image: str
    predicted: str
    probability: float
    second: str  # the class with the second highest probability
    second_probability: float
    truth: str | None  # of a test image; None for a user's picture
    hint: str  # what makes it doubtful; empty if nothing does

    @property
    def is_wrong(self) -> bool:
        return self.truth not in (None, self.predicted)


def as_text(rows: list[Prediction], form: str) -> str:
    """The rows as json, a list of objects, or as csv with a line of heads."""
    values = [_values(row) for row in rows]
    return as_json(values) if form == "json" else as_csv(values, list(values[0]))


def _values(row: Prediction) -> dict[str, object]:
    values: dict[str, object] = {"image": row.image, "predicted": row.predicted}
    values |= {"probability": round(row.probability, DECIMALS)}
    values |= {} if row.truth is None else {"truth": row.truth}
    return values | {"hint": row.hint}


def print_table(rows: list[Prediction]) -> None:
    """Print a row for each image: of test images with the truth, of pictures with the second guess.

    Where the terminal is too narrow for the table, print each image's values on lines of their own.
    """
    console = Terminal()
    table = Table(title=_title(rows))
    for head, _ in _cells(rows[0]):
        table.add_column(head, justify="left" if head == "hint" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for _, cell in _cells(row)))
    needed = natural_width(table)
    if not console.is_terminal:  # a file has no width
        console.width = max(console.width, needed)
    if needed <= console.width:
        console.print(table)
        return
    console.print(_title(rows), markup=False)
    for line in _listed(rows):
        console.print(line, markup=False)


def _title(rows: list[Prediction]) -> str:
    plural = "s" * (len(rows) > 1)
    if rows[0].truth is None:
        return f"{len(rows)} picture{plural}"
    return f"{len(rows)} random test image{plural}, {sum(not row.is_wrong for row in rows)} right"


def _cells(row: Prediction) -> list[tuple[str, str]]:
    """The heads of a row and what stands under them."""
    cells = [("image", row.image), ("predicted", row.predicted), ("probability", f"{row.probability:.2%}")]
    if row.truth is None:
        cells.append(("second guess", f"{row.second} ({row.second_probability:.2%})"))
    else:
        cells += [("truth", row.truth), ("result", "wrong" if row.is_wrong else "right")]
    return [*cells, ("hint", row.hint)]


def _listed(rows: list[Prediction]) -> Iterator[str]:
    """A block of lines for each image."""
    for row in rows:
        (_, image), *rest = _cells(row)
        yield image
        yield from (f"  {head} {cell}" for head, cell in rest if cell)
