"""Findings on single statements, from recorded runs and reported numbers; verdicts combine them.

The rules, the same for every claim:

Trainings. Only those count that have all the epochs of the report's protocol; a quick reproduction has none.
Comparisons. Two configurations differ where the 95 % interval of the difference of their means leaves out zero: Welch's
    (Welch, Biometrika 34, 1947), for two samples of unequal spread, of the logarithms of perplexity, or of gaps as they
    are. It takes 2 seeds on both sides. Models are compared by validation perplexity: at its best epoch where a model
    is called better, at the last epoch where the report speaks of where a curve ends.
Levels. "About 2" is 2 with half a digit on either side, and 10 % of a larger number. The report does not say which
    curve it read, so any of three may be there: training at the last epoch, validation at the last and at its best
    epoch. The Student interval of the mean over seeds decides, by the side of the boundary that it lies on; a single
    seed counts as an interval of two standard deviations around it: those of the noisiest configuration of d2l's own.
Counting. A network beats an n-gram where its pooled validation perplexity is lower than that of an n-gram that, as the
    network does, reads each window of 32 characters without what came before it.
The gap. Validation minus training perplexity. How wide a gap is an open one, the report does not say. So it is looked
    at twice, where it stays above 2 % of the training perplexity, about a line's width in a plot of d2l's, and where it
    stays above 10 %, which can't be overlooked; only what both say is a verdict. It opens at the first epoch after
    which it stays so; "near" an epoch is within half of that number, or within 5 epochs.
The letters' frequencies. A network has learnt more than them below 90 % of their perplexity: each text's own, that is
    training perplexity against those of the training text, and the stream preset's validation against its own.
Texts. By what can be counted: repetition (the share of distinct trigrams) and edits to how the book goes on.
The report's own numbers. Seconds agree within one second, printed figures to the digit. A transcript goes before prose.
Time and size. Time follows size where their ranks do, in the report's seconds and in ours; whether it measures size,
    which is to grow in proportion to MACs, is another question, answered beside it.
Several parts. What says several things holds where all do, and does not hold as soon as one does not. A reason that is
    given is a part. That one cell is better or cheaper than another is held to at equal shape too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log
from re import search
from statistics import fmean, stdev
from typing import Literal

from models.complexity import Complexity
from pipeline.config import resolve
from pipeline.report.checks import d2l_curves
from pipeline.report.claims.findings import FAILS, HOLDS, OPEN, Finding, Outcome, settled
from pipeline.report.reproduction import RecordedTraining, Reproduction, TextFacts
from pipeline.report.table import Reported, report_table
from pipeline.report.wording import counted, listed
from pipeline.support.statistics import Estimate, estimate, welch

HALF_DIGIT = 0.5

LEVEL_TOLERANCE = 0.1  # relative, for levels where it exceeds half a digit

SEED_DEVIATIONS = 2  # standard deviations of a single seed around the mean: 95 % of a normal distribution

OPEN_GAPS = (0.02, 0.1)  # shares of the training perplexity: a visible gap, and an obvious one

NEAR_EPOCH, NEAR_EPOCHS = 0.5, 5  # tolerance: a share of the named epoch, or a number of epochs if larger

LEARNT = 0.9  # of the perplexity of letter frequencies

BASELINE_ORDER = 4  # order of the n-gram that a network has to beat

MORE_SEEDS = "tmlm reproduce --seeds 3"

SECONDS_TOLERANCE = 1.0  # between prose and transcript

# --- rows and trainings ----------------------------------------------------------------------------------------------


def row(reproduction: Reproduction, id: str) -> Reported:
    """The table row with this id."""
    return next(each for each in reproduction.table.rows if each.id == id)


def row_of_figure(reproduction: Reproduction, figure: str) -> Reported:
    """The table row of the configuration shown in a figure."""
    return next(each for each in reproduction.table.rows if figure in each.figures)


def complexity_of(reproduction: Reproduction, id: str) -> Complexity:
    return reproduction[id].complexity


def protocol_epochs(reported: Reported) -> int:
    """The number of epochs of the report's protocol."""
    epochs = resolve({"preset": "report", **reported.model})[1].epochs
    assert epochs is not None
    return epochs


def trainings(reproduction: Reproduction, id: str) -> tuple[RecordedTraining, ...]:
    """The complete trainings, one per seed, truncated to the protocol's epochs; none in a quick reproduction."""
    epochs = protocol_epochs(row(reproduction, id))
    return (
        () if reproduction.quick else tuple(run.until(epochs) for run in reproduction[id].whole if run.epochs >= epochs)
    )


