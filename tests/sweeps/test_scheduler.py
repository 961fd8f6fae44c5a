"""Which job of a sweep comes next: no epoch is trained twice, and no job waits that need not."""

import random
from dataclasses import replace

import pytest

from epochwise.config.compose import load
from epochwise.config.schema import parameters
from epochwise.runs.directory import RunDirectory
from epochwise.sweeps.record import Point
from epochwise.sweeps.scheduler import (
    Job,
    Queue,
    count_untrained,
    epochs_to_train,
    may_end_early,
    surely_untrained,
    untrained,
)
from epochwise.training.history import COLUMNS
from epochwise.trajectory.identity import segments
from epochwise.trajectory.states import StateStore

DATA = "sha256 of the data"


@pytest.fixture
def make(project, tmp_path):
    """Make jobs that differ in their overrides."""

    def job(number: int, *overrides: str, store=tmp_path) -> Job:
        point = Point(number, " ".join(overrides), list(overrides), parameters(load(list(overrides))), "f", DATA)
        return Job.of(point, RunDirectory(tmp_path / str(number)), store)

    return job


@pytest.fixture
def keep(tmp_path):
    """Write states of these epochs of a segment of a run."""

    def write(overrides: tuple[str, ...], *epochs: int, segment: int = -1) -> None:
        identity = segments(parameters(load(list(overrides))), DATA)[segment].identity
        for epoch in epochs:
            history = [dict.fromkeys(COLUMNS, 0.0)] * epoch
            StateStore(tmp_path, identity, max_gb=1).write([], history, [0.0] * epoch)

    return write


def test_epochs_of_one_trajectory_count_once(make):
    jobs = [make(n, f"train.epochs={n}") for n in (2, 4, 6)] + [make(9, "train.epochs=5", "seed=1")]
    assert [len(untrained(job)) for job in jobs] == [2, 4, 6, 5]
    assert count_untrained(jobs) == 6 + 5
    assert count_untrained([]) == 0


def test_states_in_the_store_need_no_training(make, keep):
    short, long = make(0, "train.epochs=2"), make(1, "train.epochs=6")
    keep(("train.epochs=6",), 1, 2, 3)
    assert (len(untrained(short)), len(untrained(long))) == (0, 3)


def test_a_state_that_was_removed_is_trained_again(make, keep):
    short, long = make(0, "train.epochs=2"), make(1, "train.epochs=6")
    keep(("train.epochs=6",), 5)
    assert (len(untrained(short)), len(untrained(long))) == (2, 1)


def test_runs_with_a_cooldown_share_what_comes_before_it(make, keep):
    cooldown = "train.cooldown_epochs=2"
    jobs = [make(n, f"train.epochs={n}", cooldown) for n in (6, 8)]
    assert count_untrained(jobs) == 6 + 2 + 2, "the trunk of the longer one, and both cooldowns"
    keep(("train.epochs=6", cooldown), 4, segment=0)
    assert count_untrained(jobs) == 2 + 2 + 2
    keep(("train.epochs=6", cooldown), 5, segment=1)
    assert len(untrained(jobs[0])) == 1, "a state of its own cooldown needs no trunk"


def test_without_a_store_nothing_is_shared(make):
    jobs = [make(n, f"train.epochs={n}", "train.reuse=false", store=None) for n in (2, 4)]
    assert count_untrained(jobs) == 6
    queue = Queue(jobs)
    assert queue.next().number == 4
    queue.start(jobs[1])
    assert queue.next().number == 2


def test_one_run_of_any_caller_is_counted_alike(make, keep, tmp_path):
    values = parameters(load(["train.epochs=6"]))
    assert epochs_to_train(values, DATA, None) == epochs_to_train(values, DATA, tmp_path) == 6
    keep(("train.epochs=6",), 4)
    assert (epochs_to_train(values, DATA, None), epochs_to_train(values, DATA, tmp_path)) == (6, 2)


def test_the_longest_of_each_trajectory_comes_first(make, keep):
    waiting = [make(e * 10 + seed, f"train.epochs={e}", f"seed={seed}") for e in (2, 6, 4) for seed in (0, 1)]
    queue = Queue(waiting)
    first = queue.next()
    assert first.number == 60
    queue.start(first)
    second = queue.next()
    assert second.number == 61, "not another one of the first's trajectory, which would wait"
    queue.start(second)
    assert queue.next() is None
    keep(("train.epochs=6", "seed=0"), 1, 2)
    assert queue.next().number == 20, "its state is there while the longer ones go on"
    assert queue.count_untrained() == 4 + 6
    queue.end(first)
    assert queue.next().number == 20


def test_of_equal_jobs_the_first_comes_first(make):
    job = make(3, "train.epochs=2", store=None)
    assert Queue([replace(job, number=5), job, replace(job, number=4)]).next().number == 3


