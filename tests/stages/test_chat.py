"""``tmlm chat``, and how texts are written to a terminal."""

import pytest
from click.testing import CliRunner

from models.config import ConfigError, Decoding
from pipeline.cli.main import cli
from pipeline.stages.chat import write
from pipeline.stages.sample import write_texts


def test_each_line_of_a_pipe_is_continued_with_the_next_seed(trained):
    words = ["chat", "latest", "--length", "20"]
    done = CliRunner().invoke(cli, words, input="it has\n\nit has\n")
    expected = [write_texts("latest", ["it has"], 20, Decoding(seed=seed))[0] for seed in (0, 1)]
    assert done.exit_code == 0
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("is_typed", [False, True])
def test_a_line_that_the_model_can_not_read_ends_a_pipe_but_no_conversation(trained, monkeypatch, is_typed):
    def stream(model, prompt, length, decoding):
        if prompt == "NO":
            raise ConfigError("prompt", "is NO")
        return iter([prompt])

    typed = iter(["it", "NO", "", "has"])

    def read(prompt):
        if (line := next(typed, None)) is None:
            raise EOFError
        return line

    monkeypatch.setattr("pipeline.stages.chat.stream", stream)
    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: is_typed)
    done = CliRunner().invoke(cli, ["chat", "latest"], input="it\nNO\nhas\n")
    assert done.exit_code == (0 if is_typed else 2)
    assert done.stdout.split() == ["it", "has"]
    assert "prompt is NO" in done.stderr


def test_a_text_on_a_terminal_is_broken_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write(["it has", " been " * 12])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 40 and line.endswith(("been", "has")) for line in lines)
