"""Generated text: what each way of decoding promises, and that prompts do not disturb one another."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
import torch

from models.config import ConfigError, Decoding, ModelConfig
from models.generation import complete, draw, generate, truncated_softmax
from models.language_model import LanguageModel

PROMPTS = [[1, 2, 3], [4], [0, 5, 2, 2, 1, 3, 4]]
GREEDY = Decoding(method="greedy")
WAYS = [
    GREEDY,
    Decoding(seed=3),
    Decoding(temperature=1.5, top_k=4, top_p=0.9, seed=1),
    Decoding(method="beam", beam_width=3),
]


def tiny_model(cell: str = "lstm") -> LanguageModel:
    """Random weights, large enough that the next character depends on the ones before it."""
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(cell=cell, num_layers=2, hidden_size=8), vocab_size=6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


@torch.no_grad()
def log_probabilities(model: LanguageModel, prompt: list[int], texts: Sequence[Sequence[int]]) -> list[float]:
    """The log-probability of each text, all of one length, after the prompt; each is read as a whole."""
    ids = torch.tensor([[*prompt, *text] for text in texts])
    scores = model(ids[:, :-1])[0].double().log_softmax(dim=-1).gather(-1, ids[:, 1:, None])
    totals: list[float] = scores[:, len(prompt) - 1 :, 0].sum(dim=1).tolist()
    return totals


@pytest.mark.parametrize("decoding", WAYS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])  # one and two tensors of state
def test_a_text_does_not_depend_on_its_neighbours_or_their_order(decoding, cell):
    model = tiny_model(cell)
    together = complete(model, PROMPTS, 12, decoding)
    assert together == [complete(model, [prompt], 12, decoding)[0] for prompt in PROMPTS]
    assert together[::-1] == complete(model, PROMPTS[::-1], 12, decoding)


@torch.no_grad()
def test_greedy_takes_the_most_probable_character_reading_one_by_one():
    model = tiny_model()
    for prompt, text in zip(PROMPTS, complete(model, PROMPTS, 10, GREEDY), strict=True):
        state, best = None, []
        for character in [*prompt, *text[:-1]]:
            logits, state = model(torch.tensor([[character]]), state)
            best.append(int(logits[0, -1].argmax()))
        assert text == best[len(prompt) - 1 :]


@pytest.mark.parametrize(
    "decoding",
    [
        *(Decoding(top_k=1), Decoding(temperature=1e-300), Decoding(temperature=1e-6), Decoding(top_p=1e-9)),
        Decoding(method="beam", beam_width=1),
    ],
)
def test_a_choice_narrowed_to_one_character_equals_greedy(decoding):
    model = tiny_model()
    assert complete(model, PROMPTS, 20, decoding) == complete(model, PROMPTS, 20, GREEDY)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_wide_enough_beam_finds_the_most_probable_text(prompt):
    model = tiny_model()
    texts = [list(text) for text in product(range(6), repeat=3)]
    scores = log_probabilities(model, prompt, texts)
    best = texts[scores.index(max(scores))]
    assert complete(model, [prompt], 3, Decoding(method="beam", beam_width=36)) == [best]


def test_top_p_keeps_the_smallest_set_that_holds_the_probability():
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64).log()
    for top_p, kept in [(0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 2]), (0.95, [1, 3, 2, 0])]:
        probabilities, ids = truncated_softmax(logits, Decoding(top_p=top_p))
        assert ids[probabilities > 0].tolist() == kept
        torch.testing.assert_close(probabilities[: len(kept)], logits.exp()[kept] / logits.exp()[kept].sum())
        assert probabilities[len(kept) :].sum() == 0


def test_top_k_keeps_k_even_among_equals():
    probabilities, ids = truncated_softmax(torch.zeros(5), Decoding(top_k=2))
    assert ids[probabilities > 0].tolist() == [0, 1]
    assert probabilities.tolist() == [0.5, 0.5, 0, 0, 0]


def test_numbers_spread_evenly_draw_each_id_as_often_as_its_probability():
    logits = torch.tensor([[1.0, 3.0, 2.0, -2.0]])
    uniform = (torch.arange(10_000, dtype=torch.float64)[:, None] + 0.5) / 10_000
    counts = Counter(draw(logits.expand(10_000, -1), uniform, Decoding()).tolist())
    for i, probability in enumerate(logits[0].softmax(dim=-1).tolist()):
        assert counts[i] / 10_000 == pytest.approx(probability, abs=1e-4)


def test_a_number_next_to_one_draws_a_kept_character():
    almost_one = torch.tensor(1.0, dtype=torch.float64)  # past the last sum, as if that were rounded down
    assert draw(torch.tensor([[0.0, 1.0, 2.0]]), almost_one, Decoding(top_k=2)).tolist() == [1]


@pytest.mark.parametrize("decoding", [*WAYS, Decoding(temperature=50.0), Decoding(method="beam", beam_width=40)])
def test_forbidden_characters_are_never_produced(decoding):
    model = tiny_model()
    with torch.no_grad():
        model.output.bias[[0, 4]] = 100.0  # otherwise nothing else would be
    for text in complete(model, PROMPTS, 60, decoding, forbidden=[4, 0]):
        assert set(text) <= {1, 2, 3, 5}


@pytest.mark.parametrize("decoding", [GREEDY, WAYS[-1]])
def test_a_model_is_as_it_was_at_every_step(decoding):
    model = tiny_model().train()
    for _ in generate(model, PROMPTS, 4, decoding):
        assert model.training
        assert not torch.is_inference_mode_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_in_training_generates_without_dropout():
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(hidden_size=8, output_dropout=0.9, recurrent_dropout=0.9), 6)
    assert complete(model.train(), PROMPTS, 20, Decoding()) == complete(model.eval(), PROMPTS, 20, Decoding())


def test_a_negative_length_is_refused_at_once():
    with pytest.raises(ConfigError, match="length is -1"):
        generate(tiny_model(), [[1]], -1, GREEDY)
