"""Compose the commands that repeat a training or a search from its recorded options; a Python call where none can."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import PurePath
from typing import Any

from pipeline.config import DECLARED, NOT_COMPUTED, SHAPE, SHAPES, SearchConfig
from pipeline.errors import option_name, without_secrets
from pipeline.text.downloads import is_address
from pipeline.text.sources import KNOWN_TEXTS, usual_alphabet
from pipeline.tracking.recorded import RecordedRun, RecordedTraining


def text_option(training: RecordedTraining) -> str:
    """The value of --corpus that names the text: the name of a known text, an address, or a file without its folder."""
    text = training.configuration["text"]
    name, source = text["name"], text["source"]
    if name in KNOWN_TEXTS:
        return str(name)
    return without_secrets(source) if is_address(source) else PurePath(source).name


def train_command(training: RecordedTraining) -> str:
    """The ``tmlm train`` command that repeats a training; a call of ``pipeline.api`` if it had options of that only."""
    model, train = training.configs
    values = {**asdict(model), **asdict(train)}
    unusual = {name for name in (*SHAPE, *NOT_COMPUTED) if values[name] != DECLARED[name].default}
    given = {*SHAPES[train.preset], *unusual, *training.chosen}
    options = {**_text_options(training), **{name: value for name, value in values.items() if name in given}}

    of_python = {name for name in given if DECLARED[name].metadata["python_only"]}
    if of_python <= {*NOT_COMPUTED}:
        return _command("train", {name: value for name, value in options.items() if name not in of_python})
    call = f"api.train({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    return f"python -c {shlex.quote(f'from pipeline import api; {call}')}"


def search_command(search: RecordedRun, training: RecordedTraining) -> str:
    """The ``tmlm search`` command that repeats a study, to which ``training`` belongs, with its non-default options."""
    own = changed_options(search)
    own.pop("minutes", None)  # of the first command; the trials are those of all
    return _command("search", {"study_name": search.study, **_text_options(training), **own})


def changed_options(search: RecordedRun, python_only: bool = False) -> dict[str, str]:
    """The options of a search that differ from their defaults: those of its command, or those of Python only."""
    recorded = search.options
    return {
        field.name: recorded[field.name]
        for field in fields(SearchConfig)
        if field.metadata and field.metadata.get("python_only", False) == python_only
        if recorded.get(field.name, "") not in ("", "auto", str(field.default))
    }


def _text_options(training: RecordedTraining) -> dict[str, Any]:
    alphabet = training.configuration["corpus"]["alphabet"]
    is_usual = alphabet == usual_alphabet(training.configuration["text"]["name"])
    return {"corpus": text_option(training), **({} if is_usual else {"alphabet": alphabet})}


def _command(name: str, options: Mapping[str, Any]) -> str:
    words = ["tmlm", name]
    for option, value in options.items():
        said = ("off", "on")[value] if isinstance(value, bool) else str(value)
        words += [option_name(option), shlex.quote(said)]
    return " ".join(words)
