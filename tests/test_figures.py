"""Pictures: they can be drawn for short, long, flat and exploded curves, and show what they are given."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline import figures
from pipeline.front import Contender, Trial, hypervolume_by_trial, judge, picks
from pipeline.reported import report_table
from pipeline.reproduced import Configuration
from tests.reproductions import ENDS, reproduction

CURVES = {
    "one epoch": ([9.0], [8.0]),
    "short": ([20.0, 9.0, 6.0], [15.0, 8.0, 7.0]),
    "long": ([3 + 20 / (1 + i) for i in range(500)], [4 + 20 / (1 + i) for i in range(500)]),
    "flat": ([28.0] * 5, [28.0] * 5),
    "exploded": ([20.0, 1e300, float("inf")], [20.0, 1e200, 1e250]),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_of_any_length_and_height_are_drawn(name):
    train, val = CURVES[name]
    for png in (
        figures.perplexity_curves(train, val, 1, {"6-gram": 3.7, "letter frequencies": 16.9}, name),
        figures.generalisation_gap(train, val, name),
    ):
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert width == 1200
        assert height >= 450


def test_the_curves_show_both_lines_the_best_epoch_and_the_bars(monkeypatch):
    drawn: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        drawn.append(figure)
        return b""

    monkeypatch.setattr(figures, "_png", keep)
    figures.perplexity_curves([9.0, 6.0, 5.0], [8.0, 6.5, 7.0], 2, {"6-gram": 3.678}, "lstm on a text")
    (axes,) = drawn[0].axes
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "lstm on a text"
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines["validation"] == [8.0, 6.5, 7.0]
    assert lines["train (measured while training)"] == [9.0, 6.0, 5.0]
    assert lines["6-gram 3.68"] == [3.678, 3.678]
    assert [text.get_text() for text in axes.texts] == ["best 6.500"]


def test_a_picture_is_the_same_bytes_for_the_same_curves():
    first, second = (figures.generalisation_gap([3.0, 2.0], [4.0, 3.5], "t") for _ in range(2))
    assert first == second


# --- a search --------------------------------------------------------------------------------------------------------

BARS = {"Kneser-Ney 6-gram": 3.68, "letter frequencies": 16.89}
REFERENCE = (28.0, 1_500_000.0)
IMPORTANCE = {"validation perplexity": {"cell": 0.2, "hidden_size": 0.8}, "MACs": {"cell": 0.1, "hidden_size": 0.9}}


def study(number: int, seeds: int = 3, failed: int = 2, equal: bool = False, diverged: bool = False):
    """Trials, the judged contenders and the picks of a search whose perplexity falls with MACs."""
    rng = np.random.default_rng(number)
    trials, contenders = [Trial("lstm", 4_000 * (i + 1), None) for i in range(failed)], []
    for i, cell in zip(range(number), ("rnn", "gru", "lstm") * number, strict=False):
        macs = 20_000 if equal else int(1_000 * 1.12**i)
        level = 28.0 if diverged else 3.4 * (1 + 3 * (macs / 1_500) ** -0.4) * (1 + 0.05 * rng.random())
        val = tuple(float(level * np.exp(rng.normal(0, 0.01))) for _ in range(seeds))
        trials.append(Trial(cell, macs, val[0]))
        runs = tuple(f"{i}-{seed}" for seed in range(seeds))
        ms = (macs / 1e6, macs / 9e5) if i % 7 else ()
        contenders.append(Contender(f"{cell}-1x{i + 8}", cell, 1, i + 8, macs, macs, runs, val, val, ms))
    judged = judge(contenders, REFERENCE, draws=100)
    return trials, judged, picks(judged)


def pictures(trials, judged, chosen):
    return {
        "front": figures.pareto_front(trials, judged, chosen, report_table().rows, BARS, "a search"),
        "alone": figures.pareto_front(trials, judged, chosen, (), {}, "a search"),
        "history": figures.hypervolume_history(hypervolume_by_trial(trials, REFERENCE), judged, "a search"),
        "time": figures.perplexity_against_time(judged, chosen, "a search"),
    }


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn from now on."""
    kept: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(figures, "_png", keep)
    return kept


