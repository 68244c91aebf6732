"""Progress: a bar on a terminal, a line now and then anywhere else."""

import logging
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pipeline.cli.group import say, send_messages_to_stderr
from pipeline.support.progress import progress, search_progress, seconds_left
from tests.terminals import Terminal


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
    monkeypatch.delenv("COLUMNS", raising=False)
    return clock


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Terminal]:
    """Runs a function with a terminal as standard error."""

    def run(work: Callable[[], object], columns: int = 80) -> Terminal:
        with Terminal(columns) as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal.file)
            work()
        return terminal

    return run


# --- one training on a terminal --------------------------------------------------------------------------------------


def train(clock: Clock, name: str = "lstm-1x8") -> None:
    """Four epochs of ten steps and ten seconds, then two seconds of evaluation."""
    with progress(name) as bar:
        bar(0.0)
        for epoch in range(1, 5):
            clock.seconds += 10
            bar(epoch / 4, epoch=f"{epoch}/4", train="5.12", val="4.50")
        clock.seconds += 2


def test_the_bar_of_a_training_shows_share_elapsed_time_left_and_figures(clock, shown):
    bars = shown(lambda: train(clock)).bars
    half = next(bar for bar in bars if " 50%" in bar)
    assert re.fullmatch(r"lstm-1x8  50%\|█+▌ +\| 00:20<00:20, epoch=2/4, train=5.12, val=4.50", half)
    assert bars[-2].startswith("evaluating  99%")
    assert "00:40<?" in bars[-2]
    assert not [bar for bar in bars[:-1] if "100%" in bar]
    assert re.fullmatch(r"lstm-1x8 100%\|█+\| 00:42<00:00, epoch=4/4, train=5.12, val=4.50", bars[-1])


def test_a_failed_training_does_not_show_100_percent(clock, shown):
    def fail() -> None:
        with progress("x") as bar:
            bar(0.75)
            raise ValueError("inside")

    def work() -> None:
        with pytest.raises(ValueError, match="inside"):
            fail()

    assert " 75%" in shown(work).bars[-1]


def test_the_rate_of_a_resumed_training_is_that_of_its_new_steps(clock, shown):
    def work() -> None:
        with progress("x") as bar:
            bar(0.5)
            clock.seconds += 8
            bar(0.75)

    assert " 75%" in shown(work).bars[-2]
    assert "00:08<00:08" in shown(work).bars[-2]


@pytest.mark.parametrize("write", [say, lambda line: logging.getLogger("pipeline.any").warning(line)])
def test_a_message_stands_above_the_bar(shown, write):
    def work() -> None:
        send_messages_to_stderr()
        with progress("lstm-1x8") as bar:
            bar(0.75)
            write("6 trials and their confirmations")

    message, bar = shown(work).screen
    assert message == "6 trials and their confirmations"
    assert bar.startswith("lstm-1x8 100%")


# --- the width of the terminal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_bar_is_as_wide_as_the_terminal_and_never_wraps(clock, shown, columns):
    terminal = shown(lambda: train(clock, "lstm-1x8-s0-python-docs"), columns)
    assert {len(bar) for bar in terminal.bars if "100%" in bar} == {columns - 1} or columns == 40
    assert len(terminal.screen) == 1
    assert len(terminal.screen[0]) < columns
    if columns >= 80:
        assert all(bar.endswith("train=5.12, val=4.50") for bar in terminal.bars if "train" in bar)


# --- many trainings at once ------------------------------------------------------------------------------------------


def test_a_search_shows_the_share_of_its_work_the_time_left_and_its_figures(clock, shown):
    def work() -> None:
        with search_progress("40 trials", workers=2) as bar:
            bar.plan(300.0)
            bar.advance("a", 60.0, 0.0)
            bar.plan(240.0)
            bar.advance("a", 60.0, 0.5)
            clock.seconds += 1
            bar.show(trials="0/5", best="4.12")

    bar = shown(work).bars[-2]
    assert bar.startswith("40 trials  10%")
    assert bar.endswith("00:01<01:33, trials=0/5, best=4.12")  # 270 s for two workers, who did 30 in one


def bar_share(bar: str) -> int:
    return int(bar.split("%")[0].split()[-1])


def test_dearer_cheaper_and_lost_trainings_correct_the_share(clock, shown):
    def work() -> None:
        def draw() -> None:
            clock.seconds += 1
            bar.show()

        with search_progress("x", workers=1) as bar:
            bar.plan(50.0)
            bar.advance("a", 50.0, 0.5)
            draw()
            bar.advance("a", 150.0, 0.5)  # dearer
            draw()
            bar.advance("a", 50.0, 1.0)
            bar.end("a")
            draw()
            bar.plan(0.0)
            bar.advance("b", 50.0, 0.9)
            draw()
            bar.lose("b")
            bar.plan(50.0)  # it will be done again
            draw()

    shares = [bar_share(bar) for bar in shown(work).bars]
    assert shares == [0, 25, 38, 50, 95, 50, 100]


def test_the_time_left_is_the_plans_at_first_and_the_measured_rates_later():
    assert seconds_left(600.0, done=0.0, elapsed=0.0, workers=2) == 300
    half_as_fast = [seconds_left(600.0, done=elapsed, elapsed=elapsed, workers=2) for elapsed in (10, 100, 10_000)]
    assert half_as_fast == sorted(half_as_fast)
    assert half_as_fast[-1] == pytest.approx(600, rel=0.01)


# --- off a terminal --------------------------------------------------------------------------------------------------


def lines(capsys: pytest.CaptureFixture) -> list[str]:
    """The lines without the time of day that each begins with."""
    times, texts = zip(*(line.split(" ", 1) for line in capsys.readouterr().err.splitlines()), strict=True)
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", each) for each in times)
    return list(texts)


def test_short_epochs_share_a_line_every_30_seconds(clock, capsys):
    train(clock)
    assert lines(capsys) == [
        "lstm-1x8: epoch 3/4, train perplexity 5.12, validation perplexity 4.50, 00:30 elapsed, about 00:10 left"
    ]
