"""The stage ``answer``: train networks on a text and say in three sentences whether they are worth their cost.

An answer is identified by its text, --minutes and the training code: the same command again resumes the same run and
trains only what is missing. With more --seeds, it trains the additional ones.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.language_model import LanguageModel
from models.mixture import Mixture
from models.ngram import KneserNey
from pipeline.answer import figures
from pipeline.answer.findings import BLOCK_CHARS, CountedModel, Findings, Network
from pipeline.answer.plan import Planned, planned
from pipeline.answer.sentences import answer_note, three_sentences
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig
from pipeline.errors import InputError, TmlmError
from pipeline.stages.train import TrainingTask, train_in_processes
from pipeline.support import machine
from pipeline.support.files import BEST_CHECKPOINT, command_lock
from pipeline.support.progress import SearchProgress, search_progress
from pipeline.support.statistics import PairedComparison, paired
from pipeline.support.wording import UNKNOWN_DURATION, counted, expected_duration, measured_duration
from pipeline.support.workers import KILLS_ALLOWED, Event, MakePool, Pool, run_tasks
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.liveness import close_dead_runs, close_the_dead
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import corpus_keys, corpus_options, corpus_tags, parent_run, record_datasets, step_key
from pipeline.tracking.ui import links
from pipeline.training.evaluation import text_costs
from pipeline.training.loading import load_model
from pipeline.training.memory import check_training_fits, training_bytes, worker_count
from pipeline.training.mixing import costs_of_mixture
from pipeline.training.timing import (
    Calibration,
    TimingTask,
    generation_ms_per_char,
    ngram_ms_per_char,
    queue_seconds,
    shapes_to_time,
    time_all,
)

log = logging.getLogger(__name__)

STAGE = "answer"
CLOSING_SECONDS = 20.0  # expected duration of the comparison with n-grams, after the last training


@dataclass(frozen=True)
class AnswerRun:
    """A finished answer: its run, the findings, the three sentences, and the recorded result."""

    run_id: str
    findings: Findings = field(repr=False)
    sentences: Mapping[str, str]
    result: dict[str, Any] = field(repr=False)


def answer(
    config: AnswerConfig,
    corpus_config: CorpusConfig,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> AnswerRun:
    """Train what is missing of the plan, and answer the question from the recorded trainings.

    ``say`` is called with messages for the user. Raises InputError for a text that can't be trained on, and what a
    training raises.
    """
    corpus = load_corpus(corpus_config)
    options = {"minutes": config.minutes, "alphabet": corpus_config.alphabet}
    identity = step_key(STAGE, {**options, "recipe": RECIPE["stream"], **corpus_keys(corpus)})
    refusal = f"the question is being answered for {corpus.label} by another command; wait for it, or stop it"
    with command_lock(store.root() / "mlruns" / f".answer-{identity}.lock", refusal):
        close_the_dead(store.setup())
        earlier_id = recorded.latest_run({"stage": STAGE, STAGE: identity})
        earlier = recorded.ended_run(earlier_id) if earlier_id else None
        tags = {**corpus_tags(corpus), STAGE: identity}
        with parent_run(STAGE, f"answer-{corpus.label}", tags, earlier) as run:
            return _AnswerDriver(config, corpus_config, corpus, run, say).run_all(make_pool)


class _AnswerDriver:
    """Plans, runs and records the trainings of one answer, and draws the conclusions."""

    bar: SearchProgress

    def __init__(
        self,
        config: AnswerConfig,
        corpus_config: CorpusConfig,
        corpus: Corpus,
        run: TrackedRun,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.corpus_config, self.corpus = config, corpus_config, corpus
        self.run, self.say = run, say
        self.plan = planned(corpus.train_chars, config.minutes)
        self.minutes_expected: float | None = None
        self._results: dict[tuple[int, int], Mapping[str, Any]] = {}  # by number in the plan, and seed
        self._kills: dict[tuple[int, int], int] = {}
        self._calibration: Calibration | None = None

    def run_all(self, make_pool: MakePool) -> AnswerRun:
        """Train what is missing, and draw the conclusions."""
        began = time.monotonic()
        options = asdict(self.config)
        self.run.params({**corpus_options(self.corpus_config), **options})
        self.run.tags({f"latest.{name}": value for name, value in options.items()})  # parameters can't change
        self.run.yaml("environment.yaml", machine.environment())
        record_datasets(self.run, self.corpus, "stream")
        waiting = self._missing()
        workers = self._workers(waiting) if waiting else 1
        with search_progress(self.run.name, workers, CLOSING_SECONDS) as self.bar:
            if waiting:
                self.run.params({"workers": workers})
                with make_pool(workers) as pool:
                    self._estimate(pool, waiting, workers)
                    self._train(pool, waiting)
            self.bar.phase("comparing with n-grams")
            return self._conclude(time.monotonic() - began)

    # --- what is to be trained ---------------------------------------------------------------------------------------

    def _missing(self) -> list[TrainingTask]:
        """The trainings that have no finished run with a model. Keeps the results of the others."""
        finished = [
            (training.configuration, training.result)
            for training in recorded.nested_trainings(self.run.id)
            if training.result and _has_model(training.id)
        ]
        missing = []
        for seed in range(self.config.seeds):
            for number, each in enumerate(self.plan):
                task = self._task(number, each, seed)
                wanted = {"model": asdict(task.model), "train": asdict(task.train)}
                results = [result for configuration, result in finished if wanted.items() <= configuration.items()]
                if results:
                    self._results[number, seed] = results[-1]
                else:
                    missing.append(task)
        return missing

    def _task(self, number: int, each: Planned, seed: int) -> TrainingTask:
        return TrainingTask(
            role="answer",
            number=number,
            corpus=self.corpus_config,
            model=each.model,
            train=replace(each.train, seed=seed),
            study=self.run.id,  # a deleted answer's trainings are not reused
            parent=self.run.id,
            tags={**corpus_tags(self.corpus), "study": self.run.name, "role": "answer", "family": each.family},
        )

    def _workers(self, tasks: Sequence[TrainingTask]) -> int:
        """--workers, or as many as cores and memory allow. Raises InputError if a training does not fit into memory."""
        symbols, largest = len(self.corpus.vocabulary), 0
        start, end = self.corpus.spans("stream")["test"]
        at_once = min(self.config.workers or 1, len(tasks))
        for task in tasks:
            needs = task.model, task.train, symbols, task.train.train_chars or self.corpus.train_chars, end - start
            check_training_fits(*needs, at_once)
            largest = max(largest, training_bytes(*needs))
        return worker_count(self.config.workers, largest)

    # --- training ----------------------------------------------------------------------------------------------------

    def _estimate(self, pool: Pool, tasks: list[TrainingTask], workers: int) -> None:
        """Time some steps, sort the longest trainings first, and report the expected duration and the run's address."""
        self.bar.phase("timing some steps")
        shapes = shapes_to_time([(task.model, task.train) for task in tasks])
        tasks_to_time = [TimingTask(self.corpus_config, *shape) for shape in shapes]
        timings = time_all(pool, tasks_to_time, lambda done, of: self.bar.show(timed=f"{done}/{of}"))
        duration = UNKNOWN_DURATION
        if calibration := Calibration(self.corpus, timings):
            self._calibration = calibration
            tasks.sort(key=self._expected, reverse=True)
            minutes = self.minutes_expected = queue_seconds([self._expected(task) for task in tasks], workers) / 60
            duration = expected_duration(minutes, workers)
        done = f" ({len(self._results)} are done)" if self._results else ""
        self.say(f"{counted(len(tasks), 'training')}{done}: {duration}\n{links.link_to_run(self.run.id)}")

    def _expected(self, task: TrainingTask) -> float:
        """Expected seconds of a training."""
        return 1.0 if self._calibration is None else self._calibration.expected_seconds(task.model, task.train)

    def _train(self, pool: Pool, waiting: list[TrainingTask]) -> None:
        total = len(waiting) + len(self._results)

        def on_end(event: Event) -> None:
            task: TrainingTask = event.task
            if event.kind == "lost":
                self._count_kill(task, event.value.reason)
                waiting.insert(0, task)  # its run is resumed
            elif event.kind == "failed":
                raise event.value
            else:
                self._results[task.number, task.train.seed] = event.value
                self.bar.show(trainings=f"{len(self._results)}/{total}")

        self.bar.phase("")
        self.bar.show(trainings=f"{len(self._results)}/{total}")
        run_tasks(
            pool,
            lambda: waiting.pop(0) if waiting else None,
            on_end,
            self.bar,
            self._expected,
            lambda: sum(map(self._expected, waiting)),
        )

    def _count_kill(self, task: TrainingTask, reason: str) -> None:
        """Count a loss of a training's process. Raises TmlmError after more than KILLS_ALLOWED of them."""
        close_dead_runs()
        key = task.number, task.train.seed
        kills = self._kills[key] = self._kills.get(key, 0) + 1
        what = f"the training of {task.model.shape} (seed {task.train.seed}) is lost: {reason}"
        if kills > KILLS_ALLOWED:
            raise TmlmError(f"{what}, {kills} times; run the same command again to resume it")
        log.warning("%s", what)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _conclude(self, seconds: float) -> AnswerRun:
        """Measure what the trainings have not measured, and record the answer."""
        findings = self._findings()
        sentences = three_sentences(findings)
        result = self._result(findings, sentences, seconds / 60)
        self.run.picture("plots/answer.png", figures.answer_picture(findings), self.config.seeds)
        self.run.picture("plots/costs.png", figures.costs_picture(findings), self.config.seeds)
        self.run.constants(_metrics(findings))
        self.run.json(recorded.RESULT_FILE, result)
        duration = measured_duration(seconds, self.minutes_expected)
        note = answer_note(findings, sentences)
        self.run.note(f"{note}\n\n{duration} Pictures: `plots/` among the artifacts.")
        return AnswerRun(self.run.id, findings, sentences, result)

    def _results_of(self, number: int) -> list[Mapping[str, Any]]:
        """The results of a network, ordered by seed."""
        return [self._results[number, seed] for seed in range(self.config.seeds)]

    def _findings(self) -> Findings:
        torch.set_num_threads(1)
        default = next(number for number, each in enumerate(self.plan) if each.is_default)
        on_top = max(number for number, each in enumerate(self.plan) if each.family == "on top")
        return Findings(
            text=self.corpus.label,
            order=self.corpus.baselines("stream")["val"].ngram_order,
            counted=self._counted(),
            trained=self._trained(),
            alone=self._compare(self._results_of(default)),
            mixed=self._compare(self._results_of(default), is_mixed=True),
            on_top=self._compare(self._results_of(on_top)),
        )

    def _counted(self) -> tuple[CountedModel, ...]:
        """Fit and time the n-grams of all orders."""
        text, symbols = self.corpus.baseline_text("stream"), len(self.corpus.vocabulary)
        scores = (self.corpus.baselines("stream")[split].ngrams for split in ("val", "test"))
        KneserNey(text, symbols, 1)  # not timed: reads the text into memory
        counted = []
        for val, test in zip(*scores, strict=True):
            began = time.perf_counter()
            ngram = KneserNey(text, symbols, val.order)
            seconds = time.perf_counter() - began
            perplexities = 2**val.bits_per_char, 2**test.bits_per_char
            counted.append(CountedModel(val.order, val.entries, *perplexities, seconds, ngram_ms_per_char(ngram)))
        return tuple(counted)

    def _trained(self) -> tuple[Network, ...]:
        """The networks with their results. Those trained on all of the text are timed."""
        timed = [number for number, each in enumerate(self.plan) if each.family != "budget" and _is_whole(each)]
        loads = [partial(_model, self._results[number, 0]["run_id"]) for number in timed]
        ms_per_char = dict(zip(timed, generation_ms_per_char(loads), strict=True))
        return tuple(
            Network(
                family=each.family,
                name=f"{each.model.cell.upper()} {each.model.num_layers}x{each.model.hidden_size}",
                text_chars=each.text_chars,
                read_chars=round(fmean(result["chars_per_second"] * result["train_seconds"] for result in results)),
                stored_numbers=results[0]["stored_numbers"],
                test=tuple(result["test_perplexity"] for result in results),
                mixed=tuple(result["mixture_test_perplexity"] for result in results),
                ngram_test=results[0]["ngram_test_perplexity"],
                train_seconds=fmean(result["train_seconds"] for result in results),
                ms_per_char=ms_per_char.get(number),
            )
            for number, each in enumerate(self.plan)
            for results in [self._results_of(number)]
        )

    def _compare(self, results: Sequence[Mapping[str, Any]], is_mixed: bool = False) -> PairedComparison:
        """Compare networks, or their mixtures, with the best n-gram, character by character on the test text."""
        ngram, test = self.corpus.ngram("stream"), self.corpus.split("stream", "test")
        ids = torch.from_numpy(test)

        def bits(result: Mapping[str, Any]) -> NDArray[np.float64]:
            model = _model(result["run_id"])
            mixture = Mixture(result["mixture_kind"], result["mixture_weight"])
            costs = costs_of_mixture(model, ngram, mixture, ids) if is_mixed else text_costs(model, ids)
            return np.asarray(costs / np.log(2))

        differences = np.array([bits(result) for result in results]) + ngram.log2_probabilities(test)[1:]
        return paired(differences, BLOCK_CHARS)

    def _result(self, findings: Findings, sentences: Mapping[str, str], minutes: float) -> dict[str, Any]:
        """The result that is recorded and printed by --json, with the numbers of every seed."""
        networks = [
            {
                **{name: value for name, value in asdict(network).items() if name not in ("test", "mixed")},
                "train_chars": each.train.train_chars,
                "budget_chars": each.train.budget_chars,
                "test_perplexity": asdict(findings.mean(network)),
                "mixture_test_perplexity": asdict(findings.mean(network, mixed=True)),
                "trainings": [{name: result[name] for name in PER_SEED} for result in self._results_of(number)],
            }
            for number, (each, network) in enumerate(zip(self.plan, findings.trained, strict=True))
        ]
        return {
            "run_id": self.run.id,
            "corpus": self.corpus.label,
            "corpus_sha256": self.corpus.corpus_sha256,
            "train_characters": self.corpus.train_chars,
            "seeds": self.config.seeds,
            "minutes": minutes,
            "minutes_expected": self.minutes_expected,
            "sentences": dict(sentences),
            "ngram_order": findings.order,
            "ngrams": [asdict(each) for each in findings.counted],
            "networks": networks,
            "differences_in_bits_per_char": {
                name: asdict(comparison) | {"verdict": comparison.verdict}
                for name, comparison in findings.comparisons.items()
            },
        }


