"""Progress: a bar on a terminal, a line now and then anywhere else."""

import io
import logging
import os
import re
import sys
from types import SimpleNamespace

import pytest

from pipeline.cli.group import StandardError, say
from pipeline.support.progress import Progress


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    encoding = "utf-8"

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What was on each line of the screen, one after the other."""
        return [line.rstrip() for line in re.split("[\r\n]", self.getvalue()) if line.strip()]


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    monkeypatch.setattr("pipeline.support.progress.time", SimpleNamespace(monotonic=clock))
    return clock


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, from now on."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def train(clock: Clock) -> None:
    """Four epochs of ten seconds, then two seconds of evaluation."""
    with Progress("lstm-1x8") as bar:
        bar.show(0.0)
        for epoch in range(1, 5):
            clock.seconds += 9
            bar.show_values(epoch=f"{epoch}/4", val="4.50")
            clock.seconds += 1
            bar.show(epoch / 4)
        bar.phase("evaluating")
        clock.seconds += 2
        bar.show(1.0)


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_the_bar_shows_share_time_left_and_figures_and_never_wraps(clock, monkeypatch, columns):
    terminal = a_terminal(monkeypatch)
    monkeypatch.setattr(os, "get_terminal_size", lambda file: os.terminal_size((columns, 24)))
    train(clock)
    *bars, last = terminal.lines
    assert all(len(bar) < columns for bar in (*bars, last))
    assert not [bar for bar in bars if "100%" in bar]
    if columns >= 80:
        half = next(bar for bar in bars if "50%|" in bar and "2/4" in bar)
        assert re.fullmatch(r"lstm-1x8  50%\|█+▌? +\| 00:20<00:20, epoch=2/4, val=4.50", half)
        assert any(bar.startswith("evaluating  99%") and "00:40<?" in bar for bar in bars)
        assert re.fullmatch(r"lstm-1x8 100%\|█+\| 00:42<00:00, epoch=4/4, val=4.50", last)


def test_a_failed_training_does_not_show_100_percent(monkeypatch):
    terminal = a_terminal(monkeypatch)

    def fail() -> None:
        with Progress("x") as bar:
            bar.show(0.75)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert " 75%" in terminal.lines[-1]


def test_the_time_left_is_by_the_rate_of_new_steps(clock, monkeypatch):
    terminal = a_terminal(monkeypatch)
    with Progress("x") as bar:
        bar.show(0.5)
        clock.seconds += 8
        bar.show(0.75)
    assert "00:08<00:08" in terminal.lines[-2]


def test_the_bar_does_not_go_back_where_there_is_more_to_do_than_expected(clock, monkeypatch):
    terminal = a_terminal(monkeypatch)
    with Progress("x") as bar:
        for share in (0.0, 0.5, 0.4):
            bar.show(share)
            clock.seconds += 10
    assert re.fullmatch(r"x  50%\|.*\| 00:20<00:30", terminal.lines[-2])


@pytest.mark.parametrize("write", [say, lambda line: logging.getLogger("pipeline.any").warning(line)])
def test_a_message_stands_above_the_bar(monkeypatch, write):
    terminal = a_terminal(monkeypatch)
    logging.getLogger("pipeline").addHandler(StandardError())
    with Progress("lstm-1x8") as bar:
        bar.show(0.75)
        write("6 trials and their confirmations")
    message, *bars = terminal.lines[-3:]
    assert message == "6 trials and their confirmations"
    assert all(bar.startswith("lstm-1x8 ") for bar in bars)


def test_off_a_terminal_short_epochs_share_a_line(clock, capsys):
    train(clock)
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines] == [
        "lstm-1x8 75%, 00:30 elapsed, 00:10 left, epoch=3/4, val=4.50",
        "lstm-1x8 100%, 00:42 elapsed, 00:00 left, epoch=4/4, val=4.50",
    ]
