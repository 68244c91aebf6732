"""How long trainings will take on this machine, from steps that were timed on it a moment ago.

A few shapes of each kind of model are trained for some steps (``shapes_to_time``, ``time_training``; in as many
processes at once as will train later, for they slow each other). ``Calibration`` lays a curve through them:

    seconds of a step = a + b L + c L H + d L H^2 + e (L - 1) H^2

for L layers of H units: what a step costs whatever it does, what a layer costs, and the multiplications, of which the
first layer, which reads single characters, has fewer. No coefficient is negative, so that more is never faster.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapreplace
from math import sqrt
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import ModelConfig
from models.decoding import Decoding
from models.generation import generate
from models.language_model import LanguageModel
from pipeline.config import CorpusConfig, TrainConfig
from pipeline.errors import TrainingDivergedError
from pipeline.support.workers import WAIT_SECONDS, Pool, raised
from pipeline.text.corpus import Corpus
from pipeline.training.hardware import keep_freed_memory
from pipeline.training.loop import Training, data_for, number_of_epochs

ConfigPair = tuple[ModelConfig, TrainConfig]

UNTIMED_STEPS = 2  # not timed: the first ones fill caches

TIMED_STEPS = 4  # of each shape, at least

TIMED_SECONDS = 0.25  # of each shape, at least

LONG_SECONDS = 3.0  # after which one step is enough

RUN_SECONDS = 1.0  # of a run beside its training: recorded with its files, as measured with small models

EPOCH_SECONDS = 0.03  # of an epoch: checkpoints and the live curve

READINGS = 3.0  # of the test text, in seconds: read once, and samples drawn, kept and written (0.3 to 1.2 s measured)

FRONT_MEMBERS = 2.4  # times the root of the trials: as counted among 10 to 49 random ones of a grid of short trainings


@dataclass(frozen=True)
class Timing:
    """Seconds of a step and of a validation, as they were measured of a configuration."""

    model: ModelConfig
    train: TrainConfig
    step_seconds: float
    validation_seconds: float


class _EnoughError(Exception):
    """So many steps will do."""


def shapes_to_time(configurations: Iterable[ConfigPair]) -> list[ConfigPair]:
    """Those of some configurations that tell most about all of them.

    Of each kind of model, the smallest, the middle and the largest hidden size at the fewest and at the most layers:
    at most six. The costly ones come first, so that several processes come to an end together.
    """
    kinds: dict[tuple, list[ConfigPair]] = defaultdict(list)
    for configuration in configurations:
        kinds[_kind(*configuration)].append(configuration)
    chosen: dict[tuple, ConfigPair] = {}
    for kind, members in kinds.items():
        all_layers = [model.num_layers for model, _ in members]
        for layers in (min(all_layers), max(all_layers)):
            widths = {model.hidden_size: (model, train) for model, train in members if model.num_layers == layers}
            low, high = min(widths), max(widths)
            middle = min(widths, key=lambda width: abs(width - (low + high) / 2))
            chosen |= {(kind, layers, width): widths[width] for width in (low, middle, high)}
    return sorted(chosen.values(), key=lambda each: -each[0].num_layers * each[0].hidden_size ** 2)


def _kind(model: ModelConfig, train: TrainConfig) -> tuple:
    """All but the shape that a step's cost depends on. Rates of learning and of dropping do not count."""
    return (
        model.cell,
        model.implementation,
        model.equations,
        model.embedding_size,
        train.preset,
        train.batch_size,
        train.sequence_length,
        train.optimizer,
        train.precision,
    )


def time_training(
    corpus: Corpus, model: ModelConfig, train: TrainConfig, clock: Callable[[], float] = time.perf_counter
) -> Timing:
    """Train for some steps, validate, and throw the model away.

    Takes TIMED_SECONDS, or a few steps where those take longer, but of very long ones a single one; steps that diverge
    take no less time, and are timed as far as they come. Like a training, it sets the number of threads and the
    allocator of the whole process.
    """
    ids, spans = torch.from_numpy(corpus.ids), corpus.spans(train.preset)
    train_ids, val_ids = (ids[slice(*spans[split])] for split in ("train", "val"))
    training = Training(LanguageModel(model, len(corpus.vocabulary)), train_ids, val_ids, train)
    keep_freed_memory()
    torch.set_num_threads(training.threads)

    def now() -> float:
        if training.device.type != "cpu":
            torch.get_device_module(training.device).synchronize()
        return clock()

    def at_rest() -> None:
        marks.append(now())
        timed = len(marks) - 1 - UNTIMED_STEPS
        if timed >= TIMED_STEPS and marks[-1] - marks[UNTIMED_STEPS] >= TIMED_SECONDS:
            raise _EnoughError
        if timed >= 1 and marks[-1] - marks[UNTIMED_STEPS] >= LONG_SECONDS:
            raise _EnoughError

    marks = [now()]
    with suppress(_EnoughError, TrainingDivergedError):
        training.run_epoch(at_rest=at_rest)
    first = min(UNTIMED_STEPS, len(marks) - 2)  # of a short text, the epoch may have fewer
    step_seconds = (marks[-1] - marks[first]) / (len(marks) - 1 - first)
    began = now()
    training.data.validate(training.eval_model)
    return Timing(model, train, step_seconds, now() - began)


