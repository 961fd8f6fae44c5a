"""Pixels of any type and layout become uint8 N×H×W×C in 0…255, or are refused with what would make them that.

Nothing is guessed: whole numbers that leave more than half of 0…255 unused are masks, other bit depths or pixels that
were divided twice, which a network would hardly see. So they are refused unless `prepare.pixel_max` says what white is.
"""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from epochwise.common.errors import InputError
from epochwise.data.images import ReadOptions

CHUNK = 2**20  # values that are converted at once, so that no temporary array is as large as the source
ROUNDING = 1e-3  # of 255; what lies closer to a whole number was one, before it was divided by 255
OVERSHOOT = 1e-3  # of white: by that much floats lie outside of their range after a sum or a resizing
FAINTEST = 1 / 32  # of white: pixels of 12 bits in 16 have a 16th, and what has less was not meant
CHANNELS = (1, 2, 3, 4)  # numbers of channels by which the axis of the channels is known


def to_pixels(values: np.ndarray, where: str, options: ReadOptions) -> tuple[np.ndarray, list[str]]:
    """Images as uint8 N×H×W×C, contiguous, and what was changed for that, a phrase each.

    `where` names the images in an error. Raises InputError if the layout or the range is in doubt.
    """
    arranged, conversions = _arranged(values, where)
    if not arranged.size:
        raise InputError(
            f"prepare.source: {where}: {len(arranged)} images of shape {arranged.shape[1:]}; give at least one"
        )
    scaled, how = _scaled(arranged, where, options)
    conversions += how
    if options.transpose:
        scaled = scaled.swapaxes(1, 2)
        conversions.append("images transposed")
    if options.image_size and scaled.shape[1:3] != (options.image_size,) * 2:
        conversions.append(
            f"images resized from {size_text(scaled.shape[1:3])} to {size_text((options.image_size,) * 2)}"
        )
        scaled = resized(scaled, options.image_size)
    return np.ascontiguousarray(scaled), conversions


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Images uint8 N×H×W×C with `side` pixels down and across; proportions are not kept."""
    made = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for number, image in enumerate(images):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            made[number, ..., channel] = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return made


def size_text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _arranged(values: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """The images as N×H×W×C. Raises InputError if the axes are in doubt."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"prepare.source: {where} are {values.dtype}; pixels are numbers")
    if values.ndim == 3 and 1 in values.shape[1:]:  # flat, with an axis for the channel
        values = values.reshape(len(values), -1)
    if values.ndim == 2:
        return _unflattened(values, where)
    if values.ndim == 3:
        return values[..., None], []
    if values.ndim != 4:
        raise InputError(
            f"prepare.source: {where} have the shape {values.shape}; images are N×H×W, N×H×W×C, N×C×H×W or N×(H·W)"
        )
    if _channels_first(values.shape):
        order = "N×C×H×W" if values.shape[1] > 1 else "N×1×H×W"
        return np.moveaxis(values, 1, 3), [f"{order} turned into N×H×W×C"]
    return values, []


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether the second axis is that of the channels, and the last one cannot be."""
    _, second, third, last = shape
    return last not in CHANNELS and (second in CHANNELS or second != third == last)


def _unflattened(values: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Rows of H·W grey values of square images as N×H×W×1. Raises InputError if the shape cannot be known."""
    length = values.shape[1]
    side = math.isqrt(length)
    if side > 1 and side * side == length:
        change = (
            f"rows of {length} numbers turned into {side}×{side} as square grey images; reshape first if they are not"
        )
        return values.reshape(-1, side, side, 1), [change]
    third = math.isqrt(length // 3)
    if third > 1 and 3 * third * third == length:
        raise InputError(
            f"prepare.source: {where} are rows of {length} numbers, in which the order of colours is not known; give "
            f"them as x.reshape(-1, 3, {third}, {third}) if the planes follow one another (as CIFAR's do), or "
            f"x.reshape(-1, {third}, {third}, 3) if the pixels do"
        )
    raise InputError(
        f"prepare.source: {where} are rows of {length} numbers, which is no square; give them as x.reshape(-1, H, W)"
    )


def _scaled(values: np.ndarray, where: str, options: ReadOptions) -> tuple[np.ndarray, list[str]]:
    """The values with white at 255 as uint8. Raises InputError if they do not fit a range that is known or stated."""
    truths = values.dtype.kind == "b"
    if truths:
        values = values.view(np.uint8)
    least, most = _range(values, where)
    overshoot = OVERSHOOT if values.dtype.kind == "f" else 0.0
    fractions = truths or (values.dtype.kind == "f" and most <= 1 + overshoot)
    white = 1 if truths else options.pixel_max or (1 if fractions else 255)
    slack = overshoot * white
    lowest = 0 if -slack <= least < 0 else least
    highest = white if white < most <= white + slack else most
    _check_range(lowest, highest, white, where, stated=bool(options.pixel_max))
    if values.dtype.kind in "iu" and white == 255:
        return values.astype(np.uint8, copy=False), []
    made, rounded = np.empty(values.shape, np.uint8), False
    for part in _chunks(values):
        exact = values[part].astype(np.float64).clip(0, white) * (255 / white)
        nearest = np.rint(exact)
        rounded = rounded or bool(np.abs(exact - nearest).max() > ROUNDING)
        made[part] = nearest
    if truths:
        return made, ["pixels False and True turned into 0 and 255"]
    change = f"pixels 0…{white:g} scaled to 0…255" if white != 255 else f"{values.dtype} pixels turned into bytes"
    if least < 0 or most > white:
        change += f", values {least:.9g}…{most:.9g} cut off at 0 and {white:g}"
    return made, [f"{change}, rounded to whole numbers" if rounded else change]


def _check_range(least: float, most: float, white: float, where: str, stated: bool) -> None:
    """Raise InputError if values from `least` to `most` are no pixels that end at `white`, stated or not."""
    if least < 0:
        raise InputError(f"prepare.source: {where} hold values {least:g}…{most:g}; {_way_to_positive(least, most)}")
    if most > white and stated:
        raise InputError(
            f"prepare.source: {where} hold {most:g}, above prepare.pixel_max={white:g}; state what white is"
        )
    if most > white:
        raise InputError(
            f"prepare.source: {where} hold values outside 0…255: the largest is {most:g}; state what white is, such as "
            f"prepare.pixel_max={_bit_depth_max(most)}"
        )
    if stated and most < white * FAINTEST:
        raise InputError(
            f"prepare.source: {where} have {most:g} as their largest value, which is next to black if "
            f"prepare.pixel_max={white:g} is white; state the largest value that there can be"
        )
    if least == most:
        raise InputError(f"prepare.source: {where} hold the value {most:g} only; there is nothing to learn from")
    if most < white / 2 and not stated:
        raise InputError(
            f"prepare.source: {where} have {most:g} as their largest value, where white is {white}; state what white "
            f"is, such as prepare.pixel_max={most:g}, or prepare.pixel_max={white} if they are that dark"
        )


def _range(values: np.ndarray, where: str) -> tuple[float, float]:
    """The least and the largest value. Raises InputError if some are no numbers."""
    least, most = values[:1].min(), values[:1].max()
    for part in _chunks(values):
        chunk = values[part]
        if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
            unknown = sum(int((~np.isfinite(values[each])).sum()) for each in _chunks(values))
            raise InputError(
                f"prepare.source: {where} hold {unknown:,} values that are NaN or infinite; pixels are 0…255"
            )
        least, most = min(least, chunk.min()), max(most, chunk.max())
    return least.item(), most.item()


def _chunks(values: np.ndarray) -> Iterator[slice]:
    """Slices of the first axis that hold about CHUNK values each."""
    step = max(1, CHUNK // max(1, math.prod(values.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(values), step))


def _bit_depth_max(most: float) -> int:
    """The largest value of the fewest bits that hold `most`: 1,023, 4,095, 65,535."""
    return int(2 ** math.ceil(math.log2(most + 1)) - 1)


def _way_to_positive(least: float, most: float) -> str:
    """How values below 0 become pixels, if their range leaves one way."""
    if least >= -1 and most <= 1:
        return "pixels are 0…255 or 0…1: (x + 1) / 2 turns -1…1 into 0…1"
    if least >= -128 and most <= 127 and float(least).is_integer() and float(most).is_integer():
        return "pixels are 0…255: x.view(np.uint8) if these are bytes that were read as signed, else x + 128"
    return "pixels are 0…255 or 0…1: undo the standardisation, x * std + mean"
