"""An Optuna sampler for two objectives of which one, the cost, is a known function of the parameters.

Only the unknown objective (the quality: expensive, noisy) is modelled; the cost of every candidate is computed. The
next trial is the candidate with the largest expected hypervolume improvement times probability of success. The folder
may be copied into other projects; see docs/known-cost-sampler.md.

Shapes: N candidates, M observed points, D inputs of the model, S draws, F segments of a front.

Sources: expected hypervolume improvement, Emmerich et al. 2006 (doi:10.1109/TEVC.2005.859463); under noise, averaged
over draws of the values at the observed points, Letham et al. 2019 (arXiv:1706.07094) and Daulton et al. 2021
(arXiv:2105.08195); an objective known exactly is BoTorch's GenericDeterministicModel.
"""

import math
import threading
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from .acquisition import Acquisition, SuccessModel
from .gaussian_process import GaussianProcess, squared_distances, winsorised
from .space import LARGEST_ENUMERATION, SOBOL_POINTS, Array, CandidateSpace, Distribution, internal_value

PROPOSED_BY = "known_cost:proposed_by"  # system attribute of a trial: "startup", "model" or "random"
PROPOSAL = "known_cost:proposal"  # system attribute: the proposal in Optuna's internal representation, {name: number}
LOCAL_WIDTHS, LOCAL_CENTRES, LOCAL_POINTS = (0.1, 0.03), 5, 50  # local search: width of each round, centres, points
SHORTLIST = 512  # candidates with the best quick estimate, which are evaluated thoroughly
POSTERIOR_SAMPLES = 32  # draws of the values at the observed points
STRATA, CHEAPEST_PART, CENTRE_WEIGHT = 20, 0.02, 4.0  # startup trials: see ``_startup``
MOST_POINTS = 300  # finished configurations that the model is fitted to, in time that grows with their cube
BUDGET_ROUNDS, BUDGET_POINTS = 10, 256  # search within a tight budget: most rounds, candidates that are enough
LOCK = threading.Lock()  # of the threads that propose; not an attribute of the sampler, which can then be pickled


@dataclass(frozen=True)
class Candidates:
    """Points of the space with their prices: the known objective, or its negative if that is maximised."""

    points: Array  # (N, parameters), Optuna's internal values
    price: Array  # (N,)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Candidates":
        """Select candidates by boolean mask or index array."""
        return Candidates(self.points[chosen], self.price[chosen])

    def without(self, taken: set[tuple[float, ...]]) -> "Candidates":
        """Leave out some points."""
        return self.select(np.array([tuple(point) not in taken for point in self.points.tolist()], dtype=bool))

    def join(self, other: "Candidates") -> "Candidates":
        """Concatenate with other candidates."""
        return Candidates(np.vstack([self.points, other.points]), np.concatenate([self.price, other.price]))


