"""Judge what the report's own numbers decide: sizes and their print-outs, training times, captions.

Sizes are in the report's convention: the recurrent layers alone, and MACs of 1,024 characters. Of times, a transcript
takes precedence over prose; seconds of different machines can't be compared, but their ratios can.
"""

from collections.abc import Mapping

from models.complexity import REPORT_SYMBOLS, Complexity, closed_form
from models.config import ModelConfig
from pipeline.report.statements import bounds
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.verdicts import Graded, Part, Statement, Verdict, Word, all_of, each_of, holds_if
from pipeline.report.table import Reported, size_agrees
from pipeline.support.wording import listed


def model_of(row: Reported) -> ModelConfig:
    """The model of a row of the table, whatever its implementation."""
    return ModelConfig(cell=row.cell, num_layers=row.num_layers, hidden_size=row.hidden_size)


def printed_model(id: str, evidence: Evidence) -> ModelConfig:
    """The model that the print-out of a configuration names; without a print-out, that of the configuration."""
    for statement in evidence.statements.values():
        if isinstance(statement.claim, ModelConfig) and statement.configurations[:1] == (id,):
            return statement.claim
    return model_of(evidence.row(id))


def as_printed(model: ModelConfig) -> str:
    """Format a model as torch.nn prints it, such as GRU(28, 32, num_layers=2)."""
    layers = f", num_layers={model.num_layers}" if model.num_layers > 1 else ""
    return f"{model.cell.upper()}({REPORT_SYMBOLS}, {model.hidden_size}{layers})"


def exact(size: Complexity) -> str:
    return f"{size.report_parameters:,} parameters and {size.report_macs:,} MACs"


