"""The rules that all commands share: auto, flags with values, underscores, choices."""

from dataclasses import dataclass
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from models.config import option, setting
from pipeline.cli.main import cli
from pipeline.cli.options import LabCommand, flag, options_of, with_dashes


@dataclass(frozen=True)
class Config:
    hidden_size: int = option(128, help="Units.")
    learning_rate: float = option(0.1, help="Rate.", preset=True)
    epochs: int | None = option(None, help="Passes.", preset=True)
    cell: Literal["rnn", "gru"] = option("rnn", help="Cell.", preset=True)
    clip: float = setting(1.0, help="In Python.")


def parse(*args: str) -> Any:
    """What the command is called with, or exit code and output."""
    seen: dict[str, Any] = {}

    @click.command(cls=LabCommand, context_settings={"token_normalize_func": with_dashes})
    @click.argument("model", default="")
    @options_of(Config)
    @flag("--force", "Again.")
    @click.option("--json", "as_json", is_flag=True)
    def command(**options: Any) -> None:
        seen.update(options)

    result = CliRunner().invoke(command, list(args))
    return seen if result.exit_code == 0 else (result.exit_code, result.output)


def test_auto_and_nothing_mean_that_the_preset_decides():
    for value in ("auto", ""):
        got = parse("--learning-rate", value, "--epochs", value, "--cell", value)
        assert (got["learning_rate"], got["epochs"], got["cell"]) == (None, None, None)
    assert (parse()["learning_rate"], parse()["hidden_size"]) == (None, 128)


def test_anything_else_is_a_value_of_the_fields_type():
    got = parse("--learning_rate", "1e-3", "--epochs", "7", "--cell", "gru", "--hidden_size=32")
    assert (got["learning_rate"], got["epochs"], got["cell"], got["hidden_size"]) == (0.001, 7, "gru", 32)


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--learning-rate", "abc"], "'abc' is not a valid float"),
        (["--cell", "lstm"], "'lstm' is not one of 'rnn', 'gru'"),
        (["--hidden-size", "auto"], "'auto' is not a valid integer"),
        (["m", "--force", "maybe"], "unexpected extra argument (maybe)"),
        (["m\udcff"], "is not UTF-8"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(args, part):
    code, output = parse(*args)
    assert code == 2
    assert part in output


@pytest.mark.parametrize("name", ["--json", "--force"])
@pytest.mark.parametrize(("value", "expected"), [([], True), (["true"], True), (["FALSE"], False), ([""], False)])
def test_a_flag_may_be_followed_by_its_value(name, value, expected):
    """As ``mlflow run -P json=true`` passes it; before the argument and behind it."""
    got = parse("MODEL", name, *value)
    assert got == parse(name, *value, "MODEL")
    assert not value or got == parse(f"{name}={value[0]}", "MODEL")
    assert (got["as_json"] or got["force"], got["model"]) == (expected, "MODEL")


def test_the_help_lists_options_only_with_the_type_beside_auto():
    shown = CliRunner().invoke(click.command(cls=LabCommand)(options_of(Config)(lambda **options: None)), ["--help"])
    first = {words[0]: words[1:2] for line in shown.output.splitlines() if (words := line.split())}
    assert (first["--epochs"], first["--cell"]) == (["[auto|INTEGER]"], ["[auto|rnn|gru]"])


def test_there_are_few_options():
    commands = [*cli.commands.values()]
    leaves = [
        leaf for each in commands for leaf in (each.commands.values() if isinstance(each, click.Group) else [each])
    ]
    assert sum(isinstance(parameter, click.Option) for leaf in leaves for parameter in leaf.params) <= 145
    assert len(CliRunner().invoke(cli, ["train", "--help"]).stdout.splitlines()) <= 100  # two screens
