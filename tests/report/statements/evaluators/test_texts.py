from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.statements.evaluators.texts import edit_distance, edits_to_book, sense
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON
from tests.report.alterations import row, runs, text
from tests.report.reproductions import TEXT, reproduction
from tests.report.statements.judged import judged, statement

PROMPTS = ("it has", "proceeded the", "staring hard")

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-2x128"

REPEATED, SENSIBLE, NONSENSE = " the the the the the", " no small time to the", " nosma tmall thi zo ze"


def after_prompts(*continuations):
    return tuple((prompt, f"{prompt}{written}") for prompt, written in zip(PROMPTS, continuations, strict=True))


def writing(found=None, /, **by_id):
    """The reproduction whose trainings write this, or of each seed; ids with _ for -."""
    found = found or reproduction()
    for id, written in by_id.items():
        each = {0: written, 1: written, 2: written} if isinstance(written, str) else dict(enumerate(written))
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
    found = sense([("it has", f"it has{written}")], TEXT.words)
    assert found == pytest.approx((of_book, distinct))


words = st.text("ab", max_size=6)


@given(words, words, words)
def test_edit_distance_is_a_distance(first, second, third):
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, second) == edit_distance(second, first)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))


def test_edit_distance_of_the_textbook():
    assert edit_distance("kitten", "sitting") == 3


def test_edits_are_those_to_the_nearest_occurrence_of_the_prompt():
    places = (TEXT.prompts[0], replace(TEXT.prompts[0], continuation=" gone"))
    assert edits_to_book([("it has", "it has gone")], replace(TEXT, prompts=places)) == 0


# --- texts of one configuration --------------------------------------------------------------------------------------


def test_a_transcript_is_reproduced_by_one_seed_that_writes_all_of_it():
    sample = " the the the the the"
    found = row(LSTM, samples=after_prompts(*3 * [sample]))(writing(lstm_torch_2x128=(" no", f"{sample}  ", " no")))
    verdict = judged(found, f"{LSTM}-transcript")
    assert verdict.word == HOLDS
    assert "0 of 3 texts by seed 0, 3 of 3 texts by seed 1 and 0 of 3 texts by seed 2" in verdict.because


def test_a_transcript_of_which_a_seed_writes_some_is_in_part():
    found = row(LSTM, samples=after_prompts(" the", " a", " the"))(writing(lstm_torch_2x128=" the"))
    verdict = judged(found, f"{LSTM}-transcript")
    assert (verdict.word, verdict.part) == (IN_PART, "2 of 3 texts, after 'it has' and 'staring hard'")


def test_a_transcript_that_no_seed_writes_is_not_reproduced():
    assert judged(writing(lstm_torch_2x128=" the"), f"{LSTM}-transcript").word == FAILS


def test_a_transcript_of_a_training_that_ran_longer_is_open():
    found = runs(LSTM, lambda run: replace(run, texts=()))(reproduction())
    verdict = judged(found, f"{LSTM}-transcript")
    assert (verdict.word, verdict.part) == (OPEN, "trainings of the protocol's length")


@pytest.mark.parametrize(
    ("relation", "written", "word"),
    [
        ("sense", SENSIBLE, HOLDS),
        ("sense", REPEATED, FAILS),
        ("sense", NONSENSE, FAILS),
        ("no-sense", REPEATED, HOLDS),
        ("no-sense", SENSIBLE, FAILS),
        ("sentences", SENSIBLE, HOLDS),
        ("sentences", " the time to the a", FAILS),
        ("close", SENSIBLE, FAILS),
        ("not-close", SENSIBLE, HOLDS),
    ],
)
def test_texts_are_what_is_said_of_them(relation, written, word):
    assert judged(writing(rnn_torch_1x128=written), statement(f"{RNN}-texts-sense", relation=relation)).word == word


def test_texts_are_close_within_a_quarter_of_an_edit_per_character():
    texts = tuple((place.prompt, f"{place.prompt}{place.continuation[:-4]}") for place in TEXT.prompts)
    found = runs(RNN, lambda run: replace(run, texts=texts))(reproduction())
    assert judged(found, statement(f"{RNN}-texts-sense", relation="close")).word == HOLDS


def test_a_transcript_that_is_otherwise_leaves_our_texts_in_part():
    found = row(RNN, samples=after_prompts(*3 * [REPEATED]))(writing(rnn_torch_1x128=SENSIBLE))
    verdict = judged(found, f"{RNN}-texts-sense")
    assert (verdict.word, verdict.part) == (IN_PART, "by our texts, not by the report's own")


def test_the_transcript_stands_beside_texts_that_are_not_trained():
    found = runs(LSTM, lambda run: replace(run.until(2), epochs_planned=100))(reproduction())
    verdict = judged(found, f"{LSTM}-texts-close")
    assert verdict.word == OPEN
    assert "The report's own transcript: 0." in verdict.because


def test_sense_is_open_in_an_older_record():
    verdict = judged(text(words=())(reproduction()), f"{RNN}-texts-sense")
    assert verdict.word == OPEN
    assert "lacks the words of the book" in verdict.because


def test_prompts_are_held_to_the_transcripts():
    verdict = judged(reproduction(), "prompts")
    assert (verdict.word, verdict.part) == (IN_PART, "the 11 of which it shows texts")


# --- texts of several ------------------------------------------------------------------------------------------------


def test_the_same_texts_are_counted_in_the_transcripts():
    verdict = judged(reproduction(), "lstm-scratch-1x128-texts-against-earlier")
    assert verdict.word == IN_PART
    assert verdict.part == "2 of 3 texts of lstm-scratch-1x32 and 3 of 3 texts of lstm-scratch-1x8"


@pytest.mark.parametrize(("written", "word"), [(" time traveller any ", HOLDS), (REPEATED, FAILS)])
def test_the_closest_takes_fewer_edits_than_each_other(written, word):
    assert judged(writing(gru_scratch_1x128=written), "gru-scratch-best-texts").word == word


@pytest.mark.parametrize(
    ("large", "others", "word"),
    [(REPEATED, SENSIBLE, HOLDS), (REPEATED, REPEATED, IN_PART), (SENSIBLE, SENSIBLE, FAILS)],
)
def test_less_sense_is_none_where_the_others_make_some(large, others, word):
    small = {f"gru_scratch_1x{size}": others for size in (8, 32, 128)}
    found = writing(gru_scratch_1x1024=large, **small)
    assert judged(found, "gru-scratch-1x1024-texts-against-earlier").word == word


@pytest.mark.parametrize(
    ("gru", "rnn", "word"),
    [(REPEATED, NONSENSE, HOLDS), (SENSIBLE, SENSIBLE, WRONG_REASON), (SENSIBLE, NONSENSE, FAILS)],
)
def test_texts_alike_in_making_no_sense(gru, rnn, word):
    assert judged(writing(gru_torch_1x128=gru, rnn_torch_1x128=rnn), f"{GRU}-texts-against-rnn").word == word
