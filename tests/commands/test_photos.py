"""A user's picture, made to look like the images that the model was trained on."""

import numpy as np
import pytest
from PIL import Image

from epochwise.commands.photos import read_photo, style_of
from epochwise.common.errors import InputError


@pytest.fixture
def images() -> np.ndarray:
    """Bright strokes on dark, whose longer side takes 20 of 28 pixels, as in MNIST."""
    made = np.zeros((5, 28, 28, 1), np.float32)
    made[:, 4:24, 14:18] = 1
    made[:, 4:8, 10:22] = 1
    return made


def paper(image: np.ndarray, size: tuple[int, int], scale: int, at: tuple[int, int]) -> Image.Image:
    """The content of the image in ink on white paper."""
    ink = Image.fromarray(255 - (image[4:24, 10:22, 0] * 255).astype(np.uint8)).resize((12 * scale, 20 * scale))
    sheet = Image.new("L", size, 250)
    sheet.paste(ink, at)
    return sheet


@pytest.mark.parametrize(("size", "scale", "at"), [((600, 400), 4, (30, 250)), ((90, 110), 5, (15, 5))])
def test_ink_on_paper_of_any_size_becomes_a_test_image(images, tmp_path, size, scale, at):
    paper(images[0], size, scale, at).save(tmp_path / "p.png")
    style = style_of(images)
    assert (style.shape, style.bright_background, round(style.extent * 28)) == ((28, 28, 1), False, 20)
    read, inverted = read_photo(tmp_path / "p.png", style)
    assert inverted
    assert np.abs(read - images[0]).mean() < 0.05


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_thin_stroke_and_sixteen_bits_are_seen(images, tmp_path, mode):
    sheet = np.full((600, 600), 250, np.uint8)
    sheet[50:550, 300:306] = 10
    picture = Image.fromarray(sheet if mode == "L" else sheet.astype(np.uint16) * 257)
    assert picture.mode == mode
    picture.save(tmp_path / "p.png")
    read, inverted = read_photo(tmp_path / "p.png", style_of(images))
    assert inverted
    rows = np.flatnonzero(read[..., 0].max(axis=1) > 0.5)
    assert rows[-1] + 1 - rows[0] == 20 and (read[..., 0].max(axis=0) > 0.5).sum() == 1


def test_content_of_a_coloured_picture_is_scaled_and_placed(images, tmp_path):
    coloured = np.concatenate([images, images * 0, images * 0], axis=3)
    sheet = Image.new("RGB", (300, 300))
    sheet.paste((255, 0, 0), (20, 30, 60, 90))
    sheet.save(tmp_path / "p.png")
    read, inverted = read_photo(tmp_path / "p.png", style_of(coloured))
    assert not inverted and read.shape == (28, 28, 3)
    assert read[..., 1:].max() == 0
    rows, columns = (np.flatnonzero(read[..., 0].max(axis=axis) > 0.5) for axis in (1, 0))
    assert (rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]) == (20, 13)
    # The test images' centre of mass is 16 pixels across and 11.7 down.
    assert abs(rows[0] - (11.7 - 10)) < 1 and abs(columns[0] - (16 - 6.5)) < 1


def test_without_a_plain_background_all_of_it_is_kept(images, tmp_path):
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (100, 1))
    Image.fromarray(ramp).save(tmp_path / "p.png")
    read, _ = read_photo(tmp_path / "p.png", style_of(images))
    middle = read[14, :, 0]
    assert np.ptp(middle) > 0.9 and (abs(np.diff(middle)) < 0.1).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_blank_sheet_is_refused(images, tmp_path, mode):
    Image.new(mode, (300, 200), 255 if mode == "L" else (255,) * len(mode)).save(tmp_path / "p.png")
    with pytest.raises(InputError, match="p.png: is blank"):
        read_photo(tmp_path / "p.png", style_of(images))
