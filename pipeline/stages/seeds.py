"""Train one configuration with several seeds, each in a nested run of one parent run: ``tmlm train --seeds N``.

The parent is identified by all but the number of seeds: the same command again resumes it, a larger number adds seeds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from operator import itemgetter
from typing import Any, cast

from models.config import ModelConfig, check_range
from pipeline.config import MOST_SEEDS, TrainConfig
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.results import FIGURES, SEEDS, SeedsResult, measured_in
from pipeline.stages.seed_means import HEADS, interval_metrics, over_seeds, seeds_rows
from pipeline.stages.sweep import earlier_run, lock_of, result_of, sweep, train_in_processes
from pipeline.stages.train import ALONE, run_name, training_identity
from pipeline.support.markdown import markdown_table
from pipeline.support.wording import counted, listed
from pipeline.support.workers import MakePool
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts
from pipeline.tracking.step import Step, step_key
from pipeline.tracking.text_identity import corpus_options
from pipeline.training.metrics import final_metrics

SHARED = measured_in(SeedsResult)  # figures that all seeds of a configuration share


def train_seeds(
    corpus: Corpus,
    model: ModelConfig,
    config: TrainConfig,
    seeds: int,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
    tags: Mapping[str, str] = ALONE.tags,
) -> Step[SeedsResult]:
    """Train with the seeds 0 to ``seeds`` - 1 in worker processes; what an earlier command has trained is taken over.

    ``tags`` are further ones of the parent. A training that diverges is not repeated, and the others go on:
    ``refuse_diverged`` raises an error for it. Raises ConfigError for another number of seeds, InputError for another
    first seed, TrainingDivergedError if all diverge, and what a training raises.
    """
    check_range("seeds", seeds, is_whole=True, low=2, high=MOST_SEEDS)
    if config.seed:
        raise InputError(
            f"--seed {config.seed} is one seed, and --seeds {seeds} trains the seeds 0 to {seeds - 1}: leave out one"
        )
    inputs, _ = training_identity(corpus, model, config, {}, ALONE)
    identity = step_key(SEEDS, inputs)
    refusal = f"the seeds of {model.shape} on {corpus.label} are being trained by another command; wait for it"
    name = run_name(corpus, model, config, seeds=SEEDS)
    with sweep(name, corpus, lock_of(SEEDS, identity, refusal)) as this:
        earlier, trained = earlier_run(SEEDS, SEEDS, identity)
        trained = [run for run in trained if run.configuration]  # the others can't be read, and are trained again
        results: dict[int, Mapping[str, Any]] = {run.seed: run.result for run in trained if run.result}
        diverged = {run.seed for run in trained if run.has_diverged} - results.keys()
        missing = [seed for seed in range(seeds) if seed not in diverged and seed not in results]
        waiting = [this.task("seed", 0, model, replace(config, seed=seed)) for seed in missing]
        if not waiting:
            say(f"Nothing is left to train: {counted(seeds, 'seed')} of {name} are done")
        workers = this.workers_for(waiting, None)

        run = this.begin(SEEDS, name, {SEEDS: identity, **tags}, earlier)
        options = {**corpus_options(corpus), **asdict(model), **asdict(config), "seed": None}
        this.record(options, config.preset)
        this.start_workers(workers, make_pool)
        this.announce(say, counted(len(waiting), "seed"), len(results))
        for task, outcome in this.train_all(waiting, len(results)):
            if isinstance(outcome, TrainingDivergedError):
                diverged.add(task.train.seed)
            else:
                results[task.train.seed] = result_of(task, outcome)
        this.stop_workers("recording the result")

        about = {"run_id": run.id, "name": name, "corpus": corpus.label, "corpus_sha256": corpus.corpus_sha256}
        known = _result(about, results, diverged, {*results, *diverged, seeds - 1})
        run.constants(final_metrics(known) | interval_metrics(known))
        run.tags({f"latest.{SEEDS}": known["seeds"], "trained_run": known["trained_run"]})
        run.json(artifacts.RESULT_FILE, known)
        best = f"The best by validation is the run {known['trained_run']}."
        run.describe(f"{markdown_table(HEADS, seeds_rows(known))}\n\n{best}")
        return Step(SEEDS, run.id, _result(about, results, diverged, range(seeds)))


def refuse_diverged(result: Mapping[str, Any], models: Sequence[Any] = ()) -> None:
    """Raise TrainingDivergedError, with the models of the other seeds, if a training has diverged."""
    if result["diverged"]:
        seeds = listed(list(map(str, result["diverged"])))
        error = TrainingDivergedError(f"diverged: seed {seeds}; the others are recorded: try a smaller --learning-rate")
        error.models = models
        raise error


def _result(
    about: Mapping[str, str], results: Mapping[int, Any], diverged: Collection[int], seeds: Collection[int]
) -> SeedsResult:
    """The flat result over these seeds, and ``about`` its run. Raises TrainingDivergedError if all of them diverged."""
    trained = [{"seed": seed, **results[seed]} for seed in sorted(seeds) if seed in results]
    if not trained:
        raise TrainingDivergedError(f"all seeds of {about['name']} diverged: try a smaller --learning-rate")
    best = min(trained, key=itemgetter("val_perplexity"))
    shown = ("seed", "run_id", *FIGURES)
    result = {
        **about,
        "seeds": max(seeds) + 1,
        "diverged": sorted({*diverged}.intersection(seeds)),
        "trained_run": best["run_id"],
        **{shared: best[shared] for shared in SHARED},
        **over_seeds(trained),
        "trainings": [{figure: training.get(figure) for figure in shown} for training in trained],
    }
    return cast(SeedsResult, result)
