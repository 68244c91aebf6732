"""The stage ``report``: judge recorded trainings and write the page."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import InputError
from pipeline.report.checks import Check, checks
from pipeline.report.corrections import corrections
from pipeline.report.open_data import result
from pipeline.report.page.page import pages
from pipeline.report.record import recorded_reproduction
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import Verdict
from pipeline.results import REPORT, REPRODUCE, ReproductionResult
from pipeline.support.files import write_atomically
from pipeline.tracking import queries, runs, store
from pipeline.tracking.references import find

REPORT_FILE = "report/report.html"  # in the artifacts


@dataclass(frozen=True)
class ReproductionRun:
    """A reproduction with its verdicts, checks, the folder of its page, and the flat result."""

    reproduction: Reproduction = field(repr=False)
    verdicts: Sequence[Verdict] = field(repr=False)
    checks: Sequence[Check] = field(repr=False)
    folder: Path
    result: ReproductionResult = field(repr=False)


def report_files(evidence: Evidence, held: Sequence[Check]) -> dict[str, str]:
    """The pages and the data of a reproduction, by path."""
    reproduction, verdicts = evidence.reproduction, evidence.verdicts
    data = {**result(reproduction, verdicts, held), "report": "report.html"}
    files = pages(reproduction, verdicts, corrections(evidence), held)
    return files | {"result.json": json.dumps(data, indent=1, ensure_ascii=False)}


def write_report(reproduction: Reproduction, run: runs.TrackedRun) -> ReproductionRun:
    """Judge the reproduction; write its pages and data to disk, and log them as artifacts of ``run``."""
    evidence, held = weigh(reproduction, report_statements()), checks(reproduction)
    files = report_files(evidence, held)
    folder = report_folder(reproduction.quick)
    with writable(folder):
        for name, text in files.items():
            write_atomically(folder / name, text.encode())
    for name, text in files.items():
        run.text(f"report/{name}", text)
    data = json.loads(files["result.json"]) | {"report": str(folder / "report.html")}
    return ReproductionRun(reproduction, evidence.verdicts, held, folder, data)


def report_folder(quick: bool) -> Path:
    """The folder of the page of a quick or full reproduction."""
    return store.root() / "mlruns" / f"report{'-quick' * quick}"


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn an OSError while writing to the folder into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}") from error


def rewrite_report(run_id: str) -> ReproductionRun:
    """Rewrite the pages of the given or the latest reproduction, from its recorded runs only."""
    store.setup()
    stage, full = queries.has_tag("stage", REPRODUCE), queries.has_tag("reproduction.quick", "false")
    chosen = find(run_id, "--run-id ") if run_id else queries.latest(stage, full)
    chosen = chosen or queries.latest(stage)  # a quick one only if there is no other
    if chosen is None:
        raise InputError("there is no reproduction yet; run `tmlm reproduce` first")
    reproduction = recorded_reproduction(chosen.id)
    with runs.tracked_run(REPORT, REPORT, {"reproduction.run_id": chosen.id}) as run:
        return write_report(reproduction, run)
