"""The earlier path of ``pipeline.known_cost.sampler``, which the next release drops."""

from pipeline.known_cost.sampler import KnownCostSampler as KnownCostSampler
