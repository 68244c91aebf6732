"""Figures of a search as PNG bytes: Pareto front, hypervolume, generation times, parameter importances."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, pairwise
from math import inf
from operator import itemgetter
from statistics import median
from typing import Any

from models.ngram import Baselines
from pipeline.config import COSTS
from pipeline.pages import plotting
from pipeline.pages.drawing import cell_style
from pipeline.pages.plotting import BAR, FAINT, INK, TRAIN, VAL, Axes, Figure, scatter
from pipeline.search.front import FrontEstimate, FrontPoint, Pick, Trial

HOLLOW = {"markerfacecolor": "none", "mew": 1.0}  # the markers of models on top of n-grams


def _named(points: Iterable[FrontPoint], chosen: Mapping[str, Pick], default: str = "") -> list[tuple[str, FrontPoint]]:
    """The points with their labels, such as "lstm 1x64 (knee)", picks first, then the default."""
    picked, others = list[tuple[str, FrontPoint]](), list[tuple[str, FrontPoint]]()
    for point in points:
        label = point.candidate.label
        names = [name for name, pick in chosen.items() if pick.point.candidate == point.candidate]
        group = picked if names else others
        names += ["default"] * (label == default)
        group.append((f"{label} ({', '.join(names)})" if names else label, point))
    return picked + sorted(others, key=lambda other: other[1].candidate.label != default)


def _members(axes: Axes, points: Sequence[tuple[float, FrontPoint]]) -> None:
    """Draw means over seeds with their intervals as large markers, hollow on top of n-grams, at the given x."""
    for x, point in points:
        style = cell_style(point.candidate.cell)
        hollow = {"markerfacecolor": "white", "markeredgecolor": style.colour, "markeredgewidth": 1.5}
        look = hollow if point.candidate.ngram_numbers else {"markeredgecolor": "black"}
        plotting.mean_with_interval(axes, (style.colour, style.marker), x, point.val, zorder=5, **look)


def pareto_front(
    trials: Sequence[Trial],
    evaluated: FrontEstimate,
    chosen: Mapping[str, Pick],
    baselines: Baselines,
    about: str,
    compared: Sequence[Mapping[str, Any]] = (),
    default: str = "",
) -> bytes:
    """Draw trials and the front: validation perplexity against the cost and against stored numbers, on log scales.

    Nothing above the perplexity of the reference point is drawn. ``about`` names study and text, ``chosen`` are the
    picks, which the labels name. ``baselines`` are horizontal lines, and n-gram models are drawn against the numbers
    that they store. ``compared`` are the picks and their rivals: the mixture of each with the n-grams is drawn too, and
    your own best training. ``default`` is the label of the preset's own shape, which is marked.
    """
    limit, failed = evaluated.reference[0], [trial.cost for trial in trials if trial.val_perplexity is None]
    bars = {label: value for label, value in baselines.perplexities().items() if value <= limit}
    done = [(trial, value) for trial in trials if (value := trial.val_perplexity or inf) <= limit]
    left_out = len(trials) - len(done) - len(failed)
    title, seeds = f"{about}\nvalidation split, {len(trials)} trials", [point.seeds for point in evaluated.front]
    if left_out:
        title += f" ({left_out} above {limit:.3g} not drawn)"
    if max(seeds, default=1) > 1:
        title += f"; up to {max(seeds)} seeds each"
    figure = plotting.new_figure(14.6, 6.3)
    axes = plotting.add_axes(figure, title, 121)
    cost_of = itemgetter(evaluated.axis.attribute)
    yours = [row for row in compared if row["kind"] == "yours"]
    mixed = []
    if evaluated.axis is COSTS["macs"]:  # the mixture's n-grams are stored too
        mixed = [(cost_of(row), mixture) for row in compared if (mixture := row["mixture_val_perplexity"])]
    costs = failed + [trial.cost for trial, _ in done] + [point.cost for point in evaluated.front]
    costs += map(cost_of, yours)
    heights = [row["val_perplexity"] for row in yours] + [mixture for _, mixture in mixed]
    heights += [height for _, height in done] + [point.val.mean for point in evaluated.front]
    plotting.log_x(axes, costs or [evaluated.reference[1]])
    plotting.log_y(axes, [*heights, *bars.values()] or [evaluated.reference[0]])
    for on_ngrams, label, look in (False, "{} trials", {}), (True, "{} trials on n-grams (hollow)", HOLLOW):
        shown = [(trial.cell, trial.cost, height) for trial, height in done if trial.on_ngrams == on_ngrams]
        plotting.scatter_by_cell(axes, shown, label, **look)
    if failed:
        top = axes.get_xaxis_transform()
        axes.plot(failed, [0.985] * len(failed), "x", color=FAINT, transform=top, label=f"failed ({len(failed)})")
    plotting.baseline_lines(axes, bars)
    if not heights:
        plotting.write_message(axes, "no finished trial")
    ends = [*(point.cost for point in evaluated.front), axes.get_xlim()[1]]  # of the steps, up to the right edge
    steps = zip(evaluated.front, pairwise(ends), strict=True)
    corners = [(x, point.val.mean) for point, step in steps for x in step]
    scatter(axes, corners, "-", color=VAL, linewidth=1.3, zorder=2.5, label="front, means, 95 % prediction intervals")
    _members(axes, [(point.cost, point) for point in evaluated.front])
    scatter(axes, mixed, "D", color=BAR, markerfacecolor="none", label="with the n-grams mixed in")
    scatter(axes, [(cost_of(row), row["val_perplexity"]) for row in yours], "*", color=INK, markersize=11)
    axes.set(xlabel=f"{evaluated.axis.name} ({evaluated.axis.details})", ylabel="validation perplexity per character")
    _by_memory(figure, axes, evaluated, baselines)
    labels = [(f"{row['label']}: {row['name']}", cost_of(row), row["val_perplexity"]) for row in yours]
    is_shown = [
        each.on_front or (each.candidate.label == default and each.val.mean <= limit) for each in evaluated.points
    ]
    named = _named(compress(evaluated.points, is_shown), chosen, default)
    labels += [(text, point.cost, point.val.mean) for text, point in named]
    keep = len(yours) + sum(text != point.candidate.label for text, point in named)  # what is yours, picked or default
    plotting.write_labels(axes, labels, keep)
    return plotting.png(figure)


def _by_memory(figure: Figure, front: Axes, evaluated: FrontEstimate, baselines: Baselines) -> None:
    """Draw the front's members, and the n-gram models, against the numbers that they store; add a legend for both."""
    axes = plotting.add_axes(figure, "the front by memory, beside n-grams\nfitted on the same text, same split", 122)
    scores = {f"{each.order}-gram, {each.entries // 1000}k": each for each in baselines.pruned}
    scores[f"{baselines.single.order}-gram"] = baselines.single
    if baselines.gated:
        scores[f"orders 1 to {baselines.gated.order}"] = baselines.gated
    counted = [(float(score.stored_numbers), 2**score.bits_per_char) for score in scores.values()]
    pruned, together = counted[: len(baselines.pruned) + 1], counted[len(baselines.pruned) + 1 :]
    members = [(float(point.candidate.sizes["stored_numbers"]), point) for point in evaluated.front]
    plotting.log_x(axes, [x for x, _ in counted] + [x for x, _ in members])
    plotting.log_y(axes, [y for _, y in counted] + [point.val.mean for _, point in members])
    scatter(axes, pruned, "s--", color=BAR, linewidth=1.0, label="n-grams of one order, pruned")
    scatter(axes, together, "P", color=BAR, markersize=9, label="n-grams of all orders")
    _members(axes, members)
    axes.set(xlabel="numbers stored: parameters, n-grams", ylabel="validation perplexity per character")
    # before labels are placed: it changes the sizes of the axes
    plotting.legend_below(figure, [front, axes], 4, "small")
    labels = [(name, *dot) for name, dot in zip(scores, counted, strict=True)]
    labels += [(point.candidate.label, x, point.val.mean) for x, point in members]
    plotting.write_labels(axes, labels, 0)


