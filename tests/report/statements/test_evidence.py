"""Evidence: values over our seeds and d2l's, their pooled spread, and comparisons corrected for their number."""

from dataclasses import replace
from statistics import geometric_mean

import pytest

from pipeline.report.reproduction import d2l_trainings
from pipeline.report.statements.evidence import (
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    Comparison,
    Evidence,
    with_interval,
)
from pipeline.report.statements.kinds import report_statements
from pipeline.report.statements.verdicts import Verdict, Word
from pipeline.support.statistics import Estimate, holm
from tests.report.alterations import runs
from tests.report.reproductions import ENDS, reproduction

WITH, WITHOUT = "gru-torch-2x32", "gru-torch-2x128"  # d2l's seeds reach the last epoch for the first only


def unjudged(statement, made):
    return Verdict(statement, Word.OPEN, "Nobody asks.")


def evidence(found=None, statements=(), evaluate=unjudged):
    return Evidence(found or reproduction(), statements, evaluate)


def test_d2ls_seeds_are_further_seeds_where_they_have_all_epochs():
    made = evidence()
    theirs = [run.val[-1] for run in d2l_trainings(reproduction()[WITH].reported)]
    assert made.values(WITH, LAST_VAL) == [run.val[-1] for run in reproduction()[WITH].runs] + theirs
    assert made.seeds(WITH) == "3 seeds and 5 of d2l's"
    assert made.seeds(WITHOUT) == "3 seeds"
    none_of_ours = evidence(reproduction(ends={id: end for id, end in ENDS.items() if id != WITH}))
    assert none_of_ours.values(WITH, LAST_VAL) == []


def test_a_mean_has_the_spread_of_a_seed_pooled_over_all_configurations():
    made = evidence()
    mean, spread = made.mean(WITHOUT, LAST_TRAIN), made.spread(LAST_TRAIN)
    assert mean.mean == pytest.approx(geometric_mean(made.values(WITHOUT, LAST_TRAIN)))
    counts = [len(made.values(row.id, LAST_TRAIN)) for row in made.reproduction.configurations]
    assert spread.degrees_of_freedom == sum(counts) - len(counts)
    single = evidence(runs(WITHOUT, lambda run: run)(reproduction(seeds=1))).mean(WITHOUT, LAST_TRAIN)
    assert single.low is not None  # by the seeds of d2l's others


def test_p_values_are_corrected_over_all_comparisons_and_a_pair_has_one_whatever_the_kind_of_statement():
    ids = ("rnn-torch-1x128", "gru-torch-1x128", "gru-torch-2x128")
    best, order = (next(each for each in report_statements() if each.kind == kind) for kind in ("best", "gap-order"))
    seen = {}

    def evaluate(statement, made):
        others = ids if statement.kind == "best" else ids[:1]
        seen[statement.kind] = [made.compare(WITH, other, LAST_GAP) for other in others]
        made.compare(others[0], WITH, LAST_GAP)  # the other way round is the same comparison
        return Verdict(statement, Word.HOLDS, "It is.")

    made = evidence(statements=(best, order), evaluate=evaluate).corrected()
    assert len(made.verdicts) == 2
    assert [each.adjusted_p for each in seen["best"]] == holm([each.p for each in seen["best"]])
    assert [each.adjusted_p for each in seen["gap-order"]] == [seen["best"][0].adjusted_p]


# --- relations and the bounds of words -------------------------------------------------------------------------------

COMPARISON = Comparison("a", "b", (5.84, 4.1), Estimate(0.424, 0.381, 0.469), True, (8, 3), p=0.001, adjusted_p=0.004)


def test_a_comparison_has_a_sign_only_where_the_corrected_p_value_is_small():
    assert COMPARISON.sign == 1
    assert replace(COMPARISON, difference=Estimate(-0.4, -0.5, -0.3)).sign == -1
    assert [replace(COMPARISON, adjusted_p=p).sign for p in (0.06, None)] == [0, 0]


def test_an_interval_that_contains_a_limit_is_on_the_bound():
    mean = Estimate(5.5, 5.44, 5.56)
    assert [with_interval(mean, *limits) for limits in ((4.5, 5.5), (4.5, 5.57))] == [
        "5.50 ± 0.06 (on the bound)",
        "5.50 ± 0.06",
    ]
    assert with_interval(Estimate(5.5), 5.5) == "5.50"
