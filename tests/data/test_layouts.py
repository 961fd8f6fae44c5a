"""Own data as it is found in the wild: each layout works, is converted and said, or is refused with the way out.

Nothing else may happen: a layout that is read wrongly trains to chance level, and nobody is told.
"""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from image_files import idx
from PIL import Image

from epochwise.common.errors import InputError
from epochwise.data.idx import IDX_FILES
from epochwise.data.images import ReadOptions
from epochwise.data.sources import load_source

DRAW = np.random.default_rng(0)
X = DRAW.integers(0, 256, (60, 8, 8), np.uint8)
X_TEST = DRAW.integers(0, 256, (20, 8, 8), np.uint8)
Y, Y_TEST = np.repeat(np.arange(10), 6), np.repeat(np.arange(10), 2)
ARRAYS = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}
MASK = np.where(X > 100, 255, 0), np.where(X_TEST > 100, 255, 0)
RGB = np.repeat(X[..., None], 3, 3), np.repeat(X_TEST[..., None], 3, 3)
WIDE = ((0, 0), (0, 0), (0, 4))

Make = Callable[[Path], Path]  # makes the files in a folder, and returns the source
Pixels = tuple[np.ndarray, np.ndarray]


class Layout(NamedTuple):
    """A layout; what it gives is what is said of the conversion ("" if there is nothing to say), or the refusal."""

    name: str
    make: Make
    said: str = ""
    refused: str = ""
    options: ReadOptions = ReadOptions()
    pixels: Pixels = (X, X_TEST)
    class_names: tuple[str, ...] = ()


def npz(images: Callable[[np.ndarray], np.ndarray] | None = None, **different: np.ndarray | None) -> Make:
    """An .npz of ARRAYS with `images` applied to the pixels; arrays may be different, or None to leave one out."""

    def make(folder: Path) -> Path:
        arrays = {key: images(values) if images and key[0] == "x" else values for key, values in ARRAYS.items()}
        kept = {key: values for key, values in (arrays | different).items() if values is not None}
        np.savez(folder / "own.npz", **kept)
        return folder / "own.npz"

    return make


def labels(change: Callable[[np.ndarray], np.ndarray]) -> Make:
    return npz(y_train=change(Y), y_test=change(Y_TEST))


def named(*names: str) -> Make:
    def make(folder: Path) -> Path:
        np.savez(folder / "own.npz", **dict(zip(names, ARRAYS.values(), strict=True)))
        return folder / "own.npz"

    return make


def idx_folder(
    rename: Callable[[str], str] = str,
    pack: Callable[[bytes], bytes] = bytes,
    transposed: bool = False,
    first_label: int = 0,
    folder_name: str = "idx",
) -> Make:
    def make(folder: Path) -> Path:
        (folder / folder_name).mkdir()
        for name, (key, values) in zip(IDX_FILES, ARRAYS.items(), strict=True):
            turned = values.swapaxes(1, 2) if transposed and key[0] == "x" else values
            content = idx(np.ascontiguousarray(turned if key[0] == "x" else values + first_label))
            (folder / folder_name / rename(name)).write_bytes(pack(content))
        return folder / folder_name

    return make


def csv_lines(x: np.ndarray, y: np.ndarray, header: bool = True) -> str:
    head = ",".join(["label", *(f"{row + 1}x{column + 1}" for row in range(8) for column in range(8))])
    rows = [",".join(map(str, row)) for row in np.column_stack([y, x.reshape(len(x), -1)])]
    return "\n".join([*([head] if header else []), *rows]) + "\n"


def csv_pair(source: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "csv").mkdir()
        (folder / "csv" / "mnist_train.csv").write_text(csv_lines(X, Y))
        (folder / "csv" / "mnist_test.csv").write_text(csv_lines(X_TEST, Y_TEST))
        return folder / "csv" / source

    return make


def png_classes(folder: Path) -> Path:
    for part, x, y in (("train", X, Y), ("test", X_TEST, Y_TEST)):
        for number in range(len(y)):
            path = folder / "png" / part / str(y[number]) / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[number]).save(path)
    return folder / "png"


def png_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "png.zip", "w") as archive:
        for path in png_classes(folder).rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    return folder / "png.zip"


