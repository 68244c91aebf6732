"""The search as a tracked run: the estimate, the trials, the confirmations, the picks and what is shown of them.

``search`` is handed who trains (a pool of workers), so that a test uses a formula in place of training.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from models.language_model import LanguageModel
from pipeline.config import CorpusConfig, SearchConfig
from pipeline.errors import InputError
from pipeline.report.table import report_table
from pipeline.search import figures
from pipeline.search.front import FrontEstimate, Pick, evaluate_front, hypervolume_by_trial, picks, unconfirmed
from pipeline.search.pruning import PruningRule, PruningStop
from pipeline.search.space import Space, configs_of
from pipeline.search.study.storage import storage_errors, storage_url, study_lock, with_storage
from pipeline.search.study.trials import Lost, Outcome, Proposal, Search, draw
from pipeline.search.summary import search_note
from pipeline.stages.train import Role, TrainingTask, train_in_processes
from pipeline.support import machine
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.progress import SearchProgress, search_progress
from pipeline.support.signals import defer_signals, name_of, signal_of
from pipeline.support.workers import Event, MakePool, Pool, raised, run_tasks
from pipeline.text.corpus import load_corpus
from pipeline.tracking import records, runs, store
from pipeline.tracking.links import link_to_run, links_to
from pipeline.tracking.liveness import close_dead_runs, close_the_dead
from pipeline.tracking.records import RecordedRun
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import CURVES_PLOT, corpus_options, corpus_tags, parent_run, record_datasets
from pipeline.training.checkpoints import load_model
from pipeline.training.hardware import training_bytes, worker_count
from pipeline.training.timing import (
    Calibration,
    TimingTask,
    front_members,
    generation_ms_per_char,
    search_minutes,
    shapes_to_time,
    time_all,
)

log = logging.getLogger(__name__)

REGISTERED_MODEL = "time-machine-lm"

ESTIMATE_DRAWS = 200  # random configurations, whose mean is what a trial is expected to take


@dataclass(frozen=True)
class SearchRun:
    """A search that is done: its run, the front, the picks, and the flat result."""

    run_id: str
    evaluated: FrontEstimate
    picks: Mapping[str, Pick]
    counts: Mapping[str, int]
    result: dict[str, Any]

    @property
    def links(self) -> dict[str, str]:
        """Addresses of the UI: the models of the text, and the search's page."""
        return links_to(self.result["corpus_sha256"], self.run_id)


