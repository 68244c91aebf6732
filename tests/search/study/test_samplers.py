"""Optuna's samplers, and the configurations of a space: listed, and drawn at random."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial

from pipeline.search.front import evaluate_front, picks
from pipeline.search.study import attributes
from pipeline.search.study.samplers import DRAWN, configurations
from tests.search.study.studies import shapes, train_all
from tests.search.study.test_space import space


def test_tpe_is_multivariate_with_constant_liar_whichever_version_of_optuna_is_installed(begin):
    kept = vars(begin(sampler="tpe").study.sampler)
    assert (kept["_multivariate"], kept["_constant_liar"]) == (True, True)


@pytest.mark.parametrize(("sampler", "trials"), [("gp", 11), ("tpe", 11), ("nsga2", 16)])
def test_optunas_samplers_follow_the_limit_unless_an_earlier_versions_study_lacks_it(begin, sampler, trials):
    wide = {"sampler": sampler, "hidden_size": "4..64", "num_layers": "1..3", "trials": trials}
    strict, lenient = (begin(**wide, study_name=f"{limit}", max_perplexity=limit) for limit in (8.0, 12.0))
    assert shapes(train_all(strict)) != shapes(train_all(lenient))
    earlier = wide | {"study_name": "earlier", "trials": trials + 1}
    kept = ("values", "params", "distributions", "user_attrs")
    trials_of_before = [{name: getattr(trial, name) for name in kept} for trial in strict.results.complete()]
    begin(**earlier).study.add_trials(create_trial(**about) for about in trials_of_before)
    continued = begin(**earlier)
    assert len(train_all(continued)) == 1
    assert not any(map(attributes.constraints, continued.results.trials()))


def test_a_trial_keeps_the_limit_of_its_command_and_our_front_is_that_without_a_limit(begin):
    grid, studies = {"sampler": "grid", "cell": "lstm", "hidden_size": "4,5,6,7,8"}, {}
    for name, limit, trials in (("limited", 9.8, 3), ("limited", 9.5, 10), ("free", 28.0, 10)):
        studies[name] = begin(**grid, study_name=name, max_perplexity=limit, trials=trials)
        train_all(studies[name])
    told = studies["limited"].results.complete()
    limits = [trial.values[0] - attributes.constraints(trial)[0] for trial in told]
    assert limits == pytest.approx([9.8] * 3 + [9.5] * 7)
    limited, free = (evaluate_front(search.results.candidates(), (28.0, 1e6)) for search in studies.values())
    assert (limited, picks(limited)) == (free, picks(free))
    assert 0 < len(studies["limited"].study.best_trials) < len(limited.front)  # Optuna's own front


def test_the_default_space_has_2241_configurations():
    listed = list(configurations(space(), Random(0)))
    assert len({json.dumps(each) for each in listed}) == len(listed) == 3 * 3 * 249
    assert listed[0] == {"cell": "rnn", "num_layers": 1, "hidden_size": 8, "on_top_of": "nothing"}


@given(st.integers(0, 2**32))
def test_of_a_space_that_is_continuous_or_too_large_some_are_drawn_that_lie_in_it(seed: int):
    for options in ({"learning_rate": "0.001..0.1", "dropout": "0..0.5"}, {"hidden_size": "1..100000"}):
        found = space(cell="rnn,gru", **options)
        drawn = list(configurations(found, Random(seed)))
        assert len({json.dumps(each) for each in drawn}) > len(drawn) / 2 == DRAWN / 2
        assert drawn[0].keys() == found.values.keys()
        for name, values in found.values.items():
            assert values._contains(values.to_internal_repr(drawn[0][name]))
