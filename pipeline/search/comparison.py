"""Compare two recorded trainings, or the fronts of two searches: the options in which they differ and their figures."""

from collections.abc import Mapping, Sequence
from itertools import chain, compress
from math import log10
from typing import Any

from pipeline.config import COSTS
from pipeline.errors import InputError
from pipeline.support.pareto import dominates, hypervolume
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedRun, RecordedTraining
from pipeline.tracking.references import describe_run, find, training_behind
from pipeline.training.metrics import COMPARED_METRICS


def compare(*references: str) -> dict[str, Any]:
    """Compare two trainings, or two searches, as a flat result.

    ``options`` has those that differ, each with both values; None is a missing value. ``warning`` says which of the
    perplexities can't be compared, "" if all can. Raises InputError for a reference that names neither a training nor a
    search, and for searches that can't be compared.
    """
    found = [find(reference) for reference in references]
    if all(run.stage == "search" for run in found):
        return _compare_searches(found)
    runs = [training_behind(run) for run in found]
    samples = [recorded.read_samples(run.id) for run in runs]
    return {
        "run_ids": [run.id for run in runs],
        "names": [run.name for run in runs],
        "corpora": [run.corpus for run in runs],
        "warning": _warning(*runs),
        "options": _differences([run.params for run in runs]),
        "figures": {name: [run.metrics.get(name) for run in runs] for name in COMPARED_METRICS},
        "texts": [str(each[-1]["text"]) if each else "" for each in samples],  # the last is the longest
    }


def _differences(options: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """The options that differ, each with both values."""
    names = dict.fromkeys(name for each in options for name in each)
    pairs = {name: [each.get(name) for each in options] for name in names}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def _compare_searches(runs: Sequence[RecordedRun]) -> dict[str, Any]:
    """Compare two fronts by their members' means over seeds; their hypervolumes share one reference point."""
    results = [recorded.read_result(run.id, run.stage) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not result.get("front"):
            raise InputError(f"{describe_run(run)}, has no front yet; the same `tmlm search` again finishes it")
    for name in ("corpus_sha256", "cost"):
        if results[0][name] != results[1][name]:
            said = " and ".join(f"{result['corpus']} by {result['cost']}" for result in results)
            raise InputError(
                f"their fronts can't be compared: they are on {said}; give two searches of one text and cost"
            )
    axis, fronts = COSTS[results[0]["cost"]], [result["front"] for result in results]
    points = [[(log10(axis.of(member)), member["val_perplexity"]) for member in front] for front in fronts]
    costs, perplexities = zip(*chain(*points), strict=True)
    reference = _beyond(costs), _beyond(perplexities)
    members = [
        {
            "search": runs[i].id,
            **member,
            "dominated_by": [other["name"] for other in compress(fronts[1 - i], better)],
        }
        for i in (0, 1)
        for member, better in zip(fronts[i], dominates(points[1 - i], points[i]).T, strict=True)
    ]
    return {
        "run_ids": [run.id for run in runs],
        "names": [result["study_name"] for result in results],
        "corpora": [run.corpus for run in runs],
        "options": _differences([{**run.options, "study_name": ""} for run in runs]),
        "cost": results[0]["cost"],
        "hypervolumes": [hypervolume(each, reference) for each in points],
        "reference": [reference[1], round(10 ** reference[0])],  # perplexity and cost
        "members": sorted(members, key=axis.of),
    }


def _beyond(values: Sequence[float]) -> float:
    """The reference for hypervolumes of these values: a tenth of their range beyond the worst, or 1 if all are equal.

    So the ends of a front count as much as the rest of it (Ishibuchi et al. 2018, doi:10.1162/evco_a_00226).
    """
    return max(values) + ((max(values) - min(values)) / 10 or 1)


def _warning(first: RecordedTraining, second: RecordedTraining) -> str:
    """Say which perplexities can't be compared: those on different texts, or on different characters of one text."""
    if first.corpus_sha256 != second.corpus_sha256:
        return f"The texts differ ({first.corpus} and {second.corpus}), so their perplexities can't be compared."
    if first.on_reports_text != second.on_reports_text:
        presets = " and ".join(run.params.get("preset", "") for run in (first, second))
        return f"The presets {presets} validate on different characters: only the test perplexities can be compared."
    return ""
