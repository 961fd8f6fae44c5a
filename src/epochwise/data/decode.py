"""Decode a picture file to grey or colour in eight bits, upright, and on white where it is transparent.

The stage prepare reads training pictures with this, and predict reads pictures of things with it, so that both see the
same pixels.
"""

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

WHITE_8_BITS, WHITE_16_BITS = 255, 65535
EXIF_ORIENTATION = 0x0112


class Decoded(NamedTuple):
    """A picture in mode L or RGB with white at 255, and what was done for that."""

    picture: Image.Image
    turned: bool
    transparent: bool
    largest_of_16_bits: int | None = None  # None for a picture of 8 bits


class UnfitPicture(ValueError):
    """A file that is a picture, but whose pixels cannot be made bytes without doubt."""


class TooBright(UnfitPicture):
    """A picture with a value above what is stated to be white."""


def decode(opened: Image.Image, pixel_max: float) -> Decoded:
    """The first frame of an opened picture. `pixel_max` is what is stated to be white; with 0 nothing is stated.

    A white above 255 is that of 16 bits, so that pictures of 8 bits keep theirs. Raises UnfitPicture, and what Pillow's
    decoders raise.
    """
    turned = _is_turned(opened)  # before it is loaded, which turns a TIFF
    opened.load()
    picture = upright(opened)
    if picture.mode == "F":
        raise UnfitPicture("its pixels are fractions; give 8 or 16 bits")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        scaled = Image.fromarray(_scaled(values, pixel_max or WHITE_16_BITS))
        return Decoded(scaled, turned, transparent=False, largest_of_16_bits=int(values.max()))
    white = pixel_max if 0 < pixel_max <= WHITE_8_BITS and picture.mode != "1" else WHITE_8_BITS
    if "A" in picture.getbands() or "transparency" in picture.info:
        return _on_white(picture, turned, white)
    plain = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    if picture.mode == "P" and _is_grey(plain):
        plain = plain.getchannel("R")
    if white != WHITE_8_BITS:
        plain = Image.fromarray(_scaled(np.asarray(plain), white))
    return Decoded(plain, turned, transparent=False)


def upright(picture: Image.Image) -> Image.Image:
    """A loaded picture, turned as its EXIF data says; damaged EXIF data says nothing, as in viewers."""
    with suppress(Exception):  # whatever a parser of damaged bytes raises
        return ImageOps.exif_transpose(picture)
    return picture


def _is_turned(picture: Image.Image) -> bool:
    with suppress(Exception):  # as in `upright`
        return bool(picture.getexif().get(EXIF_ORIENTATION, 1) != 1)
    return False


def _on_white(picture: Image.Image, turned: bool, white: float) -> Decoded:
    """The picture, whose own white is `white`, on white where it is transparent."""
    with_alpha = picture.convert("RGBA")
    alpha = with_alpha.getchannel("A")
    if white != WHITE_8_BITS:
        colours = np.where(np.asarray(alpha)[..., None] > 0, np.asarray(with_alpha)[..., :3], 0)
        with_alpha = Image.fromarray(_scaled(colours, white))
        with_alpha.putalpha(alpha)
    plain = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), with_alpha).convert("RGB")
    if picture.mode in ("1", "L") or (picture.mode in ("LA", "La", "P", "PA") and _is_grey(plain)):
        plain = plain.getchannel("R")
    return Decoded(plain, turned, transparent=alpha.getextrema() != (255, 255))


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = picture.split()
    return bool(red == green == blue)


def _scaled(values: np.ndarray, white: float) -> np.ndarray:
    """Values with `white` at 255, as uint8. Raises UnfitPicture if one is below 0 or above white."""
    if values.max() > white:
        raise TooBright(f"it holds {values.max()}, where white is {white:g}")
    if values.min() < 0:
        raise UnfitPicture(f"it holds {values.min()}; pixels are 0…{white:g}")
    return np.rint(values * (WHITE_8_BITS / white)).astype(np.uint8)
