"""Networks against n-grams on the same characters: no word that the seeds or the text do not bear out."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from pipeline.report.counting import AgainstCounting, against_counting, explained_by_recipe
from pipeline.report.reproduction import JudgedTraining
from pipeline.support.statistics import Estimate, PairedComparison
from tests.report.alterations import each
from tests.report.reproductions import TEXT, reproduction

LSTM = "lstm-torch-1x128"
NOISE = np.random.default_rng(0).normal(0, 0.3, 100)
BAR = log(5.17) + NOISE - NOISE.mean()
FACTS = replace(TEXT, windowed={1: 16.9, 4: 5.17}, block_costs={"windowed": {4: tuple(BAR)}})


def trained(*perplexities: float, noise: float = 0.05, text: str = "windowed") -> tuple[JudgedTraining, ...]:
    """Seeds of a network that has these perplexities on the text of BAR."""
    random = np.random.default_rng(1)
    runs = reproduction(seeds=len(perplexities))[LSTM].runs
    difference = [random.normal(0, noise, len(BAR)) for _ in runs]
    costs = [BAR - BAR.mean() + log(value) + d - d.mean() for value, d in zip(perplexities, difference, strict=True)]
    return tuple(replace(run, block_costs={text: tuple(each)}) for run, each in zip(runs, costs, strict=True))


@pytest.mark.parametrize(
    ("perplexities", "noise", "words"),
    [
        ((4.8, 4.82, 4.81), 0.05, ", ahead of the 4-gram's 5.17: "),
        ((5.6, 5.62, 5.61), 0.05, ", behind the 4-gram's 5.17: "),
        ((4.8, 4.82, 4.81), 2.0, ", level with the 4-gram's 5.17: "),
        ((4.4, 5.4, 4.9), 0.05, ", level with the 4-gram's 5.17: "),
    ],
)
def test_a_network_is_ahead_or_behind_only_outside_the_interval_by_seeds_and_text(perplexities, noise, words):
    runs = trained(*perplexities, noise=noise)
    done = each(lambda one: replace(one, runs=runs), LSTM)(replace(reproduction(0), text=FACTS))
    found = against_counting(done, "report", "windowed")
    assert words in str(found)


def test_one_seed_has_an_interval_by_the_spread_of_other_shapes():
    (alone,), (first, second) = trained(4.9), trained(5.0, 5.1)
    others = {"gru-torch-2x32": (first, second), LSTM: (alone,)}
    done = each(lambda one: replace(one, same_text=others.get(one.id, ())))(replace(reproduction(0), text=FACTS))
    found = against_counting(done, "same-text", "windowed")
    assert found is not None
    spread = np.std([np.mean(run.block_costs["windowed"]) for run in (first, second)], ddof=1)
    assert found.comparison.over_seeds.half == pytest.approx(12.706 * spread, rel=1e-3)  # t of one degree of freedom


@pytest.mark.parametrize("costs", [(), BAR[:9]], ids=len)
def test_without_the_same_blocks_means_are_compared_over_the_seeds_alone(costs):
    runs = tuple(replace(run, block_costs={"windowed": costs}) for run in trained(5.6, 5.61, 5.62))
    done = each(lambda one: replace(one, runs=runs), LSTM)(replace(reproduction(0), text=FACTS))
    said = f"{LSTM} has 7.20, behind the 4-gram's 5.17: +39.2 %, +35.9 to +42.7 by seeds"
    assert str(against_counting(done, "report", "windowed")) == said


def test_the_recipe_explains_the_share_of_the_gap_that_another_one_closes():
    bar, gap = 4.76, Estimate(0.25)
    network = AgainstCounting("a", 6.13, 8, bar, PairedComparison(gap, gap, gap))
    said = [explained_by_recipe(network, replace(network, perplexity=value)) for value in (5.10, bar, 6.2)]
    assert said == [f"the recipe explains {share} % of the gap to the 8-gram" for share in (75, 100)] + [""]
