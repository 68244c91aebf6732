import re

import pytest

from pipeline.report.statements import table
from pipeline.report.statements.judging import EVALUATORS, sensitivity
from pipeline.report.statements.table import KINDS, report_statements
from pipeline.report.statements.verdicts import IN_PART, OPEN
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judge


def test_each_kind_has_an_evaluator():
    assert set(EVALUATORS) == set(KINDS)


@pytest.mark.parametrize(
    "found", [reproduction(), reproduction(ends={}), reproduction(seeds=1), reproduction(quick=True)]
)
def test_each_statement_has_a_verdict_that_says_which_part_or_what_is_open(found):
    verdicts = judge(found, report_statements())
    assert [verdict.statement.id for verdict in verdicts] == [statement.id for statement in report_statements()]
    assert all(bool(verdict.part) == (verdict.word in (IN_PART, OPEN)) for verdict in verdicts)


def test_the_relations_of_curves_and_texts_are_documented_where_they_are_checked():
    documented = set(re.findall(r"[a-z][a-z-]+", table.__doc__))
    for kind, pattern in table.RELATIONS.items():
        if kind not in ("caption", "print-out"):
            assert set(pattern.split("|")) <= documented


def test_scaling_a_bound_changes_some_verdicts():
    changed = sensitivity(reproduction(seeds=1), [each for each in report_statements() if each.kind == "end"])
    assert changed["level_share"] != (0, 0)
    assert changed["seconds"] == (0, 0)
