"""The group of all commands, which turns errors into one sentence on standard error and an exit code."""

import errno
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from textwrap import shorten
from typing import Any

import click

from models.config import ConfigError
from pipeline.cli.options import LabCommand
from pipeline.errors import InputError, TmlmError, is_out_of_memory, message_of, option_name, reason_of
from pipeline.support import signals

# Set by mlflow run, which has started a run for the command: commands that otherwise only print then record as well.
UNDER_MLFLOW = "MLFLOW_RUN_ID"

RUN, LOOK, SEARCH, MAINTAIN = SECTIONS = (  # headings in the list of commands
    "Train and use a model",
    "Look at what was recorded",
    "Search and report",
    "Maintain",
)


def printable(text: str) -> str:
    """Escape control characters as JSON does, since they could control the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text)


class Failure(click.ClickException):
    """One sentence on standard error and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(printable(message))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class


class Lab(click.Group):
    """Turn errors that a user can act on into one sentence and an exit code.

    Under ``mlflow run``, an error that occurs before the command has taken over its run is recorded in the run's tag
    ``failure``; after that, ``tracked_run`` records it.
    """

    command_class = LabCommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, in the order in which they were declared."""
        name_width = max(map(len, self.commands))
        limit = formatter.width - 6 - name_width
        by_section: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        for name, command in self.commands.items():
            section = getattr(command, "section", "") or MAINTAIN
            by_section[section].append((name.ljust(name_width), command.get_short_help_str(limit)))
        for section, rows in by_section.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TmlmError as error:
            record_failure(ctx, message_of(error))
            raise Failure(message_of(error), error.exit_code) from error
        except ConfigError as error:
            message = message_of(error, error.with_names(option_name))
            record_failure(ctx, message)
            raise Failure(message, InputError.exit_code) from error
        except click.ClickException as error:
            record_failure(ctx, error.format_message())
            raise
        except click.exceptions.Exit:
            raise
        except ModuleNotFoundError as error:
            message = (
                f"{sys.executable} has no {error.name}: activate the project's environment, or see docs/install.md"
            )
            record_failure(ctx, message)
            raise Failure(message, 1) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has closed the pipe (| head): click exits silently
                raise
            record_failure(ctx, reason_of(error))
            raise Failure(reason_of(error), 1) from error
        except (KeyboardInterrupt, SystemExit) as stop:
            if signum := signals.signal_of(stop):
                click.echo(f"Stopped by {signals.name_of(signum)}.", err=True)
                ctx.exit(signals.exit_code(signum))
            raise
        except Exception as error:
            if is_out_of_memory(error):
                message = _out_of_memory_message(error)
                record_failure(ctx, message)
                raise Failure(message, 1) from error
            record_failure(ctx, f"{type(error).__name__}: {message_of(error)}")
            raise


def _out_of_memory_message(error: Exception) -> str:
    """The message for an out-of-memory error: the failed request, if the error has it, and what to do."""
    request = " ".join(message_of(error).split())
    detail = f" ({shorten(request, 200)})" if request else ""
    return f"out of memory{detail}: use a smaller text, model or --batch-size, or close other programs"


def record_failure(ctx: click.Context, reason: str) -> None:
    """Under ``mlflow run``, record why a command failed that has not taken over its run yet."""
    if run_id := os.environ.get(UNDER_MLFLOW):
        try:
            from pipeline.tracking import runs

            runs.tag_failure(run_id, ctx.invoked_subcommand or "", reason)
        except Exception as error:  # the reason itself must still be printed
            click.echo(f"The reason could not be recorded in the run {run_id}: {printable(str(error))}", err=True)


def say(line: str) -> None:
    """Print a message on standard error, above the progress bar if there is one."""
    from pipeline.support.progress import write_line

    write_line(printable(line))


def show(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print the result of a command on standard output."""
    click.echo(printable(json.dumps(result, ensure_ascii=False) if as_json else text))


def send_messages_to_stderr() -> None:
    """Send this project's warnings and errors to standard error, unformatted."""
    import logging

    class StandardError(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                say(self.format(record))
            except Exception:  # like the handlers of the standard library
                self.handleError(record)

    handler = StandardError()
    logger = logging.getLogger("pipeline")
    logger.handlers, logger.propagate = [handler], False


def open_closed_streams() -> None:
    """Open /dev/null for each standard stream that was closed (``2>&-``).

    Python represents such a stream as None, which libraries do not expect. Also, the next file to be opened would get
    the stream's descriptor, so that a child process would write its messages into that file.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # open until the end


def drop_unwritable() -> None:
    """Redirect unwritable streams to /dev/null: flushing one at exit would change the exit code to 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
