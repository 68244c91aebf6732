"""Evidence about sizes and times: parameters, MACs, and the order of training times."""

from collections.abc import Iterable
from itertools import permutations
from math import log
from re import search
from statistics import fmean

from models.complexity import Complexity, closed_form
from models.config import CellName, ModelConfig
from pipeline.report.claims.evidence import SECONDS_TOLERANCE, complexity_of, row, trainings
from pipeline.report.claims.findings import OPEN, Finding, Unit, settled
from pipeline.report.reproduction import Reproduction
from pipeline.report.table import REPORT_SYMBOLS, Reported, claims, rounds_to
from pipeline.report.wording import listed

PROPORTIONAL = 1.5  # largest factor between ratios of seconds and of MACs that still counts as proportional


def cheaper(reproduction: Reproduction, first: str, second: str) -> Finding:
    """Whether the first has fewer parameters and MACs than the second, in the report's convention."""
    one, other = complexity_of(reproduction, first), complexity_of(reproduction, second)
    text = (
        f"{first} has {one.report_parameters:,} parameters and {one.report_macs:,} MACs, {second} "
        f"{other.report_parameters:,} and {other.report_macs:,}: {one.report_parameters / other.report_parameters:.2f} "
        f"and {one.report_macs / other.report_macs:.2f} times as many."
    )
    return settled(one.report_parameters < other.report_parameters and one.report_macs < other.report_macs, text)


def stated(claim_id: str, unit: Unit) -> str:
    """The size in this unit as a claim states it."""
    claim = next(each.claim for each in claims() if each.id == claim_id)
    number = search(rf"([\d.]+) {unit}\b", claim)
    assert number, f"{claim_id} states no {unit}"
    return number[1]


def size(reproduction: Reproduction, claim_id: str, id: str, unit: Unit) -> Finding:
    """Whether the size that a claim states is the network's."""
    sizes = complexity_of(reproduction, id)
    number, divisor, what = {
        "k": (sizes.report_parameters, 1e3, "parameters"),
        "MMac": (sizes.report_macs, 1e6, "MACs"),
    }[unit]
    text = stated(claim_id, unit)
    exact = f"{id} has {number:,} {what}, which is {number / divisor:.2f} {unit}, and {text} {unit} is stated."
    return settled(rounds_to(number / divisor, text), exact)


def seconds(reported: Reported) -> float | None:
    """The reported training time: from the transcript, else from the prose."""
    transcript = reported.train_seconds_transcript
    return reported.train_seconds_prose if transcript is None else transcript


def pace(reproduction: Reproduction, ids: Iterable[str]) -> dict[str, float]:
    """Mean seconds per epoch of our complete trainings, by configuration."""
    times = {id: [run.train_seconds / run.epochs for run in trainings(reproduction, id)] for id in ids}
    return {id: fmean(those) for id, those in times.items() if those and min(those) > 0}


def time_and_size(reproduction: Reproduction) -> str:
    """A sentence on whether our seconds per epoch are proportional to MACs, naming the pair furthest from it.

    Pairs share cell and implementation; "" if no pair is trained.
    """
    times = pace(reproduction, [each.id for each in reproduction.configurations])
    rows = [row(reproduction, id) for id in times]
    pairs = [
        (
            complexity_of(reproduction, large.id).report_macs / complexity_of(reproduction, small.id).report_macs,
            large.id,
            small.id,
        )
        for small, large in permutations(rows, 2)
        if (small.cell, small.implementation) == (large.cell, large.implementation)
        and complexity_of(reproduction, small.id).report_macs < complexity_of(reproduction, large.id).report_macs
    ]
    if not pairs:
        return ""
    macs, large, small = max(pairs, key=lambda pair: abs(log(pair[0] * times[pair[2]] / times[pair[1]])))
    longer = times[large] / times[small]
    text = f"{large} has {macs:,.1f} times the MACs of {small} and took {longer:,.1f} times as long for each epoch here"
    if max(macs / longer, longer / macs) < PROPORTIONAL:
        return f"Time is in proportion to MACs, or nearly so: {text}, and no two are further from it."
    return f"Time is no measure of complexity: {text}."


def faster(reproduction: Reproduction, first: str, second: str) -> Finding:
    """Whether the first trained faster than the second, by the report's own numbers."""
    times = [seconds(row(reproduction, id)) for id in (first, second)]
    if times[0] is None or times[1] is None:
        return Finding(OPEN, f"The table lacks a time of {first if times[0] is None else second}.")
    than = "less" if times[0] < times[1] else "not less"
    text = f"By the report's own numbers {first} took {times[0]:g} s, {than} than {times[1]:g} s of {second}."
    return settled(times[0] < times[1], text)


def prose_is_transcript(reproduction: Reproduction, id: str) -> Finding:
    """Whether the seconds in the report's prose agree with its transcript."""
    prose, transcript = row(reproduction, id).train_seconds_prose, row(reproduction, id).train_seconds_transcript
    if prose is None or transcript is None:
        return Finding(OPEN, f"The report shows no transcript of {id}, so its {prose or 0:g} s can't be checked.")
    text = f"The report speaks of {prose:g} s for {id}, and its transcript has {transcript:g} s."
    if agree := abs(prose - transcript) <= SECONDS_TOLERANCE:
        return settled(agree, text)
    owners = [
        each.id
        for each in reproduction.table.rows
        if each.train_seconds_transcript is not None and abs(each.train_seconds_transcript - prose) <= SECONDS_TOLERANCE
    ]
    return settled(agree, f"{text} {prose:g} s is what {listed(owners)} took." if owners else text)


def sized(hidden_size: int, cell: CellName = "gru") -> Complexity:
    """Complexity of a single layer with the report's vocabulary."""
    return closed_form(ModelConfig(cell=cell, hidden_size=hidden_size), REPORT_SYMBOLS)


def width_of(reported: Reported) -> int | None:
    """The hidden size that has the printed parameters, given the row's cell and layers; None if no size has."""
    printed = search(r"([\d.]+) k", reported.params)
    if not printed:
        return None
    for hidden in range(1, 2 * max(1024, reported.hidden_size)):
        model = ModelConfig(cell=reported.cell, num_layers=reported.num_layers, hidden_size=hidden)
        parameters = closed_form(model, REPORT_SYMBOLS).report_parameters
        if rounds_to(parameters / 1e3, printed[1]):
            return hidden
        if parameters / 1e3 > float(printed[1]) + 1:
            break
    return None
