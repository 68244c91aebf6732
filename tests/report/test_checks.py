"""What --check compares figures with: a faithful training is within the bands of d2l, another one is not."""

from dataclasses import replace
from math import exp, log, sqrt
from typing import Any

import pytest

from pipeline.report import checks
from pipeline.report.checks import LEVEL, band, compared_epochs, counts_in_words, refusal
from pipeline.report.reproduction import JudgedTraining
from tests.report.alterations import each, with_runs
from tests.report.reproductions import reproduction, training

# --- bands -----------------------------------------------------------------------------------------------------------


def test_a_band_is_the_prediction_interval_of_students_t():
    """Five logarithms with mean 2 and standard deviation 0.1; t of four degrees of freedom at 0.9995 is 8.610."""
    logs = [2 + 0.1 * sqrt(4 / 2) * sign for sign in (-1, 0, 0, 0, 1)]
    low, high = band([[9.9, exp(each)] for each in logs], 2)
    reach = 8.6103 * 0.1 * sqrt(1.2)
    assert (log(low), log(high)) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)
    assert compared_epochs([[9.9, 8.8]], 2) == ()  # one curve makes no band


@pytest.mark.parametrize("wrong", [5, 50])
def test_an_epoch_outside_is_seen_wherever_it_is_and_the_chance_is_shared_among_all(wrong):
    """What is just inside the band of a single comparison's level is within; what is beyond the shared one is not."""
    id, epochs = "gru-scratch-1x8", (5, 10, 20, 50)
    curves = [(8.0 * 1.01**number,) * 50 for number in range(5)]
    theirs = [JudgedTraining("", seed, 50, curve, curve) for seed, curve in enumerate(curves)]
    alone, shared = (band(curves, wrong, level)[1] for level in (LEVEL, LEVEL / len(epochs)))
    assert shared > 1.02 * alone
    for value, is_met in ((1.01 * alone, True), (1.01 * shared, False)):
        val = [8.16] * 50
        val[wrong - 1] = value
        (train, made) = perplexities_of(id, [8.16] * 50, val, d2l=lambda reported: theirs)
        assert (train.is_met, made.is_met, made.epochs) == (True, is_met, epochs)
        assert f"{value:.3f} after epoch {wrong} (" in made.said


# --- what is compared with them --------------------------------------------------------------------------------------


def perplexities_of(id: str, train: list[float], val: list[float], planned: int = 50, **d2l: Any) -> list[checks.Check]:
    """The checks of the perplexities of one training with these curves."""
    found = reproduction(seeds=0)
    run = replace(training(found[id].reported, 6.0, 7.0), train=tuple(train), val=tuple(val), epochs_planned=planned)
    return [check for check in checks.checks(with_runs(found, id, (run,)), **d2l) if check.kind in ("train", "val")]


@pytest.mark.parametrize(
    ("changed", "named"),
    [("lstm-torch-2x32", "lstm-torch-2x32"), ("gru-scratch-1x32", "gru-torch-1x128")],  # the known error's own figure
)
def test_another_complexity_is_refused(changed, named):
    found = reproduction(seeds=0)
    size = found[changed].complexity
    wrong = each(lambda one: replace(one, complexity=replace(size, report_macs=size.report_macs + 10_000)), changed)
    assert refusal(checks.checks(wrong(found))).startswith(f"--check is not met by 1 of 18 figures: {named}")


@pytest.mark.parametrize(("parameters", "is_met"), [(6_780, True), (6_876, False)])  # 6,876 with torch.nn's two biases
def test_what_was_trained_is_compared_with_its_shape_where_no_size_is_printed(parameters, is_met):
    found = reproduction(seeds=0)
    run = replace(training(found["gru-scratch-1x32"].reported, 5.7, 6.7), trained_parameters=parameters)
    found = with_runs(found, "gru-scratch-1x32", (run,))
    (size,) = [check for check in checks.checks(found) if check.kind == "trained"]
    assert (size.is_met, size.said.partition(": ")[2]) == (
        is_met,
        f"{parameters:,} parameters trained, 6,780 by its shape",
    )


def test_what_is_met_compared_early_or_blind_is_counted_and_named():
    made = checks.checks(reproduction(seeds=1))
    figures, earlier, blind = counts_in_words(made)
    assert figures.startswith("Of 46 figures ")  # 16 sizes that were printed right, two curves of fifteen trainings
    assert "gru-torch-8x32 6 of 100" in earlier
    assert blind.endswith("gru-torch-2x128, gru-torch-8x32, lstm-torch-2x128 and lstm-torch-8x32.")
    assert {check.is_met for check in made if check.configuration == "lstm-scratch-1x1024"} == {None}
