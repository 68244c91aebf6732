"""Comparisons of two models, made up."""

from pipeline.support.statistics import Estimate, PairedComparison


def comparison(mean: float, half: float = 0.02) -> PairedComparison:
    """A comparison whose interval over both reaches so many bits to both sides."""
    both = Estimate(mean, mean - half, mean + half)
    return PairedComparison(both, both, both)
