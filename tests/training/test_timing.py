"""The estimate: exact where the machine is as regular as the formula, and sane where it is not."""

import weakref
from collections import Counter
from dataclasses import replace
from heapq import heapify, heapreplace
from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.config import ModelConfig
from models.language_model import LanguageModel
from models.ngram import KneserNey
from pipeline.config import CorpusConfig, TrainConfig, resolve
from pipeline.errors import TrainingDivergedError
from pipeline.support.workers import Event
from pipeline.text.corpus import load_corpus
from pipeline.training import timing as timing_module
from pipeline.training.loop import Training
from pipeline.training.timing import (
    EPOCH_SECONDS,
    Calibration,
    Timing,
    TimingTask,
    budget_chars_of,
    configurations_for,
    front_members,
    generation_ms_per_char,
    ngram_ms_per_char,
    search_minutes,
    shapes_to_time,
    time_all,
    time_training,
)
from tests.pools import Inline


def configuration(cell="lstm", num_layers=1, hidden_size=8, **options) -> tuple[ModelConfig, TrainConfig]:
    """One kind of model for any number of layers: the preset's rows differ, and so does what a step costs."""
    shape = {"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size}
    return resolve({"batch_size": 16, **shape, **options})


SHAPES = [*product((1, 3), (8, 132, 256))]


@pytest.fixture(scope="module")
def corpus(small_text):
    return load_corpus(CorpusConfig(str(small_text)))


def calibration(corpus, seconds, **options):
    """Of an LSTM whose step takes ``seconds(layers, hidden)`` and whose validation half of it."""
    timings = [
        Timing(*configuration("lstm", *shape, **options), seconds(*shape), seconds(*shape) / 2) for shape in SHAPES
    ]
    return Calibration(corpus, timings)


@given(st.lists(st.floats(0, 1e-2), min_size=5, max_size=5), st.integers(1, 6), st.integers(1, 1024))
def test_where_the_formula_holds_other_shapes_are_met_exactly(corpus, coefficients, layers, hidden):
    a, b, c, d, e = coefficients

    def seconds(layers, hidden):
        square = (d * layers + e * (layers - 1)) * hidden**2
        return 1e-3 + a + b * layers + 0.01 * c * layers * hidden + 1e-4 * square

    fitted = calibration(corpus, seconds)
    asked = configuration("lstm", layers, hidden)
    assert fitted.step_seconds(*asked) == pytest.approx(seconds(layers, hidden), rel=1e-3)
    assert fitted.validation_seconds(*asked) == pytest.approx(seconds(layers, hidden) / 2, rel=1e-3)


@given(st.lists(st.floats(1e-3, 1.0), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_however_the_timings_scatter_more_is_never_faster_and_nothing_is_free(corpus, seconds):
    measured = dict(zip(SHAPES, seconds, strict=True))
    fitted = calibration(corpus, lambda *shape: measured[shape])

    def step(layers, hidden):
        return fitted.step_seconds(*configuration("lstm", layers, hidden))

    widths = (4, 8, 20, 64, 132, 200, 256, 512)
    for layers in (1, 2, 3, 4):
        steps = [step(layers, hidden) for hidden in widths]
        assert steps[0] > 0
        assert steps == sorted(steps)
    for hidden in widths:
        steps = [step(layers, hidden) for layers in (1, 2, 3, 4)]
        assert steps == sorted(steps)


def test_one_timing_is_kept_to(corpus):
    asked = configuration("gru", 2, 64)
    fitted = Calibration(corpus, [Timing(*asked, 0.02, 0.3)])
    assert fitted.step_seconds(*asked) == pytest.approx(0.02)
    assert fitted.validation_seconds(*asked) == pytest.approx(0.3)


def test_each_cell_has_its_own_curve_and_the_learning_rate_none(corpus):
    timings = [
        Timing(*configuration(cell, *shape), factor * shape[0], 1.0)
        for cell, factor in (("rnn", 1.0), ("gru", 3.0))
        for shape in SHAPES
    ]
    fitted = Calibration(corpus, timings)
    assert fitted.step_seconds(*configuration("rnn", 2, 50, learning_rate=0.2)) == pytest.approx(2.0)
    assert fitted.step_seconds(*configuration("gru", 2, 50)) == pytest.approx(6.0)


def test_a_kind_of_which_none_could_be_timed_is_taken_for_the_slowest_of_the_others(corpus):
    fitted = Calibration(corpus, [Timing(*configuration(cell), each, each) for cell, each in (("rnn", 1), ("gru", 3))])
    assert fitted.step_seconds(*configuration("lstm")) == pytest.approx(3.0)
    assert fitted.expected_seconds(*configuration("lstm")) > fitted.expected_seconds(*configuration("rnn"))


def test_where_nothing_was_timed_nothing_is_expected(corpus):
    nothing = Calibration(corpus, [])
    assert not nothing
    with pytest.raises(ValueError, match="no training was timed, so the time of lstm-1x8"):
        nothing.expected_seconds(*configuration("lstm"))


@pytest.mark.parametrize(
    "options",
    [{"epochs": 3}, {"budget_chars": 200_000}, {"budget_chars": 1}, {"preset": "report", "epochs": 2}],
    ids=str,
)
def test_the_steps_that_are_counted_are_those_that_a_training_makes(tmp_path, options, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("the time traveller for so it will be convenient to speak of him " * 300)
    corpus = load_corpus(CorpusConfig(str(text)))
    model, train = configuration(**options)
    ids = torch.from_numpy(corpus.ids)
    parts = {split: ids[slice(*span)] for split, span in corpus.spans(train.preset).items()}
    training = Training(LanguageModel(model, len(corpus.vocabulary)), parts["train"], parts["val"], train)
    fitted = Calibration(corpus, [Timing(model, train, 0.5, 10.0)])
    monkeypatch.setattr(timing_module, "EPOCH_SECONDS", 1000.0)
    training_seconds = training.epochs * (training.data.steps_per_epoch * 0.5 + 10.0 + 1000.0)
    reading = timing_module.READINGS * 10.0 * len(parts["test"]) / training.data.val_chars
    assert fitted.expected_seconds(model, train, run_seconds=7.0) == pytest.approx(training_seconds + reading + 7.0)


def test_a_limit_of_seconds_bounds_the_training(corpus):
    model, train = configuration(epochs=50)
    fitted = Calibration(corpus, [Timing(model, train, 1.0, 1.0)])
    limited = fitted.expected_seconds(model, replace(train, max_seconds=60.0))
    assert 60 < limited < 70
    assert fitted.expected_seconds(model, train) > 1000


def test_six_shapes_stand_for_a_space_of_one_cell():
    drawn = [configuration(cell, layers, hidden) for cell in ("rnn", "lstm") for layers in (1, 2, 3)
             for hidden in range(8, 257, 4)]  # fmt: skip
    chosen = shapes_to_time(drawn)
    assert sorted((model.cell, model.num_layers, model.hidden_size) for model, _ in chosen) == sorted(
        (cell, *shape) for cell in ("rnn", "lstm") for shape in SHAPES
    )
    assert [chosen[0][0].num_layers, chosen[0][0].hidden_size] == [3, 256]  # the costly ones first


@given(st.lists(st.tuples(st.sampled_from(["rnn", "gru"]), st.integers(1, 4), st.integers(1, 99)), min_size=1))
def test_of_any_configurations_the_chosen_are_some_of_them_and_reach_as_far(shapes):
    drawn = [configuration(*shape) for shape in shapes]
    chosen = shapes_to_time(drawn)
    assert set(chosen) <= set(drawn)
    for cell in {cell for cell, _, _ in shapes}:
        of_all = [model.num_layers for model, _ in drawn if model.cell == cell]
        of_chosen = [model.num_layers for model, _ in chosen if model.cell == cell]
        assert len(of_chosen) <= 6
        assert (min(of_chosen), max(of_chosen)) == (min(of_all), max(of_all))


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


def test_steps_that_diverge_are_timed_as_far_as_they_come(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the time traveller for so it will be convenient to speak of him " * 100)
    corpus = load_corpus(CorpusConfig(str(text)))
    seconds = iter(np.arange(0.0, 10.0, 0.001).tolist())
    model, train = configuration("rnn", hidden_size=4, learning_rate=1000.0, clip=0.0)
    parts = {split: torch.from_numpy(corpus.ids[slice(*span)]) for split, span in corpus.spans("stream").items()}
    with pytest.raises(TrainingDivergedError):
        Training(LanguageModel(model, len(corpus.vocabulary)), parts["train"], parts["val"], train).run_epoch()
    timing = time_training(corpus, model, train, clock=lambda: next(seconds))
    assert timing.step_seconds == pytest.approx(0.001)


@pytest.mark.parametrize("options", [{"preset": "stream"}, {"preset": "report"}, {"on_top_of": "ngram"}])
def test_a_real_machine_takes_some_time_for_both(corpus, options):
    timing = time_training(corpus, *configuration("gru", 2, 8, **options))
    assert timing.step_seconds > 0
    assert timing.validation_seconds > 0


# --- the whole search ------------------------------------------------------------------------------------------------


def simulated_seconds(seconds, count, workers, rng):
    """Tasks drawn at random, each begun as a worker becomes free."""
    free = [0.0] * workers
    heapify(free)
    for task in rng.choice(seconds, count):
        heapreplace(free, free[0] + task)
    return max(free)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_search_ends_about_when_simulated_workers_end(workers):
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(3, 1.0, 200)
    confirmations = round(front_members(40) * 2)
    simulated = [
        simulated_seconds(seconds, 40, workers, rng) + simulated_seconds(seconds, confirmations, workers, rng)
        for _ in range(500)
    ]
    assert 60 * search_minutes(seconds.tolist(), 40, workers, confirmations) == pytest.approx(
        np.mean(simulated), rel=0.1
    )


def test_without_confirmations_it_is_the_trials_and_no_search_is_shorter_than_a_trial():
    assert search_minutes([60.0], 10, 1, confirmations=0) == pytest.approx(10)
    assert search_minutes([60.0], 10, 1, confirmations=7.5) == pytest.approx(10 + 7.5)
    assert search_minutes([60.0], 1, 8, confirmations=0) == pytest.approx(1)
    assert search_minutes([60.0], 0, 2, confirmations=0) == 0


def test_the_front_grows_with_the_root_of_the_trials_and_is_never_more_than_they_are():
    assert front_members(10) == pytest.approx(2.4 * sqrt(10))
    assert front_members(2) == 2


# --- generating ------------------------------------------------------------------------------------------------------


def test_one_model_is_in_memory_at_a_time_and_the_models_take_turns():
    alive: list[weakref.ref[LanguageModel]] = []
    loaded: list[int] = []
    heard: list[tuple[int, int]] = []

    def load(hidden_size: int) -> LanguageModel:
        assert not [model for model in alive if model() is not None]
        model = LanguageModel(ModelConfig("gru", 1, hidden_size), 5).eval()
        alive.append(weakref.ref(model))
        loaded.append(hidden_size)
        return model

    times = generation_ms_per_char(
        [lambda: load(4), lambda: load(8)], chars=3, rounds=2, on_round=lambda done, of: heard.append((done, of))
    )
    assert loaded == [4, 8, 4, 8]
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(times) == 2
    assert min(times) > 0


def test_what_is_slower_takes_longer_and_the_number_of_threads_is_put_back():
    def small() -> LanguageModel:
        return LanguageModel(ModelConfig("rnn", 1, 4), 5).eval()

    def large() -> LanguageModel:
        return LanguageModel(ModelConfig("lstm", 2, 384), 5).eval()

    threads = torch.get_num_threads()
    times = generation_ms_per_char([small, large], chars=10, rounds=3)
    assert times[0] < times[1]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("order", [1, 3])
def test_an_n_gram_is_timed_by_the_characters_that_it_writes(monkeypatch, order):
    ngram = KneserNey(np.arange(300) % 7 % 5, 5, order)
    read: list[int] = []
    distributions = KneserNey.log_probabilities_of_all

    def counting(model, ids, context):
        read.append(context)
        return distributions(model, ids, context)

    monkeypatch.setattr(KneserNey, "log_probabilities_of_all", counting)
    assert ngram_ms_per_char(ngram, chars=4, rounds=2) > 0
    assert read == [min(done + 1, order - 1) for done in range(4)] * 3


def test_of_no_models_there_are_no_times():
    assert generation_ms_per_char([]) == []


# --- a budget of seconds ---------------------------------------------------------------------------------------------


def test_a_budget_of_characters_is_what_is_trained_on_in_the_seconds(corpus):
    model, train = configuration()
    timing = Timing(model, train, step_seconds=0.01, validation_seconds=1.0)
    steps = -(-(corpus.train_chars - 1) // (16 * 32))
    epochs = budget_chars_of(corpus, timing, seconds=50.0) / corpus.train_chars
    assert epochs * (0.01 * steps + 1.0 + EPOCH_SECONDS) == pytest.approx(50.0, rel=0.01)


def test_a_budget_of_seconds_becomes_one_of_characters_that_the_defaults_follow(corpus, monkeypatch):
    timed: list[ModelConfig] = []

    def time_training(corpus, model, train, seconds):
        timed.append(model)
        return Timing(model, train, 0.01, 0.5)

    monkeypatch.setattr(timing_module, "time_training", time_training)
    options = {"num_layers": 2, "hidden_size": 96, "budget_seconds": 20.0, "epochs": None}
    model, train = configurations_for(corpus, options)
    assert len(timed) == 1
    assert train.budget_seconds == 20.0
    in_characters = resolve({**options, "budget_seconds": None, "budget_chars": train.budget_chars}, corpus.train_chars)
    assert (model, replace(train, budget_seconds=0.0)) == in_characters
    assert model.recurrent_dropout != timed[0].recurrent_dropout


def test_without_a_budget_of_seconds_nothing_is_timed(corpus, monkeypatch):
    monkeypatch.setattr(timing_module, "time_training", None)
    assert configurations_for(corpus, {"hidden_size": 8}) == resolve({"hidden_size": 8}, corpus.train_chars)


class Machines(Inline):
    """A pool of machines, each with its slots and the seconds that a step takes there per unit of hidden size."""

    def __init__(self, machines):
        self.machines, self._waiting = machines, []
        self._free: Counter[str] = Counter(self.slots)
        super().__init__(self._free.total())

    @property
    def slots(self):
        return {name: slots for name, (slots, _) in self.machines.items()}

    @property
    def idle(self):
        return self._free.total()

    @property
    def running(self):
        return [(0, task) for task, _ in self._waiting]

    def submit(self, task):
        (name, _), *_ = self._free.most_common(1)
        self._free[name] -= 1
        self._waiting.append((task, name))

    def events(self, timeout_seconds=None):
        (task, name), *self._waiting = self._waiting
        self._free[name] += 1
        seconds = self.machines[name][1] * task.model.hidden_size
        return [Event("done", task, Timing(task.model, task.train, seconds, seconds / 2), 0, name)]


def test_machines_of_different_speed_are_timed_by_the_same_shape_and_estimated_by_what_all_do(corpus):
    shapes = [configuration("lstm", 1, hidden) for hidden in (256, 132, 8)]
    tasks = [TimingTask(CorpusConfig("time-machine"), *shape) for shape in shapes]
    pool = Machines({"fast": (6, 0.001), "slow": (2, 0.004)})  # as fast as 6.5 fast workers, or 8 of 0.001 * 8 / 6.5
    timings = {timing.model.hidden_size: timing for timing in time_all(pool, tasks)}
    assert {hidden: timing.step_seconds for hidden, timing in timings.items()} == {
        hidden: pytest.approx(0.001 * 8 / 6.5 * hidden) for hidden in (256, 132, 8)
    }
    assert timings[8].validation_seconds == pytest.approx(timings[8].step_seconds / 2)
    one = time_all(Machines({"slow": (2, 0.004)}), tasks)
    assert sorted(timing.step_seconds for timing in one) == [pytest.approx(0.004 * hidden) for hidden in (8, 132, 256)]
