"""Ranges in Hydra's syntax: what is drawn from them, and which are refused in one line."""

import pytest

from epochwise.config.compose import hydra_settings
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
    assert dropout.text(0.79999) == "0.79999", "rounded it would be outside"
    assert dropout.text(0.8) == "0.7999999999999999", "the sampler may draw the limit itself"
    (units,) = space("model.dense_units=interval(15.5,20.2)").ranges
    assert (units.extremes, units.text(17)) == (["16", "20"], "17")
    (batch,) = space("train.batch_size=range(32,129,32)").ranges
    assert batch.text(2) == "96"


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
        ("model.dense_dropout=interval(0.0,1.5)", "model.dense_dropout must be in [0, 1), got 1.4999999999999998"),
        ("model.dense_dropout=interval(-0.5,0.5)", "model.dense_dropout must be in [0, 1), got -0.5"),
        ("model.dense_dropout=interval(0,inf)", "an interval goes from a number up to a larger one"),
        ("train.learning_rate=tag(log,interval(0,1))", "a logarithmic interval starts above 0"),
        ("train.learning_rate=tag(loguniform,interval(1,2))", "the only tag is log, got loguniform"),
        ("train.learning_rate=tag(log,choice(1,2))", "tags are for intervals"),
        ("model.dense_units=interval(16.2,16.8)", "there is no whole number in it, and model.dense_units is one"),
        ("model.dense_units=choice(16,many)", "many"),
        ("model.dense_units=range(16,16)", "must have 1 to 1000 values"),
        ("model.dense_units=range(1,5,0)", "command line: model.dense_units=range(1,5,0): "),
        ("model.dense_units=range(1,1000000000)", "must have 1 to 1000 values; an interval has more"),
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
