"""The lines below the leaderboard of a search."""

import pytest
from made_sweeps import make_sweep, point

from epochwise.sweeps.halving import Entry
from epochwise.sweeps.regret import Regret
from epochwise.sweeps.search_notes import regret_notes


@pytest.mark.parametrize(
    "accuracy, loss, behind",
    [
        (0.97, 0.25, "0.0100 less"),
        (0.98, 0.25, "as much, with a val_loss that is 0.0500 higher"),
        (0.98 - 1e-15, 0.25, "as much, with a val_loss that is 0.0500 higher"),  # the same mean, added up otherwise
        (0.97998, 0.125, "2e-05 less"),
        (0.98, 0.20003, "as much, with a val_loss that is 3e-05 higher"),
    ],
)
def test_by_how_much_the_winner_is_behind(tmp_path, accuracy, loss, behind):
    points = [point(job, model__dense_dropout=job / 10) for job in range(2)]
    sweep = make_sweep(tmp_path, ["model.dense_dropout"], *points)
    winner, best = (
        Entry(str(one.job), [one], *reached, None)
        for one, reached in zip(points, ((accuracy, loss), (0.98, 0.2)), strict=True)
    )
    (line,) = regret_notes([Regret(sweep, winner, best, 1.0, 2, 1, 9, 27)])
    assert f"its winner dense_dropout=0.0 has {behind}, within chance (p = 1, McNemar" in line
