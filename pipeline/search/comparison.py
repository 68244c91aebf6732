"""Compare recorded trainings, or the fronts of searches: the options in which they differ and their figures."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain, compress
from math import hypot, inf, log10
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from pipeline.config import COSTS
from pipeline.errors import InputError
from pipeline.support.files import write_atomically
from pipeline.support.pareto import dominates, hypervolume
from pipeline.support.statistics import Estimate, estimate, geometric_mean, pooled_spread
from pipeline.support.wording import listed
from pipeline.tracking import recorded
from pipeline.tracking.recorded import SHORT_ID, RecordedRun, RecordedTraining
from pipeline.tracking.references import describe_run, find, training_behind
from pipeline.training.differences import percent
from pipeline.training.metrics import COMPARED_METRICS, VAL_CURVE

MOST = 20  # runs
RANKED = ("result/val_perplexity", "result/test_perplexity", "result/mixture_test_perplexity")
SUFFIXES = (".png", ".svg", ".pdf")  # of a plot


def compare(*references: str, plot: str = "") -> dict[str, Any]:
    """Compare trainings, or searches, as a flat result with a list of values for each option and figure.

    ``options`` has those that differ; None is a missing value. ``warning`` says which of the perplexities can't be
    compared, "" if all can. A run of several seeds has their means. ``plot`` is a file to draw curves or fronts to.
    Raises InputError for a reference that names neither a training nor a search, for a mixture of both, for searches
    that can't be compared, and for a plot that can't be drawn.
    """
    if not 2 <= len(references) <= MOST:
        raise InputError(f"{len(references)} to compare; give 2 to {MOST} trainings, or 2 to {MOST} studies")
    file = _checked_plot(plot) if plot else None
    found = [find(reference) for reference in references]
    searches = [run for run in found if run.stage == "search"]
    if not searches:
        return _compare_trainings(found, file)
    if others := [describe_run(run) for run in found if run not in searches]:
        raise InputError(
            f"{listed([f'study {run.study}' for run in searches])} can't be compared with {listed(others)}: give "
            "studies alone, or trainings alone"
        )
    return _compare_searches(searches, file)


def _checked_plot(plot: str) -> Path:
    """The path of a plot. Raises InputError for one that can't be drawn, or would replace a file."""
    path = Path(plot)
    if path.suffix not in SUFFIXES:
        raise InputError(f"--plot {plot} must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if os.path.lexists(path):
        raise InputError(f"--plot {plot} exists already; give another name")
    if not path.parent.is_dir():
        raise InputError(f"--plot {plot}: there is no folder {path.parent}; create it, or give another one")
    return path


def _labels(result: Mapping[str, Any]) -> list[str]:
    """What a plot calls the runs."""
    return [f"{name} ({run_id[:SHORT_ID]})" for name, run_id in zip(result["names"], result["run_ids"], strict=True)]


def _differing(options: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """The options that differ, each with all values."""
    names = dict.fromkeys(name for each in options for name in each)
    values = {name: [each.get(name) for each in options] for name in names}
    return {name: each for name, each in values.items() if len({*each}) > 1}


# --- trainings --------------------------------------------------------------------------------------------------------


def _compare_trainings(found: Sequence[RecordedRun], plot: Path | None) -> dict[str, Any]:
    runs = [run if run.stage == recorded.SEEDS else training_behind(run) for run in found]
    seeds = [[run] if isinstance(run, RecordedTraining) else _finished_seeds(run) for run in runs]
    best = [min(each, key=lambda run: run.metrics.get(RANKED[0], inf)) for each in seeds]
    ranked, warning = _comparable(best)
    samples = [recorded.read_samples(run.id) for run in best]
    result = {
        "run_ids": [run.id for run in runs],
        "names": [run.name for run in runs],
        "corpora": [run.corpus for run in runs],
        "seeds": [len(each) for each in seeds],
        "warning": warning,
        "options": _differing([_options(each) for each in seeds]),
        "figures": {name: [_mean(name, each) for each in seeds] for name in COMPARED_METRICS},
        "differences": {name: _differences_to_best(name, seeds) for name in ranked},
        "texts": [str(each[-1]["text"]) if each else "" for each in samples],  # the last is the longest
    }
    if plot:
        if warning:
            raise InputError(f"--plot {plot}: {warning}")
        from pipeline.search import figures  # imported here, as matplotlib is

        curves = [[run.pooled(VAL_CURVE) for run in each] for each in seeds]
        write_atomically(plot, figures.compared_curves(_labels(result), curves, runs[0].corpus, plot.suffix[1:]))
    return result


def _finished_seeds(run: RecordedRun) -> list[RecordedTraining]:
    """The finished trainings of a run of several seeds. Raises InputError if there is none."""
    finished = [training for training in recorded.nested_trainings(run.id) if training.state == "finished"]
    if not finished:
        raise InputError(f"{describe_run(run)}, has no finished training; the same command again resumes it")
    return finished


def _comparable(runs: Sequence[RecordedTraining]) -> tuple[Sequence[str], str]:
    """The perplexities of RANKED that can be compared, and a warning about the others, "" without one.

    Those on different texts, or on different characters of one text, can't be.
    """
    texts = {run.corpus_sha256: run.corpus for run in runs}
    if len(texts) > 1:
        return (), f"The texts differ ({listed([*texts.values()])}), so their perplexities can't be compared."
    if len({run.on_reports_text for run in runs}) > 1:
        presets = listed([*dict.fromkeys(run.params.get("preset", "") for run in runs)])
        on_validation = f"The presets {presets} validate on different characters"
        return RANKED[1:], f"{on_validation}: only the test perplexities can be compared."
    return RANKED, ""


def _options(seeds: Sequence[RecordedTraining]) -> dict[str, str]:
    """The options of trainings; one in which they differ, such as the seed, has all values."""
    names = dict.fromkeys(name for run in seeds for name in run.params)
    return {name: ", ".join(dict.fromkeys(run.params.get(name, "") for run in seeds)) for name in names}


def _values(name: str, seeds: Sequence[RecordedTraining]) -> list[float]:
    return [run.metrics[name] for run in seeds if name in run.metrics]


def _mean(name: str, seeds: Sequence[RecordedTraining]) -> float | None:
    """The mean over seeds, geometric for a perplexity; None without a value."""
    if not (values := _values(name, seeds)):
        return None
    return geometric_mean(values) if "perplexity" in name else fmean(values)


def _differences_to_best(name: str, runs: Sequence[Sequence[RecordedTraining]]) -> list[dict[str, float | None] | None]:
    """By how much the mean of each is above the lowest mean, in percent, with the ends of its 95 % interval by seeds.

    The half width of the interval is t s sqrt(1/n1 + 1/n2), in the logarithm. The spread s is pooled over all that have
    several seeds; if none has, there is no interval.
    """
    bits = [np.log2(_values(name, seeds)) for seeds in runs]
    spread = pooled_spread(bits)
    means = [estimate(each.tolist(), logarithmic=False, spread=spread) if len(each) else None for each in bits]
    lowest = min((mean for mean in means if mean), key=lambda mean: mean.mean, default=Estimate(0.0))

    def to_best(mean: Estimate) -> dict[str, float | None]:
        above, half = mean.mean - lowest.mean, hypot(mean.half, lowest.half)
        low, high = (percent(above - half), percent(above + half)) if half and mean is not lowest else (None, None)
        return {"percent": percent(above), "low": low, "high": high}

    return [to_best(mean) if mean else None for mean in means]


# --- searches ---------------------------------------------------------------------------------------------------------


def _compare_searches(runs: Sequence[RecordedRun], plot: Path | None) -> dict[str, Any]:
    """Compare fronts by their members' means over seeds; their hypervolumes share one reference point."""
    results = [recorded.read_result(run.id, run.stage) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not result.get("front"):
            raise InputError(f"{describe_run(run)}, has no front yet; the same `tmlm search` again finishes it")
    if len({(result["corpus_sha256"], result["cost"]) for result in results}) > 1:
        said = listed([f"{result['corpus']} by {result['cost']}" for result in results])
        raise InputError(f"their fronts can't be compared: they are on {said}; give searches of one text and cost")
    axis = COSTS[results[0]["cost"]]
    fronts = [[(log10(axis.of(member)), member["val_perplexity"]) for member in result["front"]] for result in results]
    points, search = [*chain(*fronts)], np.repeat(np.arange(len(runs)), [len(front) for front in fronts])
    costs, perplexities = zip(*points, strict=True)
    reference = _beyond(costs), _beyond(perplexities)
    better = dominates(points, points) & (search[:, None] != search)
    every = [
        {"search": runs[number].id, **member} for number, result in enumerate(results) for member in result["front"]
    ]
    members = [
        {**member, "dominated_by": [other["name"] for other in compress(every, by)]}
        for member, by in zip(every, better.T, strict=True)
    ]
    compared = {
        "run_ids": [run.id for run in runs],
        "names": [result["study_name"] for result in results],
        "corpora": [run.corpus for run in runs],
        "options": _differing([{**run.options, "study_name": ""} for run in runs]),
        "cost": results[0]["cost"],
        "hypervolumes": [hypervolume(each, reference) for each in fronts],
        "reference": [reference[1], round(10 ** reference[0])],  # perplexity and cost
        "members": sorted(members, key=axis.of),
    }
    if plot:
        from pipeline.search import figures

        title = runs[0].corpus
        write_atomically(plot, figures.compared_fronts(_labels(compared), fronts, axis, title, plot.suffix[1:]))
    return compared


def _beyond(values: Sequence[float]) -> float:
    """The reference for hypervolumes of these values: a tenth of their range beyond the worst, or 1 if all are equal.

    So the ends of a front count as much as the rest of it (Ishibuchi et al. 2018, doi:10.1162/evco_a_00226).
    """
    return max(values) + ((max(values) - min(values)) / 10 or 1)
