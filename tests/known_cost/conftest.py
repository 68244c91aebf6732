"""What tests of the sampler's proposals start from."""

import pytest

from pipeline.known_cost import gaussian_process, sampler


@pytest.fixture
def fewer_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixteenth of the candidates, a quarter of the draws, one start of each fit: their tests need no more."""
    monkeypatch.setattr(sampler, "SOBOL_POINTS", 256)
    monkeypatch.setattr(sampler, "POSTERIOR_SAMPLES", 8)
    monkeypatch.setattr(gaussian_process, "MANY_VALUES", 0)