def search(
    config: SearchConfig,
    corpus_config: CorpusConfig,
    stop_hopeless: bool = False,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> SearchRun:
    """Search, confirm the front, name the picks. Raises InputError for what can't be searched as it is asked for.

    ``say`` is told, a line at a time, what a person may want to know before and meanwhile.
    """
    config = with_storage(config, runs.is_under_mlflow())
    space = Space.of(config)
    corpus = load_corpus(corpus_config)
    with study_lock(config), storage_errors(config):
        close_the_dead(store.setup())
        found = Search(config, space, corpus, corpus_config)
        found.check_store(store.identity(), runs.has_run)
        earlier = records.ended_run(found.parent) if found.parent else None
        if lost := found.close_the_dead(elsewhere=earlier is not None):
            say(f"Trials whose process is gone, to be gone on with: {', '.join(map(str, lost))}")
        with _parent(found, earlier) as run, storage_errors(config):
            return _SearchDriver(found, run, PruningRule() if stop_hopeless else None, say, make_pool).conduct()


@contextmanager
def _parent(found: Search, earlier: RecordedRun | None) -> Iterator[TrackedRun]:
    """The study's run: begun, or the one of an earlier command of the same study, gone on with."""
    name, tags = f"search-{found.config.study_name}", {**corpus_tags(found.corpus), "study": found.config.study_name}
    with parent_run("search", name, tags, earlier) as run:
        if earlier is None:
            found.check_store(store.identity(), runs.has_run)  # of two that begin it at once, the second is told
            found.parent = run.id
        yield run


class _SearchDriver:
    """What a search does between the start and the end of its run."""

    bar: SearchProgress

    def __init__(
        self,
        found: Search,
        run: TrackedRun,
        rule: PruningRule | None,
        say: Callable[[str], None],
        make_pool: MakePool,
    ) -> None:
        self.found, self.run, self.rule, self.say, self.make_pool = found, run, rule, say, make_pool
        self.config, self.corpus = found.config, found.corpus
        self.tags = corpus_tags(found.corpus)
        found.dashboard_link = self._dashboard_link
        self.minutes_expected: float | None = None
        self._calibration: Calibration | None = None
        self._mean_seconds = 1.0  # of a training, where none was timed

    def conduct(self) -> SearchRun:
        began = time.monotonic()
        found, config, run = self.found, self.config, self.run
        storage = store.masked(config.storage)
        options = {**corpus_options(found.corpus_config), **asdict(config), "storage": storage}
        run.params({**options, "stop_hopeless": self.rule is not None})
        asked = {name: getattr(config, name) for name in ("trials", "sampler", "seed", "confirm_seeds", "budget_macs")}
        run.tags({f"latest.{name}": value for name, value in asked.items()})  # parameters stay as they were first
        run.yaml("space.yaml", found.space.as_texts())
        run.yaml("environment.yaml", machine.environment())
        record_datasets(run, self.corpus, config.preset)
        count = worker_count(config.workers, self._largest_training())
        with search_progress(run.name, count) as self.bar, self.make_pool(count) as pool:
            try:
                if config.trials > len(found.judged()):
                    self._estimate(pool, count)
                self._trials(pool, began)
                evaluated = self._timed(self._confirm(pool))
            except BaseException as error:
                with defer_signals():  # before the workers come to rest, which may take all the time that there is
                    self._lay_down(error)
                raise
        return self._conclude(evaluated, time.monotonic() - began)

    def _largest_training(self) -> int:
        """The bytes that the largest training of the space takes."""
        found, config, spans = self.found, self.config, self.corpus.spans(self.config.preset)
        chars = [spans[split][1] - spans[split][0] for split in ("train", "test")]
        return max(
            training_bytes(*configs_of(corner, found.space, config, config.seed), found.vocab_size, *chars)
            for corner in found.space.corners()
            if not config.budget_macs or found.macs_per_char(corner) <= config.budget_macs
        )

    def _estimate(self, pool: Pool, count: int) -> None:
        """Time some steps in all workers at once, and say how long the search will take and where it will be found."""
        found, config, random = self.found, self.config, Random(self.config.seed)
        drawn = [draw(found.space, random) for _ in range(ESTIMATE_DRAWS)]
        if config.budget_macs:
            drawn = [each for each in drawn if found.macs_per_char(each) <= config.budget_macs] or drawn[:1]
        configurations = [configs_of(each, found.space, config, config.seed) for each in drawn]
        self.bar.phase("timing some steps")
        timings = time_all(pool, [TimingTask(found.corpus_config, *each) for each in shapes_to_time(configurations)])
        left = config.trials - len(found.judged())
        about = "how long is not known, as every process that timed some steps was lost"
        if calibration := Calibration(self.corpus, timings):
            self._calibration = calibration
            seconds = [calibration.expected_seconds(*each) for each in configurations]
            self._mean_seconds = sum(seconds) / len(seconds)
            self.minutes_expected = search_minutes(seconds, left, count, self._confirmations_left())
            about = f"about {self.minutes_expected:.0f} min" if self.minutes_expected >= 1 else "less than a minute"
            about += f" with {count} workers, by steps timed just now"
        done = f" ({len(found.judged())} are done)" if found.judged() else ""
        self.say(
            f"{left} trials{done} and the confirmations of their front: {about}."
            f"\nStudy {config.study_name} in {store.shown(storage_url(config))}; {link_to_run(self.run.id)}"
        )

    def _confirmations_left(self) -> float:
        """How many are expected: those of all trials' front, but for the ones that earlier commands have made."""
        members = front_members(self.config.trials)
        return max(0.0, members * (self.config.confirm_seeds - 1) - len(self.found.confirmations))

    def _task(self, role: Role, proposal: Proposal) -> TrainingTask:
        stop = None
        if role == "trial" and self.rule is not None:
            stop = PruningStop(self.rule, proposal.macs_per_char, tuple(self.found.curves()))
        return TrainingTask(
            role=role,
            number=proposal.number,
            corpus=self.found.corpus_config,
            model=proposal.model,
            train=proposal.train,
            study=self.found.identity,
            parent=self.run.id,
            tags={**self.tags, "study": self.config.study_name, "role": role, "trial": str(proposal.number)},
            stop=stop,
        )

    def _run(
        self, pool: Pool, next_task: Callable[[], TrainingTask | None], seconds_ahead: Callable[[], float]
    ) -> None:
        def expected_seconds(task: TrainingTask) -> float:
            return 1.0 if self._calibration is None else self._calibration.expected_seconds(task.model, task.train)

        run_tasks(pool, next_task, self._take, self.bar, expected_seconds, seconds_ahead)

    def _trials(self, pool: Pool, began: float) -> None:
        """Train until enough trials are complete, the time is up, or there is nothing new to try."""
        found, limit = self.found, self.config.timeout

        def next_task() -> TrainingTask | None:
            if found.nothing_new or (limit and time.monotonic() - began >= limit):
                return None
            proposal = found.next_task(len(pool.running))
            return None if proposal is None else self._task("trial", proposal)

        def seconds_ahead() -> float:
            left = self.config.trials - len(found.judged()) - len(pool.running)
            return (max(0, left) + self._confirmations_left()) * self._mean_seconds

        self.bar.phase("trials")
        self._run(pool, next_task, seconds_ahead)
        if found.nothing_new:
            self.say(f"--sampler {self.config.sampler} has nothing new to propose: the space is searched through")

    def _take(self, event: Event) -> None:
        """Hand what a training came to over to the study."""
        task: TrainingTask = event.task
        outcome: Outcome = event.value
        if event.kind == "failed":
            outcome = raised(event)
        elif event.kind == "lost":
            close_dead_runs()
            log.warning("A worker (pid %d) is gone: exit code %s", event.pid, event.value)
            outcome = Lost(f"its process (pid {event.pid}) is gone, exit code {event.value}")
        if task.role == "trial":
            self.found.take(task.number, outcome)
        else:
            self.found.take_confirmation(task.number, task.train.seed, outcome)
        self._show()

    def _show(self) -> None:
        best = min((trial.values[0] for trial in self.found.complete()), default=None)
        done = f"{len(self.found.judged())}/{self.config.trials}"
        self.bar.show(trials=done, **({} if best is None else {"best": f"{best:.2f}"}))

    def _confirm(self, pool: Pool) -> FrontEstimate:
        """Train the front's members with more seeds, until all that are on the front by their means have enough."""
        found = self.found
        while True:
            evaluated = evaluate_front(found.candidates(), found.reference)
            lacking = found.lacking_runs(unconfirmed(evaluated, self.config.confirm_seeds))
            if not lacking:
                return evaluated
            self.bar.phase("confirming the front")
            self._train_all(pool, [self._task("confirmation", proposal) for proposal in lacking])

    def _train_all(self, pool: Pool, waiting: list[TrainingTask]) -> None:
        def next_task() -> TrainingTask | None:
            return waiting.pop(0) if waiting else None

        self._run(pool, next_task, lambda: len(waiting) * self._mean_seconds)

    def _lay_down(self, error: BaseException) -> None:
        """Leave the trials that are under way to the next command: it finds what their runs have come to."""
        signum = signal_of(error)
        self.found.give_up(f"stopped by {name_of(signum)}" if signum else f"the search ended: {type(error).__name__}")

    def _dashboard_link(self, run_id: str) -> tuple[str, Path | None]:
        link = link_to_run(run_id)
        try:
            picture = records.artifact_path(run_id, CURVES_PLOT)
        except store.REFUSALS as error:
            log.warning("The dashboard has no curve of run %s: %s", run_id, store.store_reason(error))
            return link, None
        return link, picture if picture.is_file() else None

    def _timed(self, evaluated: FrontEstimate) -> FrontEstimate:
        """The same with the milliseconds that the models of the front take to write a character."""
        self.bar.phase("timing the front")
        loads: dict[str, Callable[[], LanguageModel]] = {}
        for run_id in (run_id for point in evaluated.front for run_id in point.candidate.run_ids if run_id):
            try:  # "": one that diverged
                path = records.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}")
                load_model(path)
            except (InputError, *store.REFUSALS) as error:  # deleted, or recorded in another store
                log.warning("The model of run %s is not timed: %s", run_id, error)
            else:
                loads[run_id] = partial(_model, path)
        times = generation_ms_per_char(
            list(loads.values()), on_round=lambda done, of: self.bar.show(timed=f"{done}/{of}")
        )
        return evaluate_front(self.found.candidates(dict(zip(loads, times, strict=True))), self.found.reference)

    def _conclude(self, evaluated: FrontEstimate, seconds: float) -> SearchRun:
        """Register, draw and write down what has been found."""
        found, config, run = self.found, self.config, self.run
        chosen = picks(evaluated)
        for name, pick in chosen.items():
            said = " ".join(each.sentence for each in chosen.values() if each.run_id == pick.run_id)
            text = f"Text: {self.corpus.label} (sha256 {self.corpus.corpus_sha256[:8]}...)."
            runs.register(REGISTERED_MODEL, pick.run_id, name, f"{said} {text}")
        trials = found.shown_trials()
        bars = self.corpus.baselines(config.preset)["val"].perplexities()
        title = f"{config.study_name} on {self.corpus.label}"
        table = report_table().rows if self.corpus.label == "time-machine" else ()  # two texts share no chart
        reported = [(row.macs_per_char, row.perplexity_end) for row in table if row.perplexity_end is not None]
        run.picture("plots/pareto.png", figures.pareto_front(trials, evaluated, chosen, reported, bars, title))
        areas = hypervolume_by_trial(trials, found.reference)
        run.picture("plots/hypervolume.png", figures.hypervolume_history(areas, evaluated, title))
        run.picture("plots/importance.png", figures.parameter_importance(found.importances(), title))
        run.picture("plots/time.png", figures.perplexity_against_time(evaluated, chosen, title))
        counts = found.counts()
        result: dict[str, Any] = {
            "run_id": run.id,
            "study_name": config.study_name,
            "storage": store.shown(storage_url(config)),
            "sampler": config.sampler,
            "corpus": self.corpus.label,
            "corpus_sha256": self.corpus.corpus_sha256,
            **counts,
            "minutes": seconds / 60,
            "minutes_expected": self.minutes_expected,
            "hypervolume": evaluated.hypervolume,
            "hypervolume_low": evaluated.hypervolume_low,
            "hypervolume_high": evaluated.hypervolume_high,
            "front": [_row(point) for point in evaluated.front],
            "picks": {name: {"run_id": p.run_id, "sentence": p.sentence} for name, p in chosen.items()},
        }
        figures_now = {"search/hypervolume": evaluated.hypervolume}
        figures_now |= {f"search/{name.replace(' ', '_')}": float(count) for name, count in counts.items()}
        if chosen:
            best = chosen["best"].point
            figures_now["final/val_perplexity"] = best.val.mean
            figures_now["cost/macs_per_char"] = float(best.candidate.macs_per_char)
        run.metrics(figures_now, step=counts["trials"] + counts["confirmations"])  # either changes the figures
        run.json(records.RESULT_FILE, result)
        expected = "" if self.minutes_expected is None else f" {self.minutes_expected:.1f} minutes were expected."
        took = f"The last command took {seconds / 60:.1f} minutes.{expected} Pictures: `plots/` among the artifacts."
        run.note(f"{search_note(run.store.experiment_id, evaluated, chosen, counts)}\n\n{took}")
        return SearchRun(run.id, evaluated, chosen, counts, result)


def _model(checkpoint: Path) -> LanguageModel:
    return load_model(checkpoint)[0]


def _row(point: Any) -> dict[str, Any]:
    member = point.candidate
    return {
        "name": member.name,
        "cell": member.cell,
        "num_layers": member.num_layers,
        "hidden_size": member.hidden_size,
        "macs_per_char": member.macs_per_char,
        "parameters": member.parameters,
        "val_perplexity": point.val.mean,
        "val_perplexity_low": point.val.low,
        "val_perplexity_high": point.val.high,
        "test_perplexity": point.test.mean if point.test else None,
        "probability": point.probability,
        "run_ids": [run_id for run_id in member.run_ids if run_id],
    }
