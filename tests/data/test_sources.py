"""Images of a user's own and of scikit-learn: what is read, and how each way to be wrong is refused."""

import gzip
import io

import numpy as np
import pytest
from conftest import copy_project
from image_files import idx, zip_of

from epochwise.common.errors import InputError
from epochwise.data.idx import IDX_FILES
from epochwise.data.images import Images, SourceShape
from epochwise.data.sources import load_images, shape_of


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


def test_idx_folder_gzipped_or_not_gives_the_same_images(idx_folder, arrays):
    plain = load_images(str(idx_folder), idx_folder)
    for name in IDX_FILES:
        (idx_folder / f"{name}.gz").write_bytes(gzip.compress((idx_folder / name).read_bytes()))
        (idx_folder / name).unlink()
    zipped = load_images(str(idx_folder), idx_folder)
    assert plain.x_train.shape == (40, 9, 7, 1)
    for one, other in zip(plain, zipped, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.x_test[..., 0], arrays["x_test"])


def test_npz_with_channels(tmp_path, arrays):
    arrays |= {key: np.stack([arrays[key]] * 3, axis=-1) for key in ("x_train", "x_test")}
    np.savez(tmp_path / "rgb.npz", **arrays)
    assert shape_of(str(tmp_path / "rgb.npz"), tmp_path) == SourceShape(40, (9, 7, 3), 4, 10)


def test_digits_fill_the_range_of_a_byte(tmp_path):
    images = load_images("digits", tmp_path)
    assert images.x_train.shape == (1500, 8, 8, 1)
    assert images.x_test.shape == (297, 8, 8, 1)
    assert (images.x_train.min(), images.x_train.max()) == (0, 255)
    counts = np.bincount(images.y_train)
    assert shape_of("digits", tmp_path) == SourceShape(1500, (8, 8, 1), 10, counts.min())


def test_a_relative_path_starts_at_the_projects_root(project, monkeypatch, tmp_path):
    np.savez(project.path / "own.npz", **load_images("digits", tmp_path)._asdict())
    monkeypatch.chdir(project.path / "conf")
    assert shape_of("own.npz", tmp_path).train_images == 1500


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("y_test"), "lacks y_test"),
        (lambda a: a.update(x_train=a["x_train"] / 255), "is float64"),
        (lambda a: a.update(x_train=a["x_train"].astype(int) * 2), "outside 0…255"),
        (lambda a: a.update(y_train=a["y_train"][:-1]), "40 train images and 39 labels"),
        (lambda a: a.update(y_train=a["y_train"] - 1), "label -1"),
        (lambda a: a.update(y_train=a["y_train"] * 2), "none left out"),
        (lambda a: a.update(y_test=a["y_test"] + 1), "test label 4"),
        (lambda a: a.update(x_test=a["x_test"][:, :8]), "tests on (8, 7, 1)"),
        (lambda a: a.update(x_train=a["x_train"][0]), "shape (9, 7)"),
        (lambda a: a.update(x_test=a["x_test"][:0], y_test=a["y_test"][:0]), "0 test images"),
        (lambda a: a.update(y_train=np.array([{}] * 40)), "not a readable .npz of plain arrays"),
    ],
)
def test_wrong_npz_is_refused(tmp_path, arrays, change, reason):
    change(arrays)
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError) as refused:
        load_images(str(tmp_path / "own.npz"), tmp_path)
    assert reason in str(refused.value)
    assert "own.npz" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a readable IDX file"),
        (b"\0\0\x08", "not a readable IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "not an IDX file of unsigned bytes"),
        (idx(np.zeros((5, 9, 7)))[:-1], "truncated or torn"),
        (idx(np.zeros((5, 9, 7))) + b"\0", "truncated or torn"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "4 GiB are the most"),
    ],
)
def test_wrong_idx_is_refused(idx_folder, content, reason):
    (idx_folder / IDX_FILES[0]).write_bytes(content)
    with pytest.raises(InputError) as refused:
        load_images(str(idx_folder), idx_folder)
    assert reason in str(refused.value)


def test_missing_idx_file_is_named(idx_folder):
    (idx_folder / IDX_FILES[3]).unlink()
    with pytest.raises(InputError, match=IDX_FILES[3]):
        load_images(str(idx_folder), idx_folder)


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
        load_images(str(tmp_path / "own.npz"), tmp_path)


def test_damaged_gzip_is_refused(idx_folder):
    path = idx_folder / IDX_FILES[0]
    (idx_folder / f"{path.name}.gz").write_bytes(damaged(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(InputError, match="not a readable IDX file"):
        load_images(str(idx_folder), idx_folder)


def test_a_relative_path_that_a_copy_of_the_project_lacks_is_that_of_the_main_checkout(
    project, tmp_path, arrays, monkeypatch
):
    """As in `dvc exp run --temp`: git does not track the file, so DVC's copy does not have it."""
    copy = copy_project(tmp_path / "copy")
    np.savez(project.path / "own.npz", **arrays)
    monkeypatch.chdir(copy.path)
    with pytest.raises(InputError, match="no file or folder 'own.npz'"):
        load_images("own.npz", tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(project.path))
    np.testing.assert_array_equal(load_images("own.npz", tmp_path).x_train[..., 0], arrays["x_train"])
    np.savez(copy.path / "own.npz", **arrays | {"x_train": arrays["x_train"][::-1]})
    first = load_images("own.npz", tmp_path).x_train[..., 0]
    np.testing.assert_array_equal(first, arrays["x_train"][::-1], "what the copy has comes first")
