"""The files of an exported model: a card, weights as safetensors, configuration and vocabulary."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from pipeline.pages.card import card
from pipeline.text.downloads import is_address
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.checkpoints import Checkpoint, save_checkpoint
from pipeline.training.loading import built_model

WEIGHTS, CONFIG, VOCABULARY = "weights.safetensors", "config.json", "vocabulary.json"
CARD = "README.md"


def model_files(training: RecordedTraining, found: tuple[Checkpoint, Path], sentence: str) -> dict[str, bytes]:
    """The files by name, made from the best checkpoint of a training, which was read from this path.

    ``sentence`` says why a study has picked it. Raises InputError for a model that this version can't build.
    """
    model, vocabulary, facts = built_model(*found)
    config = {
        "run_id": training.id,
        "name": training.name,
        "corpus": training.corpus,
        "corpus_sha256": training.corpus_sha256,
        "alphabet": vocabulary.alphabet,
        "vocab_size": len(vocabulary),
        "model": facts["model"],
        "train": facts["train"],
        "epoch": facts["epoch"],
        "val_perplexity": training.result["val_perplexity"],
        "test_perplexity": training.result["test_perplexity"],
    }
    return {
        CARD: card(training, model.config, vocabulary, sentence).encode(),
        WEIGHTS: _weights(*found[0]),
        CONFIG: _json(config),
        VOCABULARY: _json(list(vocabulary.symbols)),
    }


def _weights(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The checkpoint, a safetensors file, without the folder of the text in its metadata."""
    source = facts["corpus"]["source"]
    if not is_address(source):
        facts = {**facts, "corpus": {**facts["corpus"], "source": PurePath(source).name}}
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / WEIGHTS, tensors, facts)
        return (Path(folder) / WEIGHTS).read_bytes()


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
