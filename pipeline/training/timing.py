"""Time training steps on this machine, and estimate from them how long trainings and a search will take.

Three shapes of each kind of model (``shapes_to_time``) are trained for some steps (``time_training``), in as many
processes at once as will train later, since they slow each other down. ``Calibration`` fits a line through them:

    seconds of a step = a + b layers + c MACs per character

with no negative coefficient, so that a larger model is never expected to be faster.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.complexity import closed_form
from models.config import ModelConfig
from models.decoding import Decoding
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate, one_thread
from models.generation import generate
from models.language_model import LanguageModel
from models.ngram import KneserNey
from models.on_top_of_ngram import language_model
from pipeline.config import TrainConfig, resolve
from pipeline.text.batches import data_of, number_of_epochs
from pipeline.text.corpus import Corpus
from pipeline.training.hardware import keep_freed_memory
from pipeline.training.loop import PartialEpoch, Training
from pipeline.training.memory import check_can_train

ConfigPair = tuple[ModelConfig, TrainConfig]

UNTIMED_STEPS, TIMED_STEPS = 2, 4  # of each shape: the first steps fill caches; at least so many are timed
TIMED_SECONDS, BUDGET_TIMED_SECONDS = 0.25, 2.0  # of each shape, at least; for converting budget_seconds
LONG_SECONDS = 3.0  # if one step takes so long, it is enough
FITTED_CHARS = 100_000  # that the n-grams of a timed model are fitted on
FITTING_SECONDS = 2.5e-5  # per character: the n-grams of a training on top of them, fitted and cross-fitted
RUN_SECONDS, EPOCH_SECONDS = 1.0, 0.03  # for recording a run, and each of its epochs
READINGS = 3.0  # evaluation and samples together, in readings of the test text (0.3 to 1.2 s measured)
CHARS, ROUNDS = 100, 5  # generated characters of a timing, and timings of each model


@dataclass(frozen=True)
class Timing:
    """Measured seconds of a training step and of a validation of one configuration."""

    model: ModelConfig
    train: TrainConfig
    step_seconds: float
    validation_seconds: float


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


class _Repeated:
    """A prior that is the same at every position."""

    def __init__(self, tables: NGramTables) -> None:
        self.evidence = next(tables.about(np.zeros(1, int), 0, 1)).half()
        self.numbers_per_char = self.evidence.numel()

    def __call__(self, start: int, end: int) -> torch.Tensor:
        repeated: torch.Tensor = self.evidence.expand(end - start, -1, -1)
        return repeated


def time_training(
    corpus: Corpus,
    model: ModelConfig,
    train: TrainConfig,
    clock: Callable[[], float] = time.perf_counter,
    timed_seconds: float = TIMED_SECONDS,
) -> Timing:
    """Time some training steps and a validation of a temporary model.

    Times steps for ``timed_seconds``, at least TIMED_STEPS of them, or a single one if that takes LONG_SECONDS. Changes
    torch's threads and the allocator for the whole process.
    """
    symbols, ngrams, prior = len(corpus.vocabulary), None, None
    if model.on_top_of == "ngram":  # fitted on a part of the text, whose evidence is repeated: a step takes as long
        text = corpus.limited(train.train_chars).split(train.preset, "train")[:FITTED_CHARS]
        ngrams = NGramModel(NGramTables(KneserNey(text, symbols, LONGEST)), OrderGate(LONGEST))
        prior = _Repeated(ngrams.tables)

    training = Training(language_model(model, symbols, ngrams), data_of(corpus, train, prior), train)
    keep_freed_memory()
    torch.set_num_threads(training.threads)

    def now() -> float:
        if training.device.type != "cpu":
            torch.get_device_module(training.device).synchronize()
        return clock()

    part, marks = PartialEpoch(), [now()]
    training.model.train()
    for batch in training.data.batches(1, torch.Generator().manual_seed(0)):
        training.train_step(part, *batch)
        marks.append(now())
        steps, spent = len(marks) - 1 - UNTIMED_STEPS, marks[-1] - marks[min(UNTIMED_STEPS, len(marks) - 1)]
        if (steps >= TIMED_STEPS and spent >= timed_seconds) or (steps >= 1 and spent >= LONG_SECONDS):
            break
    first = min(UNTIMED_STEPS, len(marks) - 2)  # an epoch of a short text may have fewer steps
    step_seconds = (marks[-1] - marks[first]) / (len(marks) - 1 - first)
    began = now()
    training.validate()
    return Timing(model, train, step_seconds, now() - began)


def configurations_for(corpus: Corpus, options: Mapping[str, Any]) -> ConfigPair:
    """Resolve options for a text; budget_seconds is converted to budget_chars by timing some steps.

    The timed model has the defaults for the preset's budget, the resolved one those for the converted budget. Raises
    ConfigError for a value that is not allowed, and InputError as ``check_can_train`` does.
    """
    corpus = corpus.limited(options.get("train_chars") or 0)
    model, train = resolve(options, corpus.train_chars)
    check_can_train(corpus, model, train)
    if not train.budget_seconds:
        return model, train
    timing = time_training(corpus, model, train, timed_seconds=BUDGET_TIMED_SECONDS)
    data = data_of(corpus, train)
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


class Calibration:
    """Estimates the seconds of trainings on a text from ``timings`` (at least one) on that text.

    A kind of model that was not timed is assumed to be as slow as the slowest other kind.
    """

    def __init__(self, corpus: Corpus, timings: Sequence[Timing]) -> None:
        self._corpus = corpus
        kinds: dict[tuple, list[Timing]] = defaultdict(list)
        for timing in timings:
            kinds[_kind(timing.model, timing.train)].append(timing)
        self._lines = {kind: _fit(members) for kind, members in kinds.items()}

    def expected_seconds(self, model: ModelConfig, train: TrainConfig, run_seconds: float = RUN_SECONDS) -> float:
        """Expected seconds of a training with all its epochs, including the test text, the samples and recording.

        ``run_seconds`` is the time for recording. Patience, which may end a training sooner, is ignored.
        """
        kind, data = _kind(model, train), data_of(self._corpus, train)
        lines = [self._lines[kind]] if kind in self._lines else self._lines.values()
        step, validation = np.max([pair @ _columns(model) for pair in lines], axis=0).tolist()
        epochs = number_of_epochs(train, data)
        training = epochs * (data.steps_per_epoch * step + validation) + _fitting_seconds(self._corpus, model, train)
        if train.max_seconds:
            training = min(training, train.max_seconds)
        test_start, test_end = self._corpus.spans(train.preset)["test"]
        reading = READINGS * validation * (test_end - test_start) / data.val_chars
        return float(training + epochs * EPOCH_SECONDS + reading + run_seconds)


def _columns(model: ModelConfig) -> NDArray[np.float64]:
    """What the coefficients a, b and c are multiplied by."""
    return np.array([1, model.num_layers, _macs(model)], dtype=np.float64)


def _fit(timings: Sequence[Timing]) -> NDArray[np.float64]:
    """Non-negative coefficients (2, 3) of a step's and a validation's seconds, of the least squared relative error."""
    from scipy.optimize import nnls  # imported here: takes 0.3 s, and workers do not need it

    lines = []
    for seconds in zip(*((timing.step_seconds, timing.validation_seconds) for timing in timings), strict=True):
        rows = np.array([_columns(timing.model) for timing in timings]) / np.array(seconds)[:, None]
        scale = np.abs(rows).max(axis=0)
        lines.append(nnls(rows / scale, np.ones(len(rows)))[0] / scale)
    return np.array(lines)


def queue_seconds(seconds: Sequence[float], workers: int) -> float:
    """Seconds until the last task ends, if each is started in order as a worker becomes free."""
    free = [0.0] * workers
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free)


@one_thread()
def generation_ms_per_char(
    models: Sequence[NGramModel | Callable[[], LanguageModel]], chars: int = CHARS, rounds: int = ROUNDS
) -> list[float]:
    """Wall-clock milliseconds per greedily generated character on one thread, for each model: the median of ``rounds``.

    The models take turns (A B C A B C), so that other load on the machine affects all of them. One network is in memory
    at a time: its function loads it again in each round. A first round is not timed.
    """
    times: list[list[float]] = [[] for _ in models]
    for _ in range(rounds + 1):
        for each, spent in zip(models, times, strict=True):
            spent.append(1e3 * _writing_seconds(each if isinstance(each, NGramModel) else each(), chars) / chars)
    return [median(spent[1:]) for spent in times]


def _writing_seconds(model: NGramModel | LanguageModel, chars: int) -> float:
    began = time.perf_counter()
    if isinstance(model, NGramModel):
        text = [0]
        for _ in range(chars):
            context = text[-(model.order - 1) :] if model.order > 1 else []
            text.append(int(model.log_probabilities([*context, 0], len(context)).argmax()))
    else:
        for _ in generate(model, [[0]], chars, Decoding(method="greedy")):
            pass
    return time.perf_counter() - began
