"""Evidence: the rules by which perplexities, gaps and texts are judged."""

from dataclasses import replace
from math import exp, log
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.checks import d2l_curves
from pipeline.report.claims.evidence import (
    course,
    distinct_trigrams,
    edit_distance,
    gap_from,
    gap_opens,
    level,
    seed_spread,
    side,
)
from pipeline.report.claims.findings import FAILS, HOLDS, OPEN
from pipeline.support.statistics import Estimate
from tests.report.alterations import each, row, runs, together
from tests.report.reproductions import reproduction, training


@pytest.mark.parametrize(
    ("sample", "where"),
    [
        (Estimate(2.0, None, None), "inside"),
        (Estimate(2.4, None, None), "between"),
        (Estimate(2.6, None, None), "between"),
        (Estimate(2.8, None, None), "outside"),
        (Estimate(2.6, 2.55, 2.65), "outside"),
        (Estimate(2.0, 1.4, 2.6), "between"),
        (Estimate(1.0, 0.5, 1.49), "outside"),
    ],
)
def test_a_mean_is_inside_or_outside_of_a_level_or_too_near(sample, where):
    assert side(sample, 1.5, 2.5) == where


def test_a_level_is_wider_for_a_larger_number():
    found = reproduction()
    assert "About 16 is 14.4 to 17.6" in level(found, "gru-torch-8x32", 16).because
    assert level(found, "gru-torch-8x32", None).outcome == OPEN


def test_the_gap_opens_where_it_stays_open():
    run = training(reproduction()["gru-torch-1x128"].reported, 2.0, 9.0)
    train, val = (1.0, 1.0, 1.0, 1.0), (1.2, 1.05, 1.2, 1.3)
    assert gap_opens(replace(run, train=train, val=val), 0.1) == 3
    assert gap_opens(replace(run, train=train, val=val), 0.02) == 1
    assert gap_opens(replace(run, train=train, val=train), 0.1) == 5
    assert gap_opens(replace(run, train=train, val=(1.2,) * 4), 0.1) == 1


@pytest.mark.parametrize(
    ("named", "opens", "outcome"),
    [(1, 5, HOLDS), (1, 8, FAILS), (20, 12, HOLDS), (20, 28, HOLDS), (20, 8, FAILS), (20, 32, FAILS), (20, 101, FAILS)],
)
def test_a_gap_that_opens_within_half_of_the_named_epoch_or_five_epochs_is_near_it(named, opens, outcome):
    def opening(run):
        return replace(run, train=tuple(val / (1.01 if epoch < opens else 1.2) for epoch, val in enumerate(run.val, 1)))

    id = "lstm-torch-1x128"
    found = together(row(id, gap=f"from epoch {named}"), runs(id, opening))(reproduction())
    assert gap_from(found, id).outcome == outcome
    at = "no epoch" if opens > 100 else f"epoch {opens}"
    assert f"stays above 2 % from {at} on and above 10 % from {at} on" in gap_from(found, id).because


def test_where_it_matters_how_wide_a_gap_is_an_open_one_there_is_no_verdict():
    def opening(run):
        shares = (1.2 if epoch >= 27 else 1.05 if epoch >= 12 else 1.01 for epoch in range(1, run.epochs + 1))
        return replace(run, train=tuple(val / share for val, share in zip(run.val, shares, strict=True)))

    one = gap_from(runs("rnn-torch-1x128", opening)(reproduction()), "rnn-torch-1x128")
    assert one.outcome == OPEN
    assert (
        "stays above 2 % from epoch 12 on and above 10 % from epoch 27 on, where the report says from 10" in one.because
    )
    assert "depends on how wide a gap is an open one" in one.because


def test_a_single_seed_may_be_off_by_twice_the_deviation_of_d2ls_noisiest_at_the_end():
    by_hand = [stdev(log(curve[99]) for curve in d2l_curves()["lstm-torch-2x32"][split]) for split in ("train", "val")]
    assert max(by_hand) == pytest.approx(0.039, abs=0.0005)
    assert seed_spread() >= exp(2 * max(by_hand)) - 1 > 0.08
    edge = 2.5 / (1 + seed_spread())
    assert side(Estimate(0.999 * edge, None, None), 1.5, 2.5) == "inside"
    assert side(Estimate(1.001 * edge, None, None), 1.5, 2.5) == "between"


@given(st.text("ab ", max_size=6), st.text("ab ", max_size=6), st.text("ab ", max_size=6))
def test_edit_distance_is_a_distance(first, second, third):
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, second) == edit_distance(second, first)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))


def test_edit_distance_of_the_textbook():
    assert edit_distance("kitten", "sitting") == 3


def test_repetition_lowers_the_share_of_distinct_trigrams():
    assert distinct_trigrams("abcabcabcabc") == pytest.approx(3 / 10)
    assert distinct_trigrams("abcdefghij") == 1
    assert distinct_trigrams("ab") == 1


def test_means_of_the_first_epoch_are_geometric_like_all_others():
    def begin(one):
        firsts = zip(one.runs, (4.0, 16.0, 64.0), strict=True)
        return replace(one, runs=tuple(replace(run, val=(first, *run.val[1:])) for run, first in firsts))

    assert "and 16.0 in validation at epoch 1" in course(each(reproduction(), begin), "rnn-torch-1x128")
