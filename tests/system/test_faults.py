"""The count of the faults: what was missed is no fault survived."""

from typing import Any

import pytest

from tests import faults
from tests.faults import EARLIER, Draw, LostError, MissedError, Tally, meet, never_injected, table


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No lab, and no faults but those of the test."""
    monkeypatch.setattr(faults, "FAULTS", {})


def met_from(first: int) -> Any:
    """A fault that is met at this try, and the moments that it was tried at."""
    moments: list[float] = []

    def meet_it(lab: Any, training: str, draw: Draw) -> None:
        moments.append(draw.seconds(1.0, 1.0))
        if len(moments) < first:
            raise MissedError("too late")

    return meet_it, moments


@pytest.mark.parametrize(("first", "survived", "missed"), [(1, 1, 0), (3, 1, 2), (9, 0, 3)])
def test_a_fault_that_is_missed_is_tried_again_earlier_and_counts_as_missed_alone(lab, first, survived, missed):
    faults.FAULTS["a fault"], moments = met_from(first)
    meet(lab, "a fault", "a training", "0", tally := Tally())
    assert tally == Tally(survived, [], missed)
    assert tuple(moments) == EARLIER[: survived + missed]


def test_what_was_lost_was_injected_and_is_not_tried_again(lab):
    def lose(lab: Any, training: str, draw: Draw) -> None:
        raise LostError("a run")

    faults.FAULTS["a fault"] = lose
    meet(lab, "a fault", "a training", "0", tally := Tally())
    assert (tally.injected, tally.survived, tally.missed) == (1, 0, 0)
    assert tally.lost == ["a fault (a training): LostError: a run"]


def test_the_table_counts_the_missed_beside_the_injected():
    last = table({"one": Tally(2, ["x"], 1), "two": Tally(1)}).splitlines()[-1]
    assert last.split() == ["in", "all", "4", "3", "1", "1"]


@pytest.mark.parametrize(
    ("tallies", "said", "is_error"),
    [
        ({"one": Tally(1), "two": Tally(0, ["x"])}, "", False),
        ({"one": Tally(1), "two": Tally(missed=3)}, "missed each time: two", True),
        ({"one": Tally(1), "two": Tally()}, "there was no time for: two", False),
        ({"one": Tally(missed=3), "two": Tally()}, "there was no time for: two\nmissed each time: one", False),
    ],
)
def test_kinds_that_were_never_injected_are_named_and_an_error_if_there_was_time_for_all(tallies, said, is_error):
    assert never_injected(tallies) == (said, is_error)
