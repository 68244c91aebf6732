"""A made-up language, which n-grams of all orders know something about."""

import numpy as np
from numpy.typing import NDArray

VOCAB, IS_LETTER = 6, (False, True, True, True, False, True)
_LETTERS = np.random.default_rng(42)
WORDS = [np.append(0, _LETTERS.integers(1, VOCAB, size=_LETTERS.integers(1, 7))) for _ in range(60)]
FREQUENCIES = 1 / np.arange(1, len(WORDS) + 1)


def a_text(characters: int, seed: int = 0) -> NDArray[np.uint8]:
    """Words of an invented language, each after a blank (0), in random order."""
    draw = np.random.default_rng(seed)
    drawn = draw.choice(len(WORDS), size=characters, p=FREQUENCIES / FREQUENCIES.sum())
    return np.concatenate([WORDS[word] for word in drawn])[:characters].astype(np.uint8)
