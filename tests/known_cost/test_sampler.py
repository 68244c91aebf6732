"""What the known-cost sampler promises."""

import math
import pickle
import runpy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from pipeline.known_cost import sampler as sampler_module
from pipeline.known_cost.sampler import PROPOSED_BY, History, KnownCostSampler
from pipeline.search.known_cost import sampler as earlier
from pipeline.support.pareto import hypervolume

DOCS = Path(__file__).parents[2] / "docs"
UNIFORM = 28.0  # perplexity at which a trial has failed
SPACE: dict[str, BaseDistribution] = {
    "cell": CategoricalDistribution(("rnn", "gru", "lstm")),
    "num_layers": IntDistribution(1, 3),
    "hidden_size": IntDistribution(8, 256, log=True),
}
RATED: dict[str, BaseDistribution] = {**SPACE, "learning_rate": FloatDistribution(1e-3, 0.3, log=True)}


pytestmark = pytest.mark.usefixtures("fewer_candidates")


def log_macs(params: dict[str, Any]) -> float:
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[params["cell"]]
    width = params["hidden_size"]
    return math.log10(gates * width * (28 + width + (params["num_layers"] - 1) * 2 * width) + 28 * width)


def perplexity(params: dict[str, Any]) -> float:
    """Falls with width, is best with two layers; deep networks with a high rate fail."""
    rate, layers = params.get("learning_rate", 0.01), params["num_layers"]
    if math.log(rate / 0.02) + 0.7 * layers > 2.5:
        return UNIFORM
    best = {"rnn": 8.5, "gru": 8.3, "lstm": 7.9}[params["cell"]] * (params["hidden_size"] / 8) ** -0.2
    return float(best) * math.exp(0.05 * abs(layers - 2) + 0.03 * math.log(rate / 0.01) ** 2)


def known_cost(space: dict[str, BaseDistribution] = SPACE, seed: int = 0, **options: Any) -> KnownCostSampler:
    return KnownCostSampler(log_macs, worst=UNIFORM, search_space=space, seed=seed, **options)


