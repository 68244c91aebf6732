"""The comparison of the samplers: a recorded run is made again, and the page has what is recorded. No training."""

from math import log
from pathlib import Path

import optuna
import pytest

from tests.known_cost.benchmarks import bench_samplers as bench
from tests.known_cost.benchmarks.bench_samplers import Run
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


def test_carbs_stays_in_the_space_and_goes_on_after_failures():
    surface = make_surface("digits")
    sampler = bench.make_sampler(Run("digits", "carbs", "own", 1, 0), surface)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    for number in range(14):
        trial = study.ask(surface.space)
        assert trial.relative_params == trial.params  # Optuna draws what is outside of the space at random
        value = surface.worst if number in (5, 7) else surface.truth(trial.params)
        study.tell(trial, [log(value), surface.log10_cost(trial.params)])