class Calibration:
    """Expected seconds of trainings on a text, by the timings of some on it.

    A kind of model of which none was timed is taken for the slowest of those that were. It is false where nothing was
    timed at all: there are no expectations then, and asking for one raises ValueError.
    """

    def __init__(self, corpus: Corpus, timings: Sequence[Timing]) -> None:
        self._corpus = corpus
        kinds: dict[tuple, list[Timing]] = defaultdict(list)
        for timing in timings:
            kinds[_kind(timing.model, timing.train)].append(timing)
        self._step = {kind: _fit(members, [each.step_seconds for each in members]) for kind, members in kinds.items()}
        self._validation = {
            kind: _fit(members, [each.validation_seconds for each in members]) for kind, members in kinds.items()
        }

    def __bool__(self) -> bool:
        return bool(self._step)

    def step_seconds(self, model: ModelConfig, train: TrainConfig) -> float:
        """Of one training step. ValueError where nothing was timed."""
        return self._seconds(self._step, model, train)

    def validation_seconds(self, model: ModelConfig, train: TrainConfig) -> float:
        """Of one validation. ValueError where nothing was timed."""
        return self._seconds(self._validation, model, train)

    @staticmethod
    def _seconds(curves: Mapping[tuple, NDArray[np.float64]], model: ModelConfig, train: TrainConfig) -> float:
        kind = _kind(model, train)
        if not curves:
            raise ValueError(f"no training was timed, so that nothing is known of {model.shape}")
        return max(float(_columns(model) @ curve) for curve in ([curves[kind]] if kind in curves else curves.values()))

    def expected_seconds(self, model: ModelConfig, train: TrainConfig, run_seconds: float = RUN_SECONDS) -> float:
        """Of a recorded training with all its epochs (patience may end it sooner). ValueError where nothing was timed.

        ``run_seconds`` is what recording takes, whatever the model; reading the test text and sampling come on top.
        """
        timing = Timing(model, train, self.step_seconds(model, train), self.validation_seconds(model, train))
        return expected_seconds(self._corpus, timing, run_seconds)


def expected_seconds(corpus: Corpus, timing: Timing, run_seconds: float = RUN_SECONDS) -> float:
    """Of a recorded training of the configuration that was timed, with all its epochs."""
    train, ids, spans = timing.train, torch.from_numpy(corpus.ids), corpus.spans(timing.train.preset)
    train_ids, val_ids = (ids[slice(*spans[split])] for split in ("train", "val"))
    data = data_for(train_ids, val_ids, train)
    epochs = number_of_epochs(train, data)
    training = epochs * (data.steps_per_epoch * timing.step_seconds + timing.validation_seconds)
    if train.max_seconds:
        training = min(training, train.max_seconds)
    test_start, test_end = spans["test"]
    reading = READINGS * timing.validation_seconds * (test_end - test_start) / data.val_chars
    return training + epochs * EPOCH_SECONDS + reading + run_seconds


def queue_seconds(seconds: Sequence[float], workers: int) -> float:
    """Until the last of some tasks ends, each begun in its turn as a worker becomes free."""
    free = [0.0] * workers
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free)


def _columns(model: ModelConfig) -> NDArray[np.float64]:
    """What the coefficients a, b, c, d, e stand before."""
    layers, hidden = model.num_layers, model.hidden_size
    return np.array([1, layers, layers * hidden, layers * hidden**2, (layers - 1) * hidden**2], dtype=np.float64)


def _fit(timings: Sequence[Timing], seconds: Sequence[float]) -> NDArray[np.float64]:
    """The coefficients, none negative, of least squared relative error."""
    from scipy.optimize import nnls  # 0.3 s: workers, which time but fit nothing, do without

    rows = np.array([_columns(timing.model) for timing in timings]) / np.array(seconds)[:, None]
    scale = np.abs(rows).max(axis=0)
    scale[scale == 0] = 1  # of e, where all have one layer
    solution: NDArray[np.float64] = nnls(rows / scale, np.ones(len(rows)))[0] / scale
    return solution


def front_members(trials: int) -> float:
    """How many trials of so many are expected to be on the front."""
    return min(trials, FRONT_MEMBERS * sqrt(trials))


def search_minutes(trial_seconds: Sequence[float], trials: int, workers: int, confirmations: float) -> float:
    """Expected minutes of a search, roughly: its trials, then its confirmations, as many as are still to be trained.

    ``trial_seconds`` are those of configurations drawn at random from the space (``Calibration.expected_seconds``);
    the trials to come, and the front among them, are taken to cost as much on average. At the end of each phase the
    workers that have nothing more to do wait for the others, which are half through a task on average.
    """
    mean = sum(trial_seconds) / len(trial_seconds)
    tasks = sum(max(1.0, (count + (workers - 1) / 2) / workers) for count in (trials, confirmations) if count > 0)
    return mean * tasks / 60


CHARS, ROUNDS = 100, 5

WARM_UP_CHARS = 10  # that are not timed, after a model was loaded


def generation_ms_per_char(
    loads: Sequence[Callable[[], LanguageModel]],
    chars: int = CHARS,
    rounds: int = ROUNDS,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> list[float]:
    """Wall milliseconds per character of greedy text after one prompt, on one thread: the median of ``rounds``.

    The models take turns (A B C A B C), so that what else the machine does meanwhile falls on all of them. One is in
    memory at a time: each of ``loads`` makes its model anew for each round. ``on_round`` is called after each of them
    with how many of how many rounds of all models are done.
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


@dataclass(frozen=True)
class TimingTask:
    """Some steps of a training, to be timed and thrown away."""

    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig


def time_all(pool: Pool, tasks: Sequence[TimingTask]) -> list[Timing]:
    """Time some steps of each in all workers at once, as they will train; what takes its process down twice is left."""
    waiting, timings = list(tasks), []
    lost: list[TimingTask] = []
    while waiting or pool.running:
        while waiting and pool.idle:
            pool.submit(waiting.pop(0))
        for event in pool.events(WAIT_SECONDS):
            if event.kind == "failed":
                raise raised(event)
            if event.kind == "lost" and event.task not in lost:
                lost.append(event.task)
                waiting.append(event.task)
            if event.kind == "done":
                timings.append(event.value)
    return timings
