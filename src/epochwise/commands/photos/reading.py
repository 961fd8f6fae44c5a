"""Make a user's picture look like the images that a model was trained on, and say what is doubtful about it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from epochwise.commands.photos.files import open_as_prepared, open_writing
from epochwise.commands.photos.ink import SHORTEST_SIDE, THRESHOLD, WINDOWS, InkMap, ink_map, without_salt_and_pepper
from epochwise.commands.photos.lines import without_lines
from epochwise.commands.photos.parts import BESIDE, Chosen, choose_parts
from epochwise.common.errors import InputError
from epochwise.data.images import ReadOptions
from epochwise.data.style import (
    ImageStyle,
    body_thickness,
    border,
    box_of,
    centre_of_mass,
    content_box,
    is_plain,
    longer_side,
    stroke_thickness,
)

NO_OPTIONS = ReadOptions()
LONGEST_SIDE = 512  # pixels that a picture is reduced to before its content is looked for
MODES = {1: "L", 3: "RGB"}  # Pillow's name for pictures with this number of channels
OPPOSITE = 0.25  # in 0…1: backgrounds that differ by less are both grey, and none is the other's negative
IN_STYLE = 0.1  # of a side: content that is placed as in the model's images to within this is left where it is
DRAWN_SIDE = 160  # pixels that the longer side has at least when strokes are made thicker or thinner
BLOB = 0.4  # of the longer side: what has a thicker place is no stroke
SHEET = 0.88  # of a rectangle: what fills more, without its holes, is a sheet of paper and no stroke
CALMER = 1.5  # of the maps of dark and of bright ink, one with more than this many times the other's unrest is dropped
LEAST_UNREST = 0.0005  # what is added to that limit, for noise alone leaves as much
MOST_COVERED = 0.5  # of the picture: ink that covers more is the paper
WEAK = 0.3  # of these two maps, one with less than this share of the other's contrast is dropped
AROUND = 0.3  # of the content's longer side: the width of the margin that is compared with the content
LIKE = 0.3  # of that margin's pixels: if more are as bright as the content, the content is paper between strokes
MOST_PARTS = 4  # more are no digit but a texture
LEFT = 0.05  # of the ink: if removing lines leaves less, they were the content
FAINT = 6.0  # deviations of the noise: ink that stands out by less may be none
SMALLEST = 10  # pixels: the longer side of something that is small
ASPECT = 1.25  # times wider than the model's images are, and the content has another shape
SINGLE = 0.1  # share of the model's images in several parts, from which on two things in a picture are nothing odd
SEVERAL = "more than one thing in it"


@dataclass(frozen=True)
class Reading:
    """A picture as the model reads it."""

    image: np.ndarray  # float32 H×W×C in 0…1
    inverted: bool  # dark and bright were exchanged, because the model knows the other
    doubts: tuple[str, ...]  # what about the picture may have been read wrongly; empty for a plain one


@dataclass(frozen=True)
class _Found:
    """Ink that may be the content, and how implausible that is."""

    ink: InkMap
    strength: np.ndarray  # H×W in 0…1, without lines and whatever is not content
    chosen: Chosen
    doubts: tuple[str, ...]
    implausible: int


def read_photo(path: Path, name: str, style: ImageStyle, options: ReadOptions = NO_OPTIONS) -> Reading:
    """A picture in the given style. `name` is what messages call it; `options` are those of the model's training data.

    A picture that has the model's size, and its content where the model's images have it, keeps its pixels. Of writing
    the strokes are found, freed of shadows, lines and specks, and drawn in the size, place and thickness of the
    model's images. Of other things the content is scaled and placed if the background is plain; if not, all of the
    picture is padded and resized. Raises InputError if it is not a readable picture, if it is blank, or if the model
    reads neither 1 nor 3 channels.
    """
    height, width, channels = style.shape
    if channels not in MODES:
        raise InputError(f"{name}: the model reads {channels} channels, and pictures have 1 or 3")
    if style.grey and channels > 1:
        reading = read_photo(path, name, replace(style, shape=(height, width, 1)), options)
        return replace(reading, image=np.repeat(reading.image, channels, axis=2))
    if style.is_writing and style.grey:  # the colour of ink does not count
        picture = open_writing(path, name, options.pixel_max, _longest_side(style))
    else:
        picture = open_as_prepared(path, name, options.pixel_max)
    if _is_blank(picture):
        raise InputError(f"{name}: is blank; there is nothing to classify")
    read = _read_writing if style.is_writing else _read_thing
    return read(picture, style, options)


def _longest_side(style: ImageStyle) -> int:
    """The longer side, in pixels, that is enough of a picture to find its content."""
    return max(LONGEST_SIDE, 2 * max(style.shape[:2]))


def _is_blank(picture: Image.Image) -> bool:
    """Whether each channel has one value only."""
    return all(low == high for low, high in (band.getextrema() for band in picture.split()))


def _as_prepared(picture: Image.Image, style: ImageStyle, options: ReadOptions) -> Image.Image | None:
    """The picture as the stage prepare makes it for the training; None if that leaves it another size than the model's.

    Prepare resizes all pictures, or else they have one size.
    """
    height, width, channels = style.shape
    if not options.image_size and picture.size != (width, height):
        return None
    return picture.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)


def _is_in_place(pixels: np.ndarray, style: ImageStyle) -> bool:
    """Whether pixels H×W×C in the model's size have a plain background, and content of its images' size and place."""
    height, width, _ = style.shape
    if not is_plain(pixels):
        return False
    left, top, right, low = content_box(pixels)
    across, down = centre_of_mass(pixels)
    return (
        style.extent.holds(max((right - left) / width, (low - top) / height), IN_STYLE)
        and style.across.holds(across / width, IN_STYLE)
        and style.down.holds(down / height, IN_STYLE)
    )


def _is_clear(pixels: np.ndarray, style: ImageStyle) -> bool:
    """Whether what pixels H×W×C show differs from the background at least half as much as in the model's images."""
    contrast = np.abs(pixels - border(pixels).mean(axis=0)).max()
    return bool(contrast > abs(style.foreground - style.background) / 2)


