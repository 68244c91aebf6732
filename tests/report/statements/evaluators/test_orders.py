from dataclasses import replace

import pytest

from pipeline.report.statements.evaluators.orders import seeds_needed
from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON, Comparison
from pipeline.support.statistics import Estimate
from tests.report.alterations import ends, runs, together
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judge, judged, statement

# d2l has no whole training of these, so ours alone count
GRU, LSTM, DEEP, LARGE = "gru-torch-2x128", "lstm-torch-2x128", "gru-torch-8x32", "gru-scratch-1x1024"


def said(relation, kind="perplexity-order", *others, **changes):
    """A statement on GRU and LSTM 2x128, or the others."""
    ids = (GRU, *(others or (LSTM,)))
    return replace(statement("deep-2x32-perplexity"), kind=kind, configurations=ids, relation=relation, **changes)


def ended(**by_id):
    return ends(**by_id)(reproduction())


def untrained(found, id):
    return runs(id, lambda run: replace(run.until(2), epochs_planned=100))(found)


# --- perplexity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gru", "word", "part"),
    [((4.0, 6.0), HOLDS, ""), ((4.0, 9.0), IN_PART, "training"), ((6.0, 6.0), IN_PART, "validation"),
     ((6.0, 9.0), FAILS, "")],
)  # fmt: skip
def test_an_order_is_held_to_both_curves(gru, word, part):
    verdict = judged(ended(gru_torch_2x128=gru, lstm_torch_2x128=(5.0, 7.0)), said("lower"))
    assert (verdict.word, verdict.part) == (word, part)


def test_an_order_of_one_curve_is_held_to_that_curve():
    found = ended(gru_torch_2x128=(4.0, 9.0), lstm_torch_2x128=(5.0, 7.0))
    assert judged(found, said("lower", curve="validation")).word == FAILS


def test_what_is_too_close_to_call_is_open_and_says_how_many_seeds_it_takes():
    verdict = judged(ended(gru_torch_2x128=(4.99, 6.99), lstm_torch_2x128=(5.0, 7.0)), said("lower"))
    assert verdict.word == OPEN
    assert "seeds each of gru-torch-2x128 and lstm-torch-2x128" in verdict.part


def test_one_curve_that_is_too_close_leaves_the_other_in_part():
    verdict = judged(ended(gru_torch_2x128=(4.0, 6.99), lstm_torch_2x128=(5.0, 7.0)), said("lower"))
    assert verdict.word == IN_PART
    assert verdict.part.startswith("training; open: ")


def test_more_seeds_are_needed_for_a_smaller_difference():
    def needed(mean):
        found = Estimate(mean, mean - 0.1, mean + 0.1)
        return seeds_needed(Comparison("a", "b", "m", (1, 1), found, False, (3, 3), 4, p=0.2, adjusted_p=0.2))

    assert [needed(mean) for mean in (0.05, 0.01, 0.001)] == [
        "about 12 seeds each of a and b",
        "about 300 seeds each of a and b",
        "more than 1,000 seeds each of a and b",
    ]


def test_a_comparison_of_many_is_held_to_a_stricter_level():
    found = ended(gru_torch_2x128=(4.92, 6.0), lstm_torch_2x128=(5.05, 7.0))
    one = replace(said("lower", curve="training"), id="one")
    alone = judge(found, [one])[0].word
    among = judge(found, [one, *(each for each in report_statements() if each.kind == "perplexity-order")])[0].word
    assert (alone, among) == (HOLDS, OPEN)


def test_seeds_of_d2l_count_in_a_comparison():
    verdict = judged(reproduction(), "deep-2x32-perplexity")
    assert {comparison.seeds for comparison in verdict.comparisons} == {(8, 8)}


def test_an_order_of_an_untrained_configuration_is_open():
    verdict = judged(untrained(reproduction(), LSTM), said("lower"))
    assert (verdict.word, verdict.part) == (OPEN, "training lstm-torch-2x128 to the end")


def test_higher_but_not_by_far_is_in_part():
    verdict = judged(ended(gru_torch_2x128=(6.0, 9.0), lstm_torch_2x128=(5.0, 7.0)), said("far-higher"))
    assert verdict.word == IN_PART
    assert "but not by far" in verdict.part


@pytest.mark.parametrize(("others", "word"), [((7.0, 8.0), HOLDS), ((5.0, 8.0), HOLDS), ((5.0, 4.0), FAILS)])
def test_among_the_lowest_is_first_or_second(others, word):
    found = ended(
        gru_torch_2x128=(6.0, 6.0),
        lstm_torch_2x128=(others[0], others[0]),
        gru_torch_8x32=(others[1], others[1]),
    )
    assert judged(found, said("among-lowest", "perplexity-order", LSTM, DEEP)).word == word


