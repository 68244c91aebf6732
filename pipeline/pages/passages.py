"""What a page shows of a test text, which no model was trained on: its opening, and passages to guess letters of."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.text.vocabulary import Vocabulary

OPENING_CHARS = 200  # with which a page begins
MOST_PASSAGES, SHORTEST, LONGEST = 12, 120, 300  # the last two in characters
TILES = 30  # symbols to guess by touch


def opening_and_passages(vocabulary: Vocabulary, ids: NDArray[np.integer]) -> tuple[str, list[str]]:
    """The first OPENING_CHARS of a text (N,), without <unk>, and stretches of what follows, evenly spread.

    They begin with a word, passages of a text that has none in SHORTEST characters anywhere. A passage has no <unk>.
    The rest of the text is divided into equal slots: each gives the first of its longest stretches of at most LONGEST
    characters, or none if that is shorter than SHORTEST.
    """
    is_space, is_word = (np.array([*map(test, vocabulary.symbols)])[ids] for test in (str.isspace, str.isalnum))
    starts = np.flatnonzero(is_space[:-1] & is_word[1:]) + 1
    first = next((int(start) for start in starts[:1] if start <= OPENING_CHARS), 0)
    known = np.flatnonzero(ids != vocabulary.unknown_id)
    opening = known[known >= first][:OPENING_CHARS]
    begin = int(opening[-1]) + 1 if len(opening) else len(ids)

    if len(starts) * SHORTEST < len(ids):
        starts = np.arange(len(ids))
    unknown = np.append(np.flatnonzero(ids == vocabulary.unknown_id), len(ids))
    passages = []
    count = min(max((len(ids) - begin) // LONGEST, 1), MOST_PASSAGES)
    for low, high in pairwise(np.linspace(begin, len(ids), count + 1).astype(int).tolist()):
        inside = starts[(starts >= low) & (starts < high)]
        lengths = np.minimum(unknown[np.searchsorted(unknown, inside)], high) - inside
        lengths = np.minimum(lengths, LONGEST)
        if np.max(lengths, initial=0) >= SHORTEST:
            at = int(np.argmax(lengths))
            passages.append(vocabulary.decode(ids[inside[at] : inside[at] + lengths[at]]))
    return vocabulary.decode(ids[opening]), passages


def tiles_of(vocabulary: Vocabulary, ids: NDArray[np.integer]) -> list[int]:
    """The ids, ascending, of space, line break, tab and the most frequent symbols of a text (N,), TILES in all."""
    counts = np.bincount(ids, minlength=len(vocabulary))
    known = [number for number in range(len(vocabulary)) if number != vocabulary.unknown_id]
    known.sort(key=lambda number: (vocabulary.symbols[number] not in " \n\t", -counts[number]))
    return sorted(known[:TILES])
