"""LanguageModel: both implementations give the same logits, dropout drops what it says, and it learns."""

from math import log, log2
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models.language_model
from models.config import ModelConfig
from models.decoding import Decoding
from models.generation import complete
from models.language_model import LanguageModel, detach, drop_weights, select, with_row_lookup
from models.recurrent import Recurrent, State

VOCAB = 11

each_cell = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
each_implementation = pytest.mark.parametrize("implementation", ["torch", "scratch"])


def build(seed: int = 0, vocab_size: int = VOCAB, **options: Any) -> LanguageModel:
    """A small model with weights of the seed."""
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig(**{"hidden_size": 9, **options}), vocab_size)


def same_weights(cell: str, **options: Any) -> tuple[LanguageModel, LanguageModel]:
    """A scratch and a torch model with the same weights."""
    ours = build(1, cell=cell, implementation="scratch", **options)
    theirs = build(2, cell=cell, implementation="torch", **options)
    assert isinstance(ours.core, Recurrent)
    ours.core.load_torch(theirs.core)
    ours.output.load_state_dict(theirs.output.state_dict())
    if ours.embedding is not None and theirs.embedding is not None:
        ours.embedding.load_state_dict(theirs.embedding.state_dict())
    return ours, theirs


def recurrent_weights(model: LanguageModel) -> list[nn.Parameter]:
    """Of each layer, the matrix that the state is multiplied with."""
    names = [name for name, _ in model.core.named_parameters() if "weight_hh" in name or "from_state.weight" in name]
    return [model.core.get_parameter(name) for name in names]


def input_biases(model: LanguageModel) -> list[nn.Parameter]:
    names = [name for name, _ in model.core.named_parameters() if "bias_ih" in name or "from_input.bias" in name]
    return [model.core.get_parameter(name) for name in names]


def parts_of(state: State) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def some_ids(rows: int = 3, steps: int = 8) -> Tensor:
    return torch.randint(VOCAB, (rows, steps), generator=torch.Generator().manual_seed(5))


# --- logits and states -----------------------------------------------------------------------------------------------


@each_cell
@each_implementation
@pytest.mark.parametrize("embedding_size", [0, 4])
def test_logits_and_states_have_their_shapes(cell, implementation, embedding_size):
    model = build(cell=cell, implementation=implementation, num_layers=2, embedding_size=embedding_size)
    logits, state = model(some_ids(3, 8))
    assert logits.shape == (3, 8, VOCAB)
    assert [part.shape for part in parts_of(state)] == [(2, 3, 9)] * (2 if cell == "lstm" else 1)


@each_cell
@each_implementation
def test_the_initial_state_is_what_no_state_means(cell, implementation):
    model = build(cell=cell, implementation=implementation, num_layers=2)
    state = model.initial_state(3)
    assert all((part == 0).all() for part in parts_of(state))
    torch.testing.assert_close(model(some_ids(), state), model(some_ids()))


@each_cell
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("embedding_size", [0, 4])
@pytest.mark.parametrize("residual", [False, True])
def test_scratch_and_torch_layers_with_the_same_weights_give_the_same_logits(cell, layers, embedding_size, residual):
    ours, theirs = same_weights(cell, num_layers=layers, embedding_size=embedding_size, residual=residual)
    torch.testing.assert_close(ours(some_ids()), theirs(some_ids()))


@each_cell
def test_scratch_and_torch_layers_with_the_same_weights_get_the_same_gradients(cell):
    ours, theirs = same_weights(cell)
    for model in (ours, theirs):
        F.cross_entropy(model(some_ids())[0].flatten(0, 1), some_ids().flatten()).backward()
    torch.testing.assert_close(recurrent_weights(ours)[0].grad, recurrent_weights(theirs)[0].grad)
    torch.testing.assert_close(input_biases(ours)[0].grad, input_biases(theirs)[0].grad)
    torch.testing.assert_close(ours.output.weight.grad, theirs.output.weight.grad)