def object_array(folder: Path) -> Path:
    np.savez(folder / "own.npz", **ARRAYS | {"x_train": np.array([*X[:3], 0], dtype=object)})
    return folder / "own.npz"


def npy(folder: Path) -> Path:
    np.save(folder / "x_train.npy", X)
    return folder / "x_train.npy"


def without_4(folder: Path) -> Path:
    kept, kept_test = Y != 4, Y_TEST != 4
    return npz(x_train=X[kept], y_train=Y[kept], x_test=X_TEST[kept_test], y_test=Y_TEST[kept_test])(folder)


def classes_without_pictures(folder: Path) -> Path:
    for path in png_classes(folder).rglob("*.png"):
        path.unlink()
    return folder / "png"


FROM_1 = tuple(str(number) for number in range(1, 11))
EMNIST = "looks like EMNIST, which is published with rows and columns exchanged: prepare.transpose=true"

LAYOUTS = [  # those of public complaints
    Layout("good", npz()),
    Layout(
        "images_labels",
        named("train_images", "train_labels", "test_images", "test_labels"),
        said="train_images, train_labels, test_images, test_labels taken as x_train, y_train, x_test, y_test",
    ),
    Layout(
        "arr_0123",
        named("arr_0", "arr_1", "arr_2", "arr_3"),
        refused="lacks x_train; it holds arr_0, arr_1, arr_2, arr_3, and must hold x_train, y_train, x_test, y_test",
    ),
    Layout("channel_first_1", npz(lambda x: x[:, None]), said="N×1×H×W turned into N×H×W×C"),
    Layout("channel_last_3", npz(lambda x: np.repeat(x[..., None], 3, 3)), pixels=RGB),
    Layout(
        "rgba",
        npz(lambda x: np.repeat(x[..., None], 4, 3)),
        said="4 channels are kept as they are, but predict reads pictures for models of 1 or 3 channels only",
        pixels=(np.repeat(X[..., None], 4, 3), np.repeat(X_TEST[..., None], 4, 3)),
    ),
    Layout("float01", npz(lambda x: x / 255), said="pixels 0…1 scaled to 0…255"),
    Layout("int64", npz(lambda x: x.astype(np.int64))),
    Layout(
        "binary01",
        npz(lambda x: (x > 100).astype(np.uint8)),
        refused="have 1 as their largest value, where white is 255; state what white is, such as prepare.pixel_max=1",
    ),
    Layout("bool", npz(lambda x: x > 100), said="pixels False and True turned into 0 and 255", pixels=MASK),
    Layout("onehot", labels(lambda y: np.eye(10)[y]), said="one-hot labels turned into numbers"),
    Layout("onehot_uint8", labels(lambda y: np.eye(10, dtype=np.uint8)[y]), said="one-hot labels turned into numbers"),
    Layout("float_labels", labels(lambda y: y.astype(float)), said="float64 labels turned into whole numbers"),
    Layout("str_labels", labels(lambda y: y.astype(str)), said="labels as text turned into numbers"),
    Layout("labels_N1", labels(lambda y: y[:, None])),
    Layout("fortran", npz(np.asfortranarray)),
    Layout("bigendian", npz(lambda x: x.astype(">i2"), y_train=Y.astype(">i4"), y_test=Y_TEST.astype(">i4"))),
    Layout("flat784", npz(lambda x: x.reshape(len(x), -1)), said="rows of 64 numbers turned into 8×8"),
    Layout(
        "labels_from_1",
        labels(lambda y: y + 1),
        said="labels 1…10 counted from 0, with those numbers as names",
        class_names=FROM_1,
    ),
    Layout(
        "gap_4", without_4, refused="4 left out; labels are 0…classes-1 or 1…classes with none left out. If this is"
    ),
    Layout(
        "only_train", npz(x_test=None, y_test=None), refused="has no test set; prepare.test_size=10 splits that many"
    ),
    Layout("object", object_array, refused="it holds pickled objects, which are never loaded; save arrays of numbers"),
    Layout("rect", npz(lambda x: np.pad(x, WIDE)), pixels=(np.pad(X, WIDE), np.pad(X_TEST, WIDE))),
    Layout("x_train.npy", npy, refused="an .npy holds one array; save all with np.savez(path, x_train=…"),
    Layout("idx_good", idx_folder()),
    Layout(
        "emnist_letters_renamed",
        idx_folder("{}.gz".format, gzip.compress, transposed=True, first_label=1, folder_name="emnist_letters"),
        said=EMNIST,
        pixels=(X.swapaxes(1, 2), X_TEST.swapaxes(1, 2)),
        class_names=FROM_1,
    ),
    Layout(
        "emnist_digits_renamed",
        idx_folder("{}.gz".format, gzip.compress, transposed=True, folder_name="emnist_digits"),
        said="images transposed",
        options=ReadOptions(transpose=True),
    ),
    Layout("idx_dot", idx_folder(lambda name: name.replace("-idx", ".idx"))),
    Layout("idx_test_named", idx_folder(lambda name: name.replace("t10k", "test"))),
    Layout("idx_gz_named_plain", idx_folder(pack=gzip.compress)),
    Layout("idx_upper", idx_folder(str.upper)),
    Layout("mnist_train.csv", csv_pair("mnist_train.csv"), said="mnist_test.csv taken as the test set"),
    Layout("mnist_test.csv", csv_pair("mnist_test.csv"), refused="has no test set; prepare.test_size=10 splits"),
    Layout("csv_folder", csv_pair(""), said="mnist_test.csv taken as the test set"),
    Layout("png_classes", png_classes),
    Layout("png_classes.zip", png_zip, refused="unpack it (python -m zipfile -e FILE FOLDER) and name the folder"),
]

