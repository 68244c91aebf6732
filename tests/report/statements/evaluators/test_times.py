"""Judging times by the report's own numbers."""

import pytest

from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN
from tests.report.alterations import row, together
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judged

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


def test_a_time_without_a_transcript_is_open():
    verdict = judged(FOUND, "gru-scratch-1x8-seconds")
    assert (verdict.word, verdict.part) == (OPEN, "its transcript")


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