@each_cell
@each_implementation
@pytest.mark.parametrize("cut", [1, 7])
@pytest.mark.parametrize("residual", [False, True])
def test_two_halves_with_the_state_carried_equal_the_whole(cell, implementation, cut, residual):
    model = build(cell=cell, implementation=implementation, num_layers=2, residual=residual)
    ids = some_ids()
    logits, state = model(ids)
    first, between = model(ids[:, :cut])
    second, after = model(ids[:, cut:], between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), logits)
    torch.testing.assert_close(after, state)


@each_cell
@each_implementation
def test_no_gradient_passes_a_detached_state(cell, implementation):
    model = build(cell=cell, implementation=implementation)
    state = model.initial_state(3)
    for part in parts_of(state):
        part.requires_grad_()
    model(some_ids(), detach(state))[0].sum().backward()
    assert all(part.grad is None for part in parts_of(state))
    model(some_ids(), state)[0].sum().backward()
    assert all(part.grad is not None for part in parts_of(state))


@each_cell
def test_selected_rows_go_on_as_they_would_have(cell):
    model = build(cell=cell)
    _, state = model(some_ids())
    rows = torch.tensor([2, 0, 2])
    ids = some_ids()[:1].expand(3, -1)
    for part, whole in zip(parts_of(select(state, rows)), parts_of(state), strict=True):
        assert torch.equal(part, whole[:, [2, 0, 2]])
    logits = model(ids, select(state, rows))[0]
    torch.testing.assert_close(logits, model(ids, state)[0][rows])


# --- cost of not knowing, and learning -------------------------------------------------------------------------------


@each_cell
@each_implementation
@pytest.mark.parametrize(("initialisation", "tolerance"), [("torch", 0.05), ("normal", 0.001)])
@pytest.mark.parametrize("vocab_size", [28, 200])
def test_an_untrained_model_costs_about_log2_of_the_vocabulary(
    cell, implementation, initialisation, tolerance, vocab_size
):
    model = build(
        cell=cell, implementation=implementation, initialisation=initialisation, hidden_size=64, vocab_size=vocab_size
    )
    ids = torch.randint(vocab_size, (20, 51), generator=torch.Generator().manual_seed(0))
    nats = F.cross_entropy(model(ids[:, :-1])[0].flatten(0, 1), ids[:, 1:].flatten())
    assert nats.item() / log(2) == pytest.approx(log2(vocab_size), abs=tolerance)


PHRASE = [0, 1, 2, 3, 0, 4, 5, 0, 1, 6, 7, 0, 8, 9, 0, 10]  # what follows a 0 depends on what came before it


