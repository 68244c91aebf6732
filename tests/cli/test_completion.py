"""What a shell offers for a MODEL, a run, a text and a file."""

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli.main import cli

RUNS = {"train": [("1234abcd", "lstm-1x8-s0")], "reproduce": [("5678abcd", "reproduce")]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sample", ""], ["FILES", "latest", "latest~1", "1234abcd"]),
        (["train", "--resume", ""], ["latest", "latest~1", "1234abcd"]),
        (["report", "--run-id", ""], ["5678abcd"]),
        (["search", "--corpus", "t"], ["FILES", "time-machine", "tiny-shakespeare"]),
        (["evaluate", "--text", "x"], ["FILES"]),
    ],
)
def test_what_fits_is_offered(monkeypatch, words, expected):
    monkeypatch.setattr("pipeline.tracking.completion.runs", lambda beginning, stage: RUNS[stage])
    items = ShellComplete(cli, {}, "tmlm", "_TMLM_COMPLETE").get_completions(words[:-1], words[-1])
    assert ["FILES" if item.type == "file" else item.value for item in items] == expected
