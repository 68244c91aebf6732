"""run_experiment(): one model trained and judged; the same function for the command line, a study and a test."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.complexity import Complexity, measure
from models.config import ModelConfig
from models.language_model import LanguageModel
from models.ngram import Baselines
from pipeline.checkpoints import flatten, group, load_checkpoint, save_checkpoint
from pipeline.config import TrainConfig
from pipeline.corpus import Corpus
from pipeline.errors import InputError
from pipeline.evaluation import TextScore, score_text
from pipeline.samples import SampleText, sample_texts
from pipeline.training import EpochPoint, Training, fit

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Result:
    """What came of one experiment. Perplexities of the best epoch (lowest on validation), best epoch's weights."""

    history: list[EpochPoint]
    best: EpochPoint
    epochs: int
    stopped: str
    test: TextScore
    baselines: dict[str, Baselines]
    complexity: Complexity
    trained_parameters: int
    precision: str
    device: str
    train_seconds: float
    chars_per_second: float
    samples: list[SampleText]
    model: LanguageModel
    checkpoint: Path | None

    def figures(self) -> dict[str, Any]:
        """The flat summary that ``--json`` prints."""
        return {
            "val_perplexity": self.best.val_perplexity,
            "test_perplexity": self.test.perplexity,
            "test_bits_per_char": self.test.bits_per_char,
            "ngram_val_perplexity": 2 ** self.baselines["val"].ngram_bits_per_char,
            "ngram_test_perplexity": 2 ** self.baselines["test"].ngram_bits_per_char,
            "best_epoch": self.best.epoch,
            "epochs": len(self.history),
            "stopped": self.stopped,
            "train_seconds": self.train_seconds,
            "chars_per_second": self.chars_per_second,
            "parameters": self.complexity.parameters,
            "macs_per_char": self.complexity.macs_per_char,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
        }


@dataclass(frozen=True)
class Observer:
    """Who is told what happens in an experiment; by default nobody."""

    on_start: Callable[[Training], None] = lambda training: None
    on_step: Callable[[int], None] = lambda steps: None
    on_epoch: Callable[[Training, EpochPoint], None] = lambda training, point: None


def run_experiment(
    corpus: Corpus,
    model_config: ModelConfig,
    train_config: TrainConfig,
    observer: Observer = Observer(),
    checkpoint_dir: Path | None = None,
) -> Result:
    """Train on the corpus, keep the epoch that validates best, and read the test text once, at the end, with it.

    With ``checkpoint_dir``, last.safetensors there always holds the whole state of the training after the last epoch
    that was reported, and best.safetensors the weights that validated best with all that is needed to use them.
    An epoch is on disk before ``on_epoch`` hears of it. A training that is found there is gone on with.
    """
    spans = corpus.spans(train_config.preset)
    ids = torch.from_numpy(corpus.ids)
    train, val, test = (ids[start:end] for start, end in (spans[split] for split in ("train", "val", "test")))
    torch.manual_seed(train_config.seed)
    training = Training(LanguageModel(model_config, len(corpus.vocabulary)), train, val, train_config)
    best_weights: dict[str, Tensor] = {}
    facts = {
        "corpus": {
            "name": corpus.name,
            "source": corpus.source,
            "corpus_sha256": corpus.corpus_sha256,
            "source_sha256": corpus.source_sha256,
        },
        "vocabulary": {"alphabet": corpus.vocabulary.alphabet, "symbols": list(corpus.vocabulary.symbols)},
        "model": asdict(model_config),
        "train": asdict(train_config),
    }

    def keep_best(folder: Path, best: EpochPoint) -> None:
        best_facts = {**facts, "epoch": best.epoch, "val_perplexity": best.val_perplexity}
        save_checkpoint(folder / BEST, flatten("model", best_weights), best_facts)

    def after_epoch(training: Training, point: EpochPoint) -> None:
        if training.best is point:
            best_weights.update({name: t.detach().clone() for name, t in training.best_model.state_dict().items()})
        if checkpoint_dir is not None:
            tensors, state = training.state_dict()
            save_checkpoint(checkpoint_dir / LAST, tensors | flatten("best", best_weights), {**facts, "state": state})
            if training.best is point:
                keep_best(checkpoint_dir, point)
        observer.on_epoch(training, point)

    if checkpoint_dir is not None and (checkpoint_dir / LAST).is_file():
        tensors, found = load_checkpoint(checkpoint_dir / LAST)
        for name in ("model", "train", "vocabulary"):
            if found[name] != facts[name]:
                raise InputError(f"{checkpoint_dir / LAST} is of another {name} configuration; give another folder")
        if found["corpus"]["corpus_sha256"] != corpus.corpus_sha256:
            raise InputError(f"{checkpoint_dir / LAST} was trained on another text; give another folder")
        training.load_state_dict(tensors, found["state"])
        best_weights.update(group("best", tensors))
        if training.best is not None:  # the machine may have gone between the two files
            keep_best(checkpoint_dir, training.best)
    observer.on_start(training)
    fit(training, after_epoch, observer.on_step)
    assert training.best is not None  # fit makes one epoch at least
    model = training.best_model
    model.load_state_dict(best_weights)
    return Result(
        history=training.history,
        best=training.best,
        epochs=training.epochs,
        stopped=training.stopped,
        test=score_text(model, test),
        baselines=corpus.baselines(train_config.preset),
        complexity=measure(model_config, len(corpus.vocabulary)),
        trained_parameters=sum(parameter.numel() for parameter in model.parameters()),
        precision=training.precision,
        device=str(training.device),
        train_seconds=training.train_seconds,
        chars_per_second=training.train_chars / training.train_seconds,
        samples=sample_texts(model, corpus.vocabulary, train_config.seed),
        model=model,
        checkpoint=checkpoint_dir / BEST if checkpoint_dir else None,
    )
