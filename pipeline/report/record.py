"""Read a reproduction from its recorded runs; needs neither the text nor the models."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from models.complexity import measure
from pipeline.config import REPORT_PROMPTS
from pipeline.errors import InputError
from pipeline.report.counting import READINGS
from pipeline.report.reproduction import Configuration, JudgedTraining, Reproduction, TextFacts
from pipeline.report.table import Reported, configs_of_row, report_rows
from pipeline.results import REPRODUCE
from pipeline.support.records import ListOf, Number, String, maybe, read_as, record
from pipeline.tracking import artifacts, queries, recorded
from pipeline.training.metrics import FIRST_HALF_CURVE, SECONDS_CURVE, TRAIN_CURVE, VAL_CURVE

TEXT_FILE, COMMANDS_FILE = "text.json", "commands.json"
OPTIONS = {"only": "*", "seeds": 1, "precision": "fp32", "quick": False}  # with their defaults
COMMANDS = record(commands=ListOf[record(only=maybe(String), precision=maybe(String))])
ShapeKey = tuple[str, str, int, int]  # implementation, cell, layers, hidden size
TrainingKey = tuple[str, ShapeKey, int]  # role, shape, seed


def text_of(kept: Mapping[str, Any]) -> TextFacts | None:
    """The facts of a text; None without each prompt of the report, or without the same orders in both readings."""
    text = read_as(kept, TextFacts)
    is_whole = (
        text is not None
        and {prompt.prompt for prompt in text.prompts} >= {*REPORT_PROMPTS}
        and 1 in text.windowed.keys() == text.val_perplexities.keys()
        and (not text.gated or text.gated.keys() >= {*READINGS})
    )
    return text if is_whole else None


def shape_key(model: Mapping[str, Any]) -> ShapeKey:
    """The fields of a ModelConfig that distinguish a table's configurations."""
    return model["implementation"], model["cell"], model["num_layers"], model["hidden_size"]


def by_key(trainings: Iterable[recorded.RecordedTraining]) -> dict[TrainingKey, recorded.RecordedTraining]:
    """Index trainings by role, shape and seed; of duplicates, keep the latest of those with the most epochs."""
    furthest_last = sorted((training for training in trainings if training.configuration), key=epochs_of)
    return {(each.tag("role"), shape_key(each.configuration["model"]), each.seed): each for each in furthest_last}


def epochs_of(training: recorded.RecordedTraining) -> int:
    """The number of epochs that a training has recorded."""
    return len(training.curve(VAL_CURVE))


def recorded_commands(run_id: str) -> list[dict[str, Any]]:
    """The options of each distinct command of a reproduction, in order."""
    return list(artifacts.read_json(run_id, COMMANDS_FILE, COMMANDS).get("commands", []))


def command_of(options: Mapping[str, Any]) -> str:
    """The shell command for the options that decide what is trained."""
    words = ["mlflow", "run", ".", "--env-manager", "local", "-e", REPRODUCE]
    for name, default in OPTIONS.items():
        if (value := options.get(name, default)) != default:
            words += ["-P", f"{name}={'true' if value is True else value}"]
    return shlex.join(words)


def recorded_reproduction(run_id: str) -> Reproduction:
    """Read a reproduction from its runs.

    Raises InputError if the run is not a reproduction, or has not recorded the facts of its text yet.
    """
    run = recorded.run_of(run_id)
    if run.stage != REPRODUCE:
        raise InputError(f"--run-id {run_id} is no reproduction; give the run id that `tmlm reproduce` printed")
    if (facts := text_of(artifacts.read_json(run_id, TEXT_FILE))) is None:
        raise InputError(f"--run-id {run_id} has not come far enough to report on; run `tmlm reproduce` again")
    trainings = by_key(queries.nested_trainings(run_id))
    environment = artifacts.read_environment(run_id)
    names = ("python", "platform", "machine", "cpu_count")
    shown = {name: environment[name] for name in names if name in environment} | environment.get("packages", {})
    return Reproduction(
        run_id=run_id,
        quick=run.tag("reproduction.quick") == "true",
        text=facts,
        configurations=tuple(_configuration(row, trainings, facts.vocab_size) for row in report_rows()),
        environment={name.replace("_", " "): str(value) for name, value in shown.items()},
        commands=tuple(dict.fromkeys(map(command_of, recorded_commands(run_id)))),
    )


def _configuration(
    row: Reported, trainings: Mapping[TrainingKey, recorded.RecordedTraining], vocab_size: int
) -> Configuration:
    def of_role(wanted: str, model: Mapping[str, Any]) -> tuple[JudgedTraining, ...]:
        same = (each for (role, shape, _), each in trainings.items() if (role, shape) == (wanted, shape_key(model)))
        return tuple(sorted((_training(each) for each in same if epochs_of(each)), key=lambda run: run.seed))

    return Configuration(
        reported=row,
        complexity=measure(configs_of_row(row, 0)[0], vocab_size),
        runs=of_role("report", row.model),
        same_text=of_role("same-text", {**row.model, "implementation": "torch"}),
    )


def _training(training: recorded.RecordedTraining) -> JudgedTraining:
    """What is judged of a nested run; without a planned number of epochs, one that finished by itself is complete."""
    curves = (TRAIN_CURVE, VAL_CURVE, SECONDS_CURVE, FIRST_HALF_CURVE)
    train, val, seconds, first_half = (tuple(training.curve(curve).values()) for curve in curves)
    epochs, config, result = len(val), training.configuration["train"], training.result
    costs = artifacts.read_json(training.id, artifacts.COSTS_FILE, dict[str, list[Number]]) if result else {}
    return JudgedTraining(
        run_id=training.id,
        seed=training.seed,
        epochs_planned=config.get("epochs") or epochs + (training.state != "finished"),
        train=train,
        val=val,
        train_pooled=tuple(training.pooled(TRAIN_CURVE).values()),
        val_pooled=tuple(training.pooled(VAL_CURVE).values()),
        first_half=first_half[0] if first_half else None,
        train_seconds=seconds[-1] if seconds else 0.0,
        test_perplexity=result.get("test_perplexity"),
        windowed=result.get("val_perplexity_windowed"),
        block_costs=costs,
        texts=tuple((result.get("last_texts") or {}).items()),
        precision=result.get("precision") or config["precision"],
        trained_parameters=result.get("trained_parameters"),
    )
