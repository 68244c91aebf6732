"""The report's errors as corrected and explained: the sentences follow the numbers."""

from dataclasses import replace

import pytest

from models.complexity import REPORT_SYMBOLS, closed_form
from models.config import ModelConfig
from pipeline.report.corrections import corrections
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.verdicts import Word
from pipeline.report.table import DATA, report_rows
from tests.report.alterations import Alter, ends, runs, same_text
from tests.report.reproductions import reproduction, weighed

FOUND = reproduction()

SAMPLES = FOUND["lstm-torch-2x128"].reported.samples

STATES: dict[str, Reproduction] = {
    "three seeds": FOUND,
    "untrained": reproduction(0),
    "quick": reproduction(quick=True),
    "eight layers train": ends(gru_torch_8x32=(5.0, 6.0), lstm_torch_8x32=(5.0, 6.0))(FOUND),
}


@pytest.fixture(scope="module")
def as_found() -> dict[str, str]:
    """The corrections of FOUND by their titles."""
    return said(FOUND)


def said(found: Reproduction) -> dict[str, str]:
    return {title: " ".join(parts.values()) for title, parts in corrections(weighed(found)).items()}


@pytest.mark.parametrize("state", STATES)
def test_there_are_thirteen_corrections_and_three_explanations_in_whole_sentences_whatever_was_run(state):
    made = corrections(weighed(STATES[state]))
    assert [[*parts] for parts in made.values()] == 13 * [["reported", "found", "instead"]] + 3 * [["explanation"]]
    ids = {row.id for row in report_rows()}
    for part in (said for parts in made.values() for said in parts.values()):
        assert part.endswith(".")
        assert part[0].isupper() or part[0].isdigit() or part.split()[0].rstrip(":") in ids
        assert not {".." in part, "  " in part, "{" in part, "None " in part[1:]} - {False}


EIGHT, BAR, PROTOCOL = "Eight layers", "No bar to clear", "The protocol"
ONE, WHY = "What a perplexity of 1 would mean", "Why eight layers end at the letters' frequencies"


@pytest.mark.parametrize(
    ("title", "alter", "then"),
    [
        ("Perplexities of 1 and 2", ends(rnn_torch_1x128=(1.5, 2.0)), "comes below 4.8"),
        ("How the best model was chosen", ends(rnn_torch_1x128=(3.0, 40.0)), "% for rnn-torch-1x128. Choose"),
        (BAR, ends(gru_torch_2x32=(4.0, 5.0)), "1 of the 17 beats the 6-gram (5.06)"),
        (BAR, same_text(5.3, 5.31), "83 % of the gap to the 6-gram. On so little text, counting still wins."),
        (PROTOCOL, runs("lstm-torch-2x128", lambda run: replace(run, texts=SAMPLES)), "4 are reproduced"),
        (ONE, ends(lstm_torch_1x128=(1.1, 9.9)), "about 1 is reached in only the training curve"),
        (WHY, same_text(5.1), "So it is the recipe that failed, not the depth."),
    ],
)
def test_a_sentence_follows_the_numbers(as_found, title, alter: Alter, then):
    assert then not in as_found[title]
    assert then in said(alter(FOUND))[title]


def test_what_is_written_out_follows_from_the_formulas_and_the_table():
    """No figure of the report itself is computed when the page is written, so each is checked here."""

    def size(cell: str, hidden_size: int):
        return closed_form(ModelConfig(cell=cell, num_layers=1, hidden_size=hidden_size), REPORT_SYMBOLS)

    gru, small, rnn, narrow = size("gru", 128), size("gru", 32), size("rnn", 128), size("rnn", 8)
    lstm = size("lstm", 128)
    texts = (DATA / "corrections.csv").read_text()
    for figure in (
        *(f"{one.report_parameters:,} parameters and {one.report_macs:,} MACs" for one in (gru, small)),
        f"{gru.report_parameters / small.report_parameters:.1f} times as large",
        f"{gru.report_parameters / rnn.report_parameters:.2f} times the RNN's parameters",
        f"{gru.report_macs / rnn.report_macs:.2f} times its MACs, and",
        f"{gru.report_parameters / lstm.report_parameters:.2f} times the LSTM's parameters",
        f"{gru.report_macs / lstm.report_macs:.2f} times its MACs.",
        *(f"{100 * (1 - one.report_macs / 1024 / one.macs_per_char):.0f} % of RNN" for one in (rnn, narrow)),
        f"{rnn.macs_per_char:,} for RNN 1x128",
        f"{rnn.report_macs // 1024:,}.",
        f"{lstm.parameters:,} parameters to keep",
        f"{3 * 32 * (28 + 32 + 2):,}, which is what is printed",
    ):
        assert figure in texts
    evidence = weighed(FOUND)
    called = [one for one in evidence.verdicts if one.statement.relation == "slightly-shorter"]
    called = [one for one in called if "torch" in one.statement.id]
    assert f"{sum(one.word == Word.FAILS for one in called)} of {len(called)} such comparisons" in texts
