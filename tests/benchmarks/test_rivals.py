import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.gated_ngrams import TOLD
from tests.benchmarks.rivals import CONTEXTS, WIDTH, MinGRU, Rival
from tests.benchmarks.word_ngrams import SETTINGS, WordTables, contexts_of, prepared


def test_the_parallel_scan_of_a_min_gru_is_its_recurrence():
    torch.manual_seed(0)
    cell, x = MinGRU(), torch.randn(2, 9, WIDTH)
    gate, candidate = cell.inputs(x).chunk(2, dim=-1)
    state, states = torch.zeros(2, WIDTH), []
    for z, c in zip(gate.sigmoid().unbind(1), candidate.unbind(1), strict=True):
        state = (1 - z) * state + z * torch.where(c >= 0, F.relu(c) + 0.5, c.sigmoid())
        states.append(state)
    torch.testing.assert_close(cell(x), cell.output(torch.stack(states, dim=1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONTEXTS)
def test_a_rival_does_not_see_what_it_predicts(kind):
    torch.manual_seed(0)
    model, ids = Rival(kind, 7, 16, 0.0).eval(), torch.randint(7, (2, 16))
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 7
    torch.testing.assert_close(model(changed)[:, :9], model(ids)[:, :9])


def test_words_and_skips_before_a_character():
    is_letter, ids = [False, True, True], np.array([1, 2, 0, 1, 1, 0, 1, 2, 0, 1, 1, 0])  # "ab aa ab aa "
    for hashes in contexts_of(ids, is_letter):
        assert len(hashes) == len(ids)
    one_word_before = contexts_of(ids, is_letter)[0]
    assert one_word_before[4] == one_word_before[10]  # an a after "ab "
    assert len({*one_word_before[[3, 4, 5, 7]]}) == 4


def test_word_ngrams_are_distributions_that_know_nothing_of_the_future(corpus):
    tables, model = WordTables(corpus), prepared(corpus)(SETTINGS | {"PASSES": 1})
    val = corpus.split("stream", "val")[:200]
    torch.testing.assert_close(model.log_probabilities(val).exp().sum(-1), torch.ones(len(val)))
    for before, after in zip(tables.about(val[:100], 0, 100), tables.about(val, 0, 100), strict=True):
        torch.testing.assert_close(before[..., :-TOLD], after[..., :-TOLD])
