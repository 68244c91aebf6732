"""The symbols of a text, and the alphabet's rule that leads to them."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Alphabet
from pipeline.errors import InputError

UNKNOWN = "<unk>"
LETTERS = tuple(sorted([" ", UNKNOWN, *"abcdefghijklmnopqrstuvwxyz"]))  # the book's 28 symbols, in its order


def normalise(text: str, alphabet: Alphabet) -> str:
    """The text as the alphabet writes it.

    letters: every run of other characters than A-Z, a-z becomes one space, then lower case (the book's rule).
    raw: canonical composition (NFC) and one kind of line break.
    """
    if alphabet == "letters":
        return re.sub("[^A-Za-z]+", " ", text).lower()
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a text in the order of their ids, and the alphabet's rule that led to them."""

    alphabet: Alphabet
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, text: str, alphabet: Alphabet) -> "Vocabulary":
        """The symbols of a normalised text; ``letters`` always has the same 28."""
        return cls(alphabet, LETTERS if alphabet == "letters" else tuple(sorted({*text, UNKNOWN})))

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
    def _code_points(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        single = [(ord(symbol), i) for i, symbol in enumerate(self.symbols) if symbol != UNKNOWN]
        points, ids = zip(*sorted(single), strict=True)
        return np.array(points, np.uint32), np.array(ids, np.int64)

    def encode(self, text: str) -> NDArray[np.integer]:
        """Ids of a text, normalised first; characters that the vocabulary lacks become <unk>."""
        points = np.frombuffer(normalise(text, self.alphabet).encode("utf-32-le", "surrogatepass"), np.uint32)
        known, ids = self._code_points
        at = np.searchsorted(known, points).clip(max=len(known) - 1)
        return np.where(known[at] == points, ids[at], self.unknown_id).astype(self.dtype)

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt. Raises InputError, naming them, for characters that the model has never seen."""
        text = normalise(prompt, self.alphabet)
        missing = sorted({character for character in text if character not in self.symbols})
        if missing:
            names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in missing[:10])
            raise InputError(
                f"--prompt {prompt!r} has characters that the model has never seen: {names}; leave them out, "
                "or train on a text that has them"
            )
        if not text:
            raise InputError("--prompt is empty; give at least one character to go on from")
        return [int(i) for i in self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.symbols[i] for i in ids)
