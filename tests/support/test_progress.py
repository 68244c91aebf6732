"""One progress bar on a terminal, nothing anywhere else."""

import io
import itertools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.cli.group import messages_to_stderr, say
from pipeline.support.progress import progress, search_progress, seconds_left


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has nothing else to do: a millisecond between any two looks at the clock."""
    monkeypatch.setattr("tqdm.std.time", itertools.count(0.0, 0.001).__next__)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def on_screen(self) -> list[str]:
        """The lines as a terminal shows them, where a carriage return goes back to the start of the line."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines


@contextmanager
def untouched_logger() -> Iterator[None]:
    """Our logger as it was, at the end."""
    logger = logging.getLogger("pipeline")
    before = logger.handlers, logger.propagate
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before


def advance() -> None:
    with progress("lstm-1x8") as bar:
        bar.start(total_steps=40)
        for _ in range(4):
            bar.advance(10)
            bar.show(train=5.123, val=4.5)


def test_on_a_terminal_the_bar_shows_name_share_time_and_perplexity(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    advance()
    last = stderr.getvalue().split("\r")[-1]
    for part in ("lstm-1x8", "100%", "<00:00", "train=5.12", "val=4.50"):
        assert part in last


def test_a_resumed_training_starts_where_it_was(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress("x") as bar:
        bar.start(total_steps=40, done_steps=30)
    assert "75%" in stderr.getvalue().split("\r")[-1]


def test_an_error_inside_is_raised(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="inside"), progress("x"):
        raise ValueError("inside")


@pytest.mark.parametrize("write", [say, lambda line: logging.getLogger("pipeline.any").warning(line)])
def test_a_line_meanwhile_stands_above_the_bar(monkeypatch, write):
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    with untouched_logger():
        messages_to_stderr()
        with progress("lstm-1x8") as bar:
            bar.start(total_steps=40, done_steps=30)
            write("6 trials and their confirmations")
    *lines, last, end = stderr.on_screen()
    assert lines == ["6 trials and their confirmations"]
    assert last.startswith("lstm-1x8  75%")
    assert end == ""


def test_a_line_off_a_terminal_is_that_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    with progress("lstm-1x8"):
        say("6 trials")
    assert stderr.getvalue() == "6 trials\n"


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


@pytest.mark.parametrize("work", [advance, search])
def test_off_a_terminal_nothing_is_written(monkeypatch, work):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    work()
    assert stderr.getvalue() == ""


def test_a_search_shows_the_share_of_its_work_the_time_left_and_its_figures(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    search()
    line = last_line(stderr)
    assert "40 trials  10%" in line
    assert "trials=0/5, best=4.12" in line
    assert "<01:30" in line  # 270 seconds of work for two workers, of whom 30 seconds in no time speak well


@pytest.mark.parametrize("name", ["tiny", "search-" + "long" * 20])
def test_a_search_shows_all_of_its_figures_at_80_columns(monkeypatch, name):
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    with search_progress(name, workers=1) as bar:
        bar.plan(60.0)
        bar.phase("confirming the front")
        bar.show(trials="100/100", best="4.12")
    for line in (last_line(stderr), stderr.getvalue().split("\r")[1]):
        assert len(line.rstrip()) < 80
        assert "%|" in line
    assert last_line(stderr).rstrip().endswith("trials=100/100, best=4.12")


def test_dearer_cheaper_and_lost_trainings_correct_the_share(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())

    def share() -> str:
        bar.show()
        return last_line(stderr).split("%")[0].split()[-1]

    with search_progress("x", workers=1) as bar:
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
