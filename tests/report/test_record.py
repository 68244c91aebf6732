"""The record of a reproduction: commands, the facts of its text, and its trainings."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from json import dumps, loads
from typing import Any

import pytest

from pipeline.config import ReproduceConfig
from pipeline.report.record import _configuration, by_key, command_of, text_of
from pipeline.report.table import configs_of_row, report_rows
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.metrics import FIRST_HALF_CURVE, POOLED_CURVES, SECONDS_CURVE, TRAIN_CURVE, VAL_CURVE
from tests.made_up import made_up_training
from tests.report.reproductions import TEXT

ROW = report_rows()[0]


def recorded(role: str, first_half: Sequence[float] = (), **result: Any) -> RecordedTraining:
    """A training of the table's first row, after two epochs."""
    model, train = configs_of_row(ROW, 0, role)
    curves = {key: {1: 9.0, 2: 8.0} for key in [*TRAIN_CURVE, VAL_CURVE, *POOLED_CURVES.values(), SECONDS_CURVE]}
    return made_up_training(
        role,
        role,
        status="KILLED",
        tags={"role": role},
        configuration={"model": asdict(model), "train": asdict(train)},
        curves={**curves, FIRST_HALF_CURVE: dict(enumerate(first_half))},
        result=result,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({**asdict(ReproduceConfig(workers=2)), "quick": False, "check": True}, ""),
        ({"only": "*x8,*x32", "seeds": 3, "quick": True}, " -P 'only=*x8,*x32' -P seeds=3 -P quick=true"),
        ({"only": "*x1024", "precision": "bf16"}, " -P 'only=*x1024' -P precision=bf16"),
        ({"seeds": 2, "statements": "theirs.csv"}, " -P seeds=2"),  # an option of earlier versions
    ],
)
def test_a_command_names_what_differs_from_the_defaults(options, words):
    assert command_of(options) == f"mlflow run . --env-manager local -e reproduce{words}"


def test_the_facts_of_a_text_are_read_as_they_were_kept():
    facts = replace(TEXT, block_costs={"val": {4: [2.8, 2.9], 6: [1.6, 1.5]}}, gated={"val": 4.7, "windowed": 4.9})
    kept = loads(dumps(asdict(facts)))
    assert text_of(kept) == facts
    earlier = {name: value for name, value in kept.items() if name not in ("block_costs", "gated")}
    assert text_of(earlier) == replace(facts, block_costs={}, gated={})


@pytest.mark.parametrize("damage", [{"prompts": []}, {"windowed": {"1": 9.0}}, {"gated": {"val": 4.7}}], ids=str)
def test_facts_that_the_page_could_not_show_count_as_missing(damage):
    assert text_of({**loads(dumps(asdict(TEXT))), **damage}) is None


def test_trainings_on_the_reports_text_are_apart_from_those_by_its_protocol():
    found = _configuration(ROW, by_key([recorded("report"), recorded("same-text")]), TEXT.vocab_size)
    assert ([run.run_id for run in found.runs], [run.run_id for run in found.same_text]) == (["report"], ["same-text"])


def test_the_first_point_of_the_book_is_the_first_epochs():
    (run,) = _configuration(ROW, by_key([recorded("report", (22.7, 12.0))]), TEXT.vocab_size).runs
    assert (run.first_half, run.epochs_planned, run.is_whole) == (22.7, 50, False)


def test_a_result_whose_texts_and_precision_are_null_is_read(store):
    trainings = by_key([recorded("report", last_texts=None, precision=None)])
    (run,) = _configuration(ROW, trainings, TEXT.vocab_size).runs
    assert (run.texts, run.precision) == ((), "fp32")
