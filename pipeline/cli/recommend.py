"""Which model to use, answered from the finished runs: no training, and no text is read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from pipeline.config import STOPPED_BY_TIME
from pipeline.errors import InputError
from pipeline.search.front import Candidate
from pipeline.search.pruning import PRUNED
from pipeline.text.downloads import public
from pipeline.tracking import records

# --- recommending ----------------------------------------------------------------------------------------------------


def _up(perplexity: float) -> str:
    """The perplexity with three decimals, rounded up: whoever asks for the printed number is served."""
    nearest = f"{perplexity:.3f}"
    return nearest if float(nearest) >= perplexity else f"{perplexity + 0.0005:.3f}"


def recommend(
    candidates: Sequence[Candidate], max_macs: float | None = None, max_perplexity: float | None = None
) -> Candidate:
    """The configuration to use, by the means of finished runs.

    With ``max_macs`` alone: the lowest mean validation perplexity that so many MACs per character buy. With
    ``max_perplexity``, whether or not with ``max_macs``: the fewest MACs among those that are good enough, since what
    is good enough need not be better.
    """
    if max_macs is None and max_perplexity is None:
        raise InputError("say what it may cost or how good it must be: --max-macs, --max-perplexity or both")
    if not candidates:
        raise InputError("there is no finished run to recommend: search or train first, on the same text")
    by_macs = sorted(candidates, key=lambda c: (c.macs_per_char, c.mean_val_perplexity, c.name))
    by_perplexity = sorted(candidates, key=lambda c: (c.mean_val_perplexity, c.macs_per_char, c.name))
    macs, perplexity = inf if max_macs is None else max_macs, inf if max_perplexity is None else max_perplexity
    fitting = [
        c for c in (by_perplexity if max_perplexity is None else by_macs)
        if c.macs_per_char <= macs and c.mean_val_perplexity <= perplexity
    ]  # fmt: skip
    if fitting:
        return fitting[0]
    smallest, best = by_macs[0], by_perplexity[0]
    if not smallest.macs_per_char <= macs:
        raise InputError(
            f"no configuration needs at most {max_macs:,.10g} MACs per character; the smallest, {smallest.name}, needs "
            f"{smallest.macs_per_char:,}: raise --max-macs, or search among smaller ones"
        )
    if not best.mean_val_perplexity <= perplexity:
        raise InputError(
            f"no configuration has a validation perplexity of at most {max_perplexity:.10g}; the best, {best.name}, "
            f"has {_up(best.mean_val_perplexity)} with {best.macs_per_char:,} MACs per character: "
            "raise --max-perplexity, or search on"
        )
    cheap = next(c for c in by_perplexity if c.macs_per_char <= macs)
    good = next(c for c in by_macs if c.mean_val_perplexity <= perplexity)
    raise InputError(
        f"no configuration has both at most {max_macs:,.10g} MACs per character and a validation perplexity of at most "
        f"{max_perplexity:.10g}; so few MACs give {_up(cheap.mean_val_perplexity)} ({cheap.name}), such a perplexity "
        f"takes {good.macs_per_char:,} ({good.name}): raise --max-perplexity or --max-macs"
    )


PRESET = "stream"  # the runs of the other validate on other characters


def recommended(corpus: str, max_macs: int | None, max_perplexity: float | None) -> dict[str, Any]:
    """The configuration to use, as a flat result; runs that differ in their seed alone are one configuration.

    A seed that diverged counts as the uniform perplexity, as on the front of a search.
    ``corpus`` is the text's name as the runs carry it, or the path or address that it was read from; auto: any. Of
    several texts that it means, the one of the latest finished training. Raises InputError where nothing fits, and says
    what would.
    """
    texts = records.latest_finished_trainings(PRESET)
    if not texts:
        raise InputError("there is no finished training to recommend; run `tmlm search` or `tmlm train` first")
    for text in texts if corpus == "auto" else _of_text(texts, corpus):
        runs = records.finished_trainings(text.tags["corpus.sha256"])
        if same := [run for run in runs if run.params.get("preset") == PRESET and not _is_pruned(run)]:
            break
    else:
        known = ", ".join(sorted({text.tags.get("corpus", "") for text in texts}))
        raise InputError(f"--corpus {public(corpus)} has no finished training; texts that have one: {known}")
    lost = records.diverged_trainings(text.tags["corpus.sha256"])
    diverged = [run for run in lost if run.params.get("preset") == PRESET]
    chosen = recommend(_candidates(same, diverged), max_macs, max_perplexity)
    return {
        "run_id": chosen.run_id,
        "cell": chosen.cell,
        "num_layers": chosen.num_layers,
        "hidden_size": chosen.hidden_size,
        "val_perplexity": chosen.mean_val_perplexity,
        "macs_per_char": chosen.macs_per_char,
        "parameters": chosen.parameters,
        "seeds": len(chosen.run_ids),
        "diverged": len({run.run_id for run in diverged}.intersection(chosen.run_ids)),
        "corpus": max(same, key=lambda run: run.ended_ms).tags.get("corpus", ""),
        "configurations": len({_configuration(run) for run in same}),
    }


def _of_text(texts: list[records.FinishedTraining], corpus: str) -> list[records.FinishedTraining]:
    """Those on a text of this name, or read from this path or address, by now or, if there is none, ever."""
    try:
        path = str(Path(corpus).expanduser().resolve())
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        path = corpus
    wanted = {"corpus": (corpus,), "corpus.source": (corpus, public(corpus), path)}

    def is_meant(run: records.FinishedTraining) -> bool:
        return any(run.tags.get(tag) in names for tag, names in wanted.items())

    def was_meant(text: records.FinishedTraining) -> bool:
        return any(map(is_meant, records.finished_trainings(text.tags["corpus.sha256"])))

    now = [text for text in texts if is_meant(text)]
    return now or [text for text in texts if was_meant(text)] or [text for text in texts if _shown_name(text) == corpus]


def _shown_name(run: records.FinishedTraining) -> str:
    """The text's name as a training prints it; its tag adds the alphabet where that is another than letters."""
    name, alphabet = run.tags.get("corpus", ""), run.params.get("alphabet", "letters")
    return name if alphabet == "letters" else name.removesuffix(f"-{alphabet}")