def streams(reproduction: Reproduction, id: str) -> tuple[RecordedTraining, ...]:
    """The complete trainings of the shape with the stream preset; none in a quick reproduction."""
    whole = (run for run in reproduction[id].stream if run.is_whole and run.test_perplexity is not None)
    return () if reproduction.quick else tuple(whole)


def missing(reproduction: Reproduction, *ids: str) -> Finding | None:
    """An OPEN finding if any of the configurations lacks a complete training, else None."""
    if reproduction.quick:
        return Finding(OPEN, "A quick reproduction trains for a few epochs only, so it judges no perplexity.")
    for id in ids:
        if not trainings(reproduction, id):
            epochs = max((run.epochs for run in reproduction[id].runs), default=0)
            planned = protocol_epochs(row(reproduction, id))
            return Finding(OPEN, f"{id} is not trained to the end: {epochs} of {planned} epochs.")
    return None


# --- perplexities ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A figure computed from a training; ``logarithmic`` ones are compared by ratio."""

    name: str
    of: Callable[[RecordedTraining], float]
    logarithmic: bool = True


LAST_TRAIN = Measure("training perplexity at the last epoch", lambda run: run.train[-1])

LAST_VAL = Measure("validation perplexity at the last epoch", lambda run: run.val[-1])

BEST_VAL = Measure("best validation perplexity", lambda run: run.best_val)

LEVELS = {
    LAST_TRAIN: "training",
    LAST_VAL: "validation",
    BEST_VAL: "best validation",
}  # curves that a level may be read from

BEST_POOLED = Measure("pooled validation perplexity at the best epoch", lambda run: run.val_pooled[run.best_epoch - 1])

LAST_GAP = Measure("gap at the last epoch", lambda run: run.val[-1] - run.train[-1], logarithmic=False)


def gap_opens(run: RecordedTraining, share: float) -> int:
    """The first epoch from which the gap stays above a share of the training perplexity; else one past the last."""
    closed = [
        epoch
        for epoch, (train, val) in enumerate(zip(run.train, run.val, strict=True), 1)
        if val - train <= share * train
    ]
    return closed[-1] + 1 if closed else 1


def values(reproduction: Reproduction, id: str, measure: Measure) -> list[float]:
    """The measure of each complete training of a configuration."""
    return [measure.of(run) for run in trainings(reproduction, id)]


def seed_mean(reproduction: Reproduction, id: str, measure: Measure) -> Estimate:
    """The mean of a measure over the seeds of a trained configuration."""
    return estimate(values(reproduction, id, measure), logarithmic=measure.logarithmic)


def lower(reproduction: Reproduction, first: str, second: str, measure: Measure) -> Finding:
    """Whether the first configuration's measure is significantly lower than the second's (Welch's t-test)."""
    if unknown := missing(reproduction, first, second):
        return unknown
    samples = [values(reproduction, id, measure) for id in (first, second)]
    means = [estimate(sample, logarithmic=measure.logarithmic).mean for sample in samples]
    numbers_of_seeds = [counted(len(sample), "seed") for sample in samples]
    both_seeds = f"{numbers_of_seeds[0]} each" if len(set(numbers_of_seeds)) == 1 else " and ".join(numbers_of_seeds)
    epochs = trainings(reproduction, first)[0].epochs
    text = f"The {measure.name} is {means[0]:.2f} for {first} and {means[1]:.2f} for {second}"
    if min(map(len, samples)) < 2:
        return Finding(OPEN, f"{text} ({both_seeds}): at least 2 seeds of each are needed ({MORE_SEEDS}).")
    if measure.logarithmic:
        numbers = [100 * (exp(x) - 1) for x in welch(*([log(value) for value in sample] for sample in samples))]
        difference, low, high = (f"{number:+.1f} %" for number in numbers)
    else:
        numbers = list(welch(*samples))
        difference, low, high = (f"{number:+.2f}" for number in numbers)
    text += f": a difference of {difference}, 95 % interval {low} to {high} ({both_seeds}, {epochs} epochs)"
    if numbers[1] <= 0 <= numbers[2]:
        return Finding(OPEN, f"{text}, which does not leave out zero; more seeds would narrow it.")
    return settled(numbers[2] < 0, f"{text}.")


Side = Literal["inside", "outside", "between"]


def found_at(where: Side, because: str, undecided: str = "") -> Finding:
    """The finding for a claim that holds inside a range; ``undecided`` replaces the reason for "between"."""
    outcomes: dict[Side, Outcome] = {"inside": HOLDS, "outside": FAILS, "between": OPEN}
    return Finding(outcomes[where], undecided if where == "between" and undecided else because)


