"""The jobs of a sweep as arrays, with a cluster that is none: what is submitted, attached to, and said of failures."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from made_sweeps import finish, make_sweep
from omegaconf import DictConfig

from epochwise.common.errors import InputError, RunError
from epochwise.common.files import write_text
from epochwise.config import overrides
from epochwise.config.compose import load
from epochwise.sweeps import slurm, slurm_element, slurm_executor
from epochwise.sweeps.directory import failure_file
from epochwise.sweeps.grid import make_points
from epochwise.sweeps.host import Host
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.progress import SweepProgress
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.slurm import Slurm
from epochwise.sweeps.slurm_element import run_element
from epochwise.sweeps.slurm_executor import SlurmExecutor


class FakeSlurm:
    """Runs an element each time it is asked for states, unless it is told how elements end."""

    def __init__(self, root, most: int = 1000) -> None:
        self.root, self.most = root, most
        self.arrays, self.found, self.runs = {}, {}, True

    def max_array(self) -> int:
        return self.most

    def submit(self, batch, name, elements, threads) -> str:
        self.arrays[name] = (batch, threads, json.loads(batch.read_text())["elements"])
        self.found |= {(name, index): "PENDING" for index in range(elements)}
        return str(100 + len(self.arrays))

    def states(self, names):
        found = {key: state for key, state in self.found.items() if key[0] in names}
        for (name, index), state in self.found.items():
            if self.runs and name in names and state == "PENDING":
                self.end(name, index)
                break
        return found

    def end(self, name: str, index: int) -> None:
        batch, _, elements = self.arrays[name]
        sweep = SweepRecord.read(batch.parent)
        for number in elements[index]:
            finish(sweep.folder / str(number), number, fingerprint=sweep.points[number].fingerprint)
        self.found[name, index] = "COMPLETED"


@pytest.fixture
def sweep(project, monkeypatch) -> SweepRecord:
    """Two trajectories of three runs."""
    monkeypatch.setattr(slurm_executor, "POLL_INTERVAL", 0.0)
    typed = overrides.grid(["tracking=off", "train.epochs=1,3,2", "seed=0,1"])
    return make_sweep(project.path, [], *make_points(typed)[1])


def execute(sweep: SweepRecord, slurm: FakeSlurm) -> SweepRecord:
    def compose(number: int) -> DictConfig:
        return load(sweep.points[number].overrides)

    SlurmExecutor(sweep, slurm, None, compose).execute(range(len(sweep.points)))
    return SweepRecord.read(sweep.folder)


def test_an_element_is_a_trajectory_the_longest_run_first(sweep, project, capsys):
    slurm = FakeSlurm(project.path)
    done = execute(sweep, slurm)
    ((_, threads, elements),) = slurm.arrays.values()
    assert not done.failures and threads == 1
    epochs = [[sweep.points[number].parameters["train.epochs"] for number in element] for element in elements]
    assert epochs == [[3, 2, 1]] * 2
    printed = capsys.readouterr().out
    assert "submitted SLURM array 101; logs multirun/day/time/slurm-*.log" in printed
    assert "6 runs in 2 elements of SLURM arrays: 6 epochs to train" in printed and printed.count("done: ") == 6


def test_an_array_is_known_by_its_sweep_folder(sweep, project, capsys):
    """A copied sweep does not attach to the array of the original, and two clones' arrays have two names."""
    slurm = FakeSlurm(project.path)
    real, slurm.states = slurm.states, lambda names: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(sweep, slurm)
    shutil.copytree(sweep.folder, sweep.folder.with_name("copy"))
    slurm.states = real
    copied = SweepRecord.read(sweep.folder.with_name("copy"))
    assert not execute(copied, slurm).failures
    first, second = slurm.arrays
    assert first != second and [path.name for path in sorted(copied.folder.glob("slurm-*.json"))] == [
        "slurm-1.json",
        "slurm-2.json",
    ]


def test_what_a_file_server_shows_late_is_no_failure(sweep, project):
    """SLURM says that an element has ended before its files are seen here."""
    slurm = FakeSlurm(project.path)
    real, ended = slurm.states, set()

    def states(names):
        slurm.runs = False
        found = real(names)
        for key in found:
            if key in ended and found[key] != "COMPLETED":
                slurm.end(*key)
            ended.add(key)
        return dict.fromkeys(found, "COMPLETED")

    slurm.states = states
    assert not execute(sweep, slurm).failures
    assert not list(sweep.folder.rglob(".*")), "no temporary file stays"


