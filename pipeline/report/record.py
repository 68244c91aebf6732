"""Read a reproduction from its recorded runs; needs neither the text nor the models."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models.complexity import measure
from pipeline.config import STOPPED_BY_TIME, resolve
from pipeline.errors import InputError
from pipeline.report.reproduction import Configuration, PromptInText, RecordedTraining, Reproduction, TextFacts
from pipeline.report.statements.table import LISTS, Statement, report_statements
from pipeline.report.table import Reported, report_rows
from pipeline.tracking import recorded
from pipeline.tracking.ui import links

STAGE = "reproduce"

TEXT_FILE, COMMANDS_FILE = "text.json", "commands.json"

STATEMENTS_FILE = "statements.json"  # the rows of --statements

LATEST = "latest."  # prefix of the tags that hold the options of the last command

OPTIONS = {  # options that decide what is trained or compared, with their defaults
    "only": "*",
    "epochs": "None",
    "seeds": "1",
    "precision": "fp32",
    "max_seconds": "0",
    "statements": "",
    "quick": "False",
}

CURVE_METRICS = {  # field of RecordedTraining -> metric
    "train": "perplexity/train",
    "val": "perplexity/val",
    "train_pooled": "perplexity_pooled/train",
    "val_pooled": "perplexity_pooled/val",
}

FIRST_HALF_METRIC = "perplexity_first_half/train"

SECONDS_METRIC = "training/seconds"

BY_ORDER = ("val_perplexities", "windowed", "test_perplexities")  # fields of TextFacts

Shape = tuple[str, str, int, int]  # implementation, cell, layers, hidden size

Key = tuple[str, Shape, int]  # role, shape, seed


def shape_of(model: Mapping[str, Any]) -> Shape:
    """The fields of a ModelConfig that distinguish a table's configurations."""
    return model["implementation"], model["cell"], model["num_layers"], model["hidden_size"]


def by_key(trainings: Iterable[recorded.RecordedTraining]) -> dict[Key, recorded.RecordedTraining]:
    """Index trainings by role, shape and seed; of duplicates, keep the latest of those with the most epochs."""
    furthest: dict[Key, recorded.RecordedTraining] = {}
    for training in trainings:
        if not (configuration := training.configuration):
            continue
        key = training.tags.get("role", ""), shape_of(configuration["model"]), configuration["train"]["seed"]
        before = furthest.get(key)
        if before is None or epochs_of(training) >= epochs_of(before):
            furthest[key] = training
    return furthest


def epochs_of(training: recorded.RecordedTraining) -> int:
    """The number of epochs that a training has recorded."""
    return len(training.curves[CURVE_METRICS["val"]])


def recorded_commands(run_id: str) -> list[dict[str, Any]]:
    """The options of each distinct command of a reproduction, in order."""
    commands: list[dict[str, Any]] = recorded.read_json(run_id, COMMANDS_FILE).get("commands", [])
    return commands


def command_of(options: Mapping[str, Any], stage: str = STAGE) -> str:
    """The shell command for these options (typed values or strings), with files by name, without their folder."""
    words = ["mlflow", "run", ".", "--env-manager", "local", "-e", stage]
    for name, default in OPTIONS.items():
        value = str(options.get(name, default))
        if name == "statements":
            value = Path(value).name
        elif name in ("seeds", "max_seconds"):
            value = f"{float(value):.10g}"
        if value.lower() not in (default.lower(), "auto"):
            words += ["-P", f"{name}={value.lower() if name == 'quick' else value}"]
    return shlex.join(words)


def recorded_reproduction(run_id: str) -> Reproduction:
    """Read a reproduction from its runs, with the statements of its --statements or else the report's.

    Raises InputError if the run is not a reproduction, or has not recorded the facts of its text yet.
    """
    run = recorded.run_of(run_id)
    if run.stage != STAGE:
        raise InputError(f"--run-id {run_id} is no reproduction; give the run id that `tmlm reproduce` printed")
    if not (text := recorded.read_json(run_id, TEXT_FILE)):
        raise InputError(f"--run-id {run_id} has not come far enough to report on; run `tmlm reproduce` again")
    trainings = by_key(recorded.nested_trainings(run_id))
    facts = _text_of(text)
    shown = [command_of(options) for options in recorded_commands(run_id)]
    own = recorded.read_json(run_id, STATEMENTS_FILE).get("rows", [])
    return Reproduction(
        run_id=run_id,
        quick=run.tag("reproduction.quick") == "true",
        text=facts,
        configurations=tuple(_configuration(row, trainings, facts.vocab_size) for row in report_rows()),
        environment=_environment_of(run_id),
        link=links.link_to_run(run_id),
        commands=tuple(dict.fromkeys(shown)),
        statements=tuple(map(_statement_from, own)) or report_statements(),
    )


