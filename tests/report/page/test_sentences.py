"""Sentences of the page: they count and name what was measured."""

import pytest

from pipeline.report.checks import checks
from pipeline.report.page.sentences import answer_sentences, reproduction_note, reproduction_table
from pipeline.report.statements.verdicts import Word, tally
from tests.report.alterations import ends, same_text, with_runs
from tests.report.page.pages import VERDICTS, of_few
from tests.report.reproductions import cut, reproduction

FOUND = reproduction()


def test_the_answer_counts_the_verdicts_and_names_the_level_that_is_furthest_and_the_n_grams():
    counts = tally(VERDICTS, "basis")["training"]
    trained, _, _, furthest, networks = answer_sentences(FOUND, VERDICTS)
    assert trained.startswith(f"{sum(counts.values())} statements, by trainings: {counts[Word.HOLDS]} reproduced; ")
    assert furthest == (
        "Furthest from what is reported is the perplexity of lstm-torch-1x128: about 1, where it ends at 2.07 in "
        "training and 10.03 in validation (at best 7.27, epoch 66)."
    )
    assert networks.startswith("All 17 networks lose to n-grams that count the same characters: gru-torch-2x32 has 6.")


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (ends(gru_torch_2x32=(4.0, 4.5)), "The best of 17 networks beats n-grams"),
        (ends(gru_torch_2x32=(4.0, 5.0)), "The best of 17 networks is level with n-grams"),
        (same_text(5.3, 5.31), "By our own recipe, gru-1x32 has 5.30, behind the 6-gram's 5.06: "),
    ],
)
def test_networks_beside_n_grams_follow_the_numbers(alter, words):
    assert words in answer_sentences(alter(FOUND), ())[-1]


def test_the_note_and_the_printed_table_have_a_row_for_each_configuration():
    made = of_few("gru-torch-2x32", "rnn-torch-1x128", "lstm-torch-2x32", seeds=2)
    made = with_runs(made, "rnn-torch-1x128", ())
    made = with_runs(made, "lstm-torch-2x32", (cut(made["lstm-torch-2x32"].runs[0], 12),))
    held = checks(made)
    note, printed = reproduction_note(made, (), held), reproduction_table(made, (), held, "report.html", "link")
    best = min(made["gru-torch-2x32"].runs[0].val)
    for text in (note, printed):
        rows = {line.strip("| ").split()[0]: line for line in text.splitlines() if "torch-" in line}
        assert "2 seeds, 100 epochs" in rows["gru-torch-2x32"]
        assert f"{best * 1.005:.1f}" in rows["gru-torch-2x32"]
        assert "not run" in rows["rnn-torch-1x128"]
        assert "12 of 100 epochs" in rows["lstm-torch-2x32"]
        assert "quick check" not in text
    assert printed.splitlines()[-2:] == ["report  report.html", "link"]