def test_what_was_submitted_is_told_when_slurm_refuses_more(sweep, project, capsys):
    slurm = FakeSlurm(project.path, most=1)
    submit = slurm.submit

    def refuse(*arguments):
        if slurm.arrays:
            raise RunError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
        return submit(*arguments)

    slurm.submit = refuse
    with pytest.raises(RunError, match="QOSMax"):
        execute(sweep, slurm)
    assert "SLURM array 101 goes on without this command" in capsys.readouterr().out


def test_why_an_element_waits_is_said_once_if_that_is_unusual(sweep, project, capsys, monkeypatch):
    lines = "e-1|0|PENDING|Resources\ne-1|1|PENDING|launch failed requeued held\ne-1|2|RUNNING|None\n"
    monkeypatch.setattr(slurm, "_call", lambda command: lines)
    states = Slurm.of({}).states(["e-1"])
    assert list(states.values()) == ["PENDING", "PENDING (launch failed requeued held)", "RUNNING"]
    fake = FakeSlurm(project.path)
    real, looks = fake.states, iter(range(1000))
    held = {1: "PENDING (launch failed requeued held)", 2: "PENDING (launch failed requeued held)"}
    fake.states = lambda names: (
        real(names) if (look := next(looks)) not in held else dict.fromkeys(real(names), held[look])
    )
    assert not execute(sweep, fake).failures
    assert capsys.readouterr().out.count("SLURM lets elements wait: PENDING (launch failed requeued held)") == 1


def test_the_time_left_is_that_of_the_elements_that_run(sweep, project, monkeypatch):
    workers = []
    monkeypatch.setattr(SweepProgress, "update", lambda progress, queue: workers.append(progress.workers))
    execute(sweep, FakeSlurm(project.path))
    assert set(workers) == {1}, "FakeSlurm runs one element at a time"


def test_arrays_are_no_larger_than_slurm_takes_them(sweep, project):
    slurm = FakeSlurm(project.path, most=1)
    assert not execute(sweep, slurm).failures
    assert len(slurm.arrays) == 2


def test_the_same_command_attaches_to_what_waits_or_runs_and_submits_the_rest(sweep, project, capsys):
    slurm = FakeSlurm(project.path)
    slurm.runs = False
    real = slurm.states

    def interrupt(names):
        raise KeyboardInterrupt

    slurm.states = interrupt
    with pytest.raises(KeyboardInterrupt):
        execute(sweep, slurm)
    assert "SLURM array 101 goes on without this command" in capsys.readouterr().out
    slurm.states, slurm.runs = real, True
    (name,) = slurm.arrays
    slurm.end(name, 0)
    assert not execute(sweep, slurm).failures
    assert list(slurm.arrays) == [name]
    assert "going on with SLURM array 101" in capsys.readouterr().out
    again = execute(sweep, slurm)
    assert list(slurm.arrays) == [name] and not again.failures, "all are finished"


def test_an_array_that_slurm_has_forgotten_is_submitted_again(sweep, project):
    slurm = FakeSlurm(project.path)
    real, slurm.states = slurm.states, lambda names: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(sweep, slurm)
    slurm.states = real
    slurm.found.clear()
    assert not execute(sweep, slurm).failures
    assert len(slurm.arrays) == 2


def test_why_an_element_ended_before_its_runs(sweep, project, capsys):
    slurm = FakeSlurm(project.path)

    def states(names):
        (name,) = names
        return {(name, 0): "TIMEOUT", (name, 1): "RUNNING"} if slurm.runs else {}

    slurm.states = states
    write = slurm.submit

    def submit(batch, *rest):
        number = json.loads(batch.read_text())["elements"][1][0]
        write_text(failure_file(sweep.run_directory(sweep.points[number])), "ValueError: boom\n")
        identity = write(batch, *rest)
        slurm.runs = True
        return identity

    slurm.submit = submit
    real_sleep = slurm_executor.time.sleep

    def sleep(seconds):
        slurm.runs = False  # SLURM forgets elements some minutes after their end
        real_sleep(0)

    slurm_executor.time.sleep = sleep
    try:
        done = execute(sweep, slurm)
    finally:
        slurm_executor.time.sleep = real_sleep
    assert len(done.failures) == 6
    reasons = sorted(set(done.failures.values()))
    assert reasons[0].startswith(
        "SLURM's element 101_0 ended before the run did (TIMEOUT), see multirun/day/time/slurm-1-0"
    )
    assert reasons[1].startswith("SLURM's element 101_1 ended before the run did, see ")
    assert reasons[2] == "ValueError: boom"


