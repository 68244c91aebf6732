"""Pictures of the report's page: small, and of what they are given."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.report.page import figures
from pipeline.report.reproduction import Configuration
from pipeline.support import plotting
from tests.pictures import figures_drawn
from tests.report.reproductions import ENDS, reproduction

NGRAMS = {"letter frequencies": 16.89, "4-gram": 5.33, "6-gram": 4.89}
DEEP = ("gru-torch-2x32", "lstm-torch-2x32", "gru-torch-8x32", "lstm-torch-8x32")


@pytest.fixture
def page_drawn(monkeypatch):
    """The figures of the page that are drawn from now on."""
    return figures_drawn(monkeypatch)


def configurations(*ids: str, seeds: int = 3) -> list[Configuration]:
    found = reproduction(seeds, {id: ENDS[id] for id in ids})
    return [found[id] for id in ids]


def cut(configuration: Configuration, epochs: int) -> Configuration:
    """It, with one training that was ended after so many epochs."""
    run = configuration.runs[0]
    curves = {name: getattr(run, name)[:epochs] for name in ("train", "val", "train_pooled", "val_pooled")}
    return replace(configuration, runs=(replace(run, **curves),))


@pytest.fixture
def coarse(monkeypatch):
    """Fewer pixels, where it matters that a picture is drawn and not how it looks."""
    monkeypatch.setattr(figures, "PAGE_DOTS_PER_INCH", 20)


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


def test_pictures_of_the_page_follow_the_data_and_only_these(coarse):
    one, again, other = (draw_all(configurations(*DEEP[:2], seeds=seeds)) for seeds in (2, 2, 3))
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


@pytest.mark.parametrize("epochs", [0, 1])
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
    assert plotting.png(page_drawn[0]).startswith(b"\x89PNG")
    (label,) = [text.get_text() for text in page_drawn[0].axes[0].texts if "frac" in text.get_text()]
    assert len(label) < 45


def test_any_number_of_configurations_is_drawn(coarse):
    found = reproduction(1)
    for chosen in ([], list(found.configurations)):
        assert figures.perplexity_against_macs(chosen, NGRAMS, "many").startswith(b"\x89PNG")
        assert figures.configurations_compared(chosen, {}, "many").startswith(b"\x89PNG")
