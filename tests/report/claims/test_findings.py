"""Findings: how the outcomes of parts combine."""

from pipeline.report.claims.findings import FAILS, HOLDS, OPEN, all_of, each_of, reasoned, settled


def test_parts_that_all_must_hold():
    yes, no, unknown = settled(True, "A."), settled(False, "B."), settled(True, "C.")._replace(outcome=OPEN)
    assert all_of(yes, unknown, no) == (FAILS, "B.")
    assert all_of(yes, unknown) == (OPEN, "C.")
    assert all_of(yes, yes._replace(because="D.")) == (HOLDS, "A. D.")


def test_a_conclusion_is_stated_whatever_its_reasons_decide():
    conclusion, reason = settled(True, "A."), settled(False, "B.")
    assert reasoned(conclusion, reason) == (FAILS, "A. B.")
    assert reasoned(conclusion, settled(True, "C.")) == (HOLDS, "A. C.")
    assert each_of(conclusion, reason) == (FAILS, "A. B.")
