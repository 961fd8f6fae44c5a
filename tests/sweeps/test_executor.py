"""The jobs of a sweep in worker processes, with runs that train nothing but end in every way."""

import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import wait_for
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from made_sweeps import finish, make_sweep
from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.files import write_text
from epochwise.config import overrides
from epochwise.config.compose import load
from epochwise.sweeps import executor
from epochwise.sweeps.executor import SweepExecutor
from epochwise.sweeps.grid import make_points
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.scheduler import Queue

TOGETHER = 100  # the first seed of runs that wait for each other


def fake_run(context: dict[str, str], cfg: DictConfig, log: Path) -> None:
    """A run that is finished at once. `context` has the fingerprint of each run by its directory's name."""
    folder = log.parent
    folder.mkdir(parents=True, exist_ok=True)
    log.touch()
    with open(folder.parent / "order", "a") as order:
        order.write(f"{folder.name} {os.getpid()}\n")
    if cfg.seed == 1:
        raise ValueError("boom")
    if cfg.seed == 2:
        os._exit(9)
    if cfg.seed == 3:
        raise InputError("not with this seed")
    if cfg.seed == 4:
        try:
            (folder / "started").touch()
            time.sleep(600)
        finally:
            write_text(folder / "status", "interrupted")
    if cfg.seed >= TOGETHER:  # waits until three runs are at work at once, which one worker alone never sees
        (folder.parent / f"at work {os.getpid()}").touch()
        wait_for(lambda: len(list(folder.parent.glob("at work *"))) == 3)
    finish(folder, int(folder.name), fingerprint=context[folder.name])


def do_nothing(*_: object) -> None:
    """What a worker imports for runs that train nothing."""


