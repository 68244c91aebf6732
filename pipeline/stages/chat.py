"""Write a model's text to a terminal while it is generated, and continue one typed prompt after another."""

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from models.config import ConfigError, Decoding
from pipeline.cli.group import say
from pipeline.errors import InputError, message_of, option_name
from pipeline.stages.evaluate import TrainedModel
from pipeline.stages.sample import stream
from pipeline.support.terminal import in_lines, line_width
from pipeline.support.wording import counted, printable


def write(pieces: Iterable[str]) -> None:
    """Print a text piece by piece; on a terminal, lines break between words."""
    parts: Iterable[str] = map(printable, pieces)
    if sys.stdout.isatty():
        parts = in_lines(chain.from_iterable(parts), line_width())
    for part in chain(parts, "\n"):
        sys.stdout.write(part)
        sys.stdout.flush()


def chat(model: str, length: int, decoding: Decoding) -> None:
    """Continue each line that is typed, until Ctrl-D, or each line of piped input.

    The seed grows by one with each prompt: a repeated prompt gets another continuation, and a repeated session the same
    ones. For a prompt that the model can't read, prints the reason and goes on; raises InputError at the end if any was
    piped.
    """
    trained = TrainedModel.find(model)
    is_typed = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are not UTF-8 are refused like other unknown characters
    lines = _typed() if is_typed else (line.rstrip("\n") for line in sys.stdin)
    unread = 0
    for number, prompt in enumerate(filter(None, lines)):
        try:
            write(stream(trained, prompt, length, replace(decoding, seed=decoding.seed + number)))
        except ConfigError as error:
            unread += 1
            say(message_of(error, error.with_names(option_name)))
    if unread and not is_typed:
        raise InputError(f"{counted(unread, 'line')} of the input could not be read by the model")


def _typed() -> Iterator[str]:
    with suppress(ImportError):
        import readline  # noqa: F401  # gives input() arrow keys and a history
    say("Type the beginning of a text; Ctrl-D exits.")
    with suppress(EOFError):
        while True:
            yield input("> ")
    sys.stdout.write("\n")
