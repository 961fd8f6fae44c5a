"""Images in a CSV, as MNIST is often given away: a row an image, with one column for its label and one for each pixel.

A table of a training set and one of a test set, or one table. The signs between columns, a header, quotes, a byte order
mark, gzip and the place of the label are found in the file; what stays in doubt is refused.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epochwise.common.errors import InputError, one_line
from epochwise.common.wording import counted, listed
from epochwise.data.idx import open_unzipped
from epochwise.data.images import RawImages, ReadOptions, check_unpacked_size
from epochwise.data.part_names import CLASSES, LABELS, role_of, without_part
from epochwise.data.split import usual_test_size

SUFFIXES = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t", "|", " ")
ROW_NUMBERS = ("", "index", "id", "unnamed: 0")  # what a first column is called that counts the rows
LABEL_NAMES = LABELS | CLASSES
FEWEST_COLUMNS = 5  # a label and 2×2 pixels
ROWS_AT_ONCE = 5_000
LONGEST_LINE = 2**24  # characters of the first line; a picture of 1,000×1,000 has 4 million
LABEL_HINT = "name the columns in a first line, with `label` over that of the labels"


class Header(NamedTuple):
    """How the rows of a table are read: the sign between columns, and the names of the columns if it has a header."""

    delimiter: str
    columns: int
    names: list[str]
    label: int | None  # which column is the label; None if no name says so
    row_numbers: bool  # whether the first column counts the rows
    lines: int  # above the first row of values


class Table(NamedTuple):
    """A table that was read: pixels N×(H·W) or N×H×W, labels N, and what was done to read it."""

    pixels: np.ndarray
    labels: np.ndarray
    changes: list[str]


@dataclass(frozen=True)
class CsvTables:
    """A table with labelled images, and one with the test set if there is such a file."""

    train: Path
    test: Path | None = None
    unused: tuple[Path, ...] = ()

    @staticmethod
    def beside(path: Path) -> "CsvTables":
        """The table at `path`; if its name has the word train, also the one beside it that has test there instead."""
        same = [
            other
            for other in (sorted(path.parent.iterdir()) if _part(path) == "train" else [])
            if is_table(other) and _part(other) == "test" and without_part(_stem(other)) == without_part(_stem(path))
        ]
        return CsvTables(path, same[0] if len(same) == 1 else None)

    @staticmethod
    def find(folder: Path, entries: list[Path]) -> "CsvTables | None":
        """The tables among the files `entries` of a folder; None if there are none. Raises InputError if in doubt."""
        tables = [path for path in entries if is_table(path)]
        train, test = ([path for path in tables if _part(path) == part] for part in ("train", "test"))
        if len(train) == 1 and len(test) <= 1:
            unused = tuple(path for path in tables if path not in (*train, *test))
            return CsvTables(train[0], test[0] if test else None, unused)
        if len(tables) > 1:
            raise InputError(
                f"prepare.source: {folder} holds {listed(path.name for path in tables)}; a folder of CSV files holds "
                "one with `train` in its name and one with `test`. Name one file as the source, or move others away"
            )
        return CsvTables(tables[0]) if tables else None

    @property
    def files(self) -> list[Path]:
        return [self.train, *([self.test] if self.test else [])]

    def read(self, options: ReadOptions) -> RawImages:
        """Raises InputError if a table is damaged, or if it is in doubt which column is the label."""
        train, notes = read_table(self.train), []
        conversions = [f"{self.train.name}: {change}" for change in train.changes]
        if self.unused:
            notes.append(f"{self.train.parent.name} also holds {listed(path.name for path in self.unused)}: not used")
        if self.test is None or options.test_size:
            if self.test:
                notes.append(f"{self.test.name} is not used: prepare.test_size splits a test set off {self.train.name}")
            return RawImages(train.pixels, train.labels, conversions=conversions, notes=notes)
        _check_has_labels(self.test, self.train.name, train)
        test = read_table(self.test)
        conversions += [f"{self.test.name}: {change}" for change in test.changes]
        conversions.append(f"{self.test.name} taken as the test set")
        return RawImages(*train[:2], *test[:2], conversions=conversions, notes=notes)


def is_table(path: Path) -> bool:
    """Whether a file is named as a table is."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES) and path.is_file()


