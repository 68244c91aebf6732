"""The statements of the report as data: each claims what its kind can judge."""

from re import fullmatch

import pytest

from pipeline.report.statements.kinds import BASES, KINDS, report_statements
from pipeline.report.table import SIZE, report_rows

NUMBER = r"\d+(\.\d+)?"
CLAIMS = {  # kind -> patterns of the words of its relation, and of its value
    "start": ("about", NUMBER),
    "end": ("about", NUMBER),
    "gap": (
        "not-visible-at-first|not-considerable-at-first|never-visible|never-considerable|visible-at-last|"
        "considerable-at-last|constant|overfitting|grows-throughout|grows-slightly",
        f"({NUMBER})?",
    ),
    "gap-onset": ("from|from-slightly", r"[1-9]\d*"),
    "gap-order": ("smaller|considerably-larger", ""),
    "generalises": ("better|alike|better-unseen|worse-unseen|by-each-reason", ""),
    "perplexity-order": ("lower|higher|far-higher|higher-than-some|among-lowest", ""),
    "best": ("best|not-better|best-by-gap|most-accurate|by-each-reason|by-all-reasons", ""),
    "texts": ("prompts|transcript|sense|no-sense|sentences|close|not-close", ""),
    "texts-order": ("same|closest|less-sense|alike-without-sense", ""),
    "size": ("parameters|macs|units", SIZE),
    "size-order": ("more|less|considerably-more|considerably-less", ""),
    "print-out": (r"(rnn|gru|lstm)-[1-9]\d{0,2}x[1-9]\d{0,4}", f"{SIZE}; {SIZE}"),
    "seconds": ("took", NUMBER),
    "time-order": ("slightly-(longer|shorter)|(not-)?considerably-longer|shorter-than-some", ""),
    "caption": (r"in-order|figures|sizes|book|figure=\d+|((cell=(rnn|gru|lstm)|(layers|units)=\d+)( |$))+", ""),
}
COMPARING = {kind for kind in KINDS if kind.endswith("-order")} | {"generalises", "best"}


def test_the_report_makes_258_statements_about_configurations_of_its_table():
    statements = report_statements()
    assert len(statements) == len({statement.id for statement in statements}) == 258
    assert {id for statement in statements for id in statement.configurations} == {row.id for row in report_rows()}
    assert {statement.kind for statement in statements} == {*KINDS} == {*CLAIMS}
    assert {statement.basis for statement in statements} == {*BASES}
    curves = {"", "training", "validation", "training and validation", "not said"}
    assert {statement.curve for statement in statements} <= curves


@pytest.mark.parametrize("kind", KINDS)
def test_each_statement_claims_what_its_kind_can_judge(kind):
    relation, value = CLAIMS[kind]
    for statement in (each for each in report_statements() if each.kind == kind):
        assert fullmatch(relation, statement.relation), statement.id
        assert fullmatch(value, statement.value), statement.id
        assert bool(statement.value) or statement.relation not in ("constant", "grows-slightly"), statement.id
        assert bool(statement.reasons) or statement.relation not in ("by-each-reason", "by-all-reasons"), statement.id
        assert len(statement.configurations) > (kind in COMPARING) or kind == "caption", statement.id
