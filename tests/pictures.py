"""Pictures, looked at before they become bytes."""

import pytest

from pipeline import plotting
from pipeline.plotting import Figure


def figures_drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from now on."""
    kept: list[Figure] = []

    def keep(figure: Figure, shades: int = 256) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(plotting, "png", keep)
    return kept