@cache
def seed_spread() -> float:
    """Relative deviation of a single seed from its configuration's mean.

    SEED_DEVIATIONS standard deviations (of the logarithm) of the noisiest final perplexity, training or validation,
    among d2l's configurations whose recorded seeds all reach the protocol's last epoch.
    """
    noisiest = 0.0
    for reported in report_table().rows:
        curves, last = d2l_curves().get(reported.id), protocol_epochs(reported)
        for runs in curves.values() if curves else ():
            if len(runs) > 1 and all(len(run) >= last for run in runs):
                noisiest = max(noisiest, stdev([log(run[last - 1]) for run in runs]))
    return exp(SEED_DEVIATIONS * noisiest) - 1


def side(sample: Estimate, low: float, high: float) -> Side:
    """Locate a mean relative to [low, high): inside, outside, or "between" if its interval crosses a boundary.

    A single seed, which has no interval, gets ``seed_spread`` on either side.
    """
    spread = 1 + seed_spread()
    least = sample.mean / spread if sample.low is None else sample.low
    most = sample.mean * spread if sample.high is None else sample.high
    if low <= least and most < high:
        return "inside"
    return "outside" if most < low or least >= high else "between"


def about(target: float) -> tuple[float, float]:
    """The range [low, high) in which a perplexity is about the target."""
    tolerance = max(HALF_DIGIT, LEVEL_TOLERANCE * target)
    return target - tolerance, target + tolerance


def sides_of(reproduction: Reproduction, id: str, target: float) -> dict[Measure, Side]:
    """Locate each curve that the report may have read relative to "about the target"."""
    return {measure: side(seed_mean(reproduction, id, measure), *about(target)) for measure in LEVELS}


def level(reproduction: Reproduction, id: str, target: float | None) -> Finding:
    """Whether perplexity falls to about the target, on the curve that fits best."""
    if unknown := missing(reproduction, id):
        return unknown
    if target is None:
        return Finding(OPEN, f"The table states no perplexity for {id}.")
    sides = sides_of(reproduction, id, target)
    low, high = about(target)
    text = f"{course(reproduction, id)} About {target:g} is {low:.1f} to {high:.1f}"
    if there := [measure for measure, where in sides.items() if where == "inside"]:
        only = ", so it is no measure of other text" if there == [LAST_TRAIN] else ""
        return Finding(HOLDS, f"{text}, where the {LEVELS[there[0]]} perplexity is{only}.")
    if near := [measure for measure, where in sides.items() if where == "between"]:
        return Finding(
            OPEN, f"{text}; the {LEVELS[near[0]]} perplexity is too near its edge for {seeds(reproduction, id)}."
        )
    return Finding(FAILS, f"{text}, which neither curve reaches.")


def curve_of_level(reproduction: Reproduction, id: str, target: float) -> Measure:
    """The curve by which ``level`` judges a trained configuration; training where none comes near the target."""
    sides = sides_of(reproduction, id, target)
    near = [measure for where in ("inside", "between") for measure in sides if sides[measure] == where]
    return near[0] if near else LAST_TRAIN


def seeds(reproduction: Reproduction, id: str) -> str:
    """The number of complete trainings, in words."""
    return counted(len(trainings(reproduction, id)), "seed")


def course(reproduction: Reproduction, id: str) -> str:
    """A sentence on a configuration's first, best and last epoch."""
    runs = trainings(reproduction, id)
    first = [estimate([getattr(run, curve)[0] for run in runs]).mean for curve in ("train", "val")]
    best = sorted({run.best_epoch for run in runs})
    when = f"epoch {best[0]}" if len(best) == 1 else f"epochs {best[0]} to {best[-1]}"
    return (
        f"{id} goes from {first[0]:.1f} in training and {first[1]:.1f} in validation at epoch 1 to "
        f"{seed_mean(reproduction, id, LAST_TRAIN)} and {seed_mean(reproduction, id, LAST_VAL)} "
        f"at epoch {runs[0].epochs} "
        f"(best validation {seed_mean(reproduction, id, BEST_VAL)} at {when}; {seeds(reproduction, id)})."
    )