def test_an_element_runs_its_points_and_writes_why_one_failed(sweep, project, monkeypatch):
    ran = []

    def run(folder: str, number: int) -> None:
        ran.append(number)
        if number == 2:
            raise InputError("not\nwith this")

    monkeypatch.setattr(slurm_element, "run_number", run)
    batch = sweep.folder / "slurm-1.json"
    write_text(batch, json.dumps({"elements": [[0], [4, 2]], "identity": slurm_element.PROCESS}))
    assert run_element(batch, 0) and not run_element(batch, 1)
    assert ran == [0, 4, 2]
    leaderboard = make_leaderboard(project.path, sweep)
    assert leaderboard.failures == [(sweep.points[2].name, "not with this")]


def test_an_element_that_runs_again_says_again_that_a_run_has_diverged(sweep, project):
    """Its node may have died after the run had ended, before anybody said so. Only a search takes that as an end."""
    replace(sweep, search={"proposals": "grid", "rungs": [1, 2, 3], "eta": 2, "keep_ties": True}).write()
    failure = {"status": "FAILED", "failure": "DivergedError: training diverged in epoch 1"}
    finish(sweep.folder / "0", 0, fingerprint=sweep.points[0].fingerprint, **failure)
    batch = sweep.folder / "slurm-1.json"
    write_text(batch, json.dumps({"elements": [[0]], "identity": slurm_element.PROCESS}))
    assert not run_element(batch, 0)
    assert failure_file(sweep.run_directory(sweep.points[0])).read_text() == "training diverged in epoch 1\n"


def test_an_element_on_another_processor_is_refused_by_the_nodes_name(sweep, project, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    identity = slurm_element.PROCESS | {"processor": {"model name": "Z80"}}
    batch = sweep.folder / "slurm-1.json"
    write_text(batch, json.dumps({"elements": [[0]], "identity": identity}))
    assert not run_element(batch, 0)
    ((_, reason),) = make_leaderboard(project.path, sweep).failures
    assert reason.startswith("node n7 has another processor (") and reason.endswith("or sweep.mixed=true")


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"sbatch": {"array": "1-2"}}, "hydra.launcher.sbatch.array: this launcher sets it"),
        ({"sbatch": {"mem": ["4G"]}}, "hydra.launcher.sbatch.mem"),
        ({"sbatch": {"clusters": "b"}}, "hydra.launcher.sbatch.clusters: this launcher sets it"),
        ({"sbatch": "mem=4G"}, "hydra.launcher.sbatch must be options by name"),
        ({"qos": "high"}, "hydra.launcher.qos: no such key; an option of sbatch goes into hydra.launcher.sbatch"),
        ({"at_once": -1}, "hydra.launcher.at_once must be a whole number of 0 or more, got -1"),
        ({"at_once": ""}, "hydra.launcher.at_once must be a whole number of 0 or more, got ''"),
        ({"partition": ""}, "hydra.launcher.partition must be a text, or null for what the cluster does, got ''"),
        ({"constraint": ["a"]}, "hydra.launcher.constraint must be a text"),
        ({"sbatch": ""}, "hydra.launcher.sbatch must be options by name"),
        ({"sbatch": {"time": "abc"}}, "hydra.launcher.sbatch.time: it has a key of its own, hydra.launcher.time"),
        *(
            ({"time": time}, "hydra.launcher.time must be minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, or")
            for time in ("abc", "", "-5", -5, 1.5, "2h", "1:2:3:4", "1-", ":30", "1-2:3:4:5", True, ["1"])
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options, reason):
    with pytest.raises(InputError, match=reason.replace(".", r"\.")):
        Slurm.of(options)


@pytest.mark.parametrize(
    "time", [60, "60", "30:00", "2:00:00", "1-12", "1-12:30", "1-12:30:00", "unlimited", "INFINITE", None]
)
def test_each_form_of_a_time_that_sbatch_takes_is_taken(time):
    assert Slurm.of({"time": time}).time == (None if time is None else str(time))


@pytest.fixture
def asked(project, monkeypatch):
    """How srun was called, with what it answers as `answer`: a node that says what this host is."""

    class Asked(list):
        answer = Host("n1", "kernel", True, slurm.PROCESS)

        def call(self, command, text=""):
            self.append([part for part in command if part.startswith("--immediate")])
            if isinstance(self.answer, Exception):
                raise self.answer
            return json.dumps(self.answer.as_plain())

    made = Asked()
    monkeypatch.setattr(slurm, "_call", made.call)
    return made


