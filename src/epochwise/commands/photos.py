"""Pictures from anywhere, made into what a model reads."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from epochwise.common.errors import InputError

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 50_000_000  # more than any camera's digit needs, and within a second of decoding
ENOUGH = 16  # times the model's longer side: more of a picture is not looked at
PLAIN = 0.1  # standard deviation of a border, of a brightness in 0…1, that is still one colour: paper, a screen
CONTENT = 0.25  # of the largest difference from the background: what differs by more is no shadow or noise


@dataclass(frozen=True)
class Look:
    """What a model's images look like: shape H×W×C, whether their background is bright, and where their content is:

    what part of a side it takes, and across and down, in parts of a side, where its mass has its centre.
    """

    shape: tuple[int, ...]
    bright: bool
    content: float
    centre: tuple[float, float]


def look_of(images: np.ndarray) -> Look:
    """The look of images N×H×W×C in 0…1, by the first thousand of them."""
    some = images[:1000]
    bright = float(np.mean([_border(image).mean() for image in some])) > 0.5
    _, height, width, _ = images.shape
    spans = [max((right - left) / width, (low - top) / height) for left, top, right, low in map(_box, some)]
    across, down = np.median([_centre(image) for image in some], axis=0)
    return Look(images.shape[1:], bright, float(np.median(spans)), (float(across) / width, float(down) / height))


def read_photo(path: Path, look: Look) -> tuple[np.ndarray, bool]:
    """One picture as float32 H×W×C in 0…1, and whether it was inverted to have the background the model knows.

    A picture of just the model's size keeps its pixels. Of another one on a plain background, the content is scaled
    and put where the model is used to it; any other one is padded to the proportions and resized.
    Raises InputError if it is not a readable PNG or JPEG, or blank, or if the model reads neither grey nor colours.
    """
    height, width, channels = look.shape
    modes = {1: "L", 3: "RGB"}
    if channels not in modes:
        raise InputError(f"{path}: the model reads {channels} channels, and pictures have 1 or 3")
    picture = _decoded(path).convert(modes[channels])
    if picture.size != (width, height):
        picture.thumbnail([ENOUGH * max(height, width)] * 2)
    if all(lowest == highest for lowest, highest in _ends(picture)):
        raise InputError(f"{path}: is blank; there is nothing to classify")
    inverted = (_border(_brightness(picture)).mean() > 0.5) != look.bright
    if inverted:
        picture = ImageOps.invert(picture)
    if picture.size != (width, height):
        picture = _fitted(picture, look)
    return np.asarray(picture, np.float32).reshape(look.shape) / np.float32(255), bool(inverted)


def _fitted(picture: Image.Image, look: Look) -> Image.Image:
    height, width, _ = look.shape
    brightness = _brightness(picture)
    rim = _border(brightness)
    background = tuple(round(float(level) * 255) for level in rim.mean(axis=0))
    colour = background if len(background) > 1 else background[0]
    if rim.std(axis=0).max() >= PLAIN:
        return ImageOps.pad(picture, (width, height), color=colour)
    content = picture.crop(_box(brightness))
    scale = look.content * min(width / content.width, height / content.height)
    content = content.resize(tuple(max(1, round(side * scale)) for side in content.size), Image.Resampling.BICUBIC)
    canvas = Image.new(picture.mode, (width, height), colour)
    across, down = _centre(_brightness(content), np.array(background) / 255)
    left, top = round(look.centre[0] * width - across), round(look.centre[1] * height - down)
    canvas.paste(content, (min(max(0, left), width - content.width), min(max(0, top), height - content.height)))
    return canvas


def check_photo(path: Path) -> None:
    """Raises InputError if it is not a readable PNG or JPEG, or too large."""
    _decoded(path)


def _decoded(path: Path) -> Image.Image:
    """The picture, on white where it is transparent."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:  # it warns of size
            if picture.width * picture.height > MOST_PIXELS:
                raise InputError(f"{path}: has {picture.width}×{picture.height} pixels; {MOST_PIXELS:,} are the most")
            whole = ImageOps.exif_transpose(picture)
            if whole.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
                whole = Image.fromarray((np.asarray(whole) >> 8).clip(0, 255).astype(np.uint8))
            if "A" in whole.getbands() or "transparency" in whole.info:
                whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole.convert("RGBA"))
            whole.load()
            return whole
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like, for a file can hold anything
        raise InputError(f"{path}: not a readable PNG or JPEG ({' '.join(str(error).split())})") from error


def _brightness(picture: Image.Image) -> np.ndarray:
    return np.atleast_3d(np.asarray(picture, np.float32)) / np.float32(255)


def _ends(picture: Image.Image) -> list[tuple[int, int]]:
    """The lowest and the highest value of each channel."""
    ends = picture.getextrema()
    return ends if isinstance(ends[0], tuple) else [ends]


def _border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of an image H×W×C, N×C."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _centre(image: np.ndarray, background: np.ndarray | None = None) -> tuple[float, float]:
    """Across and down, in pixels from the corner, the centre of mass of what differs from the background."""
    apart = np.abs(image - (_border(image).mean(axis=0) if background is None else background)).sum(axis=2)
    if not apart.any():
        return image.shape[1] / 2, image.shape[0] / 2
    across, down = (np.average(np.arange(apart.shape[axis]) + 0.5, weights=apart.sum(axis=1 - axis)) for axis in (1, 0))
    return float(across), float(down)


def _box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what stands out from the background; all of an image that is blank."""
    apart = np.abs(image - _border(image).mean(axis=0)).max(axis=2)
    if not apart.max():
        return 0, 0, image.shape[1], image.shape[0]
    rows, columns = (np.flatnonzero((apart > CONTENT * apart.max()).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
