"""Train a run: from the newest state of its trajectory if there is one, else from nothing; keep each epoch's state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.config.schema import parameters
from epochwise.data.prepared import PreparedData
from epochwise.training.history import History
from epochwise.training.loop import Training
from epochwise.trajectory.ending import last_epoch
from epochwise.trajectory.identity import Segment, check_code, check_network_code, segments
from epochwise.trajectory.remote_states import Store, open_states
from epochwise.trajectory.states import State, States


@dataclass
class Progress:
    """How far a run has come, after an epoch or after a state was restored."""

    history: History = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # that each epoch of the history took, whichever run trained it
    epochs_reused: int = 0  # the first epochs of the history, which another run or an earlier attempt has trained
    steps_trained: int = 0  # batches that this run has trained
    reused_from: Path | None = None  # the state that was restored, until the next epoch is trained

    @property
    def epochs_trained(self) -> int:
        return len(self.history) - self.epochs_reused

    @property
    def train_seconds(self) -> float:
        """What this run's own epochs took."""
        return sum(self.seconds[self.epochs_reused :])


def train(
    cfg: DictConfig,
    data: PreparedData,
    store: Store | None,
    report: Callable[[Progress], None],
    report_steps: Callable[[int, int], None] = lambda epoch, steps: None,
    may_train: bool = True,
) -> Training:
    """Train for `cfg.train.epochs`, or until `cfg.train.patience` is at an end, and return the network.

    `report` is called after each epoch, its state being kept; `report_steps` many times an epoch, with the epoch and
    how many of its steps are done. `store` is the folder or the URL of the state store; with None nothing is reused or
    kept. Raises RunError if the loss is no longer a finite number, if the code that trains was edited while this
    process started, or if an epoch must be trained that this run may not train.
    """
    check_code()
    parts = segments(parameters(cfg), data.sha256)
    run = _Resumed(Training(cfg, data), report, report_steps, may_train)
    check_network_code(cfg.model.network)
    if store is None:
        run.fit(parts[-1], None)
    else:
        run.advance(store, parts)
    return run.training


class _Resumed:
    """A training, and how its epochs came about."""

    def __init__(
        self,
        training: Training,
        report: Callable[[Progress], None],
        report_steps: Callable[[int, int], None],
        may_train: bool,
    ) -> None:
        self.training, self.report, self.report_steps, self.may_train = training, report, report_steps, may_train
        self.progress = Progress()

    def advance(self, store: Store, parts: list[Segment]) -> None:
        """Get to the end of the last segment, from its newest state or else by way of the segments before it."""
        *before, segment = parts
        states = open_states(store, segment.identity, self.training.cfg.trajectories.max_gb)
        with states.turn_to_train(segment.last, segment.patience) as state:
            if state:
                self._restore(state)
            elif before:
                self.advance(store, before)
            self.fit(segment, states)

    def fit(self, segment: Segment, states: States | None) -> None:
        """Train to the end of a segment, keep each epoch's state, then report it."""

        def after_epoch(seconds: float) -> None:
            progress, history = self.progress, self.training.history
            progress.history = list(history)
            progress.seconds.append(seconds)
            progress.steps_trained += self.training.steps_per_epoch
            progress.reused_from = None
            if states:
                states.write(self.training.variables(), history, progress.seconds)
            self.report(progress)

        while len(self.training.history) < last_epoch(self.training.history, segment.last, segment.patience):
            epoch = len(self.training.history) + 1
            if not self.may_train:
                raise RunError(f"the state of epoch {segment.last} has just been removed, and nothing is trained here")
            self.training.fit(epoch, after_epoch, self.report_steps)

    def _restore(self, state: State) -> None:
        self.training.restore(state.variables, state.history)
        self.progress = Progress(list(state.history), list(state.seconds), state.epoch, reused_from=state.path)
        self.report(self.progress)
