"""Sentences of the page: they count and name what was measured."""

from dataclasses import replace

import pytest

from pipeline.config import REPORT_PROMPTS
from pipeline.report.checks import checks
from pipeline.report.page.sentences import answer, reproduction_note, reproduction_table
from pipeline.report.statements.verdicts import HOLDS, IN_PART, tally
from tests.report.alterations import row, runs, with_runs
from tests.report.page.pages import VERDICTS, of_few
from tests.report.reproductions import cut, reproduction

FOUND = reproduction()


def test_the_answer_counts_the_verdicts_and_names_the_level_that_is_furthest():
    trained, itself, furthest, _ = answer(FOUND, VERDICTS)
    counts = tally(VERDICTS, "basis")
    held = {basis: words[HOLDS] for basis, words in counts.items()}
    assert trained.startswith(f"Of the {sum(counts['training'].values())} statements that trainings decide, ")
    assert f"{held['training']} are reproduced and {counts['training'][IN_PART]} in part, " in trained
    assert f"{held['report'] + held['caption']} are right, of which {held['caption']} are captions" in itself
    assert furthest == (
        "Furthest from what is reported is the perplexity of lstm-torch-1x128: about 1, where it ends at 2.07 in "
        "training and 10.03 in validation (at best 7.27, epoch 66)."
    )


def with_costs(shift: float, same_text_shift: float | None = None):
    """The GRU 2x32 and the costs of blocks, so much above those of a 6-gram; likewise a training on the same text."""
    found = of_few("gru-torch-2x32")
    (only,) = found.configurations
    bar = tuple(1.7 + 0.01 * (number % 7) for number in range(100))

    def cost(run, above):
        return replace(run, block_costs={"windowed": tuple(each + above for each in bar)})

    same = () if same_text_shift is None else (cost(only.runs[0], same_text_shift),)
    only = replace(only, runs=tuple(cost(run, shift) for run in only.runs), same_text=same)
    text = replace(found.text, block_costs={"windowed": {6: bar}})
    return replace(found, configurations=(only,), text=text)


@pytest.mark.parametrize(
    ("shift", "words"), [(0.1, "The network loses to"), (0.0, "is level with"), (-0.1, "The best of 1 network beats")]
)
def test_no_network_is_ahead_or_behind_within_the_sampling_error(shift, words):
    assert words in answer(with_costs(shift), ())[-1]


@pytest.mark.parametrize(("shift", "words"), [(0.0, "level with"), (0.05, "explains 51 % of the gap"), (0.2, "behind")])
def test_our_recipe_beside_the_best_network_says_how_much_of_the_gap_it_explains(shift, words):
    sentence = answer(with_costs(0.1, shift), ())[-1].partition("By our own recipe, gru-2x32 has ")[2]
    assert words in sentence
    assert ("explains" in sentence) == (shift < 0.1)


def test_equal_texts_are_named_unless_they_repeat_the_same_words():
    """All of two configurations' texts are written by one seed each; spaces at the end are not compared."""
    found = reproduction()
    for id, written in (("lstm-scratch-1x8", " the the the"), ("lstm-torch-2x128", " in the time ")):
        texts = tuple((prompt, f"{prompt}{written}") for prompt in REPORT_PROMPTS)
        found = row(id, samples=tuple((prompt, text.rstrip()) for prompt, text in texts))(found)
        found = runs(id, lambda run, texts=texts: replace(run, texts=texts if run.seed == 1 else ()))(found)  # type: ignore[misc]
    named = answer(found, VERDICTS)[0].partition(" open")[2]
    assert "lstm-torch-2x128 writes its 3 texts letter for letter: “it has in the time”" in named
    assert "lstm-scratch-1x8" not in named


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
