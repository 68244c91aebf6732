"""The statements that a table makes by itself, and the verdicts on them."""

import pytest

from pipeline.report.statements.generated import statements_of
from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART
from pipeline.report.table import read_table, report_table
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judge

HEAD = "id,implementation,cell,num_layers,hidden_size,perplexity_end,split,epoch,seeds,tolerance,"
COSTS = "train_seconds_prose,train_seconds_transcript,params_reported,mmac_reported,sample_it_has"
ROW = "mine,torch,gru,2,32,{},{},{},{},{},20,25,12.29 k,13.04,it has the the the the the"


@pytest.fixture
def table_of(tmp_path):
    def read(end="", split="", epoch="", seeds="", tolerance="", row=ROW):
        path = tmp_path / "theirs.csv"
        path.write_text(f"{HEAD}{COSTS}\n{row.format(end, split, epoch, seeds, tolerance)}\n", encoding="utf-8")
        return read_table(path)

    return read


def words(table, **ends):
    found = reproduction(table=table, ends={"mine": (4.1, 6.5)})
    return {verdict.statement.id: verdict for verdict in judge(found, statements_of(table))}


def test_the_reports_own_table_has_the_reports_statements():
    assert statements_of(report_table()) == report_statements()


def test_levels_times_sizes_and_texts_are_judged(table_of):
    verdicts = words(table_of("8.2", "validation"))
    assert {id: verdict.word for id, verdict in verdicts.items()} == {
        "mine-end": FAILS,
        "mine-seconds": FAILS,
        "mine-parameters": HOLDS,
        "mine-macs": HOLDS,
        "mine-transcript": HOLDS,
    }
    assert verdicts["mine-end"].statement.statement == "The validation perplexity of mine is 8.2 at the end."


@pytest.mark.parametrize(
    ("split", "word", "part"),
    [
        ("training", HOLDS, ""),
        ("validation", FAILS, ""),
        ("both", IN_PART, "training only"),
        ("", IN_PART, "training only"),
    ],
)
def test_a_level_is_of_the_curve_that_the_table_names(table_of, split, word, part):
    verdict = words(table_of("4.2", split))["mine-end"]
    assert (verdict.word, verdict.part) == (word, part)


def test_a_level_after_another_epoch_and_its_tolerance_are_the_tables(table_of):
    early = words(table_of("4.2", "training", epoch="10"))["mine-end"]
    assert early.word == FAILS
    assert early.statement.statement == "The training perplexity of mine is 4.2 after epoch 10."
    assert words(table_of("4.5", "training", tolerance="0.1"))["mine-end"].word == FAILS
    assert words(table_of("4.5", "training", tolerance="0.5"))["mine-end"].word == HOLDS


def test_what_a_level_is_held_to_is_said(table_of):
    statement = words(table_of("4.2", seeds="5"))["mine-end"].statement
    assert "(mean of 5 trainings)" in statement.statement
    assert "another text or average is another quantity" in statement.reading
    assert "Which curve it is of is not said" in statement.reading


def test_a_table_without_numbers_states_nothing(table_of):
    assert statements_of(table_of(row="mine,torch,gru,2,32,,,,,,,,,,")) == ()
