"""Train one configuration with several seeds, each in a nested run of one parent run: ``tmlm train --seeds N``.

The parent is identified by all but the number of seeds: the same command again resumes it, a larger number adds seeds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from typing import Any

from models.config import ModelConfig, check_range
from pipeline.config import MOST_SEEDS, CorpusConfig, TrainConfig
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.stages.sweep import Sweep
from pipeline.stages.tasks import TrainingTask, train_in_processes
from pipeline.stages.train import ALONE, run_name, training_identity
from pipeline.support.markdown import markdown_table
from pipeline.support.wording import counted, listed
from pipeline.support.workers import MakePool, Outcome
from pipeline.text.corpus import Corpus
from pipeline.tracking import recorded
from pipeline.tracking.recorded import SEEDS, RecordedTraining
from pipeline.tracking.step import Step, corpus_options, step_key
from pipeline.training.metrics import final_metrics
from pipeline.training.result import FIGURES
from pipeline.training.seeds import HEADS, over_seeds, seeds_rows

# figures that all seeds of a configuration share
SHARED = ("ngram_val_perplexity", "ngram_test_perplexity", "macs_per_char", "parameters", "stored_numbers")


def train_seeds(
    corpus: Corpus,
    corpus_config: CorpusConfig,
    model: ModelConfig,
    config: TrainConfig,
    seeds: int,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> Step:
    """Train with the seeds 0 to ``seeds`` - 1 in worker processes; what an earlier command has trained is taken over.

    A training that diverges is not repeated, and the others go on: ``refuse_diverged`` raises an error for it. Raises
    ConfigError for another number of seeds, InputError for another first seed, TrainingDivergedError if all diverge,
    and what a training raises.
    """
    check_range("seeds", seeds, is_whole=True, low=2, high=MOST_SEEDS)
    if config.seed:
        raise InputError(
            f"--seed {config.seed} is one seed, and --seeds {seeds} trains the seeds 0 to {seeds - 1}: leave out one"
        )
    inputs, _ = training_identity(corpus, corpus_config, model, config, {}, ALONE)
    identity = step_key(SEEDS, inputs)
    refusal = f"the seeds of {model.shape} on {corpus.label} are being trained by another command; wait for it"
    name = run_name(corpus, model, config, seeds=SEEDS)
    options = {**corpus_options(corpus_config, corpus), **asdict(model), **asdict(config), "seed": None}
    sweep = _Seeds(name, corpus, corpus_config, config.preset, options, say, model, config, seeds)
    return sweep.resume_or_run((SEEDS, identity), refusal, None, make_pool)


def refuse_diverged(result: Mapping[str, Any], models: Sequence[Any] = ()) -> None:
    """Raise TrainingDivergedError, with the models of the other seeds, if a training has diverged."""
    if result["diverged"]:
        seeds = listed(list(map(str, result["diverged"])))
        error = TrainingDivergedError(f"diverged: seed {seeds}; the others are recorded: try a smaller --learning-rate")
        error.models = models
        raise error


@dataclass
class _Seeds(Sweep[Step]):
    """The trainings with all seeds."""

    model: ModelConfig
    config: TrainConfig
    seeds: int

    stage, last_phase = SEEDS, "recording the result"

    def take_over(self, trained: Sequence[RecordedTraining]) -> None:
        """Neither a seed that has a result nor one that diverged is trained again, if its options can be read."""
        trained = [run for run in trained if run.configuration]
        self._results: dict[int, Mapping[str, Any]] = {run.seed: run.result for run in trained if run.result}
        self._diverged = {run.seed for run in trained if run.has_diverged} - self._results.keys()
        self.waiting = [
            self.task("seed", 0, self.model, replace(self.config, seed=seed), {})
            for seed in range(self.seeds)
            if seed not in self._diverged and seed not in self._results
        ]
        if not self.waiting:
            self.say(f"Nothing is left to train: {counted(self.seeds, 'seed')} of {self.name} are done")

    def train(self) -> None:
        self.train_waiting(counted(len(self.waiting), "seed"), len(self._results))

    def record_outcome(self, task: TrainingTask, outcome: Outcome) -> None:
        """Keep a result, or note that the training diverged. Raises any other error."""
        if isinstance(outcome, TrainingDivergedError):
            self._diverged.add(task.train.seed)
        else:
            self._results[task.train.seed] = self.result_of(task, outcome)

    def conclude(self, seconds: float) -> Step:
        """Record the figures over all seeds, and return those over the seeds that were asked for."""
        known = self._result({*self._results, *self._diverged, self.seeds - 1})
        self.run.constants(final_metrics(known))
        self.run.tags({f"latest.{SEEDS}": known["seeds"], "trained_run": known["trained_run"]})
        self.run.json(recorded.RESULT_FILE, known)
        best = f"The best by validation is the run {known['trained_run']}."
        self.run.note(f"{markdown_table(HEADS, seeds_rows(known))}\n\n{best}")
        return Step(SEEDS, self.run.id, self._result(range(self.seeds)))

    def _result(self, seeds: Collection[int]) -> dict[str, Any]:
        """The flat result over these seeds. Raises TrainingDivergedError if all of them diverged."""
        trained = [{"seed": seed, **self._results[seed]} for seed in sorted(seeds) if seed in self._results]
        if not trained:
            raise TrainingDivergedError(f"all seeds of {self.name} diverged: try a smaller --learning-rate")
        best = min(trained, key=itemgetter("val_perplexity"))
        shown = ("seed", "run_id", *FIGURES)
        return {
            "run_id": self.run.id,
            "name": self.name,
            "corpus": self.corpus.label,
            "corpus_sha256": self.corpus.corpus_sha256,
            "seeds": max(seeds) + 1,
            "diverged": sorted(self._diverged.intersection(seeds)),
            "trained_run": best["run_id"],
            **{name: best[name] for name in SHARED},
            **over_seeds(trained),
            "trainings": [{name: each.get(name) for name in shown} for each in trained],
        }
