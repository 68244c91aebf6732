"""Optuna's samplers, and the configurations of a space: listed, and drawn at random."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial

from pipeline.config import SearchConfig
from pipeline.search.front import evaluate_front, picks
from pipeline.search.study import attributes
from pipeline.search.study.samplers import DRAWN, configurations
from pipeline.search.study.space import Space
from tests.search.study.studies import shapes, train_all


def space_of(**options: Any) -> Space:
    return Space.of(SearchConfig(**options))


def test_tpe_is_multivariate_with_constant_liar_whichever_version_of_optuna_is_installed(begin):
    kept = vars(begin(sampler="tpe").study.sampler)
    assert (kept["_multivariate"], kept["_constant_liar"]) == (True, True)


@pytest.mark.parametrize(("sampler", "trials"), [("gp", 11), ("tpe", 11), ("nsga2", 16)])
def test_optunas_samplers_follow_the_limit_unless_an_earlier_versions_study_lacks_it(begin, sampler, trials):
    def asked(limit: float, name: str, more: int = 0) -> Any:
        options = {"max_perplexity": limit, "study_name": name, "trials": trials + more}
        search = begin(sampler=sampler, hidden_size="4..64", num_layers="1..3", **options)
        return search, shapes(train_all(search))

    (search, strict), (_, lenient) = asked(8.0, "strict"), asked(12.0, "lenient")
    assert [*strict[:10], strict != lenient] == [*lenient[:10], True]
    earlier = begin(study_name="earlier", hidden_size="4..64", num_layers="1..3")
    for trial in search.results.complete():
        about = {name: getattr(trial, name) for name in ("values", "params", "distributions", "user_attrs")}
        earlier.study.add_trial(create_trial(**about))
    continued, new = asked(8.0, "earlier", more=1)
    assert len(new) == 1
    assert not any(map(attributes.constraints, continued.results.trials()))


def test_a_trial_keeps_the_limit_of_its_command_and_our_front_is_that_without_a_limit(begin):
    grid = {"sampler": "grid", "cell": "lstm", "hidden_size": "4,5,6,7,8"}
    for limit, trials in ((7.0, 3), (6.0, 10)):
        limited = begin(**grid, study_name="limited", max_perplexity=limit, trials=trials)
        train_all(limited)
    told = limited.results.complete()
    limits = [trial.values[0] - attributes.constraints(trial)[0] for trial in told]
    assert limits == pytest.approx([7.0] * 3 + [6.0] * 7)
    free = begin(**grid, study_name="free", max_perplexity=28.0, trials=10)
    train_all(free)
    assert len(limited.study.best_trials) < len(free.study.best_trials)  # Optuna's own front
    fronts = [evaluate_front(each.results.candidates(), (8.0, 1e6)) for each in (limited, free)]
    assert fronts[0] == fronts[1]
    assert picks(fronts[0]) == picks(fronts[1])


def test_the_default_space_has_2241_configurations():
    listed = list(configurations(space_of(), Random(0)))
    assert len({json.dumps(each) for each in listed}) == len(listed) == 3 * 3 * 249
    assert listed[0] == {"cell": "rnn", "num_layers": 1, "hidden_size": 8, "on_top_of": "nothing"}


@given(st.integers(0, 2**32))
def test_of_a_space_that_is_continuous_or_too_large_some_are_drawn_that_lie_in_it(seed: int):
    for options in ({"learning_rate": "0.001..0.1", "dropout": "0..0.5"}, {"hidden_size": "1..100000"}):
        found = space_of(cell="rnn,gru", **options)
        drawn = list(configurations(found, Random(seed)))
        assert len({json.dumps(each) for each in drawn}) > len(drawn) / 2 == DRAWN / 2
        assert drawn[0].keys() == found.values.keys()
        for name, values in found.values.items():
            assert values._contains(values.to_internal_repr(drawn[0][name]))
