"""What a reproduction's runs have come to, from the record alone: no training and no text is needed."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models.complexity import measure
from pipeline.config import STOPPED_BY_TIME, resolve
from pipeline.errors import InputError
from pipeline.report.reproduction import Configuration, PromptInText, RecordedTraining, Reproduction, TextFacts
from pipeline.report.table import Reported, Table
from pipeline.tracking import links, records
from pipeline.tracking.records import NestedTraining

STAGE = "reproduce"

TEXT_FILE, TABLE_FILE, COMMANDS_FILE = "text.json", "reported.json", "commands.json"

LATEST = "latest."  # before an option's name: the tag with what the last command asked for

OPTIONS = {  # that decide what is trained, with their defaults
    "only": "*",
    "epochs": "None",
    "seeds": "1",
    "max_seconds": "0",
    "against": "",
    "quick": "False",
}

CURVE_METRICS = {  # of a recorded training -> the metric
    "train": "perplexity/train",
    "val": "perplexity/val",
    "train_pooled": "perplexity_pooled/train",
    "val_pooled": "perplexity_pooled/val",
}

SECONDS_METRIC = "training/seconds"

Shape = tuple[str, str, int, int]  # implementation, cell, layers, hidden size

Key = tuple[str, Shape, int]  # role, shape, seed


def shape_of(model: Mapping[str, Any]) -> Shape:
    """What tells one configuration of a table from another, of a ModelConfig's fields."""
    return model["implementation"], model["cell"], model["num_layers"], model["hidden_size"]


def by_key(trainings: Iterable[NestedTraining]) -> dict[Key, NestedTraining]:
    """The trainings by role, shape and seed; of several of one, the one that has come furthest, else the latest."""
    found: dict[Key, NestedTraining] = {}
    for each in trainings:
        if not each.configuration:
            continue
        key = each.tags.get("role", ""), shape_of(each.configuration["model"]), each.configuration["train"]["seed"]
        before = found.get(key)
        if before is None or len(each.curves[CURVE_METRICS["val"]]) >= len(before.curves[CURVE_METRICS["val"]]):
            found[key] = each
    return found


def recorded_commands(run_id: str) -> tuple[list[dict[str, Any]], bool]:
    """The options of each different command that made a reproduction, in their order, and whether these are all.

    Of one that was recorded before commands were kept, they are the first and the last, and what lies between them is
    not known.
    """
    if kept := records.read_json(run_id, COMMANDS_FILE):
        return kept["commands"], kept["are_all"]
    data = records.run_of(run_id).data
    last = {name: data.tags[LATEST + name] for name in OPTIONS if LATEST + name in data.tags}
    if not last:  # it is just being begun
        return [], True
    first = {name: data.params[name].strip("'") for name in OPTIONS if name in data.params}  # `mlflow run` quotes them
    return [first] * (command_of(first) != command_of(last)) + [last], False


def command_of(options: Mapping[str, Any]) -> str:
    """The command that asks for what the options, typed or as text, ask to be trained; of a file, its name alone."""
    words = ["mlflow", "run", ".", "--env-manager", "local", "-e", "reproduce"]
    for name, default in OPTIONS.items():
        value = str(options.get(name, default))
        if name == "against":
            value = Path(value).name
        elif name in ("seeds", "max_seconds"):
            value = f"{float(value):.10g}"
        if value.lower() not in (default.lower(), "auto"):
            words += ["-P", f"{name}={value.lower() if name == 'quick' else value}"]
    return shlex.join(words)


