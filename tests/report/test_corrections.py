"""The report's errors as corrected and explained: the sentences follow the numbers."""

from dataclasses import replace

import pytest

from pipeline.report.corrections import corrections
from pipeline.report.reproduction import Reproduction
from pipeline.report.table import report_rows
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
