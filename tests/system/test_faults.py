"""Commands are killed at three moments; the same command again ends as if nothing had happened."""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests.fault_points import PLACES, WORK
from tests.faults import FAULTS, Known, Lab, inject, learn

IN_CI = ("train: kill at step", "search: kill at trial/figures")


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    """The outcomes of each command without a fault."""
    return {}


@pytest.fixture
def labs(tmp_path: Path, empty_database: Path) -> Iterator[list[Lab]]:
    """Two copies of the project with an empty store; what is still running there at the end is killed."""
    labs = [Lab(tmp_path / name) for name in ("with", "without")]
    for lab in labs:
        lab.add_store(empty_database)
    yield labs
    for lab in labs:
        lab.kill_all()


@pytest.mark.parametrize("place", [*PLACES.values(), WORK])
def test_moment_is_a_function_of_today(place):
    owner, _, name = place.rpartition(".")
    assert callable(getattr(resolve_name(owner), name))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "fault",
    [pytest.param(each, id=str(each), marks=pytest.mark.ci if str(each).startswith(IN_CI) else ()) for each in FAULTS],
)
def test_command_that_met_a_fault_is_resumed_bit_for_bit(labs, known, fault, request):
    if fault.command == "reproduce":
        request.getfixturevalue("book")
    if fault.command not in known:
        learn(labs[1], fault.command, known.setdefault(fault.command, {}))
    inject(labs[0], fault, known[fault.command])
