"""Sample texts of a model: which prompts, how long, and that a seed repeats them."""

import pytest

from models.config import ConfigError, Decoding, ModelConfig
from models.language_model import LanguageModel
from pipeline.config import REPORT_PROMPTS
from pipeline.text.vocabulary import LETTERS, Vocabulary
from pipeline.training.samples import CONTINUED_CHARS, continuations, prompts_for, sample_texts

LETTER_VOCABULARY = Vocabulary("letters", LETTERS)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(ModelConfig("gru", 1, 4), len(LETTERS))


def test_prompts_are_the_reports_or_a_character_of_an_alphabet_without_their_letters():
    assert prompts_for(LETTER_VOCABULARY) == list(REPORT_PROMPTS)
    assert prompts_for(Vocabulary.of(["it has"], "raw")) == ["it has"]
    (prompt,) = prompts_for(Vocabulary.of(["абв"], "raw"))
    assert prompt in "абв"
    assert prompts_for(LETTER_VOCABULARY, "call me") == ["call me", *REPORT_PROMPTS]


def test_a_continuation_starts_with_its_normalised_prompt(model):
    texts = continuations(model, LETTER_VOCABULARY, ["It HAS", "the"], 7, Decoding(method="greedy"))
    assert [text.startswith(start) for text, start in zip(texts, ("it has", "the"), strict=True)] == [True, True]
    assert [len(text) for text in texts] == [len("it has") + 7, len("the") + 7]
    with pytest.raises(ConfigError, match="prompt"):
        continuations(model, LETTER_VOCABULARY, [""], 3, Decoding(method="greedy"))


def test_samples_are_greedy_texts_and_a_longer_one_that_the_seed_repeats(model, monkeypatch):
    monkeypatch.setattr("pipeline.training.samples.SAMPLED_CHARS", 70)
    samples, again, other = (sample_texts(model, LETTER_VOCABULARY, seed) for seed in (0, 0, 1))
    assert [sample.prompt for sample in samples] == [*REPORT_PROMPTS, REPORT_PROMPTS[0]]
    lengths = [len(sample.text) - len(sample.prompt) for sample in samples]
    assert lengths == [CONTINUED_CHARS] * len(REPORT_PROMPTS) + [70]
    assert samples == again
    assert samples[:-1] == other[:-1]
    assert samples[-1] != other[-1]
