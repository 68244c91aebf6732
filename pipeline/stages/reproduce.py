"""The stage ``reproduce``: train the report's configurations under its own protocol, each in a nested run.

A reproduction is identified by its text and the training code: the same command again resumes the same run
and trains only what is missing. Its results are read from the recorded runs alone.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile

from pipeline.config import RECIPE, STOPPED_BY_TIME, CorpusConfig, PresetName, ReproduceConfig, TrainConfig
from pipeline.errors import CheckFailedError, InputError, TrainingDivergedError
from pipeline.report.checks import refusal
from pipeline.report.page.summary import reproduction_note
from pipeline.report.record import (
    COMMANDS_FILE,
    LATEST,
    STAGE,
    STATEMENTS_FILE,
    TEXT_FILE,
    Key,
    Shape,
    by_key,
    epochs_of,
    recorded_commands,
    recorded_reproduction,
    shape_of,
)
from pipeline.report.statements.table import Statement, read_statements
from pipeline.report.statements.verdicts import Word, words_counted
from pipeline.report.table import (
    REPORT_NAME,
    Reported,
    chosen_rows,
    configurations_of,
    own_configurations_of,
    report_rows,
)
from pipeline.report.text_facts import text_facts
from pipeline.stages.report import REPORT_FILE, ReproductionRun, report_folder, writable, write_report
from pipeline.stages.train import Role, TrainingTask, close_lost, train_in_processes
from pipeline.support import machine
from pipeline.support.files import command_lock
from pipeline.support.progress import SearchProgress, search_progress
from pipeline.support.wording import counted, expected_duration, measured_duration
from pipeline.support.workers import KILLS_ALLOWED, Event, Loss, MakePool, Pool, run_tasks
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import corpus_keys, corpus_tags, parent_run, record_datasets, step_key
from pipeline.tracking.ui import links
from pipeline.training.memory import check_training_fits, training_bytes, worker_count
from pipeline.training.timing import (
    Calibration,
    Timing,
    TimingTask,
    expected_seconds,
    queue_seconds,
    shapes_to_time,
    time_all,
)

log = logging.getLogger(__name__)

QUICK_EPOCHS, QUICK_UNITS = 20, 64  # --quick: epochs, and the largest number of units in all layers together

OWN_RECIPE: dict[Role, PresetName] = {"same-text": "report-text", "stream": "stream"}  # role -> preset

COUNTS: dict[Word, str] = {  # word -> metric that counts its verdicts
    "reproduced": "reproduction/statements_reproduced",
    "in part": "reproduction/statements_in_part",
    "conclusion right, reason wrong": "reproduction/statements_right_for_a_wrong_reason",
    "not reproduced": "reproduction/statements_not_reproduced",
    "open": "reproduction/statements_open",
}


BUSY = f"{REPORT_NAME} is being reproduced by another command; wait for it, or stop it"

CLOSING_SECONDS = 5.0  # expected duration of writing the report, after the last training


class ChecksNotMetError(CheckFailedError):
    """A check of --check failed; everything is trained and recorded, and ``done`` has the results."""

    def __init__(self, message: str, done: ReproductionRun) -> None:
        super().__init__(message)
        self.done = done


def reproduce(
    config: ReproduceConfig,
    quick: bool = False,
    check: bool = False,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
) -> ReproductionRun:
    """Train the missing configurations and write the report.

    ``quick`` trains only the small configurations, for a few epochs. With ``check``, raises ChecksNotMetError, after
    recording everything, if a check fails. Raises DataUnavailableError without the exact text of The Time Machine.
    """
    statements = read_statements(Path(config.statements)) if config.statements else ()
    rows = _small(chosen_rows(config.only)) if quick else chosen_rows(config.only)
    folder = report_folder(config.output, quick)
    with writable(folder):  # fail before hours of training
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    corpus = load_corpus(CorpusConfig("time-machine"))
    identity = step_key(STAGE, {"quick": quick, "recipe": RECIPE, **corpus_keys(corpus)})
    with command_lock(store.root() / "mlruns" / f".reproduce-{identity}.lock", BUSY):
        close_the_dead(store.setup())
        tags = {
            **corpus_tags(corpus),
            "reproduction": identity,
            "reproduction.quick": str(quick).lower(),
        }
        earlier_id = recorded.latest_run({"stage": STAGE, "reproduction": identity})
        earlier = recorded.ended_run(earlier_id) if earlier_id else None
        name = "reproduce-quick" if quick else "reproduce"
        parent = earlier.id if earlier is not None else ""
        driver = _ReproductionDriver(config, quick, check, statements, rows, corpus, name, parent, say)
        waiting = driver.plan()
        workers = driver.workers_for(waiting)
        with parent_run(STAGE, name, tags, earlier) as run:
            return driver.run_all(run, waiting, workers, make_pool)


def _small(rows: Sequence[Reported]) -> tuple[Reported, ...]:
    """The configurations that --quick trains. Raises InputError if there are none."""
    small = tuple(row for row in rows if row.num_layers * row.hidden_size <= QUICK_UNITS)
    if not small:
        raise InputError(
            f"--quick trains configurations of at most {QUICK_UNITS} units in all layers together, and --only names "
            "none; leave out one of the two"
        )
    return small


def _first_of_each(rows: Iterable[Reported], key: Callable[[Reported], Hashable]) -> list[Reported]:
    """The first row of each key, in order."""
    first: dict[Hashable, Reported] = {}
    for row in rows:
        first.setdefault(key(row), row)
    return list(first.values())


def _has_diverged(training: RecordedTraining) -> bool:
    return training.tags.get("failure", "").startswith(TrainingDivergedError.__name__)


class _ReproductionDriver:
    """Plans, runs and records the trainings of a reproduction; ``parent`` is the id of its run, "" for a new one."""

    run: TrackedRun
    bar: SearchProgress

    def __init__(
        self,
        config: ReproduceConfig,
        quick: bool,
        check: bool,
        statements: Sequence[Statement],
        rows: Sequence[Reported],
        corpus: Corpus,
        name: str,
        parent: str,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.quick, self.check, self.rows = config, quick, check, rows
        self.statements, self.corpus, self.name, self.parent, self.say = statements, corpus, name, parent, say
        self.corpus_config = CorpusConfig("time-machine")
        self.minutes_expected: float | None = None
        self._seconds_of: dict[tuple[str, int, int], float] = {}  # expected, by task key
        self._shares_done: dict[tuple[str, int, int], float] = {}  # of resumed trainings
        self._kills: dict[tuple[str, int, int], float] = {}
        self._failures: list[str] = []

    def run_all(
        self, run: TrackedRun, waiting: Sequence[TrainingTask], workers: int, make_pool: MakePool
    ) -> ReproductionRun:
        """Record the command, run the planned trainings, and write the report."""
        began = time.monotonic()
        self.run, self.parent = run, run.id
        command = {**asdict(self.config), "quick": self.quick, "check": self.check}
        commands = recorded_commands(run.id)
        run.json(COMMANDS_FILE, {"commands": commands + [command] * (command not in commands)})
        run.params(command)
        run.tags({LATEST + name: value for name, value in command.items()})  # parameters can't change
        run.yaml("environment.yaml", machine.environment())
        run.json(STATEMENTS_FILE, {"rows": [asdict(statement) for statement in self.statements]})
        run.json(TEXT_FILE, asdict(text_facts(self.corpus)))
        record_datasets(run, self.corpus, "report")
        with search_progress(run.name, workers, CLOSING_SECONDS) as self.bar:
            if waiting:
                tasks = [replace(task, study=run.id, parent=run.id) for task in waiting]
                with make_pool(workers) as pool:
                    run.params({"workers": pool.count})
                    self._estimate(pool, tasks, pool.count)
                    self._train(pool, tasks)
            self.bar.phase("writing the report")
            done = self._conclude(time.monotonic() - began)
        if self.check and (failed := refusal(done.checks, self._failures)):
            raise ChecksNotMetError(f"{failed}. The report: {done.folder / 'report.html'}", done)
        return done

    def workers_for(self, tasks: Sequence[TrainingTask]) -> int:
        """--workers, or as many as cores and memory allow. Raises InputError if a training does not fit into memory."""
        symbols, largest = len(self.corpus.vocabulary), 0
        at_once = min(self.config.workers or 1, len(tasks))
        for task in tasks:
            spans = self.corpus.spans(task.train.preset)
            train_chars, test_chars = (spans[split][1] - spans[split][0] for split in ("train", "test"))
            check_training_fits(task.model, task.train, symbols, train_chars, test_chars, at_once)
            largest = max(largest, training_bytes(task.model, task.train, symbols, train_chars, test_chars))
        return worker_count(self.config.workers, largest)

    # --- what is to be trained ---------------------------------------------------------------------------------------

    def plan(self) -> list[TrainingTask]:
        """The missing trainings: those by the report's protocol, by seed, most MACs first; then our own recipe's."""
        recorded = self._recorded()
        tasks = [
            task
            for seed in range(self.config.seeds)
            for row in sorted(self.rows, key=lambda row: -row.macs_per_char)
            if (task := self._task("report", row, seed, recorded)) is not None
        ]
        shapes = _first_of_each(self.rows, lambda row: (row.cell, row.num_layers, row.hidden_size))
        own_seeds: dict[Role, int] = {"same-text": self.config.seeds, "stream": 1}  # a short text needs more
        if not self.quick:
            tasks += [
                task
                for role, seeds in own_seeds.items()
                for seed in range(seeds)
                for row in sorted(shapes, key=lambda row: row.macs_per_char)
                if (task := self._task(role, row, seed, recorded)) is not None
            ]
        return tasks

    def _recorded(self) -> dict[Key, RecordedTraining]:
        return by_key(recorded.nested_trainings(self.parent)) if self.parent else {}

    def _task(
        self, role: Role, row: Reported, seed: int, recorded: Mapping[Key, RecordedTraining]
    ) -> TrainingTask | None:
        """The training of a row, new or resumed; None if nothing is left to train."""
        model, train = (
            configurations_of(row, seed, self.config.precision)
            if role == "report"
            else own_configurations_of(row, OWN_RECIPE[role], seed, self.corpus.train_chars)
        )
        epochs = self.config.epochs or (QUICK_EPOCHS if self.quick else None) if role == "report" else None
        train = replace(train, epochs=epochs or train.epochs, max_seconds=self.config.max_seconds)
        earlier = recorded.get((role, shape_of(asdict(model)), seed))
        if earlier is not None:
            if _has_diverged(earlier):  # and would again
                if train.epochs is None or epochs_of(earlier) < train.epochs:
                    self._leave_out(row, seed, earlier.tags["failure"].partition(": ")[2])
                return None
            if self._is_enough(earlier, train):
                return None
            if train.epochs is not None:  # a training that was stopped after more epochs than wanted now ends there
                train = replace(train, epochs=max(train.epochs, epochs_of(earlier)))
        task = TrainingTask(
            role=role,
            number=report_rows().index(row),
            corpus=self.corpus_config,
            model=model,
            train=train,
            study=self.parent,  # trainings of other reproductions, even deleted ones, are not reused
            parent=self.parent,
            tags={**corpus_tags(self.corpus), "study": self.name, "role": role, "configuration": row.id},
            resumed_run=earlier.id if earlier is not None else "",
        )
        if earlier is not None and train.epochs is not None:
            self._shares_done[task.key] = epochs_of(earlier) / train.epochs
        return task

    def _is_enough(self, training: RecordedTraining, train: TrainConfig) -> bool:
        """Whether a recorded training is as long as the one that is wanted."""
        if training.state != "finished":
            return False
        if train.epochs is not None and epochs_of(training) >= train.epochs:
            return True
        if training.tags.get("stopped", "").startswith(STOPPED_BY_TIME):
            limit = train.max_seconds
            return bool(limit) and limit <= float(training.configuration["train"]["max_seconds"])
        return train.epochs is None

    # --- training ----------------------------------------------------------------------------------------------------

    def _estimate(self, pool: Pool, tasks: Sequence[TrainingTask], workers: int) -> None:
        """Time some steps of each configuration, and report the expected duration and the run's address."""
        self.bar.phase("timing some steps")
        by_protocol = {task.number: (task.model, task.train) for task in tasks if task.role == "report"}
        by_own_recipe = shapes_to_time([(task.model, task.train) for task in tasks if task.role in OWN_RECIPE])
        timings = time_all(
            pool,
            [TimingTask(self.corpus_config, *configs) for configs in [*by_protocol.values(), *by_own_recipe]],
            lambda done, of: self.bar.show(timed=f"{done}/{of}"),
        )
        timed = {shape_of(asdict(timing.model)): timing for timing in timings if timing.train.preset == "report"}
        own_recipe = Calibration(self.corpus, [timing for timing in timings if timing.train.preset != "report"])
        for task in tasks:
            self._seconds_of[task.key] = self._expected(task, timed, own_recipe)
        left = [self._seconds_of[task.key] * (1 - self._shares_done.get(task.key, 0.0)) for task in tasks]
        self.minutes_expected = queue_seconds(left, workers) / 60
        by_report = sum(1 for task in tasks if task.role == "report")
        more = f" and {len(tasks) - by_report} by our own recipe" if len(tasks) > by_report else ""
        self.say(
            f"{counted(by_report, 'training')} by the report's protocol{more}: "
            f"{expected_duration(self.minutes_expected, workers)}\n{links.link_to_run(self.run.id)}"
        )

    def _expected(self, task: TrainingTask, timed: Mapping[Shape, Timing], own_recipe: Calibration) -> float:
        """The expected seconds of a complete training."""
        if task.role in OWN_RECIPE:
            return own_recipe.expected_seconds(task.model, task.train) if own_recipe else 1.0
        timing = timed.get(shape_of(asdict(task.model)))
        return expected_seconds(self.corpus, replace(timing, train=task.train)) if timing is not None else 1.0

    def _train(self, pool: Pool, waiting: list[TrainingTask]) -> None:
        total, done = len(waiting), 0

        def on_end(event: Event) -> None:
            nonlocal done
            task = event.task
            if event.kind == "lost":
                close_lost(event)
                waiting[:0] = self._again(task, event.value)
                return
            done += 1
            self.bar.show(trainings=f"{done}/{total}")
            if event.kind == "failed":
                self._note_failure(task, event.value)

        self.bar.phase("")
        self.bar.show(trainings=f"{done}/{total}")
        run_tasks(
            pool,
            lambda: waiting.pop(0) if waiting else None,
            on_end,
            self.bar,
            lambda task: self._seconds_of[task.key],
            lambda: sum(self._seconds_of[task.key] for task in waiting),
        )

    def _again(self, task: TrainingTask, loss: Loss) -> list[TrainingTask]:
        """The task to resume a lost training, unless it has killed more than KILLS_ALLOWED processes."""
        kills = self._kills[task.key] = self._kills.get(task.key, 0) + loss.kills
        row = report_rows()[task.number]
        log.warning("The training of %s (seed %d) is lost: %s", row.id, task.train.seed, loss.reason)
        if kills > KILLS_ALLOWED:
            self._leave_out(row, task.train.seed, f"{loss.reason}; it was lost before")
            return []
        again = self._task(task.role, row, task.train.seed, self._recorded())
        return [again] if again is not None else []

    def _note_failure(self, task: TrainingTask, error: Exception) -> None:
        """Leave out a training that diverged or ran out of memory. Raises any other error."""
        if not isinstance(error, TrainingDivergedError | MemoryError):
            raise error
        self._leave_out(report_rows()[task.number], task.train.seed, str(error) or "out of memory")

    def _leave_out(self, row: Reported, seed: int, reason: str) -> None:
        """Note a training that failed for good, so that --check fails."""
        self._failures.append(f"{row.id}, seed {seed}: {reason}")
        log.warning("Left out: %s", self._failures[-1])

    # --- the end -----------------------------------------------------------------------------------------------------

    def _conclude(self, seconds: float) -> ReproductionRun:
        reproduction = recorded_reproduction(self.run.id)
        done = write_report(reproduction, self.run, self.config.output)
        verdicts, held = done.verdicts, done.checks
        whole = sum(len(configuration.whole) for configuration in reproduction.configurations)
        trained = sum(len(configuration.runs) for configuration in reproduction.configurations)
        result = {
            **done.result,
            "trainings": trained,
            "whole": whole,
            "failed": self._failures,
            "minutes": seconds / 60,
            "minutes_expected": self.minutes_expected,
        }
        counts = words_counted(verdicts)
        figures = {name: float(counts[word]) for word, name in COUNTS.items()}
        figures["reproduction/trainings"] = float(trained)
        self.run.constants(figures)
        self.run.json(recorded.RESULT_FILE, {**result, "report": REPORT_FILE})  # no local path
        note = reproduction_note(reproduction, verdicts, held)
        self.run.note(f"{note}\n\n{measured_duration(seconds, self.minutes_expected)}")
        return replace(done, result=result)
