"""The kinds of statements: their titles on the page, what they may claim, and what judges them; read and judge all.

Statements are read from data/statements.csv or the file of ``--statements``, one row each.

``relation`` is the claim in machine-readable form; KINDS has those of each kind. What their names do not say:

    caption      in-order (the figures show the configurations, in this order); figures (each is of one of the table);
                 figure=5 (that one shows the first); sizes (of each are printed); book (the lines are text of the book)
    start, end   about (each curve that the statement names is about the value)
    gap          constant (about the value at every epoch); overfitting (validation perplexity rises again, as the
                 growing gap shows); grows-slightly (from the epoch that is the value, and gradually)
    gap-onset    from (visible from the epoch that is the value); from-slightly (and it grows little from there)
    orders       of the first compared with all others, unless it says with some
    generalises  better, alike (by the gap); better-unseen, worse-unseen (on text not trained on)
    best         best-by-gap (because the others' gap is larger), most-accurate (the first of each cell is best among
                 its cell); by-each-reason, by-all-reasons (it rests on its reasons alone)
    texts        prompts (the report shows texts after the same prompts), transcript (of which the table has the texts),
                 close, not-close (to how the book goes on)
    texts-order  same (letter for letter), closest (to the book)
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from re import fullmatch
from typing import NamedTuple

from pipeline.errors import InputError
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements import printed, texts, trained
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.verdicts import Statement, Verdict
from pipeline.report.table import DATA, SIZE, report_rows
from pipeline.support.files import read_small

# what decides a statement -> its name on the page
BASES = {"training": "by trainings", "report": "by the report's own numbers", "caption": "captions and references"}
CURVES = ("", "training", "validation", "training and validation", "not said")
LARGEST_FILE = 1_000_000  # bytes
NUMBER = r"\d+(\.\d+)?"
GAPS = (
    "not-visible-at-first|not-considerable-at-first|never-visible|never-considerable|visible-at-last|"
    "considerable-at-last|constant|overfitting|grows-throughout|grows-slightly"
)
TIMES = "slightly-longer|slightly-shorter|considerably-longer|not-considerably-longer|shorter-than-some"
SHOWN = r"in-order|figures|sizes|book|figure=\d+|((cell=(rnn|gru|lstm)|(layers|units)=\d+)( |$))+"


class Kind(NamedTuple):
    """A kind of statement; ``relation`` and ``value`` are patterns, ``least`` is the least number of configurations."""

    title: str
    judge: Callable[[Statement, Evidence], Verdict]
    relation: str
    value: str = ".*"
    least: int = 1


KINDS: Mapping[str, Kind] = {  # in the order of the page
    "start": Kind("Where the perplexities start", trained.judge_level, "about", NUMBER),
    "end": Kind("Where the perplexities end", trained.judge_level, "about", NUMBER),
    "gap": Kind("Generalisation gaps", trained.judge_gap, GAPS, f"({NUMBER})?"),
    "gap-onset": Kind(
        "The epoch from which there is a gap", trained.judge_gap_onset, "from|from-slightly", r"[1-9]\d*"
    ),
    "gap-order": Kind("Gaps compared", trained.judge_order, "smaller|considerably-larger", least=2),
    "generalises": Kind(
        "Which model generalises better",
        trained.judge_best,
        "better|alike|better-unseen|worse-unseen|by-each-reason",
        least=2,
    ),
    "perplexity-order": Kind(
        "Perplexities compared", trained.judge_order, "lower|higher|far-higher|higher-than-some|among-lowest", least=2
    ),
    "best": Kind(
        "The best models",
        trained.judge_best,
        "best|not-better|best-by-gap|most-accurate|by-each-reason|by-all-reasons",
        least=2,
    ),
    "texts": Kind("Generated texts", texts.judge_texts, "prompts|transcript|sense|no-sense|sentences|close|not-close"),
    "texts-order": Kind(
        "Texts compared", texts.judge_texts_order, "same|closest|less-sense|alike-without-sense", least=2
    ),
    "size": Kind("Parameters and MACs", printed.judge_size, "parameters|macs|units", SIZE),
    "size-order": Kind(
        "Sizes compared", printed.judge_size_order, "more|less|considerably-more|considerably-less", least=2
    ),
    "print-out": Kind(
        "Print-outs", printed.judge_print_out, r"(rnn|gru|lstm)-[1-9]\d{0,2}x[1-9]\d{0,4}", f"{SIZE}; {SIZE}"
    ),
    "seconds": Kind("Training times", printed.judge_seconds, "took", NUMBER),
    "time-order": Kind("Times compared", printed.judge_time_order, TIMES, least=2),
    "caption": Kind("Captions and references to figures", printed.judge_caption, SHOWN, least=0),
}

NEEDED = {  # relation -> the column that must not be empty
    "constant": "value",
    "grows-slightly": "value",
    "by-each-reason": "reasons",
    "by-all-reasons": "reasons",
}

COLUMNS = tuple(field.name for field in fields(Statement))
REQUIRED_COLUMNS = ("id", "kind", "configurations", "statement")
LISTS = ("figures", "configurations", "reasons")  # columns whose items are separated by semicolons


@cache
def report_statements() -> tuple[Statement, ...]:
    """The statements of the coursework report, in its order."""
    return read_statements(DATA / "statements.csv")


def read_statements(path: Path) -> tuple[Statement, ...]:
    """Read a table of statements. Raises InputError, naming line and column, for an invalid one."""
    reader = csv.DictReader(io.StringIO(read_small(path, "--statements", LARGEST_FILE), newline=""))
    return checked_statements(reader, f"--statements {path}")


def checked_statements(rows: Iterable[Mapping[str, str | None]], source: str) -> tuple[Statement, ...]:
    """The statements of a table's rows, from line 2 of ``source``. Raises InputError for an invalid one."""
    statements: list[Statement] = []
    where = ""
    try:
        for number, line in enumerate(rows, 2):
            if missing := [column for column in REQUIRED_COLUMNS if column not in line]:
                raise ValueError(f"no column {', '.join(missing)}; see pipeline/report/data/statements.csv")
            where = f", line {number}"
            statements.append(_statement({name: (line.get(name) or "").strip() for name in COLUMNS}))
        where, reasons = "", {statement.id: statement.reasons for statement in statements}
        if not statements or len(reasons) < len(statements):
            raise ValueError(f"it has {'an id twice' if statements else 'no rows'}; each needs an id of its own")
        for id, of_it in reasons.items():
            if strange := [reason for reason in of_it if reason not in reasons]:
                raise ValueError(f"the reasons of {id} have {strange[0]!r}, the id of no statement in the file")
        TopologicalSorter(reasons).prepare()
    except CycleError as error:
        raise InputError(f"{source}: the reasons of {error.args[1][0]} lead back to it") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{source}{where}: {error}") from None
    return tuple(statements)


