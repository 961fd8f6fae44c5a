"""A user's picture, made to look like the images that the model was trained on, or called doubtful."""

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from epochwise.commands.photos.reading import SEVERAL, Reading, read_photo
from epochwise.common.errors import InputError
from epochwise.data.images import ReadOptions
from epochwise.data.own_files import reader_of
from epochwise.data.sources import load_source
from epochwise.data.style import ImageStyle, style_of

SIDE = 120  # of the pictures below


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Bright strokes on dark, whose longer side takes 20 of 28 pixels, as in MNIST: a letter T."""
    made = np.zeros((5, 28, 28, 1), np.float32)
    made[:, 4:24, 14:17] = 1
    made[:, 4:7, 10:21] = 1
    return made


@pytest.fixture(scope="module")
def style(images) -> ImageStyle:
    return style_of(images)


@pytest.fixture
def read(tmp_path, style) -> Callable[..., Reading]:
    def read_made(made: np.ndarray | Image.Image, suffix: str = ".png", **options) -> Reading:
        picture = made if isinstance(made, Image.Image) else Image.fromarray(np.rint(made.clip(0, 255)).astype("uint8"))
        picture.save(tmp_path / f"p{suffix}", **options)
        return read_photo(tmp_path / f"p{suffix}", f"p{suffix}", style)

    return read_made


def letter(size: int = 60, at: tuple[int, int] = (42, 25), shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Ink in 0…1 in the shape of the test images, `size` pixels high, at (left, top)."""
    ink = Image.new("L", (shape[1], shape[0]))
    left, top = at
    draw, thick = ImageDraw.Draw(ink), round(size * 3 / 20)
    draw.rectangle((left, top, left + round(size * 11 / 20) - 1, top + thick - 1), fill=255)
    draw.rectangle((left + round(size / 5), top, left + round(size / 5) + thick - 1, top + size - 1), fill=255)
    return np.asarray(ink, float) / 255


def paper(ink: np.ndarray) -> np.ndarray:
    return 250 - 240 * ink


def lamp(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter()) * (0.4 + 0.6 * across)


def vignette(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter()) * (1 - 1.2 * ((across - 0.5) ** 2 + (down - 0.5) ** 2))


def soft_shadow(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter()) * (1 - 0.5 / (1 + np.exp((0.5 - across) / 0.03)))


def hard_shadow(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter()) * np.where(down > 0.6, 0.55, 1)


