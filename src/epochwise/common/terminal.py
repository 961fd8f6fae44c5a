"""The terminal that tables and progress bars are printed on."""

from rich.console import Console


class Terminal(Console):
    """stdout for tables and progress bars: colours only where a text asks for them, and no line is broken."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError of a reader that has gone, as print does; rich would exit with 1."""
        raise  # rich calls this where it handles the error
