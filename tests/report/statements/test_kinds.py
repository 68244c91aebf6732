"""Statements as data: those of the report, and what a file of others may hold."""

import pytest

from pipeline.errors import InputError
from pipeline.report.statements.kinds import BASES, read_statements, report_statements
from pipeline.report.table import report_rows

HEAD = "id,kind,configurations,statement,value,relation,figures,reasons"
GOOD = "a,size,gru-torch-2x32,The GRU has 13 k parameters.,13 k,parameters"
BEST = "b,best,gru-torch-2x32;lstm-torch-2x32,It is best.,,best,,"


@pytest.fixture
def written(tmp_path):
    def read(*lines, head=HEAD):
        path = tmp_path / "theirs.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return read_statements(path)

    return read


def test_the_report_makes_258_statements_about_configurations_of_its_table():
    statements = report_statements()
    assert len(statements) == len({statement.id for statement in statements}) == 258
    assert {id for statement in statements for id in statement.configurations} == {row.id for row in report_rows()}
    assert {statement.basis for statement in statements} == set(BASES)


def test_what_other_columns_lack_has_defaults_and_lists_are_separated_by_semicolons(written):
    (only,) = written(GOOD)
    assert (only.basis, only.curve, only.reasons, only.figures) == ("training", "", (), ())
    line = "b,time-order,gru-torch-2x32; lstm-torch-2x32,It took slightly longer.,,slightly-longer"
    assert written(line)[0].configurations == ("gru-torch-2x32", "lstm-torch-2x32")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD.replace("size", "sizes")], "line 2: kind is 'sizes'; it must be one of start, end, gap"),
        ([GOOD.replace("13 k,", "many,")], "line 2: value is 'many'; for size it must match"),
        ([GOOD.replace(",parameters", ",weight")], "relation is 'weight'; for size it must match parameters"),
        ([GOOD.replace("gru-torch-2x32", "mine")], "line 2: configurations has 'mine'; the table has gru-scratch-1x"),
        (["c,size-order,gru-torch-2x32,It is smaller.,,less"], "size-order needs 2 or more"),
        ([BEST.replace(",best,,", ",by-each-reason,,")], "reasons is empty; by-each-reason needs it"),
        ([], "it has no rows"),
        ([GOOD, GOOD], "it has an id twice"),
        ([f"{BEST}c"], "the reasons of b have 'c', the id of no statement"),
        ([f"{BEST}c", f"{BEST.replace('b,', 'c,', 1)}b"], "lead back to it"),
        (["f," + 200_000 * "x"], "field larger"),
    ],
)
def test_a_file_that_is_not_allowed_is_refused_with_its_line_and_column(written, lines, message):
    with pytest.raises(InputError, match=rf"--statements .*theirs.csv.*{message}"):
        written(*lines)
