"""Open picture files of the usual formats, turned and made opaque, in a size that is quick to look at."""

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from epochwise.common.errors import InputError, one_line
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
LONGEST_SIDE = 512  # pixels that a picture is reduced to before it is looked at
VISIBLE = 128  # of 255: pixels that are less opaque are taken for transparent
PAPER_SPREAD = 90  # of 255: visible pixels that differ by more show ink on something


def open_picture(path: Path, name: str, longest: int = LONGEST_SIDE) -> Image.Image:
    """The picture in the mode L or RGB, its longer side at most `longest`, turned as its EXIF data says.

    Of several frames it is the first. Transparent pixels get a colour that the visible ones stand out from. `name` is
    what messages call the file. Raises InputError if it is not there, not readable, or too large.
    """
    if path.is_dir():
        raise InputError(f"{name}: is a folder; give the pictures in it, such as {name}/*.png")
    try:
        head = _first_bytes(path)
    except FileNotFoundError as error:
        raise InputError(f"{name}: not there") from error
    except OSError as error:
        raise InputError(f"{name}: may not be read ({error.strerror})") from error
    if not head:
        raise InputError(f"{name}: is empty")
    formats = _formats(head, name)
    try:
        # Pillow warns of large pictures; those that are too large are refused below.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{name}: has {picture.width}×{picture.height} pixels; {MAX_PIXELS:,} are the most")
            picture.draft(None, (2 * longest, 2 * longest))  # JPEG decodes to that at once
            return _opaque(_turned(_reduced(_eight_bits(picture), longest)))
    except InputError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: {_what_it_is(head, error)}; {_readable()} are read") from error
    except Exception as error:  # Pillow's decoders raise errors of many types, because a file can hold anything
        raise InputError(f"{name}: not a readable picture, it is damaged ({one_line(error)})") from error


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(32)


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


def _eight_bits(picture: Image.Image) -> Image.Image:
    """The first frame in a mode with eight bits a channel: L, RGB, LA or RGBA."""
    picture.load()
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits, or fractions, which Pillow would cut off at 255
        values = np.nan_to_num(np.asarray(picture, np.float64), posinf=0, neginf=0)
        largest = values.max() if values.max() > values.min() else max(values.max(), 1)
        made = Image.fromarray(np.rint(values.clip(0) / max(largest, 1e-9) * 255).astype(np.uint8))
        made.info = picture.info
        return made
    if "transparency" in picture.info or picture.mode in ("PA", "La", "RGBa"):
        return picture.convert("RGBA")
    wanted = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA"}
    return picture.convert(wanted.get(picture.mode, "RGB"))


def _reduced(picture: Image.Image, longest: int) -> Image.Image:
    """The picture with a longer side of at most `longest`. Transparent pixels lend the others no colour."""
    picture.thumbnail((longest, longest))
    return picture


def _turned(picture: Image.Image) -> Image.Image:
    """The picture as its EXIF data says; damaged EXIF data says nothing, as in viewers."""
    with suppress(Exception):  # whatever a parser of damaged bytes raises
        return ImageOps.exif_transpose(picture)
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
