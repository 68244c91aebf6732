"""The report's errors as corrected and explained: the sentences follow the numbers."""

from dataclasses import replace

import pytest

from pipeline.report.corrections import CORRECTIONS, Correction, corrections
from pipeline.report.explanations import explanations
from pipeline.report.reproduction import Reproduction
from pipeline.report.table import report_rows
from tests.report.alterations import TRAINED, Alter, ends, runs, same_text, sizes, streams, text
from tests.report.reproductions import ENDS, TEXT, reproduction, weighed

FOUND = reproduction()
SAMPLES = FOUND["lstm-torch-2x128"].reported.samples


def corrected(found: Reproduction) -> tuple[Correction, ...]:
    return corrections(weighed(found))


def correction(found: Reproduction, number: int) -> Correction:
    return corrected(found)[number - 1]


ALTERED: dict[int, list[tuple[Alter, str]]] = {  # by correction: what is altered, and words that are there only then
    7: [
        (TRAINED, "The same recipe trains such a network here"),
        (text(train_unigram=None), "lacks the letters' frequencies"),
    ],
    10: [
        (ends(rnn_torch_1x128=(3.0, 40.0)), "for rnn-torch-1x128. Choose"),
        (text(prompts=TEXT.prompts[:1]), "by character: 'it has' (validation, 13,823)."),
    ],
    11: [(sizes("rnn-torch-1x128", 20_224, 10_240_000), "10.24 MMac come to 10,000")],
    12: [
        (ends(gru_torch_2x32=(4.0, 5.0)), "1 of the 17 beats a 4-gram (5.46)"),
        (text(windowed={4: 20.0, 5: 19.0, 6: 18.0}), "17 of the 17 beat a 4-gram (20.00)"),
        (same_text(5.08, 5.1), "2 seeds) the shape of lstm-torch-1x128 has 5.09 in windows and 4.80 reading on."),
        (same_text(5.08), "It is the recipe that loses, not the network."),
    ],
    13: [
        (
            runs("lstm-torch-2x128", lambda run: replace(run, texts=SAMPLES)),
            "3 of 3 of lstm-torch-2x128",
        ),
        (runs("gru-torch-1x128", lambda run: replace(run, first_half=21.7)), "is 21.7 to 21.7 here"),
    ],
}


def words(one: Correction) -> str:
    return f"{one.reported} {one.found} {one.instead}"


def test_there_are_thirteen_corrections_in_the_order_of_their_numbers():
    found = corrected(FOUND)
    assert [one.number for one in found] == list(range(1, 14))
    assert [one.title for one in found] == list(CORRECTIONS)


@pytest.mark.parametrize("number", ALTERED)
def test_a_correction_follows_the_numbers(number):
    before = words(correction(FOUND, number))
    for alter, then in ALTERED[number]:
        assert then not in before
        assert then in words(correction(alter(FOUND), number))


@pytest.mark.parametrize("found", [FOUND, reproduction(1), reproduction(0), reproduction(quick=True), streams()(FOUND)])
def test_every_correction_is_in_whole_sentences(found):
    ids = {row.id for row in report_rows()}
    for one in corrected(found):
        for part in (one.reported, one.found, one.instead):
            assert part.endswith(".")
            assert part[0].isupper() or part[0].isdigit() or part.split()[0] in ids
            assert ".." not in part
            assert "  " not in part


def test_what_is_copied_is_the_curve_and_the_time_and_not_the_size():
    fifth = correction(FOUND, 5)
    assert "All that is said of the curve and time of lstm-torch-8x32 is what is said of gru-torch-8x32." in fifth.found
    assert fifth.instead == "Nothing shows that lstm-torch-8x32 was trained, so its curve and time are no evidence."


def test_a_recipe_that_is_no_better_on_the_same_text_clears_no_network():
    assert "not the network" not in correction(same_text(9.0)(FOUND), 12).instead


def test_the_corrections_have_the_exact_sizes():
    assert "5,952 parameters and 6,324,224 MACs" in correction(FOUND, 1).found
    assert "60,672 parameters and 63,045,632 MACs" in correction(FOUND, 1).found
    assert "3.00 times the RNN's parameters and 3.03 times its MACs" in correction(FOUND, 2).found
    assert "0.75 times the LSTM's parameters" in correction(FOUND, 2).found
    assert "15 % of RNN 1x128 and 45 % of RNN 1x8" in correction(FOUND, 11).found


@pytest.mark.parametrize("number", [5, 8, 9, 10, 12, 13])
def test_what_is_not_trained_is_left_open(number):
    assert "Our runs leave it open." in correction(reproduction(0), number).found
    assert "0 of " in correction(reproduction(0), number).found


def test_a_quick_reproduction_corrects_no_perplexity():
    other = {id: (val, train + 1) for id, (train, val) in ENDS.items()}
    first, second = weighed(reproduction(quick=True)), weighed(reproduction(ends=other, quick=True))
    assert corrections(first) == corrections(second)
    assert explanations(first) == explanations(second)
