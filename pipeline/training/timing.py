"""Time training steps on this machine, and estimate from them how long trainings and a search will take.

Three shapes of each kind of model (``shapes_to_time``) are trained for some steps (``time_training``), in as many
processes at once as will train later, since they slow each other down. ``Calibration`` fits a line through them:

    seconds of a step = a + b layers + c MACs per character

with no negative coefficient, so that a larger model is never expected to be faster.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import heapreplace
from math import sqrt
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.complexity import closed_form
from models.config import ModelConfig
from models.decoding import Decoding
from models.generation import generate
from models.language_model import LanguageModel
from models.ngram import BASELINE_ORDERS, KneserNey
from models.on_top_of_ngram import Ngram, language_model
from pipeline.config import TrainConfig, resolve
from pipeline.errors import TrainingDivergedError
from pipeline.text.batches import StreamData, WindowData, data_for, number_of_epochs
from pipeline.text.corpus import Corpus
from pipeline.training.hardware import keep_freed_memory
from pipeline.training.loop import Callback, Training
from pipeline.training.memory import check_can_train

ConfigPair = tuple[ModelConfig, TrainConfig]

UNTIMED_STEPS, TIMED_STEPS = 2, 4  # of each shape: the first steps fill caches; at least so many are timed

TIMED_SECONDS, BUDGET_TIMED_SECONDS = 0.25, 2.0  # of each shape, at least; for converting budget_seconds

LONG_SECONDS = 3.0  # if one step takes so long, it is enough

FITTED_CHARS = 100_000  # that the n-gram of a timed model is fitted on

FITTING_SECONDS = 5e-6  # per character that the n-grams of a training are fitted on

RUN_SECONDS, EPOCH_SECONDS = 1.0, 0.03  # for recording a run, and each of its epochs

READINGS = 3.0  # evaluation and samples together, in readings of the test text (0.3 to 1.2 s measured)

FRONT_MEMBERS = 2.4  # times the square root of the trials; from 10 to 49 random trials of a grid of short trainings

CHARS, ROUNDS = 100, 5  # generated characters of a timing, and timings of each model

WARM_UP_CHARS = 10  # untimed characters after a model is loaded


@dataclass(frozen=True)
class Timing:
    """Measured seconds of a training step and of a validation of one configuration."""

    model: ModelConfig
    train: TrainConfig
    step_seconds: float
    validation_seconds: float


class _EnoughError(Exception):
    """Enough steps have been timed."""


def _kind(model: ModelConfig, train: TrainConfig) -> tuple:
    """All that a step's cost depends on, except layers and hidden size."""
    of_model = (model.cell, model.implementation, model.equations, model.embedding_size, model.on_top_of)
    of_training = (train.preset, train.batch_size, train.sequence_length, train.optimizer, train.precision)
    return *of_model, *of_training


def _macs(model: ModelConfig) -> int:
    """MACs per character, but for the input and output layers, which depend on the vocabulary."""
    return closed_form(model, 1).macs_per_char


