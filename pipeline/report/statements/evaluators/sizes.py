"""Judge sizes: numbers of parameters and MACs (size, size-order), and the print-outs that they are read from.

Sizes are in the report's convention: the recurrent layers alone, and MACs of 1,024 characters.
"""

from re import fullmatch

from models.complexity import Complexity, closed_form
from models.config import ModelConfig
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.table import SIZE, Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, WRONG_REASON, Verdict, Word
from pipeline.report.table import REPORT_SYMBOLS, UNITS, Reported, rounds_to
from pipeline.support.wording import listed


def sized(hidden_size: int, cell: str = "gru", num_layers: int = 1) -> Complexity:
    """The complexity of a shape with the report's vocabulary, by the closed form."""
    return closed_form(ModelConfig(cell=cell, hidden_size=hidden_size, num_layers=num_layers), REPORT_SYMBOLS)


def shape_of(reported: Reported) -> str:
    """The shape of a row, such as gru-2x32."""
    return f"{reported.cell}-{reported.num_layers}x{reported.hidden_size}"


def printed_shape(id: str, evidence: Evidence) -> str:
    """The shape that the print-out of a configuration names; without a print-out, that of the configuration."""
    for statement in evidence.statements.values():
        if statement.kind == "print-out" and statement.configurations[:1] == (id,):
            return statement.relation
    return shape_of(evidence.row(id))


def as_printed(shape: str) -> str:
    """Format a shape as torch.nn prints it, such as GRU(28, 32, num_layers=2)."""
    cell, _, size = shape.partition("-")
    layers, _, hidden = size.partition("x")
    return f"{cell.upper()}({REPORT_SYMBOLS}, {hidden}{f', num_layers={layers}' * (layers != '1')})"


def size_of(shape: str, evidence: Evidence) -> Complexity:
    """The complexity of a shape: measured if a configuration has it, otherwise by the closed form."""
    for configuration in evidence.reproduction.configurations:
        if shape_of(configuration.reported) == shape:
            return configuration.complexity
    cell, _, size = shape.partition("-")
    layers, _, hidden = size.partition("x")
    return sized(int(hidden), cell, int(layers))  # a cell, by RELATIONS of the table


def agrees(stated: str, size: Complexity, evidence: Evidence) -> bool:
    """Whether a stated size is that of a complexity, within a part of its last digit."""
    number, unit = _parsed(stated)
    exact = size.report_macs / 1e6 if unit == "MMac" else size.report_parameters / UNITS[unit]
    return rounds_to(exact, number, evidence.bounds.last_digit)


def _parsed(stated: str) -> tuple[str, str]:
    """The number and the unit of a stated size."""
    match = fullmatch(SIZE, stated)
    assert match, stated
    return match[1].replace(",", ""), match[2]


def _exact(stated: str, size: Complexity) -> str:
    """The exact number of what is stated: MACs or parameters."""
    return f"{size.report_macs:,} MACs" if stated.endswith("MMac") else f"{size.report_parameters:,} parameters"


def judge_print_out(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether ptflops prints these sizes for the shape that the print-out names."""
    id, shape, stated = statement.configurations[0], statement.relation, statement.value.split("; ")
    size = size_of(shape, evidence)
    right = [each for each in stated if agrees(each, size, evidence)]
    because = f"ptflops counts {listed([_exact(each, size) for each in stated])} for {as_printed(shape)}."
    own = shape_of(evidence.row(id))
    if own != shape:
        other = evidence.complexity(id)
        because += (
            f" The print-out itself says {as_printed(shape)}, not {as_printed(own)}, which has "
            f"{other.report_parameters:,} parameters and {other.report_macs:,} MACs."
        )
    if not right:
        return Verdict(statement, FAILS, because)
    if len(right) < len(stated):
        return Verdict(statement, IN_PART, because, part=listed(right))
    return Verdict(statement, HOLDS, because)


def judge_size(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a size in prose is that of the configuration, and of its print-out if that shows another shape."""
    if statement.relation == "units":
        return _judge_units(statement, evidence)
    id, stated = statement.configurations[0], statement.value
    own, shape = evidence.complexity(id), printed_shape(id, evidence)
    printed = size_of(shape, evidence)
    because = f"{id} has {_exact(stated, own)}; {stated} is stated."
    if agrees(stated, own, evidence):
        return Verdict(statement, HOLDS, because)
    if agrees(stated, printed, evidence):
        because += f" The print-out is of {as_printed(shape)}, which has {_exact(stated, printed)}."
        return Verdict(statement, IN_PART, because, part=f"as the size of {as_printed(shape)}, which was printed")
    return Verdict(statement, FAILS, because)


def _judge_units(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the print-outs of all configurations name this number of units."""
    units = {id: printed_shape(id, evidence).rpartition("x")[2] for id in statement.configurations}
    because = f"The print-outs name {listed([f'{number} units for {id}' for id, number in units.items()])}."
    return Verdict(statement, HOLDS if {*units.values()} == {statement.value} else FAILS, because)


def judge_size_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a configuration has more or fewer parameters and MACs than others, by the shapes of the table."""
    first, *others = statement.configurations
    if statement.relation == "less-than-itself":
        return _judge_against_itself(statement, evidence)
    shapes = {id: printed_shape(id, evidence) for id in statement.configurations}
    ratios = [_ratios(evidence.complexity(first), evidence.complexity(other)) for other in others]
    factors = [
        f"{parameters:.2f} times as many parameters and {macs:.2f} times as many MACs as {other}"
        for other, (parameters, macs) in zip(others, ratios, strict=True)
    ]
    because = f"{first} has {listed(factors)}."
    word, part = _ordered(statement.relation, [ratio for pair in ratios for ratio in pair], evidence)
    strange = [id for id, shape in shapes.items() if shape != shape_of(evidence.row(id))]
    if strange:
        printed = listed([as_printed(shapes[id]) for id in strange])
        because += f" The report's own numbers are those of {printed}, which was printed."
        word = WRONG_REASON if word == HOLDS else word
    return Verdict(statement, word, because, part=part)


def _ratios(one: Complexity, other: Complexity) -> tuple[float, float]:
    """The ratios of parameters and of MACs."""
    return one.report_parameters / other.report_parameters, one.report_macs / other.report_macs


def _ordered(relation: str, ratios: list[float], evidence: Evidence) -> tuple[Word, str]:
    """The word for ratios of sizes, and which part holds."""
    less = relation.endswith("less")
    factors = [1 / ratio for ratio in ratios] if less else ratios
    if min(factors) <= 1:
        return FAILS, ""
    if relation.startswith("considerably") and min(factors) < 1 + evidence.bounds.considerably:
        return IN_PART, f"{'less' if less else 'more'}, but not considerably"
    return HOLDS, ""


def _judge_against_itself(statement: Statement, evidence: Evidence) -> Verdict:
    """Refute that a configuration is smaller than itself, and say whether the one that the caption names would be."""
    id, captioned, *_ = statement.configurations
    own, other = evidence.complexity(id), evidence.complexity(captioned)
    order = "smaller" if max(_ratios(other, own)) < 1 else "not smaller"
    because = (
        f"By its print-out this is {id}, with {own.report_parameters:,} parameters and {own.report_macs:,} MACs, which "
        f"is compared with itself. Read by the caption it is {captioned} ({other.report_parameters:,} and "
        f"{other.report_macs:,}), which is {order}."
    )
    return Verdict(statement, FAILS, because)
