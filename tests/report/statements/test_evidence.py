"""Evidence: values over our seeds and d2l's, their pooled spread, and comparisons corrected for their number."""

from statistics import geometric_mean

import pytest

from pipeline.report.reproduction import d2l_trainings
from pipeline.report.statements.evidence import LAST_GAP, LAST_TRAIN, LAST_VAL, Bounds, Evidence
from pipeline.report.statements.kinds import report_statements
from pipeline.report.statements.verdicts import HOLDS, OPEN, Verdict
from pipeline.support.statistics import holm
from tests.report.alterations import runs
from tests.report.reproductions import ENDS, reproduction

WITH, WITHOUT = "gru-torch-2x32", "gru-torch-2x128"  # d2l's seeds reach the last epoch for the first only


def unjudged(statement, made):
    return Verdict(statement, OPEN, "Nobody asks.")


def evidence(found=None, statements=(), evaluate=unjudged):
    return Evidence(found or reproduction(), statements, Bounds(), evaluate)


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
    counts = [len(made.values(row.id, LAST_TRAIN)) for row in made.rows]
    assert spread.degrees_of_freedom == sum(counts) - len(counts)
    single = evidence(runs(WITHOUT, lambda run: run)(reproduction(seeds=1))).mean(WITHOUT, LAST_TRAIN)
    assert single.low is not None  # by the seeds of d2l's others


def test_p_values_are_corrected_over_the_comparisons_of_a_kind_and_no_others():
    ids = ("rnn-torch-1x128", "gru-torch-1x128", "gru-torch-2x128")
    best, order = (next(each for each in report_statements() if each.kind == kind) for kind in ("best", "gap-order"))
    seen = {}

    def evaluate(statement, made):
        others = ids if statement.kind == "best" else ids[:1]
        seen[statement.kind] = [made.compare(statement.kind, WITH, other, LAST_GAP) for other in others]
        made.compare(statement.kind, others[0], WITH, LAST_GAP)  # the other way round is the same comparison
        return Verdict(statement, HOLDS, "It is.")

    made = evidence(statements=(best, order), evaluate=evaluate).corrected()
    assert len(made.verdicts) == 2
    assert [each.adjusted_p for each in seen["best"]] == holm([each.p for each in seen["best"]])
    assert [each.adjusted_p for each in seen["gap-order"]] == [each.p for each in seen["gap-order"]]
