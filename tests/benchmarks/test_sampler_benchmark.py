"""The comparison of the samplers: what it measures by, and what it replays. No training, no table."""

import math
import random
from dataclasses import replace

import pytest

from tests.benchmarks.bench_samplers import (
    asked,
    difference,
    fraction,
    interval,
    make_sampler,
    markdown,
    missing,
    read_results,
    scores_of,
    write,
)
from tests.benchmarks.surface import (
    REFERENCE,
    UNIFORM,
    Fit,
    Replay,
    Synthetic,
    Training,
    digest,
    fit,
    hypervolume,
    log10_macs,
    preset_rate,
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


def test_hypervolume_of_one_point_is_its_rectangle():
    assert hypervolume([(3.0, 2.0)], (10.0, 6.0)) == pytest.approx(7 * 4)


def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps():
    steps = [(1.0, 5.0), (4.0, 3.0), (8.0, 1.0)]
    assert hypervolume(steps, (10.0, 6.0)) == pytest.approx(2 * 5 + 4 * 3 + 3 * 1)
    dominated, outside = (8.0, 4.0), [(10.0, 0.0), (0.0, 6.0), (11.0, 7.0)]
    assert hypervolume([*steps, dominated, *outside, *steps], (10.0, 6.0)) == pytest.approx(25)


def test_hypervolume_agrees_with_counting_random_points():
    draw = random.Random(0)
    points = [(draw.random(), draw.random()) for _ in range(20)]
    throws = [(draw.random(), draw.random()) for _ in range(20_000)]
    dominated = sum(any(p[0] <= t[0] and p[1] <= t[1] for p in points) for t in throws) / len(throws)
    assert hypervolume(points, (1.0, 1.0)) == pytest.approx(dominated, abs=0.01)


def test_interval_is_students():
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    error = math.sqrt(2.5 / 5)
    assert (found.mean, found.n) == (3.0, 5)
    assert found.standard_error == pytest.approx(error)
    assert [found.low, found.high] == pytest.approx([3 - 2.7764451 * error, 3 + 2.7764451 * error])
    assert found.excludes_zero
    assert not interval([-1.0, 0.0, 1.5]).excludes_zero


def test_differences_are_paired_by_seed_and_need_both():
    scores = {
        ("s", "known-cost", 0): {10: 0.9},
        ("s", "known-cost", 1): {10: 0.5},
        ("s", "tpe", 1): {20: 0.4},
        ("s", "tpe", 0): {20: 0.8},
        ("s", "tpe", 2): {20: 0.0},
        ("other", "tpe", 0): {20: 0.0},
    }
    found = difference(scores, "s", ("known-cost", 10), ("tpe", 20))
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.n == 2
    assert difference(scores, "other", ("known-cost", 10), ("tpe", 20)) is None


HEADER = "trainings,surface,sampler,seed,after_5,after_10,after_20,after_40,cpu_seconds\n"


def test_a_recorded_row_is_read_again_and_one_of_other_trainings_is_not(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        f"{HEADER}new,replay,tpe,0,0.5,0.6,0.7,0.8,1.0\nnew,replay,tpe,1,0.5,0.6,0.7,0.9,1.0\n"
        "old,replay,tpe,2,0,0,0,0,1.0\n"
    )
    scores = scores_of(read_results(path, {"replay": "new"}))
    assert list(scores) == [("replay", "tpe", 0), ("replay", "tpe", 1)]
    assert scores["replay", "tpe", 1] == {5: 0.5, 10: 0.6, 20: 0.7, 40: 0.9}
    assert "| replay | 40 | 2 | **0.850** (0.050) |" in markdown(scores)


def test_results_are_written_in_one_order_whatever_came_first(tmp_path):
    path = tmp_path / "results.csv"
    lines = [
        "a,shape-noise-0,random,0,0.5,0.6,0.7,0.8,1.0\n",
        "a,shape-noise-0,tpe,2,0.5,0.6,0.7,0.8,1.0\n",
        "a,shape-noise-0,tpe,10,0.5,0.6,0.7,0.8,1.0\n",
        "b,replay,random,0,0.5,0.6,0.7,0.8,1.0\n",
    ]
    path.write_text(HEADER + "".join(reversed(lines)))
    write(path, read_results(path, {"shape-noise-0": "a", "replay": "b"}))
    assert path.read_text() == HEADER + "".join(lines)


def test_the_digest_knows_the_trainings_and_not_their_order():
    known = trainings(count=5)
    assert digest(known) == digest(known[::-1])
    assert digest(known) != digest(known[:4])
    assert digest(known) != digest([*known[:4], replace(known[4], perplexity=3.0)])


def test_a_sampler_whose_library_is_not_here_is_left_out_with_its_reason(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing("botorch") == "botorch is left out: no module botorch"
    assert missing("tpe") is None


def recorded(cell: str, units: int, seed: int, perplexity: float, grid: bool = True) -> Training:
    return Training(cell, 1, units, 0.01, seed, grid, perplexity)


TWO_WIDTHS = [
    recorded("gru", 16, 1, 8.5),
    recorded("gru", 16, 0, 8.0),
    recorded("gru", 64, 0, 5.0),
    recorded("gru", 64, 1, 6.0),
    recorded("gru", 32, 0, 1.0, grid=False),
]


def shape(units: int) -> dict[str, object]:
    return {"cell": "gru", "num_layers": 1, "hidden_size": units}


def test_replay_snaps_to_the_nearest_width_by_ratio():
    surface = replay(TWO_WIDTHS)
    assert [surface.snapped(shape(units))[2] for units in (8, 31, 33, 256)] == [16, 16, 64, 64]
    assert surface.log10_macs(shape(33)) == log10_macs("gru", 1, 64)


def test_replay_answers_with_one_seed_then_the_other_and_is_judged_by_their_mean():
    surface = replay(TWO_WIDTHS)
    assert surface.truth(shape(60)) == pytest.approx(5.5)
    firsts = set()
    for seed in range(20):
        first = surface.observe(shape(60), seed, 0, [])
        second = surface.observe(shape(64), seed, 7, [shape(60), shape(16)])
        assert {first, second} == {5.0, 6.0}
        assert surface.observe(shape(70), seed, 9, [shape(60), shape(64)]) == first
        firsts.add(first)
    assert firsts == {5.0, 6.0}


def test_all_of_the_grid_attains_all_of_the_hypervolume():
    surface = replay(TWO_WIDTHS)
    assert fraction(surface, [shape(16), shape(64)]) == pytest.approx(1)
    alone = (UNIFORM - 8.25) * (REFERENCE[1] - log10_macs("gru", 1, 16))
    assert fraction(surface, [shape(16), shape(16)]) == pytest.approx(alone / surface.attainable)


def test_the_surface_finds_the_law_behind_its_trainings_again(fitted):
    border = {cell: preset_rate(cell) * 10**FAILS_ABOVE for cell in ("rnn", "gru", "lstm")}
    unseen = [t for t in trainings(seed=1) if abs(math.log10(t.learning_rate / border[t.cell])) > 0.15]
    values = fitted.perplexity(scaled([vars(t) for t in unseen]))
    off = [math.log(value / t.perplexity) for value, t in zip(values, unseen, strict=True)]
    assert max(map(abs, off)) < 0.05
    assert max(values) == pytest.approx(UNIFORM)


def test_a_training_that_began_to_learn_late_hardly_moves_the_surface():
    learnt = [t for t in trainings() if t.learnt]
    late = [replace(t, perplexity=1.5 * t.perplexity) if n % 20 == 0 else t for n, t in enumerate(learnt)]
    points = scaled([vars(t) for t in learnt])
    moved = fit(late).perplexity(points) / fit(learnt).perplexity(points)
    assert max(moved) < 1.05
    assert min(moved) > 0.95


def test_without_a_learning_rate_the_surface_is_at_the_presets(fitted):
    params = {"cell": "lstm", "num_layers": 2, "hidden_size": 40}
    surface = Synthetic(fitted, 0.0, with_rate=False)
    assert surface.truth(params) == pytest.approx(surface.truth({**params, "learning_rate": 0.03}))


def test_noise_has_the_spread_asked_for_and_the_same_draws_for_every_sampler(fitted):
    surface = Synthetic(fitted, 0.05, with_rate=False)
    params = {"cell": "gru", "num_layers": 1, "hidden_size": 100}
    off = [math.log(surface.observe(params, 3, n, []) / surface.truth(params)) for n in range(2000)]
    assert interval(off).low < 0 < interval(off).high
    assert interval(off).standard_error * math.sqrt(2000) == pytest.approx(0.05, rel=0.05)
    assert surface.observe(params, 3, 0, []) == surface.observe(params, 3, 0, [params])
    assert surface.observe(params, 3, 0, []) != surface.observe(params, 4, 0, [])


@pytest.mark.parametrize("with_rate", [False, True])
def test_a_study_asks_for_as_many_points_as_it_may_and_none_beats_the_attainable(fitted, with_rate):
    surface = Synthetic(fitted, 0.02, with_rate)
    points = asked(surface, make_sampler("random", surface, 0), seed=0, trials=40)
    assert len(points) == 40
    assert 0.3 < fraction(surface, points[:5]) <= fraction(surface, points) <= 1
    assert ("learning_rate" in points[0]) == with_rate


def test_the_replay_of_no_second_seed_repeats_the_first():
    surface = Replay({("gru", 1, 16): (8.0,)})
    assert surface.observe(shape(16), 0, 1, [shape(16)]) == 8.0
