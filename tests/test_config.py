"""What a configuration refuses, and what the presets decide."""

import pickle
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Any, get_args

import pytest

from models.cells import CELLS
from models.config import ConfigError, ModelConfig, check_range
from pipeline.config import (
    DROPOUT_PER_PASSES,
    DROPOUT_PER_TEXT,
    DROPOUT_PER_WEIGHTS,
    LARGEST_OWN_LOSS,
    ON_REPORTS_TEXT,
    ON_TOP_DROPOUT,
    OUTPUT_DROPOUT_FROM,
    OUTPUT_DROPOUT_SLOPE,
    OWN_LOSS_PER_UNITS,
    OWN_LOSS_UNITS,
    QUICK_SEARCH,
    QUICK_STUDY,
    TEXT_CHARS,
    TEXT_DROPOUT,
    TEXT_PASSES,
    TEXT_WEIGHTS,
    CorpusConfig,
    PresetName,
    SearchConfig,
    TrainConfig,
    preset_values,
    quick_search,
    report_preset,
    resolve,
    stream_preset,
)
from pipeline.errors import option_name
from tests.checkout import ROOT

INF, NAN = float("inf"), float("nan")

REFUSED: dict[type, dict[str, list[Any]]] = {
    ModelConfig: {
        "cell": ["mlp", "", "LSTM"],
        "num_layers": [0, -1, 10**12 + 1, NAN],
        "hidden_size": [0, -1, 10**12 + 1, NAN],
        "implementation": ["jax", ""],
        "equations": ["d2l", ""],
        "embedding_size": [-1, 10**12 + 1],
        "residual": ["on", None, 2],
        "on_top_of": ["counting", ""],
        "dropout": [-0.1, 0.96, 1.0, NAN, INF],
        "output_dropout": [-0.1, 0.96, 1.0, NAN, INF],
        "recurrent_dropout": [-0.1, 0.96, 1.0, NAN, INF],
        "initialisation": ["xavier", ""],
    },
    TrainConfig: {
        "preset": ["book", ""],
        "epochs": [0, -1, 1_000_001],
        "budget_chars": [0, -1, INF],
        "budget_seconds": [-0.1, 2e9, NAN, INF],
        "train_chars": [-1, INF],
        "max_seconds": [-0.1, NAN, INF],
        "batch_size": [0, -1, 10**12 + 1],
        "sequence_length": [0, -1, 10**12 + 1],
        "optimizer": ["adam", ""],
        "learning_rate": [0.0, -0.1, 1000.1, NAN, INF],
        "schedule": ["linear", ""],
        "weight_decay": [-0.1, 1000.1, NAN],
        "own_loss": [-0.1, 1.1, NAN],
        "clip": [-0.1, NAN, INF],
        "average": [-0.1, 1.0, NAN],
        "patience": [-1, INF],
        "calibrate": ["yes", 2],
        "seed": [-1, 2**63],
        "device": ["tpu", "cuda:1", ""],
        "threads": [0, -1, 1025],
        "precision": ["fp16", ""],
        "sample_every": [-1, INF],
    },
    CorpusConfig: {"corpus": ["", "  "], "alphabet": ["digits", ""]},
}

ALLOWED: dict[type, dict[str, list[Any]]] = {  # the ends of the ranges
    ModelConfig: {
        "num_layers": [1, 10**12],
        "hidden_size": [1, 10**12],
        "embedding_size": [0, 10**12],
        "dropout": [0, 0.95],
        "output_dropout": [0, 0.95],
        "recurrent_dropout": [0, 0.95],
    },
    TrainConfig: {
        "epochs": [None, 1, 1_000_000],
        "budget_chars": [1, 10**15],
        "budget_seconds": [0, 1e9],
        "max_seconds": [0, 1e9],
        "batch_size": [1, 10**12],
        "sequence_length": [1, 10**12],
        "learning_rate": [1e-9, 1000],
        "weight_decay": [0, 1000],
        "own_loss": [0, 1],
        "clip": [0, 1e9],
        "average": [0, 0.999999],
        "patience": [0, 10**6],
        "seed": [0, 2**63 - 1],
        "threads": [None, 1, 1024],
        "sample_every": [0, 10**6],
    },
}

