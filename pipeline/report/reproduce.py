"""The stage ``reproduce``: train the report's configurations under its own protocol, each in a nested run.

A reproduction is identified by its text and the RECIPE of the presets on the report's text: the same command again
resumes the same run and trains only what is missing. Its results are read from the recorded runs alone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile

from pipeline.config import RECIPE, CorpusConfig, ReproduceConfig
from pipeline.errors import CheckFailedError, InputError, TrainingDivergedError
from pipeline.report import record
from pipeline.report.checks import refusal
from pipeline.report.page.sentences import reproduction_note
from pipeline.report.reproduction import TextFacts
from pipeline.report.rewrite import REPORT_FILE, ReproductionRun, report_folder, writable, write_report
from pipeline.report.statements.verdicts import Word, words_counted
from pipeline.report.table import REPORT_NAME, Reported, chosen_rows, configs_of_row, report_rows
from pipeline.report.text_facts import text_facts
from pipeline.results import REPRODUCE, ReproductionResult
from pipeline.stages.sweep import Role, TrainingTask, earlier_run, lock_of, sweep, train_in_processes
from pipeline.support.wording import counted, measured_duration
from pipeline.support.workers import Loss, MakePool
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import step_key
from pipeline.tracking.text_identity import corpus_keys

log = logging.getLogger(__name__)

# stream and best, which train no configuration, as reproductions have recorded them
IDENTIFYING_RECIPE = RECIPE | {"stream": 5, "best": 5}
QUICK_EPOCHS, QUICK_UNITS = 20, 64  # --quick: epochs, and the largest number of units in all layers together
TEXT = CorpusConfig("time-machine")

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


def rows_to_train(config: ReproduceConfig, quick: bool) -> list[Reported]:
    """The configurations to train. Raises InputError if there are none."""
    rows = [row for row in chosen_rows(config.only) if not quick or row.num_layers * row.hidden_size <= QUICK_UNITS]
    if not rows:
        raise InputError(
            f"--quick trains configurations of at most {QUICK_UNITS} units in all layers together, and --only names "
            "none; leave out one of the two"
        )
    return rows


def reproduce(
    corpus: Corpus,
    config: ReproduceConfig,
    quick: bool = False,
    check: bool = False,
    say: Callable[[str], None] = lambda line: None,
    make_pool: MakePool = train_in_processes,
    quick_epochs: int = QUICK_EPOCHS,
    facts_of: Callable[[Corpus], TextFacts] = text_facts,
) -> ReproductionRun:
    """Train the missing configurations on the text of the report, and write the report.

    ``quick`` trains only the small configurations, for ``quick_epochs``. With ``check``, raises ChecksNotMetError,
    after recording everything, if a check fails.
    """
    rows = rows_to_train(config, quick)
    _check_folder(report_folder(quick))
    identity = step_key(REPRODUCE, {"quick": quick, "recipe": IDENTIFYING_RECIPE, **corpus_keys(corpus)})
    busy = f"{REPORT_NAME} is being reproduced by another command; wait for it, or stop it"
    options = {**asdict(config), "quick": quick, "check": check}
    name = "reproduce-quick" if quick else "reproduce"
    with sweep(name, corpus, lock_of(REPRODUCE, identity, busy)) as this:
        earlier, trained = earlier_run(REPRODUCE, "reproduction", identity)
        failures, before, waiting = list[str](), record.by_key(trained), list[TrainingTask]()
        for role, row, seed in _planned(rows, config.seeds, quick):
            model, train = configs_of_row(row, seed, role, config.precision)
            found = before.get((role, record.shape_key(asdict(model)), seed))
            if found is not None and found.has_diverged:  # and would again
                failures.append(_left_out(row, seed, found.facts["failure.message"]))
            elif found is None or found.state != "finished":
                train = replace(train, epochs=quick_epochs) if quick else train
                if found is not None and record.epochs_of(found):  # it goes on as it began
                    train = replace(train, precision=found.configuration["train"]["precision"])
                waiting.append(this.task(role, report_rows().index(row), model, train, configuration=row.id))
        workers = this.workers_for(waiting, config.workers)

        tags = {"reproduction": identity, "reproduction.quick": str(quick).lower()}
        run = this.begin(REPRODUCE, name, tags, earlier)
        this.record(options, "report")
        commands = record.recorded_commands(run.id)
        run.json(record.COMMANDS_FILE, {"commands": commands + [options] * (options not in commands)})
        run.json(record.TEXT_FILE, asdict(facts_of(corpus)))
        this.start_workers(workers, make_pool)
        by_report, own = (sum(task.role == role for task in waiting) for role in ("report", "same-text"))
        more = f" and {own} by our own recipe" if own else ""
        this.announce(say, f"{counted(by_report, 'training')} by the report's protocol{more}")
        for task, outcome in this.train_all(waiting):
            row, seed = report_rows()[task.number], task.train.seed
            if isinstance(outcome, Loss):
                failures.append(_left_out(row, seed, f"{outcome.reason}; it was lost before"))
            elif isinstance(outcome, TrainingDivergedError | MemoryError):
                failures.append(_left_out(row, seed, str(outcome) or "out of memory"))
            elif isinstance(outcome, Exception):
                raise outcome
        seconds = this.stop_workers("writing the report")
        done = _conclude(run, failures, seconds)
        if check and (failed := refusal(done.checks, failures)):
            raise ChecksNotMetError(f"{failed}. The report: {done.folder / 'report.html'}", done)
    return done


def _left_out(row: Reported, seed: int, reason: str) -> str:
    """Say that a training failed for good, so that --check fails."""
    failure = f"{row.id}, seed {seed}: {reason}"
    log.warning("Left out: %s", failure)
    return failure


def _check_folder(folder: Path) -> None:
    """Raise InputError if the report can't be written, before hours of training."""
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


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


def _conclude(run: TrackedRun, failures: Sequence[str], seconds: float) -> ReproductionRun:
    """Write the report, and record its result."""
    reproduction = record.recorded_reproduction(run.id)
    done = write_report(reproduction, run)
    whole = sum(len(configuration.whole) for configuration in reproduction.configurations)
    trained = sum(len(configuration.runs) for configuration in reproduction.configurations)
    result: ReproductionResult = {
        **done.result,
        "trainings": trained,
        "whole": whole,
        "failed": [*failures],
        "minutes": seconds / 60,
    }
    counts = words_counted(verdict for verdict in done.verdicts if verdict.statement.basis == "training")
    figures = {name: float(counts[word]) for word, name in COUNTS.items()}
    run.constants({**figures, "reproduction/trainings": float(trained)})
    run.json(artifacts.RESULT_FILE, {**result, "report": REPORT_FILE})  # no local path
    note = reproduction_note(reproduction, done.verdicts, done.checks)
    run.describe(f"{note}\n\n{measured_duration(seconds)}")
    return replace(done, result=result)