@pytest.mark.parametrize(
    "case",
    [
        {"number": 0}, {"number": 0, "failed": 0}, {"number": 1}, {"number": 1, "seeds": 1, "failed": 0}, {"number": 2},
        {"number": 8, "equal": True}, {"number": 8, "diverged": True}, {"number": 30, "seeds": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_search_of_any_size_is_drawn_without_a_warning(case):
    for png in pictures(*study(**case)).values():
        assert png.startswith(b"\x89PNG")


def test_pictures_of_a_search_follow_the_data_and_only_these():
    one, again, other = (pictures(*study(number)) for number in (3, 3, 4))
    for name in one:
        assert one[name] == again[name]
        assert one[name] != other[name]


def test_the_front_has_its_members_the_failed_and_what_to_compare_with(drawn):
    trials, judged, chosen = study(12)
    figures.pareto_front(trials, judged, chosen, report_table().rows, BARS, "a search")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    lines = {line.get_label(): line for line in axes.lines}
    assert {"rnn trials", "gru trials", "lstm trials", "failed (2)", "Kneser-Ney 6-gram 3.68"} <= set(lines)
    assert len(lines["coursework report, as it says"].get_xdata()) == len(report_table().rows)
    front = lines["front, means, 95 % intervals"]
    assert front.get_xdata()[::2].tolist() == [point.contender.macs_per_char for point in judged.front]
    assert front.get_ydata()[::2].tolist() == [point.val.mean for point in judged.front]


def test_members_are_labelled_and_the_picks_named(drawn):
    trials, judged, chosen = study(5)
    figures.pareto_front(trials, judged, chosen, (), {}, "a search")
    texts = {text.get_text() for text in drawn[0].axes[0].texts}
    assert len(texts) == len(judged.front)
    best = chosen["best"].point.contender
    assert any(text.startswith(best.label) and "best" in text for text in texts)


@pytest.mark.parametrize("number", [5, 20, 60])
def test_no_label_covers_another_or_leaves_the_axes(drawn, number):
    trials, judged, chosen = study(number)
    figures.pareto_front(trials, judged, chosen, report_table().rows, BARS, "a search")
    figures.perplexity_against_time(judged, chosen, "a search")
    for figure in drawn:
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()
        (axes,) = figure.axes
        frame = axes.get_window_extent(renderer)
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) >= min(len(judged.front), 4) - 1
        for i, box in enumerate(boxes):
            assert frame.x0 - 1 <= box.x0 <= box.x1 <= frame.x1 + 1
            assert not any(box.shrunk(0.98, 0.9).overlaps(other) for other in boxes[:i])


def test_the_hypervolume_ends_with_the_judged_one(drawn):
    trials, judged, _ = study(9)
    figures.hypervolume_history(hypervolume_by_trial(trials, REFERENCE), judged, "a search")
    (axes,) = drawn[0].axes
    (label,) = [label for label in axes.get_legend_handles_labels()[1] if label.startswith("judged")]
    assert f"{judged.hypervolume:.2f} ({judged.hypervolume_low:.2f} to {judged.hypervolume_high:.2f})" in label
    assert axes.lines[0].get_ydata()[:3].tolist() == hypervolume_by_trial(trials, REFERENCE)[:3]


def test_importances_are_bars_by_their_sum(drawn):
    figures.parameter_importance(IMPORTANCE, "importance")
    (axes,) = drawn[0].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cell", "hidden_size"]  # from below
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.8, 0.1, 0.9]


@pytest.mark.parametrize("importance", [{}, {"validation perplexity": {}}, IMPORTANCE])
def test_importances_of_any_number_are_drawn(importance):
    assert figures.parameter_importance(importance, "importance").startswith(b"\x89PNG")


def test_time_is_the_median_of_the_runs_and_who_has_none_is_left_out(drawn):
    _, judged, chosen = study(9)
    figures.perplexity_against_time(judged, chosen, "a search")
    shown = np.concatenate(
        [line.get_xdata() for line in drawn[0].axes[0].lines if line.get_label() in figures.CELL_STYLES]
    )
    times = [np.median(point.contender.ms_per_char) for point in judged.points if point.contender.ms_per_char]
    assert len(times) == 7
    assert sorted(shown) == sorted(times)


# --- the report, reproduced ------------------------------------------------------------------------------------------

NGRAMS = {"letter frequencies": 16.89, "4-gram": 5.33, "6-gram": 4.89}
DEEP = ("gru-torch-2x32", "lstm-torch-2x32", "gru-torch-8x32", "lstm-torch-8x32")


@pytest.fixture
def page_drawn(monkeypatch):
    """The figures of the page that are drawn from now on."""
    kept: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(figures, "_small_png", keep)
    return kept


def configurations(*ids: str, seeds: int = 3) -> list[Configuration]:
    found = reproduction(seeds, {id: ENDS[id] for id in ids})
    return [found[id] for id in ids]


def cut(configuration: Configuration, epochs: int) -> Configuration:
    """It, with one training that was ended after so many epochs."""
    run = configuration.runs[0]
    curves = {name: getattr(run, name)[:epochs] for name in ("train", "val", "train_pooled", "val_pooled")}
    return replace(configuration, runs=(replace(run, **curves),))


def draw_all(chosen: list[Configuration]) -> list[bytes]:
    return [
        figures.training_curves(chosen[0], 100, NGRAMS, "one"),
        figures.configurations_compared(chosen, NGRAMS, "some"),
        figures.perplexity_against_macs(chosen, NGRAMS, "all"),
    ]


def test_pictures_of_the_page_are_small_and_not_blank():
    for png in draw_all(configurations(*DEEP)):
        pixels = imread(io.BytesIO(png))
        assert 10_000 < len(png) < 60_000
        assert 0.01 < (pixels[:, :, :3] < 0.7).any(axis=2).mean() < 0.5  # inked
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_pictures_of_the_page_follow_the_data_and_only_these():
    one, again, other = (draw_all(configurations(*DEEP, seeds=seeds)) for seeds in (2, 2, 3))
    assert one == again
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_the_curves_of_a_configuration_have_mean_seeds_best_epochs_ngrams_and_what_is_reported(page_drawn):
    (chosen,) = configurations("lstm-torch-1x128")
    figures.training_curves(chosen, 100, NGRAMS, "lstm")
    (axes,) = page_drawn[0].axes
    assert axes.get_yscale() == "log"
    lines = {str(line.get_label()): line for line in axes.lines}
    for name in ("train", "val"):
        mean = np.exp(np.mean(np.log([getattr(run, name) for run in chosen.runs]), axis=0))
        label = {"train": "training", "val": "validation"}[name]
        np.testing.assert_allclose(np.asarray(lines[label].get_ydata(), dtype=float), mean)
    thin = [line for line in axes.lines if line.get_linewidth() < 0.7]
    assert len(thin) == 2 * 3
    stars = lines["best epoch"]
    assert list(stars.get_xdata()) == [run.best_epoch for run in chosen.runs]
    assert list(stars.get_ydata()) == [run.best_val for run in chosen.runs]
    assert (list(lines["as reported"].get_xdata()), list(lines["as reported"].get_ydata())) == ([1, 100], [22, 1])
    levels = sorted(line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1])
    assert levels == sorted(NGRAMS.values())
    assert "gap" in axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize("epochs", [0, 1, 12])
