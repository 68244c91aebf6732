"""Numbers on the axes of figures and charts."""

import pytest

from pipeline.pages.drawing import si


@pytest.mark.parametrize(("value", "short"), [(999, "999"), (1500, "1.5k"), (2e6, "2M")])
def test_numbers_have_a_suffix(value, short):
    assert si(value) == short