def test_among_the_lowest_waits_for_an_untrained_one_if_it_could_be_third():
    found = untrained(ended(gru_torch_2x128=(6.0, 6.0), lstm_torch_2x128=(5.0, 5.0)), DEEP)
    assert judged(found, said("among-lowest", "perplexity-order", LSTM, DEEP)).word == OPEN


@pytest.mark.parametrize(("lstm", "word"), [((5.0, 5.0), HOLDS), ((7.0, 7.0), FAILS)])
def test_higher_than_some_takes_one_that_is_lower(lstm, word):
    found = ended(gru_torch_2x128=(6.0, 6.0), lstm_torch_2x128=lstm, gru_torch_8x32=(9.0, 9.0))
    assert judged(found, said("higher-than-some", "perplexity-order", LSTM, DEEP)).word == word


def test_a_second_time_gets_the_verdict_of_the_first():
    verdicts = {each.statement.id: each.word for each in judge(reproduction(), report_statements())}
    assert verdicts["deep-2x32-perplexity-again"] == verdicts["deep-2x32-perplexity"]


# --- the gap and generalising ----------------------------------------------------------------------------------------


def test_a_smaller_gap_is_smaller_than_that_of_each_other():
    found = ended(gru_torch_2x128=(5.0, 6.0), lstm_torch_2x128=(5.0, 7.0), gru_torch_8x32=(5.0, 5.5))
    words = [judged(found, said("smaller", "gap-order", *others)).word for others in ((LSTM,), (LSTM, DEEP))]
    assert words == [HOLDS, FAILS]


def test_a_considerably_larger_gap_is_in_part_if_it_is_larger_by_less():
    found = ended(gru_torch_2x128=(5.0, 7.2), lstm_torch_2x128=(5.0, 7.0))
    assert judged(found, said("considerably-larger", "gap-order")).word == IN_PART


@pytest.mark.parametrize(
    ("gru", "word"),
    [((5.0, 6.0), HOLDS), ((4.0, 6.5), WRONG_REASON), ((7.5, 8.0), IN_PART), ((4.0, 8.0), FAILS)],
)
def test_generalising_has_validation_as_conclusion_and_the_gap_as_reason(gru, word):
    found = ended(gru_torch_2x128=gru, lstm_torch_2x128=(5.0, 7.0))
    assert judged(found, said("better", "generalises")).word == word


def test_generalising_alike_is_within_the_bounds():
    found = ended(gru_torch_2x128=(5.2, 7.3), lstm_torch_2x128=(5.0, 7.0))
    assert judged(found, said("alike", "generalises")).word == HOLDS


def test_a_reason_that_is_a_wrong_statement_makes_the_reason_wrong():
    found = ended(gru_torch_2x32=(4.1, 6.4), lstm_torch_2x32=(6.6, 7.4))
    assert judged(found, "deep-2x32-lstm-unsuited").word == WRONG_REASON


def test_unseen_text_has_the_n_gram_bar_beside_it():
    assert "where a 6-gram in the same windows has 5.06" in judged(reproduction(), "deep-2x32-lstm-unseen").because


# --- the best --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("relation", "word"), [("best", HOLDS), ("not-better", FAILS), ("best-by-gap", WRONG_REASON)])
def test_the_best_has_the_lowest_validation_perplexity(relation, word):
    found = ended(gru_torch_2x128=(3.0, 6.0), lstm_torch_2x128=(6.0, 7.0))
    assert judged(found, said(relation, "best")).word == word


def test_the_best_is_open_while_a_reason_is():
    found = ended(gru_torch_2x128=(3.0, 6.0), lstm_torch_2x128=(6.0, 7.0))
    wanted = said("best", "best", reasons=(f"{LARGE}-end",))
    assert judged(untrained(found, LARGE), wanted).word == OPEN


def test_what_rests_on_reasons_counts_each():
    verdict = judged(
        reproduction(), statement("lstm-scratch-best", reasons=("lstm-scratch-best-time", "rnn-torch-1x128-end"))
    )
    assert (verdict.word, verdict.part) == (IN_PART, "lstm-scratch-best-time")


def test_what_rests_on_all_reasons_fails_with_one():
    reasons = ("lstm-scratch-best-time", "rnn-torch-1x128-end")
    wanted = statement("lstm-scratch-best", relation="by-all-reasons", reasons=reasons)
    assert judged(reproduction(), wanted).word == FAILS


def test_the_most_accurate_width_is_the_best_of_each_cell():
    wanted = said("most-accurate", "best", DEEP, LSTM, "lstm-torch-8x32")
    found = together(ends(gru_torch_2x128=(3.0, 6.0)), ends(lstm_torch_2x128=(17.0, 18.0)))(reproduction())
    verdict = judged(found, wanted)
    assert (verdict.word, verdict.part) == (IN_PART, "of the GRUs")
