"""Normalise texts to an alphabet, and map their characters to ids. A text may be processed whole or in pieces."""

import logging
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

log = logging.getLogger(__name__)

UNKNOWN = "<unk>"
LETTERS = tuple(sorted([" ", UNKNOWN, *"abcdefghijklmnopqrstuvwxyz"]))  # the book's 28 symbols, in its order
MAX_MARKS = 1000  # combining marks in a row: sorting them into canonical order takes quadratic time
NAMED_CHARACTERS = 10  # in a message
SPACE = ord(" ")
LETTER_OR_SPACE = bytes(ord(c.lower()) if c.isascii() and c.isalpha() else SPACE for c in map(chr, range(256)))

# --- normalisation ---------------------------------------------------------------------------------------------------


def normalise(text: str, alphabet: Alphabet) -> str:
    """Normalise a text for an alphabet.

    letters: each run of characters other than A-Z and a-z becomes one space; letters become lower case (d2l.ai).
    raw: canonical composition (NFC) and LF line breaks.

    Raises InputError for MAX_MARKS or more combining marks in a row (raw).
    """
    return "".join(normalised([text], alphabet))


def normalised(pieces: Iterable[str], alphabet: Alphabet) -> Iterator[str]:
    """Normalise a text piece by piece; the result does not depend on where the text is cut. Raises as ``normalise``."""
    return _letters(pieces) if alphabet == "letters" else _composed(_lines(pieces))


def _letters(pieces: Iterable[str]) -> Iterator[str]:
    """Normalise for ``letters``."""
    after_letter = True  # a space at the start of the text is kept
    for piece in filter(None, pieces):
        mapped = np.frombuffer(piece.encode("ascii", "replace").translate(LETTER_OR_SPACE), np.uint8)
        is_letter = mapped != SPACE
        keep = is_letter.copy()
        keep[1:] |= is_letter[:-1]
        keep[0] |= after_letter
        after_letter = bool(is_letter[-1])
        yield mapped[keep].tobytes().decode("ascii")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Replace CR LF and CR by LF."""
    after_return = False
    for piece in filter(None, pieces):
        new = piece[1:] if after_return and piece[0] == "\n" else piece  # the second half of a CR LF
        after_return = piece[-1] == "\r"
        yield new.replace("\r\n", "\n").replace("\r", "\n") if "\r" in new else new


def _composed(pieces: Iterable[str]) -> Iterator[str]:
    """Compose to NFC. Cutting before an ASCII character is safe, since it never composes with preceding characters."""
    held: list[str] = []  # the pieces from the last ASCII character on
    for piece in filter(None, pieces):
        border = next((i for i in reversed(range(len(piece))) if piece[i].isascii()), None)
        if border is None:
            held.append(piece)
            continue
        yield _nfc("".join([*held, piece[:border]]))
        held = [piece[border:]]
    yield _nfc("".join(held))


def _nfc(text: str) -> str:
    """Compose to NFC. Raises InputError for MAX_MARKS or more combining marks in a row."""
    for place in range(MAX_MARKS - 1, len(text), MAX_MARKS):  # any MAX_MARKS in a row include one of these places
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
    """Whether NFC may reorder a character with preceding marks."""
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0]) > 0


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of a text, as uint8 if all are ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _dropped(text: str, alphabet: Alphabet) -> list[str]:
    """The characters other than white space that normalising replaces by a space, in the order of the text."""
    if alphabet == "raw":
        return []
    return [c for c in dict.fromkeys(text) if not (c.isascii() and c.isalpha()) and not c.isspace()]


def _names(characters: list[str]) -> str:
    """The first NAMED_CHARACTERS characters and their code points."""
    names = [f"{character!r} (U+{ord(character):04X})" for character in characters[:NAMED_CHARACTERS]]
    return ", ".join(names) + (", ..." if len(characters) > NAMED_CHARACTERS else "")


# --- symbols and their ids -------------------------------------------------------------------------------------------


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
        seen = np.zeros(sys.maxunicode + 1, bool)
        for piece in pieces:
            points = code_points(piece)
            if not seen.take(points).all():  # checking is faster than writing, and mostly enough
                seen[points] = True
        return cls(alphabet, tuple(sorted([UNKNOWN, *map(chr, np.flatnonzero(seen))])))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def unknown_id(self) -> int:
        """The id of <unk>."""
        return self.symbols.index(UNKNOWN)

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
        return self._id_of.take(code_points(text), mode="clip")

    def encode_prompt(self, prompt: str) -> list[int]:
        """Encode a prompt; logs a warning that names characters which ``letters`` replaces by a space.

        Raises ConfigError for an empty prompt, for characters that are not in the vocabulary, which it names, and for a
        prompt without a letter where the alphabet is ``letters``.
        """
        text = normalise(prompt, self.alphabet)
        if dropped := _dropped(prompt, self.alphabet):
            if not text.strip():
                raise ConfigError(
                    "prompt",
                    f"{prompt!r} has no letter from A to Z, and the model knows no other characters: give some, "
                    "or train on a text with --alphabet raw",
                )
            log.warning("Dropped from the prompt, as the model knows only letters and spaces: %s", _names(dropped))
        missing = sorted({character for character in text if character not in self.symbols})
        if missing:
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
