"""What ``reproduce --check`` holds a reproduction against: the printed complexity, and d2l's own perplexities.

A band is where one more training of d2l 1.0.3 would end with probability 1 - LEVEL, by the seeds that were recorded
(data/d2l_curves.csv, made by tests/benchmarks/record_d2l.py): a prediction interval of Student's t on the logarithm of
the perplexity, at the same epoch. A training is held against it at the last epoch that both have.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log, sqrt
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student

from models.complexity import Complexity
from pipeline.reported import DATA
from pipeline.reproduced import Configuration, RecordedTraining, Reproduction

LEVEL = 0.001  # of all bands, the share that a faithful training misses by chance
SMALLEST_SPREAD = 0.002  # standard deviation of the logarithm: other hardware adds as the numbers are rounded otherwise
KNOWN_ERRORS = {"gru-torch-1x128": "gru-scratch-1x32"}  # Figure 15 printed the complexity of the shape on the right
Split = Literal["train", "val"]


@dataclass(frozen=True)
class Check:
    """A figure, whether it is as it should be (None: nothing to hold it against), and both in a sentence."""

    name: str
    is_met: bool | None
    said: str


@dataclass(frozen=True)
class Band:
    """Where a perplexity is expected at an epoch, by so many trainings of d2l."""

    low: float
    high: float
    epoch: int
    seeds: int


@cache
def d2l_curves() -> Mapping[str, Mapping[Split, Sequence[Sequence[float]]]]:
    """Perplexities of d2l's trainings after each epoch: by configuration and split, one row for each seed."""
    found: dict[str, dict[Split, list[list[float]]]] = defaultdict(lambda: {"train": [], "val": []})
    with (DATA / "d2l_curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["id"]]["train"].append([float(value) for value in row["train_perplexities"].split()])
            found[row["id"]]["val"].append([float(value) for value in row["val_perplexities"].split()])
    return found


def band(curves: Sequence[Sequence[float]], epoch: int) -> Band | None:
    """The band at the epoch, or at the last one that all curves have; None of fewer than two curves."""
    if len(curves) < 2:
        return None
    last = min(epoch, *map(len, curves))
    logs = [log(curve[last - 1]) for curve in curves]
    count = len(logs)
    spread = max(stdev(logs), SMALLEST_SPREAD) * sqrt(1 + 1 / count)
    reach = float(student.ppf(1 - LEVEL / 2, count - 1)) * spread
    return Band(exp(fmean(logs) - reach), exp(fmean(logs) + reach), last, count)


def checks(found: Reproduction) -> tuple[Check, ...]:
    """All of them: of each configuration its complexity, and of each of its trainings both perplexities."""
    made: list[Check] = []
    for each in found.configurations:
        made += _complexity_checks(found, each)
        for run in each.runs:
            made += [_perplexity_check(each, run, split) for split in ("train", "val")]
    return tuple(made)


def refusal(made: Sequence[Check], left_out: Sequence[str] = ()) -> str:
    """What --check says when it is not met; "" when it is. ``left_out`` are trainings that could not be made."""
    failed = [check.said for check in made if check.is_met is False]
    said = [f"--check is not met by {len(failed)} of {len(made)} figures: {'; '.join(failed)}"] if failed else []
    if left_out:
        said.append(f"--check lacks {len(left_out)} of the trainings: {'; '.join(left_out)}")
    return ". ".join(said)


def _complexity_checks(found: Reproduction, each: Configuration) -> list[Check]:
    """Parameters and MACs as measured against as printed, to the last digit that is printed."""
    reported, cost = each.reported, each.complexity
    mmac = "" if reported.mmac is None else f"{reported.mmac:.10g}"
    compared: list[tuple[str, str, str, Callable[[Complexity], bool | None]]] = [
        (
            "parameters",
            f"{cost.report_parameters:,}",
            reported.params,
            lambda cost: reported.agrees_on_parameters(cost.report_parameters),
        ),
        ("MMac", f"{cost.report_macs / 1e6:.2f}", mmac, lambda cost: reported.agrees_on_macs(cost.report_macs)),
    ]
    others = {other.id: other.complexity for other in found.configurations}
    made = []
    for name, now, then, agrees in compared:
        if (is_met := agrees(cost)) is None:
            continue
        said, known = f"{each.id}: {now} {name} measured, {then} reported", KNOWN_ERRORS.get(each.id)
        if not is_met and known in others and agrees(others[known]):
            made.append(Check(f"{each.id} {name}", None, f"{said}, which is the figure of {known}: a known error"))
        else:
            made.append(Check(f"{each.id} {name}", is_met, said))
    return made


def _perplexity_check(each: Configuration, run: RecordedTraining, split: Split) -> Check:
    id, name = each.id, f"{each.id} seed {run.seed} {split}"
    reported = each.reported
    curves = d2l_curves().get(f"{reported.cell}-{reported.implementation}-{reported.num_layers}x{reported.hidden_size}")
    expected = band(curves[split], run.epochs) if curves is not None else None
    kind = "training" if split == "train" else "validation"
    if expected is None:
        return Check(name, None, f"{id}, seed {run.seed}: no {kind} perplexities of d2l to compare with")
    value = getattr(run, split)[expected.epoch - 1]
    inside = expected.low <= value <= expected.high
    said = (
        f"{id}, seed {run.seed}: {kind} perplexity {value:.3f} after {expected.epoch} epochs is "
        f"{'within' if inside else 'outside'} {expected.low:.3f} to {expected.high:.3f} "
        f"(d2l 1.0.3, {expected.seeds} seeds)"
    )
    return Check(name, inside, said)
