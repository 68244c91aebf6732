"""The stage ``search``: estimate the duration, run the trials, confirm the Pareto front and register the picks.

The function that makes the pool of workers is a parameter of ``search``, so that a test can train in its own process.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from math import log10, sqrt
from pathlib import Path
from random import Random
from typing import Any

from threadpoolctl import threadpool_limits

from models.language_model import LanguageModel
from pipeline.config import CorpusConfig, SearchConfig
from pipeline.errors import InputError
from pipeline.search import figures
from pipeline.search.front import (
    FrontEstimate,
    FrontPoint,
    Pick,
    evaluate_front,
    hypervolume,
    hypervolume_by_trial,
    picks,
    unconfirmed,
)
from pipeline.search.space import Space
from pipeline.search.study import attributes
from pipeline.search.study.dashboard import attach_picture
from pipeline.search.study.protocol import check_store
from pipeline.search.study.samplers import draw
from pipeline.search.study.storage import storage_errors, storage_url, study_lock, with_storage
from pipeline.search.study.trials import Proposal, Search
from pipeline.search.summary import search_note
from pipeline.stages.sweep import Sweep, workers_for
from pipeline.stages.tasks import Role, TrainingTask, train_in_processes
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.markdown import plain
from pipeline.support.signals import defer_signals
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import SHARED_KILLS, MakePool, Outcome
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.registry import Claim, Owner, Registration, register_picks
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import CURVES_PLOT, corpus_options, corpus_tags, leave_out_repeats, parent_run
from pipeline.tracking.ui import views
from pipeline.tracking.ui.links import link_to_curves, link_to_run, link_to_search
from pipeline.training.loading import load_model
from pipeline.training.metrics import macs_metrics
from pipeline.training.timing import generation_ms_per_char, queue_seconds

log = logging.getLogger(__name__)

ESTIMATE_DRAWS = 200  # random configurations, whose mean duration is expected of a trial
FRONT_MEMBERS = 2.4  # times the square root of the trials; from 10 to 49 random trials of a grid of short trainings


@dataclass(frozen=True)
class SearchRun:
    """A finished search: its run, the Pareto front, the picks, the counts of trials, registrations, and the result."""

    run_id: str
    evaluated: FrontEstimate = field(repr=False)
    picks: Mapping[str, Pick] = field(repr=False)
    counts: Mapping[str, int]
    registered: Mapping[str, Registration] = field(repr=False)
    result: dict[str, Any] = field(repr=False)


def search(
    config: SearchConfig,
    corpus_config: CorpusConfig,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
    claim: Claim = "free",
) -> SearchRun:
    """Search the space, confirm the Pareto front and register the picks.

    ``claim`` says which aliases the picks get (``register_picks``). ``say`` is called with messages for the user.
    Raises InputError for a search that is not possible with these options.
    """
    config = with_storage(config)
    space = Space.of(config)
    corpus = load_corpus(corpus_config)
    with study_lock(config), storage_errors(config):
        close_the_dead(store.setup())
        study = Search(config, space, corpus, corpus_config)
        check_store(study.study, config, store.identity(), recorded.has_run)
        earlier = recorded.ended_run(study.parent) if study.parent else None
        if left := study.put_back(SHARED_KILLS):  # no other command is running, or its run would be
            say(f"Resuming trials whose process died: {', '.join(map(str, left))}")
        name, tags = f"search-{config.study_name}", {**corpus_tags(corpus), "study": config.study_name}
        with parent_run("search", name, tags, earlier) as run, storage_errors(config):
            if earlier is None:
                check_store(study.study, config, store.identity(), recorded.has_run)  # meanwhile started?
                study.parent = run.id
            view = views.search(config.study_name, corpus.label, run.id)
            store.tag_experiment(run.store.experiment_id, dict([view.tag]))
            sweep = _SearchSweep(study, claim, say)
            sweep.record_settings(run)
            corners = (study.configs_of(corner, config.seed) for corner in space.corners() if study.can_afford(corner))
            return sweep.run_all(run, workers_for(corpus, list(corners), config.workers), make_pool)


class _SearchSweep(Sweep[SearchRun]):
    """The trials of a search, the confirmations of their front, and the conclusion."""

    last_phase, closing_seconds = "recording the result", 8.0

    def __init__(self, study: Search, claim: Claim, say: Callable[[str], None]) -> None:
        config = study.config
        options = {**corpus_options(study.corpus_config), **asdict(config), "storage": store.masked(config.storage)}
        super().__init__(config.study_name, study.corpus, study.corpus_config, options, say)
        self.study, self.claim, self.config, self.results = study, claim, config, study.results
        self.preset = config.preset
        self.study.dashboard_link = _dashboard_link
        self.evaluated: FrontEstimate
        self._identity: str = attributes.of_study(study.study)[attributes.IDENTITY]
        self._mean_seconds = 1.0  # of a training; replaced by the estimate
        self._done = 0  # complete trials

    def record_settings(self, run: TrackedRun) -> None:
        """Record what a later command may change, the space, and the note of the study."""
        run.tags({f"latest.{name}": getattr(self.config, name) for name in recorded.LATEST_OPTIONS})
        run.yaml("space.yaml", self.study.space.as_texts())
        unfinished = f"This search is not finished: {self.config.trials} trials were asked for."
        self.study.describe(link_to_run(run.id), unfinished)

    def train(self) -> None:
        """Run the trials, and confirm their front."""
        with threadpool_limits(1, user_api="blas"):  # the sampler's matrices are small: more threads would only spin
            try:
                if self.config.trials > len(self.results.complete()):
                    self._estimate_search()
                self._train_trials()
                self.evaluated = self._timed(self._confirm())
            except BaseException:
                with defer_signals():  # before the pool closes, which may take all of the time left to stop
                    self.study.put_back()
                raise

    def _estimate_search(self) -> None:
        """Report the expected duration, from random configurations, and where the search is recorded."""
        study, config, random = self.study, self.config, Random(self.config.seed)
        drawn = [draw(study.space, random) for _ in range(ESTIMATE_DRAWS)]
        configurations = [
            study.configs_of(sample, config.seed) for sample in list(filter(study.can_afford, drawn)) or drawn[:1]
        ]
        complete = len(self.results.complete())
        left, done = config.trials - complete, f" ({complete} are done)" if complete else ""

        def minutes() -> float:
            seconds = [self.expected_seconds(*configuration) for configuration in configurations]
            self._mean_seconds = sum(seconds) / len(seconds)
            phases = left, round(self._confirmations_left())
            return sum(queue_seconds([self._mean_seconds] * tasks, self.pool.count) for tasks in phases) / 60

        self.estimate(
            configurations,
            minutes,
            lambda duration: (
                f"{counted(left, 'trial')}{done} and the confirmations of their front: {duration}."
                f"\nStudy {config.study_name} in {store.shown(storage_url(config))}; {link_to_search(self.run.id)}"
            ),
        )

    def _confirmations_left(self) -> float:
        """The expected number of confirmations of the final front, minus those that are done."""
        members = min(self.config.trials, FRONT_MEMBERS * sqrt(self.config.trials))
        return max(0.0, members * (self.config.confirm_seeds - 1) - len(self.results.confirmations))

    def _task(self, role: Role, proposal: Proposal) -> TrainingTask:
        tags = {"trial": str(proposal.number)}
        return self.task(role, proposal.number, proposal.model, proposal.train, tags, study=self._identity)

    def _train_trials(self) -> None:
        """Train until enough trials are complete, the time is up, or the sampler has nothing new to propose."""
        study, limit = self.study, self.config.timeout

        def next_task() -> TrainingTask | None:
            if study.is_exhausted or (limit and time.monotonic() - self.began >= limit):
                return None
            proposal = study.next_task(len(self.pool.running))
            return None if proposal is None else self._task("trial", proposal)

        def seconds_ahead() -> float:
            left = self.config.trials - self._done - len(self.pool.running)
            return (max(0, left) + self._confirmations_left()) * self._mean_seconds

        self.bar.phase()
        self._show()
        self.run_tasks(next_task, seconds_ahead)
        if study.is_exhausted:
            self.say(f"--sampler {self.config.sampler} has nothing new to propose: the whole space has been searched")

    def take(self, task: TrainingTask, outcome: Outcome) -> None:
        """Pass the outcome of a training to the study."""
        if task.role == "trial":
            self.study.take(task.number, outcome)
            self._show()
        else:
            self.study.take_confirmation(task.number, task.train.seed, outcome)

    def count_kills(self, task: TrainingTask, kills: float) -> float:
        """Those of a trial are counted in the study, for later commands."""
        return self.study.count_kills(task.number, kills) if task.role == "trial" else super().count_kills(task, kills)

    def _show(self) -> None:
        """Show the progress so far, and record it after each trial, for the curves on the run's page."""
        before, values = self._done, [trial.values for trial in self.results.complete()]
        self._done = len(values)
        done, best = f"{self._done}/{self.config.trials}", min((perplexity for perplexity, _ in values), default=None)
        self.bar.figures(trials=done, **({} if best is None else {"best": f"{best:.2f}"}))
        if best is None or self._done == before:
            return
        uniform, largest_macs = self.study.reference
        points = [(log10_macs, perplexity) for perplexity, log10_macs in values]
        area = hypervolume(points, (log10(largest_macs), uniform))
        self.run.metrics({"progress/best_val_perplexity": best, "progress/hypervolume": area}, step=self._done)

    def _confirm(self) -> FrontEstimate:
        """Train the members of the front with more seeds until every member, by its mean, has enough of them."""
        while True:
            evaluated = evaluate_front(self.results.candidates(), self.study.reference)
            lacking = self.study.lacking_runs(unconfirmed(evaluated, self.config.confirm_seeds))
            if not lacking:
                return evaluated
            self.train_all([self._task("confirmation", proposal) for proposal in lacking], phase="confirming the front")

    def _timed(self, evaluated: FrontEstimate) -> FrontEstimate:
        """Add the milliseconds per generated character of the front's models."""
        self.bar.phase("timing the front")
        loads: dict[str, Callable[[], LanguageModel]] = {}
        for run_id in (
            run_id for point in evaluated.front for run_id in point.candidate.run_ids if run_id
        ):  # "": diverged
            try:
                path = recorded.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}")
                load_model(path)
            except (InputError, *store.REFUSALS) as error:  # deleted, or recorded in another store
                log.warning("The model of run %s is not timed: %s", run_id, error)
            else:
                loads[run_id] = partial(_model, path)
        times = generation_ms_per_char(list(loads.values()))
        return evaluate_front(self.results.candidates(dict(zip(loads, times, strict=True))), self.study.reference)

    def conclude(self, seconds: float) -> SearchRun:
        """Register the picks; record the pictures, the metrics, the result and the note."""
        self._show()
        config, corpus, evaluated = self.config, self.corpus, self.evaluated
        leave_out_repeats(self.run.id, {run_id for each in self.results.candidates() for run_id in each.run_ids})
        chosen, counts = picks(evaluated), self.results.counts()

        sentences: dict[str, str] = {}  # by run id: a model that is several picks has the sentences of all of them
        for pick in chosen.values():
            sentences[pick.run_id] = f"{sentences.get(pick.run_id, '')} {pick.sentence}".strip()
        runs_of = {name: (pick.run_id, sentences[pick.run_id]) for name, pick in chosen.items()}
        registered = register_picks(runs_of, Owner(config.study_name, corpus.label, corpus.corpus_sha256), self.claim)

        for name, png in self._pictures(evaluated, chosen).items():
            self.run.picture(f"plots/{name}.png", png, step=counts["trials"])
            attach_picture(self.study.study, f"{name}.png", png)

        result = {
            "run_id": self.run.id,
            "study_name": config.study_name,
            "storage": store.shown(storage_url(config)),
            "sampler": config.sampler,
            "corpus": corpus.label,
            "corpus_sha256": corpus.corpus_sha256,
            **counts,
            "minutes": seconds / 60,
            "minutes_expected": self.minutes_expected,
            "hypervolume": evaluated.hypervolume,
            "hypervolume_low": evaluated.hypervolume_low,
            "hypervolume_high": evaluated.hypervolume_high,
            "front": [_row(point) for point in evaluated.front],
            "picks": {
                name: {"run_id": pick.run_id, "sentence": pick.sentence, "aliases": list(registered[name].aliases)}
                for name, pick in chosen.items()
            },
        }
        metrics = {f"search/{name}": float(count) for name, count in counts.items()}
        metrics["search/hypervolume"] = evaluated.hypervolume
        sample = ""  # the longest text of the best model
        if chosen:
            best = chosen["best"].point
            metrics |= {"result/val_perplexity": best.val.mean, "size/parameters": float(best.candidate.parameters)}
            metrics |= {"result/test_perplexity": best.test.mean} if best.test else {}
            metrics |= macs_metrics(best.candidate.macs_per_char)
            texts: list[str] = recorded.read_json(best.candidate.run_id, recorded.RESULT_FILE).get("texts", [])
            sample = max(texts, key=len, default="")
        self.run.constants(metrics)
        self.run.json(recorded.RESULT_FILE, result)

        def name_with_trial(point: FrontPoint) -> str:
            return f"{plain(point.candidate.name)} (trial {self.results.number_of(point.candidate)})"

        def linked(point: FrontPoint) -> str:
            run = f"#/experiments/{self.run.store.experiment_id}/runs/{point.candidate.run_id}"
            return f"[{plain(point.candidate.name)}]({run}?workflowType=machine_learning)"

        dashboard_note = search_note(evaluated, chosen, registered, counts, name_with_trial)
        self.study.describe(link_to_run(self.run.id), dashboard_note)
        note = search_note(evaluated, chosen, registered, counts, linked, sample)
        duration = measured_duration(seconds, self.minutes_expected)
        self.run.note(f"{note}\n\n{duration} Pictures: `plots/` among the artifacts.")
        return SearchRun(self.run.id, evaluated, chosen, counts, registered, result)

    def _pictures(self, evaluated: FrontEstimate, chosen: Mapping[str, Pick]) -> dict[str, bytes]:
        """The pictures of the search as PNGs, by name."""
        trials, about = self.results.plotted_trials(), f"{self.config.study_name} on {self.corpus.label}"
        if self.config.on_top_of == "ngram":
            about += ", networks on top of an n-gram"
        baselines = self.corpus.baselines(self.config.preset)["val"]
        areas = hypervolume_by_trial(trials, self.study.reference)
        return {
            "pareto": figures.pareto_front(
                trials,
                evaluated,
                chosen,
                baselines.ngrams,
                baselines.perplexities(),
                figures.front_title(about, trials, evaluated),
            ),
            "hypervolume": figures.hypervolume_history(areas, evaluated, f"hypervolume of the front: {about}"),
            "importance": figures.parameter_importance(self.results.importances(), f"parameter importance: {about}"),
            "time": figures.perplexity_against_time(evaluated, chosen, f"time to generate a character: {about}"),
        }


def _dashboard_link(run_id: str) -> tuple[str, Path | None]:
    """The address of a training's curves, and the picture of them if it can be read."""
    link = link_to_curves(run_id)
    try:
        picture = recorded.artifact_path(run_id, CURVES_PLOT)
    except store.REFUSALS as error:
        log.warning("The dashboard has no curve of run %s: %s", run_id, store.store_reason(error))
        return link, None
    return link, picture if picture.is_file() else None


def _model(checkpoint: Path) -> LanguageModel:
    return load_model(checkpoint)[0]


def _row(point: FrontPoint) -> dict[str, Any]:
    member = point.candidate
    return {
        "name": member.name,
        "cell": member.cell,
        "num_layers": member.num_layers,
        "hidden_size": member.hidden_size,
        "macs_per_char": member.macs_per_char,
        "parameters": member.parameters,
        "ngram_entries": member.ngram_entries,
        "stored_numbers": member.stored_numbers,
        "val_perplexity": point.val.mean,
        "val_perplexity_low": point.val.low,
        "val_perplexity_high": point.val.high,
        "test_perplexity": point.test.mean if point.test else None,
        "probability": point.probability,
        "run_ids": [run_id for run_id in member.run_ids if run_id],
    }
