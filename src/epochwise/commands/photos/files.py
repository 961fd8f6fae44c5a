"""Open picture files of the usual formats, turned and made opaque, in a size that is quick to look at."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from epochwise.common.errors import InputError, one_line
from epochwise.data.decode import WHITE_8_BITS, TooBright, UnfitPicture, decode, upright
from epochwise.data.style import body_thickness

FORMATS = {  # Pillow's name and the one that is printed
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "BMP": "BMP",
    "GIF": "GIF",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
    "PPM": "PPM",
}
HEIF = "HEIF"  # what iPhones write; Pillow reads it with the library pillow-heif
OTHERS = {  # first bytes of files that Pillow cannot read, and what they are
    b"\x89PNG": "a damaged PNG",
    b"\xff\xd8\xff": "a damaged JPEG",
    b"GIF8": "a damaged GIF",
    b"II*\0": "a damaged TIFF or a camera's raw data",
    b"MM\0*": "a damaged TIFF or a camera's raw data",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG",
    b"<?xml": "an SVG or other XML",
    b"\xff\x0a": "a JPEG XL",
    b"\0\0\0\x0cJXL ": "a JPEG XL",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\0\0\1\0": "an icon",
    b"<!DOC": "a web page",
    b"<html": "a web page",
    b"PK\3\4": "a ZIP",
}
HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis", b"hevc")
MAX_PIXELS = 50_000_000  # more than most cameras' pictures have; decoded within seconds
VISIBLE = 128  # of 255: pixels that are less opaque are taken for transparent
PAPER_SPREAD = 90  # of 255: visible pixels that differ by more show ink on something


def open_writing(path: Path, name: str, pixel_max: float, longest: int) -> Image.Image:
    """The picture in the mode L or RGB, its longer side at most `longest`, turned as its EXIF data says.

    Of several frames it is the first. Transparent pixels get a colour that the visible ones stand out from. `pixel_max`
    is white, if it is not 0 and the picture holds nothing brighter. `name` is what messages call the file. Raises
    InputError if it is not there, not readable, or too large.
    """
    with _opened(path, name) as picture:
        picture.draft(None, (2 * longest, 2 * longest))  # JPEG decodes to that at once
        return _opaque(upright(_reduced(_eight_bits(picture, pixel_max), longest)))


def open_as_prepared(path: Path, name: str, pixel_max: float) -> Image.Image:
    """The picture in the mode L or RGB, as the stage prepare reads it for a training.

    `pixel_max` is what was stated to be white; a picture that is brighter, which such a training refuses, is read as if
    nothing had been stated. `name` and errors are as in `open_writing`.
    """
    with _opened(path, name) as picture:
        try:
            return decode(picture, pixel_max).picture
        except TooBright:
            return decode(picture, 0).picture


def check_picture(path: Path, name: str) -> None:
    """Raise InputError if the file is no picture, as far as its first bytes say; it is not decoded."""
    with _opened(path, name):
        pass


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    """The picture, not decoded yet. Raises InputError for whatever goes wrong with it, also while it is decoded."""
    head = _first_bytes(path, name)
    formats = _formats(head, name)
    try:
        # Pillow warns of large pictures; those that are too large are refused below.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{name}: has {picture.width}×{picture.height} pixels; {MAX_PIXELS:,} are the most")
            yield picture
    except InputError:
        raise
    except UnfitPicture as error:
        raise InputError(f"{name}: {error}") from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: {_what_it_is(head, error)}; {_readable()} are read") from error
    except Exception as error:  # Pillow's decoders raise errors of many types, because a file can hold anything
        raise InputError(f"{name}: not a readable picture, it is damaged ({one_line(error)})") from error


def _first_bytes(path: Path, name: str) -> bytes:
    """Raises InputError if there is no such file, or if it may not be read or is empty."""
    if path.is_dir():
        raise InputError(f"{name}: is a folder; give the pictures in it, such as {name}/*.png")
    try:
        with open(path, "rb") as stream:
            head = stream.read(32)
    except FileNotFoundError as error:
        raise InputError(f"{name}: not there") from error
    except OSError as error:
        raise InputError(f"{name}: may not be read ({error.strerror})") from error
    if not head:
        raise InputError(f"{name}: is empty")
    return head


def _formats(head: bytes, name: str) -> list[str]:
    """The formats that Pillow may try. Raises InputError for a HEIC file where the library for it is missing."""
    if head[4:8] != b"ftyp" or head[8:12] not in HEIF_BRANDS:
        return list(FORMATS)
    try:
        from pillow_heif import register_heif_opener  # an extra that few need
    except ImportError as error:
        raise InputError(f"{name}: HEIC needs pillow-heif: pip install pillow-heif, or save it as JPEG") from error
    register_heif_opener()
    return [HEIF]


def _what_it_is(head: bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS:,} pixels"
    known = [what for first, what in OTHERS.items() if head.lstrip().startswith(first)]
    return f"is {known[0]}" if known else "not a picture in a known format"


def _readable() -> str:
    return ", ".join(FORMATS.values())


def _eight_bits(picture: Image.Image, pixel_max: float) -> Image.Image:
    """The first frame in a mode with eight bits a channel: L, RGB, LA or RGBA."""
    picture.load()
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits, or fractions, which Pillow would cut off at 255
        values = np.nan_to_num(np.asarray(picture, np.float64), posinf=0, neginf=0)
        white = values.max() if values.max() > values.min() else max(values.max(), 1)
        return _scaled(picture, values, pixel_max if 0 < values.max() <= pixel_max else max(white, 1e-9))
    if "transparency" in picture.info or picture.mode in ("PA", "La", "RGBa"):
        return picture.convert("RGBA")
    wanted = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA"}
    plain = picture.convert(wanted.get(picture.mode, "RGB"))
    if plain.mode in ("L", "RGB") and picture.mode != "1" and 0 < np.asarray(plain).max() <= pixel_max <= WHITE_8_BITS:
        return _scaled(picture, np.asarray(plain, np.float64), pixel_max)
    return plain


def _scaled(picture: Image.Image, values: np.ndarray, white: float) -> Image.Image:
    """The picture with other values, of which `white` and more become 255."""
    made = Image.fromarray(np.rint((values / white).clip(0, 1) * 255).astype(np.uint8))
    made.info = picture.info
    return made


def _reduced(picture: Image.Image, longest: int) -> Image.Image:
    """The picture with a longer side of at most `longest`. Transparent pixels lend the others no colour."""
    picture.thumbnail((longest, longest))
    return picture


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture on a colour from which its content stands out, if it has transparent pixels."""
    if "A" not in picture.getbands():
        return picture
    opaque = picture.convert("RGBA")
    alpha = np.asarray(opaque.getchannel("A"))
    visible = alpha >= VISIBLE
    grey = np.asarray(opaque.convert("L"), np.float64)
    if visible.all() or not visible.any():
        matte = 255
    elif body_thickness(visible) > 0.5 and np.ptp(np.percentile(grey[visible], (0.3, 99.7))) > PAPER_SPREAD:
        matte = round(_edge_brightness(grey, visible))  # a sheet that was cut out: it goes on in its own colour
    else:
        matte = 0 if grey[visible].mean() > 127 else 255
    flat = Image.alpha_composite(Image.new("RGBA", opaque.size, (matte, matte, matte, 255)), opaque)
    return flat.convert("L" if picture.mode == "LA" else "RGB")


def _edge_brightness(grey: np.ndarray, visible: np.ndarray) -> float:
    """The median brightness of visible pixels that lie next to transparent ones."""
    from scipy.ndimage import binary_erosion  # takes a moment to import

    edge = visible & ~binary_erosion(visible, iterations=3, border_value=1)
    return float(np.median(grey[edge])) if edge.any() else 255.0
