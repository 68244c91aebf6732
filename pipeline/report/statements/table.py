"""Read the statements of a report, one row each, from data/statements.csv or the file of ``--statements``.

``relation`` is the claim in machine-readable form; FORMS has those of each kind. What their names do not say:

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
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from re import fullmatch
from typing import Literal, NamedTuple, get_args

from pipeline.errors import InputError
from pipeline.report.table import DATA, SIZE, report_rows
from pipeline.support.files import read_small

Kind = Literal[
    "start", "end", "gap", "gap-onset", "gap-order", "generalises", "perplexity-order", "best", "texts", "texts-order",
    "size", "size-order", "print-out", "seconds", "time-order", "caption",
]  # fmt: skip

Basis = Literal["report", "training"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BASES: tuple[Basis, ...] = get_args(Basis)
CURVES = ("", "training", "validation", "training and validation", "not said")
LARGEST_FILE = 1_000_000  # bytes


@dataclass(frozen=True)
class Statement:
    """A statement of a report, in our words.

    ``configurations`` are ids: the first is the subject, which is compared with the others. ``basis`` is "report" if
    the report's own numbers, texts, print-outs and captions (or a count of operations) decide the statement, and
    "training" if a training does. ``reading`` says how an ambiguous word is read, ``contradiction`` what the report
    says elsewhere; the page shows both. ``reasons`` are the ids of the statements that the report gives as reasons for
    this one. ``curve`` is one of CURVES, "" if the statement is not about a curve.
    """

    id: str
    figures: tuple[str, ...]
    kind: Kind
    configurations: tuple[str, ...]
    statement: str
    value: str = ""
    curve: str = ""
    relation: str = ""
    basis: Basis = "training"
    reading: str = ""
    contradiction: str = ""
    reasons: tuple[str, ...] = ()


NUMBER = r"\d+(\.\d+)?"


class Form(NamedTuple):
    """What a statement of a kind may hold: patterns of relation and value, and the least number of configurations."""

    relation: str
    value: str = ".*"
    least: int = 1


FORMS: Mapping[Kind, Form] = {
    "caption": Form(
        r"in-order|figures|sizes|book|figure=\d+|((cell=(rnn|gru|lstm)|(layers|units)=\d+)( |$))+", least=0
    ),
    "print-out": Form(r"(rnn|gru|lstm)-[1-9]\d{0,2}x[1-9]\d{0,4}", f"{SIZE}; {SIZE}"),
    "size": Form("parameters|macs|units", SIZE),
    "size-order": Form("more|less|considerably-more|considerably-less", least=2),
    "seconds": Form("took", NUMBER),
    "time-order": Form(
        "slightly-longer|slightly-shorter|considerably-longer|not-considerably-longer|shorter-than-some", least=2
    ),
    "start": Form("about", NUMBER),
    "end": Form("about", NUMBER),
    "gap": Form(
        "not-visible-at-first|not-considerable-at-first|never-visible|never-considerable|visible-at-last|"
        "considerable-at-last|constant|overfitting|grows-throughout|grows-slightly",
        f"({NUMBER})?",
    ),
    "gap-onset": Form("from|from-slightly", r"[1-9]\d*"),
    "gap-order": Form("smaller|considerably-larger", least=2),
    "perplexity-order": Form("lower|higher|far-higher|higher-than-some|among-lowest", least=2),
    "generalises": Form("better|alike|better-unseen|worse-unseen", least=2),
    "best": Form("best|not-better|best-by-gap|most-accurate|by-each-reason|by-all-reasons", least=2),
    "texts": Form("prompts|transcript|sense|no-sense|sentences|close|not-close"),
    "texts-order": Form("same|closest|less-sense|alike-without-sense", least=2),
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
    text = read_small(path, "--statements", LARGEST_FILE)
    statements: list[Statement] = []
    where = ""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if missing := [column for column in REQUIRED_COLUMNS if column not in (reader.fieldnames or ())]:
            raise ValueError(f"no column {', '.join(missing)}; see pipeline/report/data/statements.csv")
        for number, line in enumerate(reader, 2):
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
        raise InputError(f"--statements {path}: the reasons of {error.args[1][0]} lead back to it") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"--statements {path}{where}: {error}") from None
    return tuple(statements)


def _statement(cells: Mapping[str, str]) -> Statement:
    """Parse one row. Raises ValueError, naming the column, for an invalid value."""
    cells = {**cells, "basis": cells["basis"] or "training"}
    for column, allowed in (("kind", KINDS), ("basis", BASES), ("curve", CURVES)):
        if cells[column] not in allowed:
            raise ValueError(f"{column} is {cells[column]!r}; it must be one of {', '.join(filter(None, allowed))}")
    form = FORMS[cells["kind"]]  # type: ignore[index]  # checked above
    for column, pattern in (("relation", form.relation), ("value", form.value)):
        if not fullmatch(pattern, cells[column]):
            raise ValueError(f"{column} is {cells[column]!r}; for {cells['kind']} it must match {pattern}")
    lists = {name: tuple(filter(None, map(str.strip, cells[name].split(";")))) for name in LISTS}
    statement = Statement(**{**cells, **lists})  # type: ignore[arg-type]  # checked above
    relation, least = statement.relation, form.least
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
