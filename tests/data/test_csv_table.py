"""Images in a CSV: what a table may look like, and how what is in doubt is refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.data.csv_table import read_table
from epochwise.data.images import ReadOptions
from epochwise.data.sources import load_source

DRAW = np.random.default_rng(0)
X = DRAW.integers(0, 256, (40, 9), dtype=np.uint8)
Y = np.arange(40) % 4
PIXELS = [f"pixel{number}" for number in range(9)]
HEAD = ",".join(["label", *PIXELS])
ROWS = [",".join(map(str, row)) for row in np.column_stack([Y, X])]
TEXT = "\n".join([HEAD, *ROWS]) + "\n"
LAST = "\n".join(",".join(map(str, row)) for row in np.column_stack([X, Y])) + "\n"
WORDS = "\n".join(f"kind {label}," + ",".join(map(str, row)) for label, row in zip(Y, X, strict=True)) + "\n"
BY_PANDAS = (
    "\n".join([",".join(["", "label", *map(str, range(9))]), *(f"{n},{row}" for n, row in enumerate(ROWS))]) + "\n"
)
ALPHABETICAL = [f"pixel{number}" for number in sorted(range(1, 17), key=str)]


def dark_corner(text: str) -> str:
    """Rows without a header whose last pixel is 0, as in MNIST: a column that does not differ is no label."""
    return "\n".join(",".join([*row.split(",")[:-1], "0"]) for row in text.splitlines()[1:]) + "\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT, ""),
        (TEXT.replace("\n", ",\n").replace("pixel8,\n", "pixel8\n"), ""),
        (TEXT.replace(",", ";"), ""),
        (TEXT.replace(",", "\t"), ""),
        (TEXT.replace(",", ", "), ""),
        (TEXT.replace("\n", "\r\n"), ""),
        ("\ufeff" + TEXT, ""),
        ("\n" + TEXT, ""),
        (TEXT.rstrip("\n"), ""),
        ("\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in TEXT.splitlines()), ""),
        (TEXT.replace("label,", "Digit,"), ""),
        (BY_PANDAS, "column '' left out"),
        ("\n".join([",".join([*PIXELS, "class"]), LAST]), "column 10 taken as the label (class)"),
    ],
)
def test_the_form_of_a_table_does_not_matter(tmp_path, content, said):
    (tmp_path / "own.csv").write_text(content, newline="")
    table = read_table(tmp_path / "own.csv")
    np.testing.assert_array_equal(table.pixels, X)
    np.testing.assert_array_equal(table.labels, Y)
    assert said in " ".join(table.changes)
    assert bool(table.changes) == bool(said)


def test_rows_without_a_header_have_their_label_first_or_last(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(dark_corner(TEXT))
    assert read_table(path).labels.tolist() == Y.tolist()
    path.write_text(LAST)
    table = read_table(path)
    assert table.labels.tolist() == Y.tolist()
    np.testing.assert_array_equal(table.pixels, X)
    assert table.changes == ["column 10 taken as the label"]
    path.write_text(WORDS)
    assert read_table(path).labels.tolist() == [f"kind {label}" for label in Y]


def ends(first: list[object], last: list[object]) -> str:
    """40 rows without a header whose first and last values are repeated from these."""
    rows = [[first[n % len(first)], *X[n, 1:-1], last[(n // 3) % len(last)]] for n in range(len(X))]
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ([0, 1], [3, 8]),
        ([3, 8], [0, 1]),
        ([0, 1], [0, 1]),
        ([0, 1], [0, 255]),
        ([0, 17], [3, 8]),
        ([0, 1, 2], [1, 2, 3]),
    ],
)
def test_two_values_at_both_ends_may_be_of_pixels(tmp_path, first, last):
    """On the border of handwritten digits a pixel may have two values, too."""
    (tmp_path / "own.csv").write_text(ends(first, last))
    with pytest.raises(InputError, match="both the first and the last column could be the label; name the columns in"):
        read_table(tmp_path / "own.csv")


@pytest.mark.parametrize("pixel", [[0.0, 0.5, 1.0], ["0.25", "1"], ["1e-3", "0.5"]])
@pytest.mark.parametrize("labels", [[3, 8], [0, 1], [0, 1, 2], ["a", "b"]])
def test_fractions_are_pixels(tmp_path, pixel, labels):
    for text, place in ((ends(pixel, labels), -1), (ends(labels, pixel), 0)):
        (tmp_path / "own.csv").write_text(text)
        expected = [row.split(",")[place] for row in text.splitlines()]
        assert list(map(str, read_table(tmp_path / "own.csv").labels)) == expected


def test_a_gzipped_table_is_read_whatever_its_name(tmp_path):
    for name in ("own.csv.gz", "own.csv"):
        (tmp_path / name).write_bytes(gzip.compress(TEXT.encode()))
        np.testing.assert_array_equal(read_table(tmp_path / name).pixels, X)


def test_columns_are_put_in_the_order_of_their_numbers(tmp_path):
    pixels = np.arange(17, dtype=np.uint8)
    line = [str(pixels[int(name.removeprefix("pixel"))]) for name in ALPHABETICAL]
    rows = "\n".join(",".join([str(label), *line]) for label in (0, 1, 0, 1))
    (tmp_path / "own.csv").write_text(",".join(["label", *ALPHABETICAL]) + "\n" + rows)
    table = read_table(tmp_path / "own.csv")
    assert table.pixels[0].tolist() == list(range(1, 17))
    assert table.changes == ["columns put in the order of their numbers"]


def test_names_of_rows_and_columns_give_the_shape_of_the_image(tmp_path):
    names = [f"{row}x{column}" for row in range(1, 3) for column in range(1, 5)]
    rows = "\n".join(",".join(map(str, [label, *range(8)])) for label in (0, 1, 0, 1))
    (tmp_path / "own.csv").write_text(",".join(["label", *names]) + "\n" + rows)
    assert read_table(tmp_path / "own.csv").pixels.shape == (4, 2, 4)
    (tmp_path / "own.csv").write_text(",".join(["label", *names[::-1]]) + "\n" + rows)
    with pytest.raises(InputError, match="give them row by row: 1x1, 1x2"):
        read_table(tmp_path / "own.csv")


def test_fractions_and_larger_numbers_keep_their_values(tmp_path):
    for factor in (1 / 255, 257):
        pixels = X.astype(float) * factor
        table = np.column_stack([Y, pixels])
        np.savetxt(tmp_path / "own.csv", table, "%.9g", delimiter=",", header=HEAD, comments="")
        np.testing.assert_allclose(read_table(tmp_path / "own.csv").pixels, pixels, rtol=1e-6)


def both_ends() -> str:
    """Rows without a header whose first and last value count up from 0."""
    return "\n".join(f"{row.rpartition(',')[0]},{(number // 2) % 4}" for number, row in enumerate(ROWS)) + "\n"


def changed_row(change: Callable[[list[str]], list[str]]) -> str:
    """The table with its third row changed."""
    lines = TEXT.splitlines()
    lines[3] = ",".join(change(lines[3].split(",")))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        (HEAD + "\n", "has no rows under its header"),
        ("a\0b,1,2,3,4,5\n", "holds zero bytes"),
        ("name,file\n1,a.png\n", "has the columns name, file; there must be one for the label and one for each pixel"),
        (changed_row(lambda row: [*row[:4], "", *row[5:]]), "row 3 under the header, column 5 (pixel3) is empty"),
        (changed_row(lambda row: ["", *row[1:]]), "row 3 under the header, column 1 (label) is empty"),
        (changed_row(lambda row: row[:-1]), "row 3 under the header, has 9 values; each row needs 10"),
        (changed_row(lambda row: [*row, "7"]), "row 3 under the header, has 11 values; each row needs 10"),
        (ROWS[0] + "\n" + ROWS[1] + ",\n" + ROWS[2] + "\n", "row 2, has 11 values; each row needs 10"),
        (
            TEXT.replace("\n", ",7\n").replace("pixel8,7", "pixel8"),
            "rows of 11 values under a header of 10; name the first column, such as index,label, if it numbers",
        ),
        (changed_row(lambda row: [*row[:4], "NA", *row[5:]]), "column 5 (pixel3) is 'NA'; pixels are numbers"),
        (TEXT.replace(",", ";").replace("\n0;95;", "\n0;0,5;"), "row 1 under the header, column 2 (pixel0) is '0,5'"),
        (TEXT + HEAD + "\n", "is 'pixel0'; pixels are numbers"),
        (TEXT.replace("pixel8", "target"), "has 2 columns that may be the label"),
        (both_ends(), "both the first and the last column could be the label; name the columns in a first line"),
        ("\n".join(ROWS[:1] * 40) + "\n", "neither the first nor the last column could be the label"),
    ],
)
def test_a_table_in_doubt_is_refused(tmp_path, content, reason):
    (tmp_path / "own.csv").write_text(content, newline="")
    with pytest.raises(InputError) as refused:
        load_source(str(tmp_path / "own.csv"), tmp_path, ReadOptions(test_size=8))
    assert reason in str(refused.value)
    assert "own.csv" in str(refused.value) and "\n" not in str(refused.value)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "own.csv").write_bytes(WORDS.replace("kind", "größe").encode("latin-1"))
    with pytest.raises(InputError, match="is no UTF-8 text .* save it as UTF-8"):
        read_table(tmp_path / "own.csv")


def test_a_folder_of_tables_needs_one_for_training_and_one_for_testing(tmp_path):
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        (tmp_path / name).write_text(TEXT)
    read = load_source(str(tmp_path), tmp_path, ReadOptions())
    assert len(read.images.x_train) == len(read.images.x_test) == 40
    assert any("sample_submission.csv: not used" in note for note in read.notes)
    (tmp_path / "train2.csv").write_text(TEXT)
    with pytest.raises(InputError, match="one with `train` in its name and one with `test`"):
        load_source(str(tmp_path), tmp_path, ReadOptions())


def test_a_test_set_without_labels_is_refused(tmp_path):
    """Kaggle's competitions keep the labels of the test set."""
    (tmp_path / "train.csv").write_text(TEXT)
    lines = [line.partition(",")[2] for line in TEXT.splitlines()]
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    for source in (tmp_path, tmp_path / "train.csv"):
        with pytest.raises(InputError) as refused:
            load_source(str(source), tmp_path, ReadOptions())
        assert "test.csv has no labels, but 9 columns for the 9 pixels of train.csv" in str(refused.value)
        assert "prepare.test_size=6 splits a test set off train.csv" in str(refused.value)
    read = load_source(str(tmp_path), tmp_path, ReadOptions(test_size=8))
    assert len(read.images.x_test) == 8
    assert any("test.csv is not used: prepare.test_size splits a test set off train.csv" in note for note in read.notes)


