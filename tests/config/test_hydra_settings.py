"""Keys of launchers and sweepers on the command line: what is documented is taken, what is wrong gets the right one."""

import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import hydra_settings

RAY, SLURM, HALVING = "hydra/launcher=ray", "hydra/launcher=slurm", "hydra/sweeper=halving"


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ([RAY, "hydra.launcher.resources={fast: 0.01}"], "resources", {"fast": 0.01}),
        ([RAY, "+hydra.launcher.resources.fast=0.01"], "resources", {"fast": 0.01}),
        ([SLURM, "hydra.launcher.sbatch={mem: 4G, exclude: n7}"], "sbatch", {"mem": "4G", "exclude": "n7"}),
        ([SLURM, "hydra.launcher={partition: short}"], "partition", "short"),
        (["hydra/launcher=basic", "hydra.sweep.dir=multirun/x"], "x", None),
    ],
)
def test_what_is_documented_is_taken(project, typed, key, value):
    assert hydra_settings(typed).launcher.get(key) == value


UNKNOWN = {
    (
        "hydra.sweeper.etaa=2",
    ): "unknown key hydra.sweeper.etaa; did you mean hydra.sweeper.eta of hydra/sweeper=halving",
    (HALVING, "hydra.sweeper.etaa=2"): "unknown key hydra.sweeper.etaa; did you mean hydra.sweeper.eta?",
    (HALVING, "+hydra.sweeper.etaa=2"): "unknown key hydra.sweeper.etaa; did you mean hydra.sweeper.eta?",
    (
        "hydra.sweeper.eta=2",
    ): "hydra/sweeper=grid has no key hydra.sweeper.eta; hydra/sweeper=halving, random, tpe have it",
    ("hydra.launcher.n_job=2",): "unknown key hydra.launcher.n_job; did you mean hydra.launcher.n_jobs?",
    ("hydra.launcher={n_job: 2}",): "unknown key hydra.launcher.n_job; did you mean hydra.launcher.n_jobs?",
    (
        SLURM,
        "hydra.launcher.partitoin=x",
    ): "unknown key hydra.launcher.partitoin; did you mean hydra.launcher.partition?",
    (
        "hydra.launcher.partition=x",
    ): "hydra/launcher=serial has no key hydra.launcher.partition; hydra/launcher=slurm has",
    (
        RAY,
        "hydra.launcher.n_jobs=2",
    ): "hydra/launcher=ray has no key hydra.launcher.n_jobs; hydra/launcher=parallel, ",
    (SLURM, "hydra.launcher.sbatch.mem=4G"): "sbatch.mem is no key of its own; write 'hydra.launcher.sbatch={mem: 4G}'",
    (
        "hydra.launcher=ray",
    ): "hydra.launcher is a mapping; hydra/launcher=NAME chooses a launcher; there is parallel, ray,",
    ("hydra.sweeper=tpe",): "hydra.sweeper is a mapping; hydra/sweeper=NAME chooses a sweeper; there is grid, halving,",
    ("~hydra.launcher.n_jobs",): "~hydra.launcher.n_jobs: hydra.launcher.n_jobs cannot be removed, only changed",
    ("hydra.swep.dir=multirun/x",): "unknown key hydra.swep.dir; did you mean hydra.sweep.dir?",
    ("hydra/luncher=ray",): "unknown key hydra/luncher; did you mean hydra/launcher?",
    ("hydra/launcher=rey",): "no hydra/launcher=rey; there is basic, parallel, ray, serial, slurm",
}


@pytest.mark.parametrize("typed", UNKNOWN)
def test_an_unknown_key_gets_the_nearest_right_one_or_what_has_it(project, typed):
    with pytest.raises(InputError) as refused:
        hydra_settings(typed)
    assert UNKNOWN[typed] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_grid_can_be_given_as_a_mapping_and_added_to(project):
    assert hydra_settings(["hydra.sweeper.params={seed: 3}"]).sweeper.params.seed == 3
    assert hydra_settings(["+sweep=grid", "+hydra.sweeper.params.seed=3"]).sweeper.params.seed == 3
    with pytest.raises(InputError, match=r"unknown key hydra.sweeper.params.seed; with a plus it is added: \+hydra"):
        hydra_settings(["+sweep=grid", "hydra.sweeper.params={seed: 3}"])