def test_a_job_whose_host_is_gone_waits_again(make):
    job = make(0, "train.epochs=2")
    queue = Queue([job])
    queue.start(job)
    assert (queue.next(), len(queue.waiting), len(queue.running)) == (None, 0, 1)
    queue.end(job, again=True)
    assert (queue.next(), len(queue.waiting), len(queue.running)) == (job, 1, 0)


def test_a_job_is_chosen_for_the_threads_of_a_slot(make):
    queue = Queue([make(0, "train.epochs=6", "train.threads=2"), make(1, "train.epochs=2", "train.threads=1")])
    assert [queue.next({1}).number, queue.next({2}).number, queue.next().number] == [1, 0, 0]
    assert queue.next({3}) is None


@pytest.mark.parametrize("seed", range(5))
def test_jobs_come_in_the_order_in_which_all_of_them_are_looked_at_each_time(seed, tmp_path):
    """The queue remembers; what it is compared with looks at every job in every step."""
    draw = random.Random(seed)
    jobs = []
    for number in range(60):
        trunk, epochs, cooldown = draw.choice("abcdefgh"), draw.randint(1, 9), draw.choice((0, 0, 2))
        parts = [(f"{trunk} {epochs} {cooldown}", epochs)] if cooldown else []
        parts = [(trunk, epochs - cooldown), *parts] if epochs > cooldown else parts
        jobs.append(Job(number, "", RunDirectory(tmp_path), 1, epochs, parts, tmp_path))
    queue, waiting, running = Queue(jobs), list(jobs), []
    while waiting or running:
        in_training = set().union(*map(untrained, running))
        ready = [(len(needed), job) for job in waiting if not (needed := untrained(job)) & in_training]
        least, best = max(ready, key=lambda pair: (not pair[0], pair[0], -pair[1].number)) if ready else (None, None)
        if best and not least:  # one of those that only read, whichever was seen first
            best = queue.next()
            assert not untrained(best)
        assert queue.next() == best
        assert queue.count_untrained() == count_untrained([*waiting, *running])
        if best and (not running or draw.random() < 0.7):
            waiting.remove(best)
            running.append(best)
            queue.start(best)
            continue
        if running:
            job = draw.choice(running)
            needed = sorted(untrained(job), key=lambda part: ([key for key, _ in job.segments].index(part[0]), part[1]))
            for key, epoch in needed[: draw.randint(1, 9)]:
                (tmp_path / key).mkdir(exist_ok=True)
                (tmp_path / key / f"{epoch:05}-{'0' * 64}.npz").touch()
            if not untrained(job):
                running.remove(job)
                queue.end(job)


def test_a_patience_may_spare_epochs_of_the_same_trajectory(make, tmp_path):
    plain, patient = make(0, "train.epochs=12"), make(1, "train.epochs=30", "train.patience=2")
    assert (len(untrained(patient)), len(surely_untrained(patient)), patient.ends) == (30, 3, (3, 30))
    assert untrained(plain) < untrained(patient) and count_untrained([plain, patient]) == 30
    assert may_end_early([plain, patient]) and not may_end_early([plain])
    identity = segments(parameters(load(["train.epochs=12"])), DATA)[-1].identity
    history = [dict.fromkeys(COLUMNS, 0.0) | {"val_accuracy": value} for value in (0.8, 0.9, 0.9)]
    StateStore(tmp_path, identity, max_gb=1).write([], history, [0.0] * 3)
    assert (len(untrained(patient)), len(surely_untrained(patient)), patient.ends) == (27, 1, (4, 30))
    history += [history[-1]] * 2
    StateStore(tmp_path, identity, max_gb=1).write([], history, [0.0] * 5)
    assert (len(untrained(patient)), patient.ends) == (1, (4, 4)), "epoch 5 is beyond its end, and 4 is not there"
    StateStore(tmp_path, identity, max_gb=1).write([], history[:4], [0.0] * 4)
    assert untrained(patient) == set() and len(untrained(plain)) == 7
    assert not may_end_early([patient])


def test_a_run_whose_end_is_known_does_not_wait_for_later_epochs(make, tmp_path):
    plain, patient = make(0, "train.epochs=12"), make(1, "train.epochs=30", "train.patience=2")
    queue = Queue([plain, patient])
    queue.start(plain)
    assert queue.next() is None
    identity = segments(parameters(load(["train.epochs=12"])), DATA)[-1].identity
    rows = [dict.fromkeys(COLUMNS, 0.0)] * 3
    StateStore(tmp_path, identity, max_gb=1).write([], rows, [0.0] * 3)
    assert queue.next() is patient


def test_without_a_store_a_patience_spares_what_no_state_tells(make):
    patient = make(1, "train.epochs=30", "train.patience=2", "train.reuse=false", store=None)
    assert (len(untrained(patient)), len(surely_untrained(patient))) == (30, 3)
