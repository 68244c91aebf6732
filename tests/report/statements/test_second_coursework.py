"""A second, made-up coursework: its table and its statements are judged by the same evaluators."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.report.statements.judging import weigh
from pipeline.report.statements.table import COMPARED, KINDS, RELATIONS, Statement, read_statements
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, WORDS
from pipeline.report.table import read_table
from tests.report.alterations import runs
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judge

DATA = Path(__file__).parents[2] / "data"
TABLE = read_table(DATA / "coursework.csv")
STATEMENTS = read_statements(DATA / "coursework_statements.csv", TABLE)
ENDS = {"small": (7.6, 8.0), "deep": (5.0, 7.0), "gates": (7.0, 7.6)}
FOUND = reproduction(table=TABLE, ends=ENDS)
EXAMPLES = {  # relations of the kinds that have a pattern in place of words
    "caption": ["in-order", "figures", "sizes", "book", "figure=1", "figure=99", "cell=gru layers=1 units=16"],
    "print-out": ["gru-1x16", "rnn-3x7"],
}


def words(found, statements=STATEMENTS):
    return {verdict.statement.id: verdict.word for verdict in judge(found, statements)}


def test_every_kind_is_there():
    assert {statement.kind for statement in STATEMENTS} == set(KINDS)


def test_its_statements_are_judged():
    assert words(FOUND) == {
        "small-start": HOLDS,
        "small-end": HOLDS,
        "deep-end": FAILS,
        "small-gap": HOLDS,
        "deep-gap-onset": FAILS,
        "deep-gap": HOLDS,
        "deep-lower": HOLDS,
        "deep-unseen": HOLDS,
        "deep-best": HOLDS,
        "small-text": HOLDS,
        "texts-closest": FAILS,
        "small-seconds": HOLDS,
        "gates-seconds": HOLDS,
        "deep-slower": HOLDS,
        "gates-size": HOLDS,
        "gates-larger": HOLDS,
        "small-print-out": HOLDS,
        "caption-2": HOLDS,
        "caption-4": FAILS,
    }


def test_other_trainings_make_other_verdicts():
    other = words(reproduction(table=TABLE, ends={**ENDS, "deep": (5.0, 9.0)}))
    assert other["deep-lower"] == IN_PART
    assert other["deep-unseen"] == FAILS
    assert other["deep-best"] == IN_PART


def test_levels_of_different_curves_are_not_compared_without_a_word():
    verdict = next(each for each in judge(FOUND, STATEMENTS) if each.statement.id == "deep-lower")
    told = "5.2 (deep) and 8.1 (small), which are of different curves: training (deep) and validation (small)."
    assert told in verdict.because


@pytest.mark.parametrize("found", [FOUND, reproduction(1, ENDS, TABLE), reproduction(0, ENDS, TABLE)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_relation_is_judged_whatever_is_trained(kind, found):
    relations = EXAMPLES.get(kind) or RELATIONS[kind].split("|")
    value = {"print-out": "1 k; 2 MMac", "size": "3 k"}.get(kind, "5")
    made = [
        Statement(f"{number}", ("1",), kind, ("small", "deep")[: max(1, COMPARED.get(kind, 1))], "It is so.", value,
                  "not said", relation, reasons=("size",) if kind == "best" else ())
        for number, relation in enumerate(relations)
    ]  # fmt: skip
    size = Statement("size", (), "size", ("small",), "It is so.", "2 k", relation="parameters")
    assert {verdict.word for verdict in judge(found, [*made, size])} <= set(WORDS)


def test_one_seed_that_diverged_is_no_obstacle():
    worst = runs("deep", lambda run: replace(run, train=(float("inf"),) * 100, val=(float("inf"),) * 100))
    assert len(weigh(worst(FOUND), STATEMENTS).verdicts) == len(STATEMENTS)
