"""What the samplers are compared on: a surface fitted to recorded trainings, and those trainings themselves, replayed.

Both answer for one space: cell, 1 to 4 layers, 8 to 256 units, and with a rate also a learning rate of 0.001 to 0.3.
Perplexity is capped at 28, that of a uniform guess; MACs are log10 MACs per character, known before any training.

The surface, with x = log2(units / 64), d = layers - 1, r = log10(learning rate / the preset's for that cell):

    log healthy    = per cell a polynomial in x, d, r (HEALTHY): ridge regression on the trainings that learnt,
                     with Huber's weights, since now and then one begins to learn an epoch later than its neighbours
    log odds       = of not learning, per cell a constant, and a polynomial for all (FAILING): logistic regression
    log perplexity = log healthy + (log 28 - log healthy) s,  s = 1 / (1 + exp(-SHARPNESS log odds))

so that where trainings mostly did not learn (diverged, or no better than the letters' frequencies) the value is 28; the
sharpness makes the border narrow. The fit is made at each start, from the trainings of seed 0 (the grid and the random
learning rates); those of seed 1 say how good it is.

    python -m tests.benchmarks.surface        the fit's residuals, and what seeds alone differ by
"""

import argparse
import csv
import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import WARM_UP_RECIPE, resolve

TABLE = Path(__file__).parent / "data" / "trainings.csv"
CELLS = ("rnn", "gru", "lstm")
LAYERS, UNITS, RATES = (1, 4), (8, 256), (0.001, 0.3)
VOCABULARY = 28
UNIFORM = float(
    VOCABULARY
)  # perplexity of a guess that knows nothing: the cap, and one coordinate of the reference point
LEARNT_BELOW = 15.0  # perplexity; a training that knows only the letters' frequencies ends at 16.9
SHARPNESS, RIDGE, HUBER = 4.0, 0.02, 0.03  # the last: log perplexity from which on a residual counts linearly

Params = Mapping[str, Any]
Array = NDArray[np.float64]
HEALTHY: tuple[Callable[[Array, Array, Array], Array], ...] = (
    lambda x, d, r: np.ones_like(x),
    lambda x, d, r: x,
    lambda x, d, r: x**2,
    lambda x, d, r: x**3,
    lambda x, d, r: d,
    lambda x, d, r: d**2,
    lambda x, d, r: x * d,
    lambda x, d, r: x**2 * d,
    lambda x, d, r: r,
    lambda x, d, r: r**2,
    lambda x, d, r: r * x,
    lambda x, d, r: r * d,
)
FAILING: tuple[Callable[[Array, Array, Array], Array], ...] = (
    lambda x, d, r: x,
    lambda x, d, r: d,
    lambda x, d, r: r,
    lambda x, d, r: x * d,
    lambda x, d, r: x * r,
    lambda x, d, r: d * r,
)


@cache
def log10_macs(cell: str, num_layers: int, hidden_size: int) -> float:
    """log10 of the MACs per character of a shape, by the closed form."""
    model = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=hidden_size)  # type: ignore[arg-type]
    return math.log10(closed_form(model, VOCABULARY).macs_per_char)


@cache
def preset_rate(cell: str) -> float:
    """The learning rate that the stream preset gives a cell."""
    return resolve({"cell": cell, "recipe": WARM_UP_RECIPE})[1].learning_rate


LARGEST_LOG10_MACS = max(log10_macs(cell, LAYERS[1], UNITS[1]) for cell in CELLS)
REFERENCE = (UNIFORM, LARGEST_LOG10_MACS)


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float] = REFERENCE) -> float:
    """Area that ``points`` (both coordinates to be small) dominate below and left of the reference point."""
    area, lowest = 0.0, reference[0]
    for value, cost in sorted(points, key=lambda point: (point[1], point[0])):
        if cost < reference[1] and value < lowest:
            area += (reference[1] - cost) * (lowest - value)
            lowest = value
    return area


