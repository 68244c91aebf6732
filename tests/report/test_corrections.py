"""The report's errors as corrected and explained: the sentences follow the numbers."""

from dataclasses import replace

import pytest

from pipeline.report.claims.verdicts import Correction
from pipeline.report.corrections import CORRECTIONS, corrections
from pipeline.report.explanations import explanations
from pipeline.report.reproduction import Reproduction
from tests.report.alterations import TRAINED, Alter, ends, row, sizes, streams, text, together
from tests.report.reproductions import ENDS, TEXT, reproduction

FOUND = reproduction()
RIGHT_PROSE = together(
    sizes("rnn-torch-1x128", 22_000, 20_840_448),
    sizes("gru-torch-2x32", 13_000, 13_041_664),
    sizes("lstm-torch-2x32", 17_000, 18_000_000),
    sizes("lstm-torch-8x32", 68_000, 71_303_168),
    row("lstm-scratch-1x1024", train_seconds_prose=212.0),
    row("lstm-torch-2x128", train_seconds_prose=207.0),
)


def correction(found: Reproduction, number: int) -> Correction:
    return next(one for one in corrections(found) if one.number == number)


ALTERED: dict[int, list[tuple[Alter, str]]] = {  # by correction: what is altered, and words that are there only then
    1: [
        (row("gru-torch-1x128", params="60.67 k"), "The figure stands."),
        (row("gru-torch-1x128", params="1.51 k"), "Read the figure as GRU 1x12;"),
        (row("gru-torch-1x128", params="5.97 k"), "No GRU of one layer has that size"),
    ],
    2: [(sizes("gru-torch-1x128", 10_000, 10_000_000), "The GRU is the cheapest.")],
    3: [
        (
            together(
                row("gru-torch-1x128", cell="lstm"),
                row("lstm-torch-2x128", num_layers=8),
                row("lstm-torch-8x32", hidden_size=8),
            ),
            "The captions stand.",
        ),
        (row("lstm-torch-2x128", num_layers=8), "Wrong are 2 captions"),
    ],
    4: [
        (row("lstm-torch-2x128", train_seconds_prose=207.0), "5 sizes and 1 time differ"),
        (sizes("rnn-torch-1x128", 22_100, 20_840_448), "4 sizes and 2 times differ"),
        (RIGHT_PROSE, "The prose stands."),
    ],
    5: [
        (row("lstm-torch-8x32", train_seconds_transcript=201.3), "has numbers of its own"),
        (row("lstm-torch-8x32", train_seconds_prose=230.0), "230 s stands for lstm-torch-8x32."),
        (row("lstm-torch-8x32", perplexity_end=15.0), "has numbers of its own"),
    ],
    6: [
        (row("gru-torch-2x32", train_seconds_transcript=300.0), "1 of 5 such comparisons go the wrong way round"),
        (row("gru-torch-8x32", train_seconds_prose=190.0), "3 of 5 such comparisons go the wrong way round"),
    ],
    7: [
        (TRAINED, "The same recipe trains both here"),
        (streams(), "a recipe that trains such a shape would tell"),
        (streams(16.8), "a recipe that trains such a shape would tell"),
        (ends(gru_torch_8x32=(5.0, 6.0)), "our runs leave open"),
        (text(train_unigram=None), "lacks the perplexity of the letters' frequencies of the training text"),
        (ends(gru_torch_8x32=(14.5, 16.9)), "They did not train, and such a network can't write sentences."),
    ],
    8: [
        (ends(lstm_torch_1x128=(5.0, 5.5)), "The LSTM's gap is the smallest of the three, as reported."),
        (ends(lstm_torch_1x128=(1.0, 1.2)), "In validation lstm-torch-1x128 gets there too."),
        (ends(lstm_torch_1x128=(4.0, 10.0)), "The LSTM's gap is neither the smallest nor the largest of the three."),
        (ends(lstm_torch_1x128=(3.1, 10.0)), "not the smallest of the three; whether it is the largest, seeds do not"),
        (lambda _: reproduction(1), "Which gap is the largest, seeds do not tell yet."),
    ],
    9: [
        (ends(lstm_torch_2x32=(2.0, 7.0)), "The level of about 2 for lstm-torch-2x32 is reproduced."),
        (ends(gru_torch_2x32=(5.0, 6.5)), "The level of about 5 for gru-torch-2x32 is reproduced."),
        (ends(lstm_torch_2x32=(2.42, 7.0)), "Whether the level of about 2 for lstm-torch-2x32 is reproduced"),
    ],
    10: [
        (row("gru-scratch-1x8", train_seconds_prose=50.0), "character 5,147). In our runs"),
        (ends(lstm_torch_1x128=(9.0, 9.9)), "for 3 of 17 configurations"),
        (lambda found: reproduction(ends={id: (end, end) for id, (end, _) in ENDS.items()}), "within 5 % of the best"),
        (text(prompts=TEXT.prompts[:1]), "itself: 'it has' (validation, character 13,823)."),
    ],
    11: [(sizes("rnn-torch-1x128", 20_224, 10_240_000), "10.24 MMac come to 10,000")],
    12: [
        (ends(gru_torch_2x32=(4.0, 5.0)), "1 of 17 beat a 4-gram (5.46), gru-torch-2x32"),
        (text(windowed={4: 20.0, 5: 19.0, 6: 18.0}), "17 of 17 beat a 4-gram (20.00)"),
    ],
}


