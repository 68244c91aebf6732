"""The comparison of the samplers: a recorded run is made again, and the page has what is recorded. No training."""

from math import comb, log
from pathlib import Path

import numpy as np
import optuna
import pytest

from tests.known_cost.benchmarks import bench_samplers as bench
from tests.known_cost.benchmarks.bench_samplers import Run
from tests.known_cost.benchmarks.sampler_tables import win_rate
from tests.known_cost.benchmarks.surface import make_surface

RUNS = [  # surface, sampler, first trials, trials at a time, seed
    Run("time-machine", "tpe", "own", 2, 0),
    Run("digits", "random", "own", 8, 1),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: "-".join(map(str, run)))
def test_a_recorded_run_has_the_same_scores_when_it_is_made_again(run):
    (row,) = (row for row in bench.read_results(bench.RESULTS) if bench.run_of(row) == run)
    if row["made_by"] != bench.made_by(run.sampler):
        pytest.skip(f"it was made by {row['made_by']}")
    _, scores, _ = bench.measure(run)
    assert [f"{score:.5f}" for score in scores.values()] == [row[f"after_{n}"] for n in bench.TRIALS]


@pytest.mark.slow
@pytest.mark.ci
def test_the_page_says_what_is_recorded():
    page_of_record = bench.page(bench.read_results(bench.RESULTS))
    assert (Path(__file__).parents[3] / "docs" / "sampler-comparison.md").read_text() == page_of_record


def test_the_p_value_of_a_win_rate_with_ties_is_exact():
    behind, ahead = np.arange(10.0), np.array([20.0, 20.0, *range(21, 29)])
    assert pytest.approx(win_rate(ahead, behind)) == (1.0, 2 / comb(20, 10))  # of all splits, this one and its mirror
    by_hand = 2 * 2 / comb(4, 2)  # of 1, 2, 2, 3: two of six splits have a rank sum of at least that of 2, 3
    assert pytest.approx(win_rate(np.array([2.0, 3.0]), np.array([1.0, 2.0]))) == (0.875, by_hand)
    assert win_rate(np.ones(10), np.ones(10)) == (0.5, 1.0)


def test_carbs_stays_in_the_space_and_goes_on_after_failures():
    surface = make_surface("digits")
    sampler = bench.make_sampler(Run("digits", "carbs", "own", 1, 0), surface)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    for number in range(14):
        trial = study.ask(surface.space)
        assert trial.relative_params == trial.params  # Optuna draws what is outside of the space at random
        value = surface.worst if number in (5, 7) else surface.truth(trial.params)
        study.tell(trial, [log(value), surface.log10_cost(trial.params)])
