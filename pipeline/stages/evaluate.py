"""The stage ``evaluate``: perplexity of a trained model on a split of its corpus or on another text."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.language_model import LanguageModel
from models.mixture import Mixture
from models.ngram import predicted_bits_per_char
from pipeline.config import RECIPE, PresetName
from pipeline.errors import DataUnavailableError, InputError
from pipeline.support.markdown import plain
from pipeline.text.corpus import Corpus, encoded, label_of
from pipeline.text.sources import KNOWN_TEXTS, FoundText, find_file
from pipeline.text.vocabulary import Vocabulary
from pipeline.tracking import recorded
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import Step, corpus_keys, record_datasets, run_step, same_text
from pipeline.training.checkpoints import stored_digest
from pipeline.training.evaluation import TextScore, text_costs
from pipeline.training.loading import load_model
from pipeline.training.mixing import costs_with_ngram
from pipeline.training.summary import evaluation_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with its vocabulary and the facts that its checkpoint records about its training."""

    network: LanguageModel = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    facts: dict[str, Any] = field(repr=False)
    checkpoint_sha256: str
    run_id: str | None

    @classmethod
    def find(cls, model: str) -> "TrainedModel":
        """Load ``model``: a run id, the path of a checkpoint, or a models:/ or runs:/ address. Raises InputError."""
        path, run_id = recorded.checkpoint_of(model)
        network, vocabulary, facts = load_model(path)
        return cls(network, vocabulary, facts, stored_digest(path), run_id)

    @classmethod
    def for_command(cls, model: str) -> "TrainedModel":
        """Load ``model`` as ``find`` does, and let this process compute with one thread."""
        torch.set_num_threads(1)
        return cls.find(model)

    def _is_of_our_run(self) -> bool:
        """Whether it was loaded by run, or this store has a training on the text that its facts name."""
        source, digest = (self.facts["corpus"][name] for name in ("source", "corpus_sha256"))
        return self.run_id is not None or any(
            run.tag("corpus.source") == source for run in recorded.finished_trainings(digest)
        )

    @property
    def name(self) -> str:
        return f"{self.network.config.shape}-s{self.facts['train']['seed']}"

    @property
    def preset(self) -> PresetName:
        preset: PresetName = self.facts["train"]["preset"]
        return preset

    @property
    def keys(self) -> dict[str, Any]:
        """The inputs of a step key that identify this model."""
        return {"trained_run": self.run_id, "checkpoint": self.checkpoint_sha256, "recipe": RECIPE[self.preset]}

    @property
    def corpus_label(self) -> str:
        """The name of the text that it was trained on, as in records."""
        return label_of(self.facts["corpus"]["name"], self.vocabulary.alphabet)

    @property
    def tags(self) -> dict[str, str]:
        tags = {"corpus": self.corpus_label, "corpus.sha256": self.facts["corpus"]["corpus_sha256"]}
        return {**tags, "trained_run": self.run_id} if self.run_id else tags

    def mixture(self) -> Mixture | None:
        """The mixture that its training chose; None for a checkpoint without a run, or a run without a mixture."""
        result = recorded.read_json(self.run_id, recorded.RESULT_FILE) if self.run_id else {}
        return Mixture(result["mixture_kind"], result["mixture_weight"]) if "mixture_weight" in result else None

    def corpus(self) -> Corpus:
        """Load the text that it was trained on, from the same source. Raises InputError if the text has changed.

        The training split is what the model was trained on. A foreign checkpoint could name any file or address, so
        without a run in this store that confirms it, only texts known by name are opened.
        """
        then = self.facts["corpus"]
        if then["name"] not in KNOWN_TEXTS and not self._is_of_our_run():
            raise InputError(
                f"the checkpoint was trained on {then['name']}, which is not a known text, and belongs to no run in "
                "this store: give the text to evaluate it on with --text FILE"
            )
        corpus = same_text(then["name"], then["source"], self.vocabulary.alphabet, then["corpus_sha256"])
        return corpus.limited(self.facts["train"].get("train_chars", 0))


def evaluate(model: str, split: str = "test", text: str | None = None, reuse: bool = False) -> Step:
    """Record perplexity and bits per character of a trained model on a split of its corpus, or on another text file.

    Also evaluates the n-gram baseline, fitted on the model's training text, if that text can be read, and the mixture
    of the two, if the model's run has recorded one. Raises InputError or DataUnavailableError for a model or text that
    can't be read.
    """
    trained = TrainedModel.for_command(model)
    label = Path(text).name if text else split
    file = _find_text(text) if text else None
    digest = file.sha256() if file else ""

    def work(run: TrackedRun) -> dict[str, Any]:
        run.params({"model": trained.run_id or model, "split": split if file is None else "", "text": text or ""})
        corpus = _corpus_to_compare(trained, needed=file is None)
        result: dict[str, Any] = {"trained_run": trained.run_id, "split": None if text else split, "text": text}
        if file is None:
            assert corpus is not None
            ids = corpus.split(trained.preset, split)
            result |= corpus_keys(corpus)
            record_datasets(run, corpus, trained.preset, split)
        else:
            ids = encoded(file, digest, trained.vocabulary)
            result["unknown_characters"] = int((ids == trained.vocabulary.unknown_id).sum())
        if len(ids) < 2:
            raise InputError(f"--text {text} has {len(ids)} characters; at least 2 are needed")
        tensor = torch.from_numpy(ids)
        if corpus is None:
            result |= _figures(TextScore.of(text_costs(trained.network, tensor)))
        else:
            ngram = corpus.ngram(trained.preset)
            costs, nats = costs_with_ngram(trained.network, ngram, tensor)
            result |= _figures(TextScore.of(costs))
            bits = predicted_bits_per_char(ngram, ids)
            result |= {"ngram_perplexity": 2**bits, "ngram_bits_per_char": bits, "ngram_order": ngram.order}
            if mixture := trained.mixture():
                result |= _figures(TextScore(mixture.of(nats), len(costs)), "mixture_")
        run.constants({f"evaluation/{name}": value for name, value in result.items() if isinstance(value, float)})
        run.note(evaluation_text(plain(label), result))
        return result

    inputs = {**trained.keys, "split": split, "text": digest}
    return run_step("evaluate", f"evaluate-{label}-{trained.name}", inputs, trained.tags, work, reuse)


def _figures(score: TextScore, prefix: str = "") -> dict[str, Any]:
    figures = {f"{prefix}perplexity": score.perplexity, f"{prefix}bits_per_char": score.bits_per_char}
    return figures if prefix else {**figures, "characters": score.characters}


def _corpus_to_compare(trained: TrainedModel, needed: bool) -> Corpus | None:
    try:
        return trained.corpus()
    except (DataUnavailableError, InputError) as error:
        if needed:
            raise
        log.warning("No n-gram model to compare with: %s", error)
        return None


def _find_text(path: str) -> FoundText:
    try:
        return find_file(path, "--text")
    except FileNotFoundError:
        place = os.path.abspath(os.path.expanduser(path))
        raise InputError(f"--text {path}: there is no file {place}; give the path of a UTF-8 text file") from None
