"""Which job of a sweep comes next: nothing is trained twice, and nothing waits that need not."""

import pytest

from epochwise.config import compose as config
from epochwise.sweeps.scheduler import Job, choose, to_train, untrained
from epochwise.trajectory.identity import legs
from epochwise.trajectory.states import States


@pytest.fixture
def make(project, tmp_path):
    """Jobs that differ in what is told; their data is called `data`."""

    def job(number, *overrides, store=tmp_path):
        cfg = config.load(list(overrides))
        return Job(number, " ".join(overrides), tmp_path / str(number), cfg, legs(cfg, "data"), store)

    return job


def keep(job, *epochs, leg=-1):
    for epoch in epochs:
        States(job.store, job.legs[leg].identity, 1).write([], [dict.fromkeys(ROW, 0.0)] * epoch, [0.0] * epoch)


ROW = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


def test_epochs_of_one_trajectory_count_once(make):
    jobs = [make(n, f"train.epochs={n}") for n in (2, 4, 6)] + [make(9, "train.epochs=5", "seed=1")]
    assert [len(untrained(job)) for job in jobs] == [2, 4, 6, 5]
    assert to_train(jobs) == 6 + 5


def test_kept_states_need_no_training(make):
    short, long = make(0, "train.epochs=2"), make(1, "train.epochs=6")
    keep(long, 1, 2, 3)
    assert (len(untrained(short)), len(untrained(long))) == (0, 3)


def test_a_state_that_was_removed_is_trained_again(make):
    short, long = make(0, "train.epochs=2"), make(1, "train.epochs=6")
    keep(long, 5)
    assert (len(untrained(short)), len(untrained(long))) == (2, 1)


def test_runs_with_a_cooldown_share_what_comes_before_it(make):
    jobs = [make(n, f"train.epochs={n}", "train.cooldown_epochs=2") for n in (6, 8)]
    assert to_train(jobs) == 6 + 2 + 2, "the trunk of the longer one, and both cooldowns"
    keep(jobs[0], 4, leg=0)
    assert to_train(jobs) == 2 + 2 + 2
    keep(jobs[0], 5, leg=1)
    assert len(untrained(jobs[0])) == 1, "a state of its own cooldown needs no trunk"


def test_without_a_store_nothing_is_shared(make):
    jobs = [make(n, f"train.epochs={n}", "train.reuse=false", store=None) for n in (2, 4)]
    assert to_train(jobs) == 6
    assert choose(jobs, []).number == 4
    assert choose(jobs[:1], jobs[1:]).number == 2


def test_the_longest_of_each_trajectory_comes_first(make):
    waiting = [make(e * 10 + seed, f"train.epochs={e}", f"seed={seed}") for e in (2, 6, 4) for seed in (0, 1)]
    first = choose(waiting, [])
    assert first.number == 60
    waiting.remove(first)
    second = choose(waiting, [first])
    assert second.number == 61, "not another one of the first's trajectory, which would wait"
    waiting.remove(second)
    assert choose(waiting, [first, second]) is None
    keep(first, 1, 2)
    assert choose(waiting, [first, second]).number == 20, "its state is there while the longer ones go on"
