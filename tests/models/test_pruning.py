"""Pruned n-grams: as many as asked for, a distribution after every context, and the most useful ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.gated_ngrams import NGramTables
from models.ngram import KneserNey, ngrams_of, predicted_bits_per_char
from models.pruning import pruned
from tests.models.made_up import VOCAB, a_text

TEXT = a_text(2000)
NGRAMS = list(ngrams_of(TEXT, VOCAB, 6))


def pruned_to(most: int) -> KneserNey:
    return pruned(NGRAMS, VOCAB, most)


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.integers(1, 5),
)
def test_with_all_ngrams_it_is_the_unpruned_model(text, held_out, order):
    ngrams, whole = list(ngrams_of(text, 4, order)), KneserNey(text, 4, order)
    model = pruned(ngrams, 4, 10_000)
    for highest in range(1, order + 1):
        expected = whole.of_order(highest).log2_probabilities(held_out)
        np.testing.assert_allclose(model.of_order(highest).log2_probabilities(held_out), expected, atol=1e-6)


@pytest.mark.parametrize("most", [1, 40, 300])
def test_it_has_as_many_ngrams_as_asked_for_and_its_distributions_sum_to_one(most):
    tables = NGramTables(pruned_to(most))
    assert tables.entries == most
    NGramTables.from_tensors(tables.tensors(), VOCAB)  # which checks that all contexts exist
    evidence = torch.cat(list(tables.about(a_text(300, seed=1), 0, 300)))
    np.testing.assert_allclose(evidence[..., :VOCAB].exp().sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_it_is_better_than_an_unpruned_model_of_its_size(order):
    held_out, small = a_text(1000, seed=1), KneserNey(TEXT, VOCAB, order)
    bits = predicted_bits_per_char(pruned_to(small.entries), held_out)
    assert bits < 0.95 * predicted_bits_per_char(small, held_out)


@pytest.mark.slow
def test_perplexities_of_the_time_machine(splits):
    ngrams = list(ngrams_of(splits["train"], 28, 7))
    for most, test in ((3_500, 4.911), (9_000, 4.376), (26_000, 3.956), (60_000, 3.804)):
        model = pruned(ngrams, 28, most)
        assert 2 ** predicted_bits_per_char(model, splits["test"]) == pytest.approx(test, abs=0.001)
