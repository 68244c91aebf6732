"""What is read of a text for the report: n-gram perplexities with and without context, and where the prompts stand."""

from math import log2

import numpy as np
import pytest

from models.ngram import KneserNey, predicted_bits_per_char
from pipeline.config import CorpusConfig
from pipeline.report.text_facts import text_facts, windowed_bits_per_char
from pipeline.text.corpus import load_corpus


def test_a_window_starts_without_context():
    ids = np.random.default_rng(0).integers(0, 4, 400)
    model = KneserNey(ids[:300], 4, order=4)
    rest, length = ids[300:], 8
    by_hand = [
        model.log2_probabilities(rest[start : start + length + 1])[1:].sum() for start in range(len(rest) - length)
    ]
    assert windowed_bits_per_char(model, rest, length) == pytest.approx(-np.mean(by_hand) / length)


def test_less_context_is_that_of_a_lower_order():
    ids = np.random.default_rng(1).integers(0, 3, 500)
    model = KneserNey(ids, 3, order=5)
    assert np.array_equal(model.log2_probabilities(ids), model.log2_probabilities(ids, 4))
    assert not np.array_equal(model.log2_probabilities(ids), model.log2_probabilities(ids, 2))
    for position in (10, 77, 499):
        short = model.log2_probabilities(ids[position - 2 : position + 1])[-1]
        assert model.log2_probabilities(ids, 2)[position] == pytest.approx(short)


def test_of_the_book_more_context_is_better_and_the_prompts_are_found(book):
    corpus = load_corpus(CorpusConfig(str(book)))
    facts = text_facts(corpus)
    perplexities = [facts.val_perplexities[order] for order in range(1, 7)]
    assert perplexities == sorted(perplexities, reverse=True)
    assert all(facts.windowed[order] > facts.val_perplexities[order] for order in range(2, 7))
    assert facts.unigram == pytest.approx(16.66, abs=0.01)
    assert facts.train_unigram == pytest.approx(17.07, abs=0.01)
    assert (facts.stream_val_unigram, facts.stream_test_unigram) == pytest.approx((16.86, 16.59), abs=0.01)
    assert log2(facts.val_perplexities[6]) == pytest.approx(
        predicted_bits_per_char(
            KneserNey(corpus.split("report", "train"), 28, order=6), np.asarray(corpus.split("report", "val"))
        )
    )
    places = {(each.prompt, each.position, each.split) for each in facts.prompts}
    assert places >= {
        ("proceeded the", 4546, "training"),
        ("staring hard", 5147, "training"),
        ("it has", 13823, "validation"),
    }
    assert all(len(each.continuation) == 20 for each in facts.prompts)
