"""Recommend a model from the finished runs; nothing is trained and no text is read."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import Any

from models.config import ModelConfig
from pipeline.config import ON_REPORTS_TEXT, STOPPED_BY_TIME
from pipeline.errors import InputError
from pipeline.search.front import Candidate
from pipeline.support.wording import counted
from pipeline.text.downloads import public
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.references import described

log = logging.getLogger(__name__)


def recommend(
    candidates: Sequence[Candidate], max_macs: float | None = None, max_perplexity: float | None = None
) -> Candidate:
    """Choose a candidate by its means over seeds: with ``max_macs`` alone the best within it, else the cheapest.

    Raises InputError if no candidate is within the limits, or without any.
    """
    if max_macs is None and max_perplexity is None:
        raise InputError("give --max-macs, --max-perplexity or both")
    by_macs = sorted(candidates, key=lambda c: (c.macs_per_char, c.mean_val_perplexity, c.name))
    by_perplexity = sorted(candidates, key=lambda c: (c.mean_val_perplexity, c.macs_per_char, c.name))
    macs, perplexity = inf if max_macs is None else max_macs, inf if max_perplexity is None else max_perplexity
    for candidate in by_perplexity if max_perplexity is None else by_macs:
        if candidate.macs_per_char <= macs and candidate.mean_val_perplexity <= perplexity:
            return candidate
    cheapest, best = by_macs[0], by_perplexity[0]
    raise InputError(
        f"no configuration is within the limits; the cheapest, {cheapest.name}, has {cheapest.macs_per_char:,} MACs a "
        f"character, and the best, {best.name}, a validation perplexity of "
        f"{ceil(best.mean_val_perplexity * 1000) / 1000:.3f} with {best.macs_per_char:,}: "
        "raise --max-macs or --max-perplexity, or search further"
    )


def recommended(corpus: str, max_macs: int | None, max_perplexity: float | None) -> dict[str, Any]:
    """Recommend a configuration of the recorded runs, as a flat result; runs that differ only in seed are one.

    A seed that diverged counts with the uniform perplexity, as on the front of a search. ``corpus`` is the text's
    recorded name, or the path or address that it was read from; auto: that of the last training that a person started,
    or of the last one if there is no such training. If several texts match, that of the last training is used. Raises
    InputError if nothing fits.
    """
    runs = [run for run in recorded.finished_trainings() if _is_comparable(run)]
    if not runs:
        raise InputError("there is no finished training to recommend; run `tmlm search` or `tmlm train` first")
    path = corpus if "\0" in corpus else os.path.realpath(os.path.expanduser(corpus))
    meant = {corpus, public(corpus), path}
    if corpus == "auto":
        matching = sorted(runs, key=lambda run: run.role != "")  # a person's first, both latest first
    else:
        matching = [run for run in runs if meant & _names(run)]
    if not matching:
        known = ", ".join(sorted({run.corpus for run in runs}))
        raise InputError(f"--corpus {public(corpus)} has no finished training; texts that have one: {known}")
    latest = matching[0]
    if corpus == "auto":
        log.info("On %s, the text of %s", latest.corpus, described(latest))
    others = sorted({run.corpus for run in runs if run.corpus_sha256 != latest.corpus_sha256})
    diverged = list(filter(_is_comparable, recorded.diverged_trainings(latest.corpus_sha256)))
    runs = [run for run in runs if run.corpus_sha256 == latest.corpus_sha256]
    candidates = _candidates(runs, diverged)
    chosen = recommend(candidates, max_macs, max_perplexity)
    return {
        "run_id": chosen.run_id,
        "cell": chosen.cell,
        "num_layers": chosen.num_layers,
        "hidden_size": chosen.hidden_size,
        "val_perplexity": chosen.mean_val_perplexity,
        "macs_per_char": chosen.macs_per_char,
        "parameters": chosen.parameters,
        "on_top_of": "ngram" if chosen.ngram_numbers else "nothing",
        "stored_numbers": chosen.stored_numbers,
        "seeds": len(chosen.run_ids),
        "diverged": len({run.id for run in diverged}.intersection(chosen.run_ids)),
        "corpus": latest.corpus,
        "other_corpora": others,
        "configurations": len(candidates),
    }


def _is_comparable(run: RecordedTraining) -> bool:
    """Whether it was validated on the text's own split: those of the report's presets read other characters."""
    return run.params.get("preset") not in ON_REPORTS_TEXT


def _names(run: RecordedTraining) -> set[str]:
    """What a text may be called: its recorded name, with or without its alphabet, and where it was read from."""
    name = run.corpus
    return {name, name.removesuffix(f"-{run.params.get('alphabet', 'letters')}"), run.tags.get("corpus.source", name)}


def _configuration(run: RecordedTraining) -> tuple[str, bool]:
    """The key that the seeds of a configuration share; runs that their time limit ended are kept apart."""
    return run.config_id, run.tags.get("stopped", "").startswith(STOPPED_BY_TIME)


def _candidates(runs: list[RecordedTraining], diverged: list[RecordedTraining]) -> list[Candidate]:
    """Group finished runs into candidates; seeds that diverged come last in each."""
    by_config: dict[tuple[str, bool], dict[str, RecordedTraining]] = defaultdict(dict)
    for run in reversed(runs):
        by_config[_configuration(run)][run.params["seed"]] = run  # the latest run of each seed
    candidates = []
    for configuration, by_seed in by_config.items():
        lost = {run.params["seed"]: run for run in diverged if _configuration(run) == configuration}
        members = [*by_seed.values(), *(run for seed, run in lost.items() if seed not in by_seed)]
        perplexities = [run.metrics["result/val_perplexity"] for run in by_seed.values()]
        if diverged_seeds := len(members) - len(by_seed):
            uniform = _uniform_perplexity(members[0])
            perplexities = [min(value, uniform) for value in perplexities] + [uniform] * diverged_seeds
        params, metrics = members[0].params, members[0].metrics
        parameters = int(metrics["size/parameters"])
        candidates.append(
            Candidate(
                name=members[0].name,
                cell=params["cell"],
                num_layers=int(params["num_layers"]),
                hidden_size=int(params["hidden_size"]),
                macs_per_char=int(metrics["size/macs_per_char"]),
                parameters=parameters,
                ngram_numbers=int(metrics.get("size/stored_numbers", parameters)) - parameters,
                run_ids=tuple(run.id for run in members),
                val_perplexities=tuple(perplexities),
            )
        )
    return candidates


def _uniform_perplexity(run: RecordedTraining) -> float:
    """The perplexity of guessing, which is the number of symbols: parameters are linear in it."""
    from models.complexity import closed_form  # imports torch, which is needed only if a seed diverged

    kinds: dict[str, Any] = {"cell": str, "num_layers": int, "hidden_size": int, "embedding_size": int}
    sizes = {name: kind(run.params[name]) for name, kind in kinds.items()}
    shape = ModelConfig(**sizes | {"on_top_of": run.params.get("on_top_of", "nothing")})
    none, single = (closed_form(shape, symbols).parameters for symbols in (0, 1))
    return (run.metrics["size/parameters"] - none) / (single - none)


def sentence(result: Mapping[str, Any]) -> str:
    """The result of ``recommended`` in words, with the other texts that have trainings."""
    shape = f"{result['cell']}-{result['num_layers']}x{result['hidden_size']}"
    on_top, stored = "", ""
    if result["on_top_of"] != "nothing":
        on_top, stored = f"-on-{result['on_top_of']}", f"{result['stored_numbers']:,} stored numbers, "
    seeds = f"the mean of {result['seeds']} seeds" if result["seeds"] > 1 else "one seed"
    if result["diverged"]:
        seeds += f"; {result['diverged']} diverged, counted as guessing"
    others = f"\nOther texts (--corpus): {', '.join(result['other_corpora'])}" if result["other_corpora"] else ""
    return (
        f"On {result['corpus']}, of {counted(result['configurations'], 'configuration')}:\n{shape}{on_top}: "
        f"{result['macs_per_char']:,} MACs per character, {stored}validation perplexity "
        f"{result['val_perplexity']:.3f} ({seeds}){others}"
    )
