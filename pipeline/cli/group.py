"""The group of all commands, which turns errors into one sentence on standard error and an exit code."""

import errno
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from textwrap import shorten
from typing import Any

import click

from models.config import ConfigError
from pipeline.config import UNDER_MLFLOW
from pipeline.errors import InputError, TmlmError, is_out_of_memory, message_of, option_name, reason_of, without_secrets
from pipeline.support import signals
from pipeline.support.wording import printable


class Lab(click.Group):
    """Turn errors that a user can act on into one sentence and an exit code.

    Under ``mlflow run``, an error that occurs before the command has taken over its run is recorded in the run's tag
    ``failure``; after that, ``tracked_run`` records it.
    """

    sections: Mapping[str, Sequence[click.Command]] = {}  # the commands by heading, in the order of the help

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                limit = formatter.width - 6 - width
                formatter.write_dl([(str(each.name).ljust(width), each.get_short_help_str(limit)) for each in commands])

    def invoke(self, ctx: click.Context) -> Any:
        signals.advise("")
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except click.ClickException as error:
            error.message = without_secrets(error.message)  # type: ignore[misc]  # click declares it final
            record_failure(error.format_message())
            raise
        except (KeyboardInterrupt, SystemExit) as stop:
            if signum := signals.signal_of(stop):
                click.echo(printable(signals.stopped_by(signum)), err=True)
                ctx.exit(signals.exit_code(signum))
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # `| head`: click exits silently
                raise
            message, code = explained(error)
            message = without_secrets(message)
            record_failure(message)
            if code is None:
                raise
            failure = click.ClickException(printable(message))
            failure.exit_code = code  # type: ignore[misc]  # click declares it for the class
            raise failure from error


def explained(error: Exception) -> tuple[str, int | None]:
    """An error in words, and its exit code; None for a mistake of ours, whose traceback is shown."""
    if isinstance(error, TmlmError):
        return message_of(error), error.exit_code
    if isinstance(error, ConfigError):
        return message_of(error, error.with_names(option_name)), InputError.exit_code
    if isinstance(error, ModuleNotFoundError):
        return f"{sys.executable} has no {error.name}: activate the project's environment, or see docs/install.md", 1
    if isinstance(error, OSError):
        return reason_of(error), 1
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of pathlib and platformdirs
        return "the home folder can't be found: set HOME, or give a path without ~", InputError.exit_code
    if is_out_of_memory(error):
        request = shorten(" ".join(message_of(error).split()), 200)
        detail = f" ({request})" if request else ""
        return f"out of memory{detail}: use a smaller text, model or --batch-size, or close other programs", 1
    store = sys.modules.get("pipeline.tracking.store")  # a command that has not imported it meets no error of it
    if store and isinstance(error, store.REFUSALS):
        return f"the store failed: {store.store_reason(error)}", 1
    return f"{type(error).__name__}: {message_of(error)}", None


def record_failure(reason: str) -> None:
    """Under ``mlflow run``, record why a command failed that has not taken over its run yet."""
    if run_id := os.environ.get(UNDER_MLFLOW):
        try:
            from pipeline.tracking import runs

            runs.tag_failure(run_id, reason)
        except Exception as error:  # the reason itself must still be printed
            said = without_secrets(f"The reason could not be recorded in the run {run_id}: {error}")
            click.echo(printable(said), err=True)


def say(line: str) -> None:
    """Print a message on standard error, above the progress bar if there is one."""
    from pipeline.support.progress import write_line

    write_line(printable(line))


def show(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print the result of a command on standard output."""
    click.echo(printable(json.dumps(result, ensure_ascii=False) if as_json else text))


def command_line(name: str, options: Mapping[str, Any]) -> str:
    """The command of this name with these options, without secrets; those that are off or empty are left out."""
    from pipeline.tracking.program import command

    words = [command(), name]
    for option, value in options.items():
        if value not in (None, False, ""):
            words.append(option_name(option) + f" {shlex.quote(str(value))}" * (value is not True))
    return without_secrets(" ".join(words))


def resumed_by(name: str, options: Mapping[str, Any]) -> None:
    """Have Ctrl-C followed by the command that resumes this one, whose options these are."""
    signals.advise(f"The same command resumes it: {command_line(name, options)}")


class StandardError(logging.Handler):
    """Print messages of this project, such as what a reference names, on standard error, unformatted."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def drop_unwritable() -> None:
    """Redirect unwritable streams to /dev/null: flushing one at exit would change the exit code to 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
