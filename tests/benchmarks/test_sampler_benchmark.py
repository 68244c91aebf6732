"""The comparison of the samplers: what it measures by, what it replays, and its statistics. No training."""

import math
import random
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.benchmarks.bench_samplers import (
    RESULTS,
    asked,
    digests,
    first_points,
    page,
    read_results,
)
from tests.benchmarks.sampler_tables import (
    Run,
)
from tests.benchmarks.surface import (
    RATE_SPACE,
    SHAPE_SPACE,
    UNIFORM,
    Fit,
    Synthetic,
    Training,
    fit,
    fraction,
    front_of,
    hypervolume,
    preset_rate,
    reference_point,
    replay,
    scaled,
)

FAILS_ABOVE = 0.6  # decades above the preset's learning rate


def trainings(seed: int = 0, count: int = 300) -> list[Training]:
    """Random shapes under a law of their own: wide is good, deep and another rate than the preset's is bad."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        cell, layers, units = (
            draw.choice(("rnn", "gru", "lstm")),
            draw.randint(1, 4),
            draw.choice((8, 16, 64, 128, 256)),
        )
        rate = 0.001 * 300 ** draw.random()
        decades = math.log10(rate / preset_rate(cell))
        log_perplexity = 1.8 - 0.1 * math.log2(units / 64) + 0.03 * (layers - 1) + 0.1 * decades**2
        perplexity = UNIFORM if decades > FAILS_ABOVE else math.exp(log_perplexity)
        found.append(Training(cell, layers, units, rate, 0, False, perplexity))
    return found


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit(trainings())


def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps():
    steps = [(1.0, 5.0), (4.0, 3.0), (8.0, 1.0)]
    assert hypervolume(steps, (10.0, 6.0)) == pytest.approx(2 * 5 + 4 * 3 + 3 * 1)
    dominated, outside = (8.0, 4.0), [(10.0, 0.0), (0.0, 6.0), (11.0, 7.0)]
    assert hypervolume([*steps, dominated, *outside, *steps], (10.0, 6.0)) == pytest.approx(25)


def test_the_front_is_what_nothing_dominates():
    assert front_of([(3.0, 1.0), (2.0, 2.0), (2.5, 3.0), (1.0, 4.0), (3.5, 1.0)]) == [
        (3.0, 1.0),
        (2.0, 2.0),
        (1.0, 4.0),
    ]


def test_the_reference_point_is_a_tenth_of_the_range_beyond_the_nadir():
    assert reference_point([(3.0, 1.0), (2.0, 2.0), (1.0, 4.0)]) == pytest.approx((3.2, 4.3))


def test_the_page_says_what_is_recorded():
    page_of_record = page(read_results(RESULTS, digests()))
    assert (Path(__file__).parents[2] / "docs" / "sampler-comparison.md").read_text() == page_of_record


def recorded(cell: str, units: int, seed: int, perplexity: float, grid: bool = True) -> Training:
    return Training(cell, 1, units, 0.01, seed, grid, perplexity)


TWO_WIDTHS = [
    recorded("gru", 16, 1, 8.5),
    recorded("gru", 16, 0, 8.0),
    recorded("gru", 64, 0, 5.0),
    recorded("gru", 64, 1, 6.0),
    recorded("gru", 32, 0, 1.0, grid=False),
]


def shape(width: int) -> dict[str, Any]:
    return {"cell": "gru", "num_layers": 0, "hidden_size": width}


def test_replay_answers_with_one_seed_then_the_other_and_is_judged_by_their_mean():
    surface = replay(TWO_WIDTHS)
    assert surface.truth(shape(1)) == pytest.approx(5.5)
    firsts = set()
    for seed in range(20):
        first = surface.observe(shape(1), seed, 0, [])
        second = surface.observe(shape(1), seed, 7, [shape(1), shape(0)])
        assert {first, second} == {5.0, 6.0}
        assert surface.observe(shape(1), seed, 9, [shape(1), shape(1)]) == first
        firsts.add(first)
    assert firsts == {5.0, 6.0}


def test_all_of_the_grid_attains_all_of_the_hypervolume():
    surface = replay(TWO_WIDTHS)
    assert fraction(surface, [shape(0), shape(1)]) == pytest.approx(1)
    assert 0 < fraction(surface, [shape(0), shape(0)]) < fraction(surface, [shape(1)]) < 1


def test_the_surface_finds_the_law_behind_its_trainings_again(fitted):
    border = {cell: preset_rate(cell) * 10**FAILS_ABOVE for cell in ("rnn", "gru", "lstm")}
    unseen = [t for t in trainings(seed=1) if abs(math.log10(t.learning_rate / border[t.cell])) > 0.15]
    values = fitted.perplexity(scaled([vars(t) for t in unseen]))
    off = [math.log(value / t.perplexity) for value, t in zip(values, unseen, strict=True)]
    assert max(map(abs, off)) < 0.05
    assert max(values) == pytest.approx(UNIFORM)


@pytest.mark.parametrize("space", [SHAPE_SPACE, RATE_SPACE])
def test_a_study_asks_for_as_many_points_as_it_may_and_none_beats_the_attainable(fitted, space):
    surface = Synthetic(fitted, space)
    points = asked(Run("shapes", "random", "own", 1, 0), surface, trials=40)
    assert len(points) == 40
    assert 0 < fraction(surface, points[:5]) <= fraction(surface, points) <= 1
    assert points[0].keys() == space.keys()


def test_known_cost_after_ten_random_trials_begins_with_those_of_optuna_s_samplers(fitted):
    surface = Synthetic(fitted, SHAPE_SPACE)
    first = first_points(Run("shapes", "known-cost", "random", 1, 3), surface)
    assert first == asked(Run("shapes", "tpe", "own", 1, 3), surface, trials=10)


def test_others_are_given_the_first_trials_of_known_cost(fitted):
    surface = Synthetic(fitted, SHAPE_SPACE)
    own = asked(Run("shapes", "known-cost", "own", 1, 3), surface, trials=5)
    assert asked(Run("shapes", "tpe", "spread", 1, 3), surface, trials=5) == own


def test_so_many_trials_run_at_a_time(fitted, monkeypatch):
    told_after: list[int] = []

    def tell(study: optuna.Study, trial: optuna.Trial, values: list[float]) -> None:
        told_after.append(len(study.trials))

    monkeypatch.setattr(optuna.Study, "tell", tell)
    asked(Run("shapes", "random", "own", 8, 0), Synthetic(fitted, SHAPE_SPACE), trials=10)
    assert told_after == [8, 9]
