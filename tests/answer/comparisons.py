"""Comparisons of two models, made up."""

from pipeline.support.statistics import Estimate, PairedComparison


def comparison(mean: float, half: float = 0.02, degrees_of_freedom: int = 0) -> PairedComparison:
    """A comparison whose interval over both reaches so many bits to both sides."""
    both = Estimate(mean, mean - half, mean + half)
    return PairedComparison(both, both, both, degrees_of_freedom)
