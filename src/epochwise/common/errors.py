"""The two errors that a user sees.

Exception
├── InputError    what the user gave is refused; the command ends with exit code 2
└── RunError      a run started on good input and failed; the command ends with exit code 1
"""


class InputError(Exception):
    """Something the user gave is refused: one line that says what, where and what would be right."""


class RunError(Exception):
    """A run started on good input and could not be completed."""
