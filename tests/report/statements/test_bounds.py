"""Bounds: each is one number with a sentence, and can be scaled."""

import pytest

from pipeline.report.statements.bounds import Bounds, names, sentences


def test_each_bound_has_a_sentence_with_its_value():
    assert sentences(Bounds(visible_gap=0.75))["visible_gap"].count("0.75") == 1
    assert set(sentences()) == set(names())


@pytest.mark.parametrize("name", names())
def test_a_bound_is_scaled_alone(name):
    scaled = Bounds().scaled(name, 2)
    assert getattr(scaled, name) == 2 * getattr(Bounds(), name)
    assert scaled.scaled(name, 0.5) == Bounds()


def test_about_a_level_is_half_a_digit_or_a_tenth():
    assert Bounds().about(2) == (1.5, 2.5)
    assert Bounds().about(20) == (18, 22)


def test_near_an_epoch_is_some_epochs_or_a_share():
    assert Bounds().near_epoch(4) == (-1, 9)
    assert Bounds().near_epoch(40) == (20, 60)
