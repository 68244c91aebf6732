"""Figures: numbers on axes, and labels beside dots."""

import pytest

from pipeline.support.drawing import drawable, si
from pipeline.support.plotting import add_axes, laid_out, new_figure, plain_number, write_labels

DOT = (0.5, 0.5)


def written(labels, dots=(), lines=(), keep=10):
    """The boxes in pixels of the labels on axes from 0 to 1, by text."""
    figure = new_figure(4, 3)
    axes = add_axes(figure)
    write_labels(axes, labels, dots, lines, keep)
    renderer = laid_out(figure)
    return {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}, axes


def test_labels_of_one_place_do_not_overlap():
    boxes, _ = written([(name, *DOT) for name in ("one", "two", "three", "four")])
    for name, box in boxes.items():
        assert not any(box.overlaps(other) for text, other in boxes.items() if text != name)


def test_a_label_covers_neither_a_dot_nor_a_line():
    dots, line = [(0.55, 0.55), (0.45, 0.55)], ((0.0, 0.45), (1.0, 0.45))
    boxes, axes = written([("label", *DOT)], dots, [line])
    box = boxes["label"]
    for dot in dots:
        assert not box.contains(*axes.transData.transform(dot))
    low = axes.transData.transform(line[0])[1]
    assert not box.y0 <= low <= box.y1


def test_labels_without_a_free_place_are_left_out_after_the_first():
    grid = [(x / 40, y / 40) for x in range(41) for y in range(41)]
    boxes, _ = written([(name, *DOT) for name in ("one", "two", "three")], grid, keep=1)
    assert list(boxes) == ["one"]


@pytest.mark.parametrize(
    ("value", "short", "plain"),
    [(999, "999", "999"), (1500, "1.5k", "1,500"), (2e6, "2M", "2,000,000")],
)
def test_numbers_have_a_suffix_or_separators(value, short, plain):
    assert (si(value), plain_number(value)) == (short, plain)


def test_an_infinite_perplexity_is_clipped():
    assert drawable([2.5, float("inf")]) == [2.5, 1e6]
