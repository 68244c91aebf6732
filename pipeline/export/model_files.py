"""The files of an exported model: a card, weights as safetensors, configuration and vocabulary."""

import json
import tempfile
from pathlib import Path, PurePath
from typing import Any

from pipeline.export.card import card
from pipeline.text.downloads import is_address
from pipeline.tracking.artifacts import artifact_path
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.files import BEST_CHECKPOINT
from pipeline.training.loading import load_model

WEIGHTS, CONFIG, VOCABULARY = "weights.safetensors", "config.json", "vocabulary.json"
CARD = "README.md"


def model_files(training: RecordedTraining, sentence: str) -> dict[str, bytes]:
    """The files by name, made from the best checkpoint of a training.

    ``sentence`` says why a study has picked it. Raises InputError if the checkpoint is missing or damaged.
    """
    path = artifact_path(training.id, f"checkpoints/{BEST_CHECKPOINT}")
    model, vocabulary, facts = load_model(path)
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
        WEIGHTS: _weights(path),
        CONFIG: _json(config),
        VOCABULARY: _json(list(vocabulary.symbols)),
    }


def _weights(path: Path) -> bytes:
    """The checkpoint, a safetensors file, without the folder of the text in its metadata."""
    tensors, facts = load_checkpoint(path)
    source = facts["corpus"]["source"]
    if not is_address(source):
        facts["corpus"]["source"] = PurePath(source).name
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / WEIGHTS, tensors, facts)
        return (Path(folder) / WEIGHTS).read_bytes()


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
