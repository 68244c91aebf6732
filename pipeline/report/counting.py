"""Compare networks with counting: with letter frequencies, and with n-grams of the same characters.

A network has learnt more than letter frequencies if its perplexity is below LEARNT times theirs on the same split:
training perplexity is compared with the letter frequencies on the training text, validation perplexity with those on
the validation text. Comparisons with n-grams have an interval for the sampling error of the text beside the one for the
seeds, from a block bootstrap: it draws the differences of mean costs of blocks of about 50 characters (or 50 windows),
two neighbouring blocks at a time, as they depend on each other. With one, four or eight at a time, the intervals hardly
change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1
from typing import Literal, NamedTuple

import numpy as np

from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction, TextFacts
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, LAST_TRAIN, LAST_VAL, Evidence, Measure
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Word
from pipeline.support.statistics import PairedComparison, Side, Spread, estimate, paired, pooled_spread
from pipeline.support.wording import counted, span

Reading = Literal["val", "windowed", "test", "stream_test"]  # keys of TextFacts.block_costs

LEARNT = 0.9  # share of the perplexity of letter frequencies

BASELINE_ORDER = 4  # order of the n-gram that a network has to beat

BLOCKS_AT_ONCE = 2

WORDS: Mapping[Side, str] = {"ahead": "ahead of", "behind": "behind", "open": "level with"}


@dataclass(frozen=True)
class AgainstCounting:
    """A network, by its mean over seeds, compared with the n-gram of one order on the same characters.

    ``bar`` is the perplexity of the n-gram; ``comparison`` is of costs in nats per character.
    """

    perplexity: float
    order: int
    bar: float
    comparison: PairedComparison

    def __str__(self) -> str:
        """Format as "level with the 4-gram's 5.17: -1.4 %, -4.9 to +2.2 by seeds, -3.3 to +0.6 by the text"."""
        intervals = [
            f", {100 * expm1(each.low):+.1f} to {100 * expm1(each.high):+.1f} by {name}"
            for name, each in (("seeds", self.comparison.over_seeds), ("the text", self.comparison.over_text))
            if each.low is not None and each.high is not None
        ]
        change = f"{100 * expm1(self.comparison.over_text.mean):+.1f} %"
        side = WORDS[self.comparison.verdict]
        return f"{side} the {self.order}-gram's {self.bar:.2f}: {change}{''.join(intervals)}"


def against_counting(
    runs: Sequence[RecordedTraining], text: TextFacts, reading: Reading, order: int, spread: Spread | None = None
) -> AgainstCounting | None:
    """Compare the trainings of a configuration with an n-gram; None if the record lacks the costs of either.

    ``spread`` is the result of ``seed_spread``; by default, it is estimated from these trainings.
    """
    ours, bar = _costs(runs, reading), text.block_costs.get(reading, {}).get(order)
    if not ours or bar is None:
        return None
    comparison = paired(np.array(ours) - np.array(bar), BLOCKS_AT_ONCE, spread)
    return AgainstCounting(float(np.exp(np.mean(ours))), order, float(np.exp(np.mean(bar))), comparison)


def seed_spread(groups: Iterable[Sequence[RecordedTraining]], reading: Reading) -> Spread | None:
    """The standard deviation over seeds of the mean cost, pooled over configurations; None if none has two seeds."""
    means = [np.mean(costs, axis=1) for runs in groups if (costs := _costs(runs, reading))]
    spread = pooled_spread(means)
    return None if spread.deviation is None else spread


def _costs(runs: Sequence[RecordedTraining], reading: Reading) -> list[tuple[float, ...]]:
    """The mean costs of blocks, of each training that has them."""
    of_network = "test" if reading == "stream_test" else reading
    return [run.block_costs[of_network] for run in runs if of_network in run.block_costs]


def same_text_against_counting(
    reproduction: Reproduction, id: str, reading: Reading, order: int
) -> AgainstCounting | None:
    """Compare a shape trained by our recipe on the report's characters with an n-gram fitted on them."""
    spread = seed_spread((_whole(each.same_text) for each in _shapes(reproduction)), reading)
    return against_counting(_whole(reproduction[id].same_text), reproduction.text, reading, order, spread)


def _whole(runs: Sequence[RecordedTraining]) -> tuple[RecordedTraining, ...]:
    return tuple(run for run in runs if run.is_whole)


def _shapes(reproduction: Reproduction) -> list[Configuration]:
    """One configuration of each shape, as configurations of a shape share the trainings by our recipe."""
    return list({each.shape: each for each in reproduction.configurations}.values())


