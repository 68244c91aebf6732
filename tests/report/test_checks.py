"""What --check holds figures against: a faithful training is within the bands of d2l, another one is not."""

import fcntl
import os
import shlex
from dataclasses import replace
from itertools import product
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from models.language_model import LanguageModel
from pipeline.config import CorpusConfig
from pipeline.report import checks
from pipeline.report.checks import LEVEL, Split, band, compared_epochs, counts_in_words, refusal, shape_parameters
from pipeline.report.reproduction import RecordedTraining, Reproduction
from pipeline.report.table import chosen_rows, configurations_of, report_rows
from pipeline.stages.reproduce import QUICK_EPOCHS
from pipeline.text.corpus import load_corpus
from pipeline.training.loop import Training
from tests.benchmarks import record_d2l
from tests.checkout import ROOT
from tests.report.reproductions import TEXT, reproduction, training

SPLITS: tuple[Split, ...] = ("train", "val")
LAST_COMMON = {  # of how many epochs all five seeds of d2l have been recorded, where it is not the protocol's number
    "gru-torch-1x128": 15,
    "lstm-torch-1x128": 15,
    "gru-torch-2x128": 8,
    "lstm-torch-2x128": 8,
    "gru-torch-8x32": 6,
    "lstm-torch-8x32": 6,
}


# --- bands -----------------------------------------------------------------------------------------------------------


def test_a_band_is_the_prediction_interval_of_students_t():
    """Five logarithms with mean 2 and standard deviation 0.1; t of four degrees of freedom at 0.9995 is 8.610."""
    logs = [2 + 0.1 * sqrt(4 / 2) * sign for sign in (-1, 0, 0, 0, 1)]
    found = band([[9.9, exp(each)] for each in logs], 2)
    reach = 8.6103 * 0.1 * sqrt(1.2)
    assert (log(found.low), log(found.high)) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)


@pytest.mark.parametrize("level", [0.2, 0.05])
def test_a_band_misses_one_more_curve_as_often_as_its_level_says(level):
    """Six draws of one distribution: five for the band, and the sixth. The tolerance is four standard errors."""
    draws = 2_000
    drawn = np.exp(np.random.default_rng(0).normal(2.0, 0.1, (draws, 6)))
    missed = [six[5] not in band([[value] for value in six[:5]], 1, level) for six in drawn.tolist()]
    assert np.mean(missed) == pytest.approx(level, abs=4 * sqrt(level * (1 - level) / draws))


def test_each_of_d2ls_seeds_is_within_the_bands_of_the_others():
    """Nearly 600 figures, each at its share of LEVEL, of which less than one is expected to be outside."""
    outside = []
    for (id, curves), split in product(checks.d2l_curves().items(), SPLITS):
        epochs = compared_epochs(curves[split], 100)
        for number, curve in enumerate(curves[split]):
            others = [*curves[split][:number], *curves[split][number + 1 :]]
            outside += [
                (id, split, number, epoch)
                for epoch in epochs
                if curve[epoch - 1] not in band(others, epoch, LEVEL / len(epochs))
            ]
    assert outside == []


def test_a_training_is_compared_early_and_at_the_last_epoch_that_all_have():
    curves = [[9.0] * 60, [9.1] * 30]
    assert compared_epochs(curves, 50) == (5, 10, 20, 30)
    assert compared_epochs(curves, 20) == (5, 10, 20)
    assert compared_epochs(curves, 3) == (3,)
    assert compared_epochs(curves, 0) == ()


def test_one_curve_makes_no_band():
    assert compared_epochs([[9.0] * 10], 10) == ()


