"""The stage ``report``: judge recorded trainings and write the page."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.report.checks import Check, checks
from pipeline.report.corrections import corrections
from pipeline.report.explanations import explanations
from pipeline.report.open_data import epochs_csv, result
from pipeline.report.page import page
from pipeline.report.page.reproducibility import summary_markdown
from pipeline.report.record import STAGE, command_of, recorded_reproduction
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.judging import sensitivity, weigh
from pipeline.report.statements.table import read_statements
from pipeline.report.statements.verdicts import Verdict
from pipeline.report.table import REPORT_SYMBOLS, Table, configurations_of, read_table, report_table
from pipeline.support.files import write_atomically
from pipeline.tracking import records, runs, store
from pipeline.tracking.references import run_id_of
from pipeline.tracking.runs import TrackedRun
from pipeline.training.hardware import check_shape_fits

REPORT_FILE = "report/report.html"  # in the artifacts


@dataclass(frozen=True)
class ReproductionRun:
    """A reproduction with its verdicts, checks, the folder of its page, and the flat result."""

    reproduction: Reproduction = field(repr=False)
    verdicts: Sequence[Verdict] = field(repr=False)
    checks: Sequence[Check] = field(repr=False)
    folder: Path
    result: dict[str, Any] = field(repr=False)


def table_of(against: str) -> Table:
    """Read the table of --against, or the coursework report's. Raises InputError if it can't be used."""
    if not against:
        return report_table()
    table = read_table(Path(against))
    for row in table.rows:
        check_shape_fits(configurations_of(row, 0)[0], REPORT_SYMBOLS)  # measuring builds the model
    return table


def write_report(reproduction: Reproduction, run: TrackedRun, output: str) -> ReproductionRun:
    """Judge the reproduction; write its pages and data to disk, and log them as artifacts of ``run``."""
    is_own = reproduction.table.digest == report_table().digest
    evidence = weigh(reproduction, reproduction.statements)
    verdicts = evidence.verdicts
    held = checks(reproduction)
    pages = page.pages(
        reproduction,
        verdicts,
        corrections(evidence),
        explanations(evidence),
        held,
        sensitivity(reproduction, reproduction.statements),
    )
    data = result(reproduction, verdicts, held)
    files = {
        "summary.md": summary_markdown(reproduction, verdicts),
        "epochs.csv": epochs_csv(reproduction),
        "result.json": json.dumps({**data, "report": "report.html"}, indent=1, ensure_ascii=False),
    }
    folder = report_folder(output, reproduction.quick, "" if is_own else reproduction.table.name)
    with writable(folder):
        page.write(pages, folder)
        for name, text in files.items():
            write_atomically(folder / name, text.encode())
    run.text(REPORT_FILE, pages.html)
    for name, text in {**pages.figures, "report.md": pages.markdown, **files}.items():
        run.text(f"report/{name}", text)
    return ReproductionRun(
        reproduction=reproduction,
        verdicts=verdicts,
        checks=held,
        folder=folder,
        result={**data, "report": str(folder / "report.html")},
    )


def report_folder(output: str, quick: bool, table: str) -> Path:
    """The folder of --output, or the default one for this table and for quick or full reproductions."""
    if output != "auto":
        return Path(output)
    name = "-".join(["report", *filter(None, [re.sub(r"[^\w-]+", "-", table)[:60], "quick" * quick])])
    return store.root() / "mlruns" / name


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn an OSError while writing to the folder into an InputError that names --output."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--output {folder} can't be written: {error.strerror}; give another folder") from error


def rewrite_report(run_id: str, against: str, output: str, statements: str = "") -> ReproductionRun:
    """Rewrite the pages of the given or the latest reproduction, from its recorded runs only."""
    store.setup()
    table = table_of(against) if against else None
    chosen = run_id_of(run_id, "--run-id ") if run_id else _latest(table)
    reproduction = recorded_reproduction(chosen, table)
    if statements:
        reproduction = replace(reproduction, statements=read_statements(Path(statements), reproduction.table))
    if against or statements:
        command = command_of({"against": against, "statements": statements}, "report")
        reproduction = replace(reproduction, commands=(*reproduction.commands, command))
    if against and not any(configuration.runs for configuration in reproduction.configurations):
        raise InputError(
            f"--against {against}: the reproduction {chosen} has trained none of its configurations; "
            f"train them first: tmlm reproduce --against {against}"
        )
    tags = {"reproduction.run_id": chosen, "reproduction.table": reproduction.table.name}
    with runs.tracked_run("report", "report", tags) as run:
        return write_report(reproduction, run, output)


def _latest(table: Table | None) -> str:
    """The run id of the latest reproduction: preferably of this table, then preferably not a quick one."""
    own = {"reproduction.table_digest": table.digest} if table else {}
    whole = {"reproduction.quick": "false"}
    for tags in ({**own, **whole}, own, whole, {}):
        if chosen := records.latest_run({"stage": STAGE, **tags}):
            return chosen
    raise InputError("there is no reproduction yet; run `tmlm reproduce` first")
