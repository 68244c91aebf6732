"""Check a reproduction for ``reproduce --check``: against the printed complexity and d2l's own perplexities.

A band is the prediction interval for one more training of d2l 1.0.3 after an epoch: Student's t on the logarithm of
the perplexity over the recorded seeds (data/d2l_curves.csv, made by tests/benchmarks/record_d2l.py). A training is
compared after several epochs, up to the last that both have, each at an equal share of LEVEL (Bonferroni). For some
configurations, d2l's trainings end long before the protocol does: later errors are not detected there, nor may a wrong
learning rate be if the bands include the perplexity of letter frequencies. ``counts_in_words`` names both.

Half and twice the right learning rate, one seed each, were detected within 20 epochs for GRU and LSTM 1x8 and 1x32 and
GRU 2x32; not within 40 for LSTM 2x32, whose seeds differ much; for GRU 2x128, in its 8 epochs, only twice the rate,
and barely; for GRU 8x32, in its 6 epochs, neither.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from statistics import stdev
from typing import Literal

from models.cells import CELLS
from pipeline.report.reproduction import Configuration, JudgedTraining, Reproduction, d2l_trainings
from pipeline.report.table import Reported, size_agrees
from pipeline.support.statistics import Spread, estimate
from pipeline.support.wording import listed

LEVEL = 0.001  # probability that a faithful training leaves the bands of a curve by chance
EPOCHS = (5, 10, 20, 50)  # epochs compared in addition to the last one that all curves have
SMALLEST_SPREAD = 0.002  # standard deviation of the logarithm, at least: other hardware rounds differently
KNOWN_ERRORS = {"gru-torch-1x128": "gru-scratch-1x32"}  # id -> the shape that the report's Figure 15 shows instead
Split = Literal["train", "val"]
CheckKind = Literal["printed", "trained", "train", "val"]  # a printed size, the size that was trained, a perplexity


@dataclass(frozen=True)
class Check:
    """A checked figure of a configuration; ``is_met`` is None without a reference, ``said`` explains the result."""

    name: str
    is_met: bool | None
    said: str
    configuration: str = ""
    kind: CheckKind = "printed"
    epochs: tuple[int, ...] = ()  # after which a perplexity is compared
    planned: int = 0  # epochs of the training
    is_blind: bool = False  # letter frequencies alone would be within every band


def compared_epochs(curves: Sequence[Sequence[float]], epochs: int) -> tuple[int, ...]:
    """The epochs after which a training of ``epochs`` is compared: EPOCHS, and the last one that all curves have.

    Empty with fewer than two curves, as a band needs two.
    """
    last = min(epochs, *map(len, curves)) if len(curves) > 1 else 0
    return (*(epoch for epoch in EPOCHS if epoch < last), last) if last else ()


def band(curves: Sequence[Sequence[float]], epoch: int, level: float = LEVEL) -> tuple[float, float]:
    """The prediction interval of probability 1 - level for one more curve after the epoch (counted from 1).

    At least two curves must have the epoch.
    """
    values = [curve[epoch - 1] for curve in curves]
    spread = Spread(max(stdev(map(log, values)), SMALLEST_SPREAD), len(values) - 1)
    ends = estimate(values, spread=spread, of_next=True, coverage=1 - level).ends
    assert ends
    return ends


def checks(
    reproduction: Reproduction, d2l: Callable[[Reported], Sequence[JudgedTraining]] = d2l_trainings
) -> tuple[Check, ...]:
    """Check the printed complexity of each configuration, the size of each training, and its curves against d2l's."""
    made: list[Check] = []
    for configuration in reproduction.configurations:
        id, expected, theirs = configuration.id, shape_parameters(configuration), d2l(configuration.reported)
        made += _printed_checks(reproduction, configuration)
        for run in configuration.runs:
            if (trained := run.trained_parameters) is not None:  # it has finished
                said = f"{id}, seed {run.seed}: {trained:,} parameters trained, {expected:,} by its shape"
                made.append(Check(f"{id} seed {run.seed} parameters", trained == expected, said, id, "trained"))
            made += [_perplexity_check(id, run, split, theirs, reproduction.text.unigram) for split in ("train", "val")]
    return tuple(made)


