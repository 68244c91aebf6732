"""What the tests of the stages share."""

import pytest

from tests.labs import leave_out_the_served_model


@pytest.fixture
def no_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without logging the model to be served."""
    leave_out_the_served_model(monkeypatch)
