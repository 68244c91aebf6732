"""Judging times by the report's own numbers."""

from dataclasses import replace

import pytest

from pipeline.report.statements.evaluators.times import expected_seconds
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN
from tests.report.alterations import row, runs, together
from tests.report.reproductions import reproduction, weighed
from tests.report.statements.judged import judged, statement

FOUND = reproduction(seeds=1)
DEEP = "gru-torch-2x128-time-against-gru-2x32"


@pytest.mark.parametrize(
    ("transcript", "word"), [(63.0, HOLDS), (63.9, HOLDS), (64.1, FAILS), (61.9, FAILS), (None, OPEN)]
)
def test_prose_agrees_with_its_transcript_within_a_second(transcript, word):
    found = row("gru-scratch-1x32", train_seconds_transcript=transcript)(FOUND)
    assert judged(found, "gru-scratch-1x32-seconds").word == word


def test_whose_time_is_stated_instead_is_said():
    assert "169 s is what gru-scratch-1x1024 took." in judged(FOUND, "lstm-scratch-1x1024-seconds").because


def test_a_time_without_a_transcript_is_open_and_ours_is_shown_relative_to_the_other_times():
    verdict = judged(FOUND, "gru-scratch-1x8-seconds")
    assert (verdict.word, verdict.part) == (OPEN, "its transcript")
    assert "By our seconds per epoch, relative to the other times of the table, it would be" in verdict.because
    assert "it would be" not in judged(reproduction(seeds=0), "gru-scratch-1x8-seconds").because


def test_the_expected_time_is_in_proportion_to_our_seconds():
    slower = runs("gru-scratch-1x8", lambda run: replace(run, train_seconds=2 * run.train_seconds))(FOUND)
    before, after = (expected_seconds("gru-scratch-1x8", weighed(found)) or 0 for found in (FOUND, slower))
    assert after == pytest.approx(2 * before)


@pytest.mark.parametrize(("seconds", "word"), [("90", HOLDS), ("66", FAILS), ("120", FAILS)])
def test_a_relative_time_is_held_to_the_expected_one_within_a_share(seconds, word):
    assert expected_seconds("gru-scratch-1x8", weighed(FOUND)) == pytest.approx(93.2, abs=0.1)
    wanted = statement("gru-scratch-1x8-seconds", value=seconds, relation="relative")
    assert judged(FOUND, wanted).word == word
    assert judged(reproduction(seeds=0), wanted).word == OPEN


@pytest.mark.parametrize(
    ("seconds", "word", "part"),
    [(150.0, IN_PART, "shorter, but not slightly"), (185.0, HOLDS, ""), (191.88, FAILS, ""), (204.67, FAILS, "")],
)
def test_slightly_shorter_is_shorter_and_by_little(seconds, word, part):
    verdict = judged(row("gru-torch-2x128", train_seconds_transcript=seconds)(FOUND), DEEP)
    assert (verdict.word, verdict.part) == (word, part)


def test_prose_that_its_transcript_contradicts_is_named():
    contradicted = judged(FOUND, "lstm-torch-2x128-time-against-gru-2x128")
    assert contradicted.word == FAILS
    assert "The prose has 201 s of lstm-torch-2x128, which its transcript contradicts." in contradicted.because
    assert "contradicts" not in judged(FOUND, DEEP).because


def test_against_several_each_has_to_hold_and_those_that_do_are_named():
    found = row("gru-scratch-1x32", train_seconds_transcript=50.0)(FOUND)
    verdict = judged(found, "gru-scratch-1x128-time-against-earlier")
    assert (verdict.word, verdict.part) == (IN_PART, "against gru-scratch-1x8")


@pytest.mark.parametrize(("seconds", "word"), [(77.45, HOLDS), (90.0, FAILS), (85.0, IN_PART)])
def test_not_considerably_longer_is_below_a_bound(seconds, word):
    found = row("lstm-scratch-1x128", train_seconds_transcript=seconds)(FOUND)
    assert judged(found, "lstm-scratch-1x128-time-against-earlier").word == word


def test_shorter_than_some_takes_one():
    assert judged(FOUND, "lstm-scratch-best-time").word == HOLDS
    slow = row("lstm-scratch-1x128", train_seconds_transcript=300.0)
    assert judged(slow(FOUND), "lstm-scratch-best-time").word == FAILS


def test_a_time_that_is_not_reported_leaves_an_order_open():
    found = together(row("gru-torch-2x128", train_seconds_transcript=None, train_seconds_prose=None))(FOUND)
    verdict = judged(found, DEEP)
    assert (verdict.word, verdict.part) == (OPEN, "a time of gru-torch-2x128")