def study_of(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


def run(study: optuna.Study, trials: int, space: dict[str, BaseDistribution] = SPACE, noise: float = 0.0) -> None:
    for _ in range(trials):
        trial = study.ask(space)
        factor = math.exp(noise * np.random.default_rng(trial.number).standard_normal())
        study.tell(trial, [min(perplexity(trial.params) * factor, UNIFORM), log_macs(trial.params)])


def points(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [tuple(trial.params.values()) for trial in study.trials]


def proposers(study: optuna.Study) -> list[Any]:
    return [trial.system_attrs.get(PROPOSED_BY) for trial in study.trials]


def area(study: optuna.Study) -> float:
    """The hypervolume of what was asked for, without noise."""
    largest = log_macs({"cell": "lstm", "num_layers": 3, "hidden_size": 256})
    return hypervolume(
        [(log_macs(trial.params), perplexity(trial.params)) for trial in study.trials], (largest, UNIFORM)
    )


def test_each_trial_says_who_proposed_it():
    study = study_of(known_cost(n_startup_trials=3))
    run(study, 5)
    assert proposers(study) == ["startup"] * 3 + ["model"] * 2
    inferred = study_of(KnownCostSampler(log_macs, worst=UNIFORM, n_startup_trials=3, seed=0))
    run(inferred, 5)
    assert proposers(inferred) == ["random"] + ["startup"] * 2 + ["model"] * 2


def test_the_first_trials_are_spread_over_the_costs_the_cheapest_first():
    study = study_of(known_cost(n_startup_trials=5))
    run(study, 5)
    costs = [trial.values[1] for trial in study.trials]
    cheapest = log_macs({"cell": "rnn", "num_layers": 1, "hidden_size": 8})
    dearest = log_macs({"cell": "lstm", "num_layers": 3, "hidden_size": 256})
    assert costs[0] == cheapest
    steps = np.diff([*sorted(costs), dearest]) / (dearest - cheapest)
    assert np.max(steps) < 0.4
    assert {trial.params["cell"] for trial in study.trials} == {"rnn", "gru", "lstm"}


def test_a_reference_keeps_the_proposals_where_something_better_is_expected_and_worse_trials_are_no_failures():
    limited, unlimited = study_of(known_cost(reference=5.5)), study_of(known_cost())
    for study in (limited, unlimited):
        run(study, 15)
    low, high = ([trial.values[0] for trial in study.trials[5:]] for study in (limited, unlimited))
    assert sum(value < 5.5 for value in low) >= 9 > sum(value < 5.5 for value in high)


def test_no_configuration_is_proposed_twice_before_all_were_tried():
    small: dict[str, BaseDistribution] = {
        "cell": CategoricalDistribution(("rnn", "gru")),
        "num_layers": IntDistribution(1, 2),
        "hidden_size": IntDistribution(8, 32, step=8),
    }
    study = study_of(known_cost(small))
    run(study, 18, small, noise=0.05)
    assert len(set(points(study)[:16])) == 16
    assert proposers(study)[16:] == ["random", "random"]


@pytest.mark.parametrize("space", [SPACE, RATED], ids=["finite", "continuous"])
def test_nothing_over_the_budget_is_proposed(space):
    study = study_of(known_cost(space, max_cost=3.5, n_startup_trials=3))
    run(study, 8, space)
    assert max(trial.values[1] for trial in study.trials) <= 3.5
    assert "model" in proposers(study)


def test_a_budget_below_all_costs_is_an_error_that_names_the_cheapest():
    study = study_of(known_cost(max_cost=1.0))
    with pytest.raises(ValueError, match=r"max_cost=1; the cheapest of 2241 costs 2\.7.*raise max_cost"):
        study.ask(SPACE)


@pytest.mark.parametrize("space", [SPACE, RATED], ids=["finite", "continuous"])
def test_the_same_seed_gives_the_same_study_also_by_a_new_sampler_in_its_middle_and_another_seed_another(space):
    whole, halves, other = (study_of(known_cost(space, seed)) for seed in (0, 0, 1))
    run(whole, 9, space)
    run(other, 9, space)
    run(halves, 6, space)
    halves.sampler = pickle.loads(pickle.dumps(known_cost(space)))
    run(halves, 3, space)
    assert points(halves) == points(whole) != points(other)


@pytest.mark.parametrize("space", [SPACE, RATED], ids=["finite", "continuous"])
def test_the_rest_of_a_partly_enqueued_trial_keeps_the_budget_and_repeats_nothing(space):
    study = study_of(known_cost(space, max_cost=4.0))
    run(study, 5, space)
    for _ in range(4):
        study.enqueue_trial({"cell": "lstm", "num_layers": 3})
        run(study, 1, space)
    added = study.trials[5:]
    assert {(trial.params["cell"], trial.params["num_layers"]) for trial in added} == {("lstm", 3)}
    assert max(trial.values[1] for trial in added) <= 4.0
    assert len(set(points(study))) == 9
    assert {trial.system_attrs[PROPOSED_BY] for trial in added} == {"model"}


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE])
def test_regions_that_fail_are_avoided_whichever_way_trials_fail(state):
    """The objective promises most where two fifths of the range fail."""
    line: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "rate": FloatDistribution(0, 1)}
    study = study_of(KnownCostSampler(lambda params: params["x"], worst=UNIFORM, search_space=line, seed=0))
    failures = []
    for _ in range(24):
        trial = study.ask(line)
        failed = trial.params["rate"] > 0.6
        failures.append(failed)
        value = 8 - 4 * trial.params["x"] - trial.params["rate"]
        if not failed or state == TrialState.COMPLETE:
            study.tell(trial, [UNIFORM if failed else value, trial.params["x"]])
        else:
            study.tell(trial, state=state)
    assert sum(failures[12:]) <= 6  # all 12, if nothing is learnt from them


def test_what_is_to_be_ignored_is_no_failure_no_second_measurement_and_not_closed_to_proposals():
    study = study_of(known_cost(ignore=lambda trial: "ignored" in trial.user_attrs))
    other = study_of(known_cost())
    run(study, 6)
    run(other, 6)
    again = study.trials[1]
    kinds: list[dict[str, Any]] = [
        {"params": {"cell": "lstm", "num_layers": 2, "hidden_size": 99}, "state": TrialState.FAIL},
        {"params": again.params, "values": again.values},
    ]
    for kind in kinds:
        study.add_trial(optuna.trial.create_trial(**kind, distributions=SPACE, user_attrs={"ignored": True}))
        other.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))  # without parameters: nothing to learn
    assert study.ask(SPACE).params == other.ask(SPACE).params