def judge_print_out(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether ptflops prints these sizes for the model that the print-out names."""
    id, model, stated = statement.configurations[0], statement.claim, statement.value.split("; ")
    assert isinstance(model, ModelConfig)
    size, own = closed_form(model, REPORT_SYMBOLS), model_of(evidence.row(id))
    because = f"{as_printed(model)} has {exact(size)}."
    if own != model:
        because += f" {as_printed(own)}, of which it is said to be, has {exact(evidence.reproduction[id].complexity)}."
    parts = [Part(each, holds_if(size_agrees(each, size))) for each in stated]
    return each_of(statement, parts, because)


def judge_size(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a size in prose is that of the configuration, or at least of its print-out if that is of another."""
    models = {id: printed_model(id, evidence) for id in statement.configurations}
    if statement.relation == "units":
        units = {id: str(model.hidden_size) for id, model in models.items()}
        because = f"The print-outs name {listed([f'{number} units for {id}' for id, number in units.items()])}."
        return Verdict(statement, holds_if({*units.values()} == {statement.value}), because)
    (id, model), stated = next(iter(models.items())), statement.value
    own, printed = evidence.reproduction[id].complexity, closed_form(model, REPORT_SYMBOLS)
    because = f"{id} has {exact(own)}; {stated} is stated."
    is_own, is_printed = (size_agrees(stated, size) for size in (own, printed))
    if is_printed and not is_own:
        because += f" The print-out is of {as_printed(model)}, which has {exact(printed)}."
        return Verdict(statement, Word.IN_PART, because, part=f"as the size of {as_printed(model)}, which was printed")
    return Verdict(statement, holds_if(is_own), because)


def judge_size_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a configuration has more or fewer parameters and MACs than others, by the shapes of the table."""
    first, *others = statement.configurations
    own, claim = evidence.reproduction[first].complexity, statement.claim
    assert isinstance(claim, Graded)
    words: list[Word] = []
    shown = []
    for other in others:
        size = evidence.reproduction[other].complexity
        ratios = own.report_parameters / size.report_parameters, own.report_macs / size.report_macs
        shown.append(f"{ratios[0]:.2f} times the parameters and {ratios[1]:.2f} times the MACs of {other}")
        words += [ratio_word(claim, ratio) for ratio in ratios]
    word, because = all_of(words), f"{first} has {listed(shown)}."
    part = f"{claim.word}, but not considerably" if word == Word.IN_PART else ""
    models = {id: printed_model(id, evidence) for id in statement.configurations}
    if strange := [as_printed(model) for id, model in models.items() if model.shape != evidence.row(id).shape]:
        because += f" The report's own numbers are those of {listed(strange)}, which was printed."
        word = Word.WRONG_REASON if word == Word.HOLDS else word
    return Verdict(statement, word, because, part)


def ratio_word(claim: Graded, ratio: float) -> Word:
    """Judge the ratio of a number to another.

    IN_PART if only the direction is right; "not considerably" allows for the other direction as well.
    """
    factor = 1 / ratio if claim.word in ("less", "shorter") else ratio
    if claim.degree == "not considerably":
        return holds_if(factor < 1 + bounds.CONSIDERABLY)
    if factor <= 1:
        return Word.FAILS
    if claim.degree == "slightly":
        return Word.HOLDS if factor <= 1 + bounds.SLIGHTLY else Word.IN_PART
    return Word.HOLDS if claim.degree != "considerably" or factor >= 1 + bounds.CONSIDERABLY else Word.IN_PART


def judge_seconds(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a time in prose is that of the transcript."""
    id, stated = statement.configurations[0], float(statement.value)
    rows = [configuration.reported for configuration in evidence.reproduction.configurations]
    taken = {row.id: row.train_seconds_transcript for row in rows if row.train_seconds_transcript is not None}
    if id not in taken:
        because = f"No transcript of {id} shows a time, and another machine's seconds decide nothing."
        return Verdict(statement, Word.OPEN, because, part="not checkable")
    because = f"{stated:g} s is stated, and the transcript has {taken[id]:g} s."
    agreeing = [other for other, seconds in taken.items() if abs(seconds - stated) <= bounds.SECONDS]
    if agreeing and id not in agreeing:
        because += f" {stated:g} s is what {listed(agreeing)} took."
    return Verdict(statement, holds_if(id in agreeing), because)


def judge_time_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether a configuration took longer or shorter than others by the report's own times."""
    first, *others = statement.configurations
    claim = statement.claim
    assert isinstance(claim, Graded)
    times = {id: evidence.row(id).train_seconds for id in statement.configurations}
    because = f"{first} took {times[first]:g} s, against {listed([f'{times[id]:g} s of {id}' for id in others])}."
    prose = evidence.row(first).train_seconds_prose
    if abs(prose - times[first]) > bounds.SECONDS:
        because += f" The prose has {prose:g} s of {first}, which its transcript contradicts."
    if claim.degree == "than some":
        return Verdict(statement, holds_if(any(times[first] < times[id] for id in others)), because)
    parts = []
    for id in others:
        word = ratio_word(claim, times[first] / times[id])
        degree = f", but not {claim.degree}" if word == Word.IN_PART else ""
        parts.append(Part(f"against {id}{degree}", word))
    return each_of(statement, parts, because)


def judge_caption(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the table and the print-outs what is said of the figures, or of the lines of the book."""
    claim, ids = statement.claim, statement.configurations
    shown = list(dict.fromkeys(map(evidence.id_of_figure, statement.figures)))
    if claim == "in-order":  # the figures show the configurations, in this order
        return Verdict(statement, holds_if(tuple(shown) == ids), f"The figures are of {listed(shown)}.")
    if claim == "figures":  # each figure is of a configuration in the table
        because = f"The {len(statement.figures)} figures are of {listed(shown)}."
        return Verdict(statement, holds_if("none" not in shown), because)
    if claim == "sizes":  # parameters and MACs of each configuration are printed
        lacking = [id for id in ids if not evidence.row(id).params or evidence.row(id).mmac is None]
        because = f"Parameters and MACs are printed of {len(ids) - len(lacking)} of the {len(ids)}."
        return Verdict(statement, holds_if(not lacking), because)
    if claim == "book":  # the prompts that the lines hold stand in the text
        places = {place.prompt: place.position for place in evidence.reproduction.text.prompts}
        found = [f"“{prompt}” at character {places[prompt]:,}" for prompt in ("proceeded the", "staring hard")]
        return Verdict(statement, Word.HOLDS, f"The text has {listed(found)}.")
    assert isinstance(claim, Mapping)
    if "figure" in claim:  # a figure that the text names is of the first configuration
        of = evidence.id_of_figure(figure := claim["figure"])
        because = f"Figure {figure} is of {of}; the figures of {ids[0]} are {listed(evidence.row(ids[0]).figures)}."
        return Verdict(statement, holds_if(of == ids[0]), because)
    return _properties_named(statement, claim, evidence)


def _properties_named(statement: Statement, said: Mapping[str, str], evidence: Evidence) -> Verdict:
    """Whether the network that a figure shows, by its print-out if it is one, is that of its caption."""
    figure = statement.figures[0]
    row = evidence.row(evidence.id_of_figure(figure))
    print_outs = (each for each in evidence.statements.values() if each.kind == "print-out")
    is_print_out = any(figure in print_out.figures for print_out in print_outs)
    model = printed_model(row.id, evidence) if is_print_out else model_of(row)
    properties = {"cell": model.cell, "layers": str(model.num_layers), "units": str(model.hidden_size)}
    wrong = [f"{value.upper()} {name}" for name, value in said.items() if properties[name] != value]
    source = "its own print-out" if is_print_out else "the text about it"
    because = f"Figure {figure} shows {model.shape.replace('-', ' ').upper().replace('X', 'x')}, by {source}."
    if wrong:
        because += f" The caption says {listed(wrong).removesuffix(' cell')}."
    return Verdict(statement, holds_if(not wrong), because)
