"""Own networks before they are trained: built and tried in a process of its own, and watched by DVC.

The process that checks a sweep or a project neither imports TensorFlow nor executes a user's file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root
from epochwise.common.worker import Worker, stop
from epochwise.pipeline.datasets import shape_and_classes
from epochwise.training.network_source import is_own, read_source

THREADS = 1  # of the process; what is checked does not depend on it


def check_builds(configs: Sequence[DictConfig]) -> list[str]:
    """What is wrong with the network of each configuration, an empty text if nothing is.

    Each own network is built once for all configurations that give it the same parameters and data. Their data and
    their networks' text have been checked.
    """
    problems = {"": ""}  # by what decides the network; nothing does that of the write-up's, which is checked elsewhere
    keys = [_deciding(cfg) for cfg in configs]
    workers: list[Worker] = []
    try:
        for key, cfg in zip(keys, configs, strict=True):
            if key in problems:
                continue
            if not workers:
                workers = [Worker()]
            shape, classes = shape_and_classes(cfg)
            workers[0].submit(key, _try, OmegaConf.to_container(cfg), list(shape), classes)
            result = workers[0].result()
            problems[key] = result.failure
            if not result.alive:
                problems[key], workers = f"{cfg.model.network}: {result.failure}", []
    finally:
        stop(workers)
    return [problems[key] for key in keys]


def check_watched(network: str, dependencies: Sequence[str]) -> None:
    """Raise InputError unless DVC's stage train, with these dependencies, notices an edit of an own network's files."""
    if not is_own(network):
        return
    source = read_source(network, find_root())
    for name in source.files:
        if not any(Path(name).is_relative_to(dependency) for dependency in dependencies):
            raise InputError(
                f"dvc.yaml: stage train does not watch {name}, so an edit of it would train nothing; "
                "move it into networks/, or add it under the deps of train"
            )


def _deciding(cfg: DictConfig) -> str:
    """All that decides whether the network can be built and trained, as one text; empty for the write-up's network."""
    if not is_own(cfg.model.network):
        return ""
    shape, classes = shape_and_classes(cfg)
    values: Any = OmegaConf.to_container(cfg.model)
    return json.dumps([values, cfg.train.precision, list(shape), classes], sort_keys=True)


def _try(values: dict[str, Any], image_shape: Sequence[int], classes: int) -> None:
    """Build and try a network in this process."""
    from epochwise.training.network_check import check_own_network  # imports TensorFlow

    cfg = OmegaConf.create(values)
    cfg.train.threads = THREADS
    check_own_network(cfg, image_shape, classes)
