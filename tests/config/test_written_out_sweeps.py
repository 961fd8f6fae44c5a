"""Ranges of decimal numbers and globs are written out as a person would write them."""

import re

import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import hydra_settings
from epochwise.config.overrides import written_out
from epochwise.sweeps.grid import grid_jobs, make_points, point_names

KEY = "model.dense_dropout"


@pytest.mark.parametrize(
    "sweep, values",
    [
        ("range(0.1,0.4,0.1)", "0.1,0.2,0.3"),
        ("range(0.1,1.0,0.1)", "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"),
        ("range(0.4,0.1,-0.1)", "0.4,0.3,0.2"),
        ("range(0.3,-0.3,-0.2)", "0.3,0.1,-0.1"),
        ("range(0,1,0.25)", "0.0,0.25,0.5,0.75"),
        ("range(start=0.1,stop=0.35,step=0.05)", "0.1,0.15,0.2,0.25,0.3"),
        ("range(0.0001,0.0004,0.0001)", "0.0001,0.0002,0.0003"),
        ("range(1e-5,3e-5,1e-5)", "1e-05,2e-05"),
        ("float(range(1,4))", "1.0,2.0,3.0"),
        ("sort(range(0.4,0.1,-0.1))", "0.2,0.3,0.4"),
        ("range(0.5)", "0.0"),
        ("tag(t,range(0.1,0.3,0.1))", "0.1,0.2"),
    ],
)
def test_a_range_of_decimal_numbers(project, sweep, values):
    assert written_out(f"{KEY}={sweep}", project.path / "conf") == f"{KEY}={values}"


@pytest.mark.parametrize(
    "override",
    [
        f"{KEY}=0.1,0.2",
        "train.epochs=range(1,4)",
        "seed=range(10000000000000,10000000000002)",
        f"{KEY}=0.30000000000000004",
        "a=b",
    ],
)
def test_all_else_stays_as_it_was_typed(project, override):
    assert written_out(override, project.path / "conf") == override


@pytest.mark.parametrize(
    "override, problem",
    [
        (f"{KEY}=range(0.1,0.4,0.0)", "the step of a range must be a number other than 0"),
        (f"{KEY}=range(0.4,0.1,0.1)", "there is no value in this range"),
        (f"{KEY}=range(0.0,1e9,0.001)", "more than 100000 values"),
        (f"{KEY}=range(0,inf)", "the ends of a range must be finite numbers"),
        ("train.epochs=range(4,1)", "there is no value in this range"),
        ("train.epochs=range(1,4,0)", "the step of a range must be a number other than 0"),
        ("train.epochs=range(1,1000000000)", "more than 100000 values"),
        (f"{KEY}=glob(*)", "glob() chooses presets, as in experiment=glob(*)"),
        ("experiment=glob(nope*)", "the pattern meets none of fast, quick, writeup"),
        ("experiment=glob(*,exclude=*)", "the pattern meets none of fast, quick, writeup"),
    ],
)
def test_a_sweep_over_nothing_or_without_end_is_refused(project, override, problem):
    with pytest.raises(InputError, match=f"^command line: .*{re.escape(problem)}"):
        written_out(override, project.path / "conf")
    done = project.cli("run", "-m", override)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and problem in done.stderr


@pytest.mark.parametrize(
    "value",
    ["range(1,3),7", "1,choice(2,3)", "1,interval(2,3)", "[range(1,3)]", "{a:[choice(1,2)]}", "glob(*),a"],
)
def test_a_sweep_inside_other_values_is_refused(project, value):
    """Hydra's parser takes them, and its sweeper ends in an error of OmegaConf's."""
    done = project.cli("run", "-m", f"train.epochs={value}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"train.epochs={value}; range() and the like stand alone, not among other values" in done.stderr


@pytest.mark.parametrize(
    "glob, presets",
    [
        ("glob(*)", "fast,quick,writeup"),
        ("glob(q*)", "quick"),
        ("glob([f*,w*])", "fast,writeup"),
        ("glob(*,exclude=quick)", "fast,writeup"),
    ],
)
def test_a_glob_is_the_presets_that_match(project, glob, presets):
    assert written_out(f"experiment={glob}", project.path / "conf") == f"experiment={presets}"
    jobs = grid_jobs([f"experiment={glob}"], hydra_settings([]))
    assert jobs == [[f"experiment={preset}"] for preset in presets.split(",")]


def test_other_groups_cannot_be_swept_by_glob_either(project):
    for group in ("tracking", "+sweep", "hydra/launcher"):
        done = project.cli("run", "-m", f"{group}=glob(*)")
        assert done.returncode == 2 and "cannot be swept" in done.stderr


def test_names_parameters_and_fingerprints_have_the_clean_number(project):
    jobs = grid_jobs([f"{KEY}=range(0.1,0.4,0.1)"], hydra_settings([]))
    _, points = make_points(jobs)
    assert point_names(jobs) == ["dense_dropout=0.1", "dense_dropout=0.2", "dense_dropout=0.3"]
    assert [point.parameters[KEY] for point in points] == [0.1, 0.2, 0.3]
    _, typed = make_points([[f"{KEY}=0.3"]])
    assert points[2].fingerprint == typed[0].fingerprint


@pytest.mark.slow
def test_a_sweep_over_a_range_on_the_command_line_and_in_a_preset(project):
    quick = ("train.epochs=1", "model.dense_units=8", "tracking=off")
    printed = project.ok("epochwise", "run", "-m", *quick, f"{KEY}=range(0.1,0.4,0.1)")
    for value in ("0.1", "0.2", "0.3"):
        assert f"done: dense_dropout={value} ·" in printed
    preset = project.path / "conf/sweep/rates.yaml"
    preset.write_text(
        f"# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      {KEY}: range(0.1,0.4,0.1)\n"
    )
    again = project.ok("epochwise", "run", "+sweep=rates", *quick)
    assert "continuing sweep" in again and "3 runs, already finished" in again
    assert not [
        path for path in project.path.glob("multirun/**/*") if path.is_file() and b"0000004" in path.read_bytes()
    ]
