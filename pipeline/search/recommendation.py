"""Recommend a model from the finished runs; nothing is trained and no text is read."""

import logging
from collections.abc import Sequence
from math import ceil, inf
from typing import Any

from pipeline.config import SIZES, costs_of
from pipeline.errors import InputError
from pipeline.search.front import Candidate
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.text.downloads import public
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.references import describe_run

log = logging.getLogger(__name__)

PERPLEXITY = "result/val_perplexity"


def recommend(
    candidates: Sequence[Candidate], max_macs: float | None = None, max_perplexity: float | None = None
) -> Candidate:
    """Choose a candidate by its means over seeds: with ``max_macs`` alone the best within it, else the cheapest.

    Raises InputError if no candidate is within the limits, or without any.
    """
    if max_macs is None and max_perplexity is None:
        raise InputError("give --max-macs, --max-perplexity or both")
    by_macs = sorted(candidates, key=lambda c: (c.costs["macs_per_char"], c.mean_val_perplexity, c.name))
    by_perplexity = sorted(candidates, key=lambda c: (c.mean_val_perplexity, c.costs["macs_per_char"], c.name))
    macs, perplexity = inf if max_macs is None else max_macs, inf if max_perplexity is None else max_perplexity
    for candidate in by_perplexity if max_perplexity is None else by_macs:
        if candidate.costs["macs_per_char"] <= macs and candidate.mean_val_perplexity <= perplexity:
            return candidate
    cheapest, best = by_macs[0], by_perplexity[0]
    raise InputError(
        f"no configuration is within the limits; the cheapest, {cheapest.name}, has "
        f"{cheapest.costs['macs_per_char']:,} MACs a character, and the best, {best.name}, a validation perplexity of "
        f"{ceil(best.mean_val_perplexity * 1000) / 1000:.3f} with {best.costs['macs_per_char']:,}: "
        "raise --max-macs or --max-perplexity, or search further"
    )


def recommended(corpus: str, max_macs: int | None, max_perplexity: float | None) -> dict[str, Any]:
    """Recommend a configuration of the recorded runs, as a flat result; runs that differ only in seed are one.

    A seed that diverged counts with the uniform perplexity. ``corpus`` is the text's recorded name, or the path or
    address that it was read from; auto: that of the last training that a person started, or of the last one if there is
    no such training. If several texts match, that of the last training is used. Raises InputError if nothing fits.
    """
    runs = _comparable(recorded.finished_trainings())
    if not runs:
        raise InputError("there is no finished training to recommend; run `tmlm search` or `tmlm train` first")
    if corpus == "auto":
        matching = sorted(runs, key=lambda run: run.role != "")  # a person's first, both latest first
    else:
        matching = list(filter(recorded.on_text(corpus), runs))
    if not matching:
        known = ", ".join(sorted({run.corpus for run in runs}))
        raise InputError(f"--corpus {public(corpus)} has no finished training; texts that have one: {known}")
    latest = matching[0]
    if corpus == "auto":
        log.info("On %s, the text of %s", latest.corpus, describe_run(latest))
    others = sorted({run.corpus for run in runs if run.corpus_sha256 != latest.corpus_sha256})
    diverged = _comparable(recorded.diverged_trainings(latest.corpus_sha256))
    runs = [run for run in runs if run.corpus_sha256 == latest.corpus_sha256]
    candidates = _candidates(runs, diverged)
    chosen = recommend(candidates, max_macs, max_perplexity)
    run = next(run for run in runs if run.id == chosen.run_id)
    return {
        "run_id": chosen.run_id,
        "shape": run.configs[0].shape,
        **{name: run.configuration["model"][name] for name in ("cell", "num_layers", "hidden_size", "on_top_of")},
        "val_perplexity": chosen.mean_val_perplexity,
        "parameters": chosen.parameters,
        **chosen.costs,
        "seeds": len(chosen.run_ids),
        "diverged": len({run.id for run in diverged}.intersection(chosen.run_ids)),
        "corpus": latest.corpus,
        "other_corpora": others,
        "configurations": len(candidates),
    }


def _comparable(runs: Sequence[RecordedTraining]) -> list[RecordedTraining]:
    """The runs that were validated on the text's own split, and whose options can be read."""
    return [run for run in runs if run.configuration and not run.on_reports_text]


def _candidates(runs: Sequence[RecordedTraining], diverged: Sequence[RecordedTraining]) -> list[Candidate]:
    """Group trainings, both latest first, into candidates; seeds that diverged come last in each."""
    candidates = []
    for by_seed in recorded.by_configuration([*reversed(diverged), *reversed(runs)]):
        finished = [run for run in by_seed.values() if PERPLEXITY in run.metrics]
        lost = [run for run in by_seed.values() if run not in finished]
        if not finished:
            continue
        perplexities = [run.metrics[PERPLEXITY] for run in finished]
        if lost:
            uniform = _uniform_perplexity(finished[0])
            perplexities = [min(value, uniform) for value in perplexities] + [uniform] * len(lost)
        model, metrics = finished[0].configuration["model"], finished[0].metrics
        known = {"size/stored_numbers": metrics["size/parameters"], **metrics}
        sizes = {name: int(known[f"size/{name}"]) for name in SIZES}
        candidates.append(
            Candidate(
                name=finished[0].name,
                cell=model["cell"],
                num_layers=model["num_layers"],
                hidden_size=model["hidden_size"],
                parameters=sizes["parameters"],
                costs=costs_of(sizes),
                run_ids=tuple(run.id for run in [*finished, *lost]),
                val_perplexities=tuple(perplexities),
            )
        )
    return candidates


def _uniform_perplexity(run: RecordedTraining) -> float:
    """The perplexity of guessing, which is the number of symbols of its vocabulary."""
    from pipeline.training.checkpoints import load_checkpoint  # imports torch, needed only if a seed diverged

    _, facts = load_checkpoint(recorded.artifact_path(run.id, f"checkpoints/{BEST_CHECKPOINT}"))
    return float(len(facts["vocabulary"]["symbols"]))
