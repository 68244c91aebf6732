"""What tests of the page share."""

import pytest

from pipeline.support import plotting


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose pictures, which says that they can be, without drawing them."""
    monkeypatch.setattr(plotting, "png", lambda figure, shades: b"")
