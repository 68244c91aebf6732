"""Compute the facts of a text that a reproduction records: n-gram perplexities and the places of prompts.

A network of the report's protocol reads windows of 32 characters without earlier context; ``windowed`` perplexities
are those of n-grams under the same restriction.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.ngram import KneserNey, Unigram, predicted_bits_per_char
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.reproduction import TEST_ORDER, PromptInText, PromptSplit, TextFacts
from pipeline.text.corpus import Corpus
from pipeline.training.samples import CONTINUED_CHARS, prompts_for

ORDERS = range(2, 7)


def text_facts(corpus: Corpus) -> TextFacts:
    """Compute the facts; the text must be long enough for the report's protocol."""
    train, val = corpus.split("report", "train"), corpus.split("report", "val")
    models = {order: KneserNey(train, len(corpus.vocabulary), order) for order in ORDERS}
    letters, stream = Unigram(train, len(corpus.vocabulary)), corpus.baselines("stream")
    unigram = 2 ** predicted_bits_per_char(letters, val)
    return TextFacts(
        corpus=corpus.label,
        corpus_sha256=corpus.corpus_sha256,
        vocab_size=len(corpus.vocabulary),
        val_perplexities={1: unigram} | {n: 2 ** predicted_bits_per_char(each, val) for n, each in models.items()},
        windowed={1: unigram} | {n: 2 ** windowed_bits_per_char(each, val) for n, each in models.items()},
        test_perplexity=2 ** stream["test"].of_order(TEST_ORDER).bits_per_char,
        prompts=tuple(place for prompt in prompts_for(corpus.vocabulary) for place in _places(corpus, prompt)),
        train_unigram=2 ** predicted_bits_per_char(letters, train),
        stream_val_unigram=2 ** stream["val"].unigram_bits_per_char,
        stream_test_unigram=2 ** stream["test"].unigram_bits_per_char,
        words=tuple(sorted(set(corpus.vocabulary.decode(corpus.ids).split()))),
    )


def windowed_bits_per_char(model: KneserNey, ids: NDArray[np.integer], length: int = WINDOW_LENGTH) -> float:
    """Mean cost of the targets of all windows of ``length`` characters at stride 1 in ids (N,).

    Target t of a window (t = 1 ... length) has the t characters of the window before it as its context.
    """
    count = len(ids) - length
    by_context = [model.log2_probabilities(ids, context) for context in range(model.order)]
    total = sum(float(by_context[min(t, model.order - 1)][t : t + count].sum()) for t in range(1, length + 1))
    return -total / (count * length)


def _places(corpus: Corpus, prompt: str) -> Iterator[PromptInText]:
    """Find the occurrences of the prompt as whole words."""
    text = corpus.vocabulary.decode(corpus.ids)
    position = text.find(prompt)
    while position >= 0:
        end = position + len(prompt)
        if text[position - 1 : position] in ("", " ") and text[end : end + 1] in ("", " "):
            yield PromptInText(prompt, position, _split_of(position), text[end : end + CONTINUED_CHARS])
        position = text.find(prompt, position + 1)


def _split_of(position: int) -> PromptSplit:
    if position < WINDOW_TRAIN:
        return "training"
    return "validation" if position < WINDOW_TRAIN + WINDOW_VAL else "neither"