def _statement(cells: Mapping[str, str]) -> Statement:
    """Parse one row. Raises ValueError, naming the column, for an invalid value."""
    cells = {**cells, "basis": cells["basis"] or "training"}
    for column, allowed in (("kind", [*KINDS]), ("basis", BASES), ("curve", CURVES)):
        if cells[column] not in allowed:
            raise ValueError(f"{column} is {cells[column]!r}; it must be one of {', '.join(filter(None, allowed))}")
    kind = KINDS[cells["kind"]]
    for column, pattern in (("relation", kind.relation), ("value", kind.value)):
        if not fullmatch(pattern, cells[column]):
            raise ValueError(f"{column} is {cells[column]!r}; for {cells['kind']} it must match {pattern}")
    lists = {name: tuple(filter(None, map(str.strip, cells[name].split(";")))) for name in LISTS}
    statement = Statement(**{**cells, **lists})  # type: ignore[arg-type]  # checked above
    relation, least = statement.relation, kind.least
    needed = ["id", "statement", *filter(None, [NEEDED.get(relation)])]
    if statement.kind == "caption" and "=" in relation:
        needed, least = [*needed, "figures"], int(relation.startswith("figure="))
    if empty := [column for column in needed if not cells[column]]:
        raise ValueError(f"{empty[0]} is empty; {relation or statement.kind} needs it")
    known = {row.id for row in report_rows()}
    if strange := [id for id in statement.configurations if id not in known]:
        raise ValueError(f"configurations has {strange[0]!r}; the table has {', '.join(sorted(known))}")
    if len(statement.configurations) < least:
        raise ValueError(f"configurations has too few ids; {statement.kind} needs {least} or more")
    return statement


def weigh(reproduction: Reproduction, statements: Sequence[Statement]) -> Evidence:
    """The evidence on the statements, with p values corrected over all their comparisons."""
    return Evidence(reproduction, statements, lambda each, evidence: KINDS[each.kind].judge(each, evidence)).corrected()