def nats_of_the_phrase(model: LanguageModel, steps: int, learning_rate: float) -> float:
    """Train on the repeated phrase; returns the loss of the last step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    ids = torch.tensor([PHRASE * 2])
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids[:, :-1])[0].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    return loss.item()


@each_cell
@each_implementation
def test_it_memorises_a_repeated_phrase(cell, implementation):
    model = build(cell=cell, implementation=implementation, hidden_size=32)
    assert nats_of_the_phrase(model, steps=50, learning_rate=0.04) < 0.2
    assert complete(model, [PHRASE], 2 * len(PHRASE), Decoding(method="greedy")) == [PHRASE * 2]


# --- residual connections --------------------------------------------------------------------------------------------


@each_implementation
def test_a_residual_layer_adds_its_input_to_its_output(implementation):
    """An RNN's layer with zero weights puts out 0, so that the first layer's output reaches the end unchanged."""
    deep = build(cell="rnn", implementation=implementation, num_layers=3, residual=True, dropout=0.9)
    shallow = build(
        cell="rnn", implementation=implementation
    )  # of the same seed: its layer is the first of the deep one
    for name, parameter in deep.core.named_parameters():
        if not name.startswith(("cells.0.", "layers.0.")):
            nn.init.zeros_(parameter)
    deep.output.load_state_dict(shallow.output.state_dict())
    torch.testing.assert_close(deep(some_ids())[0], shallow(some_ids())[0])


def test_eight_layers_memorise_a_phrase_with_residual_connections_and_not_without():
    plain, residual = (build(num_layers=8, hidden_size=8, residual=residual) for residual in (False, True))
    assert nats_of_the_phrase(residual, steps=60, learning_rate=0.02) < 0.1
    assert nats_of_the_phrase(plain, steps=60, learning_rate=0.02) > 1


# --- embedding -------------------------------------------------------------------------------------------------------


def test_an_embedding_has_one_vector_for_each_character():
    model = build(embedding_size=4)
    assert model.embedding is not None
    assert model.embedding.weight.shape == (VOCAB, 4)
    assert model.core.get_parameter("weight_ih_l0").shape == (4 * 9, 4)
    assert build(embedding_size=0).embedding is None


@each_cell
def test_an_embedding_equals_its_product_with_the_input_weights_on_one_hot_characters(cell):
    embedded, plain = build(cell=cell, embedding_size=4), build(cell=cell)
    assert embedded.embedding is not None
    weights = {name: t for name, t in embedded.state_dict().items() if not name.startswith("embedding")}
    weights["core.weight_ih_l0"] = weights["core.weight_ih_l0"] @ embedded.embedding.weight.detach().T
    plain.load_state_dict(weights)
    torch.testing.assert_close(embedded(some_ids()), plain(some_ids()))


# --- DropConnect of the recurrent weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.05, 0.2, 0.4, 0.95])
def test_dropped_weights_keep_their_mean(probability):
    torch.manual_seed(0)
    weight = torch.full((500, 500), 3.0)
    error = 3 * (probability / (1 - probability) / 250_000) ** 0.5  # standard error of the mean
    assert drop_weights(weight, probability).mean().item() == pytest.approx(3, abs=4 * error)


@pytest.mark.parametrize("probability", [0.05, 0.2, 0.4, 0.95])
def test_the_share_of_dropped_weights_is_the_probability_in_steps_of_256(probability):
    torch.manual_seed(0)
    share = (drop_weights(torch.ones(500, 500), probability) == 0).double().mean().item()
    exact = round(256 * probability) / 256
    assert share == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 250_000) ** 0.5)
    assert exact == pytest.approx(probability, abs=1 / 512)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 8), (13, 17)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_are_kept_are_all_scaled_alike(shape, dtype):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=dtype)
    dropped = drop_weights(weight, 0.25)
    assert dropped.dtype == dtype
    torch.testing.assert_close(dropped[dropped != 0], (weight / 0.75)[dropped != 0])


def test_nothing_is_dropped_with_probability_zero():
    weight = torch.randn(20, 20)
    assert torch.equal(drop_weights(weight, 0.0), weight)


def test_every_place_is_dropped_about_as_often_as_any_other():
    torch.manual_seed(0)
    times = sum((drop_weights(torch.ones(5, 13), 0.5) == 0).double() for _ in range(800))
    assert isinstance(times, Tensor)
    assert ((times - 400).abs() < 4.5 * 200**0.5).all()  # 4.5 standard deviations


@each_cell
@each_implementation
def test_recurrent_weights_are_dropped_in_training_only(cell, implementation):
    model = build(cell=cell, implementation=implementation, recurrent_dropout=0.5)
    plain = build(cell=cell, implementation=implementation)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(some_ids())[0], plain(some_ids())[0])
    assert not torch.equal(model.train()(some_ids())[0], plain(some_ids())[0])
    assert torch.equal(model.eval()(some_ids())[0], plain(some_ids())[0])  # and the weights are whole again


@each_cell
@each_implementation
def test_the_mask_is_another_each_time_and_the_same_from_the_same_seed(cell, implementation):
    model = build(cell=cell, implementation=implementation, recurrent_dropout=0.5, output_dropout=0.5)
    torch.manual_seed(3)
    first, second = model(some_ids())[0], model(some_ids())[0]
    torch.manual_seed(3)
    again = model(some_ids())[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


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
    logits = model(some_ids())[0]
    assert len(dropped) == layers
    with torch.no_grad():
        for weight, replacement in zip(recurrent_weights(model), dropped, strict=True):
            weight.copy_(replacement)
    torch.testing.assert_close(logits, model.eval()(some_ids())[0])


@each_cell
@each_implementation
def test_gradients_reach_the_kept_recurrent_weights_and_no_dropped_one(monkeypatch, cell, implementation):
    dropped: list[Tensor] = []

    def recorded(weight: Tensor, probability: float) -> Tensor:
        dropped.append(drop_weights(weight, probability))
        return dropped[-1]

    monkeypatch.setattr(models.language_model, "drop_weights", recorded)
    model = build(cell=cell, implementation=implementation, num_layers=2, recurrent_dropout=0.5)
    F.cross_entropy(model(some_ids())[0].flatten(0, 1), some_ids().flatten()).backward()
    for weight, used in zip(recurrent_weights(model), dropped, strict=True):
        assert weight.grad is not None
        assert torch.equal(weight.grad != 0, used != 0)
    assert all(parameter.grad is not None for parameter in model.parameters())


# --- other dropout ---------------------------------------------------------------------------------------------------


@each_cell
@each_implementation
def test_the_mask_of_the_output_is_shared_over_time_and_not_over_rows(cell, implementation):
    model = build(cell=cell, implementation=implementation, hidden_size=64, output_dropout=0.25)
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


@each_implementation
def test_the_output_is_whole_in_evaluation(implementation):
    model = build(implementation=implementation, output_dropout=0.9).eval()
    plain = build(implementation=implementation).eval()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(some_ids())[0], plain(some_ids())[0])


@each_cell
@each_implementation
def test_dropout_between_layers_acts_in_training_only(cell, implementation):
    model = build(cell=cell, implementation=implementation, num_layers=2, dropout=0.5)
    plain = build(cell=cell, implementation=implementation, num_layers=2)
    plain.load_state_dict(model.state_dict())
    assert not torch.equal(model(some_ids())[0], plain(some_ids())[0])
    assert torch.equal(model.eval()(some_ids())[0], plain(some_ids())[0])


@each_cell
@each_implementation
def test_one_layer_with_dropout_between_layers_is_no_warning_and_no_dropout(cell, implementation):
    model = build(cell=cell, implementation=implementation, dropout=0.5)
    assert torch.equal(model.train()(some_ids())[0], model.eval()(some_ids())[0])


# --- initial weights -------------------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize(
    ("implementation", "equations"), [("torch", "torch"), ("scratch", "torch"), ("scratch", "book")]
)
def test_normal_weights_have_a_deviation_of_a_hundredth_and_no_bias(cell, implementation, equations):
    model = build(
        cell=cell,
        implementation=implementation,
        equations=equations,
        initialisation="normal",
        hidden_size=60,
        num_layers=2,
        embedding_size=40,
        vocab_size=50,
    )
    for parameter in model.parameters():
        if parameter.dim() == 1:
            assert (parameter == 0).all()
        else:
            assert parameter.std().item() == pytest.approx(0.01, rel=4 / (2 * parameter.numel()) ** 0.5)
            assert parameter.mean().item() == pytest.approx(0, abs=4 * 0.01 / parameter.numel() ** 0.5)


@each_cell
@each_implementation
def test_the_same_seed_builds_the_same_weights_and_another_seed_others(cell, implementation):
    one, same, other = (build(seed, cell=cell, implementation=implementation) for seed in (3, 3, 4))
    ids = some_ids()
    assert torch.equal(one(ids)[0], same(ids)[0])
    assert not torch.equal(one(ids)[0], other(ids)[0])


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(("num_layers", "residual"), [(1, False), (2, False), (2, True)])
def test_a_model_with_row_lookup_reads_as_the_model_itself(cell, num_layers, residual):
    torch.manual_seed(0)
    config = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=6, residual=residual)
    model = LanguageModel(config, 11).eval()
    ids = torch.randint(0, 11, (3, 20))
    twin = with_row_lookup(model)
    assert twin.config.implementation == "scratch"
    logits, state = model(ids[:, :10])
    torch.testing.assert_close(twin(ids[:, :10])[0], logits)
    torch.testing.assert_close(twin(ids[:, 10:], state)[0], model(ids[:, 10:], state)[0])


def test_layers_that_look_up_already_are_left_as_they_are():
    for options in ({"implementation": "scratch"}, {"embedding_size": 3}):
        model = LanguageModel(ModelConfig(hidden_size=6, **options), 11)
        assert with_row_lookup(model) is model
