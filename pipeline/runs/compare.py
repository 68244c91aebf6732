"""Compare recorded trainings, or the fronts of searches: the options in which they differ and their figures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import compress
from math import hypot, inf, log, log10
from statistics import fmean
from typing import Any

import numpy as np

from pipeline.config import COSTS
from pipeline.errors import InputError
from pipeline.results import SEARCH, SEEDS
from pipeline.support.pareto import dominates, hypervolume
from pipeline.support.records import Number
from pipeline.support.statistics import Estimate, block_bootstrap, estimate, geometric_mean, pooled_spread
from pipeline.support.wording import listed
from pipeline.tracking import artifacts, queries
from pipeline.tracking.recorded import SHORT_ID, RecordedRun, RecordedTraining
from pipeline.tracking.references import MOST_TOGETHER, describe_run, find, training_behind
from pipeline.training.differences import percent
from pipeline.training.metrics import COMPARED_METRICS, VAL_CURVE

RANKED = [name for name, figure in COMPARED_METRICS.items() if figure.short and figure.section == "result"]

BLOCKS = {"result/val_perplexity": "val", "result/test_perplexity": "test"}  # metric -> its costs in COSTS_FILE
BLOCKS_DRAWN = 2  # together by the bootstrap: of 50 characters in a short text, as a training's own 100

Lines = Iterable[Sequence[Mapping[int, float]]]  # of each run, for a plot


def compare(*references: str, plot: str = "") -> dict[str, Any]:
    """Compare trainings, or searches, as a flat result with a list of values for each option and figure.

    ``options`` has those that differ; None is a missing value. ``warning`` says which of the perplexities can't be
    compared, "" if all can. A run of several seeds has their means. ``plot`` is a file to draw curves or fronts to.
    Raises InputError for a reference that names neither a training nor a search, for a mixture of both, for searches
    that can't be compared, and for a plot that can't be drawn.
    """
    most = MOST_TOGETHER
    if not 2 <= len(references) <= most:
        raise InputError(f"{len(references)} to compare; give 2 to {most} trainings, or 2 to {most} studies")
    is_possible = plot.endswith((".png", ".svg", ".pdf")) and os.path.isdir(os.path.dirname(plot) or ".")
    if plot and (os.path.lexists(plot) or not is_possible):
        raise InputError(f"--plot {plot} must be a new file in a folder that exists, and end with .png, .svg or .pdf")
    found = [find(reference) for reference in references]
    searches = [run for run in found if run.stage == SEARCH]
    if searches and (others := [describe_run(run) for run in found if run not in searches]):
        studies = listed([f"study {run.study}" for run in searches])
        raise InputError(f"{studies} can't be compared with {listed(others)}: give studies alone, or trainings alone")
    result, lines = _compare_searches(found) if searches else _compare_trainings(found)
    if plot:
        if result.get("warning"):
            raise InputError(f"--plot {plot}: {result['warning']}")
        from pipeline.pages.plotting import draw_perplexities  # imported here, as matplotlib is

        named = zip(result["names"], result["run_ids"], lines, strict=True)
        by_run = {f"{name} ({run_id[:SHORT_ID]})": each for name, run_id, each in named}
        draw_perplexities(plot, by_run, found[0].corpus, COSTS[result["cost"]].name if searches else "")
    return result


def _compare_trainings(found: Sequence[RecordedRun]) -> tuple[dict[str, Any], Lines]:
    runs = [run if run.stage == SEEDS else training_behind(run) for run in found]
    seeds = [[run] if isinstance(run, RecordedTraining) else _finished_seeds(run) for run in runs]
    best = [min(seed, key=lambda run: run.metrics.get(RANKED[0], inf)) for seed in seeds]
    ranked, warning = _comparable(best)
    samples = [artifacts.read_samples(run.id) for run in best]
    read = partial(artifacts.read_json, path=artifacts.COSTS_FILE, form=dict[str, list[Number]])
    costs = [read(seed[0].id) if len(seed) == 1 else {} for seed in seeds]
    values = {
        name: [[run.metrics[name] for run in seed if name in run.metrics] for seed in seeds]
        for name in COMPARED_METRICS
    }
    result = {
        "run_ids": [run.id for run in runs],
        "names": [run.name for run in runs],
        "corpora": [run.corpus for run in runs],
        "notes": [named.note or run.note for named, run in zip(found, runs, strict=True)],
        "like": [run.like for run in runs],
        "seeds": [len(seed) for seed in seeds],
        "warning": warning,
        "options": queries.differing(
            [{**seed[0].params, "seed": ", ".join(run.params.get("seed", "") for run in seed)} for seed in seeds]
        ),
        "figures": {name: [_mean(name, each) for each in by_run] for name, by_run in values.items()},
        "differences": {
            name: _above_best(values[name], [each.get(BLOCKS.get(name, ""), []) for each in costs]) for name in ranked
        },
        "texts": [str(sample[-1]["text"]) if sample else "" for sample in samples],  # the last is the longest
    }
    return result, ([run.pooled(VAL_CURVE) for run in seed] for seed in seeds)


def _finished_seeds(run: RecordedRun) -> list[RecordedTraining]:
    finished = [training for training in queries.nested_trainings(run.id) if training.state == "finished"]
    if not finished:
        raise InputError(f"{describe_run(run)}, has no finished training; the same command again resumes it")
    return finished


def _comparable(runs: Sequence[RecordedTraining]) -> tuple[Sequence[str], str]:
    """The perplexities of RANKED that can be compared, and a warning about those on other texts or characters."""
    ranked = [metric for metric in RANKED if len({run.measured_on(metric) for run in runs}) == 1]
    texts = listed([*{run.corpus_sha256: run.corpus for run in runs}.values()])
    presets = listed([*dict.fromkeys(run.params.get("preset", "") for run in runs)])
    if not ranked:
        return (), f"The texts differ ({texts}), so their perplexities can't be compared."
    warning = f"The presets {presets} validate on different characters: only the test perplexities can be compared."
    return ranked, warning * (len(ranked) < len(RANKED))


def _mean(name: str, values: Sequence[float]) -> float | None:
    """The mean over seeds, geometric for a perplexity; None without a value."""
    if not values:
        return None
    return geometric_mean(values) if "perplexity" in name else fmean(values)


def _above_best(
    perplexities: Sequence[Sequence[float]], blocks: Sequence[Sequence[float]]
) -> list[dict[str, Any] | None]:
    """By how much the mean of each run is above the lowest, in percent, with the ends of its 95 % interval.

    Between runs of several seeds, ``interval`` is "seeds": half its width is t s sqrt(1/n1 + 1/n2), in the logarithm,
    with the spread s pooled over these runs; two seeds of a single run tell too little. Between runs of one seed, it is
    "text", a bootstrap over ``blocks``, the mean costs of consecutive parts of the text. The lowest and any other have
    none: "".
    """
    bits = [np.log2(values) for values in perplexities]
    spread = pooled_spread(bits)
    means = [estimate(each.tolist(), logarithmic=False, spread=spread) if len(each) else None for each in bits]
    lowest = min((mean for mean in means if mean), key=lambda mean: mean.mean, default=Estimate(0.0))
    best = [*means, lowest].index(lowest)

    def above(at: int, mean: Estimate) -> dict[str, Any]:
        by = mean.mean - lowest.mean
        ends, kind = None, "text"
        if spread.degrees_of_freedom > 1 and min(len(bits[at]), len(bits[best])) > 1:
            half = hypot(mean.half, lowest.half)
            ends, kind = (by - half, by + half), "seeds"
        elif len(blocks[at]) == len(blocks[best]) > 1:
            differences = np.subtract(blocks[at], blocks[best]) / log(2)
            ends = block_bootstrap(differences, BLOCKS_DRAWN).ends
        low, high = map(percent, ends) if ends and at != best else (None, None)
        return {"percent": percent(by), "low": low, "high": high, "interval": "" if low is None else kind}

    return [above(at, mean) if mean else None for at, mean in enumerate(means)]


def _compare_searches(runs: Sequence[RecordedRun]) -> tuple[dict[str, Any], Lines]:
    """Compare fronts by their members' means over seeds; their hypervolumes share one reference point."""
    results = [artifacts.read_result(run.id, run.stage) for run in runs]
    kinds = dict[Any, str]()
    for run, result in zip(runs, results, strict=True):
        if not result.get("front"):
            raise InputError(f"{describe_run(run)}, has no front yet; the same `tmlm search` again finishes it")
        kind = run.measured_on(RANKED[0]), result["cost"]
        kinds[kind] = f"{run.corpus} (preset {run.params.get('preset')}) by {result['cost']}"
    if len(kinds) > 1:
        said = listed([*kinds.values()])
        raise InputError(f"their fronts can't be compared: they are on {said}; give searches of one text and cost")
    axis = COSTS[results[0]["cost"]]
    members = [
        {"search": run.id, **member} for run, result in zip(runs, results, strict=True) for member in result["front"]
    ]
    points = np.array([(log10(axis.of(member)), member["val_perplexity"]) for member in members])
    search = np.repeat(np.arange(len(runs)), [len(result["front"]) for result in results])
    better = dominates(points, points) & (search[:, None] != search)
    for member, by in zip(members, better.T, strict=True):
        member["dominated_by"] = [other["name"] for other in compress(members, by)]
    cost, perplexity = map(_beyond, points.T.tolist())
    compared = {
        "run_ids": [run.id for run in runs],
        "names": [result["study_name"] for result in results],
        "corpora": [run.corpus for run in runs],
        "notes": [run.note for run in runs],
        "options": queries.differing([{**run.options, "study_name": ""} for run in runs]),
        "cost": results[0]["cost"],
        "hypervolumes": [hypervolume(points[search == number], (cost, perplexity)) for number in range(len(runs))],
        "reference": [perplexity, round(10**cost)],
        "members": sorted(members, key=axis.of),
    }
    fronts = [{axis.of(member): member["val_perplexity"] for member in result["front"]} for result in results]
    return compared, [[front] for front in fronts]


def _beyond(values: Sequence[float]) -> float:
    """The reference for hypervolumes of these values: a tenth of their range beyond the worst, or 1 if all are equal.

    So the ends of a front count as much as the rest of it (Ishibuchi et al. 2018, doi:10.1162/evco_a_00226).
    """
    return max(values) + ((max(values) - min(values)) / 10 or 1)