def shapes_to_time(configurations: Iterable[ConfigPair]) -> list[ConfigPair]:
    """Select configurations to time: of each kind of model, those of the least, the median and the most MACs.

    The most expensive come first, so that several processes finish at about the same time.
    """
    kinds: dict[tuple, dict[tuple[int, int], ConfigPair]] = defaultdict(dict)
    for model, train in configurations:
        kinds[_kind(model, train)][model.num_layers, model.hidden_size] = (model, train)
    chosen: list[ConfigPair] = []
    for shapes in kinds.values():
        ordered = sorted(shapes.values(), key=lambda each: _macs(each[0]))
        chosen += [ordered[at] for at in sorted({0, len(ordered) // 2, len(ordered) - 1})]
    return sorted(chosen, key=lambda each: -_macs(each[0]))


def time_training(
    corpus: Corpus,
    model: ModelConfig,
    train: TrainConfig,
    clock: Callable[[], float] = time.perf_counter,
    timed_seconds: float = TIMED_SECONDS,
) -> Timing:
    """Time some training steps and a validation of a temporary model.

    Times steps for ``timed_seconds``, at least TIMED_STEPS of them, or a single one if that takes LONG_SECONDS. A
    divergence ends the timing. Changes torch's threads and the allocator for the whole process.
    """
    train_ids, val_ids = _ids(corpus, train)
    symbols, ngram, prior = len(corpus.vocabulary), None, None
    if model.on_top_of == "ngram":  # fitted on a part of the text, with zeros as prior: a step takes as long
        ngram = Ngram.of(KneserNey(train_ids[:FITTED_CHARS].numpy(), symbols, max(BASELINE_ORDERS)))

        def prior(start: int, end: int) -> torch.Tensor:
            return torch.zeros(1, symbols, dtype=torch.float16).expand(end - start, symbols)

    training = Training(language_model(model, symbols, ngram), train_ids, val_ids, train, prior=prior)
    keep_freed_memory()
    torch.set_num_threads(training.threads)

    def now() -> float:
        if training.device.type != "cpu":
            torch.get_device_module(training.device).synchronize()
        return clock()

    marks = [now()]

    class Marks(Callback):
        def on_step(self, training: Training) -> None:
            marks.append(now())
            steps, spent = len(marks) - 1 - UNTIMED_STEPS, marks[-1] - marks[min(UNTIMED_STEPS, len(marks) - 1)]
            if (steps >= TIMED_STEPS and spent >= timed_seconds) or (steps >= 1 and spent >= LONG_SECONDS):
                raise _EnoughError

    with suppress(_EnoughError, TrainingDivergedError):
        training.run_epoch(Marks())
    first = min(UNTIMED_STEPS, len(marks) - 2)  # an epoch of a short text may have fewer steps
    step_seconds = (marks[-1] - marks[first]) / (len(marks) - 1 - first)
    began = now()
    training.validate()
    return Timing(model, train, step_seconds, now() - began)


def configurations_for(corpus: Corpus, options: Mapping[str, Any]) -> ConfigPair:
    """Resolve options for a text; budget_seconds is converted to --budget-chars by timing some steps.

    The timed model has the defaults for the preset's budget, the resolved one those for the converted budget. Raises
    ConfigError for a value that is not allowed, and InputError as ``check_can_train`` does.
    """
    corpus = corpus.limited(options.get("train_chars") or 0)
    model, train = resolve(options, corpus.train_chars)
    check_can_train(corpus, model, train)
    if not train.budget_seconds:
        return model, train
    timing = time_training(corpus, model, train, timed_seconds=BUDGET_TIMED_SECONDS)
    data = _data_of(corpus, train)
    epoch = data.steps_per_epoch * timing.step_seconds + timing.validation_seconds + EPOCH_SECONDS
    epochs = (train.budget_seconds - _fitting_seconds(corpus, model, train)) / epoch
    budget_chars = max(1, int(float(f"{epochs * data.chars_per_epoch:.3g}")))
    model, budgeted = resolve({**options, "budget_seconds": None, "budget_chars": budget_chars}, corpus.train_chars)
    return model, replace(budgeted, budget_seconds=train.budget_seconds)


def _fitting_seconds(corpus: Corpus, model: ModelConfig, train: TrainConfig) -> float:
    """Expected seconds for fitting the n-grams of a model on top of them; 0 for any other model."""
    if model.on_top_of == "nothing":
        return 0.0
    return FITTING_SECONDS * len(corpus.limited(train.train_chars).baseline_text(train.preset))


def _ids(corpus: Corpus, train: TrainConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """The training and validation ids that a configuration reads."""
    corpus = corpus.limited(train.train_chars)
    ids, spans = torch.from_numpy(corpus.ids), corpus.spans(train.preset)
    return ids[slice(*spans["train"])], ids[slice(*spans["val"])]


def _data_of(corpus: Corpus, train: TrainConfig) -> WindowData | StreamData:
    """The training data as the configuration reads it."""
    return data_for(*_ids(corpus, train), train)


class Calibration:
    """Estimates the seconds of trainings on a text from ``timings`` on that text.

    A kind of model that was not timed is assumed to be as slow as the slowest other kind. Without timings, a
    Calibration is false, and ``expected_seconds`` raises ValueError.
    """

    def __init__(self, corpus: Corpus, timings: Sequence[Timing]) -> None:
        self._corpus = corpus
        kinds: dict[tuple, list[Timing]] = defaultdict(list)
        for timing in timings:
            kinds[_kind(timing.model, timing.train)].append(timing)
        self._steps = {kind: _fit(members, [each.step_seconds for each in members]) for kind, members in kinds.items()}
        self._validations = {
            kind: _fit(members, [each.validation_seconds for each in members]) for kind, members in kinds.items()
        }

    def __bool__(self) -> bool:
        return bool(self._steps)

    def expected_seconds(self, model: ModelConfig, train: TrainConfig, run_seconds: float = RUN_SECONDS) -> float:
        """Expected seconds of a training with all its epochs, including the test text, the samples and recording.

        ``run_seconds`` is the time for recording. Patience, which may end a training sooner, is ignored. Raises
        ValueError without timings.
        """
        if not self._steps:
            raise ValueError(f"no training was timed, so the time of {model.shape} can't be estimated")
        kind, data = _kind(model, train), _data_of(self._corpus, train)
        step, validation = (
            max(float(_columns(model) @ line) for line in ([lines[kind]] if kind in lines else lines.values()))
            for lines in (self._steps, self._validations)
        )
        epochs = number_of_epochs(train, data)
        training = epochs * (data.steps_per_epoch * step + validation) + _fitting_seconds(self._corpus, model, train)
        if train.max_seconds:
            training = min(training, train.max_seconds)
        test_start, test_end = self._corpus.spans(train.preset)["test"]
        reading = READINGS * validation * (test_end - test_start) / data.val_chars
        return training + epochs * EPOCH_SECONDS + reading + run_seconds


def _columns(model: ModelConfig) -> NDArray[np.float64]:
    """What the coefficients a, b and c are multiplied by."""
    return np.array([1, model.num_layers, _macs(model)], dtype=np.float64)


def _fit(timings: Sequence[Timing], seconds: Sequence[float]) -> NDArray[np.float64]:
    """The non-negative coefficients with the least squared relative error."""
    from scipy.optimize import nnls  # imported here: takes 0.3 s, and workers do not need it

    rows = np.array([_columns(timing.model) for timing in timings]) / np.array(seconds)[:, None]
    scale = np.abs(rows).max(axis=0)
    solution: NDArray[np.float64] = nnls(rows / scale, np.ones(len(rows)))[0] / scale
    return solution


def queue_seconds(seconds: Sequence[float], workers: int) -> float:
    """Seconds until the last task ends, if each is started in order as a worker becomes free."""
    free = [0.0] * workers
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free)


def front_members(trials: int) -> float:
    """Expected number of trials on the Pareto front."""
    return min(trials, FRONT_MEMBERS * sqrt(trials))


def search_minutes(trial_seconds: Sequence[float], trials: int, workers: int, confirmations: float) -> float:
    """Rough estimate of a search's minutes: the remaining trials, then the remaining confirmations.

    ``trial_seconds`` are expected seconds of configurations drawn at random from the space; their mean stands for every
    task. At the end of each phase, idle workers wait for the others, which are half-way through a task on average.
    """
    mean = sum(trial_seconds) / len(trial_seconds)
    tasks = sum(max(1.0, (count + (workers - 1) / 2) / workers) for count in (trials, confirmations) if count > 0)
    return mean * tasks / 60


def generation_ms_per_char(
    loads: Sequence[Callable[[], LanguageModel]],
    chars: int = CHARS,
    rounds: int = ROUNDS,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> list[float]:
    """Wall-clock milliseconds per greedily generated character on one thread, for each model: the median of ``rounds``.

    The models take turns (A B C A B C), so that other load on the machine affects all of them. One model is in memory
    at a time: its function in ``loads`` loads it again in each round. ``on_round`` is called with the turns done and
    their total number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in loads]
    turns = [turn for _ in range(rounds) for turn in zip(loads, times, strict=True)]
    try:
        for done, (load, spent) in enumerate(turns, start=1):
            spent.append(_ms_per_char(load(), chars))
            on_round(done, len(turns))
    finally:
        torch.set_num_threads(threads)
    return [median(spent) for spent in times]


def _ms_per_char(model: LanguageModel, chars: int) -> float:
    for _ in generate(model, [[0]], WARM_UP_CHARS, Decoding(method="greedy")):
        pass
    began = time.perf_counter()
    written = sum(1 for _ in generate(model, [[0]], chars, Decoding(method="greedy")))
    return 1e3 * (time.perf_counter() - began) / written


def ngram_ms_per_char(ngram: KneserNey, chars: int = CHARS, rounds: int = ROUNDS) -> float:
    """Wall-clock milliseconds per greedily generated character of an n-gram model: the median of ``rounds``."""
    times = []
    for _ in range(rounds + 1):  # the first round also computes the model's tables
        text, began = [0], time.perf_counter()
        for _ in range(chars):
            context = text[-(ngram.order - 1) :] if ngram.order > 1 else []
            following = ngram.log_probabilities_of_all(np.array([*context, 0]), len(context))
            text.append(int(following.argmax()))
        times.append(1e3 * (time.perf_counter() - began) / chars)
    return median(times[1:])
