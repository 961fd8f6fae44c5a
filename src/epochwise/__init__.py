"""Epochwise: a tracked, evaluated Keras CNN whose every number can be made again."""

__version__ = "0.1.0"


class InputError(Exception):
    """Something the user gave is refused: one line that says what, where and what would be right."""


class RunError(Exception):
    """A run started on good input and could not be completed."""
