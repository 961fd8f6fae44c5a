"""Images of a user's own and of scikit-learn: what is read, and how each way to be wrong is refused."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from conftest import copy_project
from image_files import idx, zip_of

from epochwise.common.errors import InputError
from epochwise.data.idx import IDX_FILES
from epochwise.data.images import Images, ReadOptions, Source, SourceShape
from epochwise.data.sources import content_identity, load_images, load_source, shape_of_named


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 4
    return {
        "x_train": draw.integers(0, 256, (40, 9, 7), dtype=np.uint8),
        "y_train": labels,
        "x_test": draw.integers(0, 256, (8, 9, 7), dtype=np.uint8),
        "y_test": labels[:8],
    }


@pytest.fixture
def idx_folder(tmp_path, arrays):
    for name, values in zip(IDX_FILES, arrays.values(), strict=True):
        (tmp_path / name).write_bytes(idx(values))
    return tmp_path


def load(path: Path, **options: float) -> Source:
    return load_source(str(path), path, ReadOptions(**options))


def test_idx_folder_gzipped_or_not_gives_the_same_images(idx_folder, arrays):
    plain = load(idx_folder).images
    for name in IDX_FILES:
        (idx_folder / f"{name}.gz").write_bytes(gzip.compress((idx_folder / name).read_bytes()))
    both = load(idx_folder).images
    for name in IDX_FILES:
        (idx_folder / name).unlink()
    zipped = load(idx_folder).images
    assert plain.x_train.shape == (40, 9, 7, 1)
    for one, *others in zip(plain, both, zipped, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.x_test[..., 0], arrays["x_test"])


def test_npz_with_channels(tmp_path, arrays):
    arrays |= {key: np.stack([arrays[key]] * 3, axis=-1) for key in ("x_train", "x_test")}
    np.savez(tmp_path / "rgb.npz", **arrays)
    assert load(tmp_path / "rgb.npz").shape == SourceShape(40, (9, 7, 3), 4, 10)


def test_digits_fill_the_range_of_a_byte(tmp_path):
    images = load_images("digits", tmp_path)
    assert images.x_train.shape == (1500, 8, 8, 1)
    assert images.x_test.shape == (297, 8, 8, 1)
    assert (images.x_train.min(), images.x_train.max()) == (0, 255)
    counts = np.bincount(images.y_train)
    assert shape_of_named("digits", ReadOptions()) == SourceShape(1500, (8, 8, 1), 10, counts.min())


def test_a_known_data_set_is_resized_and_transposed_but_not_split(tmp_path):
    options = ReadOptions(image_size=6, transpose=True)
    read = load_source("digits", tmp_path, options)
    assert read.shape == shape_of_named("digits", options)
    assert read.conversions == ["images transposed", "images resized from 8×8 to 6×6"]
    for refuse in (
        lambda: shape_of_named("mnist", ReadOptions(test_size=9)),
        lambda: load_source("digits", tmp_path, ReadOptions(test_size=9)),
    ):
        with pytest.raises(
            InputError, match="prepare.test_size must be 0 for .*, which has a test set of its own, got 9"
        ):
            refuse()


def test_a_relative_path_starts_at_the_projects_root(project, monkeypatch, tmp_path):
    np.savez(project.path / "own.npz", **load_images("digits", tmp_path)._asdict())
    monkeypatch.chdir(project.path / "conf")
    assert load_source("own.npz", tmp_path, ReadOptions()).shape.train_images == 1500


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("y_test"), "lacks y_test"),
        (lambda a: a.update(x_train=a["x_train"].astype(int) * 2), "outside 0…255"),
        (lambda a: a.update(y_train=a["y_train"][:-1]), "shape (40, 9, 7) with labels of shape (39,)"),
        (lambda a: a.update(y_train=a["y_train"] - 1), "has the test label 3 (2 images), but training labels are -1…2"),
        (lambda a: a.update(y_train=a["y_train"] * 2, y_test=a["y_test"] * 2), "none left out"),
        (lambda a: a.update(y_test=a["y_test"] + 1), "test label 4"),
        (lambda a: a.update(x_test=a["x_test"][:, :8]), "tests on (8, 7, 1)"),
        (lambda a: a.update(x_train=a["x_train"][0]), "shape (9, 7)"),
        (lambda a: a.update(x_test=a["x_test"][:0], y_test=a["y_test"][:0]), "test images of shape (0, 9, 7)"),
        (lambda a: a.update(y_train=np.array([{}] * 40)), "not a readable .npz of plain arrays"),
    ],
)
def test_wrong_npz_is_refused(tmp_path, arrays, change, reason):
    change(arrays)
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError) as refused:
        load(tmp_path / "own.npz")
    assert reason in str(refused.value)
    assert "own.npz" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a readable IDX file"),
        (b"\0\0\x08", "not a readable IDX file"),
        (b"\0\0\x0a\x01\0\0\0\x01\0\0\0\0", "not a readable IDX file"),
        (idx(np.zeros((5, 9, 7)))[:-1], "truncated or torn"),
        (idx(np.zeros((5, 9, 7))) + b"\0", "truncated or torn"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "4 GiB are the most"),
    ],
)
def test_wrong_idx_is_refused(idx_folder, content, reason):
    (idx_folder / IDX_FILES[0]).write_bytes(content)
    with pytest.raises(InputError) as refused:
        load(idx_folder)
    assert reason in str(refused.value)


def test_idx_files_are_known_by_their_content_and_the_words_of_their_names(tmp_path, arrays):
    names = ("train.images", "train.labels", "test.images", "test.labels")
    for name, values in zip(names, arrays.values(), strict=True):
        (tmp_path / name).write_bytes(idx(values))
    (tmp_path / "README").write_text("four files")
    read = load(tmp_path)
    np.testing.assert_array_equal(read.images.y_test, arrays["y_test"])
    assert [note for note in read.notes if "README: not used" in note]


def test_idx_files_of_other_types_are_read(tmp_path, arrays):
    for name, values in zip(IDX_FILES, arrays.values(), strict=True):
        content = b"\0\0\x0c" + idx(values)[3 : 4 + 4 * values.ndim] + values.astype(">i4").tobytes()
        (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(load(tmp_path).images.x_train[..., 0], arrays["x_train"])


def test_several_data_sets_in_one_folder_are_refused(idx_folder):
    """As EMNIST's archive holds them."""
    for name in ("emnist-letters", "emnist-digits"):
        for file in IDX_FILES:
            (idx_folder / f"{name}-{file}").write_bytes((idx_folder / file).read_bytes())
    for file in IDX_FILES:
        (idx_folder / file).unlink()
    with pytest.raises(InputError, match=r"several data sets.* \(mkdir one; mv emnist-digits\* one\)"):
        load(idx_folder)


