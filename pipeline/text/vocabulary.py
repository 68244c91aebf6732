"""The symbols of a text, and the alphabet's rule that leads to them. A text may come whole or in pieces."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.config import ConfigError
from pipeline.config import Alphabet
from pipeline.errors import InputError

UNKNOWN = "<unk>"

LETTERS = tuple(sorted([" ", UNKNOWN, *"abcdefghijklmnopqrstuvwxyz"]))  # the book's 28 symbols, in its order

MAX_MARKS = 1000  # in a row: to put more in their canonical order takes time that grows with their square

SPACE = ord(" ")

LETTER_OR_SPACE = bytes(ord(c.lower()) if c.isascii() and c.isalpha() else SPACE for c in map(chr, range(256)))

# --- the alphabet's rule ---------------------------------------------------------------------------------------------


def normalise(text: str, alphabet: Alphabet) -> str:
    """The text as the alphabet writes it.

    letters: every run of other characters than A-Z, a-z becomes one space, then lower case (the book's rule).
    raw: canonical composition (NFC) and one kind of line break. Raises InputError for MAX_MARKS or more marks in a row.
    """
    return "".join(normalised([text], alphabet))


def normalised(pieces: Iterable[str], alphabet: Alphabet) -> Iterator[str]:
    """``normalise`` for a text in pieces, in pieces: joined, they are the same wherever the text was cut."""
    return _letters(pieces) if alphabet == "letters" else _composed(_lines(pieces))


def _letters(pieces: Iterable[str]) -> Iterator[str]:
    after_letter = True  # a space at the start of the text stays
    for piece in filter(None, pieces):
        written = np.frombuffer(piece.encode("ascii", "replace").translate(LETTER_OR_SPACE), np.uint8)
        is_letter = written != SPACE
        keep = is_letter.copy()
        keep[1:] |= is_letter[:-1]
        keep[0] |= after_letter
        after_letter = bool(is_letter[-1])
        yield written[keep].tobytes().decode("ascii")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """The text with every CR LF and CR as LF."""
    after_return = False
    for piece in filter(None, pieces):
        new = piece[1:] if after_return and piece[0] == "\n" else piece  # that line break is written already
        after_return = piece[-1] == "\r"
        yield new.replace("\r\n", "\n").replace("\r", "\n") if "\r" in new else new


def _composed(pieces: Iterable[str]) -> Iterator[str]:
    """The text in NFC. It may be cut before an ASCII character, which joins nothing that stands before it."""
    held: list[str] = []  # from the last such place on
    for piece in filter(None, pieces):
        border = next((i for i in reversed(range(len(piece))) if piece[i].isascii()), None)
        if border is None:
            held.append(piece)
            continue
        yield _nfc("".join([*held, piece[:border]]))
        held = [piece[border:]]
    yield _nfc("".join(held))


def _nfc(text: str) -> str:
    """The text in NFC. Raises InputError for MAX_MARKS or more marks in a row."""
    for place in range(MAX_MARKS - 1, len(text), MAX_MARKS):  # so many in a row stand at one of these places
        start = end = place
        while start >= 0 and _is_mark(text[start]):
            start -= 1
        while end < len(text) and _is_mark(text[end]):
            end += 1
        if end - start - 1 >= MAX_MARKS:
            raise InputError(
                f"the text has {MAX_MARKS:,} combining marks or more in a row, which no writing has; "
                "take them out, or use --alphabet letters"
            )
    return unicodedata.normalize("NFC", text)


def _is_mark(character: str) -> bool:
    """Whether a character may have to be put in order with the marks before it."""
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0]) > 0


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of a text, in one byte each where that is enough."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


# --- symbols and their ids -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a text in the order of their ids, and the alphabet's rule that led to them."""

    alphabet: Alphabet
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, pieces: Iterable[str], alphabet: Alphabet) -> "Vocabulary":
        """The symbols of a normalised text in pieces; ``letters`` always has the same 28, and reads nothing."""
        if alphabet == "letters":
            return cls(alphabet, LETTERS)
        seen = np.zeros(sys.maxunicode + 1, bool)
        for piece in pieces:
            points = code_points(piece)
            if not seen.take(points).all():  # to look is faster than to write
                seen[points] = True
        return cls(alphabet, tuple(sorted([UNKNOWN, *map(chr, np.flatnonzero(seen))])))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def unknown_id(self) -> int:
        return self.symbols.index(UNKNOWN)

    @property
    def dtype(self) -> type[np.integer]:
        """The smallest integer type that holds every id and that torch computes with."""
        return np.uint8 if len(self) <= 256 else np.int16 if len(self) <= 32768 else np.int32

    @cached_property
    def _id_of(self) -> NDArray[np.integer]:
        """The id of each code point; the last entry stands for all beyond."""
        points = {ord(symbol): i for i, symbol in enumerate(self.symbols) if symbol != UNKNOWN}
        ids = np.full(max(points, default=0) + 2, self.unknown_id, self.dtype)
        ids[list(points)] = list(points.values())
        return ids

    def encode(self, text: str) -> NDArray[np.integer]:
        """Ids of a text, normalised first; characters that the vocabulary lacks become <unk>."""
        return self.ids_of(normalise(text, self.alphabet))

    def ids_of(self, text: str) -> NDArray[np.integer]:
        """Ids of a text, or a piece of one, that is normalised already."""
        return self._id_of.take(code_points(text), mode="clip")

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt. Raises ConfigError, naming them, for characters that the model has never seen."""
        text = normalise(prompt, self.alphabet)
        missing = sorted({character for character in text if character not in self.symbols})
        if missing:
            names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in missing[:10])
            raise ConfigError(
                "prompt",
                f"{prompt!r} has characters that the model has never seen: {names}; leave them out, "
                "or train on a text that has them",
            )
        if not text:
            raise ConfigError("prompt", "is empty; give at least one character to go on from")
        return [int(i) for i in self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.symbols[i] for i in ids)