class Surface(Protocol):
    """What a study is run on. Params are cell, num_layers, hidden_size and, where ``with_rate``, learning_rate."""

    @property
    def with_rate(self) -> bool:
        """Whether the learning rate is a parameter."""

    @property
    def attainable(self) -> float:
        """Hypervolume of the true front of the whole space."""

    def log10_macs(self, params: Params) -> float:
        """The known objective, exact."""

    def truth(self, params: Params) -> float:
        """Perplexity without noise, by which a sampler is judged."""

    def observe(self, params: Params, seed: int, number: int, earlier: Sequence[Params]) -> float:
        """Perplexity of one training, which is what the sampler gets: trial ``number`` of the study of ``seed``."""


@dataclass(frozen=True)
class Training:
    """One row of the table; perplexity is capped at uniform, which is also what a diverged training gets."""

    cell: str
    num_layers: int
    hidden_size: int
    learning_rate: float
    seed: int
    grid: bool
    perplexity: float

    @property
    def learnt(self) -> bool:
        return self.perplexity < LEARNT_BELOW


def read_trainings(table: Path = TABLE) -> list[Training]:
    """All trainings of the table, by the perplexity after their last pass."""
    with table.open(newline="") as file:
        return [
            Training(
                cell=row["cell"],
                num_layers=int(row["num_layers"]),
                hidden_size=int(row["hidden_size"]),
                learning_rate=float(row["learning_rate"]),
                seed=int(row["seed"]),
                grid=row["grid"] == "1",
                perplexity=min(float(row["val_perplexity_3"] or UNIFORM), UNIFORM),
            )
            for row in csv.DictReader(file)
        ]


Points = tuple[Array, Array, Array, Array]  # of N trainings: index of the cell in CELLS, x, d, r, each (N,)


def scaled(trainings: Sequence[Params]) -> Points:
    """The surface's coordinates; without a learning rate it is the preset's, so r = 0."""
    cell = np.array([CELLS.index(t["cell"]) for t in trainings], dtype=float)
    x = np.log2([t["hidden_size"] / 64 for t in trainings])
    d = np.array([t["num_layers"] - 1 for t in trainings], dtype=float)
    r = np.log10([t.get("learning_rate", preset_rate(t["cell"])) / preset_rate(t["cell"]) for t in trainings])
    return cell, x, d, r


def _healthy_features(points: Points) -> Array:
    cell, *xdr = points
    terms = np.stack([term(*xdr) for term in HEALTHY], axis=1)
    return np.concatenate([terms * (cell == index)[:, None] for index in range(len(CELLS))], axis=1)


def _failing_features(points: Points) -> Array:
    cell, *xdr = points
    constants = [(cell == index).astype(float) for index in range(len(CELLS))]
    return np.stack([*constants, *(term(*xdr) for term in FAILING)], axis=1)


@dataclass(frozen=True)
class Fit:
    """The surface's coefficients."""

    healthy: Array  # (cells * terms of HEALTHY,), of log perplexity
    failing: Array  # (cells + terms of FAILING,), of the log odds of not learning

    def perplexity(self, points: Points) -> Array:
        """Perplexity without noise (N,), at most 28."""
        healthy = np.minimum(_healthy_features(points) @ self.healthy, math.log(UNIFORM))
        failing = 1 / (1 + np.exp(np.clip(-SHARPNESS * (_failing_features(points) @ self.failing), -500, 500)))
        return np.exp(healthy + (math.log(UNIFORM) - healthy) * failing)