def _printed_checks(reproduction: Reproduction, configuration: Configuration) -> Iterator[Check]:
    """Compare measured parameters and MACs with the printed ones, within half of the last printed digit."""
    id, size, reported = configuration.id, configuration.complexity, configuration.reported
    known = KNOWN_ERRORS.get(id)
    measured = ("parameters", f"{size.report_parameters:,}"), ("MMac", f"{size.report_macs / 1e6:.2f}")
    for stated, (unit, now), is_met in zip(reported.printed, measured, reported.agreement(size), strict=True):
        if is_met is None:
            continue
        said = f"{id}: {now} {unit} measured, {stated} reported"
        if not is_met and known and size_agrees(stated, reproduction[known].complexity):
            is_met, said = None, f"{said}, which is the figure of {known}: a known error"
        yield Check(f"{id} {unit}", is_met, said, id)


def shape_parameters(configuration: Configuration) -> int:
    """The number of trained parameters, output layer included: one bias per gate from scratch, two in torch.nn."""
    reported, size = configuration.reported, configuration.complexity.parameters
    if reported.implementation == "torch":
        return size
    return size - CELLS[reported.cell].gates * reported.hidden_size * reported.num_layers


def _perplexity_check(
    id: str, run: JudgedTraining, split: Split, d2l: Sequence[JudgedTraining], unigram: float
) -> Check:
    """Compare a training's curve with the bands of d2l's trainings."""
    planned, what = run.epochs_planned, "training" if split == "train" else "validation"
    name = f"{id} seed {run.seed} {split}"
    curves = [getattr(training, split) for training in d2l]
    epochs = compared_epochs(curves, run.epochs)
    if not epochs:
        said = f"{id}, seed {run.seed}: no {what} perplexities of d2l to compare with"
        return Check(name, None, said, id, split, planned=planned)
    bands = {epoch: band(curves, epoch, LEVEL / len(epochs)) for epoch in epochs}
    values = {epoch: getattr(run, split)[epoch - 1] for epoch in epochs}
    outside = [epoch for epoch, (low, high) in bands.items() if not low <= values[epoch] <= high]
    shown = [
        f"{values[epoch]:.3f} after epoch {epoch} ({bands[epoch][0]:.3f} to {bands[epoch][1]:.3f})"
        for epoch in outside or epochs
    ]
    said = (
        f"{id}, seed {run.seed}: {what} perplexity is {'outside' if outside else 'within'} the bands of d2l 1.0.3 "
        f"({len(curves)} seeds): {', '.join(shown)}; compared after {', '.join(map(str, epochs))} of {planned} epochs"
    )
    is_blind = split == "val" and all(low <= unigram <= high for low, high in bands.values())
    return Check(name, not outside, said, id, split, epochs, planned, is_blind)


def refusal(made: Sequence[Check], left_out: Sequence[str] = ()) -> str:
    """The error message of --check; "" if all checks are met. ``left_out`` names trainings that failed."""
    failed = [check.said for check in made if check.is_met is False]
    message = [f"--check is not met by {len(failed)} of {len(made)} figures: {'; '.join(failed)}"] if failed else []
    if left_out:
        message.append(f"--check lacks {len(left_out)} of the trainings: {'; '.join(left_out)}")
    return ". ".join(message)


def counts_in_words(made: Sequence[Check]) -> list[str]:
    """Sentences on how many figures pass, and up to which epochs perplexities are compared."""
    met, failed = (sum(check.is_met is outcome for check in made) for outcome in (True, False))
    said = [
        f"Of {met + failed} figures {met} are as printed, of the size of their shape, or within d2l 1.0.3's bands; "
        f"{failed} {'is' if failed == 1 else 'are'} not."
    ]
    if left := len(made) - met - failed:
        said[0] += f" {left} more: a known error of the report, or nothing of d2l's to compare with."
    early = {
        check.configuration: f"{check.configuration} {check.epochs[-1]} of {check.planned}"
        for check in made
        if check.epochs and check.epochs[-1] < check.planned
    }
    if early:
        said.append(f"Compared with d2l's up to an earlier epoch than the last: {listed([*early.values()])}.")
    if blind := list(dict.fromkeys(check.configuration for check in made if check.is_blind)):
        said.append(f"A wrong learning rate may go unseen where letter frequencies would pass: {listed(blind)}.")
    return said
