"""The stage ``reproduce``: train the report's configurations under its own protocol, each in a nested run.

A reproduction is identified by its text and the RECIPE of the presets on the report's text: the same command again
resumes the same run and trains only what is missing. Its results are read from the recorded runs alone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from tempfile import TemporaryFile

from pipeline.config import RECIPE, CorpusConfig, ReproduceConfig
from pipeline.errors import CheckFailedError, InputError, TrainingDivergedError
from pipeline.report.checks import refusal
from pipeline.report.page.sentences import reproduction_note
from pipeline.report.record import (
    COMMANDS_FILE,
    STAGE,
    TEXT_FILE,
    by_key,
    epochs_of,
    recorded_commands,
    recorded_reproduction,
    shape_key,
)
from pipeline.report.statements.verdicts import Word, words_counted
from pipeline.report.table import REPORT_NAME, Reported, chosen_rows, configs_of_row, report_rows
from pipeline.report.text_facts import text_facts
from pipeline.stages.report import REPORT_FILE, ReproductionRun, report_folder, writable, write_report
from pipeline.stages.sweep import Sweep
from pipeline.stages.tasks import Role, TrainingTask, train_in_processes
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import Loss, MakePool, Outcome
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.step import corpus_keys, step_key

log = logging.getLogger(__name__)

# stream and best, which train no configuration, as reproductions have recorded them
IDENTIFYING_RECIPE = RECIPE | {"stream": 5, "best": 5}
QUICK_EPOCHS, QUICK_UNITS = 20, 64  # --quick: epochs, and the largest number of units in all layers together

COUNTS: dict[Word, str] = {  # word -> metric that counts its verdicts on what trainings decide
    Word.HOLDS: "reproduction/statements_reproduced",
    Word.IN_PART: "reproduction/statements_in_part",
    Word.WRONG_REASON: "reproduction/statements_right_for_a_wrong_reason",
    Word.FAILS: "reproduction/statements_not_reproduced",
    Word.OPEN: "reproduction/statements_open",
}


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
    rows = [row for row in chosen_rows(config.only) if not quick or row.num_layers * row.hidden_size <= QUICK_UNITS]
    if not rows:
        raise InputError(
            f"--quick trains configurations of at most {QUICK_UNITS} units in all layers together, and --only names "
            "none; leave out one of the two"
        )
    folder = report_folder(quick)
    with writable(folder):  # fail before hours of training
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    corpus = load_corpus(CorpusConfig("time-machine"))
    identity = step_key(STAGE, {"quick": quick, "recipe": IDENTIFYING_RECIPE, **corpus_keys(corpus)})
    busy = f"{REPORT_NAME} is being reproduced by another command; wait for it, or stop it"
    options = {**asdict(config), "quick": quick, "check": check}
    name = "reproduce-quick" if quick else "reproduce"
    sweep = _Reproduction(
        name, corpus, CorpusConfig("time-machine"), "report", options, say, config, quick, check, rows
    )
    tags = {"reproduction.quick": str(quick).lower()}
    return sweep.resume_or_run(("reproduction", identity), busy, config.workers, make_pool, **tags)


def _planned(rows: Sequence[Reported], seeds: int, quick: bool) -> list[tuple[Role, Reported, int]]:
    """Role, row and seed of each training: by the report's protocol, most MACs first; then by our own recipe."""
    largest_first = sorted(rows, key=lambda row: -row.macs_per_char)
    planned: list[tuple[Role, Reported, int]]
    planned = [("report", row, seed) for seed in range(seeds) for row in largest_first]
    if not quick:
        shapes = {row.shape: row for row in reversed(rows)}  # the first of each
        smallest_first = sorted(shapes.values(), key=lambda row: row.macs_per_char)
        planned += [("same-text", row, seed) for seed in range(seeds) for row in smallest_first]  # a short text
    return planned


@dataclass
class _Reproduction(Sweep[ReproductionRun]):
    """The trainings of a reproduction and its report."""

    config: ReproduceConfig
    quick: bool
    check: bool
    rows: Sequence[Reported]

    stage, last_phase = STAGE, "writing the report"

    def take_over(self, trained: Sequence[RecordedTraining]) -> None:
        """Neither what has finished nor what diverged is trained again."""
        self._failures: list[str] = []
        found = by_key(trained)
        for role, row, seed in _planned(self.rows, self.config.seeds, self.quick):
            model, train = configs_of_row(row, seed, role, self.config.precision)
            before = found.get((role, shape_key(asdict(model)), seed))
            if before is not None and before.has_diverged:  # and would again
                self._leave_out(row, seed, before.facts["failure.message"])
            elif before is None or before.state != "finished":
                train = replace(train, epochs=QUICK_EPOCHS) if self.quick else train
                if before is not None and epochs_of(before):  # it goes on as it began
                    train = replace(train, precision=before.configuration["train"]["precision"])
                self.waiting.append(self.task(role, report_rows().index(row), model, train, {"configuration": row.id}))

    def record_command(self) -> None:
        """Record all commands so far, and the facts about the text, too."""
        super().record_command()
        commands, own = recorded_commands(self.run.id), dict(self.options)
        self.run.json(COMMANDS_FILE, {"commands": commands + [own] * (own not in commands)})
        self.run.json(TEXT_FILE, asdict(text_facts(self.corpus)))

    def train(self) -> None:
        """Train what is missing."""
        by_report = sum(1 for task in self.waiting if task.role == "report")
        own = len(self.waiting) - by_report
        more = f" and {own} by our own recipe" if own else ""
        self.train_waiting(f"{counted(by_report, 'training')} by the report's protocol{more}")

    def record_outcome(self, task: TrainingTask, outcome: Outcome) -> None:
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
        }
        counts = words_counted(each for each in verdicts if each.statement.basis == "training")
        figures = {name: float(counts[word]) for word, name in COUNTS.items()}
        figures["reproduction/trainings"] = float(trained)
        self.run.constants(figures)
        self.run.json(recorded.RESULT_FILE, {**result, "report": REPORT_FILE})  # no local path
        note = reproduction_note(reproduction, verdicts, held)
        self.run.note(f"{note}\n\n{measured_duration(seconds)}")
        done = replace(done, result=result)
        if self.check and (failed := refusal(held, self._failures)):
            raise ChecksNotMetError(f"{failed}. The report: {done.folder / 'report.html'}", done)
        return done