def test_what_is_not_finished_is_written_in_each_picture(page_drawn, epochs):
    chosen = configurations(*DEEP)
    chosen[0] = replace(chosen[0], runs=()) if epochs == 0 else cut(chosen[0], epochs)
    words = "not run" if epochs == 0 else f"{epochs} of 100 epochs"
    draw_all(chosen)
    for figure in page_drawn:
        texts = [text.get_text() for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels())]
        assert any(words in text for text in texts)


def test_the_comparison_has_a_row_for_each_with_the_four_figures(page_drawn):
    chosen = configurations(*DEEP)
    figures.configurations_compared(chosen, NGRAMS, "deep")
    left, right = page_drawn[0].axes
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["GRU 2x32", "LSTM 2x32", "GRU 8x32", "LSTM 8x32"]
    marks = [line.get_xdata()[0] for line in right.lines if line.get_label() == "validation, best epoch"]
    assert marks == pytest.approx([np.exp(np.mean(np.log([r.best_val for r in each.runs]))) for each in chosen])
    reported = [line.get_xdata()[0] for line in right.lines if line.get_label() == "as reported"]
    assert reported == [5, 2, 16, 16]
    assert left.get_legend_handles_labels()[1] == ["GRU 2x32", "LSTM 2x32", "GRU 8x32", "LSTM 8x32"]
    looks = {(line.get_color(), line.get_marker()) for line in left.lines if not str(line.get_label()).startswith("_")}
    assert len(looks) == 4


def test_names_with_dollars_and_line_breaks_are_drawn_as_they_are(page_drawn, monkeypatch):
    (chosen,) = configurations("gru-torch-2x32")
    odd = replace(chosen, reported=replace(chosen.reported, id="a$\\frac$\nb" + 80 * "x"))
    figures.perplexity_against_macs([odd], NGRAMS, "$\\alpha$ _ ^")
    monkeypatch.undo()
    assert figures._small_png(page_drawn[0]).startswith(b"\x89PNG")
    (label,) = [text.get_text() for text in page_drawn[0].axes[0].texts if "frac" in text.get_text()]
    assert len(label) < 45


def test_any_number_of_configurations_is_drawn():
    found = reproduction(1)
    for chosen in ([], list(found.configurations[:1]), list(found.configurations)):
        assert figures.perplexity_against_macs(chosen, NGRAMS, "many").startswith(b"\x89PNG")
        assert figures.configurations_compared(chosen, {}, "many").startswith(b"\x89PNG")
