"""Run the jobs of a sweep as arrays of SLURM's, and follow them. The arrays go on without this process.

Each array has a file in the sweep's folder, `slurm-N.json`, written before the array is submitted under a name of its
own. So the same command finds the arrays again, whenever the one before it ended.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.types import HydraContext
from omegaconf import DictConfig

from epochwise.common.errors import InputError, RunError
from epochwise.common.files import read_json, write_json
from epochwise.common.paths import display_path, find_root
from epochwise.common.wording import counted
from epochwise.sweeps.directory import failure_file, finished_runs, read_failure
from epochwise.sweeps.executor import SweepExecutor
from epochwise.sweeps.progress import SweepProgress
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.scheduler import Job, Queue, StoreView, own_epochs, untrained
from epochwise.sweeps.slurm import ENDED, Slurm
from epochwise.trajectory.identity import PROCESS

POLL_INTERVAL = 5.0  # seconds between two looks at the arrays; SLURM's own daemons work in such steps
BATCH_NAME = re.compile(r"slurm-(\d+)\.json")


@dataclass(frozen=True)
class Element:
    """An element of an array, as SLURM knows it."""

    array: str  # the name of the array
    index: int
    id: str  # as `scancel` takes it
    log: Path


class SlurmExecutor(SweepExecutor):
    """As SweepExecutor, but for the worker processes."""

    def __init__(
        self, sweep: SweepRecord, slurm: Slurm, context: HydraContext, compose: Callable[[int], DictConfig]
    ) -> None:
        super().__init__(sweep, 1, context, compose)
        self.slurm = slurm
        self.arrays: dict[str, str] = {}  # the ids of those that are at work, by their names
        self.begun: set[int] = set()  # numbers of the jobs whose run has begun
        self.doubtful: dict[int, str] = {}  # of those whose files do not say yet how they ended: their elements' states

    def _count_workers(self, threads: Sequence[int]) -> int:
        return 1  # the jobs run elsewhere

    def _warm_up(self, tracked: bool) -> None:
        pass

    def _run(self, jobs: Sequence[Job], finished: int) -> None:
        try:
            at_work = self._attach(jobs)
            elements = at_work | self._submit_all([job for job in jobs if job.number not in at_work])
            if elements:
                how = "going on with" if len(at_work) == len(elements) else "submitted"
                ids, logs = ", ".join(self.arrays.values()), f"{display_path(self.sweep.folder)}/slurm-*.log"
                print(f"{how} SLURM array {ids}; logs {logs}")
            count = len({(one.array, one.index) for one in elements.values()})
            where = f"in {counted(count, 'element')} of SLURM arrays"
            progress = SweepProgress(jobs, finished, max(1, count), where)
            with progress.displayed():
                self._follow({job.number: job for job in jobs}, elements, progress)
        except (KeyboardInterrupt, SystemExit, RunError):
            if self.arrays:
                ids = " ".join(self.arrays.values())
                print(
                    f"SLURM array {ids} goes on without this command; the same command attaches to it again, "
                    f"`epochwise compare` shows what is finished, `scancel {ids}` ends it",
                    flush=True,
                )
            raise

    def _attach(self, jobs: Sequence[Job]) -> dict[int, Element]:
        """The elements of earlier arrays that wait or run, by the numbers of their jobs."""
        batches = self._batches()
        states = self.slurm.states([content["name"] for content in batches.values()]) if batches else {}
        if states is None:
            raise RunError("squeue does not answer, so it is not known what of the sweep is at work; try again later")
        wanted, found = {job.number for job in jobs}, dict[int, Element]()
        for path, content in batches.items():
            for index, numbers in enumerate(content["elements"]):
                state = states.get((content["name"], index), ENDED[0])
                if state not in ENDED and (here := wanted.intersection(numbers)):
                    found |= dict.fromkeys(here, _element(path, content, index))
                    self.arrays[content["name"]] = content["id"] or content["name"]
        return found

    def _submit_all(self, jobs: Sequence[Job]) -> dict[int, Element]:
        """Submit arrays with an element for each trajectory of these jobs; those with the most to train come first."""
        trajectories: dict[tuple[int, str], list[Job]] = {}
        for job in sorted(jobs, key=lambda job: (-job.epochs, job.number)):
            failure_file(job.run).unlink(missing_ok=True)
            trajectories.setdefault((job.threads, job.segments[0][0]), []).append(job)
        view, submitted = StoreView(whole=True), dict[int, Element]()
        epochs = own_epochs({job.number: untrained(job, view) for job in jobs})
        most = self.slurm.max_array() if jobs else 1
        for threads in sorted({threads for threads, _ in trajectories}):
            ordered = [group for (number, _), group in trajectories.items() if number == threads]
            ordered.sort(key=lambda group: -sum(epochs[job.number] for job in group))
            for start in range(0, len(ordered), most):
                submitted |= self._submit_array(ordered[start : start + most], threads)
        return submitted

    def _submit_array(self, groups: Sequence[Sequence[Job]], threads: int) -> dict[int, Element]:
        names = (path.name for path in self.sweep.folder.iterdir())
        numbers = [int(match[1]) for name in names if (match := BATCH_NAME.fullmatch(name))]
        path = self.sweep.folder / f"slurm-{max(numbers, default=0) + 1}.json"
        content = {
            "name": self._name(path),
            "elements": [[job.number for job in group] for group in groups],
            "identity": PROCESS,
            "id": "",
        }
        write_json(path, content)
        content["id"] = self.slurm.submit(path, str(content["name"]), len(groups), threads)
        self.arrays[str(content["name"])] = str(content["id"])
        write_json(path, content)
        return {job.number: _element(path, content, index) for index, group in enumerate(groups) for job in group}

    def _follow(self, jobs: dict[int, Job], elements: dict[int, Element], progress: SweepProgress) -> None:
        """Say how jobs end until all have ended."""
        queue, last_states = Queue(jobs.values()), dict[tuple[str, int], str]()
        names, warned = sorted({element.array for element in elements.values()}), False
        seen = set[str]()  # states
        while queue.waiting or queue.running:
            states = self.slurm.states(names)
            if states is None and not warned:
                print("squeue does not answer; the jobs go on, and this command waits for it", flush=True)
            warned = states is None
            for state in sorted({*(states or {}).values()} - seen):
                if state.startswith("PENDING ("):
                    print(f"SLURM lets elements wait: {state}; `squeue` and `scontrol show job` say more", flush=True)
            seen.update((states or {}).values())
            for job in [*queue.running, *queue.waiting]:
                element = elements[job.number]
                key = (element.array, element.index)
                state = last_states.get(key, "") if states is None else states.get(key, "")
                if state.startswith(("PENDING", "CONFIGURING")) or (states is None and not state):
                    self.doubtful.pop(job.number, None)  # it has ended on a node that died, and is to run again
                    continue
                self._look(job, element, state, queue, progress)
            last_states |= states or {}
            progress.workers = max(1, list(last_states.values()).count("RUNNING"))
            progress.update(queue)
            if queue.waiting or queue.running:
                time.sleep(POLL_INTERVAL)

    def _look(self, job: Job, element: Element, state: str, queue: Queue, progress: SweepProgress) -> None:
        """See how a job is whose element runs, or has ended: then SLURM gives its `state`, or has forgotten it."""
        point, over = self.sweep.points[job.number], not state or state in ENDED
        own = replace(self.sweep, rerun=True)  # looks in the job's own directory only
        done = bool(finished_runs(find_root(), own, [point]))
        failure = read_failure(job.run) if not done and failure_file(job.run).is_file() else ""
        if over and not done and not failure:
            if job.number not in self.doubtful:  # a file server may show what has been written only after some time
                self.doubtful[job.number] = state
                _look_anew(self.sweep.folder, job.run.path)
                return
            state = state or self.doubtful[job.number]  # SLURM may have forgotten it since
            how = f" ({state})" if state else ""
            failure = f"SLURM's element {element.id} ended before the run did{how}, see {display_path(element.log)}"
        ended = bool(done or failure or over)
        started = self._started(job) if ended or job.number not in self.begun else None
        if job.number not in self.begun and (ended or started):
            self.begun.add(job.number)
            queue.start(job)
            progress.start(job)
        if started:
            progress.started[job.number] = started / 1000
        if ended:
            self._end(queue, progress, job, failure)

    def _started(self, job: Job) -> int | None:
        """When the job's run began, in milliseconds since 1970, perhaps before this command did; None if not yet."""
        try:
            return job.run.read_record().started
        except InputError:
            return None

    def _batches(self) -> dict[Path, dict]:
        """The files of this sweep's arrays, in order, with what they hold; those of a sweep that was copied are not."""
        paths = [path for path in self.sweep.folder.glob("slurm-*.json") if BATCH_NAME.fullmatch(path.name)]
        found = {path: read_json(path) for path in sorted(paths, key=lambda path: (len(path.name), path.name))}
        return {path: content for path, content in found.items() if content["name"] == self._name(path)}

    def _name(self, batch: Path) -> str:
        """The name of an array. With its file's path in it, for a cluster is shared by people and by clones."""
        place = hashlib.sha256(str(batch).encode()).hexdigest()[:8]
        return f"epochwise-{self.sweep.id}-{batch.stem.rpartition('-')[2]}-{place}"


def _look_anew(*folders: Path) -> None:
    """Let a file server's client forget what it knows of folders: it does when it makes a file in them itself."""
    for folder in folders:
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix="."):
            pass


def _element(batch: Path, content: dict, index: int) -> Element:
    name = f"{content['id'] or content['name']}_{index}"
    return Element(content["name"], index, name, batch.with_name(f"{batch.stem}-{index}.log"))