def recorded_reproduction(run_id: str, against: Table | None = None) -> Reproduction:
    """Read a reproduction from its runs; compared with ``against``, or the table that it was made for.

    InputError for a run that is none.
    """
    run = records.run_of(run_id)
    tags = run.data.tags
    if tags.get("stage") != STAGE:
        raise InputError(f"--run-id {run_id} is no reproduction; give the run id that `tmlm reproduce` printed")
    records.check_is_here(run, f"--run-id {run_id}")
    kept, text = (records.read_json(run_id, name) for name in (TABLE_FILE, TEXT_FILE))
    if not (kept and text):
        raise InputError(f"--run-id {run_id} has not come far enough to report on; run `tmlm reproduce` again")
    trainings = by_key(records.nested_trainings(run_id, [*CURVE_METRICS.values(), SECONDS_METRIC]))
    facts = _text_of(text)
    commands, are_all = recorded_commands(run_id)
    shown = [command_of(options) for options in commands]
    if against is not None and against.digest != kept["digest"]:
        shown.append(f"mlflow run . --env-manager local -e report -P {shlex.quote(f'against={against.name}')}")
    return Reproduction(
        run_id=run_id,
        table=against or _table_from(kept),
        quick=tags["reproduction.quick"] == "true",
        text=facts,
        configurations=tuple(
            _configuration(row, trainings, facts.vocab_size) for row in (against or _table_from(kept)).rows
        ),
        environment=_environment_of(run_id),
        link=links.link_to_run(run_id),
        commands=tuple(dict.fromkeys(shown)),
        commands_known=are_all,
    )


def _table_from(kept: Mapping[str, Any]) -> Table:
    rows = [
        Reported(**{**row, "figures": tuple(row["figures"]), "samples": tuple(map(tuple, row["samples"]))})
        for row in kept["rows"]
    ]
    return Table(kept["name"], kept["digest"], tuple(rows))


def _text_of(kept: Mapping[str, Any]) -> TextFacts:
    orders = {name: {int(n): value for n, value in kept[name].items()} for name in ("val_perplexities", "windowed")}
    return TextFacts(**{**kept, **orders, "prompts": tuple(PromptInText(**each) for each in kept["prompts"])})


def _environment_of(run_id: str) -> dict[str, str]:
    found = records.read_yaml(run_id, "environment.yaml")
    names = ("python", "platform", "machine", "cpu_count")
    packages = {name: str(version) for name, version in found.get("packages", {}).items()}
    return {name.replace("_", " "): str(found[name]) for name in names if name in found} | packages


def _configuration(row: Reported, trainings: Mapping[Key, NestedTraining], vocab_size: int) -> Configuration:
    own, stream = (
        sorted(
            (each for (role, shape, _), each in trainings.items() if role == wanted and shape == shape_of(model)),
            key=lambda each: each.configuration["train"]["seed"],
        )
        for wanted, model in (("report", row.model), ("stream", {**row.model, "implementation": "torch"}))
    )
    model, _ = resolve({"preset": "report", **row.model})
    return Configuration(
        reported=row,
        complexity=measure(model, vocab_size),
        runs=tuple(_training(each) for each in own if each.curves[CURVE_METRICS["val"]]),
        stream=tuple(_training(each) for each in stream if each.curves[CURVE_METRICS["val"]]),
    )


def _training(found: NestedTraining) -> RecordedTraining:
    """A recorded training; where it was not told how many epochs, one that has ended by itself has all of them."""
    curves = {name: found.curves[metric] for name, metric in CURVE_METRICS.items()}
    pooled = {f"{name}_pooled": curves[f"{name}_pooled"] or curves[name] for name in ("train", "val")}
    epochs, stopped = len(curves["val"]), found.tags.get("stopped", "")
    epochs_planned = found.configuration["train"]["epochs"]
    if epochs_planned is None:
        ended = found.status == "FINISHED" and not stopped.startswith(STOPPED_BY_TIME)
        epochs_planned = epochs if ended else epochs + 1
    epochs_planned = max(epochs, epochs_planned)  # --epochs may ask for more than the protocol
    seconds = found.curves[SECONDS_METRIC]
    return RecordedTraining(
        run_id=found.run_id,
        seed=found.configuration["train"]["seed"],
        status=found.status,
        epochs_planned=epochs_planned,
        **{**curves, **pooled},
        train_seconds=seconds[-1] if seconds else 0.0,
        test_perplexity=found.result.get("test_perplexity"),
        texts=tuple(found.result.get("last_texts", {}).items()),
        stopped=stopped,
        precision=found.result.get("precision", found.configuration["train"]["precision"]),
        trained_parameters=found.result.get("trained_parameters"),
    )