REPORT_CONFIGURATIONS = [  # the seventeen of the report: implementation, cell, layers, units
    *[("scratch", "gru", 1, hidden) for hidden in (32, 8, 128, 1024)],
    *[("scratch", "lstm", 1, hidden) for hidden in (32, 8, 128, 1024)],
    *[("torch", cell, 1, 128) for cell in ("rnn", "lstm", "gru")],
    *[("torch", cell, layers, hidden) for layers, hidden in ((2, 32), (2, 128), (8, 32)) for cell in ("gru", "lstm")],
]


def cases(table: dict[type, dict[str, list[Any]]]) -> list[Any]:
    return [
        pytest.param(config, name, value, id=f"{name}-{value}")
        for config, names in table.items()
        for name, values in names.items()
        for value in values
    ]


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "name", "value"), cases(REFUSED))
def test_a_value_out_of_range_is_refused_naming_its_field(config, name, value):
    shown = "is empty" if name == "corpus" else f"is {value!r}; it must be "
    with pytest.raises(ConfigError) as refused:
        config(**{name: value})
    assert str(refused.value).startswith(f"{name} {shown}")


@pytest.mark.parametrize(("config", "name", "value"), cases(ALLOWED))
def test_the_ends_of_a_range_are_allowed(config, name, value):
    assert getattr(config(**{name: value}), name) == value


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig, CorpusConfig])
def test_every_option_has_a_range(config):
    assert set(REFUSED[config]) == {field.name for field in fields(config) if field.metadata}


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig, CorpusConfig])
def test_every_choice_of_an_option_is_allowed(config):
    for field in fields(config):
        for choice in get_args(field.type):
            if isinstance(choice, str):
                assert getattr(config(**{field.name: choice} | needed_by(choice)), field.name) == choice


def needed_by(choice: str) -> dict[str, str]:
    return {"implementation": "scratch"} if choice == "book" else {}


@pytest.mark.parametrize("config", [ModelConfig, TrainConfig, CorpusConfig])
def test_every_option_is_explained(config):
    assert all(field.metadata["help"].endswith((".", ")")) for field in fields(config) if field.metadata)


def test_a_number_too_large_for_a_float_is_refused_like_any_other():
    with pytest.raises(ConfigError, match=r"^seed is 1000"):
        TrainConfig(seed=10**400)


def test_a_message_says_what_was_given_and_what_is_allowed():
    with pytest.raises(ConfigError, match=r"^hidden_size is 0; it must be at least 1 and at most "):
        ModelConfig(hidden_size=0)
    with pytest.raises(ConfigError, match=r"^cell is 'mlp'; it must be one of rnn, gru, lstm$"):
        ModelConfig(cell="mlp")
    with pytest.raises(ConfigError, match=r"^learning_rate is 0; it must be above 0 and at most 1,000$"):
        TrainConfig(learning_rate=0)
    with pytest.raises(ConfigError, match=r"^patience is -1; it must be at least 0$"):
        TrainConfig(patience=-1)


def test_a_message_survives_the_way_from_a_worker():
    with pytest.raises(ConfigError) as refused:
        ModelConfig(equations="book", implementation="torch")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_range_without_its_lower_end_refuses_that_end_only():
    check_range("rate", 1e-300, above=0)
    check_range("rate", 0, low=0)
    with pytest.raises(ConfigError, match=r"^rate is 0; it must be above 0"):
        check_range("rate", 0, above=0)


def test_the_books_equations_are_refused_for_torchs_layers():
    with pytest.raises(ConfigError, match=r"^equations is 'book', .*; it needs implementation scratch$") as refused:
        ModelConfig(equations="book", implementation="torch")
    assert refused.value.with_names(option_name).endswith("; it needs --implementation scratch")
    assert ModelConfig(equations="book", implementation="scratch").equations == "book"


