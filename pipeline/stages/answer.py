"""The stage ``answer``: train networks on a text and say in a line and four sentences if they are worth their cost.

An answer is identified by its text, its plan (which depends on --minutes) and RECIPE: the same command again resumes
the same run and trains only what is missing. With more --seeds, it trains the additional ones.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, fit_gate, sample_of
from models.language_model import LanguageModel
from models.ngram import BASELINE_ORDERS, KneserNey, ngrams_of
from pipeline.answer import figures
from pipeline.answer.findings import COVERAGE, UNITS, Findings, MeasuredModel, Rivals, segments
from pipeline.answer.plan import Planned, planned
from pipeline.answer.sentences import answer_note, answer_table, sentences_of
from pipeline.answer.systems import (
    adaptive_bits,
    bits_of_systems,
    in_bits,
    network_row,
    ngram_row,
    paired_comparisons,
    rivals,
    system_models,
)
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig, model_identity, train_identity
from pipeline.earlier import GONE
from pipeline.stages.sweep import Sweep, model_loader, models_of
from pipeline.stages.tasks import TrainingTask, train_in_processes
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import MakePool, Outcome
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.step import corpus_keys, corpus_options, step_key, text_to_train
from pipeline.training.differences import compared
from pipeline.training.evaluation import text_costs
from pipeline.training.result import FIGURES
from pipeline.training.timing import generation_ms_per_char

STAGE = "answer"
TABLES_FILE = "answer.txt"  # artifact with all that the command prints
STEP_MACS, CHAR_MACS, SLOW = 900_000_000, 20_000, 3  # of a step: work, and for each character; steps in a slow one
METRICS = {  # test perplexity among the metrics -> system
    "test_perplexity": "network",
    "mixture_test_perplexity": "mixed",
    "on_top_of_ngram_test_perplexity": "on top",
    "ngram_test_perplexity": "n-grams",
}

ResultsBySeed = Sequence[Sequence[Mapping[str, Any]]]  # of the trainings of each network of the plan, by seed


@dataclass(frozen=True)
class AnswerRun:
    """A finished answer: its run, the findings, and the recorded result."""

    run_id: str
    findings: Findings = field(repr=False)
    result: dict[str, Any] = field(repr=False)


def answer(
    config: AnswerConfig,
    corpus_config: CorpusConfig,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> AnswerRun:
    """Train what is missing of the plan, and answer the question from the recorded trainings.

    ``say`` gets messages for the user. Raises InputError for a text that can't be trained on, and what trainings raise.
    """
    corpus = text_to_train(corpus_config, STAGE)
    plan = planned(corpus.train_chars, config.minutes)
    trained = [[each.family, model_identity(each.model), train_identity(asdict(each.train)) | GONE] for each in plan]
    inputs = {"plan": trained, "alphabet": corpus.vocabulary.alphabet, **corpus_keys(corpus)}
    identity = step_key(STAGE, {"recipe": RECIPE["stream"], **inputs})
    refusal = f"the question is being answered for {corpus.label} by another command; wait for it, or stop it"
    options = {**corpus_options(corpus_config, corpus), **asdict(config)}
    sweep = _Answer(f"answer-{corpus.label}", corpus, corpus_config, "stream", options, say, config, plan)
    return sweep.resume_or_run((STAGE, identity), refusal, config.workers, make_pool)


@dataclass
class _Answer(Sweep[AnswerRun]):
    """The trainings of one answer, and the conclusions from them."""

    config: AnswerConfig
    plan: Sequence[Planned]

    stage, last_phase = STAGE, "comparing with n-grams"

    def take_over(self, trained: Sequence[RecordedTraining]) -> None:
        """A training is not repeated if its result and its model are there."""
        timed = 1 + len({each.model.shape for each in self.plan})  # and n-grams, which are fitted and packed, too
        slow = 2 + len(UNITS) * (1 + sum(each.family == "size" for each in self.plan))  # pictures, prunings to a size
        self._steps = 3 * (1 + len(BASELINE_ORDERS)) + timed + 2 + 2 * self.config.seeds + SLOW * slow
        self.work_after = self._steps * (STEP_MACS + CHAR_MACS * len(self.corpus.baseline_text("stream")))
        models = models_of(run.id for run in trained if run.result)
        self._results: dict[tuple[int, int], Mapping[str, Any]] = {}  # by number in the plan, and seed
        for seed in range(self.config.seeds):
            for number, each in enumerate(self.plan):
                task = self.task("answer", number, each.model, replace(each.train, seed=seed), {"family": each.family})
                same = [run for run in trained if run.id in models and task.is_of(run.configuration)]
                if same:
                    self._results[number, seed] = same[-1].result
                else:
                    self.waiting.append(task)

    def train(self) -> None:
        """Train what is missing, the longest trainings first."""
        self.waiting.sort(key=self.work, reverse=True)
        self.train_waiting(counted(len(self.waiting), "training"), len(self._results))

    def record_outcome(self, task: TrainingTask, outcome: Outcome) -> None:
        """Keep a result; any other outcome ends the answer."""
        self._results[task.number, task.train.seed] = self.result_of(task, outcome)

    # --- the end -----------------------------------------------------------------------------------------------------

    def conclude(self, seconds: float) -> AnswerRun:
        """Measure what the trainings have not measured, and record the answer."""
        began, self._share = time.monotonic(), (1 - self.bar.n) / self._steps
        torch.set_num_threads(1)
        seeds = range(self.config.seeds)
        results = [[self._results[number, seed] for seed in seeds] for number in range(len(self.plan))]
        findings = self._findings(results)
        sentences = sentences_of(findings)
        seconds += time.monotonic() - began
        mean = {each.name: findings.mean(each) for each in findings.models}
        result = {
            "run_id": self.run.id,
            "corpus_sha256": self.corpus.corpus_sha256,
            "train_characters": self.corpus.train_chars,
            "seeds": self.config.seeds,
            "minutes": seconds / 60,
            "sentences": sentences,
            **asdict(findings),
            "test_perplexity": {name: asdict(each) for name, each in mean.items()},
            "segments": {unit: [asdict(each) for each in segments(findings, unit)] for unit in UNITS},
            "trainings": [
                {"network": model.name, "seed": seed, **{name: result.get(name) for name in ("run_id", *FIGURES)}}
                for model, of_model in zip(findings.trained, results, strict=True)
                for seed, result in enumerate(of_model)
            ],
        }
        metrics = {f"result/{name}": mean[findings.systems[system].name].mean for name, system in METRICS.items()}
        metrics |= {f"answer/{key}": each.over_both.mean for key, each in findings.compared.items()}
        for name, draw in {"answer": figures.answer_picture, "costs": figures.costs_picture}.items():
            self.run.picture(f"plots/{name}.png", draw(findings), "summary")
            self._did(SLOW)
        self.run.constants(metrics)
        self.run.json(recorded.RESULT_FILE, result)
        self.run.text(TABLES_FILE, answer_table(findings, sentences))
        where = f"Tables: `{TABLES_FILE}`, pictures: `plots/` among the artifacts."
        self.run.note(f"{answer_note(sentences)}\n\n{where} {measured_duration(seconds)}")
        return AnswerRun(self.run.id, findings, result)

    def _did(self, steps: float = 1) -> None:
        """Show that so many more of the steps after the trainings are done."""
        self.bar.show(self.bar.n + steps * self._share)

    def _findings(self, results: ResultsBySeed) -> Findings:
        python_ms, by_counting, trained = self._timed(results)
        (network,) = (each for each in trained if each.family == "text" and each.text_chars == self.corpus.train_chars)
        on_top = [each for each in trained if each.family == "on top"][-1]
        text, vocab_size = self.corpus.baseline_text("stream"), len(self.corpus.vocabulary)
        networks, largest = (
            [model_loader(result["run_id"])() for result in results[trained.index(each)]] for each in (network, on_top)
        )
        adaptive = adaptive_bits(self.corpus, networks, self._did)
        bits = adaptive.bits | bits_of_systems(self.corpus, networks, largest)
        known = {"network": network, "n-grams": by_counting[-1], "on top": on_top}
        systems = system_models(known, bits, adaptive, vocab_size)
        findings = Findings(self.corpus.label, by_counting, trained, (), systems, paired_comparisons(bits), python_ms)

        test, ngrams, found = self.corpus.split("stream", "test"), list(ngrams_of(text, vocab_size, LONGEST)), []
        for each in findings.by_size:
            of_network = results[trained.index(each)]
            loaded = [model_loader(result["run_id"])() for result in of_network]
            by_network = in_bits([text_costs(model, torch.from_numpy(test)) for model in loaded])
            sizes = {"numbers": [each.stored_numbers], "bytes": [result["shipped_bytes"] for result in of_network]}
            for unit in UNITS:
                pruned = rivals(self.corpus, ngrams, unit, sizes[unit])
                by_ngram = in_bits([model.costs(test) for model in pruned])
                (ms_per_char,) = generation_ms_per_char([pruned[0]])
                row = ngram_row(pruned[0], float(2 ** by_ngram[0].mean()), ms_per_char)
                comparison = compared("network against n-grams", by_network, by_ngram, COVERAGE)
                found.append(Rivals(unit, each, row, comparison))
                self._did(SLOW)
        return replace(findings, rivals=tuple(found))

    def _timed(self, results: ResultsBySeed) -> tuple[float, tuple[MeasuredModel, ...], tuple[MeasuredModel, ...]]:
        """Time what writes a character: the smallest network; n-grams of each order, and all; a network of each shape.

        Returns the milliseconds of the smallest network, and the n-gram models and the trained networks.
        """
        text, vocab_size = self.corpus.baseline_text("stream"), len(self.corpus.vocabulary)
        baselines = self.corpus.baselines("stream")["test"]
        scores = (*baselines.singles, baselines.ngram)
        KneserNey(text, vocab_size, 1)  # not timed: reads the text into memory
        ngrams, seconds = [], []
        for score in scores:
            began = time.perf_counter()
            tables = NGramTables(KneserNey(text, vocab_size, score.order))
            ngrams.append(NGramModel(tables, fit_gate(sample_of(text, tables)) if score is baselines.gated else None))
            seconds.append(time.perf_counter() - began)
            self._did()
        shapes = [each.model.shape for each in self.plan]
        loads = {shape: model_loader(by_seed[0]["run_id"]) for shape, by_seed in zip(shapes, results, strict=True)}
        smallest = LanguageModel(ModelConfig(hidden_size=1), vocab_size).eval()
        python_ms, *times = generation_ms_per_char([lambda: smallest, *ngrams, *loads.values()], self._did)
        by_counting = []
        for row in map(ngram_row, ngrams, (2**each.bits_per_char for each in scores), times, seconds):
            by_counting.append(row)
            self._did()
        ms_per_char = dict(zip(loads, times[len(ngrams) :], strict=True))
        trained = (
            network_row(each, of_model, ms_per_char[each.model.shape])
            for each, of_model in zip(self.plan, results, strict=True)
        )
        return python_ms, tuple(by_counting), tuple(trained)
