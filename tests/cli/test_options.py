"""The rules that all commands share: auto, flags with values, underscores, choices."""

from dataclasses import dataclass
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from models.config import option
from pipeline.cli.main import cli
from pipeline.cli.options import LabCommand, options_of, switch, with_dashes


@dataclass(frozen=True)
class Config:
    hidden_size: int = option(128, help="Units.")
    learning_rate: float = option(0.1, help="Rate.", preset=True)
    epochs: int | None = option(None, help="Passes.", preset=True)
    cell: Literal["rnn", "gru"] = option("rnn", help="Cell.", preset=True)
    residual: bool = option(False, help="Add.", preset=True)
    corpus: str = option("auto", help="Text.")


def parse(*args: str) -> Any:
    """What the command is called with, or the usage error's message."""
    seen: dict[str, Any] = {}

    @click.command(cls=LabCommand, context_settings={"token_normalize_func": with_dashes})
    @click.argument("model", default="")
    @options_of(Config)
    @switch("--force", "Again.")
    @click.option("--json", "as_json", is_flag=True)
    def command(**options: Any) -> None:
        seen.update(options)

    result = CliRunner().invoke(command, list(args))
    return seen if result.exit_code == 0 else (result.exit_code, result.output)


def test_auto_and_nothing_mean_that_the_preset_decides():
    for value in ("auto", ""):
        got = parse("--learning-rate", value, "--epochs", value, "--cell", value)
        assert (got["learning_rate"], got["epochs"], got["cell"]) == (None, None, None)
    assert parse()["learning_rate"] is None
    assert parse()["hidden_size"] == 128


def test_anything_else_is_a_value_of_the_fields_type():
    got = parse("--learning-rate", "1e-3", "--epochs", "7", "--cell", "gru", "--hidden-size", "32")
    assert (got["learning_rate"], got["epochs"], got["cell"], got["hidden_size"]) == (0.001, 7, "gru", 32)


def test_a_boolean_is_on_or_off_or_as_the_preset_says():
    given = [parse("--residual", word)["residual"] for word in ("on", "off", "auto")]
    assert given == [True, False, None]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--learning-rate", "abc"], "'abc' is not a valid float"),
        (["--epochs", "1.5"], "'1.5' is not a valid integer"),
        (["--cell", "lstm"], "'lstm' is not one of 'rnn', 'gru'"),
        (["--hidden-size", "auto"], "'auto' is not a valid integer"),
        (["--force=maybe"], "'maybe' is not a valid boolean"),
        (["--no-such", "1"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(args, part):
    code, output = parse(*args)
    assert code == 2
    assert part in output


@pytest.mark.parametrize("words", [["--force"], ["--force", "true"], ["--force=true"], ["--force", "1"]])
def test_a_flag_may_be_followed_by_its_value(words):
    assert parse(*words)["force"] is True
    assert parse("MODEL", *words) == {**parse(*words), "model": "MODEL"}


@pytest.mark.parametrize("words", [[], ["--force", "false"], ["--force=false"], ["--force", ""], ["--force", "no"]])
def test_a_flag_may_be_switched_off(words):
    assert parse(*words)["force"] is False


def test_a_flag_without_a_value_does_not_swallow_what_follows_it():
    got = parse("--json", "MODEL", "--force")
    assert (got["as_json"], got["model"], got["force"]) == (True, "MODEL", True)


def test_a_value_that_looks_like_a_flag_stays_a_value():
    code, output = parse("--cell", "--force")
    assert code == 2
    assert "'--force' is not one of" in output


def test_names_may_be_written_with_underscores():
    assert parse("--hidden_size", "3", "--learning_rate=2.5")["learning_rate"] == 2.5


def test_what_follows_a_double_dash_is_left_alone():
    assert parse("--", "--force")["model"] == "--force"


@pytest.mark.parametrize("words", [["--json", "true"], ["--json=true"], ["--json", "1"], ["--json"]])
def test_a_flag_of_a_command_with_arguments_may_be_followed_by_its_value(words):
    """As ``mlflow run -P json=true`` passes it; before the argument and behind it."""
    assert parse("MODEL", *words) == parse(*words, "MODEL") == {**parse("MODEL"), "as_json": True}


@pytest.mark.parametrize("words", [["--json", "false"], ["--json=FALSE"], ["--json", ""], ["--force", "--json", "no"]])
def test_a_flag_of_a_command_with_arguments_may_be_switched_off(words):
    got = parse("MODEL", *words)
    assert (got["model"], got["as_json"], got["force"]) == ("MODEL", False, "--force" in words)


def test_a_flag_refuses_another_value():
    assert "'maybe' is not a valid boolean" in parse("--json=maybe", "MODEL")[1]


def test_the_value_of_another_option_is_no_flag():
    assert parse("--corpus", "--json", "true")["model"] == "true"
    assert parse("--corpus", "--json", "true")["as_json"] is False


def test_the_help_lists_options_only_with_the_type_beside_auto():
    @click.command(cls=LabCommand)
    @click.argument("model")
    @options_of(Config)
    def command(**options: Any) -> None: ...

    lines = [line.split() for line in CliRunner().invoke(command, ["--help"]).output.splitlines()]
    first = {words[0]: words[1:2] for words in lines if words}
    assert "MODEL" not in first
    assert [first[name] for name in ("--epochs", "--cell", "--residual")] == [
        ["[auto|INTEGER]"], ["[auto|rnn|gru]"], ["[auto|on|off]"]
    ]  # fmt: skip


def test_there_are_few_options():
    commands = [*cli.commands.values()]
    leaves = [
        leaf for each in commands for leaf in (each.commands.values() if isinstance(each, click.Group) else [each])
    ]
    assert sum(isinstance(parameter, click.Option) for leaf in leaves for parameter in leaf.params) <= 123
    assert len(CliRunner().invoke(cli, ["train", "--help"]).stdout.splitlines()) <= 100  # two screens