@pytest.mark.parametrize("config", [ModelConfig(), TrainConfig(), CorpusConfig()])
def test_a_configuration_cannot_be_changed(config):
    for field in fields(config):
        with pytest.raises(FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))


def test_a_shape_is_cell_layers_and_units():
    assert ModelConfig(cell="gru", num_layers=2, hidden_size=32).shape == "gru-2x32"


def test_configurations_are_imported_without_torch():
    code = "import sys, pipeline.config, models.config, models.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- presets ---------------------------------------------------------------------------------------------------------


def options_of(implementation: str, cell: str, num_layers: int, hidden_size: int) -> dict[str, Any]:
    return {"implementation": implementation, "cell": cell, "num_layers": num_layers, "hidden_size": hidden_size}


MODELS = [
    options_of(implementation, cell, layers, hidden)
    for implementation in ("torch", "scratch")
    for cell in CELLS
    for layers in (1, 2)
    for hidden in (8, 128, 512)
]


@pytest.mark.parametrize("preset", get_args(PresetName))
@pytest.mark.parametrize("model", MODELS)
def test_a_preset_decides_what_the_user_leaves_open(preset, model):
    model_config, train_config = resolve({"preset": preset, **model})
    decided = preset_values({"preset": preset, **model}, TEXT_CHARS)
    own = {**{f.name: f.default for f in fields(ModelConfig)}, **{f.name: f.default for f in fields(TrainConfig)}}
    given = {"preset": preset, **model, "precision": "fp32" if preset in ON_REPORTS_TEXT else "auto"}
    for config in (model_config, train_config):
        for field in fields(config):
            assert getattr(config, field.name) == {**own, **decided, **given}[field.name]


@pytest.mark.parametrize("preset", get_args(PresetName))
@pytest.mark.parametrize("model", MODELS)
def test_a_preset_decides_only_what_is_marked_as_its_own(preset, model):
    marked = {
        f.name for config in (ModelConfig, TrainConfig) for f in fields(config) if f.metadata and f.metadata["preset"]
    }
    assert set(preset_values({"preset": preset, **model}, TEXT_CHARS)) <= marked


OVERRIDES: dict[str, Any] = {
    "cell": "gru",
    "num_layers": 2,
    "hidden_size": 8,
    "equations": "torch",
    "initialisation": "torch",
    "residual": True,
    "dropout": 0.11,
    "output_dropout": 0.12,
    "recurrent_dropout": 0.13,
    "epochs": 3,
    "budget_chars": 1234,
    "budget_seconds": 5.0,
    "batch_size": 7,
    "sequence_length": 9,
    "optimizer": "adamw",
    "learning_rate": 0.15,
    "schedule": "cosine",
    "weight_decay": 0.16,
    "own_loss": 0.19,
    "calibrate": False,
    "clip": 0.17,
    "average": 0.18,
    "patience": 2,
    "threads": 2,
    "max_seconds": 3.0,
    "sample_every": 4,
}


DECIDE_DEFAULTS = ("cell", "num_layers", "hidden_size", "epochs", "budget_chars")  # of other options


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        (preset, name)
        for preset in get_args(PresetName)
        for name in sorted(OVERRIDES.keys() - set(DECIDE_DEFAULTS))
        if preset != "report" or name not in ("budget_seconds", "own_loss")  # which are refused
    ],
)
def test_what_the_user_gives_overrides_the_preset_and_nothing_else(preset, name):
    base = {"preset": preset, "implementation": "scratch"}
    if name == "own_loss":
        base["on_top_of"] = "ngram"
    plain, given = resolve(base), resolve({**base, name: OVERRIDES[name]})
    in_model = name in {field.name for field in fields(ModelConfig)}
    expected = (
        replace(plain[0], **{name: OVERRIDES[name]}) if in_model else plain[0],
        plain[1] if in_model else replace(plain[1], **{name: OVERRIDES[name]}),
    )
    assert given == expected


