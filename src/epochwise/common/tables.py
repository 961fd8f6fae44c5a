"""Rows as text: csv, markdown, JSON, or a table on the terminal that leaves out columns that do not fit."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from epochwise.common.terminal import Terminal

WIDEST = 10_000  # characters: wider than any table, to find out how wide one is


def as_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """A line for each row, below a line with the columns' names."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def as_markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of markdown. A bar inside a cell would end the cell, so it is escaped."""
    table = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in line] for line in lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


def print_table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    dispensable: Sequence[str],
    console: Terminal,
    title: str = "",
    to_the_left: Sequence[str] = (),
) -> list[str]:
    """Print a table, or a line for each row where none fits, and return the heads of the columns that were left out.

    A narrow terminal lacks the first of the `dispensable` columns; a file has no width. The first column is the number
    of a row where only lines fit; a row without one belongs to the one above. Columns are aligned to the right but for
    those named by `to_the_left`.
    """
    for number in range(len(dispensable) + 1):
        left_out = dispensable[:number]
        table = _table(heads, lines, left_out, title, to_the_left)
        width = natural_width(table)
        if not console.is_terminal:
            console.width = max(console.width, width)
        if width <= console.width:
            console.print(table)
            return [head for head in left_out if head in heads]
    kept = [index for index, head in enumerate(heads) if index and head not in dispensable]
    for line in lines:
        cells = " · ".join(f"{heads[index]} {line[index]}" for index in kept if line[index])
        text = f"{line[0]}. {cells}" if line[0] else f"   {cells}"
        console.print(text, markup=False, soft_wrap=False)
    return [head for head in dispensable if head in heads]


def _table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    left_out: Sequence[str],
    title: str,
    to_the_left: Sequence[str],
) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    kept = [index for index, head in enumerate(heads) if head not in left_out]
    for index in kept:
        head = Text(heads[index])
        table.add_column(head, justify="left" if heads[index] in to_the_left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(line[index]) for index in kept))
    return table


def natural_width(table: Table) -> int:
    """How many characters a table needs if none of its cells is broken or cut."""
    console = Terminal()
    console.width = WIDEST
    return console.measure(table).maximum