def _statement_from(row: Mapping[str, Any]) -> Statement:
    return Statement(**{**row, **{name: tuple(row[name]) for name in LISTS}})


def _text_of(kept: Mapping[str, Any]) -> TextFacts:
    by_order = {name: {int(n): value for n, value in kept[name].items()} for name in BY_ORDER if name in kept}
    costs = {
        text: {int(n): tuple(means) for n, means in of_text.items()}
        for text, of_text in kept.get("block_costs", {}).items()
    }
    prompts, words = tuple(PromptInText(**each) for each in kept["prompts"]), tuple(kept.get("words", ()))
    return TextFacts(**{**kept, **by_order, "block_costs": costs, "prompts": prompts, "words": words})


def _environment_of(run_id: str) -> dict[str, str]:
    environment = recorded.read_yaml(run_id, "environment.yaml")
    names = ("python", "platform", "machine", "cpu_count")
    packages = {name: str(version) for name, version in environment.get("packages", {}).items()}
    return {name.replace("_", " "): str(environment[name]) for name in names if name in environment} | packages


def _configuration(row: Reported, trainings: Mapping[Key, recorded.RecordedTraining], vocab_size: int) -> Configuration:
    def of_role(wanted: str, model: Mapping[str, Any]) -> tuple[RecordedTraining, ...]:
        same = (each for (role, shape, _), each in trainings.items() if (role, shape) == (wanted, shape_of(model)))
        runs = (_training(each) for each in same if epochs_of(each))
        return tuple(sorted(runs, key=lambda run: run.seed))

    in_torch = {**row.model, "implementation": "torch"}
    model, _ = resolve({"preset": "report", **row.model})
    return Configuration(
        reported=row,
        complexity=measure(model, vocab_size),
        runs=of_role("report", row.model),
        stream=of_role("stream", in_torch),
        same_text=of_role("same-text", in_torch),
    )


def _training(training: recorded.RecordedTraining) -> RecordedTraining:
    """Convert a nested run; if the number of epochs was not planned, a training that finished by itself is complete."""
    curves = {name: tuple(training.curves[metric].values()) for name, metric in CURVE_METRICS.items()}
    pooled = {f"{name}_pooled": curves[f"{name}_pooled"] or curves[name] for name in ("train", "val")}
    epochs, stopped = len(curves["val"]), training.tags.get("stopped", "")
    epochs_planned = training.configuration["train"]["epochs"]
    if epochs_planned is None:
        ended = training.state == "finished" and not stopped.startswith(STOPPED_BY_TIME)
        epochs_planned = epochs if ended else epochs + 1
    epochs_planned = max(epochs, epochs_planned)  # a later --epochs may have extended it
    seconds, first_half = (tuple(training.curves[name].values()) for name in (SECONDS_METRIC, FIRST_HALF_METRIC))
    costs = recorded.read_json(training.id, recorded.COSTS_FILE) if training.result else {}
    return RecordedTraining(
        run_id=training.id,
        seed=training.seed,
        status=training.state,
        epochs_planned=epochs_planned,
        **{**curves, **pooled},
        train_seconds=seconds[-1] if seconds else 0.0,
        first_half=first_half[0] if len(first_half) == epochs else None,  # else an older version began it
        seconds=seconds if len(seconds) == epochs else (),
        test_perplexity=training.result.get("test_perplexity"),
        windowed=training.result.get("val_perplexity_windowed"),
        block_costs={text: tuple(means) for text, means in costs.items()},
        texts=tuple(training.result.get("last_texts", {}).items()),
        stopped=stopped,
        precision=training.result.get("precision", training.configuration["train"]["precision"]),
        trained_parameters=training.result.get("trained_parameters"),
        residual=training.configuration["model"].get("residual", False),
    )
