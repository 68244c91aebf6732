"""Each command: its options, and what it prints."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from mlflow.tracking import MlflowClient

import pipeline.stages.main  # noqa: F401  # before a test puts another stage into what it imports
from pipeline.cli.main import cli
from pipeline.config import QUICK_SEARCH, SearchConfig, resolve
from pipeline.search.commands import next_commands
from tests.cli.commands import run


class EnoughError(Exception):
    """Ends a command where a stage would start."""


def test_complexity_prints_one_flat_object_with_both_conventions():
    code, out, _ = run("complexity", "--cell", "lstm", "--num-layers", "1", "--hidden-size", "128", "--json")
    assert code == 0
    assert json.loads(out) == {
        "parameters": 84508,
        "macs_per_char": 85788,
        "matmul_macs_per_char": 83456,
        "report_parameters": 80896,
        "report_macs": 84148224,
    }


@pytest.mark.parametrize("command", ["train", "pipeline"])
def test_options_are_checked_before_the_text_is_looked_for(command):
    code, out, err = run(command, "--corpus", "no-such-file.txt", "--hidden-size", "0")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("Error: --hidden-size is 0; ")


@pytest.mark.parametrize("command", ["train", "pipeline"])
def test_the_defaults_of_a_training_follow_from_its_text(command, small_text, monkeypatch):
    def stage(corpus, *configurations, **others):
        expected = resolve({"hidden_size": 64}, corpus.train_chars, len(corpus.vocabulary))
        assert configurations[:2] == expected
        assert expected != resolve({"hidden_size": 64})
        raise EnoughError

    monkeypatch.setattr("pipeline.stages.train.train", stage)
    monkeypatch.setattr("pipeline.stages.main.pipeline", stage)
    with pytest.raises(EnoughError):
        cli.main([command, "--corpus", str(small_text), "--hidden-size", "64"], standalone_mode=False)


@pytest.fixture
def cut_short(store: Path, small_text: Path, plain_artifacts: None, no_served_model: None) -> str:
    """The id of the only training of a store, which its time ended."""
    tiny = ["--hidden-size", "8", "--epochs", "2", "--batch-size", "64", "--max-seconds", "1e-6"]
    code, out, err = run("train", "--corpus", str(small_text), "--alphabet", "letters", *tiny, "--json")
    assert code == 0, err
    return str(json.loads(out)["run_id"])


def test_what_may_be_said_beside_resume(cut_short, monkeypatch):
    code, _, err = run("train", "--resume", cut_short, "--hidden-size", "128")
    assert (code, "--hidden-size 128 is not what lstm-1x8-s0" in err, err.count("\n")) == (2, True, 1)
    # under mlflow run, options as MLproject has them are not taken as given
    monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient().create_run("0").info.run_id)
    as_mlproject_has_it = ["--corpus", "auto", "--on-top-of", "nothing", "--seed", "0"]
    code, out, err = run("train", *as_mlproject_has_it, "--max-seconds", "0", "--resume", cut_short, "--json")
    assert code == 0, err
    assert json.loads(out)["run_id"] == cut_short
    assert json.loads(out)["epochs"] == 2


def test_options_that_are_given_win_over_those_of_the_training_that_like_names(trained, small_text, monkeypatch):
    def stage(corpus, model, config, **others):
        assert (model.hidden_size, config.sequence_length, config.epochs, config.seed) == (8, 16, None, 7)
        raise EnoughError

    monkeypatch.setattr("pipeline.stages.train.train", stage)
    words = ["train", "--like", "latest", "--corpus", str(small_text), "--seed", "7"]
    with pytest.raises(EnoughError):
        cli.main([*words, "--epochs", "auto"], standalone_mode=False)
    assert run(*words, "--resume", "latest")[0] == 2


def test_a_check_that_is_not_met_shows_its_result_and_ends_with_4(store, monkeypatch):
    from pipeline.report.reproduce import ChecksNotMetError

    done: Any = "the table"

    def reproduce(*arguments):
        raise ChecksNotMetError("--check is not met", done)

    monkeypatch.setattr("pipeline.text.corpus.load_corpus", lambda config: "the text")
    monkeypatch.setattr("pipeline.report.reproduce.reproduce", reproduce)
    monkeypatch.setattr("pipeline.report.commands.show_reproduction", lambda done, as_json: click.echo(done))
    assert run("reproduce", "--check") == (4, "the table\n", "Error: --check is not met\n")


def test_a_quick_search_has_its_own_options_and_those_that_are_given_even_at_their_defaults(store, monkeypatch):
    def space_of(config):
        assert config == SearchConfig(**QUICK_SEARCH | {"trials": 5, "confirm_seeds": 2})
        raise EnoughError

    monkeypatch.setattr("pipeline.search.run.Space.of", space_of)
    with pytest.raises(EnoughError):
        cli.main(["search", "--quick", "--trials", "5", "--confirm-seeds", "2"], standalone_mode=False)


@pytest.mark.parametrize(
    ("chosen", "quick", "command"),
    [
        ({"corpus": "my book.txt", "minutes": 15.0}, False, "search --corpus 'my book.txt' --minutes 15.0"),
        ({"trials": 7, "max_perplexity": None}, False, "search --trials 14"),
        (
            {"corpus": "a.txt", "cell": "gru", "trials": 5, "study_name": "look"},
            True,
            "search --corpus a.txt --cell gru",
        ),
    ],
)
def test_the_last_command_that_a_search_prints_extends_it(monkeypatch, chosen, quick, command):
    monkeypatch.setattr("pipeline.tracking.program.command", lambda: "tmlm")
    done: Any = SimpleNamespace(picks={}, result={})
    (to_extend,) = next_commands(done, chosen, quick).values()
    assert to_extend == f"tmlm {command}"
