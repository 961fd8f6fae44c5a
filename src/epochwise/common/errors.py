"""The errors that end a command, and their text.

Exception
├── InputError         what the user gave is refused; the command ends with exit code 2
└── RunError           a run that started on good input failed; the command ends with exit code 1
    ├── DivergedError  the loss is no longer a finite number; the same run would end so again
    └── GitError       git refused or is not installed
"""


class InputError(Exception):
    """What the user gave is refused. The message is one line: what is wrong, where, and what would be right.

    Of a sweep it has such a line for each job that is wrong.
    """


class RunError(Exception):
    """A run that started on good input could not be completed."""


class DivergedError(RunError):
    """A training's loss is no longer a finite number. That is a result: the same run always ends so."""


class GitError(RunError):
    """A git command failed, or git is not installed."""


def one_line(error: object) -> str:
    """The text of an error, or any text, with every run of white space replaced by one space."""
    return " ".join(str(error).split())
