"""Run the jobs of a sweep in slots of a Ray cluster, which may grow and shrink while they run."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from hydra.types import HydraContext
from omegaconf import DictConfig

from epochwise.common.directory_locks import lock_file_of
from epochwise.common.errors import InputError, RunError
from epochwise.common.hosts import kernel
from epochwise.common.paths import main_root
from epochwise.common.worker import Worker
from epochwise.sweeps.elsewhere import server_problem
from epochwise.sweeps.executor import POLL_INTERVAL, SweepExecutor
from epochwise.sweeps.host import Host, problem_of
from epochwise.sweeps.job import free_memory
from epochwise.sweeps.progress import SweepProgress
from epochwise.sweeps.ray_cluster import WARM_UP, RayCluster, Slot
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.scheduler import Job, Queue
from epochwise.trajectory.identity import PROCESS

MAX_AGAIN = 3  # times that a job runs again after its slot was lost
PATIENCE = 60.0  # seconds without a slot that is ready until a line says so; to start one takes ten


class RayExecutor(SweepExecutor):
    """As SweepExecutor, with slots of a cluster in place of worker processes. Fetching and publishing are done here."""

    def __init__(
        self, sweep: SweepRecord, cluster: RayCluster, context: HydraContext, compose: Callable[[int], DictConfig]
    ) -> None:
        super().__init__(sweep, -1, context, compose)
        self.cluster = cluster
        self.slots: list[Slot] = []
        self.lost: Counter[int] = Counter()  # how often the slot of each job was lost
        self.tracked, self.mixed = True, sweep.mixed
        self.processors = 0.0  # of the cluster when it was looked at last
        self.last_look = 0.0  # when that was, by time.monotonic
        self.unready: float | None = time.monotonic()  # since when no slot is ready; None once that was said

    def take_over(self, earlier: SweepExecutor) -> None:
        super().take_over(earlier)
        assert isinstance(earlier, RayExecutor)
        self.slots, self.processors = earlier.slots, earlier.processors

    def stop_workers(self) -> None:
        self.cluster.close(self.slots)
        self.slots = []
        super().stop_workers()

    def _count_workers(self, threads: Sequence[int]) -> int:
        """Raises InputError if a job needs more processors than a node has."""
        for number in sorted(set(threads), reverse=True):
            if not self.cluster.slots(number):
                most = max((node["Resources"].get("CPU", 0) for node in self.cluster.nodes()), default=0)
                raise InputError(
                    f"train.threads={number}: no node of the Ray cluster has so many CPUs, the largest has {most:g}"
                )
        return min(len(threads), self.cluster.slots(max(threads))) if threads else 0

    def _warm_up(self, tracked: bool) -> None:
        self.tracked = tracked

    def _next_job(self, queue: Queue) -> Job | None:
        if time.monotonic() > self.last_look + POLL_INTERVAL:
            self._adapt(queue)
            self.last_look = time.monotonic()
        threads = {slot.threads for slot in self.slots if slot.idle}
        return queue.next(threads) if threads else None

    def _adapt(self, queue: Queue) -> None:
        """Ask for as many slots as the cluster has room for and trajectories can use; give up those without room."""
        before, self.processors = self.processors, self.cluster.processors()
        trajectories = queue.trajectories()
        for slot in [slot for slot in self.slots if slot.refused or (slot.idle and slot.threads not in trajectories)]:
            # A node that came or went may have been the one that was refused. And a slot for which there is no job
            # holds processors that another one may wait for.
            if slot.idle or before != self.processors:
                self._give_up(slot)
        left = self.processors - sum(slot.threads for slot in self.slots)
        for slot in [slot for slot in self.slots if slot.task is WARM_UP]:
            if left < 0:  # Ray would keep it waiting for processors that are gone
                left += slot.threads
                self._give_up(slot)
        for threads, wanted in trajectories.items():
            of_them = [slot for slot in self.slots if slot.threads == threads and not slot.refused]
            missing = min(wanted, self.cluster.slots(threads)) - len(of_them)
            for other in [slot for slot in self.slots if slot.idle and slot.threads != threads]:
                if missing > 0 and left < threads and not queue.next({other.threads}):
                    left += other.threads
                    self._give_up(other)
            for _ in range(min(missing, int(left // threads))):
                # The command holds the lock of the sweep's folder, which a process on the node tries.
                probe = lock_file_of(main_root(), self.sweep.folder)
                self.slots.append(self.cluster.open(threads, probe, self.tracked))
                left -= threads
        refused = [slot.refused for slot in self.slots if slot.refused]
        if queue.waiting and refused and len(refused) == len(self.slots):
            raise RunError(f"no slot of the Ray cluster can run the jobs: {refused[0]}")
        ready = [slot for slot in self.slots if not slot.refused and slot.task is not WARM_UP]
        self.size = max(1, len(ready))
        self._say_if_unready(bool(ready))

    def _say_if_unready(self, ready: bool) -> None:
        """Print once if for long no slot is ready: all nodes are gone, or others use their CPUs."""
        if ready:
            self.unready = time.monotonic()
        elif self.unready is not None and time.monotonic() > self.unready + PATIENCE:
            print("no slot of the Ray cluster is ready; waiting for a node with CPUs that nobody uses", flush=True)
            self.unready = None

    def _give_up(self, slot: Slot) -> None:
        self.slots.remove(slot)
        self.cluster.close([slot])

    def _wait(self, seconds: float) -> Sequence[Slot]:  # type: ignore[override]
        return self.cluster.wait(self.slots, seconds)

    def _submit(self, job: Job, cfg: DictConfig) -> None:
        slot = next(slot for slot in self.slots if slot.idle and slot.threads == job.threads)
        slot.submit(job, "run", str(self.sweep.folder), job.number)

    def _take_result(self, slot: Slot, queue: Queue, progress: SweepProgress) -> None:  # type: ignore[override]
        task, result = slot.task, slot.result()
        if result.lost:
            self._give_up(slot)
        if isinstance(task, Job):
            self._take_end(task, result.failure, result.lost, queue, progress)
        elif result.failure and not result.lost:
            self._refuse(slot, result.failure)
        elif not result.lost:
            host = Host(**result.value)
            problem = problem_of(host, PROCESS, self.mixed)
            if not problem and host.kernel != kernel():
                problem = server_problem(self.tracked)
            if problem:
                self._refuse(slot, problem)

    def _take_end(self, job: Job, failure: str, lost: bool, queue: Queue, progress: SweepProgress) -> None:
        if not lost:
            self._end(queue, progress, job, failure)
            return
        self.lost[job.number] += 1
        if self.lost[job.number] > MAX_AGAIN:
            self._end(queue, progress, job, f"its slot was lost {self.lost[job.number]} times ({failure})")
            return
        again = f"it runs again ({self.lost[job.number]} of {MAX_AGAIN})"
        progress.console.print(f"lost: {job.name}: its slot is gone ({failure}); {again}", markup=False)
        queue.end(job, again=True)

    def _refuse(self, slot: Slot, reason: str) -> None:
        slot.refused = reason
        print(f"a slot is not used: {reason}", flush=True)

    def _worker_for_publishing(self) -> Worker:
        worker = Worker(after_task=free_memory)
        self.workers.append(worker)
        return worker
