"""An Optuna sampler for two objectives of which one, the cost, is a known function of the parameters.

Of the two objectives only the unknown one (the quality: expensive, noisy) is modelled; the cost of every candidate is
computed. The next trial is the candidate whose expected hypervolume improvement, times its chance of not failing, is
greatest. It imports Optuna, NumPy and SciPy and nothing of this project: copy it, or see docs/known-cost-sampler.md.

Shapes: N candidates, M observed points, D inputs of the model, S draws, F segments of a front.

Sources: expected hypervolume improvement, Emmerich et al. 2006 (doi:10.1109/TEVC.2005.859463); under noise, averaged
over draws of the values at the observed points, Letham et al. 2019 (arXiv:1706.07094) and Daulton et al. 2021
(arXiv:2105.08195); an objective known exactly is BoTorch's GenericDeterministicModel.
"""

import math
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from .acquisition import Acquisition, SuccessModel
from .gaussian_process import GaussianProcess, squared_distances, winsorised
from .space import (
    LARGEST_ENUMERATION,
    SOBOL_POINTS,
    Array,
    CandidateSpace,
    Distribution,
    internal_value,
)

PROPOSED_BY = "known_cost:proposed_by"  # system attribute of a trial: "startup", "model" or "random"
PROPOSAL = "known_cost:proposal"  # system attribute: the proposal in Optuna's internal representation, {name: number}
LOCAL_WIDTHS, LOCAL_CENTRES, LOCAL_POINTS = (0.1, 0.03), 5, 50  # rounds of local search around the best candidates
SHORTLIST = 512  # candidates with the best quick estimate, which are evaluated thoroughly
POSTERIOR_SAMPLES = 32  # draws of the values at the observed points
STRATA, CHEAPEST_PART, CENTRE_WEIGHT = 20, 0.02, 4.0  # of the startup trials, which are spread over the costs
MOST_POINTS = 300  # finished configurations that the model is fitted to, which takes the cube of their number
BUDGET_ROUNDS, BUDGET_POINTS = 10, 256  # of the search for candidates within a tight budget