def test_it_finds_the_front_with_fewer_trials_than_random():
    ours, theirs = [], []
    for seed in range(3):
        study, random = study_of(known_cost(RATED, seed)), study_of(RandomSampler(seed))
        run(study, 14, RATED, noise=0.02)
        run(random, 28, RATED, noise=0.02)
        ours.append(area(study))
        theirs.append(area(random))
    assert np.mean(ours) > np.mean(theirs)
    assert ours[0] > theirs[0]


@pytest.mark.parametrize("known_objective", [0, 1])
def test_either_objective_may_be_known_and_one_to_be_maximised_is_the_mirror_of_one_to_be_minimised(known_objective):
    found = []
    for sign, direction in ((1, StudyDirection.MINIMIZE), (-1, StudyDirection.MAXIMIZE)):  # of the first objective
        signs, directions = [sign, 1], [direction, StudyDirection.MINIMIZE]
        known = log_macs if signs[known_objective] > 0 else lambda params: -log_macs(params)
        sampler = KnownCostSampler(known, known_objective=known_objective, log=False, search_space=SPACE, seed=0)
        study = optuna.create_study(directions=directions, sampler=sampler)
        for _ in range(8):
            trial = study.ask(SPACE)
            values = [perplexity(trial.params), log_macs(trial.params)]
            study.tell(trial, np.multiply(signs, values if known_objective else values[::-1]).tolist())
        found.append(points(study))
    assert found[0] == found[1]


def test_a_cost_that_the_objective_does_not_return_is_warned_of_once_at_the_first_finished_trial():
    with pytest.warns(UserWarning, match="the cost of trial 0 is 1, but value 1 of its objective is") as warned:
        run(study_of(KnownCostSampler(lambda params: 1.0, seed=0)), 3)
    assert len(warned) == 1


def test_one_objective_is_minimised_within_the_budget():
    study = optuna.create_study(sampler=known_cost(max_cost=4.0))
    for _ in range(14):
        trial = study.ask(SPACE)
        study.tell(trial, perplexity(trial.params))
    assert max(log_macs(trial.params) for trial in study.trials) <= 4.0
    shapes = (
        dict(zip(SPACE, shape, strict=True)) for shape in product(("rnn", "gru", "lstm"), (1, 2, 3), range(8, 257))
    )
    assert study.best_value < 1.03 * min(perplexity(each) for each in shapes if log_macs(each) <= 4.0)


@pytest.mark.parametrize(
    ("options", "message"), [({"known_objective": 2}, "known_objective is 2"), ({"worst": 0.0}, "worst is 0.0")]
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        KnownCostSampler(log_macs, **options)


@pytest.mark.slow
def test_the_example_in_the_docs_runs(capsys):
    runpy.run_path(str(DOCS / "known_cost_example.py"), run_name="__main__")
    assert "coefficients: mean absolute error" in capsys.readouterr().out


# Many trials ----------------------------------------------------------------------------------------------------------


def test_the_earlier_path_has_the_sampler_until_the_next_release():
    assert earlier.KnownCostSampler is KnownCostSampler


def test_of_many_trials_the_model_is_fitted_to_those_near_the_front_and_to_some_of_the_others(monkeypatch):
    monkeypatch.setattr(sampler_module, "MOST_POINTS", 8)
    on_front, running, failed = {1, 10, 20, 30}, {0, 39}, {2, 3, 4, 5}
    losses = [[] if i in running | failed else [10 - i / 10 if i in on_front else 20.0] for i in range(40)]
    numbers = np.arange(float(len(losses)))  # number i costs i
    history = History(numbers[:, None], numbers, losses, np.isin(numbers, list(failed)))
    fitted_to = history.informative(single=False)
    chosen = set(fitted_to.price.astype(int).tolist())
    assert on_front | running <= chosen
    assert len(chosen) == 8 + len(running)
    assert len(chosen & failed) == 1, "their part of the others"
    assert [losses[i] for i in sorted(chosen)] == fitted_to.losses
    monkeypatch.setattr(sampler_module, "MOST_POINTS", 38)
    assert history.informative(single=False) is history
