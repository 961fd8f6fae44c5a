"""Which epochs the runs of a sweep have in common: a tree whose trunks are trajectories, its branches cooldowns."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from epochwise.runs.record import RunRecord
from epochwise.trajectory.identity import trajectory_key

LENGTH_KEYS = ("train.epochs", "train.cooldown_epochs")  # in the identity of a run with a cooldown, see `segments`


@dataclass
class Branch:
    """The epochs that belong to one run's cooldown alone."""

    first: int
    last: int
    run: str


@dataclass
class Trunk:
    """Epochs 1 to `last` of a trajectory, the runs that end on it and the cooldowns that leave it."""

    label: str
    last: int = 0
    ends: dict[int, str] = field(default_factory=dict)  # the run that ends after an epoch
    branches: list[Branch] = field(default_factory=list)

    @property
    def longest(self) -> int:
        return max([self.last, *(branch.last for branch in self.branches)])


def shared_epochs(records: Sequence[RunRecord], labels: Sequence[str], trunk_labels: Sequence[str]) -> list[Trunk]:
    """The trunks in the order of the best run on each."""
    trunks: dict[str, Trunk] = {}
    for record, label, trunk_label in zip(records, labels, trunk_labels, strict=True):
        parameters = dict(record.identity.get("parameters", {}))
        cooldown = int(parameters.get("train.cooldown_epochs", 0))
        deciding = {key: value for key, value in parameters.items() if key not in LENGTH_KEYS}
        key = trajectory_key(record.identity | {"parameters": deciding}) if record.identity else record.trajectory
        trunk = trunks.setdefault(key, Trunk(trunk_label))
        shared = max(0, record.epochs - cooldown)
        trunk.last = max(trunk.last, shared)
        if cooldown:
            trunk.branches.append(Branch(shared + 1, record.epochs, label))
        else:
            trunk.ends[record.epochs] = label
    for trunk in trunks.values():
        trunk.ends = dict(sorted(trunk.ends.items()))
        trunk.branches.sort(key=lambda branch: branch.last)
    return list(trunks.values())


def distinct_epochs(trunks: Sequence[Trunk]) -> int:
    """How many epochs there are if each shared one counts once."""
    return sum(trunk.last + sum(branch.last - branch.first + 1 for branch in trunk.branches) for trunk in trunks)
