"""Call a command in this process."""

from click.testing import CliRunner

from pipeline.cli.main import cli


def run(*args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; raises what the command does not handle."""
    result = CliRunner().invoke(cli, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
