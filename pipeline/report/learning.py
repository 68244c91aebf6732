"""What a network has learnt: more than how often each letter occurs, and as much as an n-gram.

A network has learnt more than the letters' frequencies below LEARNT of their perplexity, each text by its own: training
perplexity against those of the training text, validation against those of the validation text.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.report.reproduction import RecordedTraining
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, LAST_TRAIN, LAST_VAL, Evidence, Measure
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Word
from pipeline.report.wording import counted, span
from pipeline.support.statistics import estimate

LEARNT = 0.9  # of the perplexity of letter frequencies

BASELINE_ORDER = 4  # order of the n-gram that a network has to beat


class Finding(NamedTuple):
    """Whether something holds, and a sentence with the numbers that say so."""

    word: Word
    because: str


def learnt(evidence: Evidence, id: str) -> Finding:
    """Whether a configuration learnt more than letter frequencies, by its best validation perplexity."""
    text = "{id} gets to {mean} in validation at best ({seeds}), where the letters' frequencies give {bar}."
    return _below(evidence, id, BEST_VAL, evidence.reproduction.text.unigram, text)


def learnt_to_fit(evidence: Evidence, id: str) -> Finding:
    """Whether a configuration fits its training text better than letter frequencies do.

    If not, its optimisation failed: that is no overfitting.
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
    """Whether the shape learns more than letter frequencies by our recipe: on the report's characters, else on more."""
    runs, bar, where = same_text(evidence, id), evidence.reproduction.text.unigram, "the same characters"
    if not runs:
        runs = _whole(evidence, evidence.reproduction[id].stream)
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
    """The complete trainings of the shape by our recipe on the report's characters; none in a quick reproduction."""
    return tuple(run for run in _whole(evidence, evidence.reproduction[id].same_text) if run.windowed is not None)


def _whole(evidence: Evidence, runs: Sequence[RecordedTraining]) -> tuple[RecordedTraining, ...]:
    return () if evidence.reproduction.quick else tuple(run for run in runs if run.is_whole)


def better_than_counting(evidence: Evidence, ids: Sequence[str]) -> list[str]:
    """The trained configurations with a lower perplexity than the 4-gram; empty for a text without that n-gram.

    Both are pooled over all characters, each window of 32 without earlier context. A network's is the mean over seeds
    at the epoch of the best validation perplexity.
    """
    bar = evidence.reproduction.text.windowed.get(BASELINE_ORDER, 0.0)
    return [id for id in ids if evidence.mean(id, BEST_POOLED).mean < bar]


def course(evidence: Evidence, id: str) -> str:
    """A sentence on a trained configuration's best and last epoch."""
    best = span([run.best_epoch for run in evidence.trainings(id)])
    train, val, lowest = (evidence.mean(id, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
    return (
        f"{id} ends at {train} in training and {val} in validation, {lowest} at best (epoch {best}; "
        f"{evidence.seeds(id, LAST_VAL)})."
    )
