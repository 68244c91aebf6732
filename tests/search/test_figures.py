"""Pictures of a search: they can be drawn for any number of trials, and show what they are given."""

from functools import partial

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from models.ngram import Baselines, NGramScore
from pipeline.search import figures
from pipeline.search.front import Candidate, Trial, evaluate_front, hypervolume_by_trial, picks
from pipeline.support import plotting
from pipeline.support.drawing import CELL_STYLES
from tests.pictures import figures_drawn
from tests.search.candidates import sizes_of

NGRAMS = tuple(
    NGramScore(order, 500 * 6 ** (order - 2), 500 * 6 ** (order - 2), 3.3 - 0.5 * (order - 2)) for order in (2, 3, 4, 5)
)
SINGLES = Baselines(4.8, 4.08, 5, NGRAMS)
BASELINES = Baselines(4.8, 4.08, 5, NGRAMS, NGramScore(10, 200_000, 300_000, 1.75), NGRAMS[:2])
REFERENCE = (28.0, 1_500_000.0)
IMPORTANCE = {"validation perplexity": {"cell": 0.2, "hidden_size": 0.8}, "MACs": {"cell": 0.1, "hidden_size": 0.9}}


def study(number: int, seeds: int = 3, failed: int = 2, equal: bool = False, diverged: bool = False):
    """Trials, the evaluated candidates and the picks of a search whose perplexity falls with MACs."""
    rng = np.random.default_rng(number)
    trials, candidates = [Trial("lstm", 4_000 * (i + 1), None) for i in range(failed)], []
    for i, cell in zip(range(number), ("rnn", "gru", "lstm") * number, strict=False):
        macs = 20_000 if equal else int(1_000 * 1.12**i)
        level = 28.0 if diverged else 3.4 * (1 + 3 * (macs / 1_500) ** -0.4) * (1 + 0.05 * rng.random())
        val = tuple(float(level * np.exp(rng.normal(0, 0.01))) for _ in range(seeds))
        trials.append(Trial(cell, macs, val[0], on_ngrams=i == 5))
        runs, sizes = tuple(f"{i}-{seed}" for seed in range(seeds)), sizes_of(macs, macs)
        ms = (macs / 1e6, macs / 9e5) if i % 7 else ()
        candidates.append(Candidate(f"{cell}-1x{i + 8}", cell, 1, i + 8, sizes, runs, val, val, ms))
    evaluated = evaluate_front(candidates, REFERENCE)
    return trials, evaluated, picks(evaluated)


@pytest.fixture
def _coarse(monkeypatch):
    """Figures of a ninth of the pixels, which are drawn in less time."""
    monkeypatch.setattr(plotting, "new_figure", partial(plotting.new_figure, dots_per_inch=40))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn from now on."""
    return figures_drawn(monkeypatch)


@pytest.mark.parametrize(
    ("case", "baselines"),
    [({"number": 0, "failed": 0}, SINGLES), ({"number": 4, "equal": True, "diverged": True, "seeds": 1}, BASELINES)],
)
@pytest.mark.usefixtures("_coarse")
def test_a_search_of_any_size_is_drawn_without_a_warning(case, baselines):
    trials, evaluated, chosen = study(**case)
    images = (
        figures.pareto_front(trials, evaluated, chosen, baselines, "search-日本"),
        figures.hypervolume_history(hypervolume_by_trial(trials, REFERENCE), evaluated, "search-日本"),
        figures.perplexity_against_time(evaluated, chosen, "search-日本"),
    )
    assert all(png.startswith(b"\x89PNG") for png in images)


def test_the_front_has_its_members_the_failed_and_what_to_compare_with(drawn):
    trials, evaluated, chosen = study(6)
    default, best = evaluated.front[0].candidate.label, chosen["best"].point
    pick = {"label": "@best", "kind": "pick", "name": best.candidate.name, "val_perplexity": best.val.mean}
    compared = [
        {**pick, **best.candidate.sizes, "mixture_val_perplexity": 3.3},
        {**pick, "label": "so far", "kind": "yours", "name": "lstm-1x192", "macs_per_char": 2 * 10**5}
        | {"mixture_val_perplexity": None},
    ]
    figures.pareto_front(trials, evaluated, chosen, BASELINES, "a search", compared, default)
    axes, memory = drawn[0].axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    lines = {line.get_label(): line for line in axes.lines}
    assert {
        "rnn trials",
        "gru trials",
        "lstm trials",
        "lstm trials on n-grams (hollow)",
        "failed (2)",
        "5-gram 3.48",
        "n-grams of orders 1 to 10 3.36",
    } <= set(lines)
    front = lines["front, means, 95 % prediction intervals"]
    assert front.get_xdata()[::2].tolist() == [point.cost for point in evaluated.front]
    assert front.get_ydata()[::2].tolist() == [point.val.mean for point in evaluated.front]
    texts = {text.get_text() for text in axes.texts}
    assert len(texts) == len(evaluated.front) + 1
    assert {"so far: lstm-1x192", f"{default} (default)"} <= texts
    assert lines["with the n-grams mixed in"].get_xydata().tolist() == [[best.cost, 3.3]]
    best = chosen["best"].point.candidate
    assert any(text.startswith(best.label) and "best" in text for text in texts)
    counted = [line.get_xdata().tolist() for line in memory.lines if str(line.get_label()).startswith("n-grams")]
    assert counted == [[each.stored_numbers for each in (*NGRAMS[:2], NGRAMS[-1])], [300_000]]


def test_no_label_covers_another_or_leaves_the_axes(drawn):
    trials, evaluated, chosen = study(12)
    figures.pareto_front(trials, evaluated, chosen, BASELINES, "a search")
    figures.perplexity_against_time(evaluated, chosen, "a search")
    for figure in drawn:
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()
        for axes in figure.axes:
            frame = axes.get_window_extent(renderer)
            boxes = [text.get_window_extent(renderer) for text in axes.texts]
            assert len(boxes) >= min(len(evaluated.front), 4) - 1
            for i, box in enumerate(boxes):
                assert frame.x0 - 1 <= box.x0 <= box.x1 <= frame.x1 + 1
                assert not any(box.shrunk(0.98, 0.9).overlaps(other) for other in boxes[:i])


def test_importances_are_bars_by_their_sum(drawn):
    figures.parameter_importance(IMPORTANCE, "importance")
    (axes,) = drawn[0].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cell", "hidden_size"]  # from below
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.8, 0.1, 0.9]


def test_time_is_the_median_of_the_runs_and_who_has_none_is_left_out(drawn):
    _, evaluated, chosen = study(9)
    figures.perplexity_against_time(evaluated, chosen, "a search")
    shown = np.concatenate([line.get_xdata() for line in drawn[0].axes[0].lines if line.get_label() in CELL_STYLES])
    times = [np.median(point.candidate.ms_per_char) for point in evaluated.points if point.candidate.ms_per_char]
    assert len(times) == 7
    assert sorted(shown) == sorted(times)