def _is_pruned(run: records.FinishedTraining) -> bool:
    """Whether a search pruned the run: it says less of its configuration than one with the whole budget."""
    return run.tags.get("stopped", "").startswith(PRUNED)


def _configuration(run: records.FinishedTraining) -> tuple[str, bool]:
    """What runs that count as seeds of one configuration share; one that its time cut short says less than a whole."""
    return run.config_id, run.tags.get("stopped", "").startswith(STOPPED_BY_TIME)


def _candidates(runs: list[records.FinishedTraining], diverged: list[records.FinishedTraining]) -> list[Candidate]:
    """The configurations of finished runs, each with those of its seeds that diverged at the end."""
    by_config = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.ended_ms):
        by_config[_configuration(run)].append(run)
    found = []
    for configuration, same in by_config.items():
        by_seed = {run.params["seed"]: run for run in same}  # of two of one seed, the later
        each = list(by_seed.values())
        perplexities = [run.metrics["final/val_perplexity"] for run in each]
        lost = {run.params["seed"]: run for run in diverged if _configuration(run) == configuration}
        if left := [run for seed, run in lost.items() if seed not in by_seed]:
            uniform = _uniform_perplexity(each[0])
            perplexities = [min(value, uniform) for value in perplexities] + [uniform] * len(left)
            each += left
        params, metrics = each[0].params, each[0].metrics
        found.append(
            Candidate(
                name=each[0].name,
                cell=params["cell"],
                num_layers=int(params["num_layers"]),
                hidden_size=int(params["hidden_size"]),
                macs_per_char=int(metrics["cost/macs_per_char"]),
                parameters=int(metrics["cost/parameters"]),
                run_ids=tuple(run.run_id for run in each),
                val_perplexities=tuple(perplexities),
            )
        )
    return found


def _uniform_perplexity(run: records.FinishedTraining) -> float:
    """The perplexity of guessing, which is the number of symbols: each adds as many parameters to a shape."""
    from models.complexity import closed_form  # not at the top: only where a seed diverged does torch have to be there

    kinds: dict[str, Any] = {"cell": str, "num_layers": int, "hidden_size": int, "embedding_size": int}
    shape = ModelConfig(**{name: kind(run.params[name]) for name, kind in kinds.items()})
    without, one = (closed_form(shape, symbols).parameters for symbols in (0, 1))
    return (run.metrics["cost/parameters"] - without) / (one - without)


def sentence(found: Mapping[str, Any]) -> str:
    """The recommendation for a person."""
    shape = f"{found['cell']}-{found['num_layers']}x{found['hidden_size']}"
    seeds = f"the mean of {found['seeds']} seeds" if found["seeds"] > 1 else "one seed"
    if found["diverged"]:
        seeds += f", of which {found['diverged']} diverged and count{'s' * (found['diverged'] == 1)} as guessing"
    return (
        f"{shape}: {found['macs_per_char']:,} MACs per character, validation perplexity {found['val_perplexity']:.3f} "
        f"({seeds}), of {found['configurations']} configurations on {found['corpus']}"
    )
