"""Statements as data: those of the report, and what a file of others may hold."""

import re

import pytest

from pipeline.errors import InputError
from pipeline.report.statements.table import BASES, read_statements, report_statements
from pipeline.report.table import report_rows

HEAD = "id,kind,configurations,statement,value,relation"
GOOD = "a,size,gru-torch-2x32,The GRU has 13 k parameters.,13 k,parameters"


@pytest.fixture
def written(tmp_path):
    def read(*lines, head=HEAD):
        path = tmp_path / "theirs.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return read_statements(path)

    return read


def test_the_report_makes_258_statements_about_configurations_of_its_table():
    ids = {row.id for row in report_rows()}
    statements = report_statements()
    assert len(statements) == len({statement.id for statement in statements}) == 258
    assert {id for statement in statements for id in statement.configurations} == ids
    assert {statement.basis for statement in statements} == set(BASES)


def test_what_other_columns_lack_has_defaults(written):
    (only,) = written(GOOD)
    assert (only.basis, only.curve, only.reasons, only.figures) == ("training", "", (), ())


def test_lists_are_separated_by_semicolons(written):
    line = "b,time-order,gru-torch-2x32; lstm-torch-2x32,It took slightly longer.,,slightly-longer"
    assert written(line)[0].configurations == ("gru-torch-2x32", "lstm-torch-2x32")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD.replace("size", "sizes"), "line 2: kind is 'sizes'; it must be one of start, end, gap"),
        (GOOD.replace("a,", ",", 1), "line 2: id is empty"),
        (GOOD.replace("13 k,", "many,"), "line 2: value is 'many'; for size it must match"),
        (
            GOOD.replace(",parameters", ",weight"),
            "relation is 'weight'; for size it must match parameters|macs",
        ),
        (GOOD.replace("gru-torch-2x32", ""), "line 2: configurations has too few ids; size needs 1 or more"),
        (GOOD.replace("gru-torch-2x32", "mine"), "line 2: configurations has 'mine'; the table has gru-scratch-1x1024"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_line_and_column(written, line, message):
    with pytest.raises(InputError, match=re.escape(message)):
        written(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("d,caption,gru-torch-2x32,It shows a GRU.,,cell=gru", "figures is empty; such a caption needs the number"),
        ("d,caption,,Figure 2 shows a GRU.,,figure=2,2", "configurations has too few ids; caption needs 1 or more"),
    ],
)
def test_a_caption_needs_its_figure_and_a_pointer_its_configuration(written, line, message):
    with pytest.raises(InputError, match=message):
        written(line, head=f"{HEAD},figures")


def test_an_order_needs_two_configurations(written):
    with pytest.raises(InputError, match="size-order needs 2 or more"):
        written("c,size-order,gru-torch-2x32,It is smaller.,,less")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no rows"),
        ([GOOD, GOOD], "has the id a twice"),
        ([f"{GOOD},b"], "line 2: reasons has 'b', which is the id of no statement"),
    ],
)
def test_a_file_has_each_statement_once_and_all_reasons(written, lines, message):
    with pytest.raises(InputError, match=message):
        written(*lines, head=f"{HEAD},reasons")


def test_a_column_that_every_statement_needs_is_missed(written):
    with pytest.raises(InputError, match=r"--statements .* has no column kind; see pipeline/report/data"):
        written("a,gru-torch-2x32,It is small.", head="id,configurations,statement")