class Sweeps:
    """Makes and runs sweeps in a project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.composed: list[int] = []

    def make(self, *typed: str, **more) -> SweepRecord:
        _, points = make_points(overrides.grid(["tracking=off", *typed]))
        return make_sweep(self.root, [], *points, **more)

    def execute(self, sweep: SweepRecord, n_jobs: int = 1, numbers: range | None = None) -> SweepRecord:
        """Run a sweep; returns its record as it is on disk afterwards."""

        def compose(number: int) -> DictConfig:
            self.composed.append(number)
            return load(sweep.points[number].overrides)

        context = {str(point.job): point.fingerprint for point in sweep.points}
        self.executor = SweepExecutor(sweep, n_jobs, context, compose)
        self.executor.execute(numbers or range(len(sweep.points)))
        return SweepRecord.read(sweep.folder)

    def order(self, sweep: SweepRecord) -> list[list[str]]:
        """Number and process of each run that was started, in order."""
        return [line.split() for line in (sweep.folder / "order").read_text().splitlines()]


@pytest.fixture
def sweeps(project, monkeypatch) -> Sweeps:
    monkeypatch.setattr(executor, "run_in_worker", fake_run)
    monkeypatch.setattr(executor, "warm_up", do_nothing)
    return Sweeps(project.path)


def test_no_failure_stops_the_others_and_each_has_its_reason(sweeps, capsys):
    sweep = sweeps.execute(sweeps.make("seed=0,1,2,3,5"))
    assert sweep.failures == {
        1: "ValueError: boom",
        2: "its process ended with exit code 9",
        3: "not with this seed",
    }
    assert [number for number, _ in sweeps.order(sweep)] == list("01234"), "equal jobs in their order"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "5 runs on 1 worker: 10 epochs to train"
    assert sum(line.startswith("done: ") for line in lines) == 2
    assert "failed: seed=2: its process ended with exit code 9 (log: multirun/day/time/2/run.log) · 3 of 5" in lines


def test_what_is_finished_is_not_run_again_and_what_failed_is(sweeps, capsys):
    sweep = sweeps.execute(sweeps.make("seed=0,1,5"))
    assert set(sweep.failures) == {1}
    capsys.readouterr()
    again = sweeps.execute(sweep)
    assert [number for number, _ in sweeps.order(sweep)] == ["0", "1", "2", "1"]
    assert set(again.failures) == {1}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "already finished: seed=0 (multirun/day/time/0)"
    assert lines[2] == "3 runs, 2 of them already finished; 1 to run on 1 worker: 2 epochs to train"
    sweeps.execute(replace(sweep, failures={}), numbers=range(1))
    assert "1 run, already finished" in capsys.readouterr().out


def test_the_longest_of_a_trajectory_comes_first_in_one_process(sweeps):
    sweep = sweeps.execute(sweeps.make("train.epochs=1,3,2"))
    assert [number for number, _ in sweeps.order(sweep)] == ["1", "2", "0"]
    assert len({process for _, process in sweeps.order(sweep)}) == 1


def test_points_that_are_the_same_run_are_run_once(sweeps):
    sweep = sweeps.make("train.decay_every=0", "train.decay_factor=0.5,0.25")
    assert len({point.fingerprint for point in sweep.points}) == 1
    sweeps.execute(sweep)
    assert len(sweeps.order(sweep)) == 1


def test_a_process_computes_with_one_number_of_threads(sweeps):
    sweep = sweeps.execute(sweeps.make("train.threads=1,2", "seed=0,5"))
    processes = {}
    for number, process in sweeps.order(sweep):
        processes.setdefault(sweep.points[int(number)].parameters["train.threads"], set()).add(process)
    assert not processes[1] & processes[2]
    assert not sweep.failures


def test_several_workers_run_side_by_side(sweeps):
    sweep = sweeps.execute(sweeps.make(f"seed=range({TOGETHER},{TOGETHER + 3})", "train.decay_every=0,1"), n_jobs=3)
    assert sorted(number for number, _ in sweeps.order(sweep)) == list("012345")
    assert len({process for _, process in sweeps.order(sweep)}) == 3
    assert not sweep.failures


def test_a_job_whose_data_could_not_be_prepared_fails_without_a_worker(sweeps):
    sweep = sweeps.make("seed=0,5")
    refused = replace(sweep.points[1], fingerprint=None, data_sha256=None, refused="no such file")
    done = sweeps.execute(replace(sweep, points=[sweep.points[0], refused]))
    assert done.failures == {1: "no such file"}
    assert [number for number, _ in sweeps.order(sweep)] == ["0"]


def test_a_batch_of_jobs_leaves_the_failures_of_other_batches(sweeps):
    sweep = sweeps.make("seed=0,1,5", failures={0: "earlier", 1: "earlier"})
    assert sweeps.execute(sweep, numbers=range(1, 3)).failures == {0: "earlier", 1: "ValueError: boom"}


def test_a_job_is_composed_when_it_is_run(sweeps):
    sweep = sweeps.execute(sweeps.make("seed=0,5,6"))
    assert sweeps.composed == [0, 1, 2], "the first one before the others, for the settings of all"
    sweeps.composed.clear()
    sweeps.execute(sweep)
    assert sweeps.composed == [0]


def test_hydra_composes_no_job_before_it_is_run(project, monkeypatch):
    composed = []
    compose = ConfigLoaderImpl.load_sweep_config

    def counting(self, master_config, sweep_overrides):
        composed.append(tuple(sweep_overrides))
        return compose(self, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counting)
    for name in ("run_in_worker", "warm_up"):
        monkeypatch.setattr(executor, name, do_nothing)
    done = project.cli("run", "+sweep=seeds", "tracking=off")
    assert done.stderr == "error: 0 of 5 runs failed, 5 were not run, see above\n"
    assert Counter(override for job in composed for override in job if override.startswith("seed")) == {
        f"seed={seed}": 1 for seed in range(5)
    }


def test_a_configuration_that_cannot_be_composed_any_more_fails_its_job_only(sweeps, project):
    sweep = sweeps.make("seed=0,5,6")
    wrong = replace(sweep.points[1], overrides=["experiment=removed"])
    done = sweeps.execute(replace(sweep, points=[sweep.points[0], wrong, sweep.points[2]]))
    assert set(done.failures) == {1}
    assert done.failures[1].startswith("its configuration cannot be composed any more: command line: no preset")
    assert [number for number, _ in sweeps.order(sweep)] == ["0", "2"]


def test_an_interrupt_ends_the_workers_and_leaves_runs_time_to_write_how_they_ended(sweeps, monkeypatch):
    sweep = sweeps.make("seed=4,5")

    def interrupt(_: object, queue: Queue) -> None:
        if queue.running:
            wait_for((sweep.folder / "0" / "started").exists)
            raise KeyboardInterrupt

    monkeypatch.setattr(executor.SweepProgress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweeps.execute(sweep)
    assert (sweep.folder / "0" / "status").read_text() == "interrupted"
    assert not any(worker.process.is_alive() for worker in sweeps.executor.workers)


def test_a_setting_that_is_changed_in_conf_while_the_sweep_runs_fails_the_jobs_that_are_left(sweeps):
    """With another setting a run would be logged elsewhere, or train again what it could reuse."""
    sweep = sweeps.make("seed=0,5,6")
    changed = replace(sweep.points[1], overrides=[*sweep.points[1].overrides, "trajectories.max_gb=3"])
    done = sweeps.execute(replace(sweep, points=[sweep.points[0], changed, sweep.points[2]]))
    assert done.failures == {1: "trajectories.max_gb: changed in conf/ while the sweep ran; start it again"}
    assert [number for number, _ in sweeps.order(sweep)] == ["0", "2"]
