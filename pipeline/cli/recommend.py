"""Recommend a model from the finished runs; nothing is trained and no text is read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from models.config import ModelConfig
from pipeline.config import ON_REPORTS_TEXT, STOPPED_BY_TIME
from pipeline.errors import InputError
from pipeline.search.front import Candidate
from pipeline.text.downloads import public
from pipeline.tracking import records


def recommend(
    candidates: Sequence[Candidate], max_macs: float | None = None, max_perplexity: float | None = None
) -> Candidate:
    """Choose a candidate by its means over seeds.

    With ``max_macs`` alone: the candidate with the lowest validation perplexity among those within the limit. With
    ``max_perplexity``, with or without ``max_macs``: the one with the fewest MACs among those within the limits. Raises
    InputError if no candidate is within them; the message says which limit to raise.
    """
    if max_macs is None and max_perplexity is None:
        raise InputError("give --max-macs, --max-perplexity or both")
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
            f"{smallest.macs_per_char:,}: raise --max-macs, or search smaller models"
        )
    if not best.mean_val_perplexity <= perplexity:
        raise InputError(
            f"no configuration has a validation perplexity of at most {max_perplexity:.10g}; the best, {best.name}, "
            f"has {_up(best.mean_val_perplexity)} with {best.macs_per_char:,} MACs per character: "
            "raise --max-perplexity, or run more trials"
        )
    cheap = next(c for c in by_perplexity if c.macs_per_char <= macs)
    good = next(c for c in by_macs if c.mean_val_perplexity <= perplexity)
    raise InputError(
        f"no configuration has both at most {max_macs:,.10g} MACs per character and a validation perplexity of at most "
        f"{max_perplexity:.10g}; the best within the first limit has {_up(cheap.mean_val_perplexity)} ({cheap.name}), "
        f"the cheapest within the second {good.macs_per_char:,} MACs ({good.name}): raise --max-perplexity or "
        "--max-macs"
    )


def recommended(corpus: str, max_macs: int | None, max_perplexity: float | None) -> dict[str, Any]:
    """Recommend a configuration of the recorded runs, as a flat result; runs that differ only in seed are one.

    A seed that diverged counts with the uniform perplexity, as on the front of a search. ``corpus`` is the text's
    recorded name, or the path or address that it was read from; auto: any text. If several texts match, that of the
    latest finished training is used. Raises InputError if nothing fits.
    """
    texts = records.latest_finished_trainings(other_than=ON_REPORTS_TEXT)  # these validate on other characters
    if not texts:
        raise InputError("there is no finished training to recommend; run `tmlm search` or `tmlm train` first")
    for text in texts if corpus == "auto" else _of_text(texts, corpus):
        runs = records.finished_trainings(text.tags["corpus.sha256"])
        if same := [run for run in runs if run.params.get("preset") not in ON_REPORTS_TEXT]:
            break
    else:
        known = ", ".join(sorted({text.tags.get("corpus", "") for text in texts}))
        raise InputError(f"--corpus {public(corpus)} has no finished training; texts that have one: {known}")
    lost = records.diverged_trainings(text.tags["corpus.sha256"])
    diverged = [run for run in lost if run.params.get("preset") not in ON_REPORTS_TEXT]
    chosen = recommend(_candidates(same, diverged), max_macs, max_perplexity)
    return {
        "run_id": chosen.run_id,
        "cell": chosen.cell,
        "num_layers": chosen.num_layers,
        "hidden_size": chosen.hidden_size,
        "val_perplexity": chosen.mean_val_perplexity,
        "macs_per_char": chosen.macs_per_char,
        "parameters": chosen.parameters,
        "on_top_of": "ngram" if chosen.ngram_entries else "nothing",
        "stored_numbers": chosen.stored_numbers,
        "seeds": len(chosen.run_ids),
        "diverged": len({run.run_id for run in diverged}.intersection(chosen.run_ids)),
        "corpus": max(same, key=lambda run: run.ended_ms).tags.get("corpus", ""),
        "configurations": len({_configuration(run) for run in same}),
    }


def _up(perplexity: float) -> str:
    """The perplexity rounded up to three decimals, so that the printed number works as --max-perplexity."""
    nearest = f"{perplexity:.3f}"
    return nearest if float(nearest) >= perplexity else f"{perplexity + 0.0005:.3f}"


def _of_text(texts: list[records.FinishedTraining], corpus: str) -> list[records.FinishedTraining]:
    """The trainings on a text with this name, path or address; else those on a text that once had it."""
    try:
        path = str(Path(corpus).expanduser().resolve())
    except (OSError, ValueError, RuntimeError):  # no possible file name
        path = corpus
    wanted = {"corpus": (corpus,), "corpus.source": (corpus, public(corpus), path)}

    def is_meant(run: records.FinishedTraining) -> bool:
        return any(run.tags.get(tag) in names for tag, names in wanted.items())

    def was_meant(text: records.FinishedTraining) -> bool:
        return any(map(is_meant, records.finished_trainings(text.tags["corpus.sha256"])))

    now = [text for text in texts if is_meant(text)]
    return now or [text for text in texts if was_meant(text)] or [text for text in texts if _shown_name(text) == corpus]


def _shown_name(run: records.FinishedTraining) -> str:
    """The text's name as ``train`` prints it, without the alphabet that the tag adds unless it is ``letters``."""
    name, alphabet = run.tags.get("corpus", ""), run.params.get("alphabet", "letters")
    return name if alphabet == "letters" else name.removesuffix(f"-{alphabet}")


