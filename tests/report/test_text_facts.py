"""What is read of a text for the report: n-gram perplexities with and without context, and where the prompts stand."""

from math import exp, log, log2

import numpy as np
import pytest

from models.ngram import KneserNey, predicted_bits_per_char
from pipeline.config import CorpusConfig
from pipeline.report.text_facts import costs_of_windows, text_facts
from pipeline.text.corpus import load_corpus


def test_a_window_starts_without_context_by_models_of_lower_orders():
    ids = np.random.default_rng(0).integers(0, 4, 400)
    rest, length, order = ids[300:], 8, 4
    fitted = {n: KneserNey(ids[:300], 4, n) for n in range(1, order + 1)}
    by_hand = [
        np.mean([fitted[min(t + 1, order)].log2_probabilities(rest[start : start + t + 1])[-1] for t in range(1, 9)])
        for start in range(len(rest) - length)
    ]
    assert costs_of_windows(fitted[order], rest, length) == pytest.approx(-log(2) * np.array(by_hand))


def test_of_the_book_more_context_is_better_and_the_prompts_are_found(book):
    corpus = load_corpus(CorpusConfig(str(book)))
    facts = text_facts(corpus)
    perplexities = [facts.val_perplexities[order] for order in range(1, 9)]
    assert perplexities == sorted(perplexities, reverse=True)
    assert [facts.windowed[order] for order in (4, 5, 6)] == pytest.approx([5.17, 4.86, 4.78], abs=0.005)
    assert exp(np.mean(facts.block_costs["windowed"][4])) == pytest.approx(facts.windowed[4], rel=1e-3)
    assert facts.gated["val"] < min(perplexities)
    assert facts.gated["windowed"] < min(facts.windowed.values())
    assert facts.unigram == pytest.approx(16.66, abs=0.01)
    assert facts.train_unigram == pytest.approx(17.07, abs=0.01)
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
