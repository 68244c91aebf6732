"""The report's table: its configurations and their numbers."""

from dataclasses import replace

import pytest

from models.complexity import REPORT_SYMBOLS, closed_form
from models.config import ModelConfig
from pipeline.errors import InputError
from pipeline.report.table import chosen_rows, report_rows, size_agrees


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
    size = closed_form(ModelConfig("rnn", hidden_size=128, num_layers=1), REPORT_SYMBOLS)
    assert size_agrees(stated, size) is agrees
    assert replace(report_rows()[0], params=stated, mmac=None).agreement(size)[1] is None