@pytest.mark.parametrize("preset", get_args(PresetName))
@pytest.mark.parametrize("name", DECIDE_DEFAULTS)
def test_what_the_user_gives_overrides_the_preset_though_other_defaults_depend_on_it(preset, name):
    model, train = resolve({"preset": preset, name: OVERRIDES[name]})
    assert (asdict(model) | asdict(train))[name] == OVERRIDES[name]


def test_everything_that_a_preset_decides_can_be_overridden():
    marked = {
        f.name for config in (ModelConfig, TrainConfig) for f in fields(config) if f.metadata and f.metadata["preset"]
    }
    assert set(OVERRIDES) == marked


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_none_is_as_the_preset_says(preset):
    everything = {field.name: None for config in (ModelConfig, TrainConfig) for field in fields(config)}
    assert resolve({**everything, "preset": preset}) == resolve({"preset": preset})


def test_the_reports_protocol_has_no_model_on_top_of_an_ngram():
    with pytest.raises(ConfigError, match=r"^on_top_of is 'ngram', which .*; it needs preset stream"):
        resolve({"preset": "report", "on_top_of": "ngram"})


def test_more_is_dropped_on_top_of_an_ngram():
    plain, on_top = (resolve({"hidden_size": 128, "on_top_of": partner}) for partner in ("nothing", "ngram"))
    assert on_top[0].recurrent_dropout == pytest.approx(plain[0].recurrent_dropout + 0.12)
    assert on_top[0].output_dropout > plain[0].output_dropout


@pytest.mark.parametrize(("hidden", "own_loss"), [(8, 0.0), (32, 0.0), (64, 0.2), (128, 0.4), (192, 0.5), (1024, 0.5)])
def test_the_larger_a_network_on_top_of_an_ngram_the_more_of_the_loss_is_its_own(hidden, own_loss):
    assert resolve({"hidden_size": hidden, "on_top_of": "ngram"})[1].own_loss == own_loss
    assert resolve({"hidden_size": hidden})[1].own_loss == 0


def test_a_loss_of_its_own_needs_an_ngram_below():
    with pytest.raises(ConfigError, match=r"own_loss is 0\.5; it needs on_top_of ngram"):
        resolve({"own_loss": 0.5})


def test_the_reports_text_is_fixed():
    with pytest.raises(ConfigError, match=r"train_chars is 500, but .* is fixed; it needs preset stream"):
        resolve({"preset": "report", "train_chars": 500})


def test_a_part_of_a_text_has_the_defaults_of_a_text_of_that_length():
    part, train = resolve({"train_chars": 20_000}, 156_000)
    whole, same = resolve({}, 20_000)
    assert (part, replace(train, train_chars=0)) == (whole, same)


def test_zero_is_a_value_and_not_as_the_preset_says():
    model, train = resolve({"recurrent_dropout": 0.0, "clip": 0.0, "average": 0.0, "hidden_size": 512})
    assert (model.recurrent_dropout, train.clip, train.average) == (0.0, 0.0, 0.0)


def test_stream_is_the_preset_of_who_says_nothing():
    assert resolve({}) == resolve({"preset": "stream"})
    assert resolve({})[1].preset == "stream"


def test_an_unknown_preset_is_refused_naming_its_field():
    with pytest.raises(ConfigError, match=r"^preset is 'book'; it must be one of stream, best, report"):
        resolve({"preset": "book"})


def test_a_value_out_of_range_is_refused_under_a_preset_too():
    with pytest.raises(ConfigError, match=r"^batch_size is 0"):
        resolve({"preset": "report", "batch_size": 0})


