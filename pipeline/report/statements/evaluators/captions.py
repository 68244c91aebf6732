"""Judge captions and references to figures by what the table and the print-outs say that the figures show."""

from collections.abc import Callable, Mapping

from pipeline.report.statements.evaluators.sizes import printed_shape
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Verdict
from pipeline.report.table import Reported
from pipeline.support.wording import listed


def judge_caption(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: one of RELATIONS, figure=N, or properties that the caption names."""
    if judge := RELATIONS.get(statement.relation):
        return judge(statement, evidence)
    name, _, value = statement.relation.partition("=")
    return _points_to(value, statement, evidence) if name == "figure" else _properties_named(statement, evidence)


def _properties_named(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the network that a figure shows has the properties that its caption names."""
    figure = statement.figures[0]
    row = evidence.row_of_figure(figure)
    if row is None:
        return Verdict(statement, OPEN, f"No row of the table names figure {figure}.", part="the figure")
    shown = _properties(row, figure, evidence)
    said = dict(each.split("=") for each in statement.relation.split())
    wrong = [f"{value.upper()} {name}" for name, value in said.items() if shown[name] != value]
    what = f"{shown['cell'].upper()} {shown['layers']}x{shown['units']}"
    because = f"Figure {figure} shows {what}, by {_source(figure, evidence)}."
    if wrong:
        return Verdict(statement, FAILS, f"{because} The caption says {listed(wrong).removesuffix(' cell')}.")
    return Verdict(statement, HOLDS, because)


def _properties(row: Reported, figure: str, evidence: Evidence) -> Mapping[str, str]:
    """Cell, layers and units of the network in a figure: by the print-out if it is one, otherwise by the table."""
    shape = f"{row.cell}-{row.num_layers}x{row.hidden_size}"
    if _is_print_out(figure, evidence):
        shape = printed_shape(row.id, evidence)
    cell, _, size = shape.partition("-")
    layers, _, units = size.partition("x")
    return {"cell": cell, "layers": layers, "units": units}


def _is_print_out(figure: str, evidence: Evidence) -> bool:
    return any(each.kind == "print-out" and figure in each.figures for each in evidence.statements.values())


def _source(figure: str, evidence: Evidence) -> str:
    return "its own print-out" if _is_print_out(figure, evidence) else "the text about it"


def _points_to(figure: str, statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a figure that the text names is one of the first configuration."""
    row = evidence.row_of_figure(figure)
    if row is not None and row.id == statement.configurations[0]:
        return Verdict(statement, HOLDS, f"Figure {figure} is of {row.id}.")
    of = row.id if row is not None else "no configuration of the table"
    figures = listed(evidence.row(statement.configurations[0]).figures) or "none"
    because = f"Figure {figure} is of {of}; the figures of {statement.configurations[0]} are {figures}."
    return Verdict(statement, FAILS, because)


def _in_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the figures show the configurations, in this order."""
    rows = [evidence.row_of_figure(figure) for figure in statement.figures]
    shown = dict.fromkeys(row.id if row is not None else "none" for row in rows)
    because = f"The figures are of {listed(list(shown))}."
    return Verdict(statement, HOLDS if tuple(shown) == statement.configurations else FAILS, because)


def _figures(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether each figure is of a configuration in the table."""
    lacking = [figure for figure in statement.figures if evidence.row_of_figure(figure) is None]
    count = len(statement.figures)
    if lacking:
        return Verdict(statement, FAILS, f"No row of the table names figure {listed(lacking)}.")
    return Verdict(statement, HOLDS, f"Each of the {count} figures is that of its paragraph.")


def _sizes(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether parameters and MACs of each configuration are printed."""
    rows = [evidence.row(id) for id in statement.configurations]
    lacking = [row.id for row in rows if not row.params or row.mmac is None]
    if lacking:
        return Verdict(statement, FAILS, f"No parameters or MACs are printed of {listed(lacking)}.")
    return Verdict(statement, HOLDS, f"Parameters and MACs are printed of each of the {len(rows)}.")


def _book(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the prompts that the lines hold stand in the text."""
    wanted = ("proceeded the", "staring hard")
    places = {place.prompt: place for place in evidence.reproduction.text.prompts}
    lacking = [prompt for prompt in wanted if prompt not in places]
    if lacking:
        because = f"The record does not say where the text has {listed(lacking)}."
        return Verdict(statement, OPEN, because, part="the book's text")
    found = listed([f"“{prompt}” at character {places[prompt].position:,}" for prompt in wanted])
    return Verdict(statement, HOLDS, f"The text has {found}.")


RELATIONS: Mapping[str, Callable[[Statement, Evidence], Verdict]] = {
    "in-order": _in_order,
    "figures": _figures,
    "sizes": _sizes,
    "book": _book,
}
