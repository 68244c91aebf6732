"""The pictures of an answer: what they show, and that no label overlaps another."""

from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from pipeline.answer import pictures
from tests.figures import findings
from tests.pictures import figures_drawn

PICTURES = {"answer": pictures.answer_picture, "costs": pictures.costs_picture}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    with pytest.MonkeyPatch.context() as patch:
        kept, found = figures_drawn(patch), findings()
        for draw in PICTURES.values():
            draw(found)
    return dict(zip(PICTURES, kept, strict=True))


def labels(figure: Figure, panel: int) -> list[Annotation]:
    return [text for text in figure.axes[panel].texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("picture", PICTURES)
def test_no_label_covers_another_or_leaves_the_axes(drawn, picture):
    figure = drawn[picture]
    figure.draw_without_rendering()
    for panel, axes in enumerate(figure.axes):
        frame = axes.get_window_extent()
        boxes = [label.get_window_extent() for label in labels(figure, panel)]
        assert all(frame.x0 <= box.x0 <= box.x1 <= frame.x1 for box in boxes)
        assert all(frame.y0 <= box.y0 <= box.y1 <= frame.y1 for box in boxes)
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_labels_of_sizes_and_orders_do_not_hang_on_the_names_of_models(monkeypatch):
    kept, found = figures_drawn(monkeypatch), findings()
    counted, trained = (tuple(replace(each, name="it") for each in part) for part in (found.counted, found.trained))
    pictures.costs_picture(replace(found, counted=counted, trained=trained))
    assert {"3", "8", "128", "LSTM 1x8 on n-grams"} <= {label.get_text() for label in labels(kept[0], 0)}


def test_panels_name_what_they_compare_each_order_and_size_and_pythons_part_of_the_time(drawn):
    figure = drawn["answer"]
    assert [axes.get_title().split(":")[0] for axes in figure.axes] == ["Alone", "Together", "Small", "Adaptive"]
    assert {label.get_text() for label in labels(figure, 0)} == {"n-grams", "LSTM 1x192"}
    assert {label.get_text() for label in labels(figure, 2)} == {"by numbers", "by bytes", "32", "64", "128", "192"}
    assert [len(figure.axes[panel].get_yticks()) for panel in (1, 3)] == [4, 3]
    for panel in (0, 1):
        named = {label.get_text() for label in labels(drawn["costs"], panel)}
        assert named >= {"2-gram", "3", "8", "all orders", "LSTM 1x16", "192", "LSTM 1x8 on n-grams"}
    assert f"Python takes {findings().python_ms:.2f}" in drawn["costs"].axes[1].get_xlabel()
