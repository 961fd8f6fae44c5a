"""Remove the lines of ruled and squared paper, and frames, from an ink map."""

import numpy as np

FAINTEST = 0.12  # strength from which on ink may be a line
STEEPEST = 0.09  # slope of a line against the picture's side, about 5 degrees
SLOPES = 19  # slopes that are tried
SPAN = 0.8  # share of the picture's width that a line has ink on
END = 0.04  # share of the picture's width at each side within which a line must have ink
THICKEST = 0.035  # of the picture's longer side
CROSSING = 1.5  # where ink is this many times as thick as the line, a stroke crosses it


def without_lines(strength: np.ndarray) -> tuple[np.ndarray, int]:
    """An ink map H×W without straight lines from side to side that are thinner than strokes, and their number.

    Where ink is thicker than the line, a stroke crosses it, and the ink stays.
    """
    found = 0
    for _ in range(2):  # the rows, then, transposed, the columns
        strength, number = _without_rows(strength)
        strength, found = strength.T, found + number
    return np.ascontiguousarray(strength), found


def _without_rows(strength: np.ndarray) -> tuple[np.ndarray, int]:
    """An ink map without lines that are nearly horizontal, and their number."""
    thickest = max(2, round(THICKEST * max(strength.shape)))
    slope, covered = _rows_of_lines(strength)
    edges = np.diff(np.pad(covered.astype(int), 1))
    starts, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    bands = [(start, end) for start, end in zip(starts, ends, strict=True) if end - start <= thickest + 2]
    cleaned = strength.copy()
    for start, end in bands:
        _remove_line(cleaned, (start + end - 1) // 2 + _offsets(strength.shape[1], slope), thickest)
    return cleaned, len(bands)


def _rows_of_lines(strength: np.ndarray) -> tuple[float, np.ndarray]:
    """The slope at which most rows are full of ink from side to side, and which rows are, at the middle column."""
    from scipy.ndimage import maximum_filter1d  # takes a moment to import

    inked = maximum_filter1d(strength, 3, axis=0) > FAINTEST
    end = max(1, round(END * strength.shape[1]))
    best, best_slope = np.zeros(len(strength), bool), 0.0
    for slope in sorted(np.linspace(-STEEPEST, STEEPEST, SLOPES), key=abs):
        sheared = np.take_along_axis(inked, _rows(strength.shape, _offsets(strength.shape[1], slope)), axis=0)
        full = (sheared.mean(axis=1) >= SPAN) & sheared[:, :end].any(axis=1) & sheared[:, -end:].any(axis=1)
        if full.sum() > 1.1 * best.sum():
            best, best_slope = full, float(slope)
    return best_slope, best


def _offsets(width: int, slope: float) -> np.ndarray:
    """How many rows a line of that slope is lower in each column than in the middle one."""
    return np.rint((np.arange(width) - width / 2) * slope).astype(int)


def _rows(shape: tuple[int, ...], offsets: np.ndarray) -> np.ndarray:
    """The rows H×W that lie at the same place after each column was moved by its offset; edges are repeated."""
    return (np.arange(shape[0])[:, None] + offsets).clip(0, shape[0] - 1)


def _remove_line(strength: np.ndarray, centre: np.ndarray, thickest: int) -> None:
    """Set the ink of a line to 0, in place, where it is no thicker than elsewhere. `centre` is its row by column."""
    reach = 3 * thickest
    rows = centre + np.arange(-reach, reach + 1)[:, None]
    inside = (rows >= 0) & (rows < len(strength))
    rows = rows.clip(0, len(strength) - 1)
    inked = (np.take_along_axis(strength, rows, axis=0) > FAINTEST) & inside
    # A line is not quite straight: it starts at the inked row that is nearest to where it should be.
    nearest = np.where(inked, np.abs(np.arange(-reach, reach + 1))[:, None], reach + 1).argmin(axis=0)
    present = np.abs(nearest - reach) <= thickest // 2 + 1
    present &= np.take_along_axis(inked, nearest[None], axis=0)[0]
    order = np.arange(len(rows))[:, None]
    gaps = ~inked
    above = np.where(gaps & (order < nearest), order, -1).max(axis=0)
    below = np.where(gaps & (order > nearest), order, len(rows)).min(axis=0)
    thickness = below - above - 1
    if not present.any():
        return
    usual = float(np.percentile(thickness[present], 25))  # strokes may lie on much of the line
    removed = present & (thickness <= min(CROSSING * usual + 1, thickest))
    run = (order > above) & (order < below) & removed & inside
    columns = np.broadcast_to(np.arange(strength.shape[1]), rows.shape)
    strength[rows[run], columns[run]] = 0