def sheet_on_a_desk(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.pad(paper(letter()), ((25, 30), (20, 40)), constant_values=70)


def small_sheet_on_a_desk(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.pad(paper(letter(30, (45, 45))), 90, constant_values=60)


def frame_at_the_edge(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    made = np.zeros((SIDE, SIDE))
    made[2:-2, 2:-2] = paper(letter())[2:-2, 2:-2]
    return made


def frame_inside(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    made = np.pad(letter(), 12)
    made[5:7, 5:-5] = made[-7:-5, 5:-5] = 1
    made[5:-5, 5:7] = made[5:-5, -7:-5] = 1
    return paper(made)


def specks(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    ink = letter()
    ink[2:5, 2:5] = ink[110:113, 60:62] = ink[60:62, 100:102] = 1
    return paper(ink)


def ruled(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    rule = np.zeros((SIDE, SIDE))
    rule[7::18] = 1
    return np.minimum(paper(letter()), 250 - 130 * rule)


def squared(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    rule = np.zeros((240, 240))
    rule[7::25] = rule[:, 3::25] = 1
    return np.minimum(paper(letter(120, (84, 50), (240, 240))), 250 - 110 * rule)


def low_contrast(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return 200 - 25 * letter()


def noise(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter()) + np.random.default_rng(0).normal(0, 35, (SIDE, SIDE))


def salt_and_pepper(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    hit = np.random.default_rng(0).random((SIDE, SIDE))
    return np.where(hit < 0.02, 0, np.where(hit > 0.98, 255, paper(letter())))


def blackboard(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (60 + 30 * across + 160 * letter()) + np.random.default_rng(0).normal(0, 4, (SIDE, SIDE))


def yellow_marker(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return 255 - letter()[..., None] * np.array([0, 10, 230])


def red_on_green(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.array([90, 160, 90]) + letter()[..., None] * np.array([120, -110, -20])


def small_in_a_corner(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return paper(letter(10, (20, 17), (28, 28)))


KINDS = [lamp, vignette, soft_shadow, hard_shadow, sheet_on_a_desk, small_sheet_on_a_desk, frame_at_the_edge]
KINDS += [frame_inside, specks, ruled, squared, low_contrast, noise, salt_and_pepper, blackboard, yellow_marker]
KINDS += [red_on_green, small_in_a_corner]


def is_the_letter(image: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two images show the same, apart from a pixel's shift and the softness of edges."""
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return min(np.abs(np.roll(image, shift, (0, 1)) - expected).mean() for shift in shifts) < 0.05


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_written_is_found_whatever_is_around_it(images, read, kind):
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE
    assert is_the_letter(read(kind(across, down)).image, images[0])


@pytest.mark.parametrize(
    ("size", "at", "shape"), [(80, (30, 250), (400, 600)), (60, (15, 5), (90, 110)), (20, (5, 4), (28, 28))]
)
def test_ink_on_paper_of_any_size_becomes_a_test_image_without_a_doubt(images, read, size, at, shape):
    reading = read(paper(letter(size, at, shape)))
    assert reading.inverted and reading.doubts == ()
    assert is_the_letter(reading.image, images[0])


@pytest.mark.parametrize("thickness", [2, 5, 30, 50])
def test_thin_and_thick_strokes_become_as_thick_as_the_models(style, read, thickness):
    made = np.full((400, 300), 240.0)
    made[50:350, 150 : 150 + thickness] = made[50 : 50 + thickness, 80:220] = 20
    image = read(made).image[..., 0]
    assert abs(image[12:20].sum(axis=1).mean() - 3) < 0.8  # pixels that the stem takes


def test_a_picture_that_looks_like_a_test_image_keeps_its_pixels(images, read):
    reading = read(images[0, ..., 0] * 255)
    np.testing.assert_array_equal(reading.image, images[0])
    assert (reading.inverted, reading.doubts) == (False, ())


@pytest.mark.parametrize("mode", ["L", "I;16", "F"])
def test_sixteen_bits_and_fractions_are_not_cut_off(images, read, mode):
    values = paper(letter())
    made = {"L": values.astype(np.uint8), "I;16": (values * 16).astype(np.uint16), "F": (values / 255).astype("f4")}
    picture = Image.fromarray(made[mode])
    assert picture.mode == mode
    assert is_the_letter(read(picture, ".tif").image, images[0])


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 255, 0), (0, 0, 0), (200, 30, 30)])
def test_ink_on_a_transparent_picture_stands_out(images, read, colour):
    made = np.zeros((SIDE, SIDE, 4), np.uint8)
    made[..., 3] = letter() * 255
    made[letter() > 0, :3] = colour
    assert is_the_letter(read(Image.fromarray(made)).image, images[0])


def test_a_sheet_that_was_cut_out_is_paper_all_over(images, read):
    made = np.zeros((SIDE + 80, SIDE + 80, 4), np.uint8)
    made[40:-40, 40:-40, :3] = paper(letter())[..., None]
    made[40:-40, 40:-40, 3] = 255
    assert is_the_letter(read(Image.fromarray(made)).image, images[0])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".pgm"])
def test_the_usual_formats_are_read(images, read, suffix):
    assert is_the_letter(read(paper(letter()), suffix).image, images[0])


def test_heic_is_read_with_its_library_and_named_without(images, style, read, tmp_path, monkeypatch):
    library = pytest.importorskip("pillow_heif")
    library.register_heif_opener()
    assert is_the_letter(read(paper(letter()), ".heic").image, images[0])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"p.heic: HEIC needs pillow-heif: pip install pillow-heif"):
        read_photo(tmp_path / "p.heic", "p.heic", style)


def test_of_an_animation_the_first_frame_is_read(images, read):
    first, second = (Image.fromarray(made.astype(np.uint8)) for made in (paper(letter()), np.full((SIDE, SIDE), 250)))
    reading = read(first, ".gif", save_all=True, append_images=[second])
    assert is_the_letter(reading.image, images[0])


@pytest.mark.parametrize(("orientation", "turn"), [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)])
def test_a_picture_is_turned_as_its_exif_data_says(images, read, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(paper(letter()).astype(np.uint8)).transpose(turn)
    assert is_the_letter(read(turned, ".jpg", exif=exif).image, images[0])


def two(gap: int) -> np.ndarray:
    made = letter(60, (20, 30), (140, 200))
    return paper(np.maximum(made, letter(60, (20 + 33 + gap, 30), (140, 200))))


DOUBTS = {
    SEVERAL: [two(10), two(60), paper(np.pad(letter(), ((0, 90), (0, 0))) + np.pad(letter(), ((90, 0), (0, 0))))],
    "cut off at the edge": [paper(letter())[:, 50:], paper(letter())[:60]],
    "no strokes found": [255 - 240 * (np.hypot(*(np.mgrid[:SIDE, :SIDE] - 60)) < 40)],
    "hardly any contrast": [np.random.default_rng(0).normal(128, 30, (SIDE, SIDE))],
    "very small": [paper(letter(7, (150, 40), (200, 300)))],
}


@pytest.mark.parametrize(
    ("doubt", "made"), [(doubt, made) for doubt, pictures in DOUBTS.items() for made in pictures], ids=str
)
def test_what_may_be_read_wrongly_is_said(read, doubt, made):
    assert doubt in read(made).doubts


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_a_blank_sheet_is_refused(read, mode):
    with pytest.raises(InputError, match=r"p.png: is blank; there is nothing to classify"):
        read(Image.new(mode, (300, 200), 255 if mode == "L" else (255,) * len(mode)))


PDF, JXL = b"%PDF-1.7\n%" + b"x" * 80, b"\xff\x0a" + b"x" * 80
REFUSED = {
    "missing.png": (None, "missing.png: not there"),
    "empty.png": (b"", "empty.png: is empty"),
    "scan.pdf": (PDF, "scan.pdf: is a PDF; PNG, JPEG, WebP, BMP, GIF, TIFF, AVIF, PPM are read"),
    "p.jxl": (JXL, "p.jxl: is a JPEG XL; PNG, JPEG"),
    "notes.png": (b"no picture", "notes.png: not a picture in a known format; PNG, JPEG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_by_what_it_is(tmp_path, style, name):
    content, message = REFUSED[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_photo(tmp_path / name, name, style)
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


def test_a_folder_is_refused_with_the_way_to_give_its_pictures(tmp_path, style):
    with pytest.raises(InputError, match=r"photos: is a folder; give the pictures in it, such as photos/\*.png"):
        read_photo(tmp_path, "photos", style)


def test_a_picture_that_is_cut_off_is_called_damaged(tmp_path, style):
    content = io.BytesIO()
    Image.fromarray(paper(letter()).astype(np.uint8)).save(content, "PNG")
    (tmp_path / "p.png").write_bytes(content.getvalue()[:-90])
    with pytest.raises(InputError, match="p.png: not a readable picture, it is damaged"):
        read_photo(tmp_path / "p.png", "p.png", style)


# Other styles than bright writing on dark in grey


def test_writing_in_colour_keeps_its_colour(images, tmp_path):
    style = style_of(np.concatenate([images, images * 0, images * 0], axis=3))
    made = np.zeros((SIDE, SIDE, 3), np.uint8)
    made[..., 0] = letter() * 255
    Image.fromarray(made).save(tmp_path / "p.png")
    reading = read_photo(tmp_path / "p.png", "p.png", style)
    assert not reading.inverted and reading.image.shape == (28, 28, 3)
    assert reading.image[..., 1:].max() == 0
    assert is_the_letter(reading.image[..., :1], images[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_writing_whose_channels_are_equal_is_read_as_in_grey(images, tmp_path, channels):
    style = style_of(np.repeat(images, channels, axis=3))
    assert style.grey
    Image.fromarray(yellow_marker(*np.mgrid[:SIDE, :SIDE]).astype(np.uint8)).save(tmp_path / "p.png")
    reading = read_photo(tmp_path / "p.png", "p.png", style)
    assert reading.image.shape == (28, 28, channels) and reading.inverted
    assert (reading.image == reading.image[..., :1]).all(), "yellow would be a colour that the model has never seen"
    assert is_the_letter(reading.image[..., :1], images[0])


def test_things_keep_their_shades(tmp_path):
    """What fills its box, such as clothes, is scaled and placed, and its grey is left as it is."""
    thing = np.zeros((5, 28, 28, 1), np.float32)
    thing[:, 4:24, 4:24] = 0.6
    style = style_of(thing)
    assert not style.is_writing
    made = np.full((200, 300), 255, np.uint8)
    made[50:150, 30:130] = 255 - 150
    Image.fromarray(made).save(tmp_path / "p.png")
    reading = read_photo(tmp_path / "p.png", "p.png", style)
    assert reading.inverted and reading.doubts == ()
    assert np.abs(reading.image - thing[0] * (150 / 255) / 0.6).mean() < 0.01


def test_all_of_a_thing_is_kept_without_a_plain_background_and_that_is_said(tmp_path):
    thing = np.zeros((5, 28, 28, 1), np.float32)
    thing[:, 4:24, 4:24] = 0.6
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (100, 1))
    Image.fromarray(ramp).save(tmp_path / "p.png")
    reading = read_photo(tmp_path / "p.png", "p.png", style_of(thing))
    middle = reading.image[14, :, 0]
    assert np.ptp(middle) > 0.9 and (abs(np.diff(middle)) < 0.1).all()
    assert reading.doubts == ("background not plain",)


# Pictures of the training itself


def shapes(colours: np.ndarray, background: int, side: int = 16) -> np.ndarray:
    """A disc in each of N colours on a background, N×H×W×C."""
    disc = np.hypot(*(np.mgrid[:side, :side] - side / 2 + 0.5)) < side * 0.4
    made = np.full((len(colours), side, side, colours.shape[1]), background, np.uint8)
    made[:, disc] = colours[:, None]
    return made


def icons(draw: np.random.Generator) -> list[Image.Image]:
    """Discs and rings in bright and dark colours on nothing; what the transparent pixels hold is not seen."""
    made = np.concatenate([shapes(draw.integers(0, 256, (12, 3)), 0), np.zeros((12, 16, 16, 1), np.uint8)], axis=3)
    made[..., 3] = 255 * (made[..., :3].any(axis=3))
    return [Image.fromarray(pixels) for pixels in made]


def rings(draw: np.random.Generator) -> list[Image.Image]:
    made = [np.array(picture) for picture in icons(draw)]
    hole = np.hypot(*(np.mgrid[:16, :16] - 7.5)) < 4.5
    for pixels in made:
        pixels[hole] = 0
    return [Image.fromarray(pixels) for pixels in made]


def grey_0_to_15(draw: np.random.Generator) -> list[Image.Image]:
    return [Image.fromarray(pixels[..., 0]) for pixels in shapes(draw.integers(6, 16, (12, 1)), 0)]


def transparent_0_to_15(draw: np.random.Generator) -> list[Image.Image]:
    made = [Image.fromarray(pixels[..., 0]) for pixels in shapes(draw.integers(6, 13, (12, 1)), 0)]
    return [Image.merge("LA", [one, one.point(lambda value: 255 * (value > 0))]) for one in made]


def twelve_bits_and_eight(draw: np.random.Generator) -> list[Image.Image]:
    eight = [pixels[..., 0] for pixels in shapes(draw.integers(100, 256, (12, 1)), 0)]
    return [Image.fromarray(pixels if n % 2 else pixels.astype(np.uint16) * 16) for n, pixels in enumerate(eight)]


def textures(draw: np.random.Generator) -> list[Image.Image]:
    colours = draw.integers(60, 256, (12, 1, 1, 3)) * draw.uniform(0.3, 1, (12, 16, 16, 1))
    return [Image.fromarray(pixels.astype(np.uint8)) for pixels in colours]


def grey_textures(draw: np.random.Generator) -> list[Image.Image]:
    return [
        Image.fromarray((pixels * 25 + 128).clip(0, 255).astype(np.uint8)) for pixels in draw.normal(size=(12, 16, 16))
    ]


def several_sizes(draw: np.random.Generator) -> list[Image.Image]:
    return [one.resize((16 + n, 20), Image.Resampling.NEAREST) for n, one in enumerate(textures(draw))]


def icons_of_several_sizes(draw: np.random.Generator) -> list[Image.Image]:
    return [one.resize((32 + n, 40), Image.Resampling.NEAREST) for n, one in enumerate(icons(draw))]


def rings_of_several_sizes(draw: np.random.Generator) -> list[Image.Image]:
    return [one.resize((32 + n, 40), Image.Resampling.NEAREST) for n, one in enumerate(rings(draw))]


def any_background(draw: np.random.Generator) -> list[Image.Image]:
    grounds = (0, 0, 255)
    colours = draw.integers(60, 200, (12, 3))
    return [Image.fromarray(shapes(one[None], grounds[n % 3])[0]) for n, one in enumerate(colours)]


class Trained(NamedTuple):
    make: Callable[[np.random.Generator], list[Image.Image]]
    options: ReadOptions = ReadOptions()


@pytest.mark.parametrize(
    "trained",
    [
        *(Trained(make) for make in (icons, rings, textures, grey_textures, any_background)),
        *(Trained(make, ReadOptions(pixel_max=15)) for make in (grey_0_to_15, transparent_0_to_15)),
        Trained(twelve_bits_and_eight, ReadOptions(pixel_max=4095)),
        Trained(several_sizes, ReadOptions(image_size=16)),
        Trained(icons_of_several_sizes, ReadOptions(image_size=16)),
        Trained(rings_of_several_sizes, ReadOptions(image_size=16)),
    ],
    ids=lambda trained: trained.make.__name__,
)
def test_a_picture_of_the_training_is_read_as_it_was_trained(trained, tmp_path):
    """Or a model gives other answers on the pictures that it knows best."""
    for number, picture in enumerate(trained.make(np.random.default_rng(0))):
        path = tmp_path / ("test" if number > 7 else "train") / f"class {number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    images = load_source(str(tmp_path), tmp_path, trained.options).images
    known = np.concatenate([images.x_train, images.x_test]).astype(np.float32) / np.float32(255)
    style = style_of(known[len(images.x_train) :])
    for path, expected in zip(reader_of(tmp_path).files, known, strict=True):
        reading = read_photo(path, path.name, style, trained.options)
        np.testing.assert_array_equal(reading.image, expected)
        assert not reading.inverted


def test_a_photo_brighter_than_the_stated_white_of_the_training_is_a_usual_one(images, tmp_path):
    thing = np.zeros((5, 28, 28, 1), np.float32)
    thing[:, 4:24, 4:24] = 0.6
    made = np.full((200, 300), 255, np.uint8)
    made[50:150, 30:130] = 255 - 150
    for path, style in ((tmp_path / "thing.png", style_of(thing)), (tmp_path / "ink.png", style_of(images))):
        Image.fromarray(made if path.stem == "thing" else paper(letter()).astype(np.uint8)).save(path)
        read = [read_photo(path, path.name, style, ReadOptions(pixel_max=white)) for white in (0, 15)]
        np.testing.assert_array_equal(read[0].image, read[1].image)
    Image.fromarray((paper(letter()) * (15 / 255)).astype(np.uint8)).save(tmp_path / "dark.png")
    assert is_the_letter(
        read_photo(tmp_path / "dark.png", "dark.png", style_of(images), ReadOptions(pixel_max=15)).image, images[0]
    )


def test_a_thing_in_fractions_is_refused_as_in_a_training(tmp_path):
    Image.fromarray(np.eye(28, dtype=np.float32)).save(tmp_path / "p.tif")
    thing = style_of(shapes(np.array([[150]] * 5), 0, 28) / np.float32(255))
    with pytest.raises(InputError, match=r"^p.tif: its pixels are fractions; give 8 or 16 bits$"):
        read_photo(tmp_path / "p.tif", "p.tif", thing)


def test_a_style_is_the_same_after_it_was_written_and_read(style):
    assert ImageStyle.from_json(style.as_json(), "run.json") == style
    earlier = {key: value for key, value in style.as_json().items() if key != "grey"}
    assert ImageStyle.from_json(earlier, "run.json") == style
    for damaged in ({}, style.as_json() | {"extent": "wide"}, style.as_json() | {"shape": [28]}):
        with pytest.raises(InputError, match="run.json: does not say how the images look"):
            ImageStyle.from_json(damaged, "run.json")
