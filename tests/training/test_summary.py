"""Trainings in words: each sentence follows the numbers that it is given."""

import pytest

from pipeline.training.samples import SampleText
from pipeline.training.summary import comparison_table, evaluation_text, pipeline_table, samples_table, verdict

RESULT = {
    "corpus": "time-machine", "val_perplexity": 3.79, "val_perplexity_pooled": 3.79,
    "test_perplexity": 3.9, "test_bits_per_char": 1.963,
    "ngram_val_perplexity": 3.678, "ngram_test_perplexity": 3.763, "best_epoch": 28, "epochs": 28,
    "parameters": 84508, "macs_per_char": 85788, "train_seconds": 31.5, "texts": ["it has been"], "fallback": False,
}  # fmt: skip


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
        "3 characters are not in the model's vocabulary"
    )


def test_each_sample_stands_under_its_prompt():
    table = samples_table([SampleText("it has", "greedy", "it has been"), SampleText("the", "beam", "the time")])
    assert table.index("**it has** (greedy)") < table.index("it has been") < table.index("**the** (beam)")
