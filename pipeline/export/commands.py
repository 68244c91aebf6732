"""Compose the commands that repeat a training or a search from its recorded options; a Python call where none can."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from models.config import ModelConfig
from pipeline.config import NOT_COMPUTED, SearchConfig, TrainConfig, config_id, resolve
from pipeline.errors import option_name
from pipeline.text.downloads import is_address, public
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, search_options

SEARCH_OPTIONS = [each for each in fields(SearchConfig) if each.metadata and not each.metadata.get("python_only")]


def text_option(training: RecordedTraining) -> str:
    """The value of --corpus that names the text: the name of a known text, an address, or a file without its folder."""
    text = training.configuration["text"]
    name, source = text["name"], text["source"]
    if name in KNOWN_TEXTS:
        return str(name)
    return public(source) if is_address(source) else PurePath(source).name


def train_command(training: RecordedTraining) -> str:
    """The ``tmlm train`` command that repeats a training; a call of ``pipeline.api`` if it had options of that only."""
    model, train = training.configuration["model"], training.configuration["train"]
    changed = _changed({**model, **train})
    of_command = {name: value for name, (value, python_only) in changed.items() if not python_only}
    repeated, how = resolve(of_command, training.configuration["text"]["train_chars"])
    if config_id(repeated, how, "") == config_id(ModelConfig(**model), TrainConfig(**train), ""):
        return _command("train", {**_text_options(training), **of_command})
    options = {**_text_options(training), **{name: value for name, (value, _) in changed.items()}}
    call = f"api.train({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    return f"python -c {shlex.quote(f'from pipeline import api; {call}')}"


def search_command(search: RecordedRun, training: RecordedTraining) -> str:
    """The ``tmlm search`` command that repeats a study, to which ``training`` belongs, with its non-default options."""
    options = {"study_name": search.study, **_text_options(training), **_given(search_options(search))}
    return _command("search", options)


def _text_options(training: RecordedTraining) -> dict[str, Any]:
    alphabet = training.configuration["corpus"]["alphabet"]
    return {"corpus": text_option(training), **({"alphabet": alphabet} if alphabet != "letters" else {})}


def _changed(recorded: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """The recorded options of a training that a preset decides, and the others with non-default values.

    With each, whether it is an option in Python only. ``budget_seconds`` is left out, as it was converted to
    --budget-chars.
    """
    changed = {}
    for field in (*fields(ModelConfig), *fields(TrainConfig)):
        value, is_preset = recorded.get(field.name), field.metadata.get("preset") and field.name not in NOT_COMPUTED
        if field.metadata and value is not None and (is_preset or value != field.default):
            changed[field.name] = value, bool(field.metadata.get("python_only"))
    changed.pop("budget_seconds", None)
    return changed


def _given(params: Mapping[str, str]) -> dict[str, str]:
    """The options of a search with non-default values, from its recorded parameters."""
    values = {field.name: (params.get(field.name, ""), str(field.default)) for field in SEARCH_OPTIONS}
    return {name: value for name, (value, default) in values.items() if value not in ("", default)}


def _command(name: str, options: Mapping[str, Any]) -> str:
    return " ".join(["tmlm", name, *_words(options)])


def _words(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield option_name(name)
        yield shlex.quote(("on" if value else "off") if isinstance(value, bool) else str(value))
