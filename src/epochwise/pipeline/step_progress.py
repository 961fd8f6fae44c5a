"""How far the training of one run is, kept up to date on one line of a terminal."""

import math
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from epochwise.common.terminal import Terminal


class StepProgress:
    """A bar over all steps that a run trains, with the time left, from its first step on.

    Where stdout is not a terminal, nothing is shown.
    """

    def __init__(self, epochs: int, images: int, batch_size: int) -> None:
        self.epochs, self.steps = epochs, math.ceil(images / batch_size)
        self.first = 1  # the first epoch that this run trains itself
        text, left = TextColumn("{task.description}"), TextColumn("left")
        console = Terminal()
        self.bar = Progress(text, BarColumn(), TimeRemainingColumn(), left, console=console, transient=True)
        self.bar.disable = not console.is_terminal
        self.task = self.bar.add_task("", total=None)

    def __enter__(self) -> "StepProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, epoch: int, steps: int) -> None:
        """Show that as many `steps` of `epoch` are done."""
        if self.bar.tasks[0].total is None:
            self.first = epoch
            self.bar.reset(self.task, total=(self.epochs - epoch + 1) * self.steps)
            self.bar.start()
        done = (epoch - self.first) * self.steps + steps
        text = f"epoch {epoch}/{self.epochs} · step {steps}/{self.steps}"
        self.bar.update(self.task, completed=done, description=text)
