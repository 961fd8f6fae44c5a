"""Successive halving from its command to its leaderboard, with runs that train nothing."""

import re
from dataclasses import replace

import pytest
from conftest import Project
from fake_runs import DIVERGED, DIVERGES, DIVERGES_LATER, IS_KILLED, faked, trained_epochs  # noqa: F401
from made_sweeps import make_search

from epochwise.common.files import read_json
from epochwise.sweeps import search
from epochwise.sweeps.directory import known_sweeps
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.publication import sweep_content
from epochwise.sweeps.record import SweepRecord
from epochwise.sweeps.search import with_batch

pytestmark = pytest.mark.usefixtures("faked")

HALVING = ("run", "-m", "hydra/sweeper=halving", "tracking=off")
RUNGS = "train.epochs=1,3,9"
NINE = "model.dense_units=100,110,120,130,140,150,160,170,180"  # the more, the better, by more than chance
PROMOTED = [[100, 110, 120, 130, 140, 150, 160, 170, 180], [160, 170, 180], [180]]  # on each rung


def output(project: Project, *arguments: str) -> str:
    done = project.cli(*arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def latest(project: Project) -> SweepRecord:
    return known_sweeps(project.path)[0]


def on_rungs(sweep: SweepRecord) -> list[list[int]]:
    """The dense_units of the settings on each rung."""
    rungs: dict[int, list[int]] = {}
    for point in sweep.points:
        rungs.setdefault(point.parameters["train.epochs"], []).append(point.parameters["model.dense_units"])
    return list(rungs.values())


def test_the_best_third_goes_on_and_no_epoch_is_trained_twice(project):
    printed = output(project, *HALVING, RUNGS, NINE)
    sweep = latest(project)
    assert on_rungs(sweep) == PROMOTED
    assert [point.job for point in sweep.points] == list(range(13))
    assert sum(trained_epochs(project.path)) == 9 * 1 + 3 * 2 + 1 * 6
    rows = read_json(sweep.folder / "leaderboard.json")["rows"]
    assert [(row["model.dense_units"], row["epochs"], row["dropped_at"]) for row in rows] == [
        *((180, 9, None), (170, 3, 3), (160, 3, 3)),
        *((units, 1, 1) for units in (150, 140, 130, 120, 110, 100)),
    ]
    assert "after 1 epoch: 3 of 9 settings went on\n" in printed
    assert "after 3 epochs: 1 of 3 settings went on\n" in printed
    assert "ranked by the rung that was reached, then by val_accuracy" in printed


@pytest.mark.parametrize("workers", [2, 3])
def test_promotions_are_the_same_with_any_number_of_workers(project, workers):
    parallel = ("hydra/launcher=parallel", f"hydra.launcher.n_jobs={workers}", "train.threads=1")
    output(project, *HALVING, *parallel, RUNGS, NINE)
    assert on_rungs(latest(project)) == PROMOTED


def test_ties_go_on_unless_they_shall_not(project):
    """Of 6 settings two go on; 146 is within chance of 150, and of 250 nothing is."""
    settings = "model.dense_units=100,110,120,146,150,250"
    printed = output(project, *HALVING, "train.epochs=1,3", settings)
    assert on_rungs(latest(project))[1] == [146, 150, 250]
    tie = "2 of 6 settings went on, and 1 more within chance of the last of these"
    assert f"{tie} (McNemar's exact test, p of 0.05 or more): dense_units=146 (p = 0.12)" in printed
    output(project, *HALVING, "hydra.sweeper.keep_ties=false", "train.epochs=1,3", settings)
    assert on_rungs(latest(project))[1] == [150, 250]


def test_after_a_killed_worker_nothing_is_decided_and_the_same_command_goes_on(project):
    (project.path / IS_KILLED).write_text("180")
    done = project.cli(*HALVING, RUNGS, NINE)
    assert done.returncode == 1 and "error: 1 of 9 runs failed" in done.stderr
    assert on_rungs(latest(project)) == PROMOTED[:1], "the best setting may be the one that was killed"
    printed = output(project, *HALVING, RUNGS, NINE)
    assert f"continuing sweep {latest(project).id}" in printed
    assert on_rungs(latest(project)) == PROMOTED and len(known_sweeps(project.path)) == 1
    assert sum(trained_epochs(project.path)) == 21


def test_a_sweep_again_runs_nothing_and_says_the_same(project):
    output(project, *HALVING, RUNGS, NINE)
    leaderboard = (latest(project).folder / "leaderboard.md").read_text()
    (project.path / "trained.txt").unlink()
    output(project, *HALVING, RUNGS, NINE)
    assert trained_epochs(project.path) == [] and on_rungs(latest(project)) == PROMOTED
    assert (latest(project).folder / "leaderboard.md").read_text() == leaderboard


def test_a_setting_that_diverges_is_dropped_and_the_search_goes_on(project):
    done = project.cli(*HALVING, "train.epochs=1,3", f"model.dense_units={DIVERGES},100,200")
    assert done.returncode == 1 and "error: 1 of 4 runs failed, see above" in done.stderr
    assert on_rungs(latest(project)) == [[DIVERGES, 100, 200], [200]]
    assert "after 1 epoch: 1 of 3 settings went on; 1 diverged" in done.stdout


@pytest.mark.parametrize("again", [(), ("hydra.sweeper.eta=2",)])
def test_a_run_that_diverged_is_not_trained_again(project, again):
    """Not by the same command, nor by another search: the same run would end so again."""
    command = (*HALVING, "train.epochs=1,3", f"model.dense_units={DIVERGES},100,200")
    first = project.cli(*command)
    dry = output(project, *command, *again, "--dry-run")
    assert "4 jobs, 3 finished, 1 diverged; 0 runs to run on 1 worker: 0 epochs to train" in dry
    assert "diverged, and would again: epochs=1 dense_units=13 (multirun/" in dry
    done = project.cli(*command, *again)
    assert done.returncode == 1 and on_rungs(latest(project)) == [[DIVERGES, 100, 200], [200]]
    assert len((project.path / DIVERGED).read_text().splitlines()) == 1
    failure = "failed: epochs=1 dense_units=13: training diverged"
    assert failure in first.stdout and failure in done.stdout


def test_a_setting_that_diverges_on_a_higher_rung_was_dropped_after_the_last_that_it_finished(project):
    """It is the best of the first rung."""
    project.cli(*HALVING, "hydra.sweeper.keep_ties=false", RUNGS, f"model.dense_units=100,150,{DIVERGES_LATER}")
    assert on_rungs(latest(project)) == [[100, 150, DIVERGES_LATER], [DIVERGES_LATER]]
    rows = read_json(latest(project).folder / "leaderboard.json")["rows"]
    assert [(row["model.dense_units"], row["dropped_at"]) for row in rows] == [(201, 1), (150, 1), (100, 1)]


def test_a_value_that_is_typed_twice_is_one_setting(project):
    """198 is within chance of 200, also if it is there twice."""
    printed = output(project, *HALVING, "train.epochs=1,3", "model.dense_units=100,198,198,200")
    assert on_rungs(latest(project)) == [[100, 198, 200], [198, 200]]
    assert "after 1 epoch: 1 of 3 settings went on, and 1 more within chance" in printed


@pytest.mark.parametrize("keep_ties", ["false", "true"])
def test_settings_that_are_the_same_run_are_one_setting(project, keep_ties):
    """SGD has no beta_1. It comes first, and would take both places that there are."""
    settings = ("train.optimizer=sgd,adam", "train.beta_1=0.8,0.9", "model.dense_units=100")
    command = (*HALVING, "hydra.sweeper.eta=2", f"hydra.sweeper.keep_ties={keep_ties}", "train.epochs=1,3", *settings)
    counts = to_train(output(project, *command, "--dry-run"))
    printed = output(project, *command)
    assert "after 1 epoch: 1 of 3 settings went on" in printed and ("2 more" in printed) == (keep_ties == "true")
    assert "the same run: epochs=1 optimizer=sgd beta_1=0.8, epochs=1 optimizer=sgd beta_1=0.9" in printed
    trained = sum(trained_epochs(project.path))
    assert trained == counts[-1] == (3 + 3 * 2 if keep_ties == "true" else 3 + 2)


def test_settings_with_several_seeds_go_on_together(project):
    output(project, *HALVING, "train.epochs=1,3", "model.dense_units=100,150,200", "seed=0,1")
    points = [(p.parameters["train.epochs"], p.parameters["model.dense_units"]) for p in latest(project).points]
    assert points[6:] == [(3, 200), (3, 200)] and len(points) == 8


def test_with_several_seeds_the_test_has_another_name(project):
    printed = output(project, *HALVING, "train.epochs=1,3", "model.dense_units=100,198,200", "seed=0,1")
    name = "exact sign-flip test over images and Welch's test over 2 seeds each"
    assert f"within chance of the last of these ({name}, p of 0.05 or more): dense_units=198 (p = " in printed
    assert f"cannot be told apart from the best one ({name}, p of 0.05 or more)" in printed
    assert "McNemar" not in printed


def test_another_eta_and_the_plain_grid_go_on_from_what_is_there(project):
    output(project, *HALVING, RUNGS, NINE)
    output(project, *HALVING, "hydra.sweeper.eta=2", RUNGS, NINE)
    assert on_rungs(latest(project)) == [PROMOTED[0], [150, 160, 170, 180], [170, 180]]
    assert sum(trained_epochs(project.path)) == 21 + 2 + 6, "150 from 1 to 3 epochs, 170 from 3 to 9"
    output(project, "run", "-m", "tracking=off", RUNGS, NINE)
    assert sum(trained_epochs(project.path)) == 9 * 9


def test_regret_is_printed_once_the_grid_is_finished(project):
    """175 is behind 180 at first and ahead at last: 9 × 3 images more."""
    settings = "model.dense_units=100,175,190"
    assert "of the grid's" not in output(project, *HALVING, "train.epochs=1,9", settings)
    halving = latest(project)
    printed = output(project, "run", "-m", "tracking=off", "train.epochs=9", settings)
    missed = (
        f"successive halving (sweep {halving.id}) took 11 of the grid's 27 epochs, 2.5 times fewer, and missed "
        "dense_units=175 (dropped after 1 epoch): val_accuracy 0.6733 after 9 epochs, its winner dense_units=190 has "
        "0.0400 less, more than chance (p = 0.00098, McNemar's exact test, corrected for 2 comparisons)"
    )
    assert missed in printed
    assert missed in output(project, "compare", "--sweep", halving.id)


def test_a_grid_that_finishes_two_searches_says_so_of_both(project):
    settings = "model.dense_units=100,120,140,160,180,200"
    searches = []
    for eta in (3, 2):
        output(project, *HALVING, f"hydra.sweeper.eta={eta}", "train.epochs=1,9", settings)
        searches.append(latest(project))
    printed = output(project, "run", "-m", "tracking=off", "train.epochs=9", settings)
    for search_record, epochs in zip(searches, (6 + 2 * 8, 6 + 3 * 8), strict=True):
        missed = f"successive halving (sweep {search_record.id}) took {epochs} of the grid's 54 epochs"
        assert missed in printed and missed in (search_record.folder / "leaderboard.md").read_text()


def test_a_grid_that_finishes_a_search_leaves_its_files_up_to_date(project):
    settings = "model.dense_units=100,150,200"
    output(project, *HALVING, "train.epochs=1,9", settings)
    halving = latest(project)
    before = sweep_content(make_leaderboard(project.path, halving)).digest
    output(project, "run", "-m", "tracking=off", "train.epochs=9", settings)
    missed = "took 11 of the grid's 27 epochs, 2.5 times fewer, and missed nothing"
    assert missed in (halving.folder / "leaderboard.md").read_text()
    assert any(missed in note for note in read_json(halving.folder / "leaderboard.json")["notes"])
    assert sweep_content(make_leaderboard(project.path, halving)).digest != before, "so that MLflow gets it, too"


def test_regret_is_printed_also_if_a_dropped_setting_diverges_in_the_grid(project):
    settings = f"model.dense_units={DIVERGES_LATER},210,250"
    output(project, *HALVING, "train.epochs=1,9", settings)
    done = project.cli("run", "-m", "tracking=off", "train.epochs=9", settings)
    assert "error: 1 of 3 runs failed" in done.stderr
    assert "took 11 of the grid's 18 epochs, 1.6 times fewer, and missed nothing" in done.stdout


@pytest.mark.parametrize(
    "more, settings, cost",
    [
        ("train.reuse=false", "100,150,200", "took 12 of the grid's 27 epochs, 2.2 times fewer, and missed nothing"),
        ("train.reuse=true", f"{DIVERGES_LATER},250", "took 10 epochs, no fewer than the grid's 9, and missed nothing"),
    ],
)
def test_what_a_search_took_is_what_it_trained(project, more, settings, cost):
    output(project, *HALVING, more, "train.epochs=1,9", f"model.dense_units={settings}")
    done = project.cli("run", "-m", "tracking=off", more, "train.epochs=9", f"model.dense_units={settings}")
    assert cost in done.stdout


def test_a_search_that_is_broken_off_between_rungs_does_not_look_finished(project, monkeypatch):
    """All of its runs are finished then, and no other one is known yet."""
    decide, broken_off = search._decide, []

    def break_off(*arguments):
        if not broken_off:
            broken_off.append(True)
            raise KeyboardInterrupt
        return decide(*arguments)

    monkeypatch.setattr(search, "_decide", break_off)
    assert project.cli(*HALVING, RUNGS, NINE).returncode == 130
    assert on_rungs(latest(project)) == PROMOTED[:1]
    goes_on = "the search is not finished, so a better setting may follow; the same command goes on with it"
    assert goes_on in output(project, "compare")
    assert goes_on in (latest(project).folder / "leaderboard.md").read_text()
    leaderboard = make_leaderboard(project.path, latest(project))
    assert (leaderboard.missing, leaderboard.failures) == ([], [])
    assert sweep_content(leaderboard).status == "KILLED"
    printed = output(project, *HALVING, RUNGS, NINE)
    assert on_rungs(latest(project)) == PROMOTED and goes_on not in printed
    assert sweep_content(make_leaderboard(project.path, latest(project))).status == "FINISHED"


def test_a_search_that_chooses_others_than_before_has_not_ended(tmp_path):
    """So a kill while they run does not leave a search that looks finished."""
    sweep = make_search(tmp_path)
    assert with_batch(sweep, sweep.points[:3]) is sweep
    other = [replace(sweep.points[4], job=3)]
    changed = with_batch(sweep, other)
    assert changed.points == [*sweep.points[:3], *other] and not changed.search_ended


def test_a_search_that_missed_nothing_says_so(project):
    output(project, *HALVING, "train.epochs=1,9", "model.dense_units=100,150,200")
    printed = output(project, "run", "-m", "tracking=off", "train.epochs=1,9", "model.dense_units=100,150,200")
    assert "took 11 of the grid's 27 epochs, 2.5 times fewer, and missed nothing" in printed


@pytest.mark.parametrize(
    "typed, message",
    [
        (("model.dense_units=1,2",), "hydra/sweeper=halving needs rungs: several values of train.epochs"),
        (("train.epochs=1,3", "hydra.sweeper.eta=1"), "hydra.sweeper.eta must be a whole number of 2 or more, got 1"),
        (("train.epochs=1,3", "hydra.sweeper.eta=2.5"), "hydra.sweeper.eta must be a whole number of 2 or more"),
        (("train.epochs=1,3", "hydra.sweeper.keep_ties=1"), "hydra.sweeper.keep_ties must be true or false, got 1"),
    ],
)
def test_a_search_that_cannot_be_one_is_refused_in_one_line(project, typed, message):
    done = project.cli(*HALVING, *typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (project.path / "multirun").exists()


def test_presets_with_epochs_of_their_own_are_no_rungs(project):
    """On no rung they compare, and the search would end where the best of the first rung has no second one."""
    write_presets(project, small="epochs: 2", large="epochs: 3")
    refused = project.cli(*HALVING, "experiment=small,large")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "needs the same rungs for all settings, but some have train.epochs=2 and 3; give train" in refused.stderr
    output(project, *HALVING, "experiment=small,large", "train.epochs=1,2")
    assert [point.parameters["train.epochs"] for point in latest(project).points] == [1, 1, 2, 2]


def test_presets_of_which_a_later_batch_draws_one_with_a_patience_have_no_rungs(project):
    write_presets(project, small="patience: 2", large="patience: null")
    sampled = ("run", "-m", "tracking=off", "hydra/sweeper=tpe", "hydra.sweeper.batch_size=1", RUNGS)
    refused = project.cli(*sampled, "experiment=choice(small,large)")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "train.patience in a range or in one of several presets: must be null" in refused.stderr


def write_presets(project: Project, **train: str) -> None:
    """Presets with networks of their own, and a line each in the section `train`."""
    for kernel, (name, line) in enumerate(train.items(), 2):
        text = f"# @package _global_\nmodel:\n  kernel_size: {kernel}\ntrain:\n  {line}\n"
        (project.path / "conf" / "experiment" / f"{name}.yaml").write_text(text)


# Dry run


def to_train(printed: str) -> list[int]:
    """The numbers of epochs in the last line about epochs: one, or the least and the most."""
    line = re.search(r"^\d+ jobs?, \d+ finished; .* to run on .*: (.*) to train$", printed, flags=re.MULTILINE)
    return [int(number) for number in re.findall(r"\d+", line[1])]


def test_a_dry_run_of_a_grid_counts_what_is_then_trained(project):
    grid = ("run", "-m", "tracking=off", "train.epochs=2,5", "model.dense_units=100,200", "seed=0,1")
    printed = output(project, *grid, "--dry-run")
    assert to_train(printed) == [20] and not (project.path / "multirun").exists()
    output(project, *grid)
    assert sum(trained_epochs(project.path)) == 20
    assert to_train(output(project, *grid, "--dry-run")) == [0]
    wider = ("run", "-m", "tracking=off", "train.epochs=2,5,7", "model.dense_units=100,200,300", "seed=0,1")
    printed = output(project, *wider, "--dry-run")
    assert to_train(printed) == [4 * 2 + 2 * 7]
    assert "to run: epochs=7 dense_units=100 seed=0 · epochs: 5 there, 2 to train" in printed
    assert "to run: epochs=2 dense_units=300 seed=0 · epochs: 0 there, 2 trained by other jobs, 0 to train" in printed
    output(project, *wider)
    assert sum(trained_epochs(project.path)) == 20 + 22


def test_a_dry_run_of_a_half_finished_sweep(project):
    (project.path / IS_KILLED).write_text("200")
    grid = ("run", "-m", "tracking=off", "train.epochs=3", "model.dense_units=100,200,300")
    assert project.cli(*grid).returncode == 1
    before = sum(trained_epochs(project.path))
    printed = output(project, *grid, "--dry-run")
    assert to_train(printed) == [3] and printed.count("\nfinished: ") == 2
    output(project, *grid)
    assert sum(trained_epochs(project.path)) == before + 3


def test_a_dry_run_of_halving_without_ties_is_exact(project):
    command = (*HALVING, "hydra.sweeper.keep_ties=false", RUNGS, NINE)
    printed = output(project, *command, "--dry-run")
    assert to_train(printed) == [21]
    assert "later: 3 settings to 3 epochs: 6 epochs to train" in printed
    output(project, *command)
    assert sum(trained_epochs(project.path)) == 21
    assert to_train(output(project, *command, "--dry-run")) == [0]


def test_a_dry_run_of_halving_says_at_least_and_at_most(project):
    (project.path / IS_KILLED).write_text("160")
    command = (*HALVING, RUNGS, NINE)
    assert to_train(output(project, *command, "--dry-run")) == [21, 81]
    assert project.cli(*command).returncode == 1
    done = sum(trained_epochs(project.path))
    least, most = to_train(output(project, *command, "--dry-run"))
    assert (least, most) == (1 + 6 + 6, 1 + 72)
    output(project, *command)
    assert least <= sum(trained_epochs(project.path)) - done <= most


def test_a_dry_run_of_another_search_counts_what_the_first_has_not_trained(project):
    """Its first batches are finished before it has written any of them down."""
    rungs = "train.epochs=1,3,9,27"
    output(project, *HALVING, rungs, NINE)
    command, before = (*HALVING, "hydra.sweeper.eta=2", rungs, NINE), sum(trained_epochs(project.path))
    assert to_train(output(project, *command, "--dry-run")) == [2 + 6, 26 + 24 + 24]
    output(project, *command)
    assert sum(trained_epochs(project.path)) - before == 8


@pytest.mark.parametrize("keep_ties, epochs", [("true", [9, 12]), ("false", [9, 10])])
def test_a_dry_run_counts_epochs_that_settings_share_once(project, keep_ties, epochs):
    """Each network trains three epochs to the first rung; above it, two for one of its cooldowns, three for both.

    Two settings that go on may be of one network or of two.
    """
    command = (*HALVING, "hydra.sweeper.eta=2", f"hydra.sweeper.keep_ties={keep_ties}", "train.epochs=2,4")
    settings = ("train.cooldown_epochs=0,1", "model.dense_units=100,200")
    assert to_train(output(project, *command, *settings, "--dry-run")) == epochs


def test_a_dry_run_with_a_patience_says_at_least_and_at_most(project):
    grid = ("run", "-m", "tracking=off", "model.dense_units=100,200")
    printed = output(project, *grid, "train.patience=2", "train.epochs=9", "--dry-run")
    assert to_train(printed) == [2 * 3, 2 * 9]
    assert "to run: dense_units=100 · epochs: 0 there, at most 9 to train" in printed
    printed = output(project, *grid, "train.patience=2", "train.epochs=9")
    assert "2 runs on 1 worker: at most 18 epochs to train" in printed
    assert trained_epochs(project.path) == [3, 3]
    assert [row["epochs"] for row in read_json(latest(project).folder / "leaderboard.json")["rows"]] == [3, 3]
    printed = output(project, *grid, "train.patience=2", "train.epochs=20", "--dry-run")
    assert to_train(printed) == [0], "states tell where they end"
    assert "to run: dense_units=100 · epochs: 3 there, 0 to train" in printed
    output(project, *grid, "train.patience=2", "train.epochs=20")
    assert trained_epochs(project.path) == [3, 3, 0, 0]
    assert to_train(output(project, *grid, "train.patience=3", "train.epochs=20", "--dry-run")) == [2 * 1, 2 * 17]
    output(project, *grid, "train.patience=3", "train.epochs=20")
    assert trained_epochs(project.path)[4:] == [1, 1]


def test_runs_with_and_without_a_patience_train_no_epoch_twice(project):
    grid = ("run", "-m", "tracking=off", "train.epochs=2,6", "train.patience=null,1,3")
    assert to_train(output(project, *grid, "--dry-run")) == [6]
    output(project, *grid)
    assert sum(trained_epochs(project.path)) == 6
    rows = read_json(latest(project).folder / "leaderboard.json")["rows"]
    found = {(row["train.epochs"], row["train.patience"]): row["epochs"] for row in rows}
    assert found == {(2, None): 2, (2, 1): 2, (2, 3): 2, (6, None): 6, (6, 1): 2, (6, 3): 4}


@pytest.mark.parametrize("sweeper", ["halving", "random"])
def test_runs_with_a_patience_have_no_rungs(project, sweeper):
    grid = ("run", "-m", f"hydra/sweeper={sweeper}", "tracking=off", RUNGS, "model.dense_units=range(100,200,10)")
    refused = project.cli(*grid, "train.patience=2")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "train.patience=2: must be null where train.epochs=1,3,9 are rungs" in refused.stderr
    assert not (project.path / "multirun").exists()


def test_a_dry_run_without_states_counts_every_run(project):
    command = (*HALVING, "hydra.sweeper.keep_ties=false", "train.reuse=false", RUNGS, NINE)
    assert to_train(output(project, *command, "--dry-run")) == [9 * 1 + 3 * 3 + 9]
    output(project, *command)
    assert sum(trained_epochs(project.path)) == 27


@pytest.mark.slow
@pytest.mark.parametrize("reuse, epochs", [("true", 0), ("false", 4 * 1 + 1 * 3)])
def test_a_dry_run_of_halving_after_the_grid_counts_no_run_that_is_finished(project, reuse, epochs):
    """The grid has the runs of the last rung only, and the states of the others unless these are not reused."""
    common = ("tracking=off", f"train.reuse={reuse}", "model.dense_units=100,120,140,160")
    output(project, "run", "-m", *common, "train.epochs=9")
    before = trained_epochs(project.path)
    command = ("run", "-m", "hydra/sweeper=halving", *common, RUNGS)
    printed = output(project, *command, "hydra.sweeper.keep_ties=false", "--dry-run")
    assert to_train(printed) == [epochs] and "4 jobs, 0 finished; 5 runs to run on" in printed
    assert "; at least 5 and at most 8 runs to run on" in output(project, *command, "--dry-run")
    output(project, *command)
    assert len(trained_epochs(project.path)) == len(before) + 5
    assert sum(trained_epochs(project.path)) == sum(before) + epochs


def test_a_dry_run_of_one_run(project):
    assert to_train(output(project, "run", "--dry-run", "tracking=off", "train.epochs=4")) == [4]
    search = ("hydra/sweeper=halving", "hydra.sweeper.eta=2")  # of which a single run takes no notice
    assert to_train(output(project, "run", *search, "--dry-run", "tracking=off", "train.epochs=4")) == [4]
    assert not (project.path / "outputs").exists() and not (project.path / "multirun").exists()
    done = project.cli("run", "--dry-run", "train.epochs=4,5")
    assert done.returncode == 2 and "is a sweep; use `epochwise run -m`" in done.stderr


def test_a_dry_run_estimates_from_runs_of_this_machine(project):
    grid = ("run", "-m", "tracking=off", "train.epochs=2", "model.dense_units=100")
    assert "time: not known" in output(project, *grid, "--dry-run")
    output(project, *grid)
    printed = output(project, *grid, "train.learning_rate=0.1,0.2", "--dry-run")
    assert re.search(r"time: about .*; an epoch takes .* s, .*, as in 1 run here", printed)
    assert "GB are free" in printed
