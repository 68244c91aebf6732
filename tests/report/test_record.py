"""The record of a reproduction: commands, and the facts of its text."""

from dataclasses import asdict
from json import dumps, loads

import pytest

from pipeline.report.record import _text_of, command_of
from tests.report.reproductions import TEXT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"only": "*", "epochs": None, "seeds": 1, "max_seconds": 0.0, "against": "", "quick": False}, ""),
        ({"only": "*", "epochs": "None", "seeds": "1", "max_seconds": "0.0", "against": "", "quick": "false"}, ""),
        ({"only": "*x8,*x32", "seeds": 3, "workers": 2, "check": True}, " -P 'only=*x8,*x32' -P seeds=3"),
        ({"epochs": "7", "max_seconds": "150.0", "quick": "True"}, " -P epochs=7 -P max_seconds=150 -P quick=true"),
        ({"against": "/home/someone/their table.csv"}, " -P 'against=their table.csv'"),
    ],
)
def test_a_command_names_what_differs_from_the_defaults_and_no_folder(options, words):
    assert command_of(options) == f"mlflow run . --env-manager local -e reproduce{words}"


def test_a_record_older_than_the_unigrams_of_the_other_texts_is_read_without_them():
    kept = loads(dumps(asdict(TEXT)))
    assert _text_of(kept) == TEXT
    for name in ("train_unigram", "stream_val_unigram", "stream_test_unigram"):
        del kept[name]
    assert _text_of(kept).train_unigram is None
