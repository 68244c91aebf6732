"""The n-gram baselines are proper distributions, equal what the equations say, and score the book as measured."""

from collections import Counter
from functools import cache
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ngram import (
    BASELINE_ORDERS,
    FALLBACK_DISCOUNTS,
    REPORT_ORDERS,
    KneserNey,
    NGramScore,
    baselines,
    discounts,
    unigram_bits_per_char,
)

VOCAB_SIZE = 7  # of the small texts below, whose last symbol never occurs


def markov_text(length: int = 3000, seed: int = 0) -> np.ndarray:
    """A text with something to learn: each symbol leans towards one that the two before it decide."""
    random = np.random.default_rng(seed)
    text = [0, 1]
    for _ in range(length - 2):
        likely = (2 * text[-1] + text[-2] + 1) % (VOCAB_SIZE - 1)
        text.append(likely if random.random() < 0.6 else int(random.integers(VOCAB_SIZE - 1)))
    return np.array(text, dtype=np.uint8)


@cache
def model_of_order(order: int) -> KneserNey:
    return KneserNey(markov_text(), VOCAB_SIZE, order)


def naive_log2_probability(text: tuple[int, ...], history: tuple[int, ...], symbol: int) -> float:
    """Modified Kneser-Ney by dictionaries, an n-gram at a time: order len(history) + 1 and lower."""
    order = len(history) + 1
    occurring = [Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(order + 1)]
    probability = 1 / VOCAB_SIZE
    for n in range(1, order + 1):
        counts = occurring[n] if n == order else Counter(gram[1:] for gram in occurring[n + 1])
        taken = discounts(np.array([counts[gram] for gram in occurring[n]]))
        context = history[len(history) - (n - 1) :]
        after = [counts[(*context, other)] for other in range(VOCAB_SIZE)]
        if sum(after):
            freed = sum(taken[min(count, 3)] for count in after) / sum(after)
            own = max(after[symbol] - taken[min(after[symbol], 3)], 0) / sum(after)
            probability = own + freed * probability
    return log2(probability)


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 3), max_size=6), st.integers(1, 5))
def test_a_text_of_any_size_gives_probabilities_that_sum_to_one(text, context, order):
    model = KneserNey(np.array(text, dtype=np.int32), 4, order)
    probabilities = np.exp2([model.log2_probabilities([*context, symbol])[-1] for symbol in range(4)])
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert (probabilities > 0).all()


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kneser_ney_equals_the_equations_written_with_dictionaries(order):
    text, held_out = markov_text(800), markov_text(60, seed=1)
    bits = KneserNey(text, VOCAB_SIZE, order).log2_probabilities(held_out)
    for i in range(order - 1, len(held_out)):
        history = tuple(held_out[i - order + 1 : i].tolist())
        expected = naive_log2_probability(tuple(text.tolist()), history, int(held_out[i]))
        assert bits[i] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_lower_order_of_a_fit_equals_a_fit_of_that_order(order):
    held_out = markov_text(200, seed=1)
    shared, fresh = model_of_order(5).of_order(order), model_of_order(order)
    assert (shared.order, shared.entries) == (order, fresh.entries)
    np.testing.assert_array_equal(shared.log2_probabilities(held_out), fresh.log2_probabilities(held_out))


def test_counts_of_counts_of_zero_give_the_fallback_discounts():
    assert tuple(discounts(np.array([5, 6, 7]))) == (0.0, *FALLBACK_DISCOUNTS)


def test_counts_of_counts_give_the_discounts_of_chen_and_goodman():
    n = {1: 100, 2: 40, 3: 20, 4: 10}
    counts = np.concatenate([np.full(number, count) for count, number in n.items()])
    y = 100 / 180
    np.testing.assert_allclose(discounts(counts), [0, 1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5])


def test_unigram_is_the_frequency_with_one_added():
    bits = [unigram_bits_per_char([0, 0, 0, 1], [0, symbol], 3) for symbol in range(3)]
    np.testing.assert_allclose(np.exp2(-np.array(bits)), [4 / 7, 2 / 7, 1 / 7])


def test_a_large_vocabulary_of_long_n_grams_does_not_overflow():
    vocab_size = 60_000  # to the sixth: 2**95
    text = np.tile(np.random.default_rng(0).integers(0, vocab_size, 500), 4)
    model = KneserNey(text, vocab_size, order=6)
    assert -model.log2_probabilities(text[:500]).mean() < 1.5 < 15 < log2(vocab_size)


def test_baselines_score_every_held_out_text_by_name_from_its_second_character_on():
    train, held_out = markov_text(), {"val": markov_text(seed=1), "test": markov_text(seed=2)}
    scores = baselines(train, held_out, VOCAB_SIZE, BASELINE_ORDERS)
    assert list(scores) == ["val", "test"]
    for name, text in held_out.items():
        assert scores[name].uniform_bits_per_char == log2(VOCAB_SIZE)
        frequencies = (np.bincount(train, minlength=VOCAB_SIZE) + 1) / (len(train) + VOCAB_SIZE)
        assert scores[name].unigram_bits_per_char == pytest.approx(-np.log2(frequencies[text])[1:].mean())
        for order, score in zip(BASELINE_ORDERS, scores[name].singles, strict=True):
            ngram = model_of_order(order)
            assert score == NGramScore(order, ngram.entries, ngram.entries, -ngram.log2_probabilities(text)[1:].mean())


def test_the_order_is_the_best_on_validation_whatever_the_test_text_says():
    long, short = markov_text(seed=1), np.random.default_rng(0).integers(0, VOCAB_SIZE - 1, 3000)
    scores = baselines(markov_text(), {"val": long, "test": short}, VOCAB_SIZE, REPORT_ORDERS)
    assert scores["val"].best_order == scores["test"].best_order == 3  # what decides is two before
    bits = {score.order: score.bits_per_char for score in scores["val"].singles}
    assert scores["val"].order_as_good_as(bits[2]) == 2
    assert scores["val"].order_as_good_as(bits[3]) == 3
    assert scores["val"].order_as_good_as(bits[3] - 0.01) == 0
    assert scores["val"].ngram.bits_per_char == min(score.bits_per_char for score in scores["val"].singles)
    assert scores["test"].ngram.bits_per_char > min(score.bits_per_char for score in scores["test"].singles)
    assert scores["val"].ngram.entries == model_of_order(3).entries


def test_n_gram_perplexities_of_the_time_machine(splits):
    held_out = {name: splits[name] for name in ("val", "test")}
    scores = baselines(splits["train"], held_out, 28, REPORT_ORDERS)
    expected = [
        (5, 48_912, 3.847, 3.934),
        (6, 102_707, 3.677, 3.762),
        (7, 178_596, 3.655, 3.723),
        (8, 274_761, 3.664, 3.727),
    ]
    for row, val, test in zip(expected, scores["val"].singles[3:], scores["test"].singles[3:], strict=True):
        assert (val.order, val.entries) == row[:2]
        assert (2**val.bits_per_char, 2**test.bits_per_char) == pytest.approx(row[2:], abs=0.001)
    assert scores["val"].best_order == 7
