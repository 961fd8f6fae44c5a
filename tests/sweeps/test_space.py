"""Ranges in Hydra's syntax: what is drawn from them, and which are refused in one line."""

import itertools
import math

import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import hydra_settings, load_jobs
from epochwise.sweeps.samplers import Draws, SampledProposer
from epochwise.sweeps.space import Space, read_space

TPE = ("hydra/sweeper=tpe",)


def space(*typed: str) -> Space:
    return read_space([*TPE, *typed], hydra_settings(list(TPE)))


def test_each_kind_of_range(project):
    found = space(
        "model.dense_dropout=interval(0.0,0.8)",
        "train.learning_rate=tag(log,interval(1e-4,1e-2))",
        "model.dense_units=interval(16,128)",
        "model.kernel_size=choice(2,3)",
        "train.batch_size=range(32,129,32)",
        "model.filters=[4,8],[8,16]",
    )
    dropout, rate, units, kernel, batch, filters = found.ranges
    assert (dropout.low, dropout.high, dropout.whole, dropout.log) == (0, 0.8, False, False)
    assert (rate.low, rate.high, rate.log) == (1e-4, 1e-2, True)
    assert (units.low, units.high, units.whole) == (16, 128, True), "the key holds whole numbers"
    assert (kernel.values, kernel.ordered) == (("2", "3"), False)
    assert (batch.values, batch.ordered) == (("32", "64", "96", "128"), True)
    assert filters.values == ("[4,8]", "[8,16]")


def test_what_is_drawn_is_typed_in_four_digits_within_the_range(project):
    (dropout,) = space("model.dense_dropout=interval(0.0,0.8)").ranges
    assert [dropout.text(drawn) for drawn in (0.123456, 0.0, 1e-9)] == ["0.1235", "0.0", "1e-09"]
    assert dropout.text(0.79999) == "0.7999", "rounded up it would be outside"
    assert dropout.text(0.8) == "0.7999", "the sampler may draw the limit itself"
    (units,) = space("model.dense_units=interval(15.5,20.2)").ranges
    assert (units.extremes, units.text(17)) == (["16", "17", "20"], "17")
    (batch,) = space("train.batch_size=range(32,129,32)").ranges
    assert batch.text(2) == "96"


BOUNDS = (  # intervals that are all that their keys allow, or end where four digits do not
    *("model.dense_dropout=interval(0.0,1.0)", "train.augment.zoom=interval(0.99993,1.0)"),
    *(
        "train.beta_1=interval(0.9,1)",
        "train.augment.shift=interval(0.12344,0.5)",
        "train.decay_factor=interval(1e-9,1)",
    ),
    *("train.learning_rate=tag(log,interval(1.23456e-7,1.23457))", "train.epsilon=tag(log,interval(3.00004e-8,1e-3))"),
    *("model.dense_units=tag(log,interval(1,300))", "prepare.image_size=interval(2,9)"),
)


def test_whatever_is_drawn_is_within_the_bounds_of_its_key(project):
    """Also where a sampler draws an end, the number next to it, or one that four digits would round to an end."""
    for one in space(*BOUNDS).ranges:
        ends = [one.low, math.nextafter(one.low, -1), math.nextafter(one.low, 2), one.high, math.nextafter(one.high, 0)]
        close = [one.high - (one.high - one.low) * 10.0**-digits for digits in range(1, 17)]
        texts = {one.text(drawn) for drawn in (*([one.low, one.high] if one.whole else [*ends, *close]),)}
        assert all(one.low <= float(text) <= one.high for text in texts)
        assert one.whole or all(float(text) < one.high for text in texts), "the upper end is never drawn"
        load_jobs([[f"{one.key}={text}"] for text in texts])  # raises InputError for a value that is not allowed


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_sampler_draws_a_value_beyond_the_bounds(project, sampler):
    narrow = ("model.dense_dropout=interval(0.99994,1.0)", "train.beta_1=interval(0.0,1.0)", *BOUNDS[5:])
    found = space(*narrow)
    study = SampledProposer(found, Draws(sampler, 1, 1, 0))
    drawn = [found.jobs(study.study.ask(study.distributions).params) for _ in range(60)]
    load_jobs(list(itertools.chain(*drawn)))


def test_a_range_is_checked_on_the_rungs_that_are_typed(project):
    """params.yaml has train.epochs: 2."""
    assert space("train.epochs=4,8", "train.cooldown_epochs=interval(0,4)").ranges[0].high == 4
    assert space("train.epochs=4,8", "train.cooldown_epochs=3", "model.dense_dropout=0.1,0.2").rungs == [4, 8]
    with pytest.raises(InputError, match=r"train.cooldown_epochs=interval\(0,4\): .*must be in 0…1 .*, got 4"):
        space("train.epochs=1,8", "train.cooldown_epochs=interval(0,4)")


