"""The group of commands: one sentence and an exit code for whatever ends a command early."""

import errno
import os
import re
import sys
from contextlib import suppress
from textwrap import shorten
from typing import Any

import click

from models.config import ConfigError
from pipeline.cli.options import Utf8Command
from pipeline.errors import InputError, TmlmError, is_out_of_memory, message_of, option_name, reason_of
from pipeline.support import signals

UNDER_MLFLOW = "MLFLOW_RUN_ID"  # set by mlflow run: a run is there, so also what is else only printed is recorded


def printable(text: str) -> str:
    """The text with what could steer a terminal (escape sequences and the like) written out, as JSON writes it."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)


class Failure(click.ClickException):
    """One sentence on standard error and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(printable(message))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class


class Lab(click.Group):
    """The group of commands: turns what a user can act on into one sentence and the exit code that goes with it.

    Under ``mlflow run``, whatever ends a command before it has taken up its run is left with the run as its tag
    ``failure``; from there on, ``tracked_run`` does so.
    """

    command_class = Utf8Command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TmlmError as error:
            leave_reason(ctx, message_of(error))
            raise Failure(message_of(error), error.exit_code) from error
        except ConfigError as error:
            message = message_of(error, error.with_names(option_name))
            leave_reason(ctx, message)
            raise Failure(message, InputError.exit_code) from error
        except click.ClickException as error:
            leave_reason(ctx, error.format_message())
            raise
        except click.exceptions.Exit:
            raise
        except ModuleNotFoundError as error:
            message = (
                f"{sys.executable} has no {error.name}: activate the project's environment, or see docs/install.md"
            )
            leave_reason(ctx, message)
            raise Failure(message, 1) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # nobody reads on (| head): click ends without a word
                raise
            leave_reason(ctx, reason_of(error))
            raise Failure(reason_of(error), 1) from error
        except (KeyboardInterrupt, SystemExit) as stop:
            if signum := signals.signal_of(stop):
                click.echo(f"Stopped by {signals.name_of(signum)}.", err=True)
                leave_signal(signals.name_of(signum))
                ctx.exit(signals.exit_code(signum))
            raise
        except Exception as error:
            if is_out_of_memory(error):
                message = _short_of_memory(error)
                leave_reason(ctx, message)
                raise Failure(message, 1) from error
            leave_reason(ctx, f"{type(error).__name__}: {message_of(error)}")
            raise


def _short_of_memory(error: Exception) -> str:
    """What to do where memory could not be had, and what was asked for, if the error says it."""
    asked = " ".join(message_of(error).split())
    where = f" ({shorten(asked, 200)})" if asked else ""
    return f"out of memory{where}: use a smaller text, model or --batch-size, or end other programs"


def leave_reason(ctx: click.Context, reason: str) -> None:
    """Under ``mlflow run``, a command that fails before it has taken up its run leaves the reason with it."""
    if run_id := os.environ.get(UNDER_MLFLOW):
        try:
            from pipeline.tracking import runs

            runs.tag_failure(run_id, ctx.invoked_subcommand or "", reason)
        except Exception as error:  # whatever it is, the reason itself is still to be told
            click.echo(f"The reason could not be left with the run {run_id}: {printable(str(error))}", err=True)


def leave_signal(signal: str) -> None:
    """The same of a command that was stopped: by a process of its own, since this one has to end within seconds."""
    if run_id := os.environ.get(UNDER_MLFLOW):
        from pipeline.tracking import final_status

        final_status.leave_behind(run_id, "KILLED", f"stopped by {signal}")


def say(line: str) -> None:
    """What a person may want to know meanwhile, on standard error, above the progress bar if there is one."""
    from pipeline.support.progress import write_line

    write_line(printable(line))


def messages_to_stderr() -> None:
    """Our own messages, warnings and worse, go to standard error as they are."""
    import logging

    class StandardError(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                say(self.format(record))
            except Exception:  # as the handlers of the standard library do
                self.handleError(record)

    handler = StandardError()
    logger = logging.getLogger("pipeline")
    logger.handlers, logger.propagate = [handler], False


def open_closed_streams() -> None:
    """Open /dev/null for each standard stream that was closed (``2>&-``).

    Python has None there, which libraries do not expect, and the next file that is opened would take its number: what
    a child process says would be written into that file.
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
    """Send what could not be written, which was reported, to /dev/null: at exit, Python would fail on it with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
