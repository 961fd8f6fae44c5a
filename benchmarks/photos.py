"""How many pictures of each kind `epochwise predict` reads right: made pictures of paper, light, pens and files.

    python benchmarks/photos.py [--model models] [--each 20] [--plain 300] [--seed 0] [--keep FOLDER]

The digits are test images of MNIST, drawn large, and glyphs of Matplotlib's fonts, by turns. A picture counts as
answered if it is read right or has a hint. First come test images put as ink of any size anywhere on paper, as noisy
JPEGs: those are plain, so a hint on one is false. Needs a model that was trained on MNIST.
"""

import argparse
import functools
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from epochwise.commands.find_model import found_model
from epochwise.commands.photos.reading import read_photo
from epochwise.commands.predict import (
    Sample,
    class_names_of,
    prediction_of,
    read_options_of,
    style_of_run,
    test_images_of,
)

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique")

Rng = np.random.Generator
Glyph = Callable[[int], np.ndarray]  # from a height in pixels to ink in 0…1


def font_glyph(digit: int, font: str) -> Glyph:
    @functools.cache
    def draw(height: int) -> np.ndarray:
        path = Path(matplotlib.get_data_path()) / f"fonts/ttf/{font}.ttf"
        face = ImageFont.truetype(str(path), round(height * 1.37))
        left, top, right, low = face.getbbox(str(digit))
        picture = Image.new("L", (right - left, low - top))
        ImageDraw.Draw(picture).text((-left, -top), str(digit), fill=255, font=face)
        return np.asarray(picture, float) / 255

    return draw