def gap_from(reproduction: Reproduction, id: str) -> Finding:
    """Whether the gap opens near the epoch that the table names, whichever of OPEN_GAPS is an open one."""
    if unknown := missing(reproduction, id):
        return unknown
    named = search(r"from epoch (\d+)", row(reproduction, id).gap)
    if not named:
        return Finding(OPEN, f"The table names no epoch for {id}.")
    epoch, runs = int(named[1]), trainings(reproduction, id)
    near = max(NEAR_EPOCHS, NEAR_EPOCH * epoch)
    sides, told = set(), []
    for share in OPEN_GAPS:
        opens = estimate([gap_opens(run, share) for run in runs])
        sides.add(side(opens, epoch - near, epoch + near))
        at = "no epoch" if opens.mean > runs[0].epochs else f"epoch {opens.mean:.0f}"
        told.append(f"above {100 * share:.0f} % from {at} on")
    text = (
        f"The gap of {id}, as a share of the training perplexity, stays {listed(told)}, where the report says from "
        f"{epoch} on ({seeds(reproduction, id)}; near is up to {near:g} epochs off)"
    )
    if len(sides) > 1:
        return Finding(OPEN, f"{text}: so it depends on how wide a gap is an open one.")
    return found_at(sides.pop(), f"{text}.", f"{text}: too near that to tell.")


def learnt(reproduction: Reproduction, id: str) -> Finding:
    """Whether a configuration learnt more than letter frequencies."""
    if unknown := missing(reproduction, id):
        return unknown
    best = seed_mean(reproduction, id, BEST_VAL)
    where = side(best, 1, LEARNT * reproduction.text.unigram)
    text = (
        f"{id} gets to a validation perplexity of {best} at best ({seeds(reproduction, id)}), "
        f"and the letters' frequencies alone give {reproduction.text.unigram:.2f}"
    )
    return found_at(where, f"{text}.")


def learnt_to_fit(reproduction: Reproduction, id: str) -> Finding:
    """Whether a configuration fits its training text better than letter frequencies do.

    If not, its optimisation failed: that is no overfitting.
    """
    if unknown := missing(reproduction, id):
        return unknown
    if (baseline := reproduction.text.train_unigram) is None:
        return _without_frequencies("training text")
    end = seed_mean(reproduction, id, LAST_TRAIN)
    text = f"In training {id} ends at {end}, and the letters' frequencies of the training text give {baseline:.2f}."
    return found_at(side(end, 1, LEARNT * baseline), text)


def stream_learnt(reproduction: Reproduction, id: str) -> Finding:
    """Whether the shape learns more than letter frequencies with the stream preset, on that preset's split."""
    if not (runs := streams(reproduction, id)):
        return Finding(OPEN, f"The shape of {id} is not trained under the stream preset.")
    val, test = reproduction.text.stream_val_unigram, reproduction.text.stream_test_unigram
    if val is None or test is None:
        return _without_frequencies("stream preset's texts")
    best = estimate([run.best_val for run in runs])
    tested = estimate([run.test_perplexity for run in runs if run.test_perplexity is not None])
    how = ", with residual connections," if any(run.residual for run in runs) else ""
    text = (
        f"Under the stream preset{how} the shape of {id} gets to {best} in validation and {tested} on the test text "
        f"({counted(len(runs), 'seed')}), where the letters' frequencies give {val:.2f} and {test:.2f}."
    )
    return found_at(side(best, 1, LEARNT * val), text)


def _without_frequencies(text: str) -> Finding:
    """The finding for an older record, which lacks a text's letter frequencies."""
    return Finding(
        OPEN,
        f"The record lacks the perplexity of the letters' frequencies of the {text}: an earlier version made it.",
    )


def better_than_counting(text: TextFacts, trained: Mapping[str, Sequence[RecordedTraining]]) -> list[str]:
    """Ids of the configurations (id -> trainings, at least one) with a lower perplexity than the 4-gram.

    Both are pooled over all characters, each window of 32 without earlier context. A network's is the mean over seeds
    at the epoch of the best validation perplexity. Empty for a text without that n-gram.
    """
    baseline = text.windowed.get(BASELINE_ORDER, 0.0)
    return [id for id, runs in trained.items() if estimate([BEST_POOLED.of(run) for run in runs]).mean < baseline]


def distinct_trigrams(text: str) -> float:
    """Distinct trigrams divided by all trigrams: low for repetitive text."""
    trigrams = [text[start : start + 3] for start in range(len(text) - 2)]
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions of a character."""
    previous = list(range(len(second) + 1))
    for count, letter in enumerate(first, 1):
        current = [count]
        for column, other in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (letter != other)))
        previous = current
    return previous[-1]


def distance_to_text(reproduction: Reproduction, texts: Sequence[tuple[str, str]]) -> float | None:
    """Mean edits per character from texts (prompt, text) to the book's continuation; None without any.

    If a prompt occurs several times, the nearest occurrence counts.
    """
    shares = []
    for prompt, text in texts:
        places = [place.continuation for place in reproduction.text.prompts if place.prompt == prompt]
        written = text.removeprefix(prompt)
        if places and written:
            shares.append(min(edit_distance(written, place) / max(len(written), len(place)) for place in places))
    return fmean(shares) if shares else None