def read_table(path: Path) -> Table:
    """The images and labels in one CSV. Raises InputError."""
    with _named_in_errors(path):
        header = _read_header(path)
        try:
            columns = _read_columns(path, header)
        except Exception:  # a row of another length makes pandas say many things, of other rows too
            _check_lengths(path, header)
            raise
        return _arrange(path, header, *columns)


def _check_has_labels(path: Path, name_of_train: str, train: Table) -> None:
    """Raise InputError if a table of test images has a column for each pixel and none for the labels."""
    with _named_in_errors(path):
        header = _read_header(path)
    pixels = train.pixels[0].size
    if header.label is None and header.columns - header.row_numbers == pixels:
        size = usual_test_size(len(train.labels), len(np.unique(train.labels)))
        raise InputError(
            f"prepare.source: {path} has no labels, but {pixels} columns for the {pixels} pixels of {name_of_train}, "
            f"as in competitions; prepare.test_size={size} splits a test set off {name_of_train}"
        )


@contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a table becomes an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"prepare.source: {path} is no UTF-8 text ({one_line(error)}); save it as UTF-8") from error
    except Exception as error:  # pandas, gzip and the file system raise errors of many types
        raise InputError(f"prepare.source: {path} is not a readable CSV ({one_line(error)})") from error


