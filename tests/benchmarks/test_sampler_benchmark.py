"""The comparison of the samplers: what it measures by, what it replays, and its statistics. No training."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.bench_samplers import RESULTS, Run, asked, first_points, page, read_results
from tests.benchmarks.surface import (
    RATE_SPACE,
    SHAPE_SPACE,
    UNIFORM,
    Synthetic,
    Training,
    fit,
    fraction,
    front_of,
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
        cell, layers = draw.choice(("rnn", "gru", "lstm")), draw.randint(1, 4)
        units, rate = draw.choice((8, 16, 64, 128, 256)), 0.001 * 300 ** draw.random()
        decades = math.log10(rate / preset_rate(cell))
        log_perplexity = 1.8 - 0.1 * math.log2(units / 64) + 0.03 * (layers - 1) + 0.1 * decades**2
        perplexity = UNIFORM if decades > FAILS_ABOVE else math.exp(log_perplexity)
        found.append(Training(cell, layers, units, rate, 0, False, perplexity))
    return found


@pytest.fixture(scope="module")
def surface() -> Synthetic:
    return fit(trainings(), SHAPE_SPACE)


def test_the_front_is_what_nothing_dominates_and_the_reference_a_tenth_of_its_range_beyond_the_nadir():
    front = [(3.0, 1.0), (2.0, 2.0), (1.0, 4.0)]
    assert front_of([*front[::-1], (2.5, 3.0), (3.5, 1.0)]) == front
    assert reference_point(front) == pytest.approx((3.2, 4.3))


@pytest.mark.slow
def test_the_page_says_what_is_recorded():
    page_of_record = page(read_results(RESULTS))
    assert (Path(__file__).parents[2] / "docs" / "sampler-comparison.md").read_text() == page_of_record


TWO_WIDTHS = [
    Training("gru", 1, units, 0.01, seed, True, perplexity)
    for units, seed, perplexity in ((16, 1, 8.5), (16, 0, 8.0), (64, 0, 5.0), (64, 1, 6.0))
]


def shape(width: int) -> dict[str, Any]:
    return {"cell": "gru", "num_layers": 0, "hidden_size": width}


def test_replay_answers_with_one_seed_then_the_other_and_is_judged_by_their_mean():
    surface = replay([*TWO_WIDTHS, Training("gru", 1, 32, 0.01, 0, False, 1.0)])
    assert surface.truth(shape(1)) == pytest.approx(5.5)
    firsts = set()
    for seed in range(20):
        first = surface.observe(shape(1), seed, 0, [])
        second = surface.observe(shape(1), seed, 7, [shape(1), shape(0)])
        assert {first, second} == {5.0, 6.0}
        assert surface.observe(shape(1), seed, 9, [shape(1), shape(1)]) == first
        firsts.add(first)
    assert firsts == {5.0, 6.0}
    assert fraction(surface, [shape(0), shape(1)]) == pytest.approx(1)
    assert 0 < fraction(surface, [shape(0), shape(0)]) < fraction(surface, [shape(1)]) < 1


def test_the_surface_finds_the_law_behind_its_trainings_again(surface):
    border = {cell: preset_rate(cell) * 10**FAILS_ABOVE for cell in ("rnn", "gru", "lstm")}
    unseen = [t for t in trainings(seed=1) if abs(math.log10(t.learning_rate / border[t.cell])) > 0.15]
    values = surface.perplexity(scaled([vars(t) for t in unseen]))
    off = [math.log(value / t.perplexity) for value, t in zip(values, unseen, strict=True)]
    assert max(map(abs, off)) < 0.05
    assert max(values) == pytest.approx(UNIFORM)


def test_no_study_beats_the_attainable():
    surface = fit(trainings(), RATE_SPACE)
    points = asked(Run("shapes-and-rate", "random", "own", 2, 0), surface, trials=40)
    assert len(points) == 40
    assert 0 < fraction(surface, points[:5]) <= fraction(surface, points) <= 1
    assert points[0].keys() == RATE_SPACE.keys()


def test_the_first_trials_of_one_sampler_are_given_to_the_others(surface):
    first = first_points(Run("shapes", "known-cost", "random", 1, 3), surface)
    assert first == asked(Run("shapes", "tpe", "own", 1, 3), surface, trials=10)
    own = asked(Run("shapes", "known-cost", "own", 1, 3), surface, trials=5)
    assert asked(Run("shapes", "tpe", "spread", 1, 3), surface, trials=5) == own
