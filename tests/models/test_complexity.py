"""Parameters and MACs: the report's table exactly, by ptflops and in closed form."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook

from models.complexity import closed_form, measure, report_print_out
from models.config import ModelConfig
from models.gated_ngrams import GATE_UNITS, OrderGate, sees_letters

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
each_call = pytest.mark.parametrize("call", [measure, report_print_out])


@pytest.mark.parametrize(("cell", "layers", "hidden", "parameters", "macs"), REPORT_TABLE)
@each_count
def test_the_reports_table_is_reproduced_exactly(count, cell, layers, hidden, parameters, macs):
    complexity = count(ModelConfig(cell=cell, num_layers=layers, hidden_size=hidden), REPORT_VOCAB)
    assert (complexity.report_parameters, complexity.report_macs) == (parameters, macs)


@each_count
@pytest.mark.parametrize("most", [0, 1000])
def test_the_gates_of_a_model_on_top_of_ngrams_of_10_orders_are_11_more_outputs_and_the_ngram_models_gate(count, most):
    on_top = count(ModelConfig(hidden_size=128, on_top_of="ngram", ngrams=most), 28)
    plain, units = count(ModelConfig(hidden_size=128), 28), GATE_UNITS
    inputs = 30 + 10 * sees_letters(most)
    added = 11 * (128 + 1) + units * (inputs + 1) + 10 * (units + 1)
    assert on_top.parameters - plain.parameters == added
    assert on_top.macs_per_char - plain.macs_per_char == added + 5 * 10 * 28  # and the n-grams' own
    assert on_top.matmul_macs_per_char - plain.matmul_macs_per_char == 11 * 128 + units * inputs + 10 * units
    assert (on_top.report_parameters, on_top.report_macs) == (plain.report_parameters, plain.report_macs)


@each_count
def test_a_trained_models_gate_is_counted_with_its_own_layers(count):
    gate = OrderGate(10, is_letter=torch.ones(28, dtype=torch.uint8), units=16)
    on_top = count(ModelConfig(hidden_size=8, on_top_of="ngram"), 28, gate.layers)
    own = sum(parameter.numel() for parameter in gate.parameters())
    assert on_top.parameters - closed_form(ModelConfig(hidden_size=8), 28).parameters == 11 * (8 + 1) + own


@each_call
def test_counting_leaves_the_random_state_as_it_was_and_prints_nothing(call, capsys):
    state = torch.get_rng_state()
    call(ModelConfig(hidden_size=16), 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr() == ("", "")


@contextmanager
def in_the_midst(act: Callable[[], None]) -> Iterator[None]:
    """Within the block, act whenever ptflops counts, after the forward pass of a module."""

    def hook(module: nn.Module, *passed: Any) -> None:
        if hasattr(module, "__flops__"):  # set by ptflops
            act()

    with register_module_forward_hook(hook):
        yield


@each_call
def test_an_interrupt_in_the_midst_of_counting_finds_and_leaves_torch_as_it_was(call):
    places: list[Any] = [F, torch, torch.Tensor, nn.LSTM, nn.Linear, nn.Module, nn.RNNBase]

    def of_torch() -> dict[str, Any]:
        return {f"{place.__name__}.{name}": value for place in places for name, value in vars(place).items()}

    def interrupt() -> None:
        seen.append(of_torch())
        raise KeyboardInterrupt

    before, state, seen = of_torch(), torch.get_rng_state(), list[dict[str, Any]]()
    with in_the_midst(interrupt), pytest.raises(KeyboardInterrupt):
        call(ModelConfig(hidden_size=16), 10)
    assert len(seen) == 1
    for each in (*seen, of_torch()):
        assert [name for name in before | each if each.get(name) is not before.get(name)] == []
    assert torch.equal(torch.get_rng_state(), state)


@each_call
def test_what_another_thread_computes_and_counts_meanwhile_changes_no_figure(call):
    config, counted = ModelConfig(hidden_size=16), []

    def other() -> None:
        torch.matmul(torch.ones(16, 16), torch.ones(16, 16))
        counted.append(call(config, 10))

    def wait_for_another_thread() -> None:
        if threading.current_thread() is threading.main_thread():
            (thread := threading.Thread(target=other)).start()
            thread.join()

    alone = call(config, 10)
    with in_the_midst(wait_for_another_thread):
        counted.append(call(config, 10))
    assert len(counted) > 1
    assert all(each == alone for each in counted)


def test_the_print_out_is_that_of_the_reports_figure():
    printed = report_print_out(ModelConfig(cell="lstm", hidden_size=128), REPORT_VOCAB)
    assert "80.9 k, 100.000% Params, 84.15 MMac, 100.000% MACs" in printed
    assert "Computational complexity: 84.15 MMac (84,148,224 for 1,024 characters)" in printed
    assert "Number of parameters: 80.90 k (80,896)" in printed
