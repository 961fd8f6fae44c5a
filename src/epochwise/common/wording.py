"""How numbers and lists are written in messages."""

from collections.abc import Collection, Iterable


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 picture`, `1,200 pictures`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `27 s`: one decimal where a whole number would say little."""
    return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"


def listed(items: Iterable[object], most: int = 5, separator: str = ", ") -> str:
    """The first `most` of some items, and how many more there are: `a, b and 3 more`."""
    texts = [str(item) for item in items]
    return separator.join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def span(numbers: Collection[int]) -> str:
    """The lowest and the highest of several numbers: `5…9`; a single one as it is."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}…{high}"
