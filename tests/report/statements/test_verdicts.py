"""Verdicts in five words: from the parts of a statement, counted, and one for every statement."""

import pytest

from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import Part, Word, concluded, each_of
from tests.report.reproductions import reproduction

HOLDS, IN_PART, WRONG_REASON, FAILS, OPEN = Word

SAID = report_statements()[0]


@pytest.mark.parametrize(
    ("words", "word", "part"),
    [
        ([HOLDS, HOLDS], HOLDS, ""),
        ([HOLDS, FAILS], IN_PART, "0"),
        ([HOLDS, OPEN], IN_PART, "0; open: seeds of 1"),
        ([FAILS, OPEN], FAILS, ""),
        ([OPEN, OPEN], OPEN, "seeds of 0 and seeds of 1"),
        ([IN_PART, FAILS], IN_PART, "0"),
    ],
)
def test_parts_count_separately(words, word, part):
    parts = [Part(str(number), each, needs=(f"seeds of {number}",)) for number, each in enumerate(words)]
    verdict = each_of(SAID, parts)
    assert (verdict.word, verdict.part) == (word, part)


@pytest.mark.parametrize(
    ("conclusion", "reasons", "word"),
    [
        (HOLDS, [], HOLDS),
        (HOLDS, [HOLDS, FAILS], WRONG_REASON),
        (HOLDS, [HOLDS, OPEN], OPEN),
        (HOLDS, [HOLDS, IN_PART], IN_PART),
        (FAILS, [HOLDS], IN_PART),
        (FAILS, [OPEN], FAILS),
        (OPEN, [HOLDS], OPEN),
    ],
)
def test_a_conclusion_rests_on_all_of_its_reasons(conclusion, reasons, word):
    assert concluded(SAID, Part("it", conclusion), [Part("why", reason) for reason in reasons]).word == word


@pytest.mark.parametrize("found", [reproduction(), reproduction(ends={}), reproduction(quick=True)])
def test_each_statement_has_a_verdict_that_says_which_part_or_what_is_open(found):
    made = weigh(found, report_statements()).verdicts
    assert [verdict.statement for verdict in made] == list(report_statements())
    assert all(bool(verdict.part) == (verdict.word in (IN_PART, OPEN)) for verdict in made)
