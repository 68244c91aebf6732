"""Results in words: each sentence follows the numbers that it is given."""

import pytest

from pipeline.front import Contender, judge, picks
from pipeline.samples import SampleText
from pipeline.summaries import (
    comparison_table,
    evaluation_text,
    markdown_table,
    pipeline_table,
    samples_table,
    search_note,
    search_table,
    text_block,
    text_table,
    verdict,
)

RESULT = {
    "corpus": "time-machine", "val_perplexity": 3.79, "val_perplexity_pooled": 3.79,
    "test_perplexity": 3.9, "test_bits_per_char": 1.963,
    "ngram_val_perplexity": 3.678, "ngram_test_perplexity": 3.763, "best_epoch": 28, "epochs": 28,
    "parameters": 84508, "macs_per_char": 85788, "train_seconds": 31.5, "texts": ["it has been"], "fallback": False,
}  # fmt: skip


def test_a_table_in_markdown_has_a_rule_and_as_many_cells_in_every_row():
    assert markdown_table(("a", ""), [("1", "2"), ("", "x")]) == "| a |  |\n| --- | --- |\n| 1 | 2 |\n|  | x |"


def test_a_table_in_text_has_aligned_columns_and_nothing_behind_a_line():
    assert text_table(("", "head"), [("long name", "1"), ("b", "20")]) == (
        "           head\nlong name     1\nb            20"
    )
    assert text_table((), [("a", "1", "x"), ("bb", "10", "")], left=(0, 2)) == "a    1  x\nbb  10"


@pytest.mark.parametrize(
    ("val", "test", "sentence"),
    [
        (3.6, 3.7, "ahead of the 6-gram on validation (3.600 against 3.678) and on test (3.700 against"),
        (3.6, 3.9, "ahead of the 6-gram on validation (3.600 against 3.678) and behind it on test (3.900"),
        (3.8, 3.9, "behind the 6-gram on validation (3.800 against 3.678) and on test (3.900 against"),
    ],
)
def test_the_verdict_turns_with_the_numbers(val, test, sentence):
    assert sentence in verdict({**RESULT, "val_perplexity_pooled": val, "test_perplexity": test})


def test_the_table_has_the_network_above_the_bar():
    network, bar = comparison_table(RESULT).splitlines()[2:]
    assert "| 3.790 | 3.900 | 1.963 |" in network
    assert "| 3.678 | 3.763 |" in bar


def test_the_main_jobs_table_says_quality_cost_time_sample_and_links():
    seconds = {"prepare": (0.3, True), "train": (33.3, False)}
    text = pipeline_table("lstm-1x128", seconds, RESULT, {"table": "http://127.0.0.1:5000/#/x"}, "tmlm ui")
    for part in ("3.790", "3.678", "84,508", "85,788", "prepare reused, train 33.3 s", "it has been", "#/x"):
        assert part in text
    assert "FALLING BACK" not in text


def test_a_fallback_text_is_told_in_the_table():
    assert "FALLING BACK to python-docs" in pipeline_table("m", {}, {**RESULT, "fallback": True}, {}, "tmlm ui")


def test_an_evaluation_without_an_n_gram_names_none():
    result = {"perplexity": 4.0, "bits_per_char": 2.0, "characters": 1000, "unknown_characters": 3}
    assert evaluation_text("other.txt", result) == (
        "other.txt: perplexity 4.000, 2.000 bits per character over 1,000 characters; "
        "3 characters are none of the model's"
    )


@pytest.mark.parametrize("text", ["plain", "``` out of the block <script>alert(1)</script>", "` `` ``` ````"])
def test_nothing_in_a_text_is_markup(text):
    first, *lines, last = text_block(text).splitlines()
    assert first == last
    assert set(first) == {"`"}
    assert all(first not in line for line in lines)


def test_long_texts_are_wrapped_and_lose_no_word():
    words = "the time traveller for so it will be convenient to speak of him " * 10
    lines = text_block(words).splitlines()[1:-1]
    assert max(map(len, lines)) <= 72
    assert " ".join(lines).split() == words.split()