def test_a_folder_above_is_refused_with_the_name_of_the_right_one(idx_folder, tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for file in IDX_FILES:
        (idx_folder / file).rename(tmp_path / "MNIST" / "raw" / file)
    with pytest.raises(InputError, match=f"holds MNIST/; name the folder {tmp_path / 'MNIST' / 'raw'}"):
        load(tmp_path)


def test_arrays_in_files_of_their_own_are_read(tmp_path, arrays):
    for key, values in arrays.items():
        np.save(tmp_path / f"{key}.npy", values)
    np.testing.assert_array_equal(load(tmp_path).images.x_train[..., 0], arrays["x_train"])
    for name, key in zip(("k-train-imgs", "k-train-labels", "k-test-imgs", "k-test-labels"), arrays, strict=True):
        (tmp_path / f"{key}.npy").unlink()
        np.savez(tmp_path / f"{name}.npz", arrays[key])
    np.testing.assert_array_equal(load(tmp_path).images.y_test, arrays["y_test"])


def test_two_files_for_one_array_and_several_arrays_in_one_file_are_refused(tmp_path, arrays):
    for key, values in arrays.items():
        np.save(tmp_path / f"{key}.npy", values)
    np.savez(tmp_path / "x_train.npz", arrays["x_train"])
    with pytest.raises(InputError, match="holds x_train.np. and x_train.np., which may be the same array"):
        load(tmp_path)
    (tmp_path / "x_train.npy").unlink()
    np.savez(tmp_path / "x_train.npz", arrays["x_train"], arrays["x_test"])
    with pytest.raises(InputError, match="x_train.npz holds 2 arrays"):
        load(tmp_path)


def test_validation_files_of_an_idx_folder_are_not_used_and_that_is_noted(idx_folder, arrays):
    for kind, key in (("images", "x_test"), ("labels", "y_test")):
        (idx_folder / f"valid-{kind}-idx").write_bytes(idx(arrays[key]))
    source = load(idx_folder)
    assert len(source.images.x_train) == 40 and len(source.images.x_test) == 8
    assert any("valid-images-idx" in note and "not used" in note for note in source.notes)


@pytest.mark.parametrize(
    "extra", [("extra-images-idx3-ubyte", "extra-labels-idx1-ubyte"), ("mean-images-idx3-ubyte",), ("labels.idx",)]
)
def test_idx_files_beside_the_four_are_not_used_and_that_is_noted(idx_folder, arrays, extra):
    expected = load(idx_folder).images
    for name in extra:
        (idx_folder / name).write_bytes(idx(arrays["x_test" if "images" in name else "y_test"]))
        (idx_folder / f"{name}.gz").write_bytes(gzip.compress((idx_folder / name).read_bytes()))
    (idx_folder / "classes.txt").write_text("a\nb\nc\nd\n")
    source = load(idx_folder)
    for found, wanted in zip(source.images, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    (note,) = [note for note in source.notes if "not used" in note]
    assert all(name in note for name in extra) and "classes.txt" not in note, "whose names are used"


def test_idx_files_without_a_word_for_their_part_are_one_set(idx_folder, arrays):
    for file in IDX_FILES:
        (idx_folder / file).unlink()
    (idx_folder / "images-idx3-ubyte").write_bytes(idx(arrays["x_train"]))
    with pytest.raises(InputError, match="has no train-labels-idx1-ubyte .* among its IDX files"):
        load(idx_folder)
    (idx_folder / "labels-idx1-ubyte").write_bytes(idx(arrays["y_train"]))
    (idx_folder / "valid-images-idx").write_bytes(idx(arrays["x_test"]))
    source = load(idx_folder, test_size=8)
    assert len(source.images.x_train) + len(source.images.x_test) == 40
    assert any("valid-images-idx: not used" in note for note in source.notes)


def test_names_of_classes_belong_to_one_file_before_they_belong_to_the_folder(tmp_path, arrays):
    np.savez(tmp_path / "one.npz", **arrays)
    np.savez(tmp_path / "two.npz", **arrays)
    identity = content_identity(str(tmp_path / "one.npz"))
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "two.classes.txt").write_text("\ufeffN\r\nE\r\n\r\nS\r\nW", encoding="utf-8")
    assert load(tmp_path / "one.npz").class_names == ["a", "b", "c", "d"]
    two = load(tmp_path / "two.npz")
    assert two.class_names == ["N", "E", "S", "W"]
    assert two.conversions == ["class names taken from two.classes.txt"]
    assert content_identity(str(tmp_path / "one.npz")) != identity
    for content, reason in (
        ("a\nb\nc\n", "holds 3 names for 4 classes"),
        ("a\na\nb\nc\n", "names a twice"),
        ("", "is empty"),
    ):
        (tmp_path / "two.classes.txt").write_text(content)
        with pytest.raises(InputError, match=f"two.classes.txt: {reason}"):
            load(tmp_path / "two.npz")


def test_what_is_wrong_with_an_array_of_names_is_said_of_that_array(tmp_path, arrays):
    for names, reason in (
        (["N", "E", "S"], "holds 3 names for 4 classes"),
        (["N", "E", "S", "N"], "names N twice"),
        (["N", "E", "S", ""], "has an empty name"),
    ):
        np.savez(tmp_path / "own.npz", **arrays, class_names=np.array(names))
        with pytest.raises(InputError, match=f"^class_names in {tmp_path}/own.npz: {reason}"):
            load(tmp_path / "own.npz")


def test_a_file_of_names_does_not_exchange_those_of_an_array(tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays, class_names=np.array(["N", "E", "S", "W"]))
    (tmp_path / "own.classes.txt").write_text("E\nN\nS\nW\n")
    assert load(tmp_path / "own.npz").class_names == ["N", "E", "S", "W"]
    (tmp_path / "own.classes.txt").write_text("north\neast\nsouth\nwest\n")
    assert load(tmp_path / "own.npz").class_names == ["north", "east", "south", "west"]


def test_labels_with_gaps_are_renumbered_once_their_classes_are_named(tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays | {key: arrays[key] * 3 for key in ("y_train", "y_test")})
    with pytest.raises(InputError, match="If this is meant, name the 4 classes in .*own.classes.txt, one a line"):
        load(tmp_path / "own.npz")
    (tmp_path / "own.classes.txt").write_text("N\nE\nS\nW\n")
    read = load(tmp_path / "own.npz")
    np.testing.assert_array_equal(read.images.y_train, arrays["y_train"])
    assert "labels 0, 3, 6, 9 renumbered 0…3" in read.conversions


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("own.mat", b"MATLAB 5.0 MAT-file", "scipy.io.loadmat"),
        ("own.h5", b"\x89HDF\r\n\x1a\n", "h5py"),
        ("own.pkl", b"\x80\x04K\x01.", "a pickle is never loaded"),
        ("own.parquet", b"PAR1", "pandas"),
        ("own.tar.gz", b"\x1f\x8b\x08", "tar -xzf"),
        ("own.bin", b"something", "give an .npz, a .csv, or a folder of IDX files"),
        ("one.png", b"\x89PNG", "is one file of several; name the folder that it is in"),
    ],
)
def test_other_files_are_refused_with_what_to_do(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        load(tmp_path / name)
    assert reason in str(refused.value) and name in str(refused.value)


def test_missing_idx_file_is_named(idx_folder):
    (idx_folder / IDX_FILES[3]).unlink()
    with pytest.raises(InputError, match=IDX_FILES[3]):
        load(idx_folder)


def torn(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def damaged(whole: bytes) -> bytes:
    """The content with some bytes overwritten inside the first member's deflate stream."""
    return whole[:300] + b"\xff" * 100 + whole[400:]


def foreign(_: bytes) -> bytes:
    """A zip file whose members have the right names and are no arrays."""
    return zip_of(dict.fromkeys(Images._fields, b"no array"))


def boastful(_: bytes) -> bytes:
    """Arrays whose headers claim far more than there is memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**10)})
    return zip_of({f"{name}.npy": header.getvalue() for name in Images._fields})


@pytest.mark.parametrize("damage", [torn, damaged, foreign, boastful])
def test_damaged_npz_is_refused_in_one_line(tmp_path, arrays, damage):
    np.savez_compressed(tmp_path / "own.npz", **arrays)
    (tmp_path / "own.npz").write_bytes(damage((tmp_path / "own.npz").read_bytes()))
    with pytest.raises(InputError, match="^prepare.source: [^\n]*own.npz[^\n]*$"):
        load(tmp_path / "own.npz")


def test_damaged_gzip_is_refused(idx_folder):
    path = idx_folder / IDX_FILES[0]
    (idx_folder / f"{path.name}.gz").write_bytes(damaged(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(InputError, match="not a readable IDX file"):
        load(idx_folder)


def test_a_relative_path_that_a_copy_of_the_project_lacks_is_that_of_the_main_checkout(
    project, tmp_path, arrays, monkeypatch
):
    """As in `dvc exp run --temp`: git does not track the file, so DVC's copy does not have it."""
    copy = copy_project(tmp_path / "copy")
    np.savez(project.path / "own.npz", **arrays)
    monkeypatch.chdir(copy.path)
    with pytest.raises(InputError, match="no file or folder 'own.npz'"):
        load(Path("own.npz"))
    monkeypatch.setenv("DVC_ROOT", str(project.path))
    np.testing.assert_array_equal(load(Path("own.npz")).images.x_train[..., 0], arrays["x_train"])
    np.savez(copy.path / "own.npz", **arrays | {"x_train": arrays["x_train"][::-1]})
    first = load(Path("own.npz")).images.x_train[..., 0]
    np.testing.assert_array_equal(first, arrays["x_train"][::-1], "what the copy has comes first")
