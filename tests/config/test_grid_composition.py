"""The jobs of a grid are composed as Hydra composes each of them, but once for each choice of config groups."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from epochwise.common.errors import InputError
from epochwise.config import compose as composition
from epochwise.config import overrides

GRIDS = (
    (
        *("experiment=quick,writeup", "tracking=off", "+sweep=grid", "seed=7", "model.filters=[8,16],[16,32]"),
        *("train.learning_rate=1e-3", "prepare.source=digits,'a b.npz'", "tracking.experiment=grids"),
    ),
    (
        *("model={dense_units:8,filters:[1,2]},{kernel_size:2}", "train.epochs=range(2,4)", "++train.threads=1"),
        "train.decay_every=${train.epochs}",
    ),
    (),
)


@pytest.mark.parametrize("typed", GRIDS)
def test_each_job_has_the_configuration_that_hydra_composes(project, typed):
    jobs = overrides.grid(typed)
    configs = composition.load_jobs(jobs)
    with initialize_config_dir(str(project.path / "conf"), version_base="1.3"):
        for job, cfg in zip(jobs, configs, strict=True):
            expected = compose("config", job)
            OmegaConf.resolve(expected)
            assert OmegaConf.to_yaml(cfg) == OmegaConf.to_yaml(expected)
            assert cfg == expected and OmegaConf.get_type(cfg) is OmegaConf.get_type(expected)


def test_a_choice_of_groups_is_composed_once(project, monkeypatch):
    composed = []

    def counting(name, typed, *more):
        composed.append(tuple(typed))
        return compose(name, typed, *more)

    monkeypatch.setattr(composition, "compose", counting)
    jobs = overrides.grid(["experiment=quick,writeup", "seed=range(20)", "train.epochs=2,4"])
    assert len(composition.load_jobs(jobs)) == len(jobs) == 80
    assert sorted(composed) == [("experiment=quick",), ("experiment=writeup",)]


def test_one_job_does_not_change_the_next(project):
    first, second, third = composition.load_jobs([["model.filters=[1,2]"], [], ["model.dense_units=7"]])
    assert (list(first.model.filters), list(second.model.filters)) == ([1, 2], list(third.model.filters))
    assert (second.model.dense_units, third.model.dense_units) == (128, 7)


def test_every_wrong_job_is_named_in_a_line_of_its_own(project):
    with pytest.raises(InputError) as refused:
        composition.load_jobs(overrides.grid(["train.epochs=0,1", "seed=1,-1"]))
    lines = str(refused.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "train.epochs=0 seed=1",
        "train.epochs=0 seed=-1",
        "train.epochs=1 seed=-1",
    ]
    assert lines[0].endswith("train.epochs must be in 1…2147483647, got 0 (command line)")
