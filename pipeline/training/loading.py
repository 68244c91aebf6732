"""Load the model of a checkpoint, which may be anybody's: what it claims is checked before anything is allocated."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from models.complexity import closed_form
from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.on_top_of_ngram import language_model
from pipeline.config import Alphabet, PresetName
from pipeline.errors import InputError
from pipeline.support.records import Seed, String, has_form, record
from pipeline.text.vocabulary import LETTERS, UNKNOWN, Vocabulary
from pipeline.training.checkpoints import Checkpoint, group, in_a_line, load_checkpoint
from pipeline.training.files import BEST_CHECKPOINT

FACTS = record(
    corpus=record(name=String, source=String, corpus_sha256=String),
    vocabulary=record(alphabet=Alphabet, symbols=list[String]),
    train=record(seed=Seed, preset=PresetName),
)


def load_model(path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """Load the model of a checkpoint, in evaluation mode, its vocabulary and the checkpoint's facts.

    A "last" checkpoint gives the best model so far. Raises InputError for a damaged file, and for a model that this
    version can't build.
    """
    return built_model(load_checkpoint(path), path)


def claimed(checkpoint: Checkpoint, path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The configuration of the model that a checkpoint claims to hold, and its facts; nothing is built.

    Raises InputError, with its path, for facts that this version can't read.
    """
    _, facts = checkpoint
    with _refusals(path):
        if not has_form(facts, FACTS):
            raise ValueError("its facts have another form")
        return ModelConfig(**facts["model"]), facts


def built_model(checkpoint: Checkpoint, path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """Build what ``load_model`` returns from a checkpoint that has been read from this path."""
    tensors, _ = checkpoint
    config, facts = claimed(checkpoint, path)
    with _refusals(path):
        vocabulary = _vocabulary(**facts["vocabulary"])
        weights = group("best", tensors) or group("model", tensors)
        model = _model(config, len(vocabulary), weights, group("ngram", tensors))
    return model.eval(), vocabulary, facts


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn an error about the content of a checkpoint into InputError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} holds no model that this version can build ({in_a_line(error)}); train it again"
        ) from error


def _vocabulary(alphabet: Alphabet, symbols: list[str]) -> Vocabulary:
    """The vocabulary of a checkpoint's facts; ValueError if it is that of no text."""
    known = LETTERS if alphabet == "letters" else tuple(sorted({UNKNOWN, *symbols}))
    if tuple(symbols) != known or len(known) < 2 or any(len(each) != 1 for each in known if each != UNKNOWN):
        raise ValueError(f"its {len(symbols)} symbols are not those of a text in the alphabet {alphabet}")
    return Vocabulary(alphabet, known)


def _model(
    config: ModelConfig, vocab_size: int, weights: Mapping[str, Tensor], ngram: Mapping[str, Tensor]
) -> LanguageModel:
    """Build the model with these weights. Raises ValueError if they do not fit it.

    Their number is checked before anything is allocated, so that a forged configuration can't exhaust the memory.
    """
    gate, buffers, ngrams = None, set[str](), None
    if config.on_top_of == "ngram":
        if not ngram:
            raise ValueError(f"its n-grams are in {BEST_CHECKPOINT} beside it")
        gate = OrderGate.from_tensors(group("order_gate", weights), len(ngram["sizes"]), vocab_size)
        buffers = {f"order_gate.{name}" for name, _ in gate.named_buffers()}
    shape = closed_form(config, vocab_size, gate.layers if gate else None)
    least = shape.matmul_macs_per_char + vocab_size * config.embedding_size
    stored = sum(tensor.numel() for name, tensor in weights.items() if name not in buffers)
    if least > stored or config.num_layers > len(weights):
        raise ValueError(f"{config.shape} has at least {least:,} parameters; there are {stored:,}")
    if gate:
        ngrams = NGramModel(NGramTables.from_tensors(ngram, vocab_size), gate)
    model = language_model(config, vocab_size, ngrams)
    model.load_state_dict(weights)  # raises RuntimeError for other names or shapes
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("it has values that are not finite")
    return model
