"""What a configuration refuses, and what the presets decide."""

import pickle
import re
from contextlib import suppress
from dataclasses import Field, asdict, fields, replace
from itertools import combinations
from math import inf, nan
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from models.config import ConfigError, ModelConfig, check_range
from pipeline.config import (
    QUICK_SEARCH,
    TEXT_CHARS,
    WORDS,
    CorpusConfig,
    PresetName,
    SearchConfig,
    TrainConfig,
    config_id,
    quick_search,
    resolve,
)
from pipeline.errors import option_name
from pipeline.stages.train import run_name
from pipeline.support.files import ROOT

CONFIGS = (ModelConfig, TrainConfig, CorpusConfig, SearchConfig)

# --- ranges ----------------------------------------------------------------------------------------------------------


def declared(config: type) -> list[Field[Any]]:
    return [field for field in fields(config) if field.metadata]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_number_is_allowed_at_the_ends_of_its_range_and_refused_beyond_them(config):
    for field in declared(config):
        if not (limits := field.metadata["limits"]):
            continue
        low, above, high = limits["low"], limits["above"], limits["high"]
        beyond = [nan, inf, *([low - 1] if low is not None else [above]), *([high + 1] if high < 2**53 else [])]
        for value in [low if low is not None else 1e-9, *([high] if high < inf else [])]:
            assert getattr(config(**{field.name: value}), field.name) == value
        for value in beyond:
            with pytest.raises(ConfigError, match=f"^{field.name} is .*; it must be "):
                config(**{field.name: value})


@pytest.mark.parametrize("config", CONFIGS)
def test_a_choice_is_one_of_its_own(config):
    for field in declared(config):
        choices = [choice for choice in get_args(field.type) if isinstance(choice, str)]
        for choice in choices:
            needed = {"implementation": "scratch"} if choice == "book" else {}
            assert getattr(config(**{field.name: choice} | needed), field.name) == choice
        if choices or field.metadata["choices"]:
            with pytest.raises(ConfigError, match=f"^{field.name} is 'none of them'"):
                config(**{field.name: "none of them"})


@pytest.mark.parametrize(
    ("config", "options"),
    [(CorpusConfig, {"corpus": "  "}), (TrainConfig, {"calibrate": "yes"}), (TrainConfig, {"seed": 10**400})],
)
def test_other_values_are_refused_naming_their_field(config, options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))} is "):
        config(**options)


def test_what_is_no_number_is_refused_where_a_number_is_needed():
    with pytest.raises(ConfigError, match=r"^length is 'x'; it must be a number"):
        check_range("length", "x", low=1)


def test_a_message_survives_the_way_from_a_worker_and_names_options_as_their_reader_does():
    with pytest.raises(ConfigError, match=r"^equations is 'book', .*; it needs implementation scratch$") as refused:
        ModelConfig(equations="book", implementation="torch")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    assert refused.value.with_names(option_name).endswith("; it needs --implementation scratch")


def test_no_message_names_an_option_that_only_python_has():
    known = [field for config in CONFIGS for field in declared(config)]
    of_commands = {field.name for field in known if not field.metadata.get("python_only")}
    of_python = [option_name(name) for name in {field.name for field in known} - of_commands]
    source = "".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    assert [name for name in of_python if re.search(rf"{name}(?![\w-])", source)] == []


# --- presets ---------------------------------------------------------------------------------------------------------


OVERRIDES: dict[str, Any] = {
    "cell": "gru", "num_layers": 2, "hidden_size": 8, "equations": "torch", "initialisation": "torch", "residual": True,
    "dropout": 0.11, "output_dropout": 0.12, "recurrent_dropout": 0.13, "epochs": 3, "budget_chars": 1234,
    "batch_size": 7, "sequence_length": 9, "optimizer": "adamw", "learning_rate": 0.15,
    "schedule": "cosine", "weight_decay": 0.16, "own_loss": 0.19, "counting_loss": 0.21, "calibrate": False,
    "clip": 0.17, "average": 0.18, "patience": 2, "threads": 2, "max_seconds": 3.0, "sample_every": 4,
}  # fmt: skip
DECIDE_DEFAULTS = ("cell", "num_layers", "hidden_size", "epochs", "budget_chars", "counting_loss")  # of other options


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_what_the_user_gives_overrides_the_preset_and_nothing_else(preset):
    refused = ("own_loss", "counting_loss") if preset.startswith("report") else ()
    for name, value in OVERRIDES.items():
        if name in DECIDE_DEFAULTS or name in refused:
            continue
        base = {
            "preset": preset,
            "implementation": "scratch",
            "on_top_of": "ngram" if name == "own_loss" else "nothing",
        }
        model, train = resolve(base)
        in_model = name in {field.name for field in fields(ModelConfig)}
        expected = (replace(model, **{name: value}), train) if in_model else (model, replace(train, **{name: value}))
        assert resolve({**base, name: value}) == expected, name