def _is_negative(picture: Image.Image, style: ImageStyle) -> bool:
    """Whether a grey picture's background is bright where the model's images have a dark one, or the other way round.

    A picture in colour is never called one: with its colours exchanged, it would show something else.
    """
    if not style.grey or not style.plain:
        return False
    background = float(border(_pixels(picture)).mean())
    return (background > 0.5) != style.bright_background and abs(background - style.background) > OPPOSITE


def _pixels(picture: Image.Image) -> np.ndarray:
    """The pixels as float32 H×W×C in 0…1."""
    return np.atleast_3d(np.asarray(picture, np.float32)) / np.float32(255)


# Writing


def _read_writing(picture: Image.Image, style: ImageStyle, options: ReadOptions) -> Reading:
    """A picture of writing, as it is if it looks like the model's images, or with its strokes drawn as in these.

    Without colours any size is drawn, for photos of a sheet are as likely as pictures like those of the training.
    """
    kept = _as_prepared(picture, style, NO_OPTIONS if style.grey else options)
    picture.thumbnail((_longest_side(style), _longest_side(style)))
    drawn = _redrawn(picture, style)
    if kept is None or not _is_in_place(_pixels(kept), style) or (style.grey and not _is_clear(_pixels(kept), style)):
        return drawn
    inverted = _is_negative(kept, style)
    image = _pixels(ImageOps.invert(kept) if inverted else kept)
    return Reading(image, inverted, tuple(doubt for doubt in drawn.doubts if doubt == SEVERAL))


def _redrawn(picture: Image.Image, style: ImageStyle) -> Reading:
    """The strokes of a picture, drawn as in the model's images."""
    enlargement = max(1.0, SHORTEST_SIDE / max(picture.size))
    pixels = without_salt_and_pepper(_pixels(picture))
    if enlargement > 1:
        size = round(picture.width * enlargement), round(picture.height * enlargement)
        pixels = _resized(pixels, (max(1, size[0]), max(1, size[1])))
    found = _find_content(pixels, style, enlargement)
    if found is None:
        return Reading(np.full(style.shape, style.background, np.float32), False, ("nothing stands out",))
    inverted = found.ink.bright == style.bright_background
    strokes = _with_strokes_of(found.strength, style)
    if style.shape[2] == 1:
        drawn = style.background + (style.foreground - style.background) * _placed(strokes[..., None], style)
        return Reading(drawn.clip(0, 1).astype(np.float32), inverted, found.doubts)
    paper = np.median(pixels[~found.ink.mask], axis=0)
    coloured = (pixels - paper) * found.strength[..., None]
    left, top, right, low = box_of(found.strength > THRESHOLD)
    drawn = paper + _placed(coloured[top:low, left:right], style)
    drawn = drawn.clip(0, 1).astype(np.float32)
    return Reading(1 - drawn if inverted else drawn, inverted, found.doubts)


