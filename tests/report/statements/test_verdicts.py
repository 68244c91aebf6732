"""Verdicts in five words, counted, and comparisons in words."""

from dataclasses import replace

from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    WORDS,
    Comparison,
    Verdict,
    tally,
    tally_by_basis,
    words_counted,
)
from pipeline.support.statistics import Estimate

COMPARISON = Comparison(
    "one", "other", "end", (5.84, 4.1), Estimate(0.424, 0.381, 0.469), True, (8, 8), 14.0, p=0.001, adjusted_p=0.004
)


def verdicts(*pairs):
    by_kind = {statement.kind: statement for statement in report_statements()}
    return [Verdict(by_kind[kind], word, "because") for kind, word in pairs]


def test_verdicts_are_counted_by_kind_and_by_what_decides_them():
    made = verdicts(("size", HOLDS), ("size", FAILS), ("size", HOLDS), ("end", OPEN))
    assert tally(made)["size"] == {**dict.fromkeys(WORDS, 0), HOLDS: 2, FAILS: 1}
    assert tally_by_basis(made)["report"][HOLDS] == 2
    assert tally_by_basis(made)["training"] == {**dict.fromkeys(WORDS, 0), OPEN: 1}
    assert words_counted(made) == {**dict.fromkeys(WORDS, 0), HOLDS: 2, FAILS: 1, OPEN: 1}


def test_a_comparison_has_a_sign_only_where_the_corrected_p_value_is_small():
    assert COMPARISON.sign == 1
    assert replace(COMPARISON, difference=Estimate(-0.4, -0.5, -0.3)).sign == -1
    assert replace(COMPARISON, adjusted_p=0.06).sign == 0
    assert replace(COMPARISON, adjusted_p=None).sign == 0


def test_a_comparison_is_told_with_its_interval_seeds_and_p_value():
    assert COMPARISON.text == "5.84 against 4.10, +42.4 % (+38.1 to +46.9 %; 8 seeds each, df 14, p 0.004)"
    gap = replace(COMPARISON, relative=False, difference=Estimate(-0.5, -0.7, -0.3), seeds=(3, 8))
    assert gap.text == "5.84 against 4.10, -0.50 (-0.70 to -0.30; 3 and 8 seeds, df 14, p 0.004)"
    alone = replace(COMPARISON, difference=Estimate(0.424, None, None), seeds=(1, 1), adjusted_p=None)
    assert alone.text == "5.84 against 4.10, +42.4 % (1 seed each, no interval)"