def test_everything_that_a_preset_decides_can_be_overridden():
    marked = {
        f.name for config in (ModelConfig, TrainConfig) for f in fields(config) if f.metadata and f.metadata["preset"]
    }
    assert set(OVERRIDES) == marked


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_none_is_as_the_preset_says_and_a_precision_that_is_given_is_kept(preset):
    everything = {field.name: None for config in (ModelConfig, TrainConfig) for field in fields(config)}
    assert resolve({**everything, "preset": preset}) == resolve({"preset": preset})
    for precision in ("fp32", "bf16"):
        assert resolve({"preset": preset, "precision": precision})[1].precision == precision


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"preset": "report-text", "on_top_of": "ngram"}, "on_top_of"),
        ({"preset": "report", "calibrate": True}, "calibrate"),
        ({"preset": "report-text", "train_chars": 500}, "train_chars"),
        ({"own_loss": 0.5}, "own_loss"),
        ({"counting_loss": 0.5, "preset": "report"}, "counting_loss"),
        ({"counting_loss": 0.5, "preset": "report-text"}, "counting_loss"),
        ({"counting_loss": 0.5, "on_top_of": "ngram"}, "counting_loss"),
        ({"ngrams": 5000}, "ngrams"),
        ({"preset": "report", "batch_size": 0}, "batch_size"),
    ],
)
def test_what_a_preset_does_not_have_is_refused(options, field):
    with pytest.raises(ConfigError) as refused:
        resolve(options)
    assert refused.value.field_name == field


# --- the formula of the presets stream and best ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "train_chars", "passes", "recurrent", "output", "counting"),
    [
        ("lstm", 1, 128, 156_000, 26, 0.1, 0.0, 0.23),  # where the formula is anchored
        ("lstm", 1, 256, 156_000, 26, 0.29, 0.1, 0.3),  # 4 times the weights
        ("lstm", 1, 256, 624_000, 26, 0.25, 0.0, 0.0),  # and 4 times the text, which is too long to learn from counting
        ("lstm", 1, 128, 156_000, 104, 0.15, 0.0, 0.3),  # 4 times the passes
        ("lstm", 1, 384, 156_000, 128, 0.39, 0.21, 0.3),  # no more
        ("lstm", 2, 128, 156_000, 26, 0.25, 0.06, 0.3),  # 3 times the weights, one of the matrices from layer to layer
        ("lstm", 1, 8, 156_000, 26, 0.0, 0.0, 0.0),  # no less
        ("gru", 1, 256, 156_000, 26, 0.1, 0.0, 0.23),
        ("rnn", 1, 8, 156_000, 26, 0.05, 0.0, 0.0),
        ("rnn", 2, 512, 156_000, 26, 0.05, 0.0, 0.0),
    ],
)
def test_dropout_and_the_share_of_counting_follow_the_weights_the_text_and_the_passes_over_it(
    cell, layers, hidden, train_chars, passes, recurrent, output, counting
):
    shape = {"cell": cell, "num_layers": layers, "hidden_size": hidden}
    model, train = resolve({**shape, "epochs": passes}, train_chars)
    assert (model.recurrent_dropout, model.output_dropout, train.counting_loss) == (recurrent, output, counting)


def test_without_counting_dropout_is_larger():
    model, train = resolve({"counting_loss": 0.0})
    assert (model.recurrent_dropout, model.output_dropout, train.counting_loss) == (0.3, 0.07, 0.0)


def test_a_budget_in_characters_drops_what_as_many_passes_do():
    by_passes, _ = resolve({"epochs": 30})
    by_chars, _ = resolve({"budget_chars": 30 * TEXT_CHARS})
    assert by_chars == by_passes


@pytest.mark.parametrize(("hidden", "own_loss"), [(8, 0.0), (32, 0.0), (64, 0.2), (128, 0.4), (192, 0.5), (1024, 0.5)])
def test_the_larger_a_network_on_top_of_an_ngram_the_more_of_the_loss_is_its_own(hidden, own_loss):
    assert resolve({"hidden_size": hidden, "on_top_of": "ngram"})[1].own_loss == own_loss
    assert resolve({"hidden_size": hidden})[1].own_loss == 0


def test_a_part_of_a_text_has_the_defaults_of_a_text_of_that_length():
    part, train = resolve({"train_chars": 20_000}, 156_000)
    whole, same = resolve({}, 20_000)
    assert (part, replace(train, train_chars=0)) == (whole, same)


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "learning_rate", "batch_size", "residual"),
    [
        ("lstm", 1, 192, 0.03, 32, False),
        ("lstm", 1, 193, 0.0154, 32, False),
        ("lstm", 2, 96, 0.03, 32, False),
        ("lstm", 3, 65, 0.0154, 32, True),
        ("gru", 1, 128, 0.02, 32, False),
        ("gru", 1, 129, 0.0077, 32, False),
        ("rnn", 1, 128, 0.015, 32, False),
        ("rnn", 8, 32, 0.0061, 32, True),
    ],
)
def test_learning_rate_rows_and_residual_connections_follow_the_shape(
    cell, layers, hidden, learning_rate, batch_size, residual
):
    model, train = resolve({"cell": cell, "num_layers": layers, "hidden_size": hidden})
    assert (train.learning_rate, train.batch_size, model.residual) == (learning_rate, batch_size, residual)


