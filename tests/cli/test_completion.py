"""What a shell offers for a MODEL, a run, a text and a file."""

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli.main import cli


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    found = {"train": [("1234abcd", "lstm-1x8-s0")], "reproduce": [("5678abcd", "reproduce")]}
    monkeypatch.setattr(
        "pipeline.tracking.completion.runs", lambda beginning, stage, status="%": found[stage] if status == "%" else []
    )
    monkeypatch.setattr("pipeline.tracking.completion.models", lambda: [("models:/time-machine-lm@best", "version 1")])


def offered(*words: str) -> list[str]:
    """What is offered for the last word; FILES where file names are."""
    completion = ShellComplete(cli, {}, "tmlm", "_TMLM_COMPLETE")
    items = completion.get_completions(list(words[:-1]), words[-1])
    return ["FILES" if item.type == "file" else item.value for item in items]


@pytest.mark.parametrize("command", ["sample", "evaluate", "chat"])
def test_a_model_is_a_training_a_registered_model_or_a_file(command):
    assert offered(command, "") == ["FILES", "latest", "latest~1", "1234abcd", "models:/time-machine-lm@best"]
    assert offered(command, "12") == ["FILES", "1234abcd"]
    assert offered(command, "mod") == ["FILES", "models:/time-machine-lm@best"]


def test_a_run_is_one_that_the_option_can_use():
    assert offered("train", "--resume", "") == ["latest", "latest~1", "1234abcd"]
    assert offered("report", "--run-id", "") == ["5678abcd"]
    assert offered("doctor", "--close", "") == []


def test_texts_are_completed_by_name_and_as_files():
    for command in ("train", "search", "recommend"):
        assert offered(command, "--corpus", "t") == ["FILES", "time-machine", "tiny-shakespeare"]
    assert offered("evaluate", "--text", "x") == ["FILES"]
    assert offered("search", "--space", "x") == ["FILES"]
