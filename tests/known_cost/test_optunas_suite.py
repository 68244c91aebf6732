"""The known-cost sampler passes the test-suite for samplers that Optuna 5 has."""

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler

from pipeline.known_cost.sampler import KnownCostSampler

pytest.importorskip("optuna.testing.pytest_samplers", reason="this version of Optuna has none")

from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

pytestmark = pytest.mark.usefixtures("fewer_candidates")


class TestBasic(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: KnownCostSampler(lambda params: len(str(params)), log=False, n_startup_trials=1, seed=0)


@pytest.mark.slow
class TestRelative(RelativeSamplerTestCase):
    sampler = TestBasic.sampler
