"""One progress bar on a terminal, nothing anywhere else."""

import io
import sys

import pytest

from pipeline.progress import progress


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
