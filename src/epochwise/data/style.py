"""How the images of a data set look. It is kept with the prepared data, so that a user's picture can be made alike."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from epochwise.common.errors import InputError

STYLE_IMAGES = 1000  # how many images the style is taken from
CONTENT_CONTRAST = 0.25  # share of the largest difference from the background; less is taken for shadow or noise
PLAIN_DEVIATION = 0.1  # a background is plain (paper, a screen) if its brightness in 0…1 deviates by less than this
THICKEST_STROKE = 0.35  # of the longer side: images with a thicker body show things, not writing
LARGEST_SIDE_PART = 0.15  # of the largest part's area: smaller parts of an image are dots and dirt
DIGITS = 4  # decimals that are kept, so that another processor's rounding gives the same file


class Spread(NamedTuple):
    """How a property is spread over images: its 1st percentile, its median and its 99th percentile."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: list[float]) -> "Spread":
        return Spread(*(round(float(value), DIGITS) for value in np.percentile(values, (1, 50, 99))))

    def holds(self, value: float, margin: float = 0.0) -> bool:
        """Whether a value lies in the spread, or at most `margin` outside it."""
        return self.low - margin <= value <= self.high + margin


@dataclass(frozen=True)
class ImageStyle:
    """How a model's images look: shape, background, and the size, position and strokes of what they show.

    Lengths are shares of the image's sides; `stroke` and `body` are shares of the content's longer side.
    """

    shape: tuple[int, int, int]  # H, W, C
    background: float  # brightness in 0…1
    foreground: float  # brightness of what differs most from the background
    plain: bool  # most images have a background of one brightness
    extent: Spread  # the longer side of the content's box
    across: Spread  # where the content's centre of mass is
    down: Spread
    aspect: Spread  # width of the content's box by its height
    stroke: Spread  # thickness of strokes, by area and length of edges
    body: float  # thickness of the thickest place, the median of all images
    parts: float  # share of images with two or more separate parts
    grey: bool  # all channels of each image are equal

    @property
    def bright_background(self) -> bool:
        return self.background > 0.5

    @property
    def is_writing(self) -> bool:
        """Whether the images show strokes on a plain background, as digits and letters are: only their shape counts.

        What reaches all four sides is a texture, whose grain is as thin as strokes are.
        """
        height, width, channels = self.shape
        fills_image = self.extent.median == 1 and self.aspect.median == round(width / height, DIGITS)
        return channels in (1, 3) and self.plain and not fills_image and self.body < THICKEST_STROKE

    def as_json(self) -> dict[str, Any]:
        """The style as it is read again from a file: with lists in place of tuples."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @staticmethod
    def from_json(values: dict[str, Any], where: object) -> "ImageStyle":
        """Raises InputError, which names `where`, if the values are not what `as_json` has returned."""
        try:
            values = {"grey": values["shape"][2] == 1} | values  # earlier versions did not look at the colours
            kinds: dict[str, Any] = {item.name: item.type for item in fields(ImageStyle)}
            made: dict[str, Any] = {}
            for name, kind in kinds.items():
                value = values[name]
                made[name] = kind(*map(float, value)) if kind is Spread else value
            height, width, channels = (int(side) for side in made["shape"])
            made |= {"shape": (height, width, channels)}
            made |= {name: float(made[name]) for name in ("background", "foreground", "body", "parts")}
            return ImageStyle(**made)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{where}: does not say how the images look ({error!r})") from error


def style_of(images: np.ndarray) -> ImageStyle:
    """The style of images N×H×W×C in 0…1, taken from those that `style_sample` gives."""
    sample = images[style_sample(len(images))]
    _, height, width, channels = images.shape
    boxes = [content_box(image) for image in sample]
    centres = [centre_of_mass(image) for image in sample]
    masks = [content(image) for image in sample]
    background = round(float(np.median([np.median(border(image)) for image in sample])), DIGITS)
    furthest = [image.flat[np.abs(image - background).argmax()] for image in sample]
    return ImageStyle(
        shape=(height, width, channels),
        background=background,
        foreground=round(float(np.median(furthest)), DIGITS),
        plain=bool(np.median([_evenness(image) for image in sample]) > 0.5),
        extent=Spread.of([max((right - left) / width, (low - top) / height) for left, top, right, low in boxes]),
        across=Spread.of([across / width for across, _ in centres]),
        down=Spread.of([down / height for _, down in centres]),
        aspect=Spread.of([(right - left) / (low - top) for left, top, right, low in boxes]),
        stroke=Spread.of([stroke_thickness(mask) / longer_side(mask) for mask in masks]),
        body=round(float(np.median([body_thickness(mask > CONTENT_CONTRAST) for mask in masks])), DIGITS),
        parts=round(float(np.mean([count_parts(mask > CONTENT_CONTRAST) > 1 for mask in masks])), DIGITS),
        grey=bool((sample == sample[..., :1]).all()),
    )


def style_sample(images: int) -> np.ndarray:
    """Indices of at most STYLE_IMAGES of as many images, from first to last: they may be in the order of classes."""
    return np.linspace(0, images - 1, min(images, STYLE_IMAGES)).astype(int)


def border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of an image H×W×C, as N×C. Their mean is taken for its background."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def is_plain(image: np.ndarray) -> bool:
    """Whether the border of an image H×W×C has one brightness all around."""
    return bool(border(image).std(axis=0).max() < PLAIN_DEVIATION)


def _evenness(image: np.ndarray) -> float:
    """The share of an image's border that has nearly the same brightness."""
    edge = border(image)
    return float((np.abs(edge - np.median(edge, axis=0)).max(axis=1) < PLAIN_DEVIATION).mean())