# --- the formula of the presets stream and best ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "train_chars", "passes", "recurrent", "output"),
    [
        ("lstm", 1, 128, 156_000, 26, 0.15, 0.0),  # where the formula is anchored
        ("lstm", 1, 256, 156_000, 26, 0.35, 0.15),  # 4 times the weights
        ("lstm", 1, 256, 624_000, 26, 0.25, 0.0),  # and 4 times the text
        ("lstm", 1, 128, 156_000, 104, 0.21, 0.0),  # 4 times the passes
        ("lstm", 1, 128, 156_000, 1, 0.01, 0.0),
        ("lstm", 1, 192, 156_000, 49, 0.29, 0.06),
        ("lstm", 1, 384, 156_000, 128, 0.45, 0.3),  # no more
        ("lstm", 2, 128, 156_000, 26, 0.31, 0.09),  # 3 times the weights, one of the matrices from layer to layer
        ("lstm", 8, 32, 156_000, 26, 0.14, 0.0),
        ("lstm", 1, 8, 156_000, 26, 0.0, 0.0),  # no less
        ("lstm", 1, 192, 1_000_000, 8, 0.08, 0.0),
        ("gru", 1, 128, 156_000, 26, 0.11, 0.0),
        ("gru", 1, 256, 156_000, 26, 0.15, 0.0),
        ("rnn", 1, 8, 156_000, 26, 0.05, 0.0),
        ("rnn", 2, 512, 156_000, 26, 0.05, 0.0),
    ],
)
def test_dropout_follows_the_weights_the_text_and_the_passes_over_it(
    cell, layers, hidden, train_chars, passes, recurrent, output
):
    shape = {"cell": cell, "num_layers": layers, "hidden_size": hidden}
    model, _ = resolve({**shape, "epochs": passes}, train_chars)
    assert (model.recurrent_dropout, model.output_dropout) == (recurrent, output)


def test_a_budget_in_characters_drops_what_as_many_passes_do():
    by_passes, _ = resolve({"epochs": 30})
    by_chars, _ = resolve({"budget_chars": 30 * TEXT_CHARS})
    assert by_chars == by_passes


@pytest.mark.parametrize(("passes", "rows"), [(25, 16), (26, 32), (54, 32)])
def test_the_fewer_the_passes_over_a_text_the_more_steps_each_has(passes, rows):
    assert resolve({"budget_chars": passes * 100_000}, 100_000)[1].batch_size == rows


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "learning_rate", "batch_size", "residual"),
    [
        ("lstm", 1, 192, 0.03, 32, False),
        ("lstm", 1, 193, 0.02, 32, False),
        ("lstm", 2, 32, 0.02, 32, False),
        ("lstm", 3, 32, 0.02, 32, True),
        ("gru", 1, 32, 0.02, 32, False),
        ("rnn", 1, 32, 0.015, 32, False),
        ("rnn", 8, 32, 0.015, 32, True),
    ],
)
def test_learning_rate_rows_and_residual_connections_follow_the_shape(
    cell, layers, hidden, learning_rate, batch_size, residual
):
    model, train = resolve({"cell": cell, "num_layers": layers, "hidden_size": hidden})
    assert (train.learning_rate, train.batch_size, model.residual) == (learning_rate, batch_size, residual)


def test_best_is_the_stream_protocol_with_a_larger_model_and_budget():
    (model, train), (larger, longer) = resolve({}), resolve({"preset": "best"})
    assert larger.hidden_size > model.hidden_size
    assert longer.budget_chars > train.budget_chars
    shape = {"hidden_size": 64, "epochs": 3}
    assert resolve({"preset": "best", **shape})[0] == resolve(shape)[0]


def test_the_stream_preset_keeps_to_what_torchs_layers_can_do():
    for model in MODELS:
        assert resolve(model)[0].equations == "torch"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3}, "is 60,.*; it needs --epochs auto"),
        ({"budget_chars": 10**6}, "is 60,.*; it needs --budget-chars auto"),
        ({"preset": "report"}, "is 60,.*; it needs --preset stream"),
    ],
)
def test_a_budget_of_seconds_is_refused_beside_what_it_decides(options, message):
    with pytest.raises(ConfigError) as refused:
        resolve({"budget_seconds": 60.0, **options})
    assert re.match(f"--budget-seconds {message}", refused.value.with_names(option_name))