@dataclass(frozen=True)
class Candidates:
    """Points of the space within the budget, with their costs."""

    points: Array  # (N, parameters), Optuna's internal values
    cost: Array  # (N,) as the study has it

    def keep(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Candidates":
        """Select candidates by boolean mask or index array."""
        return Candidates(self.points[chosen], self.cost[chosen])

    def point(self, i: int) -> Array:
        """The point of candidate ``i``."""
        point: Array = self.points[i]
        return point

    def join(self, other: "Candidates") -> "Candidates":
        """Concatenate with other candidates."""
        return Candidates(np.vstack([self.points, other.points]), np.concatenate([self.cost, other.cost]))


@dataclass(frozen=True)
class Prices:
    """Costs as prices, sign * cost (smaller is better): the range within the budget and the reference price."""

    sign: float
    lowest: float
    highest: float
    limit: float  # the highest of the whole space: at a limit of the budget's, the best within it would add no area

    def to_unit(self, cost: Array) -> Array:
        """0 for the cheapest candidate, 1 for the dearest."""
        return (self.sign * cost - self.lowest) / ((self.highest - self.lowest) or 1.0)


@dataclass(frozen=True)
class History:
    """The observations of the study, one row per configuration."""

    points: Array  # (M, parameters)
    cost: Array  # (M,)
    losses: list[list[float]]  # values of the unknown objective in the model's units; empty: failed or running
    failed: NDArray[np.bool_]  # (M,)

    def informative(self, prices: Prices | None) -> "History":
        """At most MOST_POINTS finished observations, and all running ones.

        Half of them are the closest to the front (``prices``) or to the best value (None), the others are taken evenly
        from the rest, so that the model knows where it is not worth looking.
        """
        finished = self.failed | np.array([len(losses) > 0 for losses in self.losses])
        if finished.sum() <= MOST_POINTS:
            return self
        means = np.array([np.mean(losses) if losses else math.inf for losses in self.losses])
        price = np.zeros(len(means)) if prices is None else prices.sign * self.cost
        order = np.lexsort((means, price))
        reached = np.empty(len(means))
        reached[order] = np.minimum.accumulate(means[order])
        behind = [mean if math.isinf(mean) else mean - best for mean, best in zip(means, reached, strict=True)]
        ranked = np.array([i for i in np.argsort(behind, kind="stable") if finished[i]])
        near, rest = np.split(ranked, [MOST_POINTS // 2])
        others = np.sort(rest)[np.linspace(0, len(rest) - 1, MOST_POINTS - len(near)).astype(int)]
        chosen = np.sort(np.concatenate([near, others, np.flatnonzero(~finished)]))
        return History(self.points[chosen], self.cost[chosen], [self.losses[i] for i in chosen], self.failed[chosen])


@dataclass(frozen=True)
class Objectives:
    """Which value of a trial is unknown, and the signs that make both of them smaller-is-better."""

    unknown: int
    sign: float
    known_sign: float
    single: bool

    @classmethod
    def of(cls, directions: Sequence[StudyDirection], known_objective: int) -> "Objectives":
        """The objectives of a study with these directions: the unknown one alone, or both."""
        if len(directions) > 2:
            raise ValueError(f"KnownCostSampler is for one or two objectives; the study has {len(directions)}")
        signs = [1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in directions]
        if len(signs) == 1:
            return cls(0, signs[0], 1.0, single=True)
        return cls(1 - known_objective, signs[1 - known_objective], signs[known_objective], single=False)


class KnownCostSampler(BaseSampler):
    """Sampler for studies in which one of two objectives is a known function of the parameters.

    Args:
        cost: the known objective of a trial's parameters, exactly as the study's objective returns it.
        known_objective: its index among the study's two objectives.
        max_cost: budget; no trial above it is proposed.
        worst: value of the unknown objective from which on a trial counts as failed, as do trials that end as FAIL or
            PRUNED. The model of failures learns from a failed trial, the model of the objective does not.
        log: model the logarithm of the unknown objective, which then has to be positive, and improve the hypervolume
            of its logarithm.
        ignore: whether to treat a trial as if it were not in the study, such as one that failed without being run, or
            one that repeats an earlier trial's values: it is neither a failure nor a second measurement, and its
            configuration may be proposed.
        search_space: of the trials, if known beforehand: then all startup trials are spread over the costs.
            Otherwise Optuna infers it from the first finished trial, and trials until then are random.
        n_startup_trials: trials spread over the costs before the model proposes.
        seed: of everything random; a proposal depends on the seed, its trial's number and the trials before.

    With one objective it is the unknown one, and the cost serves for the budget and as an input of the model.

    Threads (``n_jobs``) share a lock and see each other's proposals. Two processes that ask at the same moment may,
    rarely, propose the same configuration: serialise ``study.ask`` between them, or accept the repeat.
    """

    def __init__(
        self,
        cost: Callable[[dict[str, Any]], float],
        *,
        known_objective: int = 1,
        max_cost: float | None = None,
        worst: float | None = None,
        log: bool = True,
        ignore: Callable[[FrozenTrial], bool] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        n_startup_trials: int = 5,
        seed: int | None = None,
    ) -> None:
        if known_objective not in (0, 1):
            raise ValueError(f"known_objective is {known_objective}; it is the index of one of two objectives, 0 or 1")
        if n_startup_trials < 1:
            raise ValueError(f"n_startup_trials is {n_startup_trials}; the model needs at least 1")
        if log and worst is not None and worst <= 0:
            raise ValueError(f"worst is {worst}, which has no logarithm; give a positive value or log=False")
        self._cost = cost
        self._known_objective = known_objective
        self._max_cost = max_cost
        self._worst = worst
        self._log = log
        self._ignore = ignore
        self._search_space = None if search_space is None else dict(search_space)
        self._n_startup_trials = n_startup_trials
        self._seed = _fresh_seed() if seed is None else seed
        self._lock = threading.Lock()
        self._candidates_of: tuple[dict[str, Distribution], Candidates, Candidates] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The space given, or the intersection of the finished trials' spaces."""
        Objectives.of(study.directions, self._known_objective)
        if self._search_space is not None:
            return self._search_space
        return dict(sorted(intersection_search_space(study.get_trials(deepcopy=False)).items()))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for parameters outside of the relative space."""
        if trial.system_attrs.get(PROPOSED_BY) is None:
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, "random")
        seed = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        sampler = RandomSampler(seed=int(seed.generate_state(1)[0]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the trial, all at once."""
        objectives = Objectives.of(study.directions, self._known_objective)
        enqueued = trial.system_attrs.get("fixed_params", {})
        if not search_space or all(name in enqueued for name in search_space):
            return {}
        space = CandidateSpace({name: range_of(name, distribution) for name, distribution in search_space.items()})
        fixed = {
            name: x for name in space.ranges if (x := internal_value(space.ranges[name], enqueued, name)) is not None
        }
        with self._lock:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            others = [
                other
                for other in trials
                if other.number != trial.number and not (self._ignore is not None and self._ignore(other))
            ]
            generator = np.random.default_rng([self._seed, trial.number])
            point, proposed_by = self._propose(objectives, space, others, fixed, generator)
            params = space.external(point)
            announcement = dict(zip(space.ranges, point.tolist(), strict=True))
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, announcement)
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, proposed_by)
        return params

    # What the study knows

    def _loss(self, value: float, sign: float) -> float:
        if not self._log:
            return sign * value
        if value <= 0:
            raise ValueError(
                f"a trial's unknown objective is {value}, which has no logarithm; use KnownCostSampler(..., log=False)"
            )
        return sign * math.log(value)

    def _cost_of(self, params: dict[str, Any]) -> float:
        try:
            value = float(self._cost(params))
        except KeyError as error:
            raise ValueError(
                f"the cost function needs {error}, which is not among the parameters sampled together "
                f"({', '.join(params)}); the cost must be known from them, so suggest it in every trial, "
                f"with the same range, or give search_space"
            ) from error
        if not math.isfinite(value):
            raise ValueError(f"the cost of {params} is {value}; it must be a finite number")
        return value

    def _costs(self, space: CandidateSpace, points: Array) -> Array:
        return np.array([self._cost_of(space.external(point)) for point in points])

    def _history(self, space: CandidateSpace, trials: Sequence[FrozenTrial], objectives: Objectives) -> History:
        rows: dict[tuple[float, ...], tuple[list[float], bool]] = {}
        pending: set[tuple[float, ...]] = set()
        threshold = math.inf if self._worst is None else self._loss(self._worst, objectives.sign)
        for trial in trials:
            point = point_of(space, trial)
            if point is None:
                continue
            losses, failed = rows.setdefault(point, ([], False))
            if trial.state == TrialState.COMPLETE:
                value = trial.values[objectives.unknown]
                loss = self._loss(value, objectives.sign) if math.isfinite(value) else math.inf
                if loss < threshold:
                    losses.append(loss)
                else:
                    failed = True
            elif trial.state in (TrialState.FAIL, TrialState.PRUNED):
                failed = True
            else:
                pending.add(point)
            rows[point] = (losses, failed)
        points = np.array(list(rows)).reshape(len(rows), len(space.ranges))
        failed_rows = [failed and not losses and point not in pending for point, (losses, failed) in rows.items()]
        return History(
            points, self._costs(space, points), [row[0] for row in rows.values()], np.array(failed_rows, dtype=bool)
        )

    # Candidates

    def _candidates(self, space: CandidateSpace) -> tuple[Candidates, Candidates]:
        """All candidates of the space, and those within the budget; ValueError if none is."""
        if self._candidates_of is None or self._candidates_of[0] != space.ranges:
            if space.size() <= LARGEST_ENUMERATION:
                points = space.enumerate()
                candidates = Candidates(points, self._costs(space, points))
            else:
                candidates = self._sampled(space)
            within = self._within_budget(candidates)
            if len(within.points) == 0:
                raise ValueError(
                    f"no configuration costs at most max_cost={self._max_cost:g}; the cheapest of "
                    f"{len(candidates.cost)} costs {candidates.cost.min():g}: raise max_cost or widen the search space"
                )
            self._candidates_of = (dict(space.ranges), candidates, within)
        return self._candidates_of[1:]

    def _sampled(self, space: CandidateSpace) -> Candidates:
        """Sobol points; with a tight budget, those around the cheapest too."""
        generator = np.random.default_rng(self._seed)
        sobol = qmc.Sobol(len(space.ranges), seed=generator)
        points = np.unique(space.from_unit(sobol.random(SOBOL_POINTS)), axis=0)
        candidates = Candidates(points, self._costs(space, points))
        for _ in range(BUDGET_ROUNDS):
            if len(self._within_budget(candidates).points) >= BUDGET_POINTS:
                break
            cheapest = candidates.points[np.argsort(candidates.cost, kind="stable")[: 2 * LOCAL_CENTRES]]
            taken = {tuple(point) for point in candidates.points}
            candidates = candidates.join(self._near(space, cheapest, LOCAL_WIDTHS[0], taken, generator, {}))
        return candidates

    def _within_budget(self, candidates: Candidates) -> Candidates:
        return candidates if self._max_cost is None else candidates.keep(candidates.cost <= self._max_cost)

    def _agreeing(self, space: CandidateSpace, points: Array, fixed: Mapping[str, float]) -> Candidates:
        """Candidates within the budget for a partially enqueued trial: its fixed values, others from ``points``."""
        points = np.unique(space.pinned(points, fixed), axis=0)
        return self._within_budget(Candidates(points, self._costs(space, points)))

    def _near(
        self,
        space: CandidateSpace,
        centres: Array,
        width: float,
        taken: set[tuple[float, ...]],
        generator: np.random.Generator,
        fixed: Mapping[str, float],
    ) -> Candidates:
        """LOCAL_POINTS for each centre with one parameter or more moved, a number by ``width`` of its range."""
        points = np.repeat(centres, LOCAL_POINTS, axis=0)
        unit = space.to_unit(points)
        moved = generator.random(unit.shape) < 0.5
        moved[np.arange(len(unit)), generator.integers(unit.shape[1], size=len(unit))] = True
        close = np.clip(unit + width * generator.standard_normal(unit.shape), 0, 1)
        anywhere = generator.random(unit.shape)
        shifted = space.from_unit(np.where(space.categorical(), anywhere, close))
        points = np.unique(space.pinned(np.where(moved, shifted, points), fixed), axis=0)
        points = points[[tuple(point) not in taken for point in points]]
        return Candidates(points, self._costs(space, points))

    # The proposal

    def _propose(
        self,
        objectives: Objectives,
        space: CandidateSpace,
        trials: Sequence[FrozenTrial],
        fixed: Mapping[str, float],
        generator: np.random.Generator,
    ) -> tuple[Array, str]:
        history = self._history(space, trials, objectives)
        whole, candidates = self._candidates(space)
        sign = objectives.known_sign
        lowest, highest = np.sort(sign * candidates.cost)[[0, -1]]
        prices = Prices(sign, float(lowest), float(highest), float(np.max(sign * whole.cost)))
        if fixed and len((agreeing := self._agreeing(space, whole.points, fixed)).points):
            candidates = agreeing
        taken = {tuple(point) for point in history.points}
        fresh = np.array([tuple(point) not in taken for point in candidates.points])
        if not fresh.any():  # every configuration was tried: the next may repeat one
            return candidates.point(int(generator.integers(len(candidates.points)))), "random"
        candidates = candidates.keep(fresh)
        known = np.array([len(losses) > 0 for losses in history.losses], dtype=bool)
        if len(taken) < self._n_startup_trials or not known.any():
            number = sum(trial.system_attrs.get(PROPOSED_BY) == "startup" for trial in trials)
            return self._startup(number, space, history, candidates, prices, generator), "startup"
        fitted_to = history.informative(None if objectives.single else prices)
        acquisition = self._acquisition(objectives, space, fitted_to, prices, generator)

        def arguments(some: Candidates) -> tuple[Array, Array]:
            return self._inputs(space, some.points, some.cost, prices), prices.sign * some.cost

        scores = acquisition.quick(*arguments(candidates))
        if not math.isfinite(space.size()) or space.size() > LARGEST_ENUMERATION:
            tried = history.points[known]
            for width in LOCAL_WIDTHS:
                centres = np.vstack([candidates.points[np.argsort(scores)[-LOCAL_CENTRES:]], tried[-LOCAL_CENTRES:]])
                near = self._within_budget(self._near(space, centres, width, taken, generator, fixed))
                candidates = candidates.join(near)
                scores = np.concatenate([scores, acquisition.quick(*arguments(near))])
        candidates = candidates.keep(np.argsort(-scores, kind="stable")[:SHORTLIST])
        return candidates.point(int(np.argmax(acquisition.thorough(*arguments(candidates))))), "model"

    def _inputs(self, space: CandidateSpace, points: Array, cost: Array, prices: Prices) -> Array:
        return np.column_stack([space.to_unit(points), prices.to_unit(cost)])

    def _startup(
        self,
        number: int,
        space: CandidateSpace,
        history: History,
        candidates: Candidates,
        prices: Prices,
        generator: np.random.Generator,
    ) -> Array:
        """Point ``number`` of a few spread over the costs, the cheapest first.

        Each is far from those before it, in categories above all: numbers that the cost leaves free stay near the
        middle of their range, where a person who chose the range would begin.
        """
        inputs = self._inputs(space, candidates.points, candidates.cost, prices)
        before = self._inputs(space, history.points, history.cost, prices)
        categorical = np.append(space.categorical(), False)
        extremeness = np.where(categorical, 0.0, (inputs - 0.5) ** 2)[:, :-1].sum(axis=1)
        target = qmc.Halton(1, scramble=False).random(number + 1)[number, 0]  # 0, 1/2, 1/4, 3/4, 1/8, ...
        if target == 0:
            pool = np.flatnonzero(inputs[:, -1] <= inputs[:, -1].min() + CHEAPEST_PART)
            return candidates.point(int(pool[np.argmin(extremeness[pool] + 10 * inputs[pool, -1])]))
        pool = np.argsort(np.abs(inputs[:, -1] - target), kind="stable")[: max(1, len(inputs) // STRATA)]
        distances = np.sqrt(squared_distances(inputs[pool], before, categorical).sum(axis=-1)).min(axis=1, initial=9.0)
        tie = 1e-9 * generator.random(len(pool))
        return candidates.point(int(pool[np.argmax(distances - CENTRE_WEIGHT * extremeness[pool] + tie)]))

    def _acquisition(
        self,
        objectives: Objectives,
        space: CandidateSpace,
        history: History,
        prices: Prices,
        generator: np.random.Generator,
    ) -> Acquisition:
        inputs = self._inputs(space, history.points, history.cost, prices)
        categorical = np.append(space.categorical(), False)
        repeats = [len(losses) for losses in history.losses]
        y = np.array([loss for losses in history.losses for loss in losses])
        sign = objectives.sign
        worst = self._loss(self._worst, sign) if self._worst is not None else y.max() + 0.1 * (np.ptp(y) or 1.0)
        price, failed = prices.sign * history.cost, history.failed
        decided = failed | (np.array(repeats) > 0)
        usable = ~failed
        return Acquisition(
            model=GaussianProcess(
                np.repeat(inputs, repeats, axis=0), winsorised(y, np.repeat(price, repeats)), categorical
            ),
            at=inputs[usable],
            price=price[usable],
            worst=worst,
            price_limit=None if objectives.single else prices.limit,
            success=SuccessModel(inputs[decided], ~failed[decided], categorical) if failed.any() else None,
            normals=generator.standard_normal((POSTERIOR_SAMPLES, int(usable.sum()))),
        )


def _fresh_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


def range_of(name: str, distribution: BaseDistribution) -> Distribution:
    """The distribution of a parameter; ValueError for a kind that is not known here."""
    if isinstance(distribution, CategoricalDistribution | FloatDistribution | IntDistribution):
        return distribution
    raise ValueError(f"parameter {name} has a {type(distribution).__name__}, which KnownCostSampler does not know")


def point_of(space: CandidateSpace, trial: FrozenTrial) -> tuple[float, ...] | None:
    """The trial's point in the space, whether proposed, enqueued or sampled; None if it lies outside."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    announced = trial.system_attrs.get(PROPOSAL, {})
    point = []
    for name, range_ in space.ranges.items():
        value = internal_value(range_, params, name) if name in params else announced.get(name)
        if value is None or not range_._contains(value):
            return None
        point.append(float(value))
    return tuple(point)
