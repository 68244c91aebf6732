"""The known-cost sampler passes the test-suite for samplers that Optuna 5 has."""

from collections.abc import Callable
from typing import Any

import pytest
from optuna.samplers import BaseSampler

from pipeline.known_cost.sampler import KnownCostSampler

pytest.importorskip("optuna.testing.pytest_samplers", reason="this version of Optuna has none")

from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

pytestmark = pytest.mark.usefixtures("fewer_candidates")


def anything(params: dict[str, Any]) -> float:
    """A cost of whatever parameters there are."""
    return sum(float(x) if isinstance(x, int | float) else len(str(x)) for x in params.values())


class TestBasic(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: KnownCostSampler(anything, log=False, n_startup_trials=1, seed=0)


@pytest.mark.slow
class TestRelative(RelativeSamplerTestCase):
    sampler = TestBasic.sampler
