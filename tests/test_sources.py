"""Every way in for images, and every way that a file can be wrong."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.data import sources


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


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
    for part, values in zip(sources.PARTS, arrays.values(), strict=True):
        (tmp_path / part).write_bytes(idx(values))
    return tmp_path


def test_idx_folder_gzipped_or_not_gives_the_same_images(idx_folder, arrays):
    plain = sources.load(str(idx_folder), idx_folder)
    for part in sources.PARTS:
        (idx_folder / f"{part}.gz").write_bytes(gzip.compress((idx_folder / part).read_bytes()))
        (idx_folder / part).unlink()
    zipped = sources.load(str(idx_folder), idx_folder)
    assert plain.x_train.shape == (40, 9, 7, 1)
    for one, other in zip(plain, zipped, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.x_test[..., 0], arrays["x_test"])


def test_npz_with_channels(tmp_path, arrays):
    arrays |= {key: np.stack([arrays[key]] * 3, axis=-1) for key in ("x_train", "x_test")}
    np.savez(tmp_path / "rgb.npz", **arrays)
    assert sources.shape_of(str(tmp_path / "rgb.npz"), tmp_path) == sources.Shape(40, (9, 7, 3), 4, 10)


def test_digits_fill_the_range_of_a_byte(tmp_path):
    images = sources.load("digits", tmp_path)
    assert images.x_train.shape == (1500, 8, 8, 1)
    assert images.x_test.shape == (297, 8, 8, 1)
    assert (images.x_train.min(), images.x_train.max()) == (0, 255)
    counts = np.bincount(images.y_train)
    assert sources.shape_of("digits", tmp_path) == sources.Shape(1500, (8, 8, 1), 10, counts.min())


@pytest.mark.parametrize(
    ("broken", "says"),
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
def test_wrong_npz_is_refused(tmp_path, arrays, broken, says):
    broken(arrays)
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError, match="(?s).*") as refused:
        sources.load(str(tmp_path / "own.npz"), tmp_path)
    assert says in str(refused.value)
    assert "own.npz" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a readable IDX file"),
        (b"\0\0\x08", "not a readable IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "not an IDX file of unsigned bytes"),
        (idx(np.zeros((5, 9, 7)))[:-1], "truncated or torn"),
        (idx(np.zeros((5, 9, 7))) + b"\0", "truncated or torn"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "4 GiB are the most"),
    ],
)
def test_wrong_idx_is_refused(idx_folder, content, says):
    (idx_folder / sources.PARTS[0]).write_bytes(content)
    with pytest.raises(InputError) as refused:
        sources.load(str(idx_folder), idx_folder)
    assert says in str(refused.value)


def test_missing_idx_file_is_named(idx_folder):
    (idx_folder / sources.PARTS[3]).unlink()
    with pytest.raises(InputError, match=sources.PARTS[3]):
        sources.load(str(idx_folder), idx_folder)


def torn(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def damaged(whole: bytes) -> bytes:
    """With a run of bytes overwritten inside the first member's deflate stream."""
    return whole[:300] + b"\xff" * 100 + whole[400:]


def foreign(whole: bytes) -> bytes:
    """A zip whose member has the right name and is no array."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name in sources.Images._fields:
            writer.writestr(name, b"no array")
    return archive.getvalue()


def boastful(whole: bytes) -> bytes:
    """A member whose header claims far more than there is memory."""
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**10)}
    np.lib.format.write_array_header_1_0(header, claim)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name in sources.Images._fields:
            writer.writestr(f"{name}.npy", header.getvalue())
    return archive.getvalue()


@pytest.mark.parametrize("broken", [torn, damaged, foreign, boastful])
def test_broken_archive_is_refused(tmp_path, arrays, broken):
    np.savez_compressed(tmp_path / "own.npz", **arrays)
    (tmp_path / "own.npz").write_bytes(broken((tmp_path / "own.npz").read_bytes()))
    with pytest.raises(InputError, match="^prepare.source: [^\n]*own.npz[^\n]*$"):
        sources.load(str(tmp_path / "own.npz"), tmp_path)


def test_damaged_gzip_is_refused(idx_folder):
    path = idx_folder / sources.PARTS[0]
    (idx_folder / f"{path.name}.gz").write_bytes(damaged(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(InputError, match="not a readable IDX file"):
        sources.load(str(idx_folder), idx_folder)


class TestNamed:
    """A named source of known content, fetched in ways that break."""

    @pytest.fixture
    def name(self, monkeypatch, arrays):
        contents = {part: idx(values) for part, values in zip(sources.PARTS, arrays.values(), strict=True)}
        sha256 = tuple(sources.hashlib.sha256(content).hexdigest() for content in contents.values())
        self.fetches = []

        def good(scratch):
            self.fetches.append("good")
            yield from contents.items()

        def flipped(scratch):
            self.fetches.append("flipped")
            for part, content in contents.items():
                yield part, content[:-1] + bytes([content[-1] ^ 1])

        def breaks_off(scratch):
            self.fetches.append("breaks off")
            yield next(iter(contents.items()))
            raise TimeoutError("the line went dead")

        self.ways = {"flipped": flipped, "breaks off": breaks_off, "good": good}
        named = sources.Named(sha256, self.ways, sources.Shape(40, (9, 7, 1), 4, 10))
        monkeypatch.setitem(sources.NAMED, "toy", named)
        return "toy"

    def test_next_way_is_tried_and_only_checked_content_is_kept(self, name, tmp_path, arrays):
        images = sources.load(name, tmp_path)
        np.testing.assert_array_equal(images.x_train[..., 0], arrays["x_train"])
        assert self.fetches == ["flipped", "breaks off", "good"]
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted([".lock", *sources.PARTS])

    def test_cache_is_used_until_a_byte_of_it_changes(self, name, tmp_path):
        sources.load(name, tmp_path)
        sources.load(name, tmp_path)
        assert self.fetches.count("good") == 1
        damaged = tmp_path / name / sources.PARTS[0]
        damaged.write_bytes(damaged.read_bytes()[:-1])
        sources.load(name, tmp_path)
        assert self.fetches.count("good") == 2

    def test_no_way_left_names_them_all_and_keeps_nothing(self, name, tmp_path):
        del self.ways["good"]
        with pytest.raises(InputError) as refused:
            sources.load(name, tmp_path)
        message = str(refused.value)
        assert "flipped" in message and "sha256" in message
        assert "breaks off" in message and "the line went dead" in message
        assert str(tmp_path / name) in message and "\n" not in message
        assert [path.name for path in (tmp_path / name).iterdir()] == [".lock"]


def test_processes_asking_at_once_fetch_once(tmp_path):
    """Four processes, one cache: one of them fetches, and all read the same images."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        sums = pool.starmap(_load_counting, [(tmp_path,)] * 4)
    assert len(set(sums)) == 1
    assert (tmp_path / "fetched").read_text() == "x"


def _load_counting(folder) -> int:
    contents = {part: idx(np.ones((40, 9, 7)) if "images" in part else np.arange(40) % 4) for part in sources.PARTS}

    def fetch(scratch):
        with (folder / "fetched").open("a") as log:
            log.write("x")
        return iter(contents.items())

    sha256 = tuple(sources.hashlib.sha256(content).hexdigest() for content in contents.values())
    sources.NAMED["toy"] = sources.Named(sha256, {"count": fetch}, sources.Shape(40, (9, 7, 1), 4, 10))
    return int(sources.load("toy", folder).x_train.sum())
