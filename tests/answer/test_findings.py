"""What follows from the numbers of an answer: intervals, crossings, and which side is better at which sizes."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from scipy.stats import t as student

from pipeline.answer.findings import Segment, segments
from pipeline.answer.systems import paired_comparisons
from pipeline.training.differences import SEED_SPREADS, compared, percent
from tests.answer.comparisons import comparison
from tests.figures import findings


def test_the_interval_of_one_seed_is_as_wide_as_the_constant_of_its_kind_says():
    found = findings()
    for system, key in {"on top": "on top against n-grams", "network": "network against n-grams"}.items():
        model = replace(found.systems[system], test=(3.5,))
        deviation, degrees = SEED_SPREADS[key]
        assert deviation is not None
        assert found.mean(model).high == pytest.approx(3.5 * exp(student.ppf(0.995, degrees) * deviation * log(2)))
    assert found.mean(found.systems["n-grams"]).ends is None


def test_seeds_that_vary_more_than_the_constant_have_a_wider_interval_from_three_on():
    characters = np.zeros((3, 1000)) + np.random.default_rng(0).normal(0, 1, 1000)
    ngrams, varying = np.zeros((1, 1000)), np.array([[-0.03], [0.0], [0.03]])
    deviation, degrees = SEED_SPREADS["network against n-grams"]
    assert deviation is not None
    for seeds, half in (
        (2, student.ppf(0.995, degrees) * deviation / 2**0.5),
        (3, student.ppf(0.995, 2) * 0.03 / 3**0.5),
    ):
        found = compared("network against n-grams", characters[:seeds] + varying[:seeds], ngrams, 0.99)
        assert found.over_seeds.half == pytest.approx(half)
        assert found.degrees_of_freedom == (2 if seeds == 3 else degrees)


def test_a_run_of_measured_sizes_has_a_verdict_if_each_of_them_has_it():
    found = findings()
    rivals = sorted((rival for rival in found.rivals if rival.unit == "numbers"), key=lambda rival: rival.size)
    sizes = [rival.size for rival in rivals]
    pairs = zip(rivals, (0.2, 0.1, 0.01, -0.1, -0.1), strict=True)
    compared = tuple(replace(each, comparison=comparison(mean, half=0.05)) for each, mean in pairs)
    assert segments(replace(found, rivals=compared), "numbers") == [
        Segment(sizes[0], sizes[1], "behind", (percent(0.2), percent(0.1))),
        Segment(sizes[2], sizes[2], "open", (percent(0.01),)),
        Segment(sizes[3], sizes[4], "ahead", (percent(-0.1), percent(-0.1))),
    ]


def made_up_bits(seeds: int) -> dict[str, np.ndarray]:
    """Costs of 3,000 characters that differ by seed, and of mixtures of each two."""
    random = np.random.default_rng(0)
    network = random.normal(2, 0.5, (1, 3000)) + random.normal(0, 0.05, (seeds, 1))
    pairs = [(network[a] + network[b]) / 2 - 0.1 for b in range(seeds) for a in range(b)]
    return {"network": network, "n-grams": random.normal(2, 0.5, (1, 3000)), "two networks": np.array(pairs)}


def test_two_networks_mixed_have_a_verdict_from_three_seeds_on_by_leaving_out_one():
    two, three = (paired_comparisons(made_up_bits(seeds)) for seeds in (2, 3))
    key, error = "two networks against n-grams", made_up_bits(3)["network"].mean(1).std(ddof=1) / 3**0.5
    assert (two[key].over_both.ends, two[key].verdict) == (None, "open")
    assert three[key].over_seeds.half == pytest.approx(student.ppf(0.995, 2) * error)
    assert three["two networks against network"].over_both.mean == pytest.approx(-0.1)
    assert three["two networks against network"].over_seeds.half == pytest.approx(0, abs=1e-9)


def test_a_verdict_on_few_characters_is_level():
    bits = {name: each[:, :90] for name, each in made_up_bits(3).items()}
    bits["n-grams"] = bits["n-grams"] + 1
    assert paired_comparisons(bits)["network against n-grams"].verdict == "open"
