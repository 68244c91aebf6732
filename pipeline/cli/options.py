"""click options made from the fields of the configuration dataclasses, and the small rules that all commands share.

Fields that a preset decides take ``auto`` (the default) or nothing for "as the preset says". The flags that
MLproject has take an optional value (``--force``, ``--force true``), since MLflow passes every parameter with one.
Names may be written with ``_``.
"""

import os
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Auto(click.ParamType):
    """A value, or ``auto`` (or nothing) for "as the preset says", which is None."""

    def __init__(self, inner: click.ParamType) -> None:
        self.inner = inner
        self.name = f"auto|{inner.name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value in ("auto", "", None) else self.inner.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[auto|{self.inner.get_metavar(param, ctx) or self.inner.name}]".replace("[auto|[", "[auto|").replace(
            "]]", "]"
        )

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        auto = [click.shell_completion.CompletionItem("auto")] if "auto".startswith(incomplete) else []
        return auto + self.inner.shell_complete(ctx, param, incomplete)


def click_type(annotation: Any) -> click.ParamType:
    """The click type of a field's annotation; X | None is X."""
    if get_origin(annotation) is types.UnionType:
        (annotation,) = (inner for inner in get_args(annotation) if inner is not types.NoneType)
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return {str: click.STRING, int: click.INT, float: click.FLOAT}[annotation]


def option_of(config: type, field: Field) -> Callable[[Command], Command]:
    """The option of one field."""
    inner = click_type(get_type_hints(config)[field.name])
    automatic = field.metadata["preset"]
    assert field.default is not MISSING
    return click.option(
        f"--{field.name.replace('_', '-')}",
        field.name,
        type=Auto(inner) if automatic else inner,
        default="auto" if automatic else field.default,
        show_default=True,
        help=field.metadata["help"],
    )


def option_fields(config: type) -> list[Field]:
    """The fields of a dataclass that are options, which ``models.config.option`` has made."""
    return [field for field in fields(config) if field.metadata]


def options_of(*configs: type, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """The options of all fields (or those named) of the dataclasses, in their order."""

    def add(command: Command) -> Command:
        chosen = [(config, f) for config in configs for f in option_fields(config) if not only or f.name in only]
        for config, field in reversed(chosen):
            command = option_of(config, field)(command)
        return command

    return add


def given(options: Mapping[str, Any], *configs: type) -> dict[str, Any]:
    """Those of the dataclasses' options whose value is another than when nothing is said."""
    silent = {f.name: None if f.metadata["preset"] else f.default for config in configs for f in option_fields(config)}
    return {name: value for name, value in options.items() if name in silent and value != silent[name]}


def is_given(name: str) -> bool:
    """Whether the user has typed the option of the command that runs now."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


class TrueOrFalse(click.types.BoolParamType):
    """A boolean; an empty text, which MLflow may pass, is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value != "" and super().convert(value, param, ctx)


def switch(name: str, help: str, variable: str = "") -> Callable[[Command], Command]:
    """A flag that also takes a value: --force, --force true, --force false. For a command without arguments."""
    return click.option(
        name,
        variable or name.removeprefix("--").replace("-", "_"),
        is_flag=False,
        flag_value="true",
        type=TrueOrFalse(),
        default=False,
        metavar="[true|false]",
        help=help,
    )


def with_dashes(name: str) -> str:
    """The name of an option as click has it: MLflow and many users write it with ``_``."""
    return name.replace("_", "-")


def _undecoded(arg: str) -> str:
    """Why an argument could not be decoded: it is not UTF-8, or it is and Python was not to read it so."""
    try:
        text = os.fsencode(arg).decode("utf-8")
    except UnicodeError:
        return f"{arg!r} is not UTF-8; write it, or name the file, in UTF-8."
    return f"{text!r} can't be read under this locale, which has no UTF-8; set PYTHONUTF8=1, or LC_ALL=C.UTF-8."


class Utf8Command(click.Command):
    """A command that refuses words that are not UTF-8."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            if re.search(r"[\ud800-\udfff]", arg):  # how Python reads bytes that are no characters
                raise click.UsageError(_undecoded(arg), ctx)
        return super().parse_args(ctx, args)
