"""Symbols: the book's alphabet, any other one, and what is done with characters that it lacks."""

import re
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ConfigError
from pipeline.errors import InputError
from pipeline.text.vocabulary import LETTERS, MAX_MARKS, UNKNOWN, Vocabulary, normalise, normalised

LETTER_VOCABULARY = Vocabulary("letters", LETTERS)
# line breaks, a byte-order mark, marks of several classes in and out of order, marks that come apart, Hangul in parts
# and whole, vowels that join, what is composed never again, characters of one to four bytes
NASTY = (
    "a \r\n\r\re\u0301\u0323o\ufeff\u0344\u0f71\u0f73\u1100\u1161\u11a8\uac00\u11a7\u09c7\u09be\u0b47\u0b57\u212b"
    "\u1e9b\u0323\u0958\u2126\U0001d15e\U000110a5\U000110ba\U0001f600\u00e9Z\u212a\u0130-\r"
)
NASTY_TEXTS = st.text(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])), max_size=40)


def cut(text: str, places: list[int]) -> list[str]:
    """The text in pieces, some of them empty."""
    borders = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


def as_a_whole(text: str, alphabet: str) -> str:
    """The alphabets' rules on one string, by the library's own means."""
    if alphabet == "letters":
        return re.sub("[^A-Za-z]+", " ", text).lower()
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


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


# --- in pieces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
@given(text=NASTY_TEXTS, places=st.lists(st.integers(0, 40), max_size=6))
def test_a_text_in_pieces_is_the_text_as_a_whole_wherever_it_is_cut(alphabet, text, places):
    whole = as_a_whole(text, alphabet)
    assert normalise(text, alphabet) == whole
    assert "".join(normalised(cut(text, places), alphabet)) == whole


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_two_cuts_anywhere_in_a_nasty_text_change_nothing(alphabet):
    whole = as_a_whole(NASTY, alphabet)
    for first in range(len(NASTY) + 1):
        for second in range(first, len(NASTY) + 1):
            assert "".join(normalised(cut(NASTY, [first, second]), alphabet)) == whole, (first, second)


@given(text=NASTY_TEXTS, places=st.lists(st.integers(0, 40), max_size=6))
def test_symbols_and_ids_of_pieces_are_those_of_the_whole(text, places):
    whole, pieces = normalise(text + "a", "raw"), list(normalised(cut(text + "a", places), "raw"))
    vocabulary = Vocabulary.of(pieces, "raw")
    assert vocabulary.symbols == tuple(sorted({*whole, UNKNOWN}))
    ids = np.concatenate([vocabulary.ids_of(piece) for piece in pieces])
    assert ids.tolist() == [vocabulary.symbols.index(character) for character in whole]


def test_no_ascii_character_joins_what_stands_before_it():
    """By Python's own data: none is reordered, and none is a later part of a character that is composed."""
    assert not any(unicodedata.combining(chr(point)) for point in range(128))
    for point in range(sys.maxunicode + 1):
        parts = unicodedata.normalize("NFD", chr(point))
        assert not any(part.isascii() for part in parts[1:]), f"U+{point:04X}"


def test_a_long_text_without_an_ascii_character_is_read_in_time_that_grows_with_its_length():
    pieces = ["\u6642\u9593\u65c5\u884c\u8005" * 200] * 1000
    assert "".join(normalised(pieces, "raw")) == "".join(pieces)


@pytest.mark.parametrize("cuts", [[], [1], [500], [500, 999, 1001]])
def test_marks_without_end_are_refused_wherever_the_text_is_cut(cuts):
    long, longest = "a" + "\u0323\u0301" * (MAX_MARKS // 2), "a" + "\u0323" * (MAX_MARKS - 1) + "b"
    assert "".join(normalised(cut(longest, cuts), "raw")) == as_a_whole(longest, "raw")
    with pytest.raises(InputError, match="1,000 combining marks or more in a row"):
        list(normalised(cut(long + "b", cuts), "raw"))
    with pytest.raises(InputError, match="1,000 combining marks"):
        list(normalised(cut(long, cuts), "raw"))
    for mark in ("\u0f73", "\u0344"):  # which are two marks each when they are taken apart
        with pytest.raises(InputError, match="1,000 combining marks"):
            list(normalised(cut("no" * 7 + mark * MAX_MARKS, cuts), "raw"))
    assert normalise(long, "letters") == "a "


def test_a_surrogate_that_stands_alone_is_a_character_like_others():
    assert normalise("a\ud800b", "letters") == "a b"
    assert Vocabulary.of(["ab"], "raw").encode("a\ud800").tolist() == [1, 0]


# --- symbols and ids -------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_encoding_a_text_by_its_own_vocabulary_and_back_gives_the_normalised_text(text):
    vocabulary = Vocabulary.of([normalise(text, "raw")], "raw")
    assert vocabulary.decode(vocabulary.encode(text)) == normalise(text, "raw")


def test_characters_that_a_vocabulary_lacks_become_unk():
    vocabulary = Vocabulary.of(["abc"], "raw")
    assert vocabulary.decode(vocabulary.encode("aéb\U0001f600c\0")) == f"a{UNKNOWN}b{UNKNOWN}c{UNKNOWN}"


@pytest.mark.parametrize(("size", "dtype"), [(200, np.uint8), (255, np.uint8), (256, np.int16), (40_000, np.int32)])
def test_ids_are_stored_in_the_smallest_type_that_torch_computes_with(size, dtype):
    first = 0x20000  # ideographs: no surrogates among them
    vocabulary = Vocabulary("raw", tuple(sorted([UNKNOWN, *(chr(first + i) for i in range(size))])))
    assert vocabulary.dtype == dtype
    assert vocabulary.encode(chr(first + size - 1)).dtype == dtype


def test_a_prompt_is_normalised_where_the_alphabets_rule_covers_it():
    assert LETTER_VOCABULARY.decode(LETTER_VOCABULARY.encode_prompt("It's 3 o'clock")) == "it s o clock"


def test_what_a_prompt_loses_is_named_once_and_in_order(caplog):
    ids = LETTER_VOCABULARY.encode_prompt("HELLO\tWorld 42, 24\n")
    assert LETTER_VOCABULARY.decode(ids) == "hello world "
    names = "'4' (U+0034), '2' (U+0032), ',' (U+002C)"
    assert caplog.messages == [f"Dropped from the prompt, as the model knows only letters and spaces: {names}"]


@pytest.mark.parametrize("prompt", ["it has", "It\nHas ", " "])
def test_a_prompt_of_letters_and_white_space_loses_nothing(caplog, prompt):
    LETTER_VOCABULARY.encode_prompt(prompt)
    assert caplog.messages == []


@pytest.mark.parametrize("prompt", ["时间", "42", " 7 \n"])
def test_a_prompt_without_a_letter_is_refused(prompt):
    with pytest.raises(ConfigError, match=r"^prompt .* has no letter from A to Z.*--alphabet raw"):
        LETTER_VOCABULARY.encode_prompt(prompt)


def test_a_prompt_with_unseen_characters_is_refused_and_they_are_named():
    vocabulary = Vocabulary.of(["it has"], "raw")
    with pytest.raises(ConfigError, match=r"^prompt 'it häs Z'.*'Z' \(U\+005A\), 'ä' \(U\+00E4\)"):
        vocabulary.encode_prompt("it häs Z")


def test_an_empty_prompt_is_refused():
    with pytest.raises(ConfigError, match=r"^prompt is empty"):
        LETTER_VOCABULARY.encode_prompt("")