def _find_content(pixels: np.ndarray, style: ImageStyle, enlargement: float) -> _Found | None:
    """The most plausible content of pixels H×W×C; None if there is no ink at all."""
    # Whether ink is dark or bright is seen best through the smallest window, in which a sheet on a desk is no stroke:
    # the right ink is the one without which the picture is calmer.
    smallest = min(WINDOWS)
    both = sorted((ink_map(pixels, smallest, bright) for bright in (False, True)), key=lambda ink: ink.unrest)
    strongest = max(ink.contrast for ink in both)
    if both[1].unrest > CALMER * both[0].unrest + LEAST_UNREST:
        del both[1]
    best: _Found | None = None
    for likely in both:
        for window in WINDOWS if likely.contrast > WEAK * strongest else ():
            ink = likely if window == smallest else ink_map(pixels, window, likely.bright)
            found = _examine(ink, style, enlargement)
            if found and (best is None or found.implausible < best.implausible):
                best = found
            if best and not best.implausible:
                return best
    return best


def _is_sheet(mask: np.ndarray) -> bool:
    """Whether a mask is a rectangle, turned or not, apart from holes."""
    from scipy.ndimage import binary_fill_holes  # takes a moment to import

    filled = binary_fill_holes(mask)
    if body_thickness(filled) < BLOB:
        return False
    points = np.argwhere(filled)
    angles = np.linspace(0, np.pi / 2, 18, endpoint=False)
    sides = [np.ptp(points @ [[np.cos(one), -np.sin(one)], [np.sin(one), np.cos(one)]], axis=0) + 1 for one in angles]
    return bool(len(points) > SHEET * min(high * wide for high, wide in sides))


def _like_its_surroundings(ink: InkMap, mask: np.ndarray) -> bool:
    """Whether what lies around the content is as bright as the content: then this is the paper between the strokes."""
    left, top, right, low = box_of(mask)
    reach = round(AROUND * max(right - left, low - top))
    around = ink.brightness[max(0, top - reach) : low + reach, max(0, left - reach) : right + reach]
    box = np.zeros(ink.brightness.shape, bool)
    box[top:low, left:right] = True
    outside = around[~box[max(0, top - reach) : low + reach, max(0, left - reach) : right + reach]]
    if not outside.size:
        return False
    own = float(np.median(ink.brightness[mask]))
    contrast = float(np.abs(np.percentile(ink.brightness[top:low, left:right], (2, 98)) - own).max())
    return bool((np.abs(outside - own) < contrast / 3).mean() > LIKE)


def _examine(ink: InkMap, style: ImageStyle, enlargement: float) -> _Found | None:
    """What of the ink is the content, and what is doubtful about it."""
    strength, lines = without_lines(ink.strength)
    if lines and strength.sum() < LEFT * ink.strength.sum():
        strength, lines = ink.strength, 0
    chosen = choose_parts(strength, strength > THRESHOLD)
    if chosen is None:
        return None
    from scipy.ndimage import binary_dilation  # takes a moment to import

    kept = np.where(binary_dilation(chosen.mask, iterations=2), strength, 0)
    left, top, right, low = box_of(chosen.mask)
    aspect = (right - left) / (low - top)
    doubts = []
    implausible = 0
    if ink.clarity < FAINT:
        doubts.append("hardly any contrast")
        implausible += 4
    box = chosen.mask[top:low, left:right]
    side = max(box.shape) / enlargement
    if side < SMALLEST:
        doubts.append("very small")
    elif body_thickness(box) > BLOB or ink.mask.mean() > MOST_COVERED or _is_sheet(box):
        doubts.append("no strokes found")
        implausible += 3
    if _like_its_surroundings(ink, chosen.mask):
        doubts.append("no strokes found")
        implausible += 3
    if chosen.parts > MOST_PARTS:
        doubts.append("in many parts")
        implausible += 1
    if aspect > ASPECT * style.aspect.high:  # a narrow one may be a thin pen's
        doubts.append("wider than the model knows")
        implausible += 1
    if chosen.several and style.parts < SINGLE:
        doubts.append(SEVERAL)
    if chosen.cut:
        doubts.append("cut off at the edge")
        implausible += 2
    if chosen.beside > BESIDE and SEVERAL not in doubts:
        doubts.append("other marks around it")
        implausible += 1
    return _Found(ink, kept, chosen, tuple(dict.fromkeys(doubts)), implausible)


