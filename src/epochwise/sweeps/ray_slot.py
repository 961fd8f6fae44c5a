"""A slot of a Ray cluster: what runs there. Its process is Ray's; the jobs run in a worker process that it starts.

So TensorFlow is imported once a slot, SIGTERM lets a run write how it ended, and a job that is killed leaves the slot.
Only plain values go between the command and a slot.
"""

import os
import sys
from pathlib import Path
from typing import Any

from epochwise.common.worker import GRACE, Worker


class RaySlot:
    """An actor of Ray's, with two threads: one waits for a job while the other may stop it."""

    def __init__(self, root: str, environment: dict[str, str], passed: list[str]) -> None:
        """`root` is the project; of variables whose names begin with one of `passed` only `environment` stays."""
        self.root, self.environment, self.passed = root, environment, tuple(passed)
        self.worker: Worker | None = None

    def describe(self, probe: str) -> dict[str, Any]:
        """The host as `sweeps.host.Host` has it; or why it cannot run jobs, as `failure`."""
        try:
            os.chdir(self.root)
        except OSError as error:
            return {"failure": f"{self.root}: {error.strerror}; all nodes need the project in the same folder"}
        # Ray hides GPUs and sets the number of threads by variables; the same as in the command gives the same bits.
        for name in [name for name in os.environ if name.startswith((*self.passed, "OMP_NUM_THREADS"))]:
            del os.environ[name]
        os.environ.update(self.environment)
        try:
            from epochwise.sweeps.host import describe_host  # the variables decide what it reads

            return describe_host(Path(probe)).as_plain()
        except Exception as error:  # whatever is wrong with the installation there
            return {"failure": f"{type(error).__name__}: {error}"}

    def warm_up(self, probe: str, tracked: bool) -> dict[str, Any]:
        """Describe the host, then start the worker process and let it import what runs need."""
        described = self.describe(probe)
        if "failure" in described:
            return described
        from epochwise.sweeps.job import free_memory, warm_up

        # The worker process would run Ray's own script again, which stands for the main module here.
        main = sys.modules["__main__"]
        main.__spec__ = None
        vars(main).pop("__file__", None)
        self.worker = Worker(after_task=free_memory)
        self.worker.submit("warm up", warm_up, tracked)
        result = self.worker.result()
        return {"failure": result.failure} if result.failure else described

    def run(self, folder: str, number: int) -> dict[str, Any]:
        """Run a point of the sweep in `folder`; returns `failure`, which is empty if it is done."""
        from epochwise.sweeps.job import free_memory, run_number

        if self.worker is None or not self.worker.process.is_alive():  # the job before it was killed
            self.worker = Worker(after_task=free_memory)
        self.worker.submit(number, run_number, folder, number)
        return {"failure": self.worker.result().failure}

    def stop(self) -> None:
        """End the worker process; a run in it gets the time to write that it was KILLED."""
        if self.worker:
            self.worker.process.terminate()
            self.worker.process.join(GRACE)
            self.worker.process.kill()