def hypervolume_history(areas: Sequence[float], evaluated: FrontEstimate, title: str) -> bytes:
    """Draw the hypervolume (perplexity times decades of cost) after each trial, then that of the means over seeds."""
    figure = plotting.new_figure(8, 4)
    axes = plotting.add_axes(figure, title)
    if any(areas):
        axes.step(range(1, len(areas) + 1), areas, where="post", color=TRAIN, label="trials, one run each")
    else:
        plotting.write_message(axes, "no finished trial")
    if evaluated.points:
        scatter(axes, [(len(areas) + 1, evaluated.hypervolume)], "o", color=VAL, label="means over seeds")
    axes.set(xlabel="trials", ylabel=f"hypervolume\nperplexity x decades of {evaluated.axis.short}")
    plotting.whole_numbers(axes)
    plotting.legend_below(figure, [axes], 2)
    return plotting.png(figure)


def parameter_importance(importance: Mapping[str, Mapping[str, float]], title: str) -> bytes:
    """Draw each parameter's importance for each objective as horizontal bars, the largest sum on top."""
    parameters = {name for shares in importance.values() for name in shares}
    ranked = sorted(parameters, key=lambda name: (sum(s.get(name, 0.0) for s in importance.values()), name))
    figure = plotting.new_figure(8, 1.6 + 0.55 * max(len(ranked), 2))
    axes = plotting.add_axes(figure, title)
    for (objective, shares), colour, above in zip(importance.items(), (VAL, TRAIN), (0.2, -0.2), strict=False):
        places, widths = [row + above for row in range(len(ranked))], [shares.get(name, 0.0) for name in ranked]
        drawn = axes.barh(places, widths, 0.37, color=colour, label=objective)
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.set(xlabel="importance for reaching the best tenth of the trials (PED-ANOVA)", xlim=(0, 1.08))
    if ranked:
        axes.legend(loc="lower right")
    else:
        plotting.write_message(axes, "too few trials to tell")
    return plotting.png(figure)


def perplexity_against_time(evaluated: FrontEstimate, chosen: Mapping[str, Pick], title: str) -> bytes:
    """Draw mean validation perplexity against milliseconds per character (median of the runs), on log scales."""
    figure = plotting.new_figure(8, 5)
    axes = plotting.add_axes(figure, title)
    points = [(median(point.candidate.ms_per_char), point) for point in evaluated.points if point.candidate.ms_per_char]
    axes.set(xlabel="milliseconds per character, measured", ylabel="validation perplexity per character")
    if not points:
        plotting.write_message(axes, "no time was measured")
        return plotting.png(figure)
    plotting.log_x(axes, [x for x, _ in points])
    plotting.log_y(axes, [point.val.mean * factor for _, point in points for factor in (1 / 1.2, 1.2)])
    plotting.scatter_by_cell(axes, [(point.candidate.cell, x, point.val.mean) for x, point in points])
    front = [(x, point) for x, point in points if point.on_front]
    _members(axes, front)
    plotting.legend_below(figure, [axes], 3)
    named = _named([point for _, point in front], chosen)
    labels = [(text, median(point.candidate.ms_per_char), point.val.mean) for text, point in named]
    plotting.write_labels(axes, labels, keep=len(chosen))
    return plotting.png(figure)
