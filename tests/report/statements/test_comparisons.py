"""Relations between quantities, and the bounds of words."""

from dataclasses import replace

import pytest

from pipeline.report.statements.evidence import Bounds, Comparison, with_all
from pipeline.report.statements.printed import ratio_word
from pipeline.report.statements.trained import with_all_but_one, with_some
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN
from pipeline.support.statistics import Estimate

COMPARISON = Comparison("a", "b", (5.84, 4.1), Estimate(0.424, 0.381, 0.469), True, (8, 3), p=0.001, adjusted_p=0.004)


def test_a_comparison_has_a_sign_only_where_the_corrected_p_value_is_small():
    assert COMPARISON.sign == 1
    assert replace(COMPARISON, difference=Estimate(-0.4, -0.5, -0.3)).sign == -1
    assert [replace(COMPARISON, adjusted_p=p).sign for p in (0.06, None)] == [0, 0]


@pytest.mark.parametrize(
    ("words", "unknown", "of_all", "of_some", "but_one"),
    [
        ([HOLDS, HOLDS], 0, HOLDS, HOLDS, HOLDS),
        ([HOLDS, FAILS], 0, FAILS, HOLDS, HOLDS),
        ([FAILS, FAILS], 0, FAILS, FAILS, FAILS),
        ([HOLDS, OPEN], 0, OPEN, HOLDS, HOLDS),
        ([FAILS], 1, FAILS, OPEN, OPEN),
        ([HOLDS], 1, OPEN, HOLDS, HOLDS),
        ([], 2, OPEN, OPEN, OPEN),
    ],
)
def test_comparisons_with_several_are_combined(words, unknown, of_all, of_some, but_one):
    assert [each(words, unknown) for each in (with_all, with_some, with_all_but_one)] == [of_all, of_some, but_one]


@pytest.mark.parametrize(
    ("relation", "ratio", "word"),
    [
        ("more", 1.01, HOLDS),
        ("more", 1.0, FAILS),
        ("less", 0.99, HOLDS),
        ("considerably-more", 1.25, HOLDS),
        ("considerably-more", 1.24, IN_PART),
        ("considerably-less", 0.8, HOLDS),
        ("considerably-longer", 0.8, FAILS),
        ("slightly-longer", 1.1, HOLDS),
        ("slightly-longer", 1.11, IN_PART),
        ("slightly-shorter", 0.95, HOLDS),
        ("slightly-shorter", 1.05, FAILS),
        ("not-considerably-longer", 1.24, HOLDS),
        ("not-considerably-longer", 0.5, HOLDS),
        ("not-considerably-longer", 1.25, FAILS),
    ],
)
def test_a_ratio_is_held_to_its_words(relation, ratio, word):
    assert ratio_word(relation, ratio, Bounds()) == word


def test_about_a_level_or_an_epoch_is_a_number_or_a_share():
    assert (Bounds().about(2), Bounds().about(20)) == ((1.5, 2.5), (18, 22))
    assert (Bounds().near_epoch(4), Bounds().near_epoch(40)) == ((-1, 9), (20, 60))