@pytest.mark.parametrize("wrong", [5, 10, 20, 50])
def test_an_epoch_outside_is_seen_wherever_it_is_and_the_chance_is_shared_among_all(monkeypatch, wrong):
    """What is just inside the band of a single comparison's level is within; what is beyond the shared one is not."""
    id, epochs = "gru-scratch-1x8", (5, 10, 20, 50)
    curves = [[8.0 * 1.01**number] * 50 for number in range(5)]
    monkeypatch.setattr(checks, "d2l_curves", lambda: {id: {"train": curves, "val": curves}})
    alone, shared = (band(curves, wrong, level) for level in (LEVEL, LEVEL / len(epochs)))
    assert shared.high > 1.02 * alone.high
    for value, is_met in ((1.01 * alone.high, True), (1.01 * shared.high, False)):
        val = [8.16] * 50
        val[wrong - 1] = value
        (train, made) = perplexities_of(id, [8.16] * 50, val)
        assert (train.is_met, made.is_met) == (True, is_met)
        assert made.epochs == epochs
        assert ("outside" in made.said) is not is_met
        assert f"{value:.3f} after epoch {wrong} (" in made.said
        assert "compared after 5, 10, 20, 50 of 50 epochs" in made.said


# --- what was recorded of d2l ----------------------------------------------------------------------------------------


def test_every_configuration_but_the_two_of_1024_units_has_five_seeds_of_d2l_to_its_end_or_so_far():
    recorded = checks.d2l_curves()
    for row in report_rows():
        if row.hidden_size < 1024:
            _, config = configurations_of(row, 0)
            for split in SPLITS:
                lengths = [len(curve) for curve in recorded[row.id][split]]
                assert (len(lengths), min(lengths)) == (5, LAST_COMMON.get(row.id, config.epochs)), row.id


def test_the_documents_say_how_many_configurations_are_held_to_their_end():
    page = " ".join((ROOT / "docs" / "reproduction.md").read_text().split())
    assert f"last epoch for {15 - len(LAST_COMMON)} of the 15 configurations" in page


