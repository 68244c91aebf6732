"""Normalise texts to an alphabet, and map their characters to ids."""

import logging
import re
import reprlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.config import ConfigError
from pipeline.config import Alphabet

log = logging.getLogger(__name__)

UNKNOWN = "<unk>"
LETTERS = tuple(sorted([" ", UNKNOWN, *"abcdefghijklmnopqrstuvwxyz"]))  # the book's 28 symbols, in its order
NAMED_CHARACTERS = 10  # in a message


def normalise(text: str, alphabet: Alphabet) -> str:
    """Normalise a text for an alphabet.

    letters: each run of characters other than A-Z and a-z becomes one space; letters become lower case (d2l.ai).
    raw: canonical composition (NFC) and LF line breaks. A line at a time: Python composes one that is composed already
    many times as fast.
    """
    if alphabet == "letters":
        return re.sub("[^A-Za-z]+", " ", text).lower()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join([unicodedata.normalize("NFC", line) for line in lines])


def normalised(pieces: Iterable[str], alphabet: Alphabet) -> Iterator[str]:
    """Normalise a text piece by piece, each of which ends with a line break: what follows does not compose with it."""
    ends_with_space = False
    for piece in pieces:
        text = normalise(piece, alphabet)
        if alphabet == "letters":
            text = text[1:] if ends_with_space and text.startswith(" ") else text
            ends_with_space = text.endswith(" ") or (ends_with_space and not text)
        yield text


def _names(characters: Iterable[str]) -> str:
    """The first NAMED_CHARACTERS characters and their code points."""
    names = [f"{character!r} (U+{ord(character):04X})" for character in characters]
    return ", ".join(names[:NAMED_CHARACTERS]) + ", ..." * (len(names) > NAMED_CHARACTERS)


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a text in the order of their ids, and the alphabet to which it was normalised."""

    alphabet: Alphabet
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, pieces: Iterable[str], alphabet: Alphabet) -> "Vocabulary":
        """The vocabulary of a normalised text in pieces; for ``letters`` always LETTERS, without reading the text."""
        if alphabet == "letters":
            return cls(alphabet, LETTERS)
        occurs = np.zeros(sys.maxunicode + 1, dtype=np.bool_)
        for piece in pieces:
            points = np.frombuffer(piece.encode("utf-32-le"), "<u4")
            occurs[points[~occurs.take(points)]] = True  # a few: to set all takes twice as long
        return cls(alphabet, tuple(sorted({UNKNOWN, *map(chr, np.flatnonzero(occurs))})))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def unknown_id(self) -> int:
        """The id of <unk>."""
        return self.symbols.index(UNKNOWN)

    @property
    def letters(self) -> list[bool]:
        """Which symbols are letters, by id."""
        return [symbol.isalpha() for symbol in self.symbols]

    @property
    def dtype(self) -> type[np.integer]:
        """The smallest integer type that holds every id and that torch supports."""
        return np.uint8 if len(self) <= 256 else np.int16 if len(self) <= 32768 else np.int32

    @cached_property
    def _id_of(self) -> NDArray[np.integer]:
        """The id of each code point; the last entry stands for all larger ones."""
        points = {ord(symbol): i for i, symbol in enumerate(self.symbols) if symbol != UNKNOWN}
        ids = np.full(max(points, default=0) + 2, self.unknown_id, self.dtype)
        ids[list(points)] = list(points.values())
        return ids

    def encode(self, text: str) -> NDArray[np.integer]:
        """Normalise and encode a text; characters outside of the vocabulary become <unk>."""
        return self.ids_of(normalise(text, self.alphabet))

    def ids_of(self, text: str) -> NDArray[np.integer]:
        """Encode a text, or a piece of one, that is normalised already."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return self._id_of.take(points, mode="clip")

    def encode_prompt(self, prompt: str) -> list[int]:
        """Encode a prompt; logs a warning that names characters which ``letters`` replaces by a space.

        Raises ConfigError for an empty prompt, for one that is not a string, for characters that are not in the
        vocabulary, which it names, and for a prompt without a letter where the alphabet is ``letters``.
        """
        if not isinstance(prompt, str):
            raise ConfigError("prompt", f"is {reprlib.repr(prompt)}; it must be a string, one prompt at a time")
        text = normalise(prompt, self.alphabet)
        dropped = [c for c in dict.fromkeys(prompt) if not (c.isascii() and c.isalpha()) and not c.isspace()]
        if self.alphabet == "letters" and dropped:
            if not text.strip():
                raise ConfigError(
                    "prompt",
                    f"{prompt!r} has no letter from A to Z, and the model knows no other characters: give some, "
                    "or train with the alphabet raw",
                )
            log.warning("Dropped from the prompt, as the model knows only letters and spaces: %s", _names(dropped))
        if missing := sorted(set(text) - set(self.symbols)):
            raise ConfigError(
                "prompt",
                f"{prompt!r} has characters that the model has never seen: {_names(missing)}; leave them out, "
                "or train on a text that has them",
            )
        if not text:
            raise ConfigError("prompt", "is empty; give at least one character")
        return [int(i) for i in self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids."""
        return "".join(self.symbols[i] for i in ids)
