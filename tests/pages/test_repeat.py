"""The command on a page repeats what was recorded: read by the command line, it gives the same configuration."""

import shlex
from dataclasses import asdict, fields
from typing import Any

import pytest

from models.config import ModelConfig
from pipeline.cli.main import cli
from pipeline.config import DECLARED, SearchConfig, TrainConfig, preset_values, resolve
from pipeline.pages.repeat import search_command, train_command
from pipeline.tracking.recorded import RecordedTraining
from tests.made_up import made_up_run
from tests.pages.made_up import training

TEXT = {"train_chars": 50_000, "symbols": 119}


def parsed(command: str) -> dict[str, Any]:
    """The options of a command by name, as its function gets them."""
    program, name, *words = shlex.split(command)
    assert program == "tmlm"
    return cli.commands[name].make_context(name, words).params


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "num_layers": 3, "hidden_size": 40, "seed": 7, "epochs": 3},
        {"preset": "report", "cell": "rnn", "implementation": "scratch"},
        {"preset": "best", "max_seconds": 5.0},
        {"on_top_of": "ngram", "hidden_size": 64},
    ],
)
def test_a_training_is_repeated_with_every_option_that_it_had(options):
    model, train = resolve(options, **TEXT)
    given = parsed(train_command(recorded(model, train)))
    own = {field.name for config in (ModelConfig, TrainConfig) for field in fields(config)}
    assert resolve({name: value for name, value in given.items() if name in own}, **TEXT) == (model, train)
    assert given["corpus"] == "time-machine"


def test_a_training_with_options_of_python_only_is_repeated_in_python():
    model, train = resolve({"residual": True, "train_chars": 9000, "patience": 3}, **TEXT)
    program, _, code = shlex.split(train_command(recorded(model, train)))
    assert program == "python"
    seen = eval(code.replace("from pipeline import api; api.train(", "dict("))
    assert seen.pop("corpus") == "time-machine"
    assert resolve(seen, **TEXT) == (model, train)


def recorded(
    model: ModelConfig, train: TrainConfig, name: str = "time-machine", alphabet: str = "letters", **others: Any
) -> RecordedTraining:
    """A training with these configurations on TEXT."""
    text = {**training().configuration["text"], **TEXT, "name": name}
    own = {"corpus": {"alphabet": alphabet}, "model": asdict(model), "train": asdict(train), "text": text}
    return training(configuration={**training().configuration, **own, **others})


@pytest.mark.parametrize("preset", ["stream", "best"])
def test_what_recipe_6_gave_a_training_of_its_time_is_not_repeated_as_a_choice(preset):
    shape = {"preset": preset, "cell": "gru", "num_layers": 2, "hidden_size": 300}
    defaults = {name: field.default for name, field in DECLARED.items()}
    run = recorded(*resolve({**defaults, **preset_values(shape, **TEXT, recipe=6), **shape}, **TEXT), recipe=6)
    assert (run.chosen, "learning" in train_command(run)) == ({}, False)


def test_that_a_default_of_recipe_5_did_not_learn_from_counting_is_not_repeated_as_a_choice():
    dropouts = {"recurrent_dropout": 0.43, "output_dropout": 0.27}  # as the program of recipe 5 has them for TEXT
    run = recorded(*resolve({"learning_rate": 0.03, "clip": 1.0, "counting_loss": 0.0, **dropouts}, **TEXT), recipe=5)
    assert run.chosen == {}


@pytest.mark.parametrize(("name", "usual", "other"), [("time-machine", "letters", "raw"), ("novel", "raw", "letters")])
def test_a_command_names_the_alphabet_where_auto_stands_for_another(name, usual, other):
    of_usual, of_other = (train_command(recorded(*resolve({}, **TEXT), name, each)) for each in (usual, other))
    assert "--alphabet" not in of_usual
    assert parsed(of_other)["alphabet"] == other


def test_a_study_is_repeated_with_every_option_that_is_not_its_default():
    options = {"study_name": "it's", "trials": "12", "budget_macs": "0", "workers": "None"}
    given = parsed(search_command(made_up_run("5" * 32, "search", tags={"study": "it's"}, params=options), training()))
    names = {field.name for field in fields(SearchConfig)}
    config = SearchConfig(**{name: value for name, value in given.items() if name in names})
    assert config == SearchConfig(study_name="it's", trials=12)
