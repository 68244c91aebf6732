"""The stage ``answer``: train networks on a text and say in a line and four sentences if they are worth their cost.

An answer is identified by its text, its plan (which depends on --scale) and RECIPE: the same command again resumes
the same run and trains only what is missing. With more --seeds, it trains the additional ones.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, cast

import torch

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, fit_gate, sample_of
from models.language_model import LanguageModel
from models.ngram import BASELINE_ORDERS, KneserNey, ngrams_of
from pipeline.answer import pictures, systems
from pipeline.answer.findings import COVERAGE, UNITS, Findings, MeasuredModel, Rivals, segments
from pipeline.answer.plan import DEFAULT_PLAN, AnswerPlan, Planned, planned
from pipeline.answer.sentences import answer_note, answer_table, sentences_of
from pipeline.config import RECIPE, AnswerConfig, model_identity, train_identity
from pipeline.earlier import GONE
from pipeline.results import ANSWER, FIGURES, AnswerResult
from pipeline.stages import sweep
from pipeline.stages.sweep import Sweep, TrainingTask, model_loader
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import MakePool
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of, letters_of_gate
from pipeline.tracking import artifacts, program, recorded
from pipeline.tracking.step import step_key
from pipeline.tracking.text_identity import corpus_keys, corpus_options
from pipeline.training.differences import compared, network_key
from pipeline.training.evaluation import text_costs
from pipeline.training.timing import generation_ms_per_char

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
    result: AnswerResult = field(repr=False)


def answer(
    corpus: Corpus,
    config: AnswerConfig,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = sweep.train_in_processes,
    plan: AnswerPlan = DEFAULT_PLAN,
) -> AnswerRun:
    """Train what is missing of the plan, and answer the question from the recorded trainings.

    ``say`` gets messages for the user. Raises InputError for a text that can't be trained on, and what trainings raise.
    """
    networks = planned(corpus.train_chars, len(corpus.vocabulary), config.scale, plan)
    trained = [
        [each.family, model_identity(each.model), train_identity(asdict(each.train)) | GONE] for each in networks
    ]
    inputs = {"plan": trained, "alphabet": corpus.vocabulary.alphabet, **corpus_keys(corpus)}
    identity = step_key(ANSWER, {"recipe": RECIPE["stream"], **inputs})
    refusal = f"the question is being answered for {corpus.label} by another command; wait for it, or stop it"
    name = f"answer-{corpus.label}"
    with sweep.sweep(name, corpus, sweep.lock_of(ANSWER, identity, refusal)) as this:
        earlier, before = sweep.earlier_run(ANSWER, ANSWER, identity)
        for run in before:  # all are measured
            recorded.refuse_without_weights(run, f"{program.command()} delete {run.parent}, then this command again")
        models = sweep.models_of(run.id for run in before if run.result)
        results: dict[tuple[int, int], Mapping[str, Any]] = {}  # by number in the plan, and seed
        waiting = list[TrainingTask]()
        for seed, (number, each) in product(range(config.seeds), enumerate(networks)):
            task = this.task("answer", number, each.model, replace(each.train, seed=seed), family=each.family)
            if same := [run for run in before if run.id in models and task.is_of(run.configuration)]:
                results[number, seed] = same[-1].result
            else:
                waiting.append(task)
        waiting.sort(key=this.work, reverse=True)  # the longest trainings first
        workers = this.workers_for(waiting, config.workers)

        this.begin(ANSWER, name, {ANSWER: identity}, earlier)
        this.record({**corpus_options(corpus), **asdict(config)}, "stream")
        this.start_workers(workers, make_pool)
        this.announce(say, counted(len(waiting), "training"), len(results))
        steps = _steps_after(networks, config.seeds)
        step_work = STEP_MACS + CHAR_MACS * len(corpus.baseline_text("stream"))
        for task, outcome in this.train_all(waiting, len(results), steps * step_work):
            results[task.number, task.train.seed] = sweep.result_of(task, outcome)
        this.stop_workers("comparing with n-grams")

        share = (1 - this.bar.n) / steps  # of the bar that one of the steps takes

        def did(steps: float) -> None:
            this.bar.show(this.bar.n + steps * share)

        torch.set_num_threads(1)
        by_seed = [[results[number, seed] for seed in range(config.seeds)] for number in range(len(networks))]
        return _conclude(this, _findings(corpus, networks, by_seed, plan, did), by_seed, did)


def _steps_after(networks: Sequence[Planned], seeds: int) -> int:
    """The number of steps after the trainings, of about equal work, in which the bar moves."""
    timed = 1 + len({network.model.shape for network in networks})  # and n-grams, which are fitted and packed, too
    slow = 2 + len(UNITS) * (1 + sum(network.family == "size" for network in networks))  # pictures, prunings to a size
    return 3 * (1 + len(BASELINE_ORDERS)) + timed + 2 + 2 * seeds + SLOW * slow


def _conclude(this: Sweep, findings: Findings, results: ResultsBySeed, did: Callable[[float], None]) -> AnswerRun:
    """Record the answer."""
    run, corpus = this.run, this.corpus
    sentences = sentences_of(findings)
    seconds = this.seconds
    mean = {each.name: findings.mean(each) for each in findings.models}
    result = {
        "run_id": run.id,
        "corpus_sha256": corpus.corpus_sha256,
        "train_characters": corpus.train_chars,
        "seeds": len(results[0]),
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
    for name, draw in {"answer": pictures.answer_picture, "costs": pictures.costs_picture}.items():
        run.picture(f"plots/{name}.png", draw(findings), "summary")
        did(SLOW)
    run.constants(metrics)
    run.json(artifacts.RESULT_FILE, result)
    run.text(TABLES_FILE, answer_table(findings, sentences))
    where = f"Tables: `{TABLES_FILE}`, pictures: `plots/` among the artifacts."
    run.describe(f"{answer_note(sentences)}\n\n{where} {measured_duration(seconds)}")
    return AnswerRun(run.id, findings, cast(AnswerResult, result))


def _findings(
    corpus: Corpus, networks: Sequence[Planned], results: ResultsBySeed, plan: AnswerPlan, did: Callable[[float], None]
) -> Findings:
    """Measure what the trainings have not measured."""
    python_ms, by_counting, trained = _timed(corpus, networks, results, plan, did)
    (network,) = (each for each in trained if each.family == "text" and each.text_chars == corpus.train_chars)
    on_top = [training for training in trained if training.family == "on top"][-1]
    text, vocab_size = corpus.baseline_text("stream"), len(corpus.vocabulary)
    defaults, largest = (
        [model_loader(result["run_id"])() for result in results[trained.index(each)]] for each in (network, on_top)
    )
    adaptive = systems.adaptive_bits(corpus, defaults, did, plan)
    bits = adaptive.bits | systems.bits_of_systems(corpus, defaults, largest)
    known = {"network": network, "n-grams": by_counting[-1], "on top": on_top}
    of_systems = systems.system_models(known, bits, adaptive, vocab_size)
    findings = Findings(corpus.label, by_counting, trained, (), of_systems, systems.paired_comparisons(bits), python_ms)

    test, ngrams, found = corpus.split("stream", "test"), list(ngrams_of(text, vocab_size, LONGEST)), []
    for each in findings.by_size:
        of_network = results[trained.index(each)]
        loaded = [model_loader(result["run_id"])() for result in of_network]
        by_network = systems.in_bits([text_costs(model, torch.from_numpy(test)) for model in loaded])
        sizes = {"numbers": [each.stored_numbers], "bytes": [result["shipped_bytes"] for result in of_network]}
        for unit in UNITS:
            pruned = systems.rivals(corpus, ngrams, unit, sizes[unit], plan.pruned_orders)
            by_ngram = systems.in_bits([model.costs(test) for model in pruned])
            (ms_per_char,) = generation_ms_per_char([pruned[0]], chars=plan.timed_chars, rounds=plan.timings)
            row = systems.ngram_row(pruned[0], float(2 ** by_ngram[0].mean()), ms_per_char)
            comparison = compared(network_key(each.shape), by_network, by_ngram, COVERAGE)
            found.append(Rivals(unit, each, row, comparison))
            did(SLOW)
    return replace(findings, rivals=tuple(found))


def _timed(
    corpus: Corpus, networks: Sequence[Planned], results: ResultsBySeed, plan: AnswerPlan, did: Callable[[float], None]
) -> tuple[float, tuple[MeasuredModel, ...], tuple[MeasuredModel, ...]]:
    """Time what writes a character: the smallest network; n-grams of each order, and all; a network of each shape.

    Returns the milliseconds of the smallest network, and the n-gram models and the trained networks.
    """
    text, vocab_size = corpus.baseline_text("stream"), len(corpus.vocabulary)
    baselines = baselines_of(corpus, "stream")["test"]
    scores = (*baselines.singles, baselines.ngram)
    KneserNey(text, vocab_size, 1)  # not timed: reads the text into memory
    ngrams, seconds = [], []
    for score in scores:
        began = time.perf_counter()
        tables = NGramTables(KneserNey(text, vocab_size, score.order))
        is_gated = score is baselines.gated
        gate = fit_gate(sample_of(text, tables), letters_of_gate(corpus, "stream")) if is_gated else None
        ngrams.append(NGramModel(tables, gate))
        seconds.append(time.perf_counter() - began)
        did(1)
    shapes = [network.model.shape for network in networks]
    loads = {shape: model_loader(by_seed[0]["run_id"]) for shape, by_seed in zip(shapes, results, strict=True)}
    smallest = LanguageModel(ModelConfig(hidden_size=1), vocab_size).eval()
    python_ms, *times = generation_ms_per_char(
        [lambda: smallest, *ngrams, *loads.values()], did, plan.timed_chars, plan.timings
    )
    by_counting = []
    for row in map(systems.ngram_row, ngrams, (2**each.bits_per_char for each in scores), times, seconds):
        by_counting.append(row)
        did(1)
    ms_per_char = dict(zip(loads, times[len(ngrams) :], strict=True))
    trained = (
        systems.network_row(network, of_model, ms_per_char[network.model.shape])
        for network, of_model in zip(networks, results, strict=True)
    )
    return python_ms, tuple(by_counting), tuple(trained)