def test_a_table_beside_it_is_the_test_set_only_if_the_names_differ_in_that_word_alone(tmp_path: Path):
    (tmp_path / "mnist_train.csv").write_text(TEXT)
    (tmp_path / "fashion_test.csv").write_text(TEXT)
    with pytest.raises(InputError, match="has no test set; prepare.test_size="):
        load_source(str(tmp_path / "mnist_train.csv"), tmp_path, ReadOptions())
    (tmp_path / "mnist_test.csv").write_text(TEXT)
    read = load_source(str(tmp_path / "mnist_train.csv"), tmp_path, ReadOptions())
    assert any(change == "mnist_test.csv taken as the test set" for change in read.conversions)


def test_letters_beside_numbers_are_labels_even_y(tmp_path):
    path = tmp_path / "letters.csv"
    rows = [f"{'yxab'[label]}," + ",".join(map(str, row)) for label, row in zip(Y, X, strict=True)]
    path.write_text("\n".join(rows) + "\n")
    source = load_source(str(path), tmp_path, ReadOptions(test_size=8))
    assert source.class_names == ["a", "b", "x", "y"]
    assert len(source.images.x_train) + len(source.images.x_test) == 40, "the first row is an image, too"


def test_a_first_image_that_became_the_names_of_columns_is_refused(tmp_path):
    """As of `read_csv(…)` without header=None, written again."""
    path = tmp_path / "mangled.csv"
    path.write_text("\n".join(["5,0,0.1,0.2,0.3,0.4,0.5,255,0.6,0.7", *ROWS]) + "\n")
    with pytest.raises(InputError, match="lost its first image"):
        load_source(str(path), tmp_path, ReadOptions(test_size=8))
