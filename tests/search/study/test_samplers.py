"""Configurations of a space: listed, and drawn at random."""

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SearchConfig
from pipeline.search.study.samplers import configurations, draw_configuration
from pipeline.search.study.space import Space


def space_of(**options: Any) -> Space:
    return Space.of(SearchConfig(**options))


def test_the_default_space_has_2241_configurations():
    listed = list(configurations(space_of()) or [])
    assert len({json.dumps(each) for each in listed}) == len(listed) == 3 * 3 * 249
    assert listed[0] == {"cell": "rnn", "num_layers": 1, "hidden_size": 8, "on_top_of": "nothing"}


def test_a_space_that_is_continuous_or_too_large_is_not_listed():
    assert configurations(space_of(learning_rate="0.001..0.1")) is None
    assert configurations(space_of(hidden_size="1..100000")) is None


@given(st.integers(0, 2**32))
def test_what_is_drawn_lies_in_the_space(seed: int):
    found = space_of(learning_rate="0.001..0.1", dropout="0..0.5", cell="rnn,gru")
    drawn = draw_configuration(found, Random(seed))
    assert drawn.keys() == found.values.keys()
    for name, values in found.values.items():
        assert values._contains(values.to_internal_repr(drawn[name]))
