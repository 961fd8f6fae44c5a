"""How the cores are shared among jobs that run side by side."""

from collections.abc import Collection, Sequence

from omegaconf import DictConfig

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.config import overrides


def cores() -> int:
    """The cores that this process may use, by its CPU affinity and its container's share."""
    import joblib  # in here for its cost

    return int(joblib.cpu_count())


def threads_override(jobs: Sequence[Sequence[str]], settings: DictConfig) -> list[str]:
    """`train.threads=…` for jobs that run side by side, unless the user has set it: each gets its share of the cores.

    With n_jobs=-1 (as many jobs as fit) it is one thread, so that the result does not depend on the machine.
    Raises InputError if `hydra.launcher.n_jobs` is wrong.
    """
    n_jobs = settings.launcher.get("n_jobs", 1)
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or not (n_jobs == -1 or n_jobs >= 1):
        raise InputError(f"hydra.launcher.n_jobs must be 1 or more, or -1 for as many as fit, got {n_jobs!r}")
    if n_jobs == 1 or _sets_threads(jobs):
        return []
    threads = max(1, cores() // n_jobs) if n_jobs > 0 else 1
    print(f"train.threads={threads} for each of the jobs that run side by side; it is part of the result")
    return [f"train.threads={threads}"]


def worker_count(n_jobs: int, threads: Collection[int]) -> int:
    """How many worker processes run jobs side by side. `threads` are those of each job."""
    fitting = n_jobs if n_jobs > 0 else cores() // max(threads, default=1)
    return max(1, min(fitting, len(threads)))


def _sets_threads(jobs: Sequence[Sequence[str]]) -> bool:
    """Whether an override of a job gives `train.threads` a value, itself or by the preset that it names."""
    conf = find_root() / "conf"
    given = {override for job in jobs for override in job}
    return any(overrides.origin("train.threads", [override], conf) != "params.yaml" for override in given)