def best_stream(reproduction: Reproduction) -> tuple[Configuration, AgainstCounting] | None:
    """The shape with the best validation perplexity by the preset stream, compared with the n-gram of that text.

    The comparison is on the test text. None if no shape was trained by the preset, or the record lacks costs.
    """
    trained = [each for each in _shapes(reproduction) if _whole(each.stream)]
    best = min(trained, key=lambda each: min(run.best_val for run in _whole(each.stream)), default=None)
    if best is None:
        return None
    against = against_counting(_whole(best.stream), reproduction.text, "stream_test", reproduction.text.test_order)
    return None if against is None else (best, against)


# --- more than letter frequencies ------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """Whether something holds, and a sentence with the numbers that decide it."""

    word: Word
    because: str


def learnt(evidence: Evidence, id: str) -> Finding:
    """Whether a configuration learnt more than letter frequencies, by its best validation perplexity."""
    text = "{id} gets to {mean} in validation at best ({seeds}), where the letters' frequencies give {bar}."
    return _below(evidence, id, BEST_VAL, evidence.reproduction.text.unigram, text)


def learnt_to_fit(evidence: Evidence, id: str) -> Finding:
    """Whether a configuration fits its training text better than letter frequencies do.

    If it does not, its optimisation failed, and it does not overfit.
    """
    text = "In training {id} ends at {mean}, where the letters' frequencies of the training text give {bar}."
    return _below(evidence, id, LAST_TRAIN, evidence.reproduction.text.train_unigram, text)


def _below(evidence: Evidence, id: str, measure: Measure, baseline: float | None, text: str) -> Finding:
    if unknown := evidence.missing(id):
        return Finding(OPEN, unknown)
    if baseline is None:
        return Finding(OPEN, "The record lacks the letters' frequencies: an earlier version made it.")
    mean = evidence.mean(id, measure)
    because = text.format(id=id, mean=mean, seeds=evidence.seeds(id, measure), bar=f"{baseline:.2f}")
    return Finding(HOLDS if mean.mean < LEARNT * baseline else FAILS, because)


def own_recipe_learnt(evidence: Evidence, id: str) -> Finding:
    """Whether the shape learns more than letter frequencies by our recipe.

    It is judged on the report's characters or, if it was not trained on them, on nine tenths of the text.
    """
    runs, bar, where = same_text(evidence, id), evidence.reproduction.text.unigram, "the same characters"
    if not runs:
        runs = () if evidence.reproduction.quick else _whole(evidence.reproduction[id].stream)
        known, where = evidence.reproduction.text.stream_val_unigram, "nine tenths of the text"
        if not runs or known is None:
            return Finding(OPEN, f"Whether our recipe trains the shape of {id}, `tmlm reproduce` would show.")
        bar = known
    best = estimate([run.best_val for run in runs])
    how = "our recipe, with residual connections," if any(run.residual for run in runs) else "our recipe"
    because = (
        f"By {how} on {where} the shape of {id} gets to {best} in validation ({counted(len(runs), 'seed')}), where the "
        f"letters' frequencies give {bar:.2f}."
    )
    return Finding(HOLDS if best.mean < LEARNT * bar else FAILS, because)


def same_text(evidence: Evidence, id: str) -> tuple[RecordedTraining, ...]:
    """Our recipe's complete trainings of the shape on the report's characters; none in a quick reproduction."""
    runs = () if evidence.reproduction.quick else _whole(evidence.reproduction[id].same_text)
    return tuple(run for run in runs if run.windowed is not None)


def better_than_counting(evidence: Evidence, ids: Sequence[str]) -> list[str]:
    """The trained configurations with a lower perplexity than the 4-gram; empty for a text without that n-gram.

    Both perplexities are pooled over all characters, with each window of 32 read without earlier context. A network's
    is the mean over seeds, at the epoch of the best validation perplexity.
    """
    bar = evidence.reproduction.text.windowed.get(BASELINE_ORDER, 0.0)
    return [id for id in ids if evidence.mean(id, BEST_POOLED).mean < bar]


def course(evidence: Evidence, id: str) -> str:
    """A sentence on the last and the best epoch of a trained configuration."""
    best = span([run.best_epoch for run in evidence.trainings(id)])
    train, val, lowest = (evidence.mean(id, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
    return (
        f"{id} ends at {train} in training and {val} in validation, {lowest} at best (epoch {best}; "
        f"{evidence.seeds(id, LAST_VAL)})."
    )
