"""LanguageModel: both implementations give the same logits, and dropout drops what it says."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models.language_model
from models.config import ModelConfig
from models.language_model import LanguageModel, drop_weights, with_row_lookup
from models.recurrent import Recurrent

VOCAB = 11

each_cell = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
each_implementation = pytest.mark.parametrize("implementation", ["torch", "scratch"])


def build(seed: int = 0, **options: Any) -> LanguageModel:
    """A small model with weights of the seed."""
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig(**{"hidden_size": 9, **options}), VOCAB)


def some_ids(rows: int = 3, steps: int = 8) -> Tensor:
    return torch.randint(VOCAB, (rows, steps), generator=torch.Generator().manual_seed(5))


# --- logits and states -----------------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize(("layers", "residual"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("embedding_size", [0, 4])
def test_scratch_and_torch_layers_with_the_same_weights_are_the_same_model(cell, layers, embedding_size, residual):
    options: dict[str, Any] = {"num_layers": layers, "embedding_size": embedding_size, "residual": residual}
    ours = build(1, cell=cell, implementation="scratch", **options)
    theirs = build(2, cell=cell, implementation="torch", **options)
    assert isinstance(ours.core, Recurrent)
    ours.core.load_torch(theirs.core)
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("core")}, strict=False)
    torch.testing.assert_close(ours(some_ids()), theirs(some_ids()))
    for model in (ours, theirs):
        model(some_ids())[0].sin().sum().backward()
    for name in ("output.weight", "embedding.weight") if embedding_size else ("output.weight",):
        torch.testing.assert_close(ours.get_parameter(name).grad, theirs.get_parameter(name).grad)
    twin = with_row_lookup(theirs)
    assert (twin is theirs) == bool(embedding_size)  # an embedding looks up already
    assert with_row_lookup(ours) is ours
    torch.testing.assert_close(twin(some_ids()), theirs(some_ids()))


# --- residual connections --------------------------------------------------------------------------------------------


@each_implementation
def test_a_residual_layer_adds_its_input_to_its_output(implementation):
    """An RNN's layer with zero weights puts out 0, so that the first layer's output reaches the end unchanged."""
    deep = build(cell="rnn", implementation=implementation, num_layers=3, residual=True, dropout=0.9)
    shallow = build(cell="rnn", implementation=implementation)  # its layer is the first of the deep one
    for name, parameter in deep.core.named_parameters():
        if not name.startswith("layers.0."):
            nn.init.zeros_(parameter)
    deep.output.load_state_dict(shallow.output.state_dict())
    torch.testing.assert_close(deep(some_ids())[0], shallow(some_ids())[0])


# --- DropConnect of the recurrent weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.05, 0.2, 0.95])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_dropped_in_steps_of_256_and_the_others_scaled_alike(probability, dtype):
    torch.manual_seed(0)
    weight = torch.randn(500, 501, dtype=dtype)
    dropped, exact = drop_weights(weight, probability), round(256 * probability) / 256
    torch.testing.assert_close(dropped[dropped != 0], (weight / (1 - exact))[dropped != 0])
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(exact, abs=4 * (exact * (1 - exact) / weight.numel()) ** 0.5)


@each_cell
@each_implementation
@pytest.mark.parametrize(("layers", "residual"), [(1, False), (2, False), (2, True)])
def test_the_model_reads_with_the_dropped_weights_of_every_layer(monkeypatch, cell, implementation, layers, residual):
    dropped: list[Tensor] = []

    def recorded(weight: Tensor, probability: float) -> Tensor:
        dropped.append(drop_weights(weight, probability))
        return dropped[-1]

    monkeypatch.setattr(models.language_model, "drop_weights", recorded)
    options = {"num_layers": layers, "residual": residual, "recurrent_dropout": 0.5}
    model = build(cell=cell, implementation=implementation, **options)
    names = [name for name, _ in model.core.named_parameters() if "weight_hh" in name or "from_state.weight" in name]
    weights = [model.core.get_parameter(name) for name in names]
    logits = model(some_ids())[0]
    assert len(dropped) == layers
    F.cross_entropy(logits.flatten(0, 1), some_ids().flatten()).backward()
    for weight, used in zip(weights, dropped, strict=True):
        assert weight.grad is not None
        assert torch.equal(weight.grad != 0, used != 0)
        with torch.no_grad():
            weight.copy_(used)
    torch.testing.assert_close(logits, model.eval()(some_ids())[0])


# --- other dropout ---------------------------------------------------------------------------------------------------


@each_implementation
def test_the_mask_of_the_output_is_shared_over_time_and_not_over_rows(implementation):
    model = build(implementation=implementation, hidden_size=64, output_dropout=0.25)
    sent: list[Tensor] = []
    received: list[Tensor] = []
    model.core.register_forward_hook(lambda module, arguments, result: sent.append(result[0]))
    model.output.register_forward_pre_hook(lambda module, arguments: received.append(arguments[0]))
    torch.manual_seed(0)
    model(some_ids(50, 6))
    mask = received[0] / sent[0]
    torch.testing.assert_close(mask, mask[:, :1].expand_as(mask))
    zero = mask[:, 0] == 0
    torch.testing.assert_close(mask[:, 0][~zero], torch.full_like(mask[:, 0][~zero], 1 / 0.75))
    assert zero.double().mean() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(zero[0], zero[1])
