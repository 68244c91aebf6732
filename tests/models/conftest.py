"""The Time Machine, for the tests of n-grams."""

import re
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def splits(book: Path) -> dict[str, np.ndarray]:
    """The Time Machine as the report reads it: 28 symbols, split 90 / 5 / 5."""
    text = re.sub("[^A-Za-z]+", " ", book.read_text(encoding="utf-8")).lower()
    vocabulary = sorted({*text, "<unk>"})
    ids = np.array([vocabulary.index(character) for character in text], dtype=np.uint8)
    train, val = int(0.9 * len(ids)), int(0.05 * len(ids))
    assert (len(ids), len(vocabulary)) == (173_428, 28)
    return {"train": ids[:train], "val": ids[train : train + val], "test": ids[train + val :]}