# --- the report's preset ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("implementation", "cell", "layers", "hidden"), REPORT_CONFIGURATIONS)
def test_the_report_preset_trains_each_of_the_reports_models_by_the_books_protocol(
    implementation, cell, layers, hidden
):
    scratch = implementation == "scratch"
    model, train = resolve({"preset": "report", **options_of(implementation, cell, layers, hidden)})
    if scratch:
        rate = 4.0
    elif layers > 1:
        rate = 2.0
    else:
        rate = {"rnn": 1.0, "gru": 4.0, "lstm": 4.0}[cell]
    assert model == ModelConfig(
        cell=cell,
        num_layers=layers,
        hidden_size=hidden,
        implementation=implementation,
        equations="book" if scratch else "torch",
        initialisation="normal" if scratch else "torch",
    )
    assert (train.learning_rate, train.epochs) == (rate, 50 if scratch else 100)
    assert (train.optimizer, train.schedule, train.weight_decay, train.clip) == ("sgd", "constant", 0.0, 1.0)
    assert (train.batch_size, train.sequence_length) == (1024, 32)
    assert (train.average, train.patience, train.max_seconds) == (0.0, 0, 0.0)
    assert train.precision == "fp32"


def test_the_report_has_seventeen_configurations():
    assert len(set(REPORT_CONFIGURATIONS)) == 17


def test_the_report_preset_regularises_nothing():
    for model in MODELS:
        decided = report_preset(model)
        assert all(decided[name] == 0 for name in ("dropout", "output_dropout", "recurrent_dropout"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_given_is_kept(precision):
    for preset in get_args(PresetName):
        assert resolve({"preset": preset, "precision": precision})[1].precision == precision


def test_usage_and_the_docstring_have_the_formula_with_its_constants():
    def share(value: float) -> str:
        return f"{'-' if value < 0 else '+'} {abs(value):g}"

    by_weights, by_text, by_passes = map(share, (DROPOUT_PER_WEIGHTS, DROPOUT_PER_TEXT, DROPOUT_PER_PASSES))
    formula = (
        f"{TEXT_DROPOUT:g} {by_weights} log2(N / {TEXT_WEIGHTS:,}) {by_text} log2(s) "
        f"{by_passes} log2(P / {TEXT_PASSES})"
    )
    output = f"{OUTPUT_DROPOUT_SLOPE:g} (recurrent{{}}dropout - {OUTPUT_DROPOUT_FROM:g})"
    own_loss = f"{OWN_LOSS_PER_UNITS:g} log2(hidden_size / {OWN_LOSS_UNITS})"
    usage, docstring = (ROOT / "docs" / "usage.md").read_text(), stream_preset.__doc__ or ""
    for text, space in ((usage, " "), (docstring, "_")):
        for part in (formula, output.format(space), own_loss, f"{ON_TOP_DROPOUT:g} more", f"{TEXT_CHARS:,}"):
            assert part in text
    assert f"from 0 to {LARGEST_OWN_LOSS:g}" in usage


def test_a_quick_search_is_a_small_study_of_its_own():
    quick = quick_search(SearchConfig())
    assert quick == SearchConfig(**QUICK_SEARCH)
    assert quick.study_name == QUICK_STUDY != SearchConfig().study_name


def test_a_quick_search_keeps_what_was_chosen_and_the_space_of_a_file():
    quick = quick_search(SearchConfig(trials=5, hidden_size="4..8"))
    assert (quick.trials, quick.hidden_size, quick.epochs) == (5, "4..8", QUICK_SEARCH["epochs"])
    quick = quick_search(SearchConfig(space="space.yaml"))
    assert (quick.num_layers, quick.hidden_size) == (SearchConfig().num_layers, SearchConfig().hidden_size)
