"""Generated texts: whether they are equal, how near they are to the book, and whether they make sense."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.statements.texts import edit_distance, sense
from pipeline.report.statements.verdicts import Word
from tests.report.alterations import judged, row, runs, statement, untrained
from tests.report.reproductions import TEXT, reproduction

HOLDS, IN_PART, WRONG_REASON, FAILS, OPEN = Word

PROMPTS = ("it has", "proceeded the", "staring hard")

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-2x128"

REPEATED, SENSIBLE, NONSENSE = " the the the the the", " no small time to the", " nosma tmall thi zo ze"


def after_prompts(*continuations):
    return tuple((prompt, f"{prompt}{written}") for prompt, written in zip(PROMPTS, continuations, strict=True))


def writing(**by_id):
    """The reproduction whose trainings write this, or this of each seed; ids with _ for -."""
    found = reproduction()
    for id, written in by_id.items():
        each = dict(enumerate(3 * [written] if isinstance(written, str) else written))
        change = lambda run, each=each: replace(run, texts=after_prompts(*(3 * [each[run.seed]])))  # noqa: E731
        found = runs(id.replace("_", "-"), change)(found)
    return found


# --- measures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "of_book", "distinct"),
    [
        (REPEATED, 1.0, 0.2),
        (SENSIBLE, 1.0, 1.0),
        (" the zzz the trave", 0.75, 0.75),  # the last word may be cut short
        (" the trave ", 0.5, 1.0),  # a space after it says that it is not
        ("s the time", 2 / 3, 1.0),  # it goes on with "hass", which is no word
        ("    ", 0.0, 0.0),
    ],
)
def test_sense_counts_words_of_the_book_and_distinct_ones(written, of_book, distinct):
    assert sense([("it has", f"it has{written}")], TEXT.words) == pytest.approx((of_book, distinct))


words = st.text("ab", max_size=6)


@given(words, words, words)
def test_edit_distance_is_a_distance(first, second, third):
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, second) == edit_distance(second, first)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "written", "word", "part"),
    [
        (3 * [REPEATED], (" no", f"{REPEATED}  ", " no"), HOLDS, ""),  # one seed writes all of it
        ([" the", " a", " the"], " the", IN_PART, "2 of 3 texts, after 'it has' and 'staring hard'"),
    ],
)
def test_a_transcript_is_held_to_the_best_seed(shown, written, word, part):
    found = row(LSTM, samples=after_prompts(*shown))(writing(lstm_torch_2x128=written))
    verdict = judged(found, f"{LSTM}-transcript")
    assert (verdict.word, verdict.part) == (word, part)


def test_texts_that_are_not_recorded_are_open():
    found = runs(LSTM, lambda run: replace(run, texts=()))(reproduction())
    verdict = judged(found, f"{LSTM}-transcript")
    assert (verdict.word, verdict.part) == (OPEN, f"training {LSTM} to the end")
    verdict = judged(untrained(LSTM)(reproduction()), f"{LSTM}-texts-close")
    assert verdict.word == OPEN
    assert "The report's own transcript: 0." in verdict.because


@pytest.mark.parametrize(
    ("relation", "written", "word"),
    [
        ("sense", SENSIBLE, HOLDS),
        ("sense", REPEATED, FAILS),
        ("sense", NONSENSE, FAILS),
        ("no-sense", REPEATED, HOLDS),
        ("sentences", SENSIBLE, HOLDS),
        ("sentences", " the time to the a", FAILS),
        ("close", SENSIBLE, FAILS),
    ],
)
def test_texts_are_what_is_said_of_them(relation, written, word):
    assert judged(writing(rnn_torch_1x128=written), statement(f"{RNN}-texts-sense", relation=relation)).word == word


SMALL = {f"gru_scratch_1x{size}": SENSIBLE for size in (8, 32, 128)}


@pytest.mark.parametrize(
    ("id", "written", "word"),
    [
        ("gru-scratch-best-texts", {"gru_scratch_1x128": " time traveller any "}, HOLDS),  # the closest
        ("gru-scratch-1x1024-texts-against-earlier", {"gru_scratch_1x1024": REPEATED, **SMALL}, HOLDS),  # less sense
        ("gru-scratch-1x1024-texts-against-earlier", {"gru_scratch_1x1024": REPEATED}, IN_PART),
        ("gru-scratch-1x1024-texts-against-earlier", {"gru_scratch_1x1024": SENSIBLE, **SMALL}, FAILS),
        (f"{GRU}-texts-against-rnn", {"gru_torch_1x128": REPEATED, "rnn_torch_1x128": NONSENSE}, HOLDS),  # alike
        (f"{GRU}-texts-against-rnn", {"gru_torch_1x128": SENSIBLE, "rnn_torch_1x128": SENSIBLE}, WRONG_REASON),
    ],
)
def test_texts_of_several_are_compared(id, written, word):
    assert judged(writing(**written), id).word == word