def _read_header(path: Path) -> Header:
    """Raises InputError if the first line is no row of such a table."""
    with open_unzipped(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
        line, empty = text.readline(LONGEST_LINE), 0
        while line.isspace():
            line, empty = text.readline(LONGEST_LINE), empty + 1
    if not line or "\0" in line or len(line) == LONGEST_LINE:
        found = f"begins with {len(line):,} characters without a line's end" if "\0" not in line else "holds zero bytes"
        raise InputError(f"prepare.source: {path} is no CSV: it {found if line else 'is empty'}")
    rows = {sign: next(csv.reader([line.strip("\r\n")], delimiter=sign, skipinitialspace=True)) for sign in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda sign: len(rows[sign]))
    fields = [each.strip() for each in rows[delimiter]]
    if len(fields) < FEWEST_COLUMNS:
        raise InputError(
            f"prepare.source: {path} has the columns {listed(fields)}; there must be one for the label and one for "
            "each pixel"
        )
    if _are_mangled(fields):
        raise InputError(
            f"prepare.source: {path} has lost its first image: a program has taken its values for the names of columns "
            f"({listed(fields[:4])} …); write the table again from its source, with header=None"
        )
    names = fields if _are_names(fields) else []
    row_numbers = bool(names) and names[0].lower() in ROW_NUMBERS
    return Header(delimiter, len(fields), names, _label_column(path, names), row_numbers, empty + bool(names))


def _are_mangled(fields: list[str]) -> bool:
    """Whether these are values that pandas has made different from each other: 0, 0.1, 0.2 … for three times 0."""
    numbered = [match for match in (re.fullmatch(r"(\d+)\.(\d+)", each) for each in fields) if match]
    repeated: dict[str, list[str]] = {}
    for match in numbered:
        repeated.setdefault(match[1], []).append(match[2])
    counted_up = all(
        suffixes == [str(place) for place in range(1, len(suffixes) + 1)] for suffixes in repeated.values()
    )
    return len(numbered) > len(fields) / 2 and counted_up


def _are_names(fields: list[str]) -> bool:
    """Whether the first row names the columns. A single word at an end of a row of numbers is a label."""
    words = [each for each in fields if each and not _is_number(each)]
    numbers = [int(each) for each in fields if each.isdecimal()]
    counts = list(range(numbers[0], numbers[0] + len(numbers))) if numbers else []
    if len(numbers) >= FEWEST_COLUMNS - 1 and len(fields) - len(numbers) <= 2 and numbers == counts:
        return True  # as pandas writes them: label,0,1,2,…
    if len(words) == 1 and len(words[0]) == 1 and words[0] in (fields[0], fields[-1]):
        return False  # a letter beside numbers is a label, even y
    return len(words) > len(fields) / 2 or any(word.lower() in LABEL_NAMES for word in words)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label_column(path: Path, names: list[str]) -> int | None:
    """The column that is named as labels are, or the only one at an end whose name has no number. Raises InputError."""
    named = [number for number, name in enumerate(names) if name.lower() in LABEL_NAMES]
    if len(named) > 1:
        raise InputError(f"prepare.source: {path} has {len(named)} columns that may be the label: {LABEL_HINT} only")
    if named or not names:
        return named[0] if named else None
    ends = [number for number in (0, len(names) - 1) if not re.search(r"\d", names[number])]
    ends = [number for number in ends if names[number].lower() not in ROW_NUMBERS]
    return ends[0] if len(ends) == 1 else None


def _read_columns(path: Path, header: Header) -> tuple[np.ndarray, dict[int, list[str]]]:
    """The columns of numbers as N×M, and those that may be labels as text, by their number."""
    import pandas  # here because it takes half a second to import

    texts: dict[int, list[str]] = {number: [] for number in _candidates(header)}
    left_out = [*texts, *([0] if header.row_numbers else [])]
    parts: list[np.ndarray] = []
    size = 0
    # A row with more values than the first one is an error, or a warning if it is the first under a header.
    with open_unzipped(path) as stream, warnings.catch_warnings(action="error", category=pandas.errors.ParserWarning):
        frames = pandas.read_csv(
            stream,
            sep=header.delimiter,
            header=None,
            names=range(header.columns),
            index_col=False,
            skiprows=header.lines,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values=[""],
            skipinitialspace=True,
            encoding="utf-8-sig",
            chunksize=ROWS_AT_ONCE,
        )
        for frame in frames:
            for number, column in texts.items():
                column += _text(path, header, frame, number)
            parts.append(_numbers(path, header, frame.drop(columns=left_out)) if len(frame) else np.empty((0, 0)))
            size += parts[-1].nbytes
            check_unpacked_size(path, size)
    if not size:
        raise InputError(f"prepare.source: {path} has no rows under its header")
    return np.concatenate(parts), texts


def _check_lengths(path: Path, header: Header) -> None:
    """Raise InputError if the rows do not have as many values as the header, or the first row, has."""
    with open_unzipped(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        table = csv.reader(text, delimiter=header.delimiter, skipinitialspace=True)
        rows = [len(row) for row in table if row][bool(header.names) :]
    wrong = [(number, length) for number, length in enumerate(rows, 1) if length != header.columns]
    if not wrong:
        return
    number, length = wrong[0]
    under = " under the header" if header.names else ""
    problem = f"{path}, row {number}{under}, has {counted(length, 'value')}; each row needs {header.columns}"
    if header.names and set(rows) == {header.columns + 1}:
        problem = (
            f"{path} has rows of {header.columns + 1} values under a header of {header.columns}; "
            f"name the first column, such as index{header.delimiter}{header.names[0]}, if it numbers the rows"
        )
    raise InputError(f"prepare.source: {problem}")


def _candidates(header: Header) -> list[int]:
    """The columns that may be the label."""
    return [header.label] if header.label is not None else [int(header.row_numbers), header.columns - 1]


def _text(path: Path, header: Header, frame: Any, number: int) -> list[str]:
    if frame[number].isna().any():
        raise _missing(path, header, int(frame.index[frame[number].isna()][0]), number)
    return [str(each).strip() for each in frame[number]]


def _numbers(path: Path, header: Header, frame: Any) -> np.ndarray:
    """The values of a part of the table, as the smallest type that holds them. Raises InputError for other text."""
    kinds = {dtype.kind for dtype in frame.dtypes}
    if not kinds <= set("iuf"):
        for number in frame.columns[[dtype.kind not in "iuf" for dtype in frame.dtypes]]:
            for row, value in zip(frame.index, frame[number], strict=True):
                _check_number(path, header, int(row), int(number), value)
    if kinds <= set("iu"):
        return _as_small(frame.to_numpy())
    values = frame.to_numpy(dtype=np.float32)
    rows, columns = np.nonzero(np.isnan(values))
    if len(rows):
        raise _missing(path, header, int(frame.index[rows[0]]), int(frame.columns[columns[0]]))
    return np.asarray(values)


def _as_small(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint8) if values.min() >= 0 and values.max() <= 255 else values


def _check_number(path: Path, header: Header, row: int, column: int, value: object) -> None:
    if not _is_number(str(value)):
        raise InputError(f"prepare.source: {_where(path, header, row, column)} is {str(value)!r}; pixels are numbers")


def _missing(path: Path, header: Header, row: int, column: int) -> InputError:
    where = _where(path, header, row, column)
    return InputError(f"prepare.source: {where} is empty; each row needs {header.columns} values")


def _where(path: Path, header: Header, row: int, column: int) -> str:
    name = f" ({header.names[column]})" if header.names else ""
    return f"{path}, row {row + 1}{' under the header' if header.names else ''}, column {column + 1}{name}"


def _arrange(path: Path, header: Header, numbers: np.ndarray, texts: dict[int, list[str]]) -> Table:
    """The pixels in the order of their names, and the labels. Raises InputError if it is in doubt which is which."""
    changes = [f"column {header.names[0]!r} left out"] if header.row_numbers else []
    label = header.label
    if label is None:
        label = _label_by_content(path, texts)
        (other,) = texts.keys() - {label}
        column = _pixel_column(path, header, other, texts[other])
        numbers = np.concatenate([numbers, column] if other > label else [column, numbers], axis=1)
    if label != int(header.row_numbers):
        changes.append(f"column {label + 1} taken as the label" + (f" ({header.names[label]})" if header.names else ""))
    names = [name for number, name in enumerate(header.names) if number != label][int(header.row_numbers) :]
    pixels, how = _by_name(path, numbers, names)
    return Table(pixels, _as_numbers(np.array(texts[label])), [*changes, *how])


def _pixel_column(path: Path, header: Header, number: int, column: list[str]) -> np.ndarray:
    """A column at the end that was read as text, as N×1 numbers. Raises InputError if a value is none."""
    for row, value in enumerate(column):
        _check_number(path, header, row, number, value)
    values = np.array(column).astype(np.float32)[:, None]
    return _as_small(values) if all(value.isdecimal() for value in column) else values


def _as_numbers(labels: np.ndarray) -> np.ndarray:
    """Labels that are all whole numbers as these, any others as they are: in a CSV all is text."""
    try:
        return labels.astype(np.int64)
    except (ValueError, OverflowError):
        return labels


def _label_by_content(path: Path, texts: dict[int, list[str]]) -> int:
    """Which of the first and the last column is the label. Raises InputError if both could be, or neither.

    Where both could be, it is the one that holds words or counts up from 0 or 1, for a pixel on the border rarely has
    each value; but with two values it may have.
    """
    first, last = texts
    may_be = [number for number in (first, last) if _may_be_labels(texts[number])]
    likely = may_be if len(may_be) == 1 else [number for number in may_be if _are_surely_labels(set(texts[number]))]
    if len(likely) == 1:
        return likely[0]
    which = "both the first and the last column" if may_be else "neither the first nor the last column"
    raise InputError(f"prepare.source: {path}: {which} could be the label; {LABEL_HINT}")


def _may_be_labels(column: list[str]) -> bool:
    """Whether the values of a column repeat and differ, and none of them is a fraction."""
    values = set(column)
    fractions = any(_is_number(value) and not float(value).is_integer() for value in values)
    return 1 < len(values) <= max(2, len(column) / 2) and not fractions


def _are_surely_labels(values: set[str]) -> bool:
    """Whether some of the values are words, or whether three or more are all the numbers from 0 or 1 on."""
    numbers = {float(value) for value in values if _is_number(value)}
    if len(numbers) < len(values):
        return True
    return len(numbers) > 2 and min(numbers) in (0, 1) and max(numbers) - min(numbers) + 1 == len(numbers)


def _by_name(path: Path, pixels: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """The pixels as N×H×W if their names are such as 1x1 and 28x28, else as N×(H·W) in the order of their numbers.

    Raises InputError if names of two numbers are not in the order of rows.
    """
    keys = [tuple(int(number) for number in re.findall(r"\d+", name)) for name in names]
    if len({len(key) for key in keys}) != 1 or len(set(keys)) != len(keys) or len(keys[0]) not in (1, 2):
        return pixels, []
    order = sorted(range(len(keys)), key=keys.__getitem__)
    in_order = order == list(range(len(keys)))
    if len(keys[0]) == 1:
        return (pixels, []) if in_order else (pixels[:, order], ["columns put in the order of their numbers"])
    height, width = (len({key[axis] for key in keys}) for axis in (0, 1))
    if height * width != len(keys):
        return pixels, []
    if not in_order:
        raise InputError(
            f"prepare.source: {path} has columns such as {listed(names, 3)}; give them row by row: 1x1, 1x2, …"
        )
    return pixels.reshape(-1, height, width), []


def _part(path: Path) -> str | None:
    return role_of(_stem(path)).part


def _stem(path: Path) -> str:
    return re.sub(r"(\.csv|\.tsv)?(\.gz)?$", "", path.name, flags=re.IGNORECASE)
