"""A text is scored as if it were read in one go, however it is cut, and windows as the book averages them."""

from math import exp

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.mixture import Mixture
from models.ngram import KneserNey
from pipeline.config import CorpusConfig, resolve
from pipeline.text.batches import data_for, windows
from pipeline.text.corpus import load_corpus
from pipeline.training.evaluation import (
    LARGE_VOCABULARY,
    ROW_CHARS,
    block_means,
    calibrate_logits,
    score_windows,
    text_costs,
)
from pipeline.training.loop import Training, fit
from pipeline.training.mixing import costs_of_mixture, costs_with_ngram, reading

VOCAB = 9


def small_model() -> LanguageModel:
    """Random weights, large enough that what was read before matters."""
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig("lstm", num_layers=2, hidden_size=8), VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def some_ids(length: int) -> Tensor:
    return torch.randint(VOCAB, (length,), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@torch.no_grad()
def nats_in_one_go(model: LanguageModel, ids: Tensor) -> float:
    """One forward call over the whole text, without dropout."""
    was_training = model.training
    logits = model.eval()(ids[None, :-1].long())[0][0]
    model.train(was_training)
    return F.cross_entropy(logits.double(), ids[1:].long(), reduction="sum").item()


@pytest.fixture(scope="module")
def trained() -> tuple[LanguageModel, Tensor]:
    """An LSTM of 32 units after half a second with Python's reference topics, and a text it has not seen."""
    ids = torch.from_numpy(load_corpus(CorpusConfig("python-docs")).ids)
    model_config, train_config = resolve(
        {"hidden_size": 32, "budget_chars": 200_000, "batch_size": 32, "device": "cpu", "precision": "fp32"}
    )
    torch.manual_seed(0)
    data = data_for(ids[:200_000], ids[200_000:202_000], train_config)
    training = Training(LanguageModel(model_config, 28), data, train_config)
    fit(training)
    return training.eval_model, ids[202_000:222_000]


# --- a text ----------------------------------------------------------------------------------------------------------


def test_a_trained_model_is_scored_within_a_thousandth_of_one_reading(trained):
    model, ids = trained
    in_one_go = exp(nats_in_one_go(model, ids) / (len(ids) - 1))
    assert in_one_go < 11  # it has learnt something: letters alone cost about 17
    assert exp(float(text_costs(model, ids).mean())) == pytest.approx(in_one_go, rel=1e-3)


@pytest.mark.parametrize(("factor", "expected"), [(1.25, 0.8), (1.0, 1.0)])
def test_logits_that_are_too_large_are_scaled_back(factor, expected):
    model = small_model()
    with torch.no_grad():
        model.output.weight.zero_()  # it predicts the same distribution everywhere: the one that the text is drawn from
        drawn = torch.distributions.Categorical(logits=model.output.bias.normal_(0, 2)).sample((20_000,))
        model.output.bias.mul_(factor)
    assert calibrate_logits(model, drawn)[0] == expected


@pytest.mark.parametrize(("row", "context"), [(10, 1), (10, 4), (10, 10)])
def test_each_row_is_read_after_the_characters_before_it_and_no_others(row, context):
    model, ids = small_model(), some_ids(95)
    nats = 0.0
    for start in range(0, len(ids) - 1, row):
        before = max(0, start - context)
        with_context = nats_in_one_go(model, ids[before : min(start + row, len(ids) - 1) + 1])
        nats += with_context - (nats_in_one_go(model, ids[before : start + 1]) if start > before else 0)
    assert float(text_costs(model, ids, row=row, context=context).sum()) == pytest.approx(nats, rel=1e-5)


def test_a_large_vocabulary_is_read_in_fewer_rows_at_once():
    model, ids, calls = small_model(), some_ids(905), list[int]()
    whole = text_costs(model, ids, row=16, context=8)
    model.register_forward_pre_hook(lambda _, arguments: calls.append(len(arguments[0])))
    in_parts = text_costs(model, ids, row=16, context=8, logits_at_once=16 * VOCAB * 5)
    torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-5)
    assert len(whole) == 904
    assert max(calls) == 5


# --- mixtures --------------------------------------------------------------------------------------------------------


def some_counts() -> NGramModel:
    return NGramModel(NGramTables(KneserNey(some_ids(3000).numpy(), VOCAB, order=4)), OrderGate(4))


def test_the_ends_of_the_mixtures_are_the_scores_of_the_two_models():
    model, ngram, ids = small_model(), some_counts(), some_ids(1000)
    costs, by_ngram, nats = costs_with_ngram(model, ngram, ids)
    assert torch.equal(costs, text_costs(model, ids))
    torch.testing.assert_close(by_ngram, ngram.costs(ids.numpy()))
    for by_weight in nats:
        assert float(by_weight[-1]) == pytest.approx(float(costs.sum()), rel=1e-5)
        assert float(by_weight[0]) == pytest.approx(float(ngram.costs(ids.numpy()).sum()), rel=1e-5)


def test_mixtures_do_not_depend_on_how_much_is_read_at_once():
    model, ngram, ids = small_model(), some_counts(), some_ids(700)
    whole = costs_with_ngram(model, ngram, ids)[2]
    two_rows = 2 * ROW_CHARS * VOCAB
    in_parts = costs_with_ngram(model, ngram, ids, mixed_at_once=50 * VOCAB, logits_at_once=two_rows)[2]
    torch.testing.assert_close(in_parts, whole)
    mixture = Mixture("geometric", 0.3)
    costs = costs_of_mixture(mixture, reading(model), ngram.log_probabilities, ids, rows=1)
    assert len(costs) == 699
    assert float(costs.sum()) == pytest.approx(float(mixture.of(whole)))


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("characters", "blocks"), [(30, 1), (5_031, 100), (8_671, 173), (500_000, 200)])
def test_block_means_are_of_about_50_characters_and_at_most_200(characters, blocks):
    means = block_means(torch.arange(characters, dtype=torch.double) / characters)
    assert len(means) == blocks
    assert means[-1] == pytest.approx(1 - 0.5 / blocks, abs=0.02)


# --- units, and the model's mode -------------------------------------------------------------------------------------


def test_a_model_in_training_is_scored_without_dropout_and_left_in_training():
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=8, num_layers=2, dropout=0.9, output_dropout=0.9, recurrent_dropout=0.9)
    model, ids = LanguageModel(config, VOCAB), some_ids(300)
    assert torch.equal(text_costs(model.train(), ids), text_costs(model.eval(), ids))
    with_dropout, without = (score_windows(model.train(mode), *windows(ids, 12), 25) for mode in (True, False))
    assert with_dropout[:2] == without[:2]
    text_costs(model.train(), ids)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_large_vocabulary_is_scored_alike_however_its_characters_are_read():
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig("lstm", num_layers=2, hidden_size=8), LARGE_VOCABULARY)
    ids = torch.randint(0, LARGE_VOCABULARY, (ROW_CHARS,), generator=torch.Generator().manual_seed(1))
    assert float(text_costs(model, ids).sum()) == pytest.approx(nats_in_one_go(model, ids), rel=1e-6)
    assert model.training, "the mode of the model itself is left alone"
