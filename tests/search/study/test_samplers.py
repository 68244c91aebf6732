"""Configurations of a space: listed, and drawn at random."""

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SearchConfig
from pipeline.search.study.samplers import DRAWN, configurations
from pipeline.search.study.space import Space


def space_of(**options: Any) -> Space:
    return Space.of(SearchConfig(**options))


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
