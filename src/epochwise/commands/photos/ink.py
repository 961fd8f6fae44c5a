"""Find ink: how much each pixel of a picture stands out from the paper around it, whatever light falls on that.

The paper's brightness at each place is what a grey closing leaves: it fills whatever is dark and narrower than its
window, and leaves the edges of what is wider, such as a shadow or a desk, where they are. Pixels outside the picture
count as ink, so that what goes on there is no stroke. Bright ink is dark in the negative. (A closing minus the picture
is called a black top-hat: J. Serra, Image Analysis and Mathematical Morphology, 1982.)
"""

from dataclasses import dataclass

import numpy as np

SHORTEST_SIDE = 224  # pixels to which a smaller picture is enlarged, so that windows of a few pixels mean something
WINDOWS = (0.35, 0.6, 0.2)  # of the shorter side: wider than the ink, narrower than what light and shadow do
SMOOTHING = (0.8, 1.6, 3.0)  # pixels, the first that is enough
CLEAR = 9.0  # how many deviations of the noise ink must stand out to need no more smoothing
FAINT = 5.0  # less than that is noise
THRESHOLD = 0.3  # of the ink's strength: weaker is shadow or noise
ISOLATED = 0.2  # difference in 0…1 from all neighbours that only salt and pepper has
ISOLATED_SHARE = 0.001  # share of such pixels from which on they are removed
SAME_COLOUR = 0.08  # pixels whose channels differ by less from those of the paper, at its brightness, have no colour
GREY_ENOUGH = 0.6  # brightness is used unless a colour channel shows the ink clearer by more than this


@dataclass(frozen=True)
class InkMap:
    """How strongly each pixel stands out from the paper."""

    brightness: np.ndarray  # H×W, of the paper and the ink, in the channel that shows the ink
    strength: np.ndarray  # H×W, about 0 on paper and noise, 1 where the ink is as strong as it gets
    contrast: float  # of the strongest ink, in 0…1 of the paper's brightness
    clarity: float  # deviations of the noise that the ink stands out
    unrest: float  # what remains without the ink: the mean difference of neighbours in the paper's brightness
    bright: bool  # ink is brighter than the paper

    @property
    def mask(self) -> np.ndarray:
        return self.strength > THRESHOLD


def without_salt_and_pepper(pixels: np.ndarray) -> np.ndarray:
    """Pixels H×W×C in 0…1, median filtered if many of them differ from all of their neighbours."""
    from scipy.ndimage import maximum_filter, median_filter, minimum_filter  # takes a moment to import

    grey = pixels.mean(axis=2)
    around = np.ones((3, 3), bool)
    around[1, 1] = False
    highest, lowest = maximum_filter(grey, footprint=around), minimum_filter(grey, footprint=around)
    isolated = (grey > highest + ISOLATED) | (grey < lowest - ISOLATED)
    if isolated.mean() < ISOLATED_SHARE:
        return pixels
    return median_filter(pixels, size=(3, 3, 1))


def ink_map(pixels: np.ndarray, window: float, bright: bool) -> InkMap:
    """The map of dark or of bright ink in pixels H×W×C in 0…1, in the channel that shows it clearest.

    `window` is a share of the shorter side; ink strokes are narrower.
    """
    size = max(3, round(window * min(pixels.shape[:2])) | 1)
    found = [_ink_map(1 - channel if bright else channel, size, bright) for channel in _channels(pixels)]
    best = max(found, key=lambda one: one.clarity)
    return found[0] if found[0].clarity >= GREY_ENOUGH * best.clarity else best


def _channels(pixels: np.ndarray) -> list[np.ndarray]:
    """The brightness of pixels H×W×C, first, and each colour channel, unless all of them show the same."""
    if pixels.shape[2] == 1:
        return [pixels[..., 0]]
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    channels = [pixels[..., number] for number in range(3)]
    shown = [grey * np.median(channel) / max(float(np.median(grey)), 1e-3) for channel in channels]
    if max(np.percentile(np.abs(one - two), 99.8) for one, two in zip(channels, shown, strict=True)) < SAME_COLOUR:
        return [grey]
    return [grey, *channels]


def _ink_map(pixels: np.ndarray, size: int, bright: bool) -> InkMap:
    """The map of dark ink in H×W pixels. It is smoothed as much as its noise asks for."""
    from scipy.ndimage import gaussian_filter  # takes a moment to import

    for sigma in SMOOTHING:
        smooth = gaussian_filter(pixels, sigma)
        paper = _paper(smooth, size)
        # By the root: in a shadow ink is less strong than in the light, but so is the texture of a dark desk.
        depth = (paper - smooth) / np.sqrt(np.maximum(paper, 0.05))
        depth -= np.median(depth)
        noise = 1.4826 * float(np.median(np.abs(depth))) + 1e-3
        peak = float(depth.max())
        if peak > CLEAR * noise:
            break
    typical = float(np.median(depth[depth > peak / 2])) if peak > 0 else 0.0
    floor = min(3 * noise, 0.5 * typical)
    strength = ((depth - floor) / max(typical - floor, 1e-6)).clip(0, 1)
    unrest = float(np.abs(np.diff(paper, axis=0)).mean() + np.abs(np.diff(paper, axis=1)).mean())
    return InkMap(smooth, strength.astype(np.float32), typical, peak / noise, unrest, bright)


def _paper(pixels: np.ndarray, size: int) -> np.ndarray:
    """The brightness that the paper has at each pixel, also under ink that is narrower than `size` pixels."""
    from scipy.ndimage import grey_closing  # takes a moment to import

    padded = np.pad(pixels, size // 2 + 1, constant_values=0)
    inside = slice(size // 2 + 1, -(size // 2 + 1))
    return grey_closing(padded, size=(size, size))[inside, inside]