MORE_LAYOUTS = [  # of the same kinds
    Layout(
        "labels as objects", labels(lambda y: y.astype(str).astype(object)), refused="or labels as text: y.astype(str)"
    ),
    Layout(
        "fractions a little above 1 and below 0",
        npz(lambda x: (x / 255 * (1 + 2e-7) - 1e-7).astype(np.float32)),
        said="pixels 0…1 scaled to 0…255, values -1.00000001e-07…1.00000012 cut off at 0 and 1",
    ),
    Layout(
        "the same, with the white stated",
        npz(lambda x: x / 255 * 1.0009),
        said="cut off at 0 and 1, rounded to whole numbers",
        options=ReadOptions(pixel_max=1),
        pixels=tuple(np.rint((x / 255 * 1.0009).clip(0, 1) * 255).astype(np.uint8) for x in (X, X_TEST)),
    ),
    Layout("floats a little above 255", npz(lambda x: x * 1.000001), said="cut off at 0 and 255"),
    Layout(
        "fractions well above 1", npz(lambda x: x / 250), refused="state what white is, such as prepare.pixel_max=1.02"
    ),
    Layout(
        "whole numbers a little above the stated white",
        npz(lambda x: x.astype(np.int32) * 257 + 1),
        refused="hold 65536, above prepare.pixel_max=65535",
        options=ReadOptions(pixel_max=65535),
    ),
    Layout(
        "rows of four channels",
        npz(lambda x: np.repeat(x, 4, 2).reshape(len(x), -1)),
        said="rows of 256 numbers turned into 16×16 as square grey images; reshape first if they are not",
        pixels=tuple(np.repeat(x, 4, 2).reshape(-1, 16, 16) for x in (X, X_TEST)),
    ),
    Layout("extra arrays", npz(extra_images=X_TEST, extra_labels=Y_TEST), said="extra_images, extra_labels: not used"),
    Layout("emnist as the archive names it", idx_folder(lambda name: f"emnist-digits-{name}"), said=EMNIST),
    Layout("pixels in signed bytes", npz(lambda x: x.astype(np.int8)), refused="x.view(np.uint8) if these are bytes"),
    Layout("pixels -1…1", npz(lambda x: x / 127.5 - 1), refused="(x + 1) / 2 turns -1…1 into 0…1"),
    Layout("standardised pixels", npz(lambda x: (x - 128.0) / 74), refused="undo the standardisation, x * std + mean"),
    Layout("pixels with NaN", npz(lambda x: np.where(x == x[0, 0, 0], np.nan, x)), refused="NaN or infinite"),
    Layout("pixels of 12 bits", npz(lambda x: x.astype(np.uint16) * 16), refused="prepare.pixel_max=4095"),
    Layout(
        "pixels of 12 bits, stated",
        npz(lambda x: np.rint(x.astype(np.float64) * (4095 / 255)).astype(np.uint16)),
        said="pixels 0…4095 scaled to 0…255, rounded to whole numbers",
        options=ReadOptions(pixel_max=4095),
    ),
    Layout("whole-number floats", npz(lambda x: x.astype(np.float32)), said="float32 pixels turned into bytes"),
    Layout("divided by 255 twice", npz(lambda x: x / 255 / 255), refused="as their largest value, where white is 1"),
    Layout("grey values 0…16", npz(lambda x: x // 16), refused="prepare.pixel_max=15"),
    Layout(
        "masks, stated",
        npz(lambda x: (x > 100).astype(np.int64)),
        said="pixels 0…1 scaled to 0…255",
        options=ReadOptions(pixel_max=1),
        pixels=MASK,
    ),
    Layout(
        "a larger value than stated", npz(), refused="above prepare.pixel_max=15", options=ReadOptions(pixel_max=15)
    ),
    Layout(
        "fractions, said to be bytes",
        npz(lambda x: x / 255),
        refused="which is next to black if prepare.pixel_max=255 is white",
        options=ReadOptions(pixel_max=255),
    ),
    Layout(
        "dark, and said to be", npz(lambda x: x // 4), options=ReadOptions(pixel_max=255), pixels=(X // 4, X_TEST // 4)
    ),
    Layout("training in 0…255, test in 0…1", npz(x_test=X_TEST / 255), said="pixels 0…1 scaled to 0…255 (test)"),
    Layout(
        "training in 0…255, test in whole 0…1",
        npz(x_test=(X_TEST > 100).astype(np.uint8)),
        refused="the test images of",
    ),
    Layout("all black", npz(np.zeros_like), refused="hold the value 0 only; there is nothing to learn from"),
    Layout("channels first, three", npz(lambda x: np.repeat(x[:, None], 3, 1)), said="N×C×H×W turned", pixels=RGB),
    Layout("images along the last axis", npz(lambda x: np.moveaxis(x, 0, -1)), refused="np.moveaxis(x, -1, 0)"),
    Layout("rows of three colours", npz(lambda x: np.tile(x.reshape(-1, 64), 3)), refused="x.reshape(-1, 3, 8, 8)"),
    Layout("rows of no square", npz(lambda x: x.reshape(-1, 64)[:, :-1]), refused="x.reshape(-1, H, W)"),
    Layout("rows as a column", npz(lambda x: x.reshape(-1, 64, 1)), said="rows of 64 numbers turned into 8×8"),
    Layout("five axes", npz(lambda x: x[:, None, None]), refused="images are N×H×W, N×H×W×C, N×C×H×W or N×(H·W)"),
    Layout("complex pixels", npz(lambda x: x.astype(complex)), refused="are complex128; pixels are numbers"),
    Layout(
        "words as labels",
        labels(lambda y: np.array([f"kind {number}" for number in range(10)])[y]),
        said="10 words as labels numbered in alphabetical order",
        class_names=tuple(f"kind {number}" for number in range(10)),
    ),
    Layout("words in bytes", labels(lambda y: y.astype("S")), said="labels as text turned into numbers"),
    Layout(
        "labels as text with spaces", labels(lambda y: np.char.add(y.astype(str), " ")), said="labels as text turned"
    ),
    Layout("an empty label", labels(lambda y: np.where(y == 3, "", y.astype(str))), refused="are empty for 6 images"),
    Layout("labels True and False", labels(lambda y: y > 4), said="labels False and True turned into 0 and 1"),
    Layout("labels with a half", labels(lambda y: y / 2), refused="hold 0.5; labels are whole numbers or words"),
    Layout("labels with NaN", labels(lambda y: np.where(y == 3, np.nan, y)), refused="hold 6 values that are NaN"),
    Layout(
        "labels -1 and 1", labels(lambda y: np.where(y > 4, 1, -1)), refused="the training labels -1, 1, 0 left out"
    ),
    Layout(
        "several ones in a row", labels(lambda y: np.ones((len(y), 3))), refused="are not one-hot: row 0 is 1.0, 1.0"
    ),
    Layout("probabilities", labels(lambda y: np.full((len(y), 2), 0.5)), refused="y.argmax(axis=1)"),
    Layout("numbers of rows for labels", npz(y_train=np.arange(60)), refused="are these the labels?"),
    Layout("words for training only", npz(y_train=Y.astype("U") + np.array("a")), refused="has words as labels in one"),
    Layout(
        "a class only in test", npz(y_test=np.where(Y_TEST == 3, 12, Y_TEST)), refused="has the test label 12 (2 im"
    ),
    Layout("a class not in test", npz(y_test=np.where(Y_TEST == 3, 2, Y_TEST)), said="no test images of 3"),
    Layout("no two classes", labels(np.zeros_like), refused="has 0 as its only label; there must be two or more"),
    Layout(
        "test images that train",
        npz(x_test=X[:20]),
        said="20 of 20 test images are training images",
        pixels=(X, X[:20]),
    ),
    Layout("X_train", named("X_train", "Y_train", "X_test", "Y_test"), said="taken as x_train, y_train"),
    Layout("joined words", named("trainX", "trainY", "testX", "testY"), said="taken as x_train, y_train"),
    Layout(
        "two arrays for one role", npz(train_images=X), refused="holds x_train and train_images, which both name im"
    ),
    Layout(
        "classes without pictures", classes_without_pictures, refused="png holds test/ (no files), train/ (no files)"
    ),
    Layout(
        "data and target",
        npz(x_train=None, y_train=None, x_test=None, y_test=None, data=X.reshape(60, -1), target=Y),
        refused="has no test set; prepare.test_size=10",
    ),
    Layout(
        "validation arrays too",
        npz(x_val=X_TEST, y_val=Y_TEST, class_names=np.array([f"kind {number}" for number in range(10)])),
        said="own.npz also holds x_val, y_val: not used",
        class_names=tuple(f"kind {number}" for number in range(10)),
    ),
]


@pytest.mark.parametrize("layout", [*LAYOUTS, *MORE_LAYOUTS], ids=lambda layout: layout.name)
def test_a_layout_works_or_is_converted_and_said_or_is_refused_with_the_way_out(layout, tmp_path):
    source = str(layout.make(tmp_path))
    if layout.refused:
        with pytest.raises(InputError) as refused:
            load_source(source, tmp_path, layout.options)
        assert layout.refused in str(refused.value)
        assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)
        return
    read = load_source(source, tmp_path, layout.options)
    said = [*read.conversions, *read.notes]
    assert layout.said in " | ".join(said)
    assert said or not layout.said
    if not layout.said:
        assert not said, "there is nothing to say of it"
    for found, expected in zip((read.images.x_train, read.images.x_test), layout.pixels, strict=True):
        assert found.dtype == np.uint8 and found.ndim == 4 and found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected.reshape(found.shape))
    if not layout.class_names and len(np.unique(read.images.y_train)) == 10:
        np.testing.assert_array_equal(read.images.y_train, Y)
    assert tuple(read.class_names) == layout.class_names
    assert read.images.y_train.min() == 0 and read.images.y_train.dtype == np.int64


def test_the_table_has_each_of_the_36_layouts():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS) == 36


@pytest.mark.parametrize("make", [npz(x_test=None, y_test=None), csv_pair("mnist_test.csv")])
def test_one_set_is_split_where_the_size_of_the_test_set_is_stated(make, tmp_path):
    source = make(tmp_path)
    read = load_source(str(source), tmp_path, ReadOptions(test_size=10))
    assert np.bincount(read.images.y_test).tolist() == [1] * 10
    assert "10 images split off as the test set" in read.conversions
    together = np.concatenate([read.images.x_train, read.images.x_test])
    assert len(np.unique(together, axis=0)) == len(together) == 10 + len(read.images.x_train)
    again = load_source(str(source), tmp_path, ReadOptions(test_size=10))
    np.testing.assert_array_equal(again.images.x_test, read.images.x_test)