PER_SEED = (
    "run_id",
    "val_perplexity",
    "test_perplexity",
    "ngram_order",
    "ngram_val_perplexity",
    "ngram_test_perplexity",
    "mixture_kind",
    "mixture_weight",
    "mixture_val_perplexity",
    "mixture_test_perplexity",
    "train_seconds",
    "best_epoch",
    "epochs",
)


def _is_whole(each: Planned) -> bool:
    """Whether a network is trained on all of the text."""
    return not each.train.train_chars


def _model(run_id: str) -> LanguageModel:
    return load_model(recorded.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}"))[0]


def _has_model(run_id: str) -> bool:
    """Whether the model of a training can be loaded: artifacts may be deleted or damaged."""
    try:
        _model(run_id)
    except (InputError, *store.REFUSALS) as error:
        log.warning("The training %s is repeated: %s", run_id, error)
        return False
    return True


def _metrics(findings: Findings) -> dict[str, float]:
    """The metrics of the answer's run."""
    means = {
        "": findings.mean(findings.default).mean,
        "mixture_": findings.mean(findings.default, mixed=True).mean,
        "on_top_of_ngram_": findings.mean(findings.largest_on_top).mean,
        "ngram_": findings.ngram.test_perplexity,
    }
    return {f"result/{prefix}test_perplexity": value for prefix, value in means.items()} | {
        f"answer/{name}_difference_bits": comparison.over_seeds.mean
        for name, comparison in findings.comparisons.items()
    }