def test_each_sample_stands_under_its_prompt():
    table = samples_table([SampleText("it has", "greedy", "it has been"), SampleText("the", "beam", "the time")])
    assert table.index("**it has** (greedy)") < table.index("it has been") < table.index("**the** (beam)")


def searched(*perplexities: tuple[float, ...]):
    """Judged configurations gru-1x8, gru-1x16, ... of 1,000, 10,000, ... MACs with these perplexities."""
    contenders = [
        Contender(
            f"gru-1x{8 << i}", "gru", 1, 8 << i, 10 ** (i + 3), 900, tuple(f"r{i}{n}" for n in range(len(v))), v, v
        )
        for i, v in enumerate(perplexities)
    ]
    judged = judge(contenders, (28.0, 1e6))
    return judged, picks(judged)


COUNTS = {"trials complete": 40, "failed": 2, "repeated": 0}


def test_the_note_of_a_search_has_the_front_with_links_the_picks_and_the_counts():
    judged, chosen = searched((9.0, 9.2), (5.1, 5.0), (6.0,))
    note = search_note("7", judged, chosen, COUNTS)
    interval = judged.front[0].val.half
    assert "| [gru-1x8](#/experiments/7/runs/r00?workflowType=machine_learning) | 1,000 | 900 |" in note
    assert f"| 900 | 9.10 ± {interval:.2f} | 2 |" in note
    assert "gru-1x32](" not in note
    assert "- `@best`: gru-1x16 " in note
    assert f"Hypervolume {judged.hypervolume:.2f} ({judged.hypervolume_low:.2f} to" in note
    assert "2 degrees of freedom" in note
    assert note.endswith("40 trials complete, 2 failed.")


def test_an_interval_that_luck_has_made_too_narrow_is_told_as_such():
    (loud, of_loud), (calm, of_calm) = searched((9.0, 9.5), (5.1, 5.0)), searched((9.0, 9.05), (5.01, 5.0))
    said = "This interval is too narrow and lies too high"
    assert said in search_note("7", loud, of_loud, COUNTS)
    assert said not in search_note("7", calm, of_calm, COUNTS)


def test_every_row_of_the_notes_table_has_as_many_cells():
    judged, chosen = searched((9.0, 9.2), (5.1, 5.0))
    note = search_note("7", judged, chosen, COUNTS)
    assert {line.count("|") for line in note.splitlines() if line.startswith("|")} == {8}


def test_who_may_belong_on_the_front_is_named():
    judged, chosen = searched((5.0, 5.1, 5.2), (5.02, 5.12, 5.21))
    assert f"but with a chance of it: gru-1x16 ({judged.points[1].probability:.2f})." in search_note(
        "7", judged, chosen, COUNTS
    )


def test_a_search_without_a_second_seed_says_that_it_has_no_interval():
    judged, chosen = searched((9.0,), (5.0,))
    for text in (search_note("7", judged, chosen, COUNTS), search_table("s", judged, chosen, COUNTS, {}, "tmlm ui")):
        assert "no interval and no probability" in " ".join(text.split())
        assert "±" not in text
        assert "None" not in text
        assert "nan" not in text.lower()


def test_a_search_of_which_nothing_finished_says_so():
    judged, chosen = searched()
    for text in (
        search_note("7", judged, chosen, {"trials complete": 0, "failed": 3}),
        search_table("s", judged, chosen, {"trials complete": 0, "failed": 3}, {}, "tmlm ui"),
    ):
        assert "No trial has finished, so there is no front." in text
        assert "0 trials complete, 3 failed" in text


def test_the_searchs_table_has_aligned_columns_the_picks_and_the_links():
    judged, chosen = searched((9.0, 9.2), (5.1, 5.0))
    text = search_table("search s", judged, chosen, COUNTS, {"study": "http://127.0.0.1:5000/#/x"}, "tmlm ui")
    head, *rows = text.splitlines()[2:5]
    assert {len(row) for row in rows} == {len(head)}
    assert "@small: gru-1x16" in text
    assert "  study   http://127.0.0.1:5000/#/x\n  (tmlm ui)" in text
    assert max(map(len, text.splitlines())) <= 112
