"""Parameters and MACs: the report's table exactly, by ptflops and in closed form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.complexity import closed_form, measure, report_print_out
from models.config import ModelConfig

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


@pytest.mark.parametrize(("cell", "layers", "hidden", "parameters", "macs"), REPORT_TABLE)
@each_count
def test_the_reports_table_is_reproduced_exactly(count, cell, layers, hidden, parameters, macs):
    complexity = count(ModelConfig(cell=cell, num_layers=layers, hidden_size=hidden), REPORT_VOCAB)
    assert (complexity.report_parameters, complexity.report_macs) == (parameters, macs)


@each_count
def test_the_gates_of_a_model_on_top_of_ngrams_of_10_orders_are_11_more_outputs_and_the_ngram_models_gate(count):
    plain, on_top = (count(ModelConfig(hidden_size=128, on_top_of=partner), 28) for partner in ("nothing", "ngram"))
    added = 11 * (128 + 1) + 32 * (30 + 1) + 10 * (32 + 1)
    assert on_top.parameters - plain.parameters == added
    assert on_top.macs_per_char - plain.macs_per_char == added + 5 * 10 * 28  # and the n-grams' own
    assert on_top.matmul_macs_per_char - plain.matmul_macs_per_char == 11 * 128 + 32 * 30 + 10 * 32
    assert (on_top.report_parameters, on_top.report_macs) == (plain.report_parameters, plain.report_macs)


@pytest.mark.parametrize("call", [measure, report_print_out])
def test_counting_leaves_torch_as_it_was_and_prints_nothing(call, capsys):
    places = [F, torch, torch.Tensor, nn.LSTM, nn.Linear, nn.Module, nn.RNNBase]
    before, state = [dict(vars(place)) for place in places], torch.get_rng_state()
    call(ModelConfig(hidden_size=16), 10)
    assert [dict(vars(place)) for place in places] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr() == ("", "")


def test_the_print_out_is_that_of_the_reports_figure():
    printed = report_print_out(ModelConfig(cell="lstm", hidden_size=128), REPORT_VOCAB)
    assert "80.9 k, 100.000% Params, 84.15 MMac, 100.000% MACs" in printed
    assert "Computational complexity: 84.15 MMac (84,148,224 for 1,024 characters)" in printed
    assert "Number of parameters: 80.90 k (80,896)" in printed