def _with_strokes_of(strength: np.ndarray, style: ImageStyle) -> np.ndarray:
    """The content of an ink map, its strokes as thick as the model's images have them if they were not."""
    from scipy.ndimage import distance_transform_edt  # takes a moment to import

    left, top, right, low = box_of(strength > THRESHOLD)
    cut = strength[top:low, left:right]
    scale = max(1.0, DRAWN_SIDE / max(cut.shape))
    drawn = _resized(cut[..., None], (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))))
    drawn = ((drawn[..., 0] - 0.2) / 0.6).clip(0, 1)
    small = _placed(drawn[..., None], style)[..., 0]
    thickness = stroke_thickness(small) / max(1, longer_side(small))
    if style.stroke.holds(thickness):
        return drawn
    # Thinning stops at the thickest that the model knows, because thin places break.
    wanted = style.stroke.median if thickness < style.stroke.low else style.stroke.high
    growth = (wanted * longer_side(drawn) - stroke_thickness(drawn)) / 2
    padding = max(1, round(growth) + 1)
    mask = np.pad(drawn > 0.5, padding)
    if not mask.any():
        return drawn
    distance = distance_transform_edt(~mask) - distance_transform_edt(mask)
    redrawn = (growth - distance + 0.5).clip(0, 1)
    if not (redrawn > THRESHOLD).any():
        return drawn
    left, top, right, low = box_of(redrawn > THRESHOLD)
    return redrawn[top:low, left:right]


def _placed(values: np.ndarray, style: ImageStyle) -> np.ndarray:
    """Content h×w×C, 0 where it is background, in the model's size and with size and place as in its images."""
    height, width, _ = style.shape
    scale = style.extent.median * min(width / values.shape[1], height / values.shape[0])
    size = max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale))
    content = _resized(values, size)
    across, down = centre_of_mass(content, np.zeros(content.shape[2]))
    left, top = round(style.across.median * width - across), round(style.down.median * height - down)
    left, top = min(max(0, left), width - content.shape[1]), min(max(0, top), height - content.shape[0])
    canvas = np.zeros((height, width, content.shape[2]), np.float32)
    canvas[top : top + content.shape[0], left : left + content.shape[1]] = content
    return canvas


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values h×w×C in the size (width, height), each channel by itself."""
    channels = [Image.fromarray(np.ascontiguousarray(channel, np.float32)) for channel in np.moveaxis(values, 2, 0)]
    resized = [np.asarray(channel.resize(size, Image.Resampling.BICUBIC)) for channel in channels]
    return np.stack(resized, axis=2).clip(values.min(), values.max())


# Other things


def _read_thing(picture: Image.Image, style: ImageStyle, options: ReadOptions) -> Reading:
    """A picture of something, as it would have been read for the training if it looks like the model's images.

    If not, its content is placed where the model's images have theirs, or all of it is fitted in.
    """
    height, width, channels = style.shape
    prepared, is_as_large = _as_prepared(picture, style, options), picture.size == (width, height)
    picture = picture.convert(MODES[channels])
    picture.thumbnail((_longest_side(style), _longest_side(style)))
    pixels = _pixels(picture)
    # What fills a picture like those of the training may be bright at its edge.
    inverted = _is_negative(picture, style) and (is_plain(pixels) or not is_as_large)
    if inverted:
        picture, pixels, prepared = ImageOps.invert(picture), 1 - pixels, prepared and ImageOps.invert(prepared)
    background = border(pixels).mean(axis=0)
    if prepared and (is_as_large or _is_in_place(_pixels(prepared), style)):
        return Reading(_pixels(prepared), inverted, ())
    if not style.plain or not is_plain(pixels):
        colour = tuple(round(float(value) * 255) for value in background)
        whole = prepared or ImageOps.pad(picture, (width, height), color=colour if channels > 1 else colour[0])
        return Reading(_pixels(whole), inverted, ("background not plain",) if style.plain else ())
    left, top, right, low = content_box(pixels)
    drawn = background + _placed((pixels - background)[top:low, left:right], style)
    return Reading(drawn.clip(0, 1).astype(np.float32), inverted, ())
