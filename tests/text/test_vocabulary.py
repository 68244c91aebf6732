"""Symbols: the book's alphabet, any other one, and what is done with characters that it lacks."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.config import ConfigError
from pipeline.text.vocabulary import LETTERS, UNKNOWN, Vocabulary, normalise, normalised

LETTER_VOCABULARY = Vocabulary("letters", LETTERS)
# line breaks, a byte-order mark, marks of several classes in and out of order, marks that come apart, Hangul in parts
# and whole, vowels that join, what is composed never again, characters of one to four bytes
NASTY = (
    "a \r\n\r\re\u0301\u0323o\ufeff\u0344\u0f71\u0f73\u1100\u1161\u11a8\uac00\u11a7\u09c7\u09be\u0b47\u0b57\u212b"
    "\u1e9b\u0323\u0958\u2126\U0001d15e\U000110a5\U000110ba\U0001f600\u00e9Z\u212a\u0130-\r"
)
NASTY_TEXTS = st.text(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])), max_size=40)


def test_every_run_of_other_characters_becomes_one_space():
    assert normalise("The Time-Traveller\r\n  (for so_it) é3x!", "letters") == "the time traveller for so it x "
    assert normalise("a\ud800b", "letters") == "a b"


@given(st.lists(NASTY_TEXTS, max_size=6), NASTY_TEXTS)
@example([NASTY], NASTY)
def test_text_in_pieces_is_the_text_as_a_whole(lines, last):
    pieces = [*(f"{line}\n" for line in lines), last]
    text = "".join(pieces)
    assert "".join(normalised(pieces, "letters")) == re.sub("[^A-Za-z]+", " ", text).lower()
    plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    assert "".join(normalised(pieces, "raw")) == plain
    vocabulary = Vocabulary.of(normalised(pieces, "raw"), "raw")
    assert vocabulary.symbols == tuple(sorted({*plain, UNKNOWN}))
    ids = [i for piece in normalised(pieces, "raw") for i in vocabulary.ids_of(piece).tolist()]
    assert ids == [vocabulary.symbols.index(character) for character in plain] == vocabulary.encode(text).tolist()
    assert vocabulary.decode(ids) == plain


def test_characters_that_a_vocabulary_lacks_become_unk():
    vocabulary = Vocabulary.of(["abc"], "raw")
    assert vocabulary.decode(vocabulary.encode("aéb\U0001f600c\0\ud800")) == f"a{UNKNOWN}b{UNKNOWN}c{UNKNOWN}{UNKNOWN}"


@pytest.mark.parametrize(("size", "dtype"), [(200, np.uint8), (255, np.uint8), (256, np.int16), (40_000, np.int32)])
def test_ids_are_stored_in_the_smallest_type_that_torch_computes_with(size, dtype):
    first = 0x20000  # ideographs: no surrogates among them
    vocabulary = Vocabulary("raw", tuple(sorted([UNKNOWN, *(chr(first + i) for i in range(size))])))
    assert vocabulary.dtype == dtype
    assert vocabulary.encode(chr(first + size - 1)).dtype == dtype


@pytest.mark.parametrize(
    ("prompt", "text", "dropped"),
    [
        ("It\nHas ", "it has ", ""),
        (" ", " ", ""),
        ("HELLO\tWorld 42, 24\n", "hello world ", "'4' (U+0034), '2' (U+0032), ',' (U+002C)"),
    ],
)
def test_what_a_prompt_loses_is_named(caplog, prompt, text, dropped):
    assert LETTER_VOCABULARY.decode(LETTER_VOCABULARY.encode_prompt(prompt)) == text
    assert [message.partition(": ")[2] for message in caplog.messages] == ([dropped] if dropped else [])


@pytest.mark.parametrize("prompt", ["时间", "42", " 7 \n", "", ["it has"], b"it has"])
def test_prompt_without_a_letter_or_that_is_no_string_is_refused(prompt):
    with pytest.raises(ConfigError, match=r"^prompt"):
        LETTER_VOCABULARY.encode_prompt(prompt)


def test_prompt_with_unseen_characters_is_refused_and_they_are_named():
    with pytest.raises(ConfigError, match=r"^prompt 'it häs Z'.*'Z' \(U\+005A\), 'ä' \(U\+00E4\)"):
        Vocabulary.of(["it has"], "raw").encode_prompt("it häs Z")


@given(st.text(st.characters(codec=None), max_size=30))  # every code point, lone surrogates and NUL included
def test_any_prompt_is_encoded_or_refused_in_words(prompt):
    for vocabulary in (LETTER_VOCABULARY, Vocabulary.of(["it has\0 é\x1b\n"], "raw")):
        try:
            ids = vocabulary.encode_prompt(prompt)
        except ConfigError as error:
            reason = str(error).encode()  # in characters that can be written
        else:
            reason = b"prompt"
            assert vocabulary.decode(ids) == normalise(prompt, vocabulary.alphabet)
        assert reason.startswith(b"prompt")
