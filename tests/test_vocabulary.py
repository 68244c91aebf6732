"""Symbols: the book's alphabet, any other one, and what is done with characters that it lacks."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.vocabulary import LETTERS, UNKNOWN, Vocabulary, normalise

LETTER_VOCABULARY = Vocabulary("letters", LETTERS)


def test_letters_has_the_books_28_symbols_with_unk_between_space_and_a():
    assert len(LETTERS) == 28
    assert LETTERS[:3] == (" ", UNKNOWN, "a")
    assert LETTERS[-1] == "z"


def test_every_run_of_other_characters_becomes_one_space():
    assert normalise("The Time-Traveller\r\n  (for so_it) é3x!", "letters") == "the time traveller for so it x "


@given(st.text())
def test_letters_is_idempotent_and_within_the_alphabet(text):
    once = normalise(text, "letters")
    assert normalise(once, "letters") == once
    assert set(once) <= set(LETTERS)


@given(st.text())
def test_raw_is_nfc_with_one_kind_of_line_break(text):
    once = normalise(text, "raw")
    assert normalise(once, "raw") == once
    assert "\r" not in once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_encoding_a_text_by_its_own_vocabulary_and_back_gives_the_normalised_text(text):
    vocabulary = Vocabulary.of(normalise(text, "raw"), "raw")
    assert vocabulary.decode(vocabulary.encode(text)) == normalise(text, "raw")


def test_characters_that_a_vocabulary_lacks_become_unk():
    vocabulary = Vocabulary.of("abc", "raw")
    assert vocabulary.decode(vocabulary.encode("aéb\U0001f600c\0")) == f"a{UNKNOWN}b{UNKNOWN}c{UNKNOWN}"


@pytest.mark.parametrize(("size", "dtype"), [(200, np.uint8), (255, np.uint8), (256, np.int16), (40_000, np.int32)])
def test_ids_are_stored_in_the_smallest_type_that_torch_computes_with(size, dtype):
    first = 0x20000  # ideographs: no surrogates among them
    vocabulary = Vocabulary("raw", tuple(sorted([UNKNOWN, *(chr(first + i) for i in range(size))])))
    assert vocabulary.dtype == dtype
    assert vocabulary.encode(chr(first + size - 1)).dtype == dtype


def test_a_prompt_is_normalised_where_the_alphabets_rule_covers_it():
    assert LETTER_VOCABULARY.decode(LETTER_VOCABULARY.encode_prompt("It's 3 o'clock")) == "it s o clock"


def test_a_prompt_with_unseen_characters_is_refused_and_they_are_named():
    vocabulary = Vocabulary.of("it has", "raw")
    with pytest.raises(InputError, match=r"--prompt 'it häs Z'.*'Z' \(U\+005A\), 'ä' \(U\+00E4\)"):
        vocabulary.encode_prompt("it häs Z")


def test_an_empty_prompt_is_refused():
    with pytest.raises(InputError, match="--prompt is empty"):
        LETTER_VOCABULARY.encode_prompt("")