def fit(trainings: Sequence[Training]) -> Fit:
    """Ridge regression of log perplexity where trainings learnt; logistic regression (Newton's method) of whether."""
    points = scaled([vars(training) for training in trainings])
    learnt = np.array([training.learnt for training in trainings])
    log_perplexity = np.log([training.perplexity for training in trainings])
    features = _healthy_features(points)[learnt]
    penalty = RIDGE * np.eye(features.shape[1])
    for index in range(len(CELLS)):
        penalty[index * len(HEALTHY), index * len(HEALTHY)] = 1e-6  # the constants are free
    weights = np.ones(int(learnt.sum()))
    for _ in range(50):
        weighted = features * weights[:, None]
        healthy = np.linalg.solve(features.T @ weighted + penalty, weighted.T @ log_perplexity[learnt])
        off = np.abs(features @ healthy - log_perplexity[learnt])
        weights = HUBER / np.maximum(off, HUBER)

    features, failed = _failing_features(points), (~learnt).astype(float)
    failing = np.zeros(features.shape[1])
    penalty = 0.02 * np.eye(len(failing))
    for _ in range(50):
        chance = 1 / (1 + np.exp(-features @ failing))
        slope = features.T @ (failed - chance) - penalty @ failing
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + penalty
        step = np.linalg.solve(curvature, slope)
        failing += step * min(1.0, 3 / float(np.abs(step).max()))
    return Fit(healthy, failing)


@dataclass(frozen=True)
class Synthetic:
    """The fitted surface; one training's perplexity is the true one times a lognormal factor of spread ``noise``."""

    fit: Fit
    noise: float  # standard deviation of log perplexity
    with_rate: bool

    def log10_macs(self, params: Params) -> float:
        return log10_macs(params["cell"], params["num_layers"], params["hidden_size"])

    def truth(self, params: Params) -> float:
        return float(self.fit.perplexity(scaled([params]))[0])

    def observe(self, params: Params, seed: int, number: int, earlier: Sequence[Params]) -> float:
        factor = math.exp(self.noise * np.random.default_rng((seed, number)).standard_normal())
        return min(self.truth(params) * factor, UNIFORM)

    @cached_property
    def attainable(self) -> float:
        """By all shapes there are, each at the best of 201 learning rates where the rate is a parameter."""
        shapes = [
            {"cell": cell, "num_layers": layers, "hidden_size": units}
            for cell in CELLS
            for layers in range(LAYERS[0], LAYERS[1] + 1)
            for units in range(UNITS[0], UNITS[1] + 1)
        ]
        cell, x, d, r = scaled(shapes)
        best = self.fit.perplexity((cell, x, d, r))
        if self.with_rate:
            presets = np.array([preset_rate(shape["cell"]) for shape in shapes])
            for rate in np.geomspace(*RATES, 201):
                best = np.minimum(best, self.fit.perplexity((cell, x, d, np.log10(rate / presets))))
        return hypervolume([(float(p), self.log10_macs(s)) for p, s in zip(best, shapes, strict=True)])


@dataclass(frozen=True)
class Replay:
    """Recorded trainings of the grid: a proposal is snapped to the nearest recorded width of its cell and depth.

    A shape has one perplexity for each seed it was trained with. Which of them comes first is drawn once for each study
    and shape; asking again gives the other one. FrontEstimate by their mean.
    """

    recorded: Mapping[tuple[str, int, int], tuple[float, ...]]  # (cell, layers, units) -> perplexity of each seed
    with_rate: bool = False

    def snapped(self, params: Params) -> tuple[str, int, int]:
        """The recorded shape whose width is nearest by ratio."""
        cell, layers = params["cell"], params["num_layers"]
        widths = [w for c, d, w in self.recorded if (c, d) == (cell, layers)]
        return cell, layers, min(widths, key=lambda width: abs(math.log(width / params["hidden_size"])))

    def log10_macs(self, params: Params) -> float:
        """Of the shape that was trained, the snapped one."""
        return log10_macs(*self.snapped(params))

    def truth(self, params: Params) -> float:
        return float(np.mean(self.recorded[self.snapped(params)]))

    def observe(self, params: Params, seed: int, number: int, earlier: Sequence[Params]) -> float:
        shape = self.snapped(params)
        perplexities = self.recorded[shape]
        first = np.random.default_rng((seed, CELLS.index(shape[0]), *shape[1:])).integers(len(perplexities))
        visits = sum(self.snapped(params) == shape for params in earlier)
        return perplexities[(int(first) + visits) % len(perplexities)]

    @cached_property
    def attainable(self) -> float:
        return hypervolume([(float(np.mean(p)), log10_macs(*shape)) for shape, p in self.recorded.items()])


