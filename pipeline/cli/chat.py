"""Write a model's texts to a terminal as they are generated, and answer prompts that are typed one after the other."""

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain

import click

from models.config import ConfigError
from models.decoding import Decoding
from pipeline.cli.group import printable, say
from pipeline.errors import message_of
from pipeline.stages.evaluate import TrainedModel
from pipeline.stages.sample import stream
from pipeline.support.terminal import in_lines, line_width


def write(pieces: Iterable[str]) -> None:
    """Print a text piece by piece; on a terminal its lines end between words."""
    parts: Iterable[str] = map(printable, pieces)
    if sys.stdout.isatty():
        parts = in_lines(chain.from_iterable(parts), line_width())
    for part in parts:
        click.echo(part, nl=False)
    click.echo()


def chat(model: str, length: int, decoding: Decoding) -> None:
    """Continue each prompt that is typed, or each line of a pipe, until its end (Ctrl-D).

    The seed grows by one with each prompt, so that the same prompt gets another answer, and the same session the same
    ones. A prompt that the model can't read is refused in a sentence; from a pipe it raises ConfigError.
    """
    trained = TrainedModel.find(model)
    is_typed = sys.stdin.isatty()
    for number, prompt in enumerate(_typed() if is_typed else _piped()):
        try:
            write(stream(trained, prompt, length, replace(decoding, seed=decoding.seed + number)))
        except ConfigError as error:
            if not is_typed:
                raise
            say(message_of(error))


def _typed() -> Iterator[str]:
    with suppress(ImportError):
        import readline  # noqa: F401  # input() then has the arrow keys and a history
    click.echo("Type the beginning of a text; Ctrl-D ends.", err=True)
    with suppress(EOFError):
        while True:
            if prompt := input("> "):
                yield prompt
    click.echo()


def _piped() -> Iterator[str]:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is not UTF-8 is refused like any other unknown character
    for line in sys.stdin:
        if prompt := line.rstrip("\n"):
            yield prompt