def content(image: np.ndarray) -> np.ndarray:
    """How much each pixel of an image H×W×C differs from the background, H×W in 0…1; zeros if it is blank."""
    difference: np.ndarray = np.abs(image - border(image).mean(axis=0)).max(axis=2)
    return difference / max(float(difference.max()), 1e-6)


def content_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the content; the whole image if it is blank."""
    return box_of(content(image) > CONTENT_CONTRAST)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the true pixels; the whole image if there are none."""
    if not mask.any():
        return 0, 0, mask.shape[1], mask.shape[0]
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def centre_of_mass(image: np.ndarray, background: np.ndarray | None = None) -> tuple[float, float]:
    """The centre of mass of what differs from the background: pixels across and down from the upper left corner."""
    difference = np.abs(image - (border(image).mean(axis=0) if background is None else background)).sum(axis=2)
    if not difference.any():
        return image.shape[1] / 2, image.shape[0] / 2
    across, down = (
        np.average(np.arange(difference.shape[axis]) + 0.5, weights=difference.sum(axis=1 - axis)) for axis in (1, 0)
    )
    return float(across), float(down)


def longer_side(mask: np.ndarray) -> int:
    """The longer side of the box of what an image H×W in 0…1 shows, in pixels."""
    left, top, right, low = box_of(mask > CONTENT_CONTRAST)
    return max(right - left, low - top)


def stroke_thickness(mask: np.ndarray) -> float:
    """The mean thickness of the strokes of an image H×W in 0…1, in pixels: two areas by the length of their edges."""
    padded = np.pad(mask, 1).astype(float)
    down, across = np.diff(padded, axis=0)[:, :-1], np.diff(padded, axis=1)[:-1]
    edges = float(np.hypot(down, across).sum())
    return 2 * float(padded.sum()) / edges if edges else 0.0


def body_thickness(mask: np.ndarray) -> float:
    """The thickness of a mask's thickest place, as a share of the longer side of its box."""
    from scipy.ndimage import distance_transform_edt  # takes a moment to import

    if not mask.any():
        return 0.0
    left, top, right, low = box_of(mask)
    deepest = float(distance_transform_edt(np.pad(mask[top:low, left:right], 1)).max())
    return (2 * deepest - 1) / max(right - left, low - top)


def count_parts(mask: np.ndarray) -> int:
    """How many separate parts a mask has, without those that are small beside the largest."""
    from scipy.ndimage import label  # takes a moment to import

    areas = np.bincount(label(mask, np.ones((3, 3)))[0].ravel())[1:]
    return int((areas >= LARGEST_SIDE_PART * areas.max()).sum()) if areas.size else 0
