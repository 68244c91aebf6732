"""Pictures of a training: they can be drawn for short, long, flat and exploded curves, and show what they are given."""

import struct

import numpy as np
import pytest

from pipeline.stages import pictures
from tests.pictures import figures_drawn

CURVES = {
    "one epoch": ([9.0], [8.0]),
    "flat": ([28.0] * 5, [28.0] * 5),
    "exploded": ([20.0, 1e300, float("inf")], [20.0, 1e200, 1e250]),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_of_any_length_and_height_are_drawn(name):
    train, val = CURVES[name]
    for png in (
        pictures.perplexity_curves(train, val, 1, {"6-gram": 3.7, "letter frequencies": 16.9}, name),
        pictures.generalisation_gap(train, val, name),
    ):
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert width == 1200
        assert height >= 450


def test_the_curves_show_both_lines_the_best_epoch_and_the_bars(monkeypatch):
    drawn = figures_drawn(monkeypatch)
    pictures.perplexity_curves([9.0, 6.0, 5.0], [8.0, 6.5, 7.0], 2, {"6-gram": 3.678}, "lstm on a text")
    (axes,) = drawn[0].axes
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "lstm on a text"
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines["validation"] == [8.0, 6.5, 7.0]
    assert lines["train (measured while training)"] == [9.0, 6.0, 5.0]
    assert lines["6-gram 3.68"] == [3.678, 3.678]
    assert [text.get_text() for text in axes.texts] == ["best 6.500"]
