"""Parameters and MACs: the report's table exactly, ptflops and the closed form agreeing, and products really made."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.cells import CELLS
from models.complexity import Twin, closed_form, measure, report_print_out
from models.config import ModelConfig
from models.language_model import LanguageModel

REPORT_VOCAB = 28

REPORT_TABLE = [  # the report's print-outs, and the GRU 1x128 that its figure 15 should have been
    ("rnn", 1, 128, 20_224, 20_840_448),
    ("lstm", 1, 128, 80_896, 84_148_224),
    ("gru", 1, 32, 5_952, 6_324_224),
    ("gru", 1, 128, 60_672, 63_045_632),
    ("gru", 2, 32, 12_288, 13_041_664),
    ("lstm", 2, 32, 16_384, 17_432_576),
    ("gru", 2, 128, 159_744, 165_412_864),
    ("gru", 8, 32, 50_304, 53_346_304),
    ("lstm", 2, 128, 212_992, 220_725_248),
    ("lstm", 8, 32, 67_072, 71_303_168),
]

each_count = pytest.mark.parametrize("count", [measure, closed_form])
shapes = st.builds(
    ModelConfig,
    cell=st.sampled_from(["rnn", "gru", "lstm"]),
    num_layers=st.integers(1, 4),
    hidden_size=st.integers(1, 40),
    embedding_size=st.one_of(st.just(0), st.integers(1, 30)),
    residual=st.booleans(),
    implementation=st.sampled_from(["torch", "scratch"]),
)


@pytest.mark.parametrize(("cell", "layers", "hidden", "parameters", "macs"), REPORT_TABLE)
@each_count
def test_the_reports_table_is_reproduced_exactly(count, cell, layers, hidden, parameters, macs):
    complexity = count(ModelConfig(cell=cell, num_layers=layers, hidden_size=hidden), REPORT_VOCAB)
    assert (complexity.report_parameters, complexity.report_macs) == (parameters, macs)


@each_count
def test_the_gates_of_a_model_on_top_of_an_ngram_are_two_more_outputs(count):
    plain, on_top = (count(ModelConfig(hidden_size=128, on_top_of=partner), 28) for partner in ("nothing", "ngram"))
    assert on_top.parameters - plain.parameters == on_top.macs_per_char - plain.macs_per_char == 258
    assert on_top.matmul_macs_per_char - plain.matmul_macs_per_char == 256
    assert (on_top.report_parameters, on_top.report_macs) == (plain.report_parameters, plain.report_macs)


@each_count
def test_an_lstm_of_128_with_its_output_layer(count):
    complexity = count(ModelConfig(cell="lstm", hidden_size=128), REPORT_VOCAB)
    assert complexity.parameters == 84_508
    assert complexity.macs_per_char == 85_788
    assert complexity.matmul_macs_per_char == 83_456


@given(shapes, st.integers(2, 100))
def test_ptflops_measures_what_the_closed_form_says(config, vocab_size):
    assert measure(config, vocab_size) == closed_form(config, vocab_size)


@given(shapes, st.integers(2, 100))
def test_parameters_are_those_of_the_model(config, vocab_size):
    model = LanguageModel(config, vocab_size)
    assert closed_form(config, vocab_size).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_books_equations_are_counted_as_their_torch_twin():
    book = ModelConfig(cell="gru", implementation="scratch", equations="book")
    assert measure(book, REPORT_VOCAB) == measure(ModelConfig(cell="gru"), REPORT_VOCAB)


@torch.no_grad()
def products(function: Callable[..., Any], *arguments: Any) -> int:
    """Floating-point operations of the matrix products of one call, two for each multiply and add."""
    (enabled, *_) = torch.backends.mkldnn.set_flags(_enabled=False)  # oneDNN's LSTM is one operation that counts as 0
    try:
        with FlopCounterMode(display=False) as counter:
            function(*arguments)
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled)
    return int(counter.get_total_flops())


@given(shapes, st.integers(2, 100))
def test_one_character_costs_the_products_of_the_closed_form(config, vocab_size):
    """The layers on a float vector (one-hot, or the embedding's), and the output layer on what leaves them."""
    model = LanguageModel(config, vocab_size)
    x = torch.zeros(1, 1, config.embedding_size or vocab_size)
    made = products(lambda: model.output(model.core(x, model.initial_state(1))[0]))
    assert made == 2 * closed_form(config, vocab_size).matmul_macs_per_char


@given(shapes, st.integers(2, 100))
def test_a_scratch_model_makes_all_products_but_that_of_a_one_hot_character(config, vocab_size):
    """Given ids without an embedding, scratch layers pick a row of the first layer's g h x V input weights: g h V
    products fewer than the closed form, which counts the torch twin. All other models make every one of them."""
    looks_up = config.implementation == "scratch" and not config.embedding_size
    saved = CELLS[config.cell].gates * config.hidden_size * vocab_size if looks_up else 0
    made = products(LanguageModel(config, vocab_size), torch.zeros(1, 1, dtype=torch.int64))
    assert made == 2 * (closed_form(config, vocab_size).matmul_macs_per_char - saved)


def test_the_products_grow_with_the_text_and_nothing_else_does():
    model = LanguageModel(ModelConfig(hidden_size=16), 10)
    one, hundred = (products(model, torch.zeros(1, steps, dtype=torch.int64)) for steps in (1, 100))
    assert hundred == 100 * one


def test_the_twin_computes_what_the_torch_model_does():
    model = LanguageModel(ModelConfig(hidden_size=16, num_layers=2), 10)
    assert isinstance(model.core, nn.RNNBase)
    twin = Twin(model.core, 10)
    twin.output.load_state_dict(model.output.state_dict())
    ids = torch.randint(10, (2, 5))
    torch.testing.assert_close(twin(F.one_hot(ids, 10).float()), model(ids)[0])


@pytest.mark.parametrize("call", [measure, report_print_out])
def test_counting_draws_no_random_numbers(call):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    call(ModelConfig(hidden_size=16), 10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("call", [measure, report_print_out])
def test_counting_leaves_torch_as_it_was(call):
    places = [F, torch, torch.Tensor, nn.LSTM, nn.Linear, nn.Module, nn.RNNBase]
    before = [dict(vars(place)) for place in places]
    call(ModelConfig(hidden_size=16), 10)
    assert [dict(vars(place)) for place in places] == before


def test_counting_prints_nothing(capsys):
    measure(ModelConfig(hidden_size=16), 10)
    report_print_out(ModelConfig(hidden_size=16), 10)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_print_out_is_that_of_the_reports_figure():
    printed = report_print_out(ModelConfig(cell="lstm", hidden_size=128), REPORT_VOCAB)
    assert "80.9 k, 100.000% Params, 84.15 MMac, 100.000% MACs" in printed
    assert "Computational complexity: 84.15 MMac (84,148,224 for 1,024 characters)" in printed
    assert "Number of parameters: 80.90 k (80,896)" in printed


def test_a_cell_that_torch_lacks_is_counted_in_closed_form(monkeypatch):
    monkeypatch.setattr(CELLS["gru"], "torch_layer", "")
    config = ModelConfig(cell="gru", hidden_size=32)
    assert measure(config, REPORT_VOCAB) == closed_form(config, REPORT_VOCAB)
    assert report_print_out(config, REPORT_VOCAB).startswith("No print-out by ptflops: torch.nn has no gru layer")
