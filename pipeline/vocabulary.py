"""The symbols of a text, and the alphabet's rule that leads to them. A text may come whole or in pieces."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

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
HANGUL_VOWELS_AND_FINALS = range(0x1160, 0x1200)


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
    """The text in NFC. What the next piece may still change is held back: the last character that joins no other
    before it, and the marks behind it."""
    held = ""
    for piece in filter(None, pieces):
        held += piece
        border = _last_border(held)
        yield unicodedata.normalize("NFC", held[:border])
        held = held[border:]
    yield unicodedata.normalize("NFC", held)


def _last_border(text: str) -> int:
    """The last place where a text may be cut in two whose NFC is that of the whole, whatever follows; 0: nowhere.

    Raises InputError for MAX_MARKS or more marks in a row.
    """
    if text.isascii():
        return len(text) - 1
    joins = joining().take(code_points(text))
    if not joins.any():
        return len(text) - 1
    borders = np.flatnonzero(~joins)
    longest = int(np.diff(borders, prepend=-1, append=len(text)).max()) - 1
    if longest >= MAX_MARKS:
        raise InputError(
            f"the text has {MAX_MARKS:,} combining marks or more in a row, which no writing has; "
            "take them out, or use --alphabet letters"
        )
    return int(borders[-1]) if len(borders) else 0


@cache
def joining() -> NDArray[np.bool_]:
    """Of each code point, whether NFC may reorder or compose it with what stands before it.

    These are combining marks, the later parts of characters that are composed of several, and what begins with one of
    either when it is taken apart.
    """
    points = range(sys.maxunicode + 1)
    parts = {point: found.split() for point in points if (found := unicodedata.decomposition(chr(point)))}
    canonical = {point: [int(part, 16) for part in found] for point, found in parts.items() if found[0][0] != "<"}
    later = {part for found in canonical.values() for part in found[1:]} | {*HANGUL_VOWELS_AND_FINALS}
    joins = np.fromiter((unicodedata.combining(chr(p)) > 0 or p in later for p in points), bool, len(points))
    for point in canonical:
        joins[point] |= joins[ord(unicodedata.normalize("NFD", chr(point))[0])]
    return joins


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
