"""Properties of what reads bytes from anywhere: it gives back what was written, or refuses, and raises nothing else."""

import contextlib
import gzip
import hashlib
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from image_files import idx, npz
from PIL import Image

from epochwise.commands.photos.reading import read_photo
from epochwise.common.errors import InputError
from epochwise.common.files import read_json
from epochwise.config import overrides
from epochwise.data.idx import read_idx
from epochwise.data.images import ReadOptions
from epochwise.data.sources import load_source
from epochwise.data.style import ImageStyle, Spread, style_of
from epochwise.training.history import COLUMNS, read_history, write_history
from epochwise.trajectory.states import StateStore

settings.register_profile("epochwise", deadline=None, max_examples=150)
settings.load_profile("epochwise")

IMAGES = arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
LABELS = np.arange(8) % 4
PIXELS = np.arange(72).reshape(8, 3, 3).astype(np.uint8) * 3
NPZ = npz(x_train=PIXELS, y_train=LABELS, x_test=PIXELS, y_test=LABELS)
CSV = b"label,a,b,c,d,e,f,g,h,i\n" + b"".join(b"%d,%d,9,255,0,1,2,3,4,5\n" % (label, 7 * label) for label in LABELS)
ROW = {"epoch": 1, "loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parsers")


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """The content with bytes changed, put in or taken away."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(made) - 1)))
        match draw(st.integers(0, 3)):
            case 0:
                made[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                made[at:at] = draw(st.binary(max_size=8))
            case 2:
                del made[at : at + draw(st.integers(1, 9))]
            case 3:
                del made[at:]
    return bytes(made)


@given(IMAGES, st.booleans())
def test_idx_gives_back_what_was_written(folder, values, zipped):
    path = folder / ("x.gz" if zipped else "x")
    path.write_bytes(gzip.compress(idx(values)) if zipped else idx(values))
    np.testing.assert_array_equal(read_idx(path), values)


@given(st.data(), st.booleans())
def test_damaged_idx_is_read_whole_or_refused(folder, data, zipped):
    whole = idx(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    path = folder / ("d.gz" if zipped else "d")
    path.write_bytes(data.draw(damaged(gzip.compress(whole) if zipped else whole)))
    with contextlib.suppress(InputError):
        found = read_idx(path)
        assert found.dtype == np.uint8 and found.size == math.prod(found.shape)


@given(st.one_of(damaged(NPZ), st.binary(max_size=200)))
def test_damaged_npz_is_a_set_of_images_or_refused(folder, content):
    path = folder / "d.npz"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        images = load_source(str(path), folder, ReadOptions()).images
        assert len(images.x_train) == len(images.y_train) and images.x_train.ndim == 4
        assert images.y_train.min() >= 0 and images.x_train.dtype == np.uint8


@given(st.one_of(damaged(CSV), st.binary(max_size=200), st.text(max_size=60).map(str.encode)))
def test_damaged_csv_is_a_set_of_images_or_refused(folder, content):
    path = folder / "d.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        images = load_source(str(path), folder, ReadOptions(test_size=2)).images
        assert images.x_train.ndim == 4 and images.x_train.dtype == np.uint8
        assert set(images.y_train) == set(range(images.y_train.max() + 1))


@given(st.lists(st.tuples(*[FINITE] * 4), min_size=1, max_size=6))
def test_history_gives_back_every_bit(folder, values):
    history = [dict(zip(COLUMNS, (epoch, *row), strict=True)) for epoch, row in enumerate(values, 1)]
    write_history(history, folder / "history.csv")
    assert read_history(folder / "history.csv") == history


@given(
    st.one_of(
        st.binary(max_size=100), damaged(b"epoch,loss,accuracy,val_loss,val_accuracy\n1,0.5,0.5,0.5,0.5\n2,1,1,1,1\n")
    )
)
def test_damaged_history_is_numbers_from_epoch_1_on_or_refused(folder, content):
    path = folder / "d.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        history = read_history(path)
        assert [row["epoch"] for row in history] == list(range(1, len(history) + 1))
        assert all(math.isfinite(value) for row in history for value in row.values())


@given(st.one_of(st.binary(max_size=60), damaged(b'{"a": [1, 2.5, {"b": null}]}')))
def test_json_is_an_object_or_refused(folder, content):
    (folder / "d.json").write_bytes(content)
    with contextlib.suppress(InputError):
        assert isinstance(read_json(folder / "d.json"), dict)


@given(st.data())
def test_a_damaged_state_is_not_used(folder, data):
    states = StateStore(folder / "states", {"test": "parsers"}, max_gb=1)
    states.write([np.ones(3, np.float32)], [ROW], [1.0])
    with states.turn_to_train(1) as state:
        assert state.epoch == 1
    whole = state.path.read_bytes()
    content = data.draw(damaged(whole).filter(lambda made: made != whole))
    state.path.write_bytes(content)
    with states.turn_to_train(1) as found:
        assert found is None
    # Whoever wants a foreign file to be used gives it the name that its bytes ask for.
    foreign = state.path.with_name(f"00001-{hashlib.sha256(content).hexdigest()}.npz")
    foreign.write_bytes(content)
    with states.turn_to_train(1) as found:
        assert found is None or len(found.history) == 1
    foreign.unlink(missing_ok=True)


@given(st.one_of(st.text(min_size=1), st.integers(), st.booleans(), FINITE, st.lists(st.text(min_size=1), max_size=3)))
def test_a_value_as_an_override_is_that_value(value):
    (parsed,) = overrides.parse([overrides.as_override("key", value)])
    assert parsed.key_or_group == "key"
    read = parsed.value()
    plain = [str(item) for item in read] if isinstance(read, list) else read
    assert plain == value or str(plain) == str(value)


def style_like(image: np.ndarray) -> ImageStyle:
    """The style of images of which this one, H×W in 0…1, is one."""
    anywhere = Spread(0, 0.5, 1)
    style = style_of(image[None, ..., None].astype(np.float32))
    return replace(style, background=0.0, extent=anywhere, across=anywhere, down=anywhere)


@given(IMAGES)
def test_a_picture_of_the_models_size_and_look_keeps_its_pixels(folder, values):
    assume(values[0].max() > 127)  # a blank one is refused, a faint one is redrawn
    height, width = values.shape[1:]
    dark = np.zeros((height + 2, width + 2), np.uint8)
    dark[1:-1, 1:-1] = values[0]
    Image.fromarray(dark).save(folder / "p.png")
    reading = read_photo(folder / "p.png", "p.png", style_like(dark / 255))
    assert not reading.inverted
    np.testing.assert_array_equal(reading.image[..., 0], dark.astype(np.float32) / np.float32(255))


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4]))))
def test_any_picture_becomes_an_image_or_is_blank(folder, values):
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(folder / "a.png")
    letter = np.zeros((12, 10), np.float32)
    letter[2:10, 4:6] = letter[2:4, 2:8] = 1
    with contextlib.suppress(InputError):
        image = read_photo(folder / "a.png", "a.png", style_like(letter)).image
        assert (image.shape, image.dtype) == ((12, 10, 1), np.float32)
        assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1


@given(st.data())
def test_a_damaged_picture_is_read_or_refused(folder, data):
    whole = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(whole, "PNG")
    (folder / "d.png").write_bytes(data.draw(damaged(whole.getvalue())))
    with contextlib.suppress(InputError):
        assert read_photo(folder / "d.png", "d.png", style_like(np.eye(9, 7))).image.shape == (9, 7, 1)