def replay(trainings: Sequence[Training]) -> Replay:
    """The grid of the table, with the learning rates of the preset."""
    recorded: dict[tuple[str, int, int], tuple[float, ...]] = {}
    for training in sorted((t for t in trainings if t.grid), key=lambda training: training.seed):
        shape = (training.cell, training.num_layers, training.hidden_size)
        recorded[shape] = (*recorded.get(shape, ()), training.perplexity)
    return Replay(recorded)


SYNTHETIC = {
    f"{kind}-noise-{percent}": (percent / 100, kind == "rate") for kind in ("shape", "rate") for percent in (0, 2, 5)
}
NAMES = (*SYNTHETIC, "replay")


def behind(name: str, trainings: Sequence[Training]) -> list[Training]:
    """The trainings that a surface is made from."""
    return [training for training in trainings if (training.grid if name == "replay" else training.seed == 0)]


def digest(trainings: Sequence[Training]) -> str:
    """Eight hexadecimal digits that change with any of the trainings, in whatever order they are."""
    return hashlib.sha256("".join(sorted(map(str, trainings))).encode()).hexdigest()[:8]


def make_surface(name: str, trainings: Sequence[Training]) -> Surface:
    """One of NAMES."""
    if name == "replay":
        return replay(trainings)
    return Synthetic(fit(behind(name, trainings)), *SYNTHETIC[name])


def describe(trainings: Sequence[Training]) -> str:
    """How well the surface fits: the trainings that it was made from, and the others."""
    fitted = fit(behind("shape-noise-0", trainings))
    parts = {
        "grid, seed 0, 1 to 3 layers": [t for t in trainings if t.grid and t.seed == 0 and t.num_layers < 4],
        "grid, seed 0, 4 layers": [t for t in trainings if t.grid and t.seed == 0 and t.num_layers == 4],
        "random learning rates": [t for t in trainings if not t.grid],
        "grid, seed 1 (not fitted)": [t for t in trainings if t.grid and t.seed == 1],
    }
    lines = [f"{'':28} trainings  learnt  as the surface says  log(surface / perplexity): rms, median, largest"]
    for label, part in parts.items():
        if not part:
            continue
        values = fitted.perplexity(scaled([vars(training) for training in part]))
        found = np.array([training.perplexity for training in part])
        learnt = found < LEARNT_BELOW
        agree = learnt == (values < LEARNT_BELOW)
        off = np.abs(np.log(values / found)[learnt & agree])
        lines.append(
            f"{label:28} {len(part):9}  {learnt.sum():6}  {agree.mean():19.0%}"
            f"  {math.sqrt(np.mean(off**2)):30.3f} {np.median(off):8.3f} {off.max():8.3f}"
        )
    pairs = [np.log(p) for p in replay(trainings).recorded.values() if len(p) == 2 and max(p) < LEARNT_BELOW]
    if pairs:
        gaps = np.array([a - b for a, b in pairs]) / math.sqrt(2)
        lines.append(
            f"spread of log perplexity between seeds: {np.std(gaps):.3f}, median {np.median(np.abs(gaps)):.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    trainings = read_trainings(parser.parse_args().table)
    sys.stdout.write(f"{describe(trainings)}\n")
    for name in NAMES:
        surface = make_surface(name, trainings)
        sys.stdout.write(f"{name:14}  hypervolume of the true front {surface.attainable:.2f}\n")


if __name__ == "__main__":
    main()