def test_a_setting_has_a_job_on_each_rung_with_each_seed(project):
    found = space("train.epochs=3,1", "seed=0,1", "model.dense_dropout=interval(0.0,0.8)", "tracking=off")
    assert (found.rungs, found.varied) == ([1, 3], ["model.dense_dropout", "train.epochs", "seed"])
    jobs = found.jobs({"model.dense_dropout": 0.25})
    assert [found.name(job) for job in jobs] == [
        f"dense_dropout=0.25 epochs={epochs} seed={seed}" for epochs in (1, 3) for seed in (0, 1)
    ]
    assert all("tracking=off" in job for job in jobs)


def test_without_rungs_runs_are_as_long_as_params_yaml_says(project):
    assert space("model.dense_dropout=interval(0.0,0.8)").rungs == [2]


@pytest.mark.parametrize(
    "typed, message",
    [
        ("model.dense_dropout=interval(0.8,0.2)", "an interval goes from a number up to a larger one"),
        ("model.dense_dropout=interval(0.2,0.2)", "an interval goes from a number up to a larger one"),
        ("model.dense_dropout=interval(0.0,1.5)", "model.dense_dropout must be in [0, 1), got 1.499"),
        ("model.dense_dropout=interval(-0.5,0.5)", "model.dense_dropout must be in [0, 1), got -0.5"),
        ("model.dense_dropout=interval(-1,0.5)", "model.dense_dropout must be in [0, 1), got -1.0"),
        ("model.dense_dropout=range(0,9)", "model.dense_dropout must be in [0, 1), got 1"),
        ("model.dense_dropout=range(0.5,1.3,0.25)", "model.dense_dropout must be in [0, 1), got 1.0"),
        ("model.dense_dropout=choice(0.1,1,0.2)", "model.dense_dropout must be in [0, 1), got 1"),
        ("model.dense_units=interval(0,9)", "model.dense_units must be 1 or more, got 0"),
        ("prepare.image_size=interval(0,28)", "prepare.image_size must be 0, or in 2…4096, got 1"),
        ("prepare.image_size=range(3,-1,-1)", "prepare.image_size must be 0, or in 2…4096, got 1"),
        ("model.dense_dropout=interval(0,inf)", "an interval goes from a number up to a larger one"),
        ("train.learning_rate=tag(log,interval(0,1))", "a logarithmic interval starts above 0"),
        ("train.learning_rate=tag(loguniform,interval(1,2))", "the only tag is log, got loguniform"),
        ("train.learning_rate=tag(log,choice(1,2))", "tags are for intervals"),
        ("model.dense_units=interval(16.2,16.8)", "there is no whole number in it, and model.dense_units is one"),
        ("model.dense_units=choice(16,many)", "many"),
        (
            "model.dense_units=range(16,16)",
            "command line: model.dense_units=range(16,16): there is no value in this range",
        ),
        ("model.dense_units=range(1,5,0)", "command line: model.dense_units=range(1,5,0): "),
        ("model.dense_units=range(1,1002)", "must have 1 to 1000 values; an interval has more"),
        ("model.dense_units=range(1,1000000000)", "more than 100000 values"),
        ("model.dense_units=shuffle(range(1,5))", "shuffle() gives another order each time"),
        ("model.dens_units=interval(16,32)", "unknown key model.dens_units; did you mean model.dense_units?"),
        ("model.filters=interval(1,2)", "model.filters"),
        ("train.precision=interval(1,2)", "train.precision must be float32 or mixed_bfloat16"),
        ("train.epochs=interval(1,9)", "train.epochs needs values, such as train.epochs=1,3,9"),
        ("train.epochs=1,many", "train.epochs is a whole number, got many"),
        ("train.epochs=0,1", "train.epochs must be in 1…2147483647, got 0"),
        ("seed=interval(0,9)", "seed needs values"),
        ("seed=-1,0", "seed must be in 0…2147483647, got -1"),
        ("tracking.experiment=choice(a,b)", "tracking.experiment cannot be swept, for it changes no result"),
        ("model.dense_units=16", "a search needs a range to draw from"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials must be a whole number of 1 or more, got 0"),
        ("hydra.sweeper.batch_size=1.5", "hydra.sweeper.batch_size must be a whole number of 1 or more, got 1.5"),
        ("hydra.sweeper.seed=-1", "hydra.sweeper.seed must be a whole number of 0 or more, got -1"),
        ("hydra.sweeper.eta=0", "hydra.sweeper.eta must be a whole number of 2 or more, got 0"),
    ],
)
def test_a_bad_range_is_refused_in_one_line(project, typed, message):
    more = ["model.conv_dropout=interval(0.0,0.5)"] if typed.startswith(("hydra.", "seed", "train.epochs")) else []
    done = project.cli("run", "-m", "hydra/sweeper=tpe", *more, typed)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (project.path / "multirun").exists()


def test_a_range_is_what_it_looks_like(project):
    assert space("model.dense_dropout=range(0.1,0.4,0.1)").ranges[0].values == ("0.1", "0.2", "0.3")
