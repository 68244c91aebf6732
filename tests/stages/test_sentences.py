"""What commands print about results."""

from pipeline.stages.sentences import pipeline_text, training_text
from tests.training.test_sentences import RESULT


def test_the_main_jobs_text_has_its_numbers_times_and_link():
    text = pipeline_text("lstm-1x128", {"prepare": (0.3, True), "train": (33.3, False)}, RESULT, "the link")
    for part in ("3.790", "3.655", "3.412", "1.802", "84,508", "85,788", "prepare reused, train 33.3 s", "the link"):
        assert part in text


def test_what_ended_a_training_early_a_fall_and_the_substitute_text_are_named():
    stopped = {**RESULT, "stopped": "--max-seconds 2", "fell_over": True}
    for text in (training_text, lambda result: pipeline_text("m", {}, result, "link")):
        words = " ".join(text(stopped).split())  # whatever the width of the terminal
        assert ("stopped early by --max-seconds 2" in words, "stopped" in text(RESULT)) == (True, False)
        assert (" The training fell over: " in words, "fell" in text(RESULT)) == (True, False)
    assert "FALLING BACK" in pipeline_text("m", {}, {**RESULT, "fallback": True}, "link")