def test_a_node_is_remembered_and_asked_for_its_locks_before_each_sweep(asked):
    other = slurm.PROCESS | {"processor": {"model name": "Z80"}}
    (first,) = Slurm.of({}).hosts()
    asked.answer = replace(asked.answer, name="n2", process=other)
    assert Slurm.of({}).hosts() == [first], "the same command finds the same runs again"
    assert asked == [[], ["--immediate=5"]]
    asked.answer = replace(asked.answer, locked=False)
    (lockless,) = Slurm.of({}).hosts()
    assert (lockless.name, lockless.locked) == ("n2", False), "which is refused"


def test_if_no_node_is_free_at_once_what_one_said_before_holds_and_that_is_said(asked, capsys):
    (first,) = Slurm.of({}).hosts()
    asked.answer = RunError("srun: error: Unable to allocate resources: Requested nodes are busy")
    assert Slurm.of({}).hosts() == [first]
    assert "no node could be asked whether it sees this host's locks; one did before (srun: " in capsys.readouterr().out


def test_a_node_that_sees_no_locks_is_not_remembered(asked):
    good, asked.answer = asked.answer, replace(asked.answer, locked=False)
    assert not Slurm.of({}).hosts()[0].locked
    asked.answer = good
    assert Slurm.of({}).hosts()[0].locked and asked == [[], []]


def test_a_job_that_the_command_is_typed_in_decides_nothing(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SQUEUE_PARTITION", "SLURM_CONF", "OTHER"):
        monkeypatch.setenv(name, "1")
    printed = slurm._call(["env"]).splitlines()
    assert "SLURM_CONF=1" in printed and "OTHER=1" in printed
    assert not [line for line in printed if line.startswith(("SLURM_JOB", "SLURM_NTASKS", "SQUEUE_"))]


def test_options_are_given_to_slurm_as_they_are():
    options = {"partition": "short", "constraint": None, "time": "2:00:00"}
    options["sbatch"] = {"mem": "4G", "exclusive": True, "begin": "20:00", "hold": False}
    flags = ("--partition=short", "--mem=4G", "--exclusive")
    assert Slurm.of(options) == Slurm(flags, ("--begin=20:00",), "2:00:00", 0), "srun would wait until 20:00"


SWEEP = ("run", "-m", "hydra/launcher=slurm", "train.epochs=1,2")


def test_the_documented_options_reach_slurm_from_the_command_line(project, monkeypatch):
    commands = []

    def call(command, text=""):
        commands.append(command)
        return json.dumps(Host("n1", "kernel", True, slurm.PROCESS).as_plain())

    monkeypatch.setattr(slurm, "_call", call)
    done = project.cli(*SWEEP, "hydra.launcher.sbatch={mem: 4G}", "tracking=off", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert ["--mem=4G" in command for command in commands] == [True]


@pytest.mark.parametrize(
    ("typed", "conf", "refusal"),
    [
        ("hydra.launcher.time=abc", "", "hydra.launcher.time must be minutes, MM:SS"),
        ("hydra.launcher.partition=", "", "hydra.launcher.partition must be a text"),
        ("seed=0", "no/slurm.conf", "SLURM_CONF=no/slurm.conf: no file that can be read; name the slurm.conf of the"),
        ("seed=0", "conf", "SLURM_CONF=conf: no file that can be read"),
    ],
)
def test_what_is_wrong_is_said_before_slurm_is_called_and_before_a_server_is_asked_for(
    project, monkeypatch, typed, conf, refusal
):
    monkeypatch.setenv("SLURM_CONF", conf)
    monkeypatch.setattr(slurm, "_call", lambda command, text="": pytest.fail(f"{command} was called"))
    done = project.cli(*SWEEP, typed)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and done.stderr.startswith(f"error: {refusal}")


def srun_that_says(folder, monkeypatch, *lines: str) -> None:
    """An srun that fails with these lines."""
    script = folder / "srun"
    script.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in lines) + "exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_CONF", raising=False)


def test_slurm_without_its_configuration_is_one_line_that_names_it(project, tmp_path, monkeypatch):
    lines = ("srun: error: fetch_config: DNS SRV lookup failed",)
    lines += ("srun: fatal: Could not establish a configuration source",)
    srun_that_says(tmp_path, monkeypatch, *lines)
    done = project.cli(*SWEEP, "tracking=off")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(
        "error: SLURM is not configured on this host: name the cluster's slurm.conf in SLURM_C"
    )


def test_what_srun_says_names_it_once(project, tmp_path, monkeypatch):
    srun_that_says(tmp_path, monkeypatch, "srun: error: invalid partition specified: nowhere", "srun: error: Unable")
    done = project.cli(*SWEEP, "tracking=off")
    assert done.stderr == "error: srun: invalid partition specified: nowhere Unable\n"
