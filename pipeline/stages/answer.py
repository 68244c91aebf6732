"""The stage ``answer``: train networks on a text and say in three sentences whether they are worth their cost.

An answer is identified by its text, --minutes and RECIPE: the same command again resumes the same run and trains only
what is missing. With more --seeds, it trains the additional ones.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch

from models.gated_ngrams import NGramModel, NGramTables, fit_gate
from models.mixture import Mixture
from models.ngram import KneserNey, ngram_label
from pipeline.answer import figures
from pipeline.answer.findings import BLOCK_CHARS, CountedModel, Findings, Network
from pipeline.answer.plan import planned
from pipeline.answer.sentences import answer_note, three_sentences
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig, model_identity
from pipeline.errors import TmlmError
from pipeline.stages.sweep import Sweep, earlier_command, models_of
from pipeline.stages.tasks import TrainingTask, train_in_processes
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.statistics import PairedComparison, paired
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import KILLS_ALLOWED, Loss, MakePool, Outcome
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.step import corpus_keys, corpus_options, corpus_tags, parent_run, step_key
from pipeline.training.evaluation import text_costs
from pipeline.training.loading import load_model
from pipeline.training.mixing import costs_of_mixture
from pipeline.training.timing import generation_ms_per_char

STAGE = "answer"

PER_SEED = (  # of a training, in the result
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

Results = Sequence[Sequence[Mapping[str, Any]]]  # of the trainings of each network of the plan, by seed


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
        sweep = _Answer(config, corpus_config, corpus, earlier, say)
        workers = sweep.workers(config.workers)
        with parent_run(STAGE, sweep.name, {**corpus_tags(corpus), STAGE: identity}, earlier) as run:
            run.tags({f"latest.{name}": value for name, value in asdict(config).items()})  # parameters can't change
            return sweep.run_all(run, workers, make_pool)


class _Answer(Sweep[AnswerRun]):
    """The trainings of one answer, and the conclusions from them; ``earlier`` is its run if it was started before."""

    preset, last_phase, closing_seconds = "stream", "comparing with n-grams", 20.0

    def __init__(
        self,
        config: AnswerConfig,
        corpus_config: CorpusConfig,
        corpus: Corpus,
        earlier: RecordedRun | None,
        say: Callable[[str], None],
    ) -> None:
        options = {**corpus_options(corpus_config), **asdict(config)}
        super().__init__(f"answer-{corpus.label}", corpus, corpus_config, options, say)
        self.config, self.plan = config, planned(corpus.train_chars, config.minutes)
        self._results: dict[tuple[int, int], Mapping[str, Any]] = {}  # by number in the plan, and seed
        trained = [run for run in (recorded.nested_trainings(earlier.id) if earlier else []) if run.result]
        models = models_of(run.id for run in trained)
        for seed in range(config.seeds):
            for number, each in enumerate(self.plan):
                task = self.task("answer", number, each.model, replace(each.train, seed=seed), {"family": each.family})
                wanted = {"model": model_identity(task.model), "train": asdict(task.train)}
                same = [run for run in trained if run.id in models and wanted.items() <= run.configuration.items()]
                if same:
                    self._results[number, seed] = same[-1].result
                else:
                    self.waiting.append(task)

    def train(self) -> None:
        """Train what is missing, the longest trainings first."""
        done = f" ({len(self._results)} are done)" if self._results else ""
        self.train_waiting(f"{counted(len(self.waiting), 'training')}{done}", len(self._results), longest_first=True)

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
        torch.set_num_threads(1)
        results = [
            [self._results[number, seed] for seed in range(self.config.seeds)] for number in range(len(self.plan))
        ]
        default = next(number for number, each in enumerate(self.plan) if each.is_default)
        on_top = max(number for number, each in enumerate(self.plan) if each.family == "on top")
        findings = Findings(
            text=self.corpus.label,
            counted=self._counted(),
            trained=self._trained(results),
            alone=self._compare(results[default]),
            mixed=self._compare(results[default], is_mixed=True),
            on_top=self._compare(results[on_top]),
        )
        sentences = three_sentences(findings)
        networks = [
            {
                **{name: value for name, value in asdict(network).items() if name not in ("test", "mixed")},
                "train_chars": each.train.train_chars,
                "budget_chars": each.train.budget_chars,
                "test_perplexity": asdict(findings.mean(network)),
                "mixture_test_perplexity": asdict(findings.mean(network, mixed=True)),
                "trainings": [{name: result[name] for name in PER_SEED} for result in of_network],
            }
            for each, network, of_network in zip(self.plan, findings.trained, results, strict=True)
        ]
        result = {
            "run_id": self.run.id,
            "corpus": self.corpus.label,
            "corpus_sha256": self.corpus.corpus_sha256,
            "train_characters": self.corpus.train_chars,
            "seeds": self.config.seeds,
            "minutes": seconds / 60,
            "minutes_expected": self.minutes_expected,
            "sentences": sentences,
            "ngram_order": findings.ngram.order,
            "ngrams": [asdict(each) for each in findings.counted],
            "networks": networks,
            "differences_in_bits_per_char": {
                name: asdict(comparison) | {"verdict": comparison.verdict}
                for name, comparison in findings.comparisons.items()
            },
        }
        metrics = {
            "result/test_perplexity": findings.mean(findings.default).mean,
            "result/mixture_test_perplexity": findings.mean(findings.default, mixed=True).mean,
            "result/on_top_of_ngram_test_perplexity": findings.mean(findings.largest_on_top).mean,
            "result/ngram_test_perplexity": findings.ngram.test_perplexity,
            **{f"answer/{name}_difference_bits": each.over_seeds.mean for name, each in findings.comparisons.items()},
        }
        self.run.picture("plots/answer.png", figures.answer_picture(findings), "summary")
        self.run.picture("plots/costs.png", figures.costs_picture(findings), "summary")
        self.run.constants(metrics)
        self.run.json(recorded.RESULT_FILE, result)
        duration = measured_duration(seconds, self.minutes_expected)
        self.run.note(f"{answer_note(findings, sentences)}\n\n{duration} Pictures: `plots/` among the artifacts.")
        return AnswerRun(self.run.id, findings, sentences, result)

    def _counted(self) -> tuple[CountedModel, ...]:
        """Fit and time the n-grams of each order, and all orders together."""
        text, symbols = self.corpus.baseline_text("stream"), len(self.corpus.vocabulary)
        baselines = self.corpus.baselines("stream")
        KneserNey(text, symbols, 1)  # not timed: reads the text into memory
        counted = []
        vals, tests = ([*baselines[split].singles, baselines[split].ngram] for split in ("val", "test"))
        for val, test in zip(vals, tests, strict=True):
            is_gated = val == baselines["val"].gated
            began = time.perf_counter()
            tables = NGramTables(KneserNey(text, symbols, val.order))
            ngram = NGramModel(tables, fit_gate(text, tables) if is_gated else None)
            seconds = time.perf_counter() - began
            perplexities = 2**val.bits_per_char, 2**test.bits_per_char
            (ms_per_char,) = generation_ms_per_char([ngram])
            name = ngram_label(val.order, baselines["val"].best_order if is_gated else val.order)
            counted.append(CountedModel(val.order, name, val.entries, *perplexities, seconds, ms_per_char))
        return tuple(counted)

    def _trained(self, results: Results) -> tuple[Network, ...]:
        """The networks with their results. Those trained on all of the text are timed."""
        networks = list(zip(self.plan, results, strict=True))
        loads = models_of(
            of_network[0]["run_id"]
            for each, of_network in networks
            if each.family != "budget" and not each.train.train_chars
        )
        ms_per_char = dict(zip(loads, generation_ms_per_char(list(loads.values())), strict=True))
        return tuple(
            Network(
                family=each.family,
                name=f"{each.model.cell.upper()} {each.model.num_layers}x{each.model.hidden_size}",
                text_chars=each.text_chars,
                read_chars=round(fmean(result["chars_per_second"] * result["train_seconds"] for result in of_network)),
                stored_numbers=of_network[0]["stored_numbers"],
                test=tuple(result["test_perplexity"] for result in of_network),
                mixed=tuple(result["mixture_test_perplexity"] for result in of_network),
                ngram_test=of_network[0]["ngram_test_perplexity"],
                train_seconds=fmean(result["train_seconds"] for result in of_network),
                ms_per_char=ms_per_char.get(of_network[0]["run_id"]),
            )
            for each, of_network in networks
        )

    def _compare(self, results: Sequence[Mapping[str, Any]], is_mixed: bool = False) -> PairedComparison:
        """Compare networks, or their mixtures, with the n-gram model, character by character on the test text."""
        ngram, test = self.corpus.ngram("stream"), self.corpus.split("stream", "test")
        ids, bits = torch.from_numpy(test), []
        for result in results:
            model, _, _ = load_model(recorded.artifact_path(result["run_id"], f"checkpoints/{BEST_CHECKPOINT}"))
            mixture = Mixture(result["mixture_kind"], result["mixture_weight"])
            costs = costs_of_mixture(model, ngram, mixture, ids) if is_mixed else text_costs(model, ids)
            bits.append(np.asarray(costs / np.log(2)))
        return paired(np.array(bits) - np.asarray(ngram.costs(test) / np.log(2)), BLOCK_CHARS)
