"""Make a user's picture look like the images that a model was trained on."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from epochwise.common.errors import InputError, one_line

FORMATS = ("PNG", "JPEG")
MODES = {1: "L", 3: "RGB"}  # Pillow's name for pictures with this number of channels
MAX_PIXELS = 50_000_000  # more than any camera's picture of a digit needs; decoded within a second
MAX_ENLARGEMENT = 16  # a picture is reduced to this many times the model's longer side before it is looked at
PLAIN_DEVIATION = 0.1  # a background is plain (paper, a screen) if its brightness in 0…1 deviates by less than this
CONTENT_CONTRAST = 0.25  # share of the largest difference from the background; less is taken for shadow or noise
STYLE_IMAGES = 1000  # how many images their style is taken from


@dataclass(frozen=True)
class ImageStyle:
    """How a model's images look: their shape, their background, and the size and position of what they show."""

    shape: tuple[int, ...]  # H, W, C
    bright_background: bool
    extent: float  # what share of a side the content takes, by its longer side
    centre: tuple[float, float]  # where the centre of mass of the content is, across and down, as shares of the sides


def style_of(images: np.ndarray) -> ImageStyle:
    """The style of images N×H×W×C in 0…1, taken from the first STYLE_IMAGES of them."""
    sample = images[:STYLE_IMAGES]
    bright = float(np.mean([_border(image).mean() for image in sample])) > 0.5
    _, height, width, _ = images.shape
    extents = [max((right - left) / width, (low - top) / height) for left, top, right, low in map(_box, sample)]
    across, down = np.median([_centre(image) for image in sample], axis=0)
    centre = float(across) / width, float(down) / height
    return ImageStyle(images.shape[1:], bright, float(np.median(extents)), centre)


def check_photo(path: Path) -> None:
    """Raise InputError if the file is not a readable PNG or JPEG, or is too large."""
    _decode(path)


def read_photo(path: Path, style: ImageStyle) -> tuple[np.ndarray, bool]:
    """A picture as float32 H×W×C in 0…1 in the given style, and whether it was inverted for that.

    It is inverted if its border is bright where the model's images are dark, or the other way round. A picture that has
    the model's size keeps its pixels. If another one has a plain background, its content is scaled and placed as in the
    model's images; if not, all of it is padded to the proportions of the model's images and resized.
    Raises InputError if it is not a readable PNG or JPEG, if it is blank, or if the model reads neither 1 nor 3
    channels.
    """
    height, width, channels = style.shape
    if channels not in MODES:
        raise InputError(f"{path}: the model reads {channels} channels, and pictures have 1 or 3")
    picture = _decode(path).convert(MODES[channels])
    if picture.size != (width, height):
        longest = MAX_ENLARGEMENT * max(height, width)
        picture.thumbnail((longest, longest))
    if _is_blank(picture):
        raise InputError(f"{path}: is blank; there is nothing to classify")
    inverted = bool(_border(_brightness(picture)).mean() > 0.5) != style.bright_background
    if inverted:
        picture = ImageOps.invert(picture)
    if picture.size != (width, height):
        picture = _fit(picture, style)
    return np.asarray(picture, np.float32).reshape(style.shape) / np.float32(255), inverted


def _decode(path: Path) -> Image.Image:
    """The picture, turned as its EXIF data says, on white where it is transparent."""
    try:
        # Pillow warns of large pictures; those that are too large are refused below.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{path}: has {picture.width}×{picture.height} pixels; {MAX_PIXELS:,} are the most")
            decoded = ImageOps.exif_transpose(picture)
            if decoded.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
                decoded = Image.fromarray((np.asarray(decoded) >> 8).clip(0, 255).astype(np.uint8))
            if "A" in decoded.getbands() or "transparency" in decoded.info:
                decoded = Image.alpha_composite(Image.new("RGBA", decoded.size, "white"), decoded.convert("RGBA"))
            decoded.load()
            return decoded
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types, because a file can hold anything
        raise InputError(f"{path}: not a readable PNG or JPEG ({one_line(error)})") from error


def _is_blank(picture: Image.Image) -> bool:
    """Whether each channel has one value only."""
    pixels = np.asarray(picture).reshape(picture.width * picture.height, -1)
    return bool((pixels == pixels[0]).all())


def _fit(picture: Image.Image, style: ImageStyle) -> Image.Image:
    """The picture in the model's size, with its content where the model's images have theirs."""
    height, width, _ = style.shape
    brightness = _brightness(picture)
    border = _border(brightness)
    background = tuple(round(float(value) * 255) for value in border.mean(axis=0))
    colour = background if len(background) > 1 else background[0]
    if border.std(axis=0).max() >= PLAIN_DEVIATION:
        return ImageOps.pad(picture, (width, height), color=colour)
    content = picture.crop(_box(brightness))
    scale = style.extent * min(width / content.width, height / content.height)
    size = max(1, round(content.width * scale)), max(1, round(content.height * scale))
    content = content.resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new(picture.mode, (width, height), colour)
    across, down = _centre(_brightness(content), np.array(background) / 255)
    left, top = round(style.centre[0] * width - across), round(style.centre[1] * height - down)
    canvas.paste(content, (min(max(0, left), width - content.width), min(max(0, top), height - content.height)))
    return canvas


def _brightness(picture: Image.Image) -> np.ndarray:
    """The pixels as H×W×C in 0…1."""
    return np.atleast_3d(np.asarray(picture, np.float32)) / np.float32(255)


def _border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of an image H×W×C, as N×C. Their mean is taken for its background."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _centre(image: np.ndarray, background: np.ndarray | None = None) -> tuple[float, float]:
    """The centre of mass of what differs from the background: pixels across and down from the upper left corner."""
    difference = np.abs(image - (_border(image).mean(axis=0) if background is None else background)).sum(axis=2)
    if not difference.any():
        return image.shape[1] / 2, image.shape[0] / 2
    across, down = (
        np.average(np.arange(difference.shape[axis]) + 0.5, weights=difference.sum(axis=1 - axis)) for axis in (1, 0)
    )
    return float(across), float(down)


def _box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the content; the whole image if it is blank."""
    difference = np.abs(image - _border(image).mean(axis=0)).max(axis=2)
    if not difference.max():
        return 0, 0, image.shape[1], image.shape[0]
    content = difference > CONTENT_CONTRAST * difference.max()
    rows, columns = (np.flatnonzero(content.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