def _configuration(run: records.FinishedTraining) -> tuple[str, bool]:
    """The key that the seeds of a configuration share; runs that their time limit ended are kept apart."""
    return run.config_id, run.tags.get("stopped", "").startswith(STOPPED_BY_TIME)


def _candidates(runs: list[records.FinishedTraining], diverged: list[records.FinishedTraining]) -> list[Candidate]:
    """Group finished runs into candidates; seeds that diverged come last in each."""
    by_config = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.ended_ms):
        by_config[_configuration(run)].append(run)
    candidates = []
    for configuration, same in by_config.items():
        by_seed = {run.params["seed"]: run for run in same}  # the latest run of each seed
        members = list(by_seed.values())
        perplexities = [run.metrics["result/val_perplexity"] for run in members]
        lost = {run.params["seed"]: run for run in diverged if _configuration(run) == configuration}
        if left := [run for seed, run in lost.items() if seed not in by_seed]:
            uniform = _uniform_perplexity(members[0])
            perplexities = [min(value, uniform) for value in perplexities] + [uniform] * len(left)
            members += left
        params, metrics = members[0].params, members[0].metrics
        candidates.append(
            Candidate(
                name=members[0].name,
                cell=params["cell"],
                num_layers=int(params["num_layers"]),
                hidden_size=int(params["hidden_size"]),
                macs_per_char=int(metrics["size/macs_per_char"]),
                parameters=int(metrics["size/parameters"]),
                ngram_entries=int(
                    metrics.get("size/stored_numbers", metrics["size/parameters"]) - metrics["size/parameters"]
                ),
                run_ids=tuple(run.run_id for run in members),
                val_perplexities=tuple(perplexities),
            )
        )
    return candidates


def _uniform_perplexity(run: records.FinishedTraining) -> float:
    """The perplexity of guessing, which is the number of symbols: parameters are linear in it."""
    from models.complexity import closed_form  # imports torch, which is needed only if a seed diverged

    kinds: dict[str, Any] = {"cell": str, "num_layers": int, "hidden_size": int, "embedding_size": int}
    sizes = {name: kind(run.params[name]) for name, kind in kinds.items()}
    shape = ModelConfig(**sizes | {"on_top_of": run.params.get("on_top_of", "nothing")})
    none, single = (closed_form(shape, symbols).parameters for symbols in (0, 1))
    return (run.metrics["size/parameters"] - none) / (single - none)


def sentence(result: Mapping[str, Any]) -> str:
    """The result of ``recommended`` as a sentence."""
    shape = f"{result['cell']}-{result['num_layers']}x{result['hidden_size']}"
    stored = ""
    if result["on_top_of"] != "nothing":
        shape += f"-on-{result['on_top_of']}"
        stored = f"{result['stored_numbers']:,} stored numbers, "
    seeds = f"the mean of {result['seeds']} seeds" if result["seeds"] > 1 else "one seed"
    if result["diverged"]:
        seeds += f", of which {result['diverged']} diverged and count{'s' * (result['diverged'] == 1)} as guessing"
    return (
        f"{shape}: {result['macs_per_char']:,} MACs per character, {stored}validation perplexity "
        f"{result['val_perplexity']:.3f} ({seeds}), of "
        f"{result['configurations']} configurations on {result['corpus']}"
    )
