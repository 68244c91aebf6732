"""The report's table: its configurations and their numbers."""

from dataclasses import replace

import pytest

from models.complexity import measure
from models.config import ModelConfig
from pipeline.config import resolve
from pipeline.errors import InputError
from pipeline.report.table import REPORT_SYMBOLS, chosen_rows, report_rows, size_agrees

PARAMETERS_AND_MACS = {  # print-outs of ptflops in the report, and the GRU 1x128 that its Figure 15 should have shown
    ("rnn", 1, 128): (20_224, 20_840_448),
    ("lstm", 1, 128): (80_896, 84_148_224),
    ("gru", 1, 32): (5_952, 6_324_224),
    ("gru", 1, 128): (60_672, 63_045_632),
    ("gru", 2, 32): (12_288, 13_041_664),
    ("lstm", 2, 32): (16_384, 17_432_576),
    ("gru", 2, 128): (159_744, 165_412_864),
    ("gru", 8, 32): (50_304, 53_346_304),
    ("lstm", 2, 128): (212_992, 220_725_248),
    ("lstm", 8, 32): (67_072, 71_303_168),
}


def test_ptflops_measures_what_the_report_prints_for_every_shape():
    for (cell, num_layers, hidden_size), expected in PARAMETERS_AND_MACS.items():
        model, _ = resolve({"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size})
        cost = measure(model, REPORT_SYMBOLS)
        assert (cost.report_parameters, cost.report_macs) == expected


@pytest.mark.parametrize("only", ["gru-9x9", "gru-torch-2x32,nothing", "", " , "])
def test_a_glob_that_names_nothing_is_refused_with_the_ids(only):
    with pytest.raises(InputError, match=r"--only .* is no configuration of the coursework report; it has gru-scratch"):
        chosen_rows(only)


@pytest.mark.parametrize(
    ("stated", "agrees"),
    [
        ("20,224", True), ("20.22 k", True), ("20k", True), ("0.02 M", True), ("20225", False), ("20.23 k", False),
        ("22 k", False), ("20.84 MMac", True), ("21 MMac", True), ("20.85 MMac", False),
    ],
)  # fmt: skip
def test_a_printed_size_agrees_to_within_half_of_its_last_digit(stated, agrees):
    size = measure(ModelConfig("rnn", hidden_size=128, num_layers=1), REPORT_SYMBOLS)
    assert size_agrees(stated, size) is agrees
    assert size_agrees("20.20 k", size, part=3.0)
    assert replace(report_rows()[0], params=stated, mmac=None).agreement(size)[1] is None
