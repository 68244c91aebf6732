"""The estimate: exact where the machine is as regular as the formula, and sane where it is not."""

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.complexity import closed_form
from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import KneserNey
from pipeline.config import CorpusConfig, TrainConfig, resolve
from pipeline.text.batches import data_of
from pipeline.text.corpus import load_corpus
from pipeline.training import timing as timing_module
from pipeline.training.loop import Training
from pipeline.training.timing import (
    EPOCH_SECONDS,
    Calibration,
    Timing,
    configurations_for,
    generation_ms_per_char,
    shapes_to_time,
    time_training,
)


def configuration(cell="lstm", num_layers=1, hidden_size=8, **options) -> tuple[ModelConfig, TrainConfig]:
    """One kind of model for any number of layers: the preset's rows differ, and so does what a step costs."""
    shape = {"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size}
    return resolve({"batch_size": 16, **shape, **options})


@pytest.fixture(scope="module")
def corpus(small_text, tmp_path_factory):
    """A text that is long enough for the report's preset."""
    path = tmp_path_factory.mktemp("text") / "long.txt"
    path.write_text(3 * small_text.read_text())
    return load_corpus(CorpusConfig(str(path)))


def expected(fitted: Calibration, *asked: Any, **options: Any) -> float:
    seconds: float = fitted.expected_seconds(*configuration(*asked, **options), run_seconds=0)
    return seconds


@given(st.lists(st.floats(0, 1e-2), min_size=3, max_size=3), st.integers(1, 6), st.integers(1, 1024))
def test_where_the_formula_holds_other_shapes_are_met_exactly(corpus, coefficients, layers, hidden):
    def seconds(model: ModelConfig) -> float:
        a, b, c = coefficients
        return float(1e-3 + a + b * model.num_layers + 1e-4 * c * closed_form(model, 1).macs_per_char)

    def timing(*shape: int) -> Timing:
        model, train = configuration("lstm", *shape)
        return Timing(model, train, seconds(model), seconds(model) / 2)

    fitted = Calibration(corpus, [timing(*shape) for shape in ((1, 8), (3, 8), (1, 256), (3, 256))])
    asked = timing(layers, hidden)
    alone = Calibration(corpus, [asked])
    assert expected(fitted, "lstm", layers, hidden) == pytest.approx(expected(alone, "lstm", layers, hidden), rel=1e-3)


@given(st.lists(st.floats(1e-3, 1.0), min_size=3, max_size=3))
def test_however_the_timings_scatter_more_is_never_faster(corpus, seconds):
    shapes = ((1, 8), (2, 64), (3, 256))
    timings = [Timing(*configuration("lstm", *shape), each, each) for shape, each in zip(shapes, seconds, strict=True)]
    fitted = Calibration(corpus, timings)
    for layers in (1, 2, 4):
        times = [expected(fitted, "lstm", layers, hidden) for hidden in (4, 8, 64, 200, 512)]
        assert times == sorted(times)


def test_a_kind_that_was_not_timed_is_taken_for_the_slowest_and_a_limit_of_seconds_bounds_it(corpus):
    fitted = Calibration(corpus, [Timing(*configuration(cell), each, each) for cell, each in (("rnn", 1), ("gru", 3))])
    slowest = Calibration(corpus, [Timing(*configuration("gru"), 3, 3)])
    assert expected(fitted, "lstm") >= expected(slowest, "gru") > expected(fitted, "rnn") > 1000
    assert 60 < expected(fitted, "rnn", max_seconds=60.0) < 80


def test_the_smallest_the_median_and_the_largest_of_each_cell_are_timed_the_costly_ones_first():
    drawn = [configuration(cell, 1, hidden) for cell in ("rnn", "lstm") for hidden in (64, 8, 256)]
    drawn += [configuration("rnn", 3, 256), configuration("rnn", 2, 8)]
    chosen = [(model.cell, model.num_layers, model.hidden_size) for model, _ in shapes_to_time(drawn)]
    assert set(chosen[:2]) == {("rnn", 3, 256), ("lstm", 1, 256)}
    assert {shape for shape in chosen if shape[0] == "rnn"} == {("rnn", 3, 256), ("rnn", 1, 64), ("rnn", 1, 8)}


@pytest.mark.parametrize("options", [{"epochs": 3}, {"budget_chars": 1}, {"preset": "report", "epochs": 2}], ids=str)
def test_the_steps_that_are_counted_are_those_that_a_training_makes(corpus, options, monkeypatch):
    model, train = configuration(**options)
    training = Training(LanguageModel(model, len(corpus.vocabulary)), data_of(corpus, train), train)
    monkeypatch.setattr(timing_module, "EPOCH_SECONDS", 1000.0)
    training_seconds = training.epochs * (training.data.steps_per_epoch * 0.5 + 10.0 + 1000.0)
    reading = timing_module.READINGS * 10.0 * len(corpus.split(train.preset, "test")) / training.data.val_chars
    fitted = Calibration(corpus, [Timing(model, train, 0.5, 10.0)])
    assert fitted.expected_seconds(model, train, run_seconds=7.0) == pytest.approx(training_seconds + reading + 7.0)


# --- the timing itself -----------------------------------------------------------------------------------------------


def test_a_step_and_a_validation_are_timed_by_the_clock_and_the_first_steps_are_left_out(corpus):
    times = iter([0.0, 100.0, 200.0, 200.5, 201.0, 201.5, 202.0, 300.0, 303.0])
    timing = time_training(corpus, *configuration(hidden_size=4), clock=lambda: next(times))
    assert (timing.step_seconds, timing.validation_seconds) == (0.5, 3.0)
    assert next(times, None) is None


def test_of_a_text_too_short_for_that_the_steps_there_are_are_timed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the time traveller for so it will be convenient to speak of him " * 20)
    corpus = load_corpus(CorpusConfig(str(text)))
    model, train = configuration(hidden_size=4)
    seconds = iter(np.arange(0.0, 1000.0, 0.01).tolist())
    timing = time_training(corpus, model, train, clock=lambda: next(seconds))
    assert timing.step_seconds == pytest.approx(0.01)


@pytest.mark.parametrize("options", [{"preset": "stream"}, {"on_top_of": "ngram"}])
def test_a_real_machine_takes_some_time_for_both(corpus, options):
    timing = time_training(corpus, *configuration("gru", 2, 8, **options))
    assert timing.step_seconds > 0
    assert timing.validation_seconds > 0


# --- generating ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 3])
def test_networks_and_n_grams_take_turns_with_one_network_in_memory(monkeypatch, order):
    alive: list[weakref.ref[LanguageModel]] = []
    turns: list[str] = []
    read: list[int] = []
    ngram = NGramModel(NGramTables(KneserNey(np.arange(300) % 7 % 5, 5, order)), OrderGate(order))
    distributions = NGramModel.log_probabilities

    def load(hidden_size: int) -> LanguageModel:
        assert not [model for model in alive if model() is not None]
        model = LanguageModel(ModelConfig("gru", 1, hidden_size), 5).eval()
        alive.append(weakref.ref(model))
        turns.append(str(hidden_size))
        return model

    def reading(model, ids, context):
        turns.append("n-gram")
        read.append(context)
        return distributions(model, ids, context)

    monkeypatch.setattr(NGramModel, "log_probabilities", reading)
    times = generation_ms_per_char([lambda: load(4), ngram, lambda: load(8)], chars=4, rounds=2)
    assert turns == ["4", *["n-gram"] * 4, "8"] * 3
    assert read == [min(done + 1, order - 1) for done in range(4)] * 3
    assert len(times) == 3
    assert min(times) > 0


# --- a budget of seconds ---------------------------------------------------------------------------------------------


def test_a_budget_of_seconds_becomes_one_of_characters_that_the_defaults_follow(corpus, monkeypatch):
    timed: list[ModelConfig] = []

    def time_training(corpus, model, train, timed_seconds):
        timed.append(model)
        return Timing(model, train, 0.01, 0.5)

    monkeypatch.setattr(timing_module, "time_training", time_training)
    options = {"num_layers": 2, "hidden_size": 96, "batch_size": 16, "budget_seconds": 20.0, "epochs": None}
    model, train = configurations_for(corpus, options)
    assert len(timed) == 1
    assert train.budget_seconds == 20.0
    steps, epochs = -(-(corpus.train_chars - 1) // (16 * 32)), train.budget_chars / corpus.train_chars
    assert epochs * (0.01 * steps + 0.5 + EPOCH_SECONDS) == pytest.approx(20.0, rel=0.05)
    in_characters = resolve({**options, "budget_seconds": None, "budget_chars": train.budget_chars}, corpus.train_chars)
    assert (model, replace(train, budget_seconds=0.0)) == in_characters
    assert model.recurrent_dropout != timed[0].recurrent_dropout
    monkeypatch.setattr(timing_module, "time_training", None)  # nothing is timed without such a budget
    assert configurations_for(corpus, {"hidden_size": 8}) == resolve({"hidden_size": 8}, corpus.train_chars)
