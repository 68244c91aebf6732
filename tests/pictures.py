"""Look at pictures before they become bytes."""

import pytest
from matplotlib.figure import Figure

from pipeline.pages import plotting


def figures_drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are drawn from now on, instead of rendering them."""
    kept: list[Figure] = []

    def keep(figure: Figure, shades: int = 256) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(plotting, "png", keep)
    return kept
