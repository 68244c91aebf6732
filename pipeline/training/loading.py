"""Load the model of a checkpoint, which may be anybody's: what it claims is checked before anything is allocated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from models.complexity import closed_form
from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.on_top_of_ngram import language_model
from pipeline.config import PresetName
from pipeline.errors import InputError
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.text.vocabulary import LETTERS, UNKNOWN, Vocabulary
from pipeline.training.checkpoints import group, in_a_line, load_checkpoint


def load_model(path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """Load the model of a checkpoint, in evaluation mode, its vocabulary and the checkpoint's facts.

    A "last" checkpoint gives the best model so far. Raises InputError for a damaged file, and for a model that this
    version can't build.
    """
    tensors, facts = load_checkpoint(path)
    try:
        corpus, train = facts["corpus"], facts["train"]
        if not all(isinstance(corpus[name], str) for name in ("name", "source", "corpus_sha256")):
            raise ValueError("its corpus has no name, source and digest")
        if not isinstance(train["seed"], int) or train["preset"] not in get_args(PresetName):
            raise ValueError(f"its seed is {train['seed']!r}, its preset {train['preset']!r}")
        vocabulary = _vocabulary(**facts["vocabulary"])
        weights = group("best", tensors) or group("model", tensors)
        model = _model(ModelConfig(**facts["model"]), len(vocabulary), weights, group("ngram", tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} holds no model that this version can build ({in_a_line(error)}); train it again"
        ) from error
    return model.eval(), vocabulary, facts


def _vocabulary(alphabet: Any, symbols: Any) -> Vocabulary:
    """The vocabulary of a checkpoint's facts; ValueError if it is not one."""
    if alphabet not in ("letters", "raw") or not isinstance(symbols, list):
        raise ValueError(f"its alphabet is {alphabet!r}, its symbols a {type(symbols).__name__}")
    for symbol in symbols:
        if symbol != UNKNOWN and (not isinstance(symbol, str) or len(symbol) != 1 or "\ud800" <= symbol <= "\udfff"):
            raise ValueError(f"its vocabulary has {symbol!r}, which is not one character")
    if len(set(symbols)) < len(symbols) or UNKNOWN not in symbols or len(symbols) < 2:
        raise ValueError(f"its vocabulary has {len(symbols)} symbols; they must differ, and one must be {UNKNOWN}")
    if alphabet == "letters" and tuple(symbols) != LETTERS:
        raise ValueError(f"its vocabulary is not the {len(LETTERS)} symbols of the alphabet letters")
    return Vocabulary(alphabet, tuple(symbols))


def _model(
    config: ModelConfig, vocab_size: int, weights: Mapping[str, Tensor], ngram: Mapping[str, Tensor]
) -> LanguageModel:
    """Build the model with these weights. Raises ValueError if they do not fit it.

    Their number is checked before anything is allocated, so that a forged configuration can't exhaust the memory.
    """
    least = closed_form(config, vocab_size).matmul_macs_per_char + vocab_size * config.embedding_size
    stored = sum(tensor.numel() for tensor in weights.values())
    if least > stored or config.num_layers > len(weights):
        raise ValueError(f"{config.shape} has at least {least:,} parameters; there are {stored:,}")
    if config.on_top_of == "ngram" and not ngram:
        raise ValueError(f"its n-grams are in {BEST_CHECKPOINT} beside it")
    ngrams = None
    if ngram:
        tables = NGramTables.from_tensors(ngram, vocab_size)
        ngrams = NGramModel(tables, OrderGate(tables.order))
    model = language_model(config, vocab_size, ngrams)
    model.load_state_dict(weights)  # raises RuntimeError for other names or shapes
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("it has values that are not finite")
    return model
