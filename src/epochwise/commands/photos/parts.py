"""Which parts of an ink map are the digit: specks, frames and what the picture's edge cuts off are not."""

from dataclasses import dataclass

import numpy as np

SPECK = 0.03  # of the main part's ink: less is dirt, wherever it lies
NEAR = 0.12  # of the main part's longer side: parts that near belong to it
SIDE_PART = 0.12  # of the main part's ink: such parts belong to it also where they lie at most FAR from it
FAR = 0.3
RIVAL = 0.25  # of the main part's ink: such a part elsewhere is another thing
RIVAL_SIDE = 0.55  # of the main part's height or width, likewise
APART = 0.15  # of the narrower part: things that overlap by less lie side by side
FRAME_SIDE, FRAME_FILL = 0.6, 0.3  # a frame spans more of both sides and fills less of its box
CUT = 0.35  # a part that touches the picture's edge counts by this much when the main part is chosen
BESIDE = 0.3  # ink beside the digit, as a share of its own, from which on the picture is crowded


@dataclass(frozen=True)
class Part:
    """A connected part of the ink."""

    number: int
    left: int
    top: int
    right: int
    low: int
    ink: float  # sum of strength
    touches: bool  # the picture's edge

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.low - self.top


@dataclass(frozen=True)
class Chosen:
    """What is taken for the digit."""

    mask: np.ndarray  # H×W
    parts: int
    several: bool  # there is another thing of a digit's size
    cut: bool  # it touches the picture's edge
    beside: float  # ink that is left out, without specks and what touches the edge, as a share of the ink that is taken


def choose_parts(strength: np.ndarray, mask: np.ndarray) -> Chosen | None:
    """The parts of an ink map that make up the digit; None if there is no ink."""
    from scipy.ndimage import label  # takes a moment to import

    labels, count = label(mask, np.ones((3, 3)))
    if not count:
        return None
    parts = _without_frames(_parts(strength, labels), mask.shape)
    main = max(parts, key=lambda part: part.ink * (CUT if part.touches else 1))
    taken, others, several = [main], [], False
    for part in sorted(parts, key=lambda part: -part.ink):
        if part is main or part.ink < SPECK * main.ink:
            continue
        if _is_rival(part, main):
            several |= not part.touches
            others.append(part)
        elif not part.touches and _belongs(part, main):
            taken.append(part)
        else:
            others.append(part)
    ink = sum(part.ink for part in taken)
    beside = sum(part.ink for part in others if not part.touches) / max(ink, 1e-6)
    chosen = np.isin(labels, [part.number for part in taken])
    return Chosen(chosen, len(taken), several, any(part.touches for part in taken), beside)


def _parts(strength: np.ndarray, labels: np.ndarray) -> list[Part]:
    from scipy.ndimage import find_objects, sum_labels  # takes a moment to import

    height, width = labels.shape
    boxes = find_objects(labels)
    inks = sum_labels(strength, labels, np.arange(1, len(boxes) + 1))
    made = []
    for number, (box, ink) in enumerate(zip(boxes, inks, strict=True), 1):
        top, low, left, right = box[0].start, box[0].stop, box[1].start, box[1].stop
        touches = top == 0 or left == 0 or low == height or right == width
        made.append(Part(number, left, top, right, low, float(ink), touches))
    return made


def _without_frames(parts: list[Part], shape: tuple[int, ...]) -> list[Part]:
    """The parts without thin ones that go around another part of some size."""
    height, width = shape
    frames = [
        part
        for part in parts
        if part.width > FRAME_SIDE * width
        and part.height > FRAME_SIDE * height
        and part.ink < FRAME_FILL * part.width * part.height
        and any(_is_inside(other, part) and other.ink > SPECK * part.ink for other in parts)
    ]
    return [part for part in parts if part not in frames] or parts


def _is_inside(inner: Part, outer: Part) -> bool:
    return (
        inner is not outer
        and outer.left < inner.left
        and outer.top < inner.top
        and inner.right < outer.right
        and inner.low < outer.low
    )


def _gap(one: Part, other: Part) -> float:
    """The distance between two boxes."""
    across = max(one.left - other.right, other.left - one.right, 0)
    down = max(one.top - other.low, other.top - one.low, 0)
    return float(np.hypot(across, down))


def _belongs(part: Part, main: Part) -> bool:
    side = max(main.width, main.height)
    gap = _gap(part, main)
    return gap <= NEAR * side or (gap <= FAR * side and part.ink >= SIDE_PART * main.ink)


def _is_rival(part: Part, main: Part) -> bool:
    """Whether a part is a thing of its own, of the main part's size, that lies beside, above or below it."""
    if part.ink < RIVAL * main.ink:
        return False
    across = min(part.right, main.right) - max(part.left, main.left)
    down = min(part.low, main.low) - max(part.top, main.top)
    beside = across <= APART * min(part.width, main.width) and part.height >= RIVAL_SIDE * main.height
    stacked = down <= APART * min(part.height, main.height) and (
        part.height >= RIVAL_SIDE * main.height or _gap(part, main) > FAR * max(main.width, main.height)
    )
    return beside or stacked
