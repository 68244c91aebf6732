"""Decoding: a value out of range is refused."""

import pytest

from models.decoding import Decoding


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("method", "best", "^method is 'best'; it must be one of greedy, sample, beam"),
        ("temperature", 0.0, "^temperature is 0.0; it must be above 0"),
        ("temperature", float("nan"), "^temperature is nan"),
        ("top_k", -1, "^top_k is -1; it must be at least 0"),
        ("top_p", 0.0, "^top_p is 0.0; it must be above 0 and at most 1"),
        ("top_p", 1.1, "^top_p is 1.1"),
        ("beam_width", 0, "^beam_width is 0; it must be at least 1"),
        ("seed", -1, "^seed is -1; it must be at least 0"),
    ],
)
def test_a_decoding_out_of_range_names_its_field(name, value, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**{name: value})