@dataclass(frozen=True)
class History:
    """The observations of the study, one row per configuration."""

    points: Array  # (M, parameters)
    price: Array  # (M,)
    losses: list[list[float]]  # values in the model's units, lower is better; empty: failed or running
    failed: NDArray[np.bool_]  # (M,)

    def informative(self, single: bool) -> "History":
        """Select at most MOST_POINTS finished observations, and all running ones.

        Half of them are the closest to the front, or to the best value of a ``single`` objective; the others are spaced
        evenly over the rest, so that the model knows the regions that are not worth searching.
        """
        finished = self.failed | np.array([len(losses) > 0 for losses in self.losses])
        if finished.sum() <= MOST_POINTS:
            return self
        means = np.array([np.mean(losses) if losses else math.inf for losses in self.losses])
        price = np.zeros(len(means)) if single else self.price
        order = np.lexsort((means, price))
        reached = np.empty(len(means))
        reached[order] = np.minimum.accumulate(means[order])
        behind = [mean if math.isinf(mean) else mean - best for mean, best in zip(means, reached, strict=True)]
        ranked = np.array([i for i in np.argsort(behind, kind="stable") if finished[i]])
        near, rest = np.split(ranked, [MOST_POINTS // 2])
        others = np.sort(rest)[np.linspace(0, len(rest) - 1, MOST_POINTS - len(near)).astype(int)]
        chosen = np.sort(np.concatenate([near, others, np.flatnonzero(~finished)]))
        return History(self.points[chosen], self.price[chosen], [self.losses[i] for i in chosen], self.failed[chosen])


def _signs(study: Study) -> list[float]:
    """The signs that turn one or two objectives into minimisation. Raises ValueError for more."""
    if len(study.directions) > 2:
        raise ValueError(f"KnownCostSampler is for one or two objectives; the study has {len(study.directions)}")
    return [1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in study.directions]


class KnownCostSampler(BaseSampler):
    """Sampler for studies in which one of two objectives is a known function of the parameters.

    Args:
        cost: A function that computes the known objective from a trial's parameters, exactly as the study's objective
            returns it.
        known_objective: Index of the known objective, 0 or 1.
        max_cost: Budget: no trial with a higher cost is proposed.
        worst: A trial whose unknown objective is this value or worse counts as failed, as do trials that end as FAIL or
            PRUNED. The model of failures learns from failed trials, the model of the objective does not.
        reference: The unknown objective at the reference point of the hypervolume, to which worse values add nothing;
            used once a trial is better. By default it is ``worst``, or else a little beyond the worst finished trial.
        log: Whether to model the logarithm of the unknown objective, which then must be positive, and to improve the
            hypervolume of the logarithm.
        ignore: A function that returns whether to treat a trial as if it were not in the study, such as one that failed
            without being run or that repeats the values of another: it is neither a failure nor a second measurement,
            and its configuration may be proposed.
        search_space: The search space of the trials, if it is known beforehand: then all startup trials are spread over
            the costs. By default, Optuna infers it from the finished trials, and trials before the first finished one
            are random.
        n_startup_trials: Number of trials spread over the costs before the model proposes.
        seed: Seed of the random number generators. A proposal depends on the seed, the number of its trial and the
            earlier trials.

    In a study with one objective, it is the unknown one; the cost is used for the budget and as an input of the model.

    Threads (``n_jobs``) share a lock and see each other's proposals. Two processes that ask at the same time may
    rarely propose the same configuration: serialise ``study.ask`` between them, or accept the repeat.

    Raises:
        ValueError: From ``study.ask`` for more than two objectives, a cost that is not finite or can't be computed from
            the search space, a budget below the cheapest configuration, or with ``log``, an objective that is not
            positive.
    """

    def __init__(
        self,
        cost: Callable[[dict[str, Any]], float],
        *,
        known_objective: int = 1,
        max_cost: float | None = None,
        worst: float | None = None,
        reference: float | None = None,
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
        for name, value in {"worst": worst, "reference": reference}.items():
            if log and value is not None and value <= 0:
                raise ValueError(f"{name} is {value}, which has no logarithm; give a positive value or log=False")
        self._cost = cost
        self._known_objective = known_objective
        self._max_cost = max_cost
        self._worst = worst
        self._reference = reference
        self._log = log
        self._ignore = ignore
        self._search_space = None if search_space is None else dict(search_space)
        self._n_startup_trials = n_startup_trials
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._has_warned = False
        self._candidates_of: tuple[Any, Candidates, Candidates] | None = None  # of the latest space; in the budget

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The given search space, or the intersection of the finished trials' search spaces."""
        _signs(study)  # refuses a third objective
        if self._search_space is not None:
            return self._search_space
        return dict(sorted(intersection_search_space(study.get_trials(deepcopy=False)).items()))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample a random value for a parameter outside of the relative search space."""
        if trial.system_attrs.get(PROPOSED_BY) is None:
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, "random")
        seed = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        sampler = RandomSampler(seed=int(seed.generate_state(1)[0]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose all parameters of the trial together."""
        enqueued = trial.system_attrs.get("fixed_params", {})
        if not search_space or all(name in enqueued for name in search_space):
            return {}
        space = CandidateSpace(cast(dict[str, Distribution], search_space))
        fixed = {
            name: x for name in space.ranges if (x := internal_value(space.ranges[name], enqueued, name)) is not None
        }
        with LOCK:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            others = [
                other
                for other in trials
                if other.number != trial.number and not (self._ignore is not None and self._ignore(other))
            ]
            point, proposed_by = _Proposal(self, _signs(study), space, fixed, trial.number).of(others)
            announcement = dict(zip(space.ranges, point.tolist(), strict=True))
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, announcement)
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, proposed_by)
        return space.external(point)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Warn once if a proposed trial's known objective is not its cost."""
        if values is None or len(values) != 2 or PROPOSED_BY not in trial.system_attrs or self._has_warned:
            return
        cost, returned = self.cost(trial.params), values[self._known_objective]
        if not math.isclose(cost, returned, rel_tol=1e-6, abs_tol=1e-9):
            self._has_warned = True
            warnings.warn(
                f"the cost of trial {trial.number} is {cost:g}, but value {self._known_objective} of its objective is "
                f"{returned:g}; KnownCostSampler needs a cost function that returns what the objective returns",
                stacklevel=2,
            )

    def loss(self, value: float, sign: float) -> float:
        """Convert a value of the unknown objective to the model's units, in which lower is better."""
        if not self._log:
            return sign * value
        if value <= 0:
            raise ValueError(
                f"a trial's unknown objective is {value}, which has no logarithm; use KnownCostSampler(..., log=False)"
            )
        return sign * math.log(value)

    def cost(self, params: dict[str, Any]) -> float:
        """Compute the cost of parameters. Raises ValueError if it can't be computed or is not finite."""
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


class _Proposal:
    """The proposal of a trial; ``signs`` are those of the study's objectives, ``fixed`` the enqueued parameters."""

    def __init__(
        self,
        sampler: KnownCostSampler,
        signs: Sequence[float],
        space: CandidateSpace,
        fixed: Mapping[str, float],
        number: int,
    ) -> None:
        self.sampler, self.space, self.fixed = sampler, space, fixed
        self.single = len(signs) == 1
        self.unknown = 0 if self.single else 1 - sampler._known_objective
        self.sign, self.known_sign = signs[self.unknown], 1.0 if self.single else signs[sampler._known_objective]
        self.generator = np.random.default_rng([sampler._seed, number])
        self.categorical = np.append(space.categorical(), False)  # of the model's inputs

    def of(self, trials: Sequence[FrozenTrial]) -> tuple[Array, str]:
        """Choose a point; returns it and what proposed it, for PROPOSED_BY."""
        history = self._history(trials)
        whole, candidates = self._candidates()
        self.lowest, self.highest = float(np.min(candidates.price)), float(np.max(candidates.price))
        limit = float(np.max(whole.price))  # of all, not only within the budget: a candidate at the limit adds no area
        if self.fixed and len((agreeing := self._within_budget(self._priced(whole.points, self.fixed))).points):
            candidates = agreeing
        taken = {tuple(point) for point in history.points}
        fresh = candidates.without(taken)
        if not len(fresh.points):  # every configuration was tried: the next may repeat one
            return candidates.points[self.generator.integers(len(candidates.points))], "random"
        candidates = fresh
        known = np.array([len(losses) > 0 for losses in history.losses], dtype=bool)
        if len(taken) < self.sampler._n_startup_trials or not known.any():
            number = sum(trial.system_attrs.get(PROPOSED_BY) == "startup" for trial in trials)
            return self._startup(number, history, candidates), "startup"
        acquisition = self._acquisition(history.informative(self.single), None if self.single else limit)

        scores = acquisition.quick(self._inputs(candidates), candidates.price)
        if self.space.size() > LARGEST_ENUMERATION:  # the candidates are a sample: refine the best
            tried = history.points[known]
            for width in LOCAL_WIDTHS:
                centres = np.vstack([candidates.points[np.argsort(scores)[-LOCAL_CENTRES:]], tried[-LOCAL_CENTRES:]])
                near = self._within_budget(self._near(centres, width, self.fixed, self.generator)).without(taken)
                candidates = candidates.join(near)
                scores = np.concatenate([scores, acquisition.quick(self._inputs(near), near.price)])
        candidates = candidates.select(np.argsort(-scores, kind="stable")[:SHORTLIST])
        return candidates.points[np.argmax(acquisition.thorough(self._inputs(candidates), candidates.price))], "model"

    def _history(self, trials: Sequence[FrozenTrial]) -> History:
        """Group the trials by configuration; a configuration has failed if it has no value and is not running."""
        losses: dict[tuple[float, ...], list[float]] = {}
        failed, pending = set[tuple[float, ...]](), set[tuple[float, ...]]()
        sampler = self.sampler
        threshold = math.inf if sampler._worst is None else sampler.loss(sampler._worst, self.sign)
        for trial in trials:
            point = point_of(self.space, trial)
            if point is None:
                continue
            own = losses.setdefault(point, [])
            if trial.state == TrialState.COMPLETE:
                value = trial.values[self.unknown]
                loss = sampler.loss(value, self.sign) if math.isfinite(value) else math.inf
                if loss < threshold:
                    own.append(loss)
                else:
                    failed.add(point)
            elif trial.state in (TrialState.FAIL, TrialState.PRUNED):
                failed.add(point)
            else:
                pending.add(point)
        failed -= pending
        points = np.array(list(losses)).reshape(len(losses), len(self.space.ranges))
        has_failed = np.array([point in failed and not own for point, own in losses.items()], dtype=bool)
        return History(points, self._prices(points), [*losses.values()], has_failed)

    def _prices(self, points: Array) -> Array:
        costs = [self.sampler.cost(self.space.external(point)) for point in points.tolist()]
        return self.known_sign * np.array(costs)

    def _priced(self, points: Array, fixed: Mapping[str, float]) -> Candidates:
        """Candidates without duplicates, with the fixed parameters in place."""
        points = points.copy()
        for i, name in enumerate(self.space.ranges):
            points[:, i] = fixed.get(name, points[:, i])
        points = np.unique(points, axis=0)
        return Candidates(points, self._prices(points))

    def _within_budget(self, candidates: Candidates) -> Candidates:
        limit = self.sampler._max_cost
        return candidates if limit is None else candidates.select(self.known_sign * candidates.price <= limit)

    def _candidates(self) -> tuple[Candidates, Candidates]:
        """All candidates of the space, and those within the budget. Raises ValueError if there are none of these."""
        sampler, key = self.sampler, (dict(self.space.ranges), self.known_sign)
        if sampler._candidates_of is None or sampler._candidates_of[0] != key:
            if self.space.size() <= LARGEST_ENUMERATION:
                points = self.space.enumerate()
                candidates = Candidates(points, self._prices(points))
            else:
                candidates = self._sampled()
            within = self._within_budget(candidates)
            if len(within.points) == 0:
                raise ValueError(
                    f"no configuration costs at most max_cost={sampler._max_cost:g}; the cheapest of "
                    f"{len(candidates.price)} costs {np.min(self.known_sign * candidates.price):g}: raise max_cost or "
                    "widen the search space"
                )
            sampler._candidates_of = (key, candidates, within)
        return sampler._candidates_of[1:]

    def _sampled(self) -> Candidates:
        """Sample Sobol points and, if few are within the budget, points around the cheapest ones."""
        generator = np.random.default_rng(self.sampler._seed)
        sobol = qmc.Sobol(len(self.space.ranges), seed=generator)
        candidates = self._priced(self.space.from_unit(sobol.random(SOBOL_POINTS)), {})
        for _ in range(BUDGET_ROUNDS):
            if len(self._within_budget(candidates).points) >= BUDGET_POINTS:
                break
            by_cost = np.argsort(self.known_sign * candidates.price, kind="stable")
            cheapest, taken = candidates.points[by_cost[: 2 * LOCAL_CENTRES]], {*map(tuple, candidates.points)}
            candidates = candidates.join(self._near(cheapest, LOCAL_WIDTHS[0], {}, generator).without(taken))
        return candidates

    def _near(
        self, centres: Array, width: float, fixed: Mapping[str, float], generator: np.random.Generator
    ) -> Candidates:
        """Sample LOCAL_POINTS around each centre: some parameters move, numbers by about ``width`` of their range."""
        points = np.repeat(centres, LOCAL_POINTS, axis=0)
        unit = self.space.to_unit(points)
        moved = generator.random(unit.shape) < 0.5
        moved[np.arange(len(unit)), generator.integers(unit.shape[1], size=len(unit))] = True
        close = np.clip(unit + width * generator.standard_normal(unit.shape), 0, 1)
        anywhere = generator.random(unit.shape)
        shifted = self.space.from_unit(np.where(self.space.categorical(), anywhere, close))
        return self._priced(np.where(moved, shifted, points), fixed)

    def _inputs(self, some: Candidates | History) -> Array:
        """Inputs (N, D) of the model: the parameters in unit coordinates, then the price, from 0 to 1 in the budget."""
        price = (some.price - self.lowest) / ((self.highest - self.lowest) or 1.0)
        return np.column_stack([self.space.to_unit(some.points), price])

    def _startup(self, number: int, history: History, candidates: Candidates) -> Array:
        """Choose startup point ``number``; startup points are spread over the costs, the cheapest first.

        The first is among those within CHEAPEST_PART of the lowest price. The others are chosen from the 1 / STRATA of
        the candidates that are closest to a cost of the Halton sequence. Among these, a point far from the observed
        ones and, by CENTRE_WEIGHT, near the middle of the numeric ranges is preferred: so it differs in categories
        rather than in numbers that the cost does not determine, for which the middle of a range is a reasonable start.
        """
        inputs, before = self._inputs(candidates), self._inputs(history)
        extremeness = np.where(self.categorical, 0.0, (inputs - 0.5) ** 2)[:, :-1].sum(axis=1)
        target = qmc.Halton(1, scramble=False).random(number + 1)[number, 0]  # 0, 1/2, 1/4, 3/4, 1/8, ...
        if target == 0:
            pool = np.flatnonzero(inputs[:, -1] <= np.min(inputs[:, -1]) + CHEAPEST_PART)
            return np.asarray(candidates.points[pool[np.argmin(extremeness[pool] + 10 * inputs[pool, -1])]])
        pool = np.argsort(np.abs(inputs[:, -1] - target), kind="stable")[: max(1, len(inputs) // STRATA)]
        squared = squared_distances(inputs[pool], before, self.categorical).sum(axis=-1)
        distances = np.sqrt(squared).min(axis=1, initial=9.0)
        tie = 1e-9 * self.generator.random(len(pool))
        return np.asarray(candidates.points[pool[np.argmax(distances - CENTRE_WEIGHT * extremeness[pool] + tie)]])

    def _acquisition(self, history: History, price_limit: float | None) -> Acquisition:
        """Fit the models of the objective and of failures to the history."""
        inputs, price, failed = self._inputs(history), history.price, history.failed
        repeats = [len(losses) for losses in history.losses]
        y = np.array([loss for losses in history.losses for loss in losses])
        worst, reference = (
            None if value is None else self.sampler.loss(value, self.sign)
            for value in (self.sampler._worst, self.sampler._reference)
        )
        if reference is not None and y.min() < reference:
            worst = reference
        decided, usable = failed | (np.array(repeats) > 0), ~failed
        fitted = np.repeat(inputs, repeats, axis=0), winsorised(y, np.repeat(price, repeats))
        return Acquisition(
            model=GaussianProcess(*fitted, self.categorical),
            at=inputs[usable],
            price=price[usable],
            worst=y.max() + 0.1 * (np.ptp(y) or 1.0) if worst is None else worst,
            price_limit=price_limit,
            success=SuccessModel(inputs[decided], ~failed[decided], self.categorical) if failed.any() else None,
            normals=self.generator.standard_normal((POSTERIOR_SAMPLES, int(usable.sum()))),
        )


def point_of(space: CandidateSpace, trial: FrozenTrial) -> tuple[float, ...] | None:
    """The point of a trial, whether proposed, enqueued or sampled; None if it is incomplete or outside of the space."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    announced = trial.system_attrs.get(PROPOSAL, {})
    point = []
    for name, range_ in space.ranges.items():
        value = internal_value(range_, params, name) if name in params else announced.get(name)
        if value is None or not range_._contains(value):
            return None
        point.append(float(value))
    return tuple(point)
