"""Sample texts of a model, as every training records them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from models.config import Decoding
from models.generation import complete, generate
from models.language_model import LanguageModel
from pipeline.config import REPORT_PROMPTS
from pipeline.text.vocabulary import Vocabulary

CONTINUED_CHARS = 20  # generated after each prefix, as in the report
SAMPLED_CHARS = 300  # generated for the longer text
TEMPERATURE = 0.7  # of that text


@dataclass(frozen=True)
class SampleText:
    """A prompt, the decoding method, and the text including the prompt."""

    prompt: str
    method: str
    text: str


def continuations(
    model: LanguageModel, vocabulary: Vocabulary, prompts: list[str], length: int, decoding: Decoding
) -> list[str]:
    """Continue each prompt, normalised, by ``length`` characters. Raises ConfigError for one that can't be encoded."""
    ids = [vocabulary.encode_prompt(prompt) for prompt in prompts]
    generated = complete(model, ids, length, decoding, forbidden=[vocabulary.unknown_id])
    return [vocabulary.decode([*prompt, *rest]) for prompt, rest in zip(ids, generated, strict=True)]


def continuation_in_pieces(
    model: LanguageModel, vocabulary: Vocabulary, prompt: str, length: int, decoding: Decoding
) -> Iterator[str]:
    """Yield the prompt, normalised, then each character as it is generated. Raises ConfigError when it is called."""
    ids = vocabulary.encode_prompt(prompt)
    generated = generate(model, [ids], length, decoding, forbidden=[vocabulary.unknown_id])
    return chain([vocabulary.decode(ids)], (vocabulary.symbols[next_id] for (next_id,) in generated))


def prompts_for(vocabulary: Vocabulary, own: str = "") -> list[str]:
    """``own``, if a text has its own, and the report's prefixes that the vocabulary can encode; or else a character."""
    known = [prompt for prompt in REPORT_PROMPTS if set(prompt) <= set(vocabulary.symbols)]
    ordinary = [symbol for symbol in vocabulary.symbols if len(symbol) == 1]
    return [*filter(None, [own]), *known] or [ordinary[len(ordinary) // 2]]


def greedy_texts(model: LanguageModel, vocabulary: Vocabulary, own: str = "") -> dict[str, str]:
    """Greedy continuations as in the report: prompt -> text with CONTINUED_CHARS more characters."""
    prompts = prompts_for(vocabulary, own)
    texts = continuations(model, vocabulary, prompts, CONTINUED_CHARS, Decoding(method="greedy"))
    return dict(zip(prompts, texts, strict=True))


def sample_command(reference: str, seed: int) -> str:
    """The command that writes the longer text of ``sample_texts`` again; its prompt is that of ``tmlm sample``."""
    return f"tmlm sample {reference} --temperature {TEMPERATURE} --length {SAMPLED_CHARS} --seed {seed}"


def sample_texts(model: LanguageModel, vocabulary: Vocabulary, seed: int, own: str = "") -> list[SampleText]:
    """The greedy continuations, and one longer text sampled at TEMPERATURE after the first prompt."""
    greedy = [SampleText(prompt, "greedy", text) for prompt, text in greedy_texts(model, vocabulary, own).items()]
    first, decoding = greedy[0].prompt, Decoding(method="sample", temperature=TEMPERATURE, seed=seed)
    (drawn,) = continuations(model, vocabulary, [first], SAMPLED_CHARS, decoding)
    return [*greedy, SampleText(first, f"sample, temperature {TEMPERATURE}", drawn)]