def test_the_commands_that_the_script_names_make_the_trainings_that_are_recorded():
    made: dict[tuple[str, int], int] = {}
    commands = [line for line in (record_d2l.__doc__ or "").splitlines() if "-m tests.benchmarks.record_d2l" in line]
    for command in commands:
        for id, seed, epochs, _, _ in record_d2l.asked(shlex.split(command)[3:]):
            made[id, seed] = max(epochs, made.get((id, seed), 0))
    assert made == {key: int(row["epochs"]) for key, row in record_d2l.rows().items()}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the table that record_d2l writes to."""
    path = tmp_path / "d2l_curves.csv"
    path.write_bytes(record_d2l.TABLE.read_bytes())
    monkeypatch.setattr(record_d2l, "TABLE", path)
    return path


def row_of(id: str, seed: int, epochs: int) -> dict[str, str]:
    perplexities = " ".join(["9.5"] * epochs)
    return dict(zip(record_d2l.COLUMNS, (id, str(seed), str(epochs), "7", perplexities, perplexities), strict=True))


def test_a_longer_recording_takes_the_place_of_a_shorter_one_of_its_seed_alone(table):
    before, epochs = table.read_text().splitlines(), record_d2l.recorded("gru-torch-8x32", 2)
    record_d2l.keep(row_of("gru-torch-8x32", 2, epochs + 1))
    after = table.read_text().splitlines()
    assert len(after) == len(before)
    (changed,) = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed[0].startswith(f"gru-torch-8x32,2,{epochs},")
    assert changed[1].startswith(f"gru-torch-8x32,2,{epochs + 1},7,9.5 9.5")
    assert record_d2l.recorded("gru-torch-8x32", 2) == epochs + 1


@pytest.mark.parametrize("fewer", [0, 1])
def test_a_recording_that_is_no_longer_changes_nothing(table, fewer):
    before = table.read_bytes()
    record_d2l.keep(row_of("gru-torch-8x32", 2, record_d2l.recorded("gru-torch-8x32", 2) - fewer))
    assert table.read_bytes() == before


def test_another_seed_is_added_to_what_is_there_and_to_nothing(table):
    before = table.read_text().splitlines()
    record_d2l.keep(row_of("gru-torch-8x32", 10, 3))
    added = set(table.read_text().splitlines()) - set(before)
    assert [line.split(",")[:4] for line in added] == [["gru-torch-8x32", "10", "3", "7"]]
    table.unlink()
    record_d2l.keep(row_of("gru-torch-8x32", 0, 3))
    assert record_d2l.recorded("gru-torch-8x32", 0) == 3
    assert len(table.read_text().splitlines()) == 2


def test_nobody_else_gets_at_the_table_while_a_row_is_added(table):
    with record_d2l.locked():
        folder = os.open(table.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


# --- what is held against them ---------------------------------------------------------------------------------------


def with_run(found: Reproduction, id: str, run: RecordedTraining) -> Reproduction:
    changed = [replace(each, runs=(run,)) if each.id == id else each for each in found.configurations]
    return replace(found, configurations=tuple(changed))


def perplexities_of(id: str, train: list[float], val: list[float], planned: int = 50) -> list[checks.Check]:
    """The checks of the perplexities of one training with these curves."""
    found = reproduction(seeds=0)
    run = replace(training(found[id].reported, 6.0, 7.0), train=tuple(train), val=tuple(val), epochs_planned=planned)
    return [check for check in checks.checks(with_run(found, id, run)) if check.kind in SPLITS]


def test_complexity_is_as_printed_but_for_the_known_error():
    found = reproduction(seeds=0)
    made = {check.name: check for check in checks.checks(found)}
    assert len(made) == 18  # nine print-outs of two figures
    errors = {name for name, check in made.items() if check.is_met is not True}
    assert errors == {"gru-torch-1x128 parameters", "gru-torch-1x128 MMac"}
    assert all(made[name].is_met is None and "a known error" in made[name].said for name in errors)
    assert refusal(tuple(made.values())) == ""


@pytest.mark.parametrize(
    ("changed", "named"),
    [("lstm-torch-2x32", "lstm-torch-2x32"), ("gru-scratch-1x32", "gru-torch-1x128")],  # the known error's own figure
)
def test_another_complexity_is_refused(changed, named):
    found = reproduction(seeds=0)
    wrong = [
        replace(each, complexity=replace(each.complexity, report_macs=each.complexity.report_macs + 10_000))
        if each.id == changed
        else each
        for each in found.configurations
    ]
    said = refusal(checks.checks(replace(found, configurations=tuple(wrong))))
    assert said.startswith("--check is not met by 1 of 18 figures: ")
    assert named in said


@pytest.mark.parametrize("row", report_rows(), ids=lambda row: row.id)
def test_a_shapes_parameters_are_those_of_the_model_that_is_trained(row):
    model, _ = configurations_of(row, 0)
    with torch.device("meta"):
        trained = LanguageModel(model, TEXT.vocab_size)
    assert shape_parameters(reproduction(seeds=0)[row.id]) == sum(each.numel() for each in trained.parameters())


@pytest.mark.parametrize(("parameters", "is_met"), [(6_780, True), (6_876, False)])  # 6,876 with torch.nn's two biases
def test_what_was_trained_is_held_against_its_shape_where_no_size_is_printed(parameters, is_met):
    found = reproduction(seeds=0)
    run = replace(training(found["gru-scratch-1x32"].reported, 5.7, 6.7), trained_parameters=parameters)
    made = checks.checks(with_run(found, "gru-scratch-1x32", run))
    (size,) = [check for check in made if check.kind == "trained"]
    assert size.is_met is is_met
    assert size.said == f"gru-scratch-1x32, seed 0: {parameters:,} parameters trained, 6,780 by its shape"


def test_which_trainings_are_held_to_their_end_is_said():
    found = reproduction(seeds=1)
    (figures, reach) = counts_in_words(checks.checks(found))
    assert figures.startswith("Of 46 figures ")  # 16 sizes that were printed right, two curves of fifteen trainings
    to_the_end, earlier, nowhere = reach.split("; for ")
    whole = [row.id for row in report_rows() if row.hidden_size < 1024 and row.id not in LAST_COMMON]
    assert to_the_end == (
        f"Perplexities are held against d2l's for {len(whole)} up to the last epoch ({', '.join(whole)})"
    )
    assert earlier.startswith(f"{len(LAST_COMMON)} up to an earlier one only (")
    for id, epochs in LAST_COMMON.items():
        assert f"{id} {epochs} of {50 if 'scratch' in id else 100}" in earlier
    assert nowhere.startswith("2 nowhere, for want of d2l's (gru-scratch-1x1024, lstm-scratch-1x1024). ")
    assert nowhere.endswith(
        "a wrong learning rate may go unseen: gru-torch-2x128, gru-torch-8x32, lstm-torch-2x128, lstm-torch-8x32."
    )


def test_a_training_that_was_cut_short_is_not_held_to_its_end():
    made = perplexities_of("gru-scratch-1x8", [17.0] * 20, [17.0] * 20)
    assert "for 1 up to an earlier one only (gru-scratch-1x8 20 of 50)." in counts_in_words(made)[1]
    made = perplexities_of("gru-scratch-1x8", [17.0] * 20, [17.0] * 20, planned=20)
    assert "for 1 up to the last epoch (gru-scratch-1x8)." in counts_in_words(made)[1]


def test_without_a_training_nothing_is_said_of_how_far_they_are_held():
    assert len(counts_in_words(checks.checks(reproduction(seeds=0)))) == 1


def recorded(training: Training, seed: int) -> RecordedTraining:
    points = training.history
    return RecordedTraining(
        run_id="",
        seed=seed,
        status="FINISHED",
        epochs_planned=len(points),
        train=tuple(point.train_perplexity for point in points),
        val=tuple(point.val_perplexity for point in points),
        train_pooled=(),
        val_pooled=(),
        train_seconds=1.0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id", "factor", "is_met"),
    [
        ("lstm-scratch-1x8", 1, True),
        ("lstm-scratch-1x8", 0.5, False),
        ("lstm-scratch-1x8", 2, False),
        ("gru-scratch-1x32", 1, True),
        ("gru-scratch-1x32", 0.5, False),
        ("gru-scratch-1x32", 2, False),
        ("gru-torch-2x32", 0.5, False),  # what others miss, the first lines of checks.py say
    ],
)
def test_a_wrong_learning_rate_falls_outside_and_the_right_one_inside(book, id, factor, is_met):
    corpus = load_corpus(CorpusConfig(str(book)))
    row = chosen_rows(id)[0]
    model, config = configurations_of(row, 11)
    config = replace(config, learning_rate=factor * config.learning_rate)
    ids, spans = torch.from_numpy(corpus.ids), corpus.spans("report")
    torch.manual_seed(11)
    trained = Training(
        LanguageModel(model, len(corpus.vocabulary)), ids[slice(*spans["train"])], ids[slice(*spans["val"])], config
    )
    while len(trained.history) < QUICK_EPOCHS:
        trained.run_epoch()
    made = checks.checks(with_run(reproduction(seeds=0), id, recorded(trained, 11)))
    assert all(check.is_met for check in made if check.kind in SPLITS) is is_met
    assert bool(refusal(made)) is not is_met


def test_a_configuration_that_d2l_has_not_trained_is_held_against_nothing():
    id, found = "lstm-scratch-1x1024", reproduction(seeds=0)
    made = checks.checks(with_run(found, id, training(found[id].reported, 6.0, 7.0)))
    (train, val) = (check for check in made if check.kind in SPLITS)
    assert (train.is_met, val.is_met) == (None, None)
    assert "no training perplexities of d2l" in train.said