def written_glyph(image: np.ndarray) -> Glyph:
    """A test image, its strokes sharp at any size."""
    rows, columns = (np.flatnonzero((image > 0.2).any(axis=axis)) for axis in (1, 0))
    cut = np.pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)

    @functools.cache
    def draw(height: int) -> np.ndarray:
        size = max(2, round(height * cut.shape[1] / cut.shape[0])), height
        large = Image.fromarray((cut * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        values = np.asarray(large, float) / 255
        return values if height < 60 else ((values - 0.35) / 0.3).clip(0, 1)

    return draw


def put(glyph: np.ndarray, shape: tuple[int, int], at: tuple[int, int]) -> np.ndarray:
    """Ink H×W with the glyph at (top, left)."""
    ink = np.zeros(shape)
    top, left = at
    ink[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
    return ink


def scene(rng: Rng, glyph: Glyph, low: float = 0.3, high: float = 0.75, side: int = 0) -> np.ndarray:
    """Ink of random size at a random place of a sheet of random size."""
    height = side or int(rng.integers(120, 700))
    width = side or int(height * rng.uniform(0.7, 1.5))
    drawn = glyph(max(8, round(rng.uniform(low, high) * min(height, width))))
    if drawn.shape[1] > 0.9 * width:
        drawn = glyph(round(drawn.shape[0] * 0.8 * width / drawn.shape[1]))
    margin = max(2, round(0.03 * min(height, width)))
    top = int(rng.integers(margin, max(margin + 1, height - drawn.shape[0] - margin)))
    left = int(rng.integers(margin, max(margin + 1, width - drawn.shape[1] - margin)))
    return put(drawn, (height, width), (top, left))


def inked(ink: np.ndarray, paper: float = 0.97, pen: float = 0.1) -> np.ndarray:
    return paper + (pen - paper) * ink


def coloured(ink: np.ndarray, paper: tuple[float, ...], pen: tuple[float, ...]) -> np.ndarray:
    return np.array(paper) + (np.array(pen) - np.array(paper)) * ink[..., None]


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """How far down and across each pixel is, in 0…1."""
    down, across = np.mgrid[: shape[0], : shape[1]]
    return down / shape[0], across / shape[1]


def linear(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """0…1 in a random direction."""
    down, across = grid(shape)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = down * np.sin(angle) + across * np.cos(angle)
    return (ramp - ramp.min()) / np.ptp(ramp)


def noisy(rng: Rng, picture: np.ndarray, deviation: float) -> np.ndarray:
    return picture + rng.normal(0, deviation, picture.shape)


def image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8))


def turned(rng: Rng, ink: np.ndarray, most: float) -> np.ndarray:
    return ndimage.rotate(ink, rng.uniform(-most, most), reshape=False, order=1).clip(0, 1)


def clouds(rng: Rng, shape: tuple[int, int], size: float) -> np.ndarray:
    """A texture with mean 0 and deviation 1."""
    made = ndimage.gaussian_filter(rng.normal(size=shape), size)
    return (made - made.mean()) / made.std()


def lines(shape: tuple[int, int], step: float, thickness: int, rows: bool, first: float = 0.5) -> np.ndarray:
    made = np.zeros(shape)
    for at in np.arange(first * step, shape[0 if rows else 1], step).astype(int):
        if rows:
            made[at : at + thickness] = 1
        else:
            made[:, at : at + thickness] = 1
    return made


# Kinds of pictures. Each takes random numbers and a glyph, and returns a picture or a file's name and content.


def lamp(rng, glyph):
    ink = scene(rng, glyph)
    return image(noisy(rng, inked(ink) * (1 - linear(rng, ink.shape) * rng.uniform(0.3, 0.7)), 0.01))


def lamp_above(rng, glyph):
    ink = scene(rng, glyph)
    down, across = grid(ink.shape)
    far = np.hypot(down - rng.uniform(-0.3, 1.3), across - rng.uniform(-0.3, 1.3))
    return image(noisy(rng, inked(ink) / (1 + rng.uniform(0.5, 2) * far**2), 0.01))


def vignette(rng, glyph):
    ink = scene(rng, glyph)
    down, across = grid(ink.shape)
    return image(inked(ink) * (1 - rng.uniform(0.5, 1.3) * ((down - 0.5) ** 2 + (across - 0.5) ** 2)))


def soft_shadow(rng, glyph):
    ink = scene(rng, glyph)
    edge = 1 / (1 + np.exp(-(linear(rng, ink.shape) - rng.uniform(0.25, 0.75)) / rng.uniform(0.01, 0.08)))
    return image(noisy(rng, inked(ink) * (1 - rng.uniform(0.25, 0.6) * edge), 0.008))


def hard_shadow(rng, glyph):
    ink = scene(rng, glyph)
    edge = linear(rng, ink.shape) > rng.uniform(0.3, 0.7)
    return image(inked(ink) * np.where(edge, rng.uniform(0.45, 0.75), 1))


def shadow_of_a_hand(rng, glyph):
    ink = scene(rng, glyph)
    down, across = grid(ink.shape)
    blob = np.hypot((down - rng.uniform(0.4, 1.1)) / 0.5, (across - rng.uniform(0.2, 1.1)) / 0.35) < 1
    shade = ndimage.gaussian_filter(blob.astype(float), rng.uniform(0.01, 0.05) * ink.shape[0])
    return image(noisy(rng, inked(ink) * (1 - rng.uniform(0.25, 0.5) * shade), 0.008))


def on_desk(rng, sheet, desk):
    """A sheet with a margin of desk, whose brightness is `desk`, all around."""
    height, width = sheet.shape
    above, below, left, right = (int(rng.uniform(0.05, 0.35) * min(height, width)) for _ in range(4))
    made = np.full((height + above + below, width + left + right), desk)
    made[above : above + height, left : left + width] = sheet
    return made


def sheet_on_desk(rng, glyph):
    made = on_desk(rng, inked(scene(rng, glyph)), rng.uniform(0.1, 0.55))
    return image(noisy(rng, made, rng.uniform(0, 0.015)))


def turned_sheet(rng, glyph):
    made = on_desk(rng, inked(scene(rng, glyph)) - 0.5, -1.0)
    made = ndimage.rotate(made, rng.uniform(-12, 12), order=1, cval=-1.0)
    wood = rng.uniform(0.25, 0.5) + 0.03 * clouds(rng, made.shape, 4)
    sheet = ndimage.gaussian_filter((made > -0.6).astype(float), 1)
    return image(noisy(rng, sheet * (made + 0.5) + (1 - sheet) * wood, 0.01))


def frame_at_edge(rng, glyph):
    made, thick = inked(scene(rng, glyph)), int(rng.integers(1, 6))
    framed = np.full(made.shape, rng.uniform(0, 0.5))
    framed[thick:-thick, thick:-thick] = made[thick:-thick, thick:-thick]
    return image(framed)


def frame_inside(rng, glyph):
    ink = scene(rng, glyph)
    gap, thick = int(rng.integers(4, 12)), int(rng.integers(1, 5))
    framed = np.pad(ink, gap + thick + 3)
    edge = np.zeros(framed.shape)
    edge[gap : gap + thick] = edge[-gap - thick : -gap] = 1
    edge[:, gap : gap + thick] = edge[:, -gap - thick : -gap] = 1
    edge[:gap] = edge[-gap:] = 0
    edge[:, :gap] = edge[:, -gap:] = 0
    return image(inked(np.maximum(framed, edge)))


def specks(rng, glyph):
    ink = scene(rng, glyph)
    for _ in range(int(rng.integers(1, 12))):
        size = max(1, round(rng.uniform(0.004, 0.02) * ink.shape[0]))
        top, left = (int(rng.integers(0, side - size)) for side in ink.shape)
        ink[top : top + size, left : left + size] = 1
    return image(inked(ink))


def ruled(rng, glyph):
    ink = scene(rng, glyph)
    step, thick = rng.uniform(0.08, 0.2) * ink.shape[0], int(rng.integers(1, 1 + max(2, ink.shape[0] // 150)))
    rule = lines(ink.shape, step, thick, rows=True, first=rng.uniform(0.2, 1))
    blue = coloured(rule, (0.96, 0.96, 0.95), (0.6, 0.7, 0.9))
    return image(noisy(rng, blue * (1 - ink[..., None]) + ink[..., None] * np.array((0.1, 0.1, 0.25)), 0.01))


def ruled_dark(rng, glyph):
    ink = scene(rng, glyph)
    step, thick = rng.uniform(0.1, 0.25) * ink.shape[0], int(rng.integers(1, 1 + max(2, ink.shape[0] // 120)))
    rule = lines(ink.shape, step, thick, rows=True, first=rng.uniform(0.2, 1))
    return image(np.minimum(inked(ink), 1 - rng.uniform(0.3, 0.7) * rule))


def ruled_turned(rng, glyph):
    ink = scene(rng, glyph)
    wide = (int(ink.shape[0] * 1.4), int(ink.shape[1] * 1.4))
    rule = lines(wide, rng.uniform(0.1, 0.2) * ink.shape[0], int(rng.integers(1, 4)), rows=True)
    rule = ndimage.rotate(rule, rng.uniform(-4, 4), reshape=False, order=1)
    top, left = (wide[0] - ink.shape[0]) // 2, (wide[1] - ink.shape[1]) // 2
    rule = rule[top : top + ink.shape[0], left : left + ink.shape[1]].clip(0, 1)
    return image(noisy(rng, np.minimum(inked(ink), 0.97 - rng.uniform(0.2, 0.5) * rule), 0.01))


def squared(rng, glyph):
    ink = scene(rng, glyph)
    step, thick = rng.uniform(0.05, 0.15) * ink.shape[0], int(rng.integers(1, 1 + max(2, ink.shape[0] // 200)))
    rule = np.maximum(lines(ink.shape, step, thick, True), lines(ink.shape, step, thick, False))
    return image(noisy(rng, np.minimum(inked(ink), 0.97 - rng.uniform(0.15, 0.5) * rule), 0.01))


def yellow_marker(rng, glyph):
    pen = (rng.uniform(0.9, 1), rng.uniform(0.85, 0.95), rng.uniform(0, 0.4))
    return image(noisy(rng, coloured(scene(rng, glyph), (0.98, 0.98, 0.97), pen), rng.uniform(0, 0.01)))


def thick_marker(rng, glyph):
    ink = scene(rng, glyph, 0.4, 0.7)
    by = rng.uniform(0.01, 0.03) * ink.shape[0]
    thick = (by - ndimage.distance_transform_edt(ink < 0.5) + 0.5).clip(0, 1)
    return image(inked(thick, pen=rng.uniform(0, 0.4)))


def thin_pen(rng, glyph):
    """The outline's middle: what is left of a glyph that is thinned."""
    ink = scene(rng, glyph, 0.4, 0.8)
    inside = ndimage.distance_transform_edt(ink > 0.5)
    ridge = (inside > 0) & (inside >= ndimage.maximum_filter(inside, 3) - 0.3) & (inside > 0.35 * inside.max())
    pen = ndimage.binary_dilation(ridge, iterations=int(rng.integers(1, 3)))
    return image(inked(ndimage.gaussian_filter(pen.astype(float), 0.6), pen=rng.uniform(0, 0.4)))


def pencil(rng, glyph):
    ink = scene(rng, glyph)
    grain = (0.75 + 0.25 * clouds(rng, ink.shape, 0.8)).clip(0, 1)
    return image(noisy(rng, inked(ink * grain, 0.93, rng.uniform(0.5, 0.7)), 0.012))


def coloured_paper(rng, glyph):
    while True:
        paper, pen = rng.uniform(0.2, 1, 3), rng.uniform(0, 1, 3)
        if np.abs(paper - pen).max() > 0.35:
            return image(noisy(rng, coloured(scene(rng, glyph), paper, pen), 0.01))


def blackboard(rng, glyph):
    ink = scene(rng, glyph)
    board = rng.uniform(0.12, 0.3) + 0.025 * clouds(rng, ink.shape, 0.06 * ink.shape[0])
    chalk = ink * (0.8 + 0.2 * clouds(rng, ink.shape, 0.7)).clip(0.2, 1)
    return image(noisy(rng, board + (rng.uniform(0.75, 0.95) - board) * chalk, 0.015))


def low_contrast(rng, glyph):
    paper = rng.uniform(0.4, 0.95)
    step = rng.uniform(0.06, 0.15) * rng.choice([-1, 1])
    return image(noisy(rng, inked(scene(rng, glyph), paper, paper - step), 0.006))


def noise(rng, glyph):
    return image(noisy(rng, inked(scene(rng, glyph, 0.4)), rng.uniform(0.1, 0.25)))


def salt_and_pepper(rng, glyph):
    made = inked(scene(rng, glyph, 0.4))
    hit = rng.random(made.shape)
    share = rng.uniform(0.01, 0.06)
    return image(np.where(hit < share, 0, np.where(hit > 1 - share, 1, made)))


def strong_jpeg(rng, glyph):
    made, content = image(noisy(rng, inked(scene(rng, glyph)), 0.02)), io.BytesIO()
    made.save(content, "JPEG", quality=int(rng.integers(3, 12)))
    return "p.jpg", content.getvalue()


def blur(rng, glyph):
    ink = scene(rng, glyph, 0.4)
    height = np.ptp(np.flatnonzero(ink.any(axis=1)))
    return image(ndimage.gaussian_filter(inked(ink), rng.uniform(0.02, 0.05) * height))


def turned_a_little(rng, glyph):
    return image(inked(turned(rng, np.pad(scene(rng, glyph, 0.3, 0.6), 40), 12)))


def on_transparent(rng, glyph, colour):
    ink = scene(rng, glyph)
    alpha = np.dstack([*(np.full(ink.shape, one) for one in colour), ink])
    return image(alpha)


def white_on_transparent(rng, glyph):
    return on_transparent(rng, glyph, (1, 1, 1))


def colour_on_transparent(rng, glyph):
    return on_transparent(rng, glyph, rng.uniform(0, 1, 3))


def palette_with_transparency(rng, glyph):
    made = image(inked(scene(rng, glyph), 1, 0)).convert("P")
    content = io.BytesIO()
    made.save(content, "PNG", transparency=255)
    return "p.png", content.getvalue()


def sheet_cut_out(rng, glyph):
    made = inked(scene(rng, glyph))
    alpha = np.pad(np.ones(made.shape), 40)
    grey = np.pad(made, 40)
    return image(np.dstack([grey, grey, grey, alpha]))


def corner_of_28(rng, glyph):
    drawn = glyph(int(rng.integers(9, 14)))[:, :20]
    top, left = (int(rng.choice([1, 28 - side - 1])) for side in drawn.shape)
    ink = put(drawn, (28, 28), (top, left))
    return image(inked(ink) if rng.random() < 0.5 else ink)


def small_picture(rng, glyph):
    return image(inked(scene(rng, glyph, 0.5, 0.85, side=int(rng.integers(28, 60)))))


def sixteen_bits(rng, glyph):
    made = np.rint(inked(scene(rng, glyph)) * rng.choice([4095, 65535])).astype(np.uint16)
    return Image.fromarray(made)


def turned_by_exif(rng, glyph):
    made, content, exif = image(inked(scene(rng, glyph))), io.BytesIO(), Image.Exif()
    turn, tag = [(Image.Transpose.ROTATE_90, 6), (Image.Transpose.ROTATE_180, 3), (Image.Transpose.ROTATE_270, 8)][
        int(rng.integers(3))
    ]
    exif[0x0112] = tag
    made.transpose(turn).save(content, "JPEG", quality=90, exif=exif)
    return "p.jpg", content.getvalue()


def crumpled(rng, glyph):
    ink = scene(rng, glyph)
    folds = 0.04 * clouds(rng, ink.shape, 0.03 * ink.shape[0]) + 0.02 * clouds(rng, ink.shape, 2)
    return image(inked(ink) * (0.85 + folds))


def text_below(rng, glyph):
    ink = np.pad(scene(rng, glyph, 0.4), ((0, 60), (0, 60)))
    picture = image(inked(ink))
    face = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 12)
    ImageDraw.Draw(picture).text((8, picture.height - 30), "page 7 of 12", fill=40, font=face)
    return picture


def a_photo(rng, glyph):
    """All at once, weakly: lamp, shadow, noise, blur, a turn, rules, and JPEG."""
    ink = turned(rng, np.pad(scene(rng, glyph, 0.35, 0.6), 20), 6)
    made = np.minimum(inked(ink), 0.97 - 0.15 * lines(ink.shape, 0.12 * ink.shape[0], 2, True))
    made = ndimage.gaussian_filter(made * (1 - 0.4 * linear(rng, ink.shape)), 1)
    content = io.BytesIO()
    image(noisy(rng, made, 0.02)).save(content, "JPEG", quality=60)
    return "p.jpg", content.getvalue()


def two_digits(rng, glyph):
    """Of which neither is right: only a hint answers it."""
    height = int(rng.integers(60, 200))
    one, other = glyph(height), glyph(round(height * rng.uniform(0.85, 1.15)))
    gap = int(rng.uniform(0.1, 0.8) * height)
    shape = height * 2, one.shape[1] + other.shape[1] + gap + height
    return image(inked(np.maximum(put(one, shape, (20, 20)), put(other, shape, (24, 20 + one.shape[1] + gap)))))


NEVER_RIGHT = (two_digits,)
KINDS = (
    *(lamp, lamp_above, vignette, soft_shadow, hard_shadow, shadow_of_a_hand, sheet_on_desk, turned_sheet),
    *(frame_at_edge, frame_inside, specks, ruled, ruled_dark, ruled_turned, squared, yellow_marker, thick_marker),
    *(thin_pen, pencil, coloured_paper, blackboard, low_contrast, noise, salt_and_pepper, strong_jpeg, blur),
    *(turned_a_little, white_on_transparent, colour_on_transparent, palette_with_transparency, sheet_cut_out),
    *(corner_of_28, small_picture, sixteen_bits, turned_by_exif, crumpled, text_below, a_photo, two_digits),
)


def placed_on_paper(rng: Rng, glyph: np.ndarray) -> tuple[str, bytes]:
    """A test image as ink of any size anywhere on paper, as a noisy JPEG."""
    scale = rng.uniform(1, 12)
    large = Image.fromarray((glyph * 255).astype(np.uint8))
    large = large.resize((round(28 * scale),) * 2, Image.Resampling.BICUBIC)
    ink = np.asarray(large, float) / 255
    shape = tuple(int(side * rng.uniform(1, 3)) for side in ink.shape)
    at = tuple(int(rng.integers(0, whole - side + 1)) for whole, side in zip(shape, ink.shape, strict=True))
    made, content = noisy(rng, inked(put(ink, shape, at)), 0.02), io.BytesIO()
    image(made).save(content, "JPEG", quality=int(rng.integers(60, 95)))
    return "p.jpg", content.getvalue()


def save(made: Image.Image | tuple[str, bytes], folder: Path, name: str) -> Path:
    if isinstance(made, tuple):
        path = folder / f"{name}{Path(made[0]).suffix}"
        path.write_bytes(made[1])
    else:
        path = folder / f"{name}.png"
        made.save(path)
    return path


def make_pictures(
    folder: Path, images: np.ndarray, labels: np.ndarray, each: int, plain: int, seed: int
) -> list[tuple]:
    """Write the pictures; return kind, path and truth of each."""
    rng, made = np.random.default_rng(seed), []
    for number in range(plain):
        index = int(rng.integers(len(images)))
        path = save(placed_on_paper(rng, images[index, ..., 0]), folder, f"{number:03}_plain_{labels[index]}")
        made.append(("plain", path, int(labels[index])))
    for kind in KINDS:
        for number in range(each):
            digit = number % 10
            if (number // 10) % 2:
                glyph = font_glyph(digit, FONTS[int(rng.integers(len(FONTS)))])
            else:
                glyph = written_glyph(images[int(rng.choice(np.flatnonzero(labels == digit))), ..., 0])
            path = save(kind(rng, glyph), folder, f"{kind.__name__}_{number:02}_{digit}")
            made.append((kind.__name__, path, -1 if kind in NEVER_RIGHT else digit))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models"))
    parser.add_argument("--each", type=int, default=20, help="pictures of each kind")
    parser.add_argument("--plain", type=int, default=300, help="test images on paper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, found_model(options.model) as (file, run):
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        images, labels = test_images_of(run)
        pictures = make_pictures(folder, images, labels.argmax(axis=1), options.each, options.plain, options.seed)
        style, names = style_of_run(run), class_names_of(run)
        read_options = read_options_of(run)
        readings = [read_photo(path, path.name, style, read_options) for _, path, _ in pictures]
        from epochwise.training.model_file import load_model

        scores = load_model(file).predict(np.stack([reading.image for reading in readings]), verbose=0)
    counts: dict[str, list[int]] = {}
    for (kind, path, truth), reading, row in zip(pictures, readings, scores, strict=True):
        answer = prediction_of(Sample(path.name, reading.image, doubts=reading.doubts), row, names)
        right, hinted = answer.predicted == str(truth), bool(answer.hint)
        count = counts.setdefault(kind, [0, 0, 0, 0])
        for at, one in enumerate((1, right, right or hinted, right and hinted)):
            count[at] += one
        if not (right or hinted):
            print(f"wrong without a hint: {path.name} read as {answer.predicted} ({answer.probability:.1%})")
    print("| kind | pictures | right | right or a hint | right, with a hint |")
    print("|---|---|---|---|---|")
    all_kinds = [count for kind, count in counts.items() if kind != "plain"]
    for kind, count in [*counts.items(), ("all but plain", np.sum(all_kinds, axis=0))]:
        print(f"| {kind.replace('_', ' ')} | {' | '.join(map(str, count))} |")


if __name__ == "__main__":
    main()
