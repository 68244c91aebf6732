"""The stage ``answer``: train networks on a text and say in three sentences whether they are worth their cost.

An answer is identified by its text, --minutes and RECIPE: the same command again resumes the same run and trains only
what is missing. With more --seeds, it trains the additional ones.
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
from pipeline.answer.plan import planned
from pipeline.answer.sentences import answer_note, three_sentences
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig
from pipeline.errors import InputError, TmlmError
from pipeline.stages.sweep import Sweep, earlier_command, workers_for
from pipeline.stages.tasks import TrainingTask, train_in_processes
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.statistics import PairedComparison, paired
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import KILLS_ALLOWED, Loss, MakePool, Outcome
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.step import corpus_keys, corpus_options, corpus_tags, parent_run, step_key
from pipeline.tracking.ui import links
from pipeline.training.evaluation import text_costs
from pipeline.training.loading import load_model
from pipeline.training.mixing import costs_of_mixture
from pipeline.training.timing import generation_ms_per_char, queue_seconds

log = logging.getLogger(__name__)

STAGE = "answer"


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
    inputs = {"minutes": config.minutes, "alphabet": corpus_config.alphabet, **corpus_keys(corpus)}
    identity = step_key(STAGE, {"recipe": RECIPE["stream"], **inputs})
    refusal = f"the question is being answered for {corpus.label} by another command; wait for it, or stop it"
    with earlier_command(STAGE, STAGE, identity, refusal) as earlier:
        sweep = _Answer(config, corpus_config, corpus, say)
        sweep.find_missing(earlier.id if earlier is not None else "")
        workers = workers_for(corpus, [(task.model, task.train) for task in sweep.waiting], config.workers)
        with parent_run(STAGE, sweep.name, {**corpus_tags(corpus), STAGE: identity}, earlier) as run:
            run.tags({f"latest.{name}": value for name, value in asdict(config).items()})  # parameters can't change
            return sweep.run_all(run, workers if sweep.waiting else 0, make_pool)


class _Answer(Sweep[AnswerRun]):
    """The trainings of one answer, and the conclusions from them."""

    preset, last_phase, closing_seconds = "stream", "comparing with n-grams", 20.0

    def __init__(
        self, config: AnswerConfig, corpus_config: CorpusConfig, corpus: Corpus, say: Callable[[str], None]
    ) -> None:
        options = {**corpus_options(corpus_config), **asdict(config)}
        super().__init__(f"answer-{corpus.label}", corpus, corpus_config, options, say)
        self.config, self.plan = config, planned(corpus.train_chars, config.minutes)
        self.waiting: list[TrainingTask] = []
        self._results: dict[tuple[int, int], Mapping[str, Any]] = {}  # by number in the plan, and seed

    def find_missing(self, earlier: str) -> None:
        """Find the trainings without a finished run with a model in the earlier run; keep the results of the others."""
        finished = [
            (training.configuration, training.result)
            for training in (recorded.nested_trainings(earlier) if earlier else [])
            if training.result and _has_model(training.id)
        ]
        for seed in range(self.config.seeds):
            for number, each in enumerate(self.plan):
                task = self.task("answer", number, each.model, replace(each.train, seed=seed), {"family": each.family})
                wanted = {"model": asdict(task.model), "train": asdict(task.train)}
                results = [result for configuration, result in finished if wanted.items() <= configuration.items()]
                if results:
                    self._results[number, seed] = results[-1]
                else:
                    self.waiting.append(task)

    def train(self) -> None:
        """Train what is missing, the longest trainings first."""
        tasks = self.waiting
        done = f" ({len(self._results)} are done)" if self._results else ""

        def minutes() -> float:
            tasks.sort(key=lambda task: self.expected_seconds(task.model, task.train), reverse=True)
            seconds = [self.expected_seconds(task.model, task.train) for task in tasks]
            return queue_seconds(seconds, self.pool.count) / 60

        self.estimate(
            [(task.model, task.train) for task in tasks],
            minutes,
            lambda duration: f"{counted(len(tasks), 'training')}{done}: {duration}\n{links.link_to_run(self.run.id)}",
        )
        self.train_all(tasks, done=len(self._results))

    def take(self, task: TrainingTask, outcome: Outcome) -> None:
        """Keep a result. Raises the exception of a training, and TmlmError for one that was lost again."""
        if isinstance(outcome, Loss):
            raise TmlmError(
                f"the training of {task.model.shape} (seed {task.train.seed}) is lost: {outcome.reason}, "
                f"{KILLS_ALLOWED + 1} times; run the same command again to resume it"
            )
        if isinstance(outcome, Exception):
            raise outcome
        self._results[task.number, task.train.seed] = outcome

    # --- the end -----------------------------------------------------------------------------------------------------

    def conclude(self, seconds: float) -> AnswerRun:
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
            (ms_per_char,) = generation_ms_per_char([ngram])
            counted.append(CountedModel(val.order, val.entries, *perplexities, seconds, ms_per_char))
        return tuple(counted)

    def _trained(self) -> tuple[Network, ...]:
        """The networks with their results. Those trained on all of the text are timed."""
        timed = [n for n, each in enumerate(self.plan) if each.family != "budget" and not each.train.train_chars]
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
