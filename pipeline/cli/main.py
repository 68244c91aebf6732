"""The command line: each command reads options, builds configurations, calls one function and prints its result.

Results go to standard output (``--json``: exactly one JSON object), progress and messages to standard error. The
commands' modules import only click and the configurations; each command imports the rest when it runs, so that
``--help`` is fast.
"""

import gc
import io
import logging
import os
import sys
from contextlib import suppress

import click

from pipeline.answer import commands as answer
from pipeline.cli.group import Lab, StandardError, drop_unwritable
from pipeline.cli.options import with_dashes
from pipeline.cluster.commands import cluster, node
from pipeline.config import UNDER_MLFLOW
from pipeline.course import commands as course
from pipeline.errors import reason_of
from pipeline.pages import commands as pages
from pipeline.report import commands as report
from pipeline.runs import commands as runs
from pipeline.search import commands as search
from pipeline.stages import commands as stages
from pipeline.support import signals
from pipeline.support.machine import tune_process
from pipeline.support.temporary import use_own_folder
from pipeline.support.wording import printable


@click.group(
    cls=Lab,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 120,
        "token_normalize_func": with_dashes,
    },
)
@click.version_option(package_name="time-machine-lm")
def cli() -> None:
    """Prepare, train, evaluate and track character-level recurrent language models.

    \b
    tmlm pipeline                          prepare, train, evaluate and sample
    tmlm train --cell gru --hidden-size 64
    tmlm sample latest --prompt "it has"   generate text from the latest model
    tmlm runs                              list the trainings
    tmlm open                              the page of the latest model, which reads and writes
    tmlm ui                                MLflow's UI
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escape characters that the stream can't encode
    logger = logging.getLogger("pipeline")
    logger.handlers, logger.propagate = [StandardError()], False
    logger.setLevel(logging.INFO)


cli.sections = {
    "Train and use a model": (
        *(stages.pipeline, stages.prepare, stages.train, stages.evaluate),
        *(stages.sample, stages.chat, stages.complexity),
    ),
    "Look at what was recorded": (
        *(runs.runs, runs.compare, runs.best, runs.note, runs.open_),
        *(pages.export, runs.push, runs.ui),
    ),
    "Search and report": (search.search, answer.answer, report.reproduce, report.report, course.check),
    "Maintain": (runs.delete, runs.doctor, cluster, node),
}
for section in cli.sections.values():
    for command in section:
        cli.add_command(command)


def watched_parent() -> int | None:
    """The process whose death stops this one: ``mlflow run``, which does not pass SIGTERM on to its child."""
    return os.getppid() if os.environ.get(UNDER_MLFLOW) else None


def main() -> None:
    """Entry point of ``python -m pipeline`` and ``tmlm``."""
    gc.set_threshold(100_000)  # imports make objects by the hundred thousand, which need not be searched for cycles
    tune_process()
    signals.install(watched_parent())
    with suppress(OSError):  # a full disk: a command that needs a file there will say so
        use_own_folder()
    try:
        cli(prog_name="tmlm")
    except OSError as error:  # outside of a command: --help or an error message was written to a full disk
        with suppress(OSError):
            click.echo(f"Error: {printable(reason_of(error))}", err=True)
        sys.exit(1)
    finally:
        drop_unwritable()
        gc.freeze()  # or the interpreter searches a million objects for cycles when it exits, for most of a second
