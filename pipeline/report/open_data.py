"""The open data of a reproduction: a JSON object with the values of every seed.

Trainings have one of three roles: "report", by the report's protocol; "same-text", of the same shape by this project's
recipe on the protocol's characters; and "d2l", the recorded trainings by d2l itself, whose curves are in
data/d2l_curves.csv. If several configurations share a shape, its "same-text" trainings are listed under each of them.
Perplexities are per character: only those of the same role, split and average can be compared.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.report.checks import Check
from pipeline.report.reproduction import Configuration, Curve, JudgedTraining, Reproduction, d2l_trainings
from pipeline.report.statements.verdicts import Verdict, Word, tally, words_counted
from pipeline.report.table import REPORT_NAME

CURVES: Mapping[Curve, str] = {  # curve -> column, which names the split and the average
    "train": "train_book",
    "val": "val_book",
    "train_pooled": "train_pooled",
    "val_pooled": "val_pooled",
}


def _after(run: JudgedTraining, epoch: int) -> dict[str, float | None]:
    """The perplexities after an epoch; None for a curve that the training does not have."""
    curves = {column: getattr(run, curve) for curve, column in CURVES.items()}
    return {column: curve[epoch - 1] if curve else None for column, curve in curves.items()}


def result(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> dict[str, Any]:
    """The reproduction as one JSON object: sizes, the values of every seed, verdicts, their tally, and checks."""
    text = reproduction.text
    found = {
        "run_id": reproduction.run_id,
        "table": REPORT_NAME,
        "quick": reproduction.quick,
        "corpus": text.corpus,
        "environment": reproduction.environment,
        "commands": reproduction.commands,
        "configurations": list(map(_configuration, reproduction.configurations)),
        "ngrams": {"val": text.val_perplexities, "val_windowed": text.windowed, "gated": text.gated},
        "verdicts": {
            each.statement.id: {"verdict": each.word, **({"part": each.part} if each.word == Word.IN_PART else {})}
            for each in verdicts
        },
        "tally": {"all": words_counted(verdicts), **{by: tally(verdicts, by) for by in ("kind", "basis")}},
        "checks": [asdict(check) for check in checks],
    }
    return dict(json.loads(json.dumps(found), parse_constant=lambda infinity: None))  # which JSON lacks


def _configuration(configuration: Configuration) -> dict[str, Any]:
    """The means of a configuration over its seeds, None without a training, and its trainings by role."""
    size, whole = configuration.complexity, configuration.whole
    roles = {**configuration.by_role, "d2l": d2l_trainings(configuration.reported)}
    return {
        "id": configuration.id,
        "report_parameters": size.report_parameters,
        "report_macs": size.report_macs,
        "macs_per_char": size.macs_per_char,
        "seeds": len(whole),
        "epochs": min((run.epochs for run in whole), default=0),
        "train_perplexity": configuration.last("train") if whole else None,
        "val_perplexity": configuration.last("val") if whole else None,
        "best_val_perplexity": configuration.best() if whole else None,
        "trainings": [_training(role, run) for role, runs in roles.items() for run in runs if run.epochs],
    }


def _training(role: str, run: JudgedTraining) -> dict[str, Any]:
    """A training: its first, best (by validation, book average) and last epoch, and the values known at its end."""
    return {
        "role": role,
        "seed": run.seed,
        "epochs": run.epochs,
        "epochs_planned": run.epochs_planned,
        "first": {"epoch": 1, **_after(run, 1), "train_first_half_book": run.first_half},
        "best": {"epoch": run.best_epoch, **_after(run, run.best_epoch)},
        "last": {"epoch": run.epochs, **_after(run, run.epochs)},
        "val_windowed": run.windowed,
        "test_perplexity": run.test_perplexity,
        "train_seconds": run.train_seconds if role != "d2l" else None,
        "precision": run.precision,
        "trained_parameters": run.trained_parameters,
        "texts": dict(run.texts),
    }