def words(one: Correction) -> str:
    return f"{one.reported} {one.found} {one.instead}"


def test_there_are_twelve_corrections_in_the_order_of_their_numbers():
    found = corrections(FOUND)
    assert [one.number for one in found] == list(range(1, 13)) == list(ALTERED)
    assert [one.title for one in found] == list(CORRECTIONS)


@pytest.mark.parametrize("number", ALTERED)
def test_a_correction_follows_the_numbers(number):
    for alter, then in ALTERED[number]:
        assert then not in words(correction(FOUND, number))
        assert then in words(correction(alter(FOUND), number))


@pytest.mark.parametrize("found", [FOUND, reproduction(1), reproduction(0), reproduction(quick=True), streams()(FOUND)])
def test_every_correction_is_in_whole_sentences(found):
    ids = {row.id for row in found.table.rows}
    for one in corrections(found):
        for part in (one.reported, one.found, one.instead):
            assert part.endswith(".")
            assert part[0].isupper() or part[0].isdigit() or part.split()[0] in ids
            assert ".." not in part
            assert "  " not in part


def test_what_is_copied_is_the_curve_and_the_time_and_not_the_size():
    fifth = correction(FOUND, 5)
    assert "All that is said of the curve and time of lstm-torch-8x32 is what is said of gru-torch-8x32." in fifth.found
    assert fifth.instead == "Nothing shows that lstm-torch-8x32 was trained, so its curve and time are no evidence."


def test_the_corrections_have_the_exact_sizes():
    assert "5,952 parameters and 6,324,224 MACs" in correction(FOUND, 1).found
    assert "60,672 parameters and 63,045,632 MACs" in correction(FOUND, 1).found
    assert "3.00 times the RNN's parameters and 3.03 times its MACs" in correction(FOUND, 2).found
    assert "0.75 times the LSTM's parameters" in correction(FOUND, 2).found
    assert "15 % of RNN 1x128 and 45 % of RNN 1x8" in correction(FOUND, 11).found


@pytest.mark.parametrize("number", [5, 8, 9, 10, 12])
def test_what_is_not_trained_is_left_open(number):
    assert "Our runs leave it open." in correction(reproduction(0), number).found
    assert "0 of " in correction(reproduction(0), number).found


def test_a_quick_reproduction_corrects_no_perplexity():
    other = {id: (val, train + 1) for id, (train, val) in ENDS.items()}
    assert corrections(reproduction(quick=True)) == corrections(reproduction(ends=other, quick=True))
    assert explanations(reproduction(quick=True)) == explanations(reproduction(ends=other, quick=True))


def test_another_table_makes_none_of_these_errors():
    other = replace(FOUND, table=replace(FOUND.table, digest="another"))
    assert corrections(other) == ()
    assert explanations(other) == ()
