"""How numbers are written in messages."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 picture`, `1,200 pictures`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `27 s`: one decimal where a whole number would say little."""
    return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"
