"""Pictures, looked at before they become bytes."""

import pytest
from matplotlib.figure import Figure

from pipeline.support import plotting


def figures_drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from now on."""
    kept: list[Figure] = []

    def keep(figure: Figure, shades: int = 256) -> bytes:
        kept.append(figure)
        return b""

    monkeypatch.setattr(plotting, "png", keep)
    return kept
