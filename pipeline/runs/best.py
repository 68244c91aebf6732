"""Find the best recorded models on a text, by their means over seeds; nothing is trained and no text is read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Any

from pipeline.config import SIZES
from pipeline.errors import InputError
from pipeline.results import FIGURES, PERPLEXITIES
from pipeline.search.front import WITHIN
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import listed
from pipeline.tracking import program, queries, recorded
from pipeline.tracking.recorded import SHORT_ID, RecordedTraining
from pipeline.tracking.references import describe_run
from pipeline.training.differences import are_level

log = logging.getLogger(__name__)

VAL, MIXED = "val_perplexity", "mixture_val_perplexity"
LINES = "alone", "within", "mixed", "cheapest"  # of a result
LIMITS = {  # what may be limited -> its option, and its unit in messages
    "macs_per_char": ("--max-macs", "MACs per character"),
    "kilobytes": ("--max-kb", "kB"),
    VAL: ("--max-perplexity", "validation perplexity"),
}


@dataclass(frozen=True)
class Configuration:
    """Trainings that differ in their seed alone.

    ``finished`` are those with a result, at least one. Of ``diverged`` others, each counts with the perplexity of
    ``guessing``. ``name`` is that of ``run`` without its text, and what tells it from those of the same name.
    """

    finished: Sequence[RecordedTraining] = field(repr=False)
    diverged: int = 0
    guessing: float = inf
    name: str = ""

    @property
    def run(self) -> RecordedTraining:
        """The run to use: the one with the lowest validation perplexity."""
        return min(self.finished, key=lambda run: run.metrics[f"result/{VAL}"])

    def value(self, name: str) -> float:
        """A size, or the geometric mean of a perplexity over the seeds; infinite if it was not recorded."""
        if name == "kilobytes":
            return self.value("shipped_bytes") / 1000
        if FIGURES[name].section == "size":
            return self.run.metrics.get(f"size/{name}", inf)
        return geometric_mean(self.by_seed(name))

    def by_seed(self, name: str) -> list[float]:
        """A perplexity of every seed."""
        values = [min(run.metrics.get(f"result/{name}", inf), self.guessing) for run in self.finished]
        return values + [self.guessing] * self.diverged


def best(
    text: str = "auto", max_macs: int | None = None, max_kb: float | None = None, max_perplexity: float | None = None
) -> dict[str, Any]:
    """The best of the finished trainings on a text; trainings that differ only in their seed are one configuration.

    ``alone`` is the best network that is not on top of n-grams; ``within`` is the best with at most ``max_macs`` per
    character and ``max_kb`` shipped kilobytes, or without these limits the smallest within 5 % of the best; ``mixed``
    is the best with n-grams mixed in. With ``max_perplexity``, ``cheapest`` takes the place of all: the configuration
    with the fewest MACs of those within all limits. Each is a flat dict, or None.

    A seed that diverged counts with the uniform perplexity. ``text`` is the text's recorded name, or the path or
    address that it was read from; auto: that of the last training that a person started, or of the last one if there is
    no such training. If several texts match, that of the last training is used. Raises InputError if nothing fits.
    """
    found, on = _configurations(text)
    given = {"macs_per_char": max_macs, "kilobytes": max_kb, VAL: max_perplexity}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    fitting = [each for each in found if all(each.value(name) <= limit for name, limit in limits.items())]
    if not fitting:
        raise InputError(_refusal(found, limits))
    lines: dict[str, dict[str, Any] | None] = dict.fromkeys(LINES)
    if max_perplexity is not None:
        return {**on, **lines, "cheapest": _row(min(fitting, key=_smallest))}
    alone = [candidate for candidate in found if candidate.run.configuration["model"]["on_top_of"] == "nothing"]
    lines["alone"] = _best_of(alone, VAL)
    enough = (1 + WITHIN) * min(candidate.value(VAL) for candidate in found)
    small = [candidate for candidate in found if candidate.value(VAL) <= enough]
    lines["within"] = _best_of(fitting, VAL) if limits else _row(min(small, key=_smallest))
    lines["mixed"] = _best_of([candidate for candidate in found if candidate.value(MIXED) < inf], MIXED)
    return {**on, **lines}


def _smallest(configuration: Configuration) -> tuple[float, float]:
    return configuration.value("macs_per_char"), configuration.value(VAL)


def _best_of(configurations: Sequence[Configuration], name: str) -> dict[str, Any] | None:
    """The configuration with the lowest perplexity of this name, and the names of those that are level with it."""
    ranked = sorted(configurations, key=lambda configuration: (configuration.value(name), *_smallest(configuration)))
    if not ranked:
        return None
    lowest = ranked[0].by_seed(name)
    every = [each.by_seed(name) for each in ranked if not each.diverged]
    verdicts = {each.name: are_level(each.by_seed(name), lowest, every) for each in ranked[1:]}
    level = [other for other, is_level in verdicts.items() if is_level]
    untold = [other for other, is_level in verdicts.items() if is_level is None]
    return _row(ranked[0], name) | {"level_with": level, "no_verdict_on": untold}


def _row(chosen: Configuration, name: str = VAL) -> dict[str, Any]:
    """A configuration as a flat dict, with a command that uses it, and compared with no others yet."""
    verb = "evaluate" if name == MIXED else "sample"  # which nothing but an evaluation mixes with n-grams
    sizes = {each: chosen.value(each) for each in (*SIZES, "shipped_bytes")}
    perplexities = {figure: chosen.value(figure) for figure in PERPLEXITIES}
    return {
        "run_id": chosen.run.id,
        "name": chosen.name,
        "study": chosen.run.study,
        "shape": chosen.run.configs[0].shape,
        **{each: chosen.run.configuration["model"][each] for each in ("cell", "num_layers", "hidden_size")},
        **{each: value if value < inf else None for each, value in perplexities.items()},
        **{each: int(value) if value < inf else None for each, value in sizes.items()},
        "seeds": len(chosen.finished) + chosen.diverged,
        "diverged": chosen.diverged,
        "level_with": [],
        "no_verdict_on": [],
        "command": f"{program.command()} {verb} {chosen.run.id[:SHORT_ID]}",
    }


def _refusal(found: Sequence[Configuration], limits: Mapping[str, float]) -> str:
    """Say that nothing is within the limits, and the nearest to each."""
    nearest = []
    for name in limits:
        least = min(found, key=lambda candidate: candidate.value(name))
        value = f"{ceil(1000 * least.value(name)) / 1000:,.10g}" if least.value(name) < inf else "no known"
        nearest.append(f"{value} {LIMITS[name][1]} ({least.name})")
    options = listed([LIMITS[name][0] for name in limits])
    return f"no configuration is within the limits; nearest: {listed(nearest)}. Raise {options}, or search further"


def _configurations(text: str) -> tuple[list[Configuration], dict[str, Any]]:
    """The configurations of a text, and its name with the names of the other texts that have trainings."""
    runs = _own_split(queries.finished_trainings())
    if not runs:
        raise InputError("there is no finished training; run `tmlm search` or `tmlm train` first")
    if text == "auto":
        matching = sorted(runs, key=lambda run: run.role not in recorded.OWN_ROLES)  # both latest first
    else:
        matching = list(filter(queries.on_text(text), runs))
    if not matching:
        known = ", ".join(sorted({run.corpus for run in runs}))
        raise InputError(f"{text} has no finished training; texts that have one: {known}")
    latest = matching[0]
    if text == "auto":
        log.info("On %s, the text of %s", latest.corpus, describe_run(latest))
    others = sorted({run.corpus for run in runs if run.corpus_sha256 != latest.corpus_sha256})
    diverged = _own_split(queries.diverged_trainings(latest.corpus_sha256))
    own = [run for run in runs if run.measured_on(VAL) == latest.measured_on(VAL)]
    found = []
    for by_seed in queries.by_configuration([*reversed(diverged), *reversed(own)]):
        finished = [run for run in by_seed.values() if f"result/{VAL}" in run.metrics]
        lost = len(by_seed) - len(finished)
        if finished:
            found.append(Configuration(finished, lost, _uniform_perplexity(own) if lost else inf))
    chosen = [candidate.run for candidate in found]
    names = queries.told_apart([run.name.removesuffix(f"-{run.corpus}") for run in chosen], chosen)
    found = [replace(candidate, name=name) for candidate, name in zip(found, names, strict=True)]
    return found, {"corpus": latest.corpus, "other_corpora": others, "configurations": len(found)}


def _own_split(runs: Sequence[RecordedTraining]) -> list[RecordedTraining]:
    """The runs that were validated on the text's own split, and whose options can be read."""
    return [run for run in runs if run.configuration and not run.on_reports_text]


def _uniform_perplexity(runs: Sequence[RecordedTraining]) -> float:
    """The perplexity of guessing on a text, its number of symbols; infinite if no run on it has that."""
    return next((float(symbols) for symbols in (run.symbols for run in runs) if symbols), inf)
