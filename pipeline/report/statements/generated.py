"""Generate the statements that a table of reported numbers makes by itself: levels, times, sizes and texts."""

from collections.abc import Iterator, Mapping

from pipeline.report.statements.table import Kind, Statement, report_statements
from pipeline.report.table import Reported, Split, Table, report_table
from pipeline.support.wording import counted

LEVEL = (
    "Held to the protocol's text, split and average (the mean over batches of exp of the batch's loss); a perplexity "
    "of another text or average is another quantity."
)

TIME = "No machine is named: held to ours, relative to the table's other times."

CURVES: Mapping[Split, str] = {
    "": "not said",
    "training": "training",
    "validation": "validation",
    "both": "training and validation",
}


def statements_of(table: Table) -> tuple[Statement, ...]:
    """The statements to judge without a file of statements: the report's for its own table, otherwise the table's."""
    if table.digest == report_table().digest:
        return report_statements()
    return tuple(statement for row in table.rows for statement in (*_levels(row), *_costs(row), *_texts(row)))


def _stated(row: Reported, kind: Kind, text: str, value: str = "", **more: str) -> Statement:
    name = more.pop("name", kind)
    return Statement(f"{row.id}-{name}", row.figures, kind, (row.id,), text, value, **more)  # type: ignore[arg-type]


def _levels(row: Reported) -> Iterator[Statement]:
    curve = CURVES[row.split]
    which = f"{curve} perplexity" if row.split else "perplexity"
    after = f" after epoch {row.epoch}" if row.epoch else ""
    if (start := row.perplexity_start) is not None:
        yield _stated(row, "start", f"The {which} of {row.id} starts at {start:g}.", f"{start:g}", **_of_level(curve))
    if (end := row.perplexity_end) is not None:
        mean = f" (mean of {counted(row.seeds, 'training')})" if row.seeds else ""
        text = f"The {which} of {row.id} is {end:g}{after or ' at the end'}{mean}."
        yield _stated(row, "end", text, f"{end:g}", **_of_level(curve))


def _of_level(curve: str) -> dict[str, str]:
    unsaid = " Which curve it is of is not said: each is looked at." if curve == "not said" else ""
    return {"curve": curve, "relation": "about", "reading": f"{LEVEL}{unsaid}"}


def _costs(row: Reported) -> Iterator[Statement]:
    prose, transcript = row.train_seconds_prose, row.train_seconds_transcript
    if prose and transcript:
        text = f"{row.id} trained in {prose:g} seconds."
        yield _stated(row, "seconds", text, f"{prose:g}", relation="took", basis="report")
    elif seconds := prose or transcript:
        text = f"{row.id} trained in {seconds:g} seconds."
        yield _stated(row, "seconds", text, f"{seconds:g}", relation="relative", reading=TIME)
    if row.params:
        text = f"{row.id} has {row.params} parameters."
        yield _stated(row, "size", text, row.params, name="parameters", relation="parameters", basis="report")
    if row.mmac is not None:
        size = f"{row.mmac:.10g} MMac"
        yield _stated(row, "size", f"{row.id} costs {size}.", size, name="macs", relation="macs", basis="report")


def _texts(row: Reported) -> Iterator[Statement]:
    if row.samples:
        written = " / ".join(text for _, text in row.samples)
        yield _stated(row, "texts", f"{row.id} wrote: {written}", name="transcript", relation="transcript")
