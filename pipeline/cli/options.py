"""click options made from the fields of the configuration dataclasses, and the parsing rules that all commands share.

Options whose default depends on the preset have the default ``auto``; an empty value means the same. A flag may have
a value (``--force true``), because MLflow passes every parameter with one. A name may have ``_`` for ``-``.
"""

import os
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from functools import partial
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from models.config import DEFAULT_LENGTH, LONGEST_TEXT
from pipeline.cli.completion import FILE, TEXT
from pipeline.config import UNDER_MLFLOW, CorpusConfig, resolve

HEADINGS = {"Corpus": "Text", "Train": "Training", "Reproduce": "Reproduction"}  # in the help; else the name itself
COMPLETED = {"corpus": TEXT, "space": FILE}  # by field name

Command = TypeVar("Command", bound=Callable[..., Any])
TRUE, FALSE = {"true", "yes", "1", "on"}, {"false", "no", "0", "off", ""}  # what may follow a flag


class GroupedOption(click.Option):
    """An option that the help lists under the heading ``group``."""

    def __init__(self, *args: Any, group: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.group = group


option = partial(click.option, cls=GroupedOption)


class Auto(click.ParamType):
    """A value of type ``inner``, or ``auto`` (or an empty string), which converts to None: the preset's value."""

    def __init__(self, inner: click.ParamType) -> None:
        self.inner = inner
        self.name = f"auto|{inner.name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value in ("auto", "", None) else self.inner.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        inner = self.inner.get_metavar(param, ctx) or self.inner.name.upper()
        return f"[auto|{inner.removeprefix('[').removesuffix(']')}]"


def click_type(annotation: Any, choices: Iterable[str] = ()) -> click.ParamType:
    """The click type for a field's annotation, or its choices; ``X | None`` has the type of X."""
    if choices:
        return click.Choice(tuple(choices))
    if get_origin(annotation) is types.UnionType:
        (annotation,) = (inner for inner in get_args(annotation) if inner is not types.NoneType)
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return {str: click.STRING, int: click.INT, float: click.FLOAT}[annotation]


def option_fields(config: type) -> list[Field]:
    """The fields of a dataclass that are options of the command line."""
    return [field for field in fields(config) if field.metadata and not field.metadata.get("python_only")]


def options_of(*configs: type, only: tuple[str, ...] = (), with_preset: bool = True) -> Callable[[Command], Command]:
    """Add options for all fields of the dataclasses, or for those named in ``only``, in the order of the fields.

    ``with_preset``: the command has a preset, so that the options that depend on it default to ``auto``.
    """

    def add(command: Command) -> Command:
        chosen = [(config, f) for config in configs for f in option_fields(config) if not only or f.name in only]
        for config, field in reversed(chosen):
            name = config.__name__.removesuffix("Config")
            inner = COMPLETED.get(field.name) or click_type(field.type, field.metadata["choices"])
            automatic = with_preset and field.metadata["preset"]
            command = option(
                f"--{field.name.replace('_', '-')}",
                field.name,
                type=Auto(inner) if automatic else inner,
                group=field.metadata["group"] or HEADINGS.get(name, name),
                default="auto" if automatic else field.default,
                show_default=field.default != "",
                help=field.metadata["help"],
            )(command)
        return command

    return add


def flag(name: str, help: str, group: str = "") -> Callable[[Command], Command]:
    return option(name, is_flag=True, default=False, group=group, help=help)


json_flag = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")

length_option = click.option(
    "--length",
    type=click.IntRange(0, LONGEST_TEXT),
    default=DEFAULT_LENGTH,
    show_default=True,
    help="Characters to generate after each prompt.",
)


def text_options(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that name a text, but for what is auto."""
    return {name: value for name, value in chosen.items() if name in ("corpus", "alphabet") and value != "auto"}


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the current command that were given on the command line.

    Under ``mlflow run``, which gives every option that MLproject lists, those that differ from their defaults.
    """
    context = click.get_current_context()
    if UNDER_MLFLOW not in os.environ:
        typed = click.core.ParameterSource.COMMANDLINE
        return {name: value for name, value in options.items() if context.get_parameter_source(name) is typed}
    defaults = {param.name: param.default for param in context.command.params}
    return {name: value for name, value in options.items() if value not in (None, defaults[name])}


def checked(options: Mapping[str, Any]) -> tuple[CorpusConfig, dict[str, Any]]:
    """Check the options of a training; return the text's configuration and all other options."""
    others = {name: value for name, value in options.items() if name not in ("corpus", "alphabet")}
    resolve(others)  # only to check: the defaults depend on the length of the text, which is not loaded yet
    return CorpusConfig(options["corpus"], options["alphabet"]), others


def with_dashes(name: str) -> str:
    """An option's name with ``-`` for ``_``."""
    return name.replace("_", "-")


class LabCommand(click.Command):
    """A command whose flags may be followed by true or false, and whose help lists the options by heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by group, those without one last. The docstring of a command explains its arguments."""
        by_group: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                by_group.setdefault(getattr(parameter, "group", ""), []).append(record)
        plain = by_group.pop("", [])
        for heading, records in [*by_group.items(), ("Other options" if by_group else "Options", plain)]:
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is not UTF-8; read ``--force true`` and ``--force=true`` as ``--force``; leave out false ones."""
        flags = {name for each in self.params if isinstance(each, click.Option) and each.is_flag for name in each.opts}
        plain: list[str] = []
        for arg in args:
            if re.search(r"[\ud800-\udfff]", arg):  # surrogates: how Python represents bytes that it can't decode
                raise click.UsageError(f"{arg!r} is not UTF-8; if it is, set PYTHONUTF8=1", ctx)
            is_flag = with_dashes(arg.partition("=")[0]) in flags
            for word in arg.split("=", 1) if is_flag else [arg]:
                if not (plain and with_dashes(plain[-1]) in flags and word.lower() in TRUE | FALSE):
                    plain.append(word)
                elif word.lower() in FALSE:
                    plain.pop()
        return super().parse_args(ctx, plain)