@pytest.mark.parametrize(
    ("symbols", "passes", "rate"),
    [(28, 109, 0.0255), (28, 9, 0.046), (28, 8, 0.0473), (28, 4, 0.0473), (119, 8, 0.0303)],
)
def test_the_learning_rate_falls_with_the_symbols_and_from_8_on_with_the_passes_over_the_text(symbols, passes, rate):
    assert resolve({"epochs": passes}, TEXT_CHARS, symbols)[1].learning_rate == rate


@pytest.mark.parametrize(
    ("implementation", "cell", "layers", "hidden", "rate"),
    [
        ("scratch", "gru", 1, 1024, 4.0),
        ("scratch", "lstm", 1, 8, 4.0),
        ("torch", "rnn", 1, 128, 1.0),
        ("torch", "lstm", 1, 128, 4.0),
        ("torch", "gru", 1, 128, 4.0),
        ("torch", "gru", 2, 32, 2.0),
        ("torch", "lstm", 8, 32, 2.0),
    ],
)
def test_the_report_preset_trains_the_reports_models_by_the_books_protocol(implementation, cell, layers, hidden, rate):
    scratch = implementation == "scratch"
    shape: dict[str, Any] = {"cell": cell, "num_layers": layers, "hidden_size": hidden}
    model, train = resolve({"preset": "report", "implementation": implementation, **shape})
    own: dict[str, Any] = {"equations": "book", "initialisation": "normal"} if scratch else {}
    assert model == ModelConfig(implementation=implementation, **shape, **own)
    assert (train.learning_rate, train.epochs) == (rate, 50 if scratch else 100)
    assert (train.optimizer, train.schedule, train.weight_decay, train.clip) == ("sgd", "constant", 0.0, 1.0)
    assert (train.batch_size, train.sequence_length) == (1024, 32)
    assert (train.average, train.patience, train.max_seconds, train.precision) == (0.0, 0, 0.0, "fp32")


def test_a_search_has_ten_minutes_unless_trials_or_minutes_are_given():
    given: list[dict[str, Any]] = [{}, {"trials": 5}, {"minutes": 3.0}, {"trials": 5, "minutes": 3.0}]
    assert [SearchConfig(**each).minutes_limit for each in given] == [10, inf, 3, 3]


def test_a_quick_search_sets_what_is_not_given_but_neither_the_space_of_a_file_nor_the_trials_of_minutes():
    assert quick_search({}) == QUICK_SEARCH
    assert QUICK_SEARCH.keys() - quick_search({"confirm_seeds": 2}) == {"confirm_seeds"}
    assert QUICK_SEARCH.keys() - quick_search({"space": "space.yaml"}) == {"num_layers", "hidden_size"}
    assert QUICK_SEARCH.keys() - quick_search({"minutes": 10.0}) == {"trials"}


def test_a_shape_is_not_named_after_an_option_that_it_does_not_use():
    assert ModelConfig(ngrams=9000).shape == "lstm-1x192"
    assert ModelConfig(ngrams=9000, on_top_of="ngram").shape == "lstm-1x192-on-9000-ngrams"


# --- names -----------------------------------------------------------------------------------------------------------

UNUSUAL = OVERRIDES | {
    "equations": "book", "initialisation": "normal", "optimizer": "sgd", "schedule": "constant", "embedding_size": 6,
    "train_chars": 9_000, "precision": "bf16",
}  # fmt: skip
MANY = {"preset": "best", "on_top_of": "ngram", "train_chars": 5000, "clip": 0.123456789, "average": 0.123456789}


def name_and_id(options: dict[str, Any]) -> tuple[str, str]:
    corpus: Any = SimpleNamespace(label="novel", train_chars=TEXT_CHARS, vocabulary=range(28))
    configs = resolve(options)
    return run_name(corpus, *configs), config_id(*configs, "")


@pytest.mark.parametrize("base", [{"implementation": "scratch"}, {"preset": "report"}, MANY])
def test_trainings_of_different_configurations_have_different_names(base):
    """Options have the preset's value or another one, alone and beside both values of each other option."""
    usual = {name: value for config in resolve(base) for name, value in asdict(config).items()}
    given = [(name, value) for name in WORDS for value in {usual[name], UNUSUAL[name]}]
    names: dict[str, str] = {}
    for options in combinations([("seed", 0), *given], 2):
        with suppress(ConfigError):
            name, id = name_and_id(base | dict(options))
            assert names.setdefault(id, name) == name
    assert len({*names.values()}) == len(names) > 100
    assert len({*WORDS.values()}) == len(WORDS)


def test_a_name_says_what_was_chosen_and_not_what_follows_from_it():
    course = {"hidden_size": 128, "budget_chars": 3_000_000, "learning_rate": 0.01, "threads": 2, "max_seconds": 9.0}
    assert name_and_id(course)[0] == "lstm-1x128-s0-budget-3000000-rate-0.01-novel"
    cut = "lstm-1x384-on-ngram-s0-last-5000-clip-0.123456789-average-0.123456789-6a2197-best-novel"
    assert name_and_id(MANY | {"patience": 33333})[0] == cut
