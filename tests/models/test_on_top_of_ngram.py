"""A network on top of an n-gram: untrained it is the n-gram, and it is used like any other model."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.config import ModelConfig
from models.decoding import Decoding
from models.generation import complete
from models.language_model import detach, with_row_lookup
from models.ngram import KneserNey
from models.on_top_of_ngram import CrossFitted, Ngram, NgramLanguageModel, contiguous_parts

VOCAB = 6


def a_text(characters: int, seed: int = 0) -> np.ndarray:
    """Words of an invented language."""
    words = [[0, 1, 2], [0, 3, 4, 1], [0, 5, 5], [0, 2, 3, 1, 4]]
    draw = np.random.default_rng(seed)
    return np.concatenate([words[i] for i in draw.integers(len(words), size=characters)])[:characters].astype(np.uint8)


TEXT = a_text(600)
HELD_OUT = torch.from_numpy(np.concatenate([a_text(40, seed=1), [5, 1, 5, 1, 1, 0, 3]]).astype(np.int64))


def build(order: int = 4, trained: bool = False, **options: Any) -> NgramLanguageModel:
    """A model on top of an n-gram of TEXT; ``trained``: with weights other than those it starts with."""
    torch.manual_seed(0)
    config = ModelConfig(**{"hidden_size": 5, "on_top_of": "ngram", **options})
    model = NgramLanguageModel(config, VOCAB, Ngram.of(KneserNey(TEXT, VOCAB, order))).eval()
    if trained:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def log_probabilities(model: NgramLanguageModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids)[0]
    return logits.log_softmax(-1).detach()


# --- the n-gram ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 5])
def test_an_untrained_model_is_the_ngram(order):
    expected = KneserNey(TEXT, VOCAB, order).log_probabilities_of_all(HELD_OUT.numpy())[1:]
    ours = log_probabilities(build(order), HELD_OUT[None, :-1])[0]
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_all_of_the_logits_are_scaled():
    model = build(trained=True)
    before = model(HELD_OUT[None])[0].detach()
    model.scale_logits(0.8)
    torch.testing.assert_close(model(HELD_OUT[None])[0].detach(), 0.8 * before)


def test_the_tables_hold_every_ngram_once():
    model = KneserNey(TEXT, VOCAB, 5)
    ngrams = {tuple(TEXT[start : start + n]) for n in range(1, 6) for start in range(len(TEXT) - n + 1)}
    assert Ngram.of(model).entries == model.entries == len(ngrams)


def test_tables_come_back_from_their_tensors():
    ngram = build().ngram
    again = Ngram.from_tensors(ngram.tensors(), VOCAB)
    assert torch.equal(again(HELD_OUT[None] + 1, 9), ngram(HELD_OUT[None] + 1, 9))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("keys", lambda keys: keys.flip(0), "not sorted"),
        ("keys", lambda keys: keys + 10**6, "contexts that do not exist"),
        ("shares", lambda shares: shares[:-1], "shares"),
        ("backoff", lambda backoff: backoff * torch.nan, "not probabilities"),
        ("order", lambda order: order * 0, "0-gram"),
    ],
)
def test_damaged_tables_are_refused(name, change, reason):
    tensors = build().ngram.tensors()
    with pytest.raises(ValueError, match=reason):
        Ngram.from_tensors(tensors | {name: change(tensors[name])}, VOCAB)


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("cut", [1, 2, 20])
def test_two_segments_with_the_state_carried_equal_the_whole(cell, cut):
    model = build(trained=True, cell=cell)
    ids = torch.stack([HELD_OUT, HELD_OUT.flip(0)])
    logits, state = model(ids)
    first, between = model(ids[:, :cut])
    second, after = model(ids[:, cut:], detach(between))
    torch.testing.assert_close(torch.cat([first, second], dim=1), logits)
    torch.testing.assert_close(after, state)


def test_given_log_probabilities_replace_the_tables():
    model = build(trained=True)
    prior = model.ngram(HELD_OUT[None] + 1, len(HELD_OUT))
    torch.testing.assert_close(model(HELD_OUT[None], None, prior), model(HELD_OUT[None]))
    assert not torch.equal(model(HELD_OUT[None], None, 0 * prior)[0], model(HELD_OUT[None])[0])


def test_a_model_with_row_lookup_reads_as_the_model_itself():
    model = build(trained=True)
    twin = with_row_lookup(model)
    assert twin.config.implementation == "scratch"
    torch.testing.assert_close(twin(HELD_OUT[None]), model(HELD_OUT[None]))


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_it_generates_like_any_other_model(method):
    model, prompt = build(trained=True), [0, 1]
    (text,) = complete(model, [prompt, [2]], 8, Decoding(method=method, beam_width=3))[:1]
    (alone,) = complete(model, [prompt], 8, Decoding(method=method, beam_width=3))
    assert text == alone
    if method == "greedy":
        for end in range(8):
            assert text[end] == int(log_probabilities(model, torch.tensor([prompt + text[:end]]))[0, -1].argmax())


# --- cross-fitting ---------------------------------------------------------------------------------------------------


def test_no_part_is_scored_by_an_ngram_that_has_seen_it():
    text = np.concatenate([a_text(310), [5, 4, 3, 5, 4, 3, 1], a_text(300, seed=2)]).astype(np.uint8)
    ids, known = torch.from_numpy(text.astype(np.int64)), KneserNey(text, VOCAB, 4)
    ours = CrossFitted(text, known, contiguous_parts(len(text)))(0, len(text)).float()
    string = slice(313, 317)  # after its first characters, which an n-gram that knew it would go on from
    knowing = torch.from_numpy(known.log_probabilities_of_all(text))
    nats = [float(-table[string].gather(1, ids[string, None]).mean()) for table in (ours, knowing)]
    assert nats[0] > 2 * nats[1]


@pytest.mark.parametrize(("start", "end"), [(0, 30), (570, 600)])
def test_a_part_is_scored_by_an_ngram_of_the_rest_of_the_text(start, end):
    ours = CrossFitted(TEXT, KneserNey(TEXT, VOCAB, 4), [(0, start), (start, end), (end, 600)])(start, end)
    others, context = KneserNey(np.concatenate([TEXT[:start], TEXT[end:]]), VOCAB, 4), min(start, 3)
    expected = torch.from_numpy(others.log_probabilities_of_all(TEXT[start - context : end], context))
    torch.testing.assert_close(ours.float(), expected, atol=0.002, rtol=0.001)


def test_what_lies_between_the_parts_is_scored_by_the_model_itself():
    ngram = KneserNey(np.concatenate([TEXT[:100], TEXT[300:400]]), VOCAB, 3)
    expected = torch.from_numpy(ngram.log_probabilities_of_all(TEXT[148:250], 2))
    ours = CrossFitted(TEXT, ngram, [(0, 100), (300, 400)])(150, 250)
    torch.testing.assert_close(ours.float(), expected, atol=0.002, rtol=0.001)
