"""What ``reproduce --check`` holds a reproduction against: the printed complexity, and d2l's own perplexities.

A band is where one more training of d2l 1.0.3 would be after an epoch with a given probability, by the seeds that were
recorded (data/d2l_curves.csv, made by tests/benchmarks/record_d2l.py): a prediction interval of Student's t on the
logarithm of the perplexity. A training is held against it after several epochs, up to the last that both have, each at
its share of LEVEL (Bonferroni). For some configurations d2l's trainings end long before the protocol does: what goes
wrong later is not seen there, and where a band has room for the perplexity of letter frequencies a wrong learning rate
may go unseen. ``counted`` says which these are.

What was seen of half and of twice the right learning rate, one seed each: both of GRU and LSTM 1x8 and 1x32 and of GRU
2x32, within 20 epochs; neither of LSTM 2x32, whose seeds differ much, within 40; of GRU 2x128 in its 8 epochs the
double one, barely; not that of GRU 8x32 in its 6.
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

from models.cells import CELLS
from models.complexity import Complexity
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from pipeline.report.table import DATA, report_table

LEVEL = 0.001  # of all perplexity curves, the share in which a faithful training leaves a band by chance

EPOCHS = (5, 10, 20, 50)  # after which perplexities are compared, beside the last one that all have

SMALLEST_SPREAD = 0.002  # standard deviation of the logarithm: other hardware adds as the numbers are rounded otherwise

KNOWN_ERRORS = {"gru-torch-1x128": "gru-scratch-1x32"}  # the report's Figure 15 printed the shape on the right

Split = Literal["train", "val"]

CheckKind = Literal["printed", "trained", "train", "val"]  # a printed size, the size that was trained, a perplexity


@dataclass(frozen=True)
class Check:
    """A figure of a configuration, whether it is as it should be (None: nothing to hold it against), in a sentence.

    Of a perplexity, ``epochs`` are those after which it was compared, ``planned`` is how many the training is to have;
    it ``is_blind`` where letter frequencies alone would be within every band.
    """

    name: str
    is_met: bool | None
    said: str
    configuration: str = ""
    kind: CheckKind = "printed"
    epochs: tuple[int, ...] = ()
    planned: int = 0
    is_blind: bool = False


@dataclass(frozen=True)
class Band:
    """Where a perplexity is expected, both ends included."""

    low: float
    high: float

    def __contains__(self, perplexity: float) -> bool:
        return self.low <= perplexity <= self.high


@cache
def d2l_curves() -> Mapping[str, Mapping[Split, Sequence[Sequence[float]]]]:
    """Perplexities of d2l's trainings after each epoch: by configuration and split, one row for each seed."""
    found: dict[str, dict[Split, list[list[float]]]] = defaultdict(lambda: {"train": [], "val": []})
    with (DATA / "d2l_curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["id"]]["train"].append([float(value) for value in row["train_perplexities"].split()])
            found[row["id"]]["val"].append([float(value) for value in row["val_perplexities"].split()])
    return found


def compared_epochs(curves: Sequence[Sequence[float]], epochs: int) -> tuple[int, ...]:
    """After which epochs a training of so many is compared: some early ones, and the last one that all have.

    None where fewer than two curves leave nothing to draw a band from.
    """
    last = min(epochs, *map(len, curves)) if len(curves) > 1 else 0
    return (*(epoch for epoch in EPOCHS if epoch < last), last) if last else ()


def band(curves: Sequence[Sequence[float]], epoch: int, level: float = LEVEL) -> Band:
    """Where one more curve is after the epoch with probability 1 - level; of at least two curves that go so far."""
    logs = [log(curve[epoch - 1]) for curve in curves]
    count = len(logs)
    spread = max(stdev(logs), SMALLEST_SPREAD) * sqrt(1 + 1 / count)
    reach = float(student.ppf(1 - level / 2, count - 1)) * spread
    return Band(exp(fmean(logs) - reach), exp(fmean(logs) + reach))


def checks(reproduction: Reproduction) -> tuple[Check, ...]:
    """All checks: printed complexity of each configuration, size and both perplexities of each training."""
    made: list[Check] = []
    for each in reproduction.configurations:
        made += _complexity_checks(reproduction, each)
        for run in each.runs:
            made += _size_check(each, run)
            made += [_perplexity_check(reproduction, each, run, split) for split in ("train", "val")]
    return tuple(made)


def refusal(made: Sequence[Check], left_out: Sequence[str] = ()) -> str:
    """What --check says when it is not met; "" when it is. ``left_out`` are trainings that could not be made."""
    failed = [check.said for check in made if check.is_met is False]
    said = [f"--check is not met by {len(failed)} of {len(made)} figures: {'; '.join(failed)}"] if failed else []
    if left_out:
        said.append(f"--check lacks {len(left_out)} of the trainings: {'; '.join(left_out)}")
    return ". ".join(said)


def counts_in_words(made: Sequence[Check]) -> list[str]:
    """Sentences on how many figures are as they should be, and how far into their trainings perplexities are held."""
    met, failed = (sum(check.is_met is outcome for check in made) for outcome in (True, False))
    left = len(made) - met - failed
    more = f" {left} more: a known error of the report, or nothing of d2l's to compare with." if left else ""
    said = f"Of {met + failed} figures {met} are as printed, of the size of their shape, or within d2l 1.0.3's bands"
    return [f"{said}; {failed} {'is' if failed == 1 else 'are'} not.{more}", *filter(None, [_reach(made)])]


def _reach(made: Sequence[Check]) -> str:
    """Which configurations are held to their last epoch, and which not so far; "" without any perplexity."""
    perplexities: dict[str, list[Check]] = defaultdict(list)
    for check in made:
        if check.kind in ("train", "val"):
            perplexities[check.configuration].append(check)
    to_the_end, earlier, nowhere, blind = [], [], [], []
    for id, of_it in perplexities.items():
        held = [check for check in of_it if check.epochs]
        if not held:
            nowhere.append(id)
            continue
        least = min(held, key=lambda check: check.epochs[-1] / check.planned)
        if least.epochs[-1] < least.planned:
            earlier.append(f"{id} {least.epochs[-1]} of {least.planned}")
        else:
            to_the_end.append(id)
        if any(check.is_blind for check in held):
            blind.append(id)
    groups = [
        ("up to the last epoch", to_the_end),
        ("up to an earlier one only", earlier),
        ("nowhere, for want of d2l's", nowhere),
    ]
    listed = [f"{len(ids)} {words} ({', '.join(ids)})" for words, ids in groups if ids]
    if not listed:
        return ""
    said = f"Perplexities are held against d2l's for {'; for '.join(listed)}."
    if blind:
        said += f" Where letter frequencies alone would pass, a wrong learning rate may go unseen: {', '.join(blind)}."
    return said


def _complexity_checks(reproduction: Reproduction, each: Configuration) -> list[Check]:
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
    is_own = reproduction.table.digest == report_table().digest  # another table's ids are no shapes that we know of
    others = {other.id: other.complexity for other in reproduction.configurations if is_own}
    made = []
    for name, now, then, agrees in compared:
        if (is_met := agrees(cost)) is None:
            continue
        said, known = f"{each.id}: {now} {name} measured, {then} reported", KNOWN_ERRORS.get(each.id)
        if not is_met and known in others and agrees(others[known]):
            is_met, said = None, f"{said}, which is the figure of {known}: a known error"
        made.append(Check(f"{each.id} {name}", is_met, said, each.id))
    return made


def shape_parameters(each: Configuration) -> int:
    """What a training of the configuration has, output layer included: the book's equations have one bias a gate."""
    reported, size = each.reported, each.complexity.parameters
    if reported.implementation == "torch":
        return size
    return size - CELLS[reported.cell].gates * reported.hidden_size * reported.num_layers


def _size_check(each: Configuration, run: RecordedTraining) -> list[Check]:
    """The parameters of what was trained against its shape's; none of a training that has not come to its end."""
    if run.trained_parameters is None:
        return []
    expected = shape_parameters(each)
    said = f"{each.id}, seed {run.seed}: {run.trained_parameters:,} parameters trained, {expected:,} by its shape"
    name = f"{each.id} seed {run.seed} parameters"
    return [Check(name, run.trained_parameters == expected, said, each.id, "trained")]


def _perplexity_check(reproduction: Reproduction, each: Configuration, run: RecordedTraining, split: Split) -> Check:
    """A training's curve against the bands of its shape, whatever its id."""
    reported, name = each.reported, f"{each.id} seed {run.seed} {split}"
    shape = f"{reported.cell}-{reported.implementation}-{reported.num_layers}x{reported.hidden_size}"
    curves = d2l_curves()[shape][split] if shape in d2l_curves() else []
    kind = "training" if split == "train" else "validation"
    epochs = compared_epochs(curves, run.epochs)
    if not epochs:
        said = f"{each.id}, seed {run.seed}: no {kind} perplexities of d2l to compare with"
        return Check(name, None, said, each.id, split, planned=run.epochs_planned)
    bands = {epoch: band(curves, epoch, LEVEL / len(epochs)) for epoch in epochs}
    values = {epoch: getattr(run, split)[epoch - 1] for epoch in epochs}
    outside = [epoch for epoch in epochs if values[epoch] not in bands[epoch]]
    shown = [
        f"{values[epoch]:.3f} after epoch {epoch} ({bands[epoch].low:.3f} to {bands[epoch].high:.3f})"
        for epoch in outside or epochs
    ]
    where = "outside" if outside else "within"
    said = (
        f"{each.id}, seed {run.seed}: {kind} perplexity is {where} the bands of d2l 1.0.3 ({len(curves)} seeds): "
        f"{', '.join(shown)}; compared after {', '.join(map(str, epochs))} of {run.epochs_planned} epochs"
    )
    return Check(
        name,
        not outside,
        said,
        each.id,
        split,
        epochs,
        run.epochs_planned,
        is_blind=split == "val" and all(reproduction.text.unigram in each for each in bands.values()),
    )
