"""The passages of a page, of which readers guess the letters."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pages.passages import LONGEST, MOST_PASSAGES, OPENING_CHARS, SHORTEST, opening_and_passages, tiles_of
from pipeline.text.vocabulary import UNKNOWN, Vocabulary

WORDS = Vocabulary("raw", (" ", UNKNOWN, *"abcd"))
SPACE, UNKNOWN_ID = WORDS.symbols.index(" "), WORDS.unknown_id


@given(st.integers(1, 6_000), st.floats(0, 0.01), st.integers(0, 99))
def test_passages_follow_the_opening_and_each_other_begin_with_words_and_have_no_unknown_symbol(length, share, seed):
    generator = np.random.default_rng(seed)
    ids = generator.choice([0, 2, 3, 4, 5], length)
    ids[generator.random(length) < share] = UNKNOWN_ID
    opening, passages = opening_and_passages(WORDS, ids)
    text = "".join("?" if number == UNKNOWN_ID else WORDS.symbols[number] for number in ids)
    assert len(opening) <= OPENING_CHARS
    assert len(passages) <= MOST_PASSAGES
    end = len(opening)  # at least
    for passage in passages:
        at = text.index(f" {passage}", end - 1)  # random letters: hardly twice
        end = at + 1 + len(passage)
        assert SHORTEST <= len(passage) <= LONGEST
        assert passage[0] != " "


def test_passages_are_evenly_spread_and_those_of_a_text_without_spaces_begin_anywhere():
    ids = np.random.default_rng(0).integers(2, 6, OPENING_CHARS + 12 * 1_000)
    opening, passages = opening_and_passages(WORDS, ids)
    assert opening == WORDS.decode(ids[:OPENING_CHARS])
    expected = [ids[start : start + LONGEST] for start in range(OPENING_CHARS, len(ids), 1_000)]
    assert passages == [*map(WORDS.decode, expected)]
    assert opening_and_passages(WORDS, ids[: OPENING_CHARS + SHORTEST - 1])[1] == []


def test_the_symbols_to_touch_are_spaces_and_the_most_frequent_ones_in_the_order_of_ids():
    vocabulary = Vocabulary("raw", ("\t", "\n", " ", UNKNOWN, *map(chr, range(0x400, 0x440))))
    ids = np.repeat(np.arange(2, len(vocabulary)), np.arange(len(vocabulary) - 2))
    assert tiles_of(vocabulary, ids) == [0, 1, 2, *range(len(vocabulary) - 27, len(vocabulary))]
