"""One progress bar on a terminal, nothing anywhere else."""

import io
import itertools
import sys

import pytest

from pipeline.progress import progress, search_progress, seconds_left


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has nothing else to do: a millisecond between any two looks at the clock."""
    monkeypatch.setattr("tqdm.std.time", itertools.count(0.0, 0.001).__next__)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def advance() -> None:
    with progress("lstm-1x8") as bar:
        bar.start(total_steps=40)
        for _ in range(4):
            bar.advance(10)
            bar.show(train=5.123, val=4.5)


def test_off_a_terminal_nothing_is_written(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    advance()
    assert stderr.getvalue() == ""


def test_on_a_terminal_the_bar_shows_name_share_time_and_perplexity(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    advance()
    last = stderr.getvalue().split("\r")[-1]
    for part in ("lstm-1x8", "100%", "<00:00", "train=5.12", "val=4.50"):
        assert part in last


def test_a_training_that_is_gone_on_with_starts_where_it_was(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress("x") as bar:
        bar.start(total_steps=40, done_steps=30)
    assert "75%" in stderr.getvalue().split("\r")[-1]


def test_an_error_inside_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="inside"), progress("x"):
        raise ValueError("inside")


# --- many trainings at once ------------------------------------------------------------------------------------------


def last_line(stderr: Terminal) -> str:
    return stderr.getvalue().split("\r")[-1]


def search() -> None:
    with search_progress("40 trials", workers=2) as bar:
        bar.plan(300.0)
        bar.advance("a", 60.0, 0.0)
        bar.plan(240.0)
        bar.advance("a", 60.0, 0.5)
        bar.show(trials="0/5", best="4.12")


def test_of_a_search_off_a_terminal_nothing_is_written(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    search()
    assert stderr.getvalue() == ""


def test_a_search_shows_the_share_of_its_work_the_time_left_and_its_figures(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    search()
    line = last_line(stderr)
    assert "40 trials  10%" in line
    assert "trials=0/5, best=4.12" in line
    assert "<01:30" in line  # 270 seconds of work for two workers, of whom 30 seconds in no time speak well


def test_dearer_cheaper_and_lost_trainings_correct_the_share(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())

    def share() -> str:
        bar.show()
        return last_line(stderr).split("%")[0].split()[-1]

    with search_progress("x", workers=1) as bar:
        assert bar._bar is not None
        bar._bar.mininterval = 0  # draws each time
        bar.plan(50.0)
        bar.advance("a", 50.0, 0.5)
        assert share() == "25"
        bar.advance("a", 150.0, 0.5)  # dearer
        assert share() == "38"
        bar.advance("a", 50.0, 1.0)
        bar.end("a")
        assert share() == "50"
        bar.plan(0.0)
        bar.advance("b", 50.0, 0.9)
        assert share() == "95"
        bar.lose("b")
        bar.plan(50.0)  # it will be done again
        assert share() == "50"
        bar.phase("confirming")
        bar.advance("b", 50.0, 1.0)
        bar.end("b")
        bar.plan(0.0)
        assert share() == "100"
        assert "confirming 100%" in last_line(stderr)
        assert "<00:00" in last_line(stderr)


def test_a_search_that_has_nothing_to_do_shows_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with search_progress("x", workers=1) as bar:
        bar.plan(0.0)
        bar.show(trials="40/40")


def test_the_time_left_is_the_plans_at_first_and_the_measured_rates_later():
    assert seconds_left(600.0, done=0.0, elapsed=0.0, workers=2) == 300
    half_as_fast = [seconds_left(600.0, done=elapsed, elapsed=elapsed, workers=2) for elapsed in (10, 100, 10_000)]
    assert half_as_fast == sorted(half_as_fast)
    assert half_as_fast[-1] == pytest.approx(600, rel=0.01)
