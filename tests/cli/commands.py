"""Call a command in this process."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from pipeline.cli.main import cli
from pipeline.tracking import recorded


def run(*args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; raises what the command does not handle."""
    result = CliRunner().invoke(cli, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def succeeds(line: str) -> str:
    """Run a command as printed, without the path of its program; returns what it prints."""
    code, printed, error = run(*shlex.split(line.partition("tmlm ")[2]))
    assert code == 0, error
    return printed


def assert_described(run_id: str) -> None:
    """Assert that the command in a run's description writes the text beside it."""
    note = recorded.run_of(run_id).tag("mlflow.note.content")
    ((command, text),) = re.findall(r"`(tmlm sample .+)` writes “(.+)\.\.\.”", note)
    assert succeeds(command).startswith(re.sub(r"&#?\w+;|\\", "", text))


def examples(command: str) -> list[list[str]]:
    """The words of each example of a command in docs/usage.md, without ``tmlm``."""
    usage = (Path(__file__).resolve().parents[2] / "docs" / "usage.md").read_text()
    return [shlex.split(words) for words in re.findall(rf"^\$ tmlm ({command} .+)", usage, re.MULTILINE)]
