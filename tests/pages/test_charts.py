"""The charts of pages: values stand where the axes have them, and labels neither collide nor leave the chart."""

import json
import re
from itertools import pairwise

import pytest

from pipeline.pages.charts import Row, Scale, Series, explorer, rows_chart, spread

CAPTION = "a caption"


def series(number: int, **changes) -> Series:
    cost = 1000 * 2**number
    val = [20.0, 8.0 / (1 + number / 4)]
    fields = {"name": f"rnn {number}", "shape": f"RNN 1x{8 * number}", "cell": "rnn", "cost": cost}
    fields |= {"epochs_planned": 2, "seeds": [0], "best": [val[-1]], "best_epochs": [2], "train": [val], "val": [val]}
    return Series(**(fields | changes))


def test_a_scale_maps_to_user_units_and_has_round_ticks():
    scale = Scale(2, 32, 244, 20)
    assert (scale(2), scale(8), scale(32), scale(float("inf"))) == pytest.approx((244, 132, 20, 20))
    assert scale.ticks == [2, 3, 5, 10, 20, 30]


def test_labels_are_spread():
    assert spread([100.0, 101.0, 243.0, 244.0], 20, 244) == [100, 112, 232, 244]
    assert spread([5.0, 1.0, 3.0], 0, 10, 1) == [5.0, 1.0, 3.0]


def test_a_value_of_a_row_stands_at_its_tick():
    drawn = rows_chart([Row("a", [("circle", "val", 5.0)])], {}, "perplexity").elements
    (tick,) = re.findall(r'<text x="([\d.]+)"[^>]*>5</text>', drawn)
    assert re.findall(r'cx="([\d.]+)"', drawn) == [tick]


def test_the_picks_of_a_front_are_ringed_and_named():
    html = explorer([series(0, picks=["small"]), series(1), series(2, picks=["knee", "best"])], {}, CAPTION).front
    assert html.count('class="pick"') == 2
    assert "RNN 1x0 (small)</text>" in html
    assert "RNN 1x16 (knee, best)</text>" in html


def test_a_training_perplexity_that_overflowed_is_drawn_at_the_edge_of_a_finite_axis():
    drawn = explorer([series(0, train=[[float("inf"), 5.0]]), series(1)], {}, CAPTION)
    assert not re.search("inf|nan", drawn.curves, re.IGNORECASE)
    assert "Infinity" not in drawn.data, "no browser reads it"
    assert json.loads(drawn.data)[0]["train"] == [[1e6, 5.0]]


def test_the_labels_of_curves_are_spread_before_any_script_runs():
    drawn = explorer([series(0), series(1), series(2)], {"4-gram": 8.0}, CAPTION)
    heights = sorted(float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="name">', drawn.curves)[:3])
    assert min(after - before for before, after in pairwise(heights)) >= 11.9
