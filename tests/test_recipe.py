"""The golden figures of RECIPE: each training computes what tests/data/golden.csv says, on any x86-64 processor."""

import platform
from typing import Any

import pytest

from pipeline.text.corpus import Corpus
from tests.golden import CASES, computed, configured, figures_and_band, made_up_text, recipe, rows

of_x86_64 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the golden figures are of x86-64 processors"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return made_up_text(tmp_path_factory.mktemp("text"))


def golden(case: str) -> Any:
    figures, band = figures_and_band(case)
    return pytest.approx(figures, rel=band)


@of_x86_64
@pytest.mark.parametrize("case", CASES)
def test_a_training_computes_what_its_recipe_says(corpus, case):
    figures = computed(corpus, CASES[case])
    assert figures == golden(case), (
        f"it computes {', '.join(f'{value:.6g}' for value in figures)} now: undo that, or raise RECIPE in "
        "pipeline/config.py for the presets that it changes and run `python -m tests.golden PROCESSOR`"
    )


@of_x86_64
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_one_percent_of_the_learning_rate_leaves_the_band_as_do_another_seed_and_dropout(corpus, case):
    model, train = configured(corpus, CASES[case])
    changes: list[dict[str, Any]] = [{"learning_rate": 1.01 * train.learning_rate}, {"seed": 1}]
    if model.dropout or model.recurrent_dropout or model.output_dropout:
        changes.append({"recurrent_dropout": model.recurrent_dropout + 0.01})
    for change in changes:
        assert computed(corpus, {**CASES[case], **change}) != golden(case), change


def test_the_table_is_of_the_present_recipe():
    assert {(row["case"], row["recipe"]) for row in rows()} == {(case, recipe(case)) for case in CASES}, (
        "after RECIPE was raised, run `python -m tests.golden PROCESSOR`"
    )
