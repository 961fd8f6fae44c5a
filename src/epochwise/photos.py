"""Pictures from anywhere, made into what a model reads."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from epochwise import InputError

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 50_000_000  # more than any camera's digit needs, and within a second of decoding


def read_photo(path: Path, shape: tuple[int, ...], bright_background: bool) -> tuple[np.ndarray, bool]:
    """One picture as float32 H×W×C in 0…1, and whether it was inverted to have the background the model knows.

    A picture of just this size keeps its pixels; another one is padded to the same proportions and resized.
    Raises InputError if it is not a readable PNG or JPEG, or if the model reads neither grey nor colours.
    """
    height, width, channels = shape
    modes = {1: "L", 3: "RGB"}
    if channels not in modes:
        raise InputError(f"{path}: the model reads {channels} channels, and pictures have 1 or 3")
    picture = _decoded(path).convert(modes[channels])
    inverted = (_border(np.asarray(picture)) > 127) != bright_background
    if inverted:
        picture = ImageOps.invert(picture)
    if picture.size != (width, height):
        background = int(_border(np.asarray(picture)))
        picture = ImageOps.pad(picture, (width, height), color=(background,) * channels if channels > 1 else background)
    return np.asarray(picture, np.float32).reshape(shape) / np.float32(255), bool(inverted)


def check_photo(path: Path) -> None:
    """Raises InputError as read_photo does."""
    _decoded(path)


def border(images: np.ndarray) -> float:
    """Mean of the outermost pixels of images N×H×W×C."""
    return float(np.mean([_border(image) for image in images[:1000]]))


def _decoded(path: Path) -> Image.Image:
    """The picture, on white where it is transparent."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:  # it warns of size
            if picture.width * picture.height > MOST_PIXELS:
                raise InputError(f"{path}: has {picture.width}×{picture.height} pixels; {MOST_PIXELS:,} are the most")
            whole = ImageOps.exif_transpose(picture)
            if "A" in whole.getbands() or "transparency" in whole.info:
                whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole.convert("RGBA"))
            whole.load()
            return whole
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like, for a file can hold anything
        raise InputError(f"{path}: not a readable PNG or JPEG ({' '.join(str(error).split())})") from error


def _border(image: np.ndarray) -> float:
    return float(np.mean([image[0].mean(), image[-1].mean(), image[:, 0].mean(), image[:, -1].mean()]))
