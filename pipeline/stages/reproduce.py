"""The stage ``reproduce``: train the report's configurations under its own protocol, each in a nested run.

A reproduction is identified by its text and RECIPE: the same command again resumes the same run and trains only what is
missing. Its results are read from the recorded runs alone.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile

from pipeline.config import RECIPE, CorpusConfig, PresetName, ReproduceConfig
from pipeline.errors import CheckFailedError, InputError, TrainingDivergedError
from pipeline.report.checks import refusal
from pipeline.report.page.summary import reproduction_note
from pipeline.report.record import (
    COMMANDS_FILE,
    STAGE,
    STATEMENTS_FILE,
    TEXT_FILE,
    Key,
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
from pipeline.stages.sweep import Sweep, earlier_command, workers_for
from pipeline.stages.tasks import Role, TrainingTask, train_in_processes
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import Loss, MakePool, Outcome
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import corpus_keys, corpus_tags, parent_run, step_key
from pipeline.tracking.ui import links
from pipeline.training.timing import queue_seconds

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
    folder = report_folder(quick)
    with writable(folder):  # fail before hours of training
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    corpus = load_corpus(CorpusConfig("time-machine"))
    identity = step_key(STAGE, {"quick": quick, "recipe": RECIPE, **corpus_keys(corpus)})
    with earlier_command(STAGE, "reproduction", identity, BUSY) as earlier:
        parent = earlier.id if earlier is not None else ""
        sweep = _Reproduction(config, quick, check, statements, rows, corpus, parent, say)
        waiting = sweep.waiting
        workers = workers_for(corpus, [(task.model, task.train) for task in waiting], config.workers) if waiting else 0
        tags = {"reproduction": identity, "reproduction.quick": str(quick).lower(), **corpus_tags(corpus)}
        with parent_run(STAGE, sweep.name, tags, earlier) as run:
            sweep.record_command(run)
            return sweep.run_all(run, workers, make_pool)


def _small(rows: Sequence[Reported]) -> tuple[Reported, ...]:
    """The configurations that --quick trains. Raises InputError if there are none."""
    small = tuple(row for row in rows if row.num_layers * row.hidden_size <= QUICK_UNITS)
    if not small:
        raise InputError(
            f"--quick trains configurations of at most {QUICK_UNITS} units in all layers together, and --only names "
            "none; leave out one of the two"
        )
    return small


class _Reproduction(Sweep[ReproductionRun]):
    """The trainings of a reproduction and its report; ``parent`` is the id of its earlier run, "" for a new one."""

    preset, last_phase, closing_seconds = "report", "writing the report", 5.0

    def __init__(
        self,
        config: ReproduceConfig,
        quick: bool,
        check: bool,
        statements: Sequence[Statement],
        rows: Sequence[Reported],
        corpus: Corpus,
        parent: str,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.quick, self.check, self.statements, self.rows = config, quick, check, statements, rows
        options = {**asdict(config), "quick": quick, "check": check}
        name = "reproduce-quick" if quick else "reproduce"
        super().__init__(name, corpus, CorpusConfig("time-machine"), options, say)
        self._failures: list[str] = []
        self._shares_done: dict[tuple[str, int, int], float] = {}  # of resumed trainings, by task key
        self.waiting = self._plan(self._recorded(parent))

    def record_command(self, run: TrackedRun) -> None:
        """Record what the report is about, besides the trainings."""
        commands = recorded_commands(run.id)
        run.json(COMMANDS_FILE, {"commands": commands + [dict(self.options)] * (self.options not in commands)})
        run.json(STATEMENTS_FILE, {"rows": [asdict(statement) for statement in self.statements]})
        run.json(TEXT_FILE, asdict(text_facts(self.corpus)))

    # --- what is to be trained ---------------------------------------------------------------------------------------

    def _plan(self, recorded: Mapping[Key, RecordedTraining]) -> list[TrainingTask]:
        """The missing trainings: those by the report's protocol, by seed, most MACs first; then our own recipe's."""
        largest_first = sorted(self.rows, key=lambda row: -row.macs_per_char)
        shapes = {(row.cell, row.num_layers, row.hidden_size): row for row in reversed(self.rows)}  # the first of each
        planned: list[tuple[Role, Reported, int]]
        planned = [("report", row, seed) for seed in range(self.config.seeds) for row in largest_first]
        if not self.quick:
            own_seeds: dict[Role, int] = {"same-text": self.config.seeds, "stream": 1}  # a short text needs more
            planned += [
                (role, row, seed)
                for role, seeds in own_seeds.items()
                for seed in range(seeds)
                for row in sorted(shapes.values(), key=lambda row: row.macs_per_char)
            ]
        tasks = [self._task(role, row, seed, recorded) for role, row, seed in planned]
        return [task for task in tasks if task is not None]

    @staticmethod
    def _recorded(parent: str) -> dict[Key, RecordedTraining]:
        return by_key(recorded.nested_trainings(parent)) if parent else {}

    def _task(
        self, role: Role, row: Reported, seed: int, recorded: Mapping[Key, RecordedTraining]
    ) -> TrainingTask | None:
        """The training of a row, new or resumed; None if nothing is left to train."""
        model, train = (
            configurations_of(row, seed, self.config.precision)
            if role == "report"
            else own_configurations_of(row, OWN_RECIPE[role], seed, self.corpus.train_chars)
        )
        if self.quick:
            train = replace(train, epochs=QUICK_EPOCHS)
        earlier = recorded.get((role, shape_of(asdict(model)), seed))
        if earlier is not None:
            if earlier.tags.get("failure", "").startswith(TrainingDivergedError.__name__):  # and would again
                self._leave_out(row, seed, earlier.tags["failure"].partition(": ")[2])
                return None
            if earlier.state == "finished":
                return None
        resumed_run = earlier.id if earlier is not None else ""
        number, tags = report_rows().index(row), {"configuration": row.id}
        task = self.task(role, number, model, train, tags, resumed_run=resumed_run)
        if earlier is not None and train.epochs is not None:
            self._shares_done[task.key] = epochs_of(earlier) / train.epochs
        return task

    # --- training ----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train what is missing."""
        tasks = self.waiting
        by_report = sum(1 for task in tasks if task.role == "report")
        more = f" and {len(tasks) - by_report} by our own recipe" if len(tasks) > by_report else ""

        def minutes() -> float:
            left = [
                self.expected_seconds(task.model, task.train) * (1 - self._shares_done.get(task.key, 0.0))
                for task in tasks
            ]
            return queue_seconds(left, self.pool.count) / 60

        self.estimate(
            [(task.model, task.train) for task in tasks],
            minutes,
            lambda duration: (
                f"{counted(by_report, 'training')} by the report's protocol{more}: {duration}\n"
                f"{links.link_to_run(self.run.id)}"
            ),
        )
        self.train_all(tasks)

    def again(self, task: TrainingTask) -> list[TrainingTask]:
        """Plan a lost training again: it may have finished, or its run may have been resumed."""
        again = self._task(task.role, report_rows()[task.number], task.train.seed, self._recorded(self.run.id))
        return [again] if again is not None else []

    def take(self, task: TrainingTask, outcome: Outcome) -> None:
        """Leave out a training that diverged, ran out of memory or was lost. Raises any other error."""
        row, seed = report_rows()[task.number], task.train.seed
        if isinstance(outcome, Loss):
            self._leave_out(row, seed, f"{outcome.reason}; it was lost before")
        elif isinstance(outcome, TrainingDivergedError | MemoryError):
            self._leave_out(row, seed, str(outcome) or "out of memory")
        elif isinstance(outcome, Exception):
            raise outcome

    def _leave_out(self, row: Reported, seed: int, reason: str) -> None:
        """Note a training that failed for good, so that --check fails."""
        self._failures.append(f"{row.id}, seed {seed}: {reason}")
        log.warning("Left out: %s", self._failures[-1])

    # --- the end -----------------------------------------------------------------------------------------------------

    def conclude(self, seconds: float) -> ReproductionRun:
        """Write the report. Raises ChecksNotMetError, after recording everything, if a check of --check fails."""
        reproduction = recorded_reproduction(self.run.id)
        done = write_report(reproduction, self.run)
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
        done = replace(done, result=result)
        if self.check and (failed := refusal(held, self._failures)):
            raise ChecksNotMetError(f"{failed}. The report: {done.folder / 'report.html'}", done)
        return done
