"""Train and evaluate one model, with checkpoints: the same code for the command line, searches and reproductions."""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import log, log2
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from models.complexity import Complexity, measure
from models.config import ModelConfig
from models.gated_ngrams import CrossFitted, contiguous_parts
from models.language_model import LanguageModel
from models.mixture import best_mixture
from models.ngram import Baselines
from models.on_top_of_ngram import NgramLanguageModel, language_model
from models.packing import coded, decoded, packed, rounded
from pipeline.config import (
    ON_REPORTS_TEXT,
    RECIPE,
    WINDOW_LENGTH,
    PresetName,
    TrainConfig,
    chosen_options,
    model_identity,
    train_identity,
)
from pipeline.errors import InputError
from pipeline.results import TrainingResult
from pipeline.support.files import leftovers
from pipeline.support.records import has_form, record
from pipeline.text.batches import Prior, data_of, windows
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of, fitted_ngrams, soft_targets
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.training.checkpoints import flatten, group, load_checkpoint, save_checkpoint
from pipeline.training.differences import compared, measured_key, percent
from pipeline.training.evaluation import block_means, perplexity, score_windows, text_costs
from pipeline.training.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from pipeline.training.loop import STATE, Callback, EpochPoint, Training, fit
from pipeline.training.mixing import costs_with_ngram
from pipeline.training.samples import SampleText, greedy_texts, sample_texts
from pipeline.training.stability import fell_over

SAVE_SECONDS = 60.0  # between checkpoints within an epoch: the most that is lost if the process is killed
WINDOWS_AT_ONCE = 1024  # windows scored in one forward call
WEIGHT_BITS = range(4, 17)  # of rounded weights
SMALL_CHANGE = log(1.001)  # of the nats per character: 0.1 % of perplexity
RESUMABLE = record(corpus=dict, train=dict, state=STATE)  # the facts of a last checkpoint
MAY_CHANGE = ("epochs", "max_seconds", "sample_every")  # options that may change when a training is resumed


@dataclass(frozen=True, repr=False)
class Result:
    """The result of an experiment: its perplexities are of the best epoch (lowest on validation).

    ``figures`` is the flat summary that ``--json`` prints. Of a model on top of n-grams, it has their largest order;
    under the presets on the report's text, the perplexity of the report's validation windows, each read from a zero
    state. Its ``last_texts`` are greedy continuations by the weights of the last epoch, as in the report: prompt ->
    text. ``block_costs`` are mean costs in nats per character of consecutive blocks: "val" and "test" of characters,
    "windowed" of those windows.
    """

    figures: TrainingResult
    history: list[EpochPoint]
    baselines: dict[str, Baselines]
    block_costs: dict[str, list[float]]
    complexity: Complexity
    samples: list[SampleText]


def steps_kept(folder: Path) -> int:
    """The number of steps done at a folder's last checkpoint; -1 without one. Raises InputError if it is damaged."""
    if not (folder / LAST_CHECKPOINT).is_file():
        return -1
    facts = load_checkpoint(folder / LAST_CHECKPOINT)[1]
    return int(facts["state"]["step"]) if has_form(facts, RESUMABLE) else -1


def _identity(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the facts of a checkpoint and of the training that resumes it have in common."""
    options = {name: value for name, value in train_identity(facts["train"]).items() if name not in MAY_CHANGE}
    return facts["corpus"]["corpus_sha256"], facts["vocabulary"], facts["model"], options, facts["recipe"]


def cross_fitted(corpus: Corpus, preset: PresetName, most: int) -> CrossFitted:
    """What n-grams, at most so many (0: all), say about the training text, for a network on top of them."""
    spans = corpus.baseline_spans(preset)
    parts = spans if len(spans) > 1 else contiguous_parts(spans[0][1])
    return CrossFitted(corpus.split(preset, "train"), fitted_ngrams(corpus, preset, most).tables, parts, most)


def weight_bits(model: LanguageModel, ids: Tensor, nats_per_char: float) -> int:
    """The fewest of WEIGHT_BITS with which the perplexity on ``ids`` (N,) changes by less than 0.1 %, or 32.

    ``nats_per_char`` is the cost before rounding.
    """
    changes = ((bits, float(text_costs(rounded(model, bits), ids).mean()) - nats_per_char) for bits in WEIGHT_BITS)
    return next((bits for bits, change in changes if abs(change) < SMALL_CHANGE), 32)


def shipped(model: LanguageModel, ids: Tensor, nats_per_char: float) -> tuple[int, int]:
    """The bits of a weight and the bytes of a model as it would be shipped, which has this cost on ``ids`` (N,)."""
    if isinstance(model, NgramLanguageModel):
        model = deepcopy(model)
        model.tables = decoded(coded(model.tables), model.vocab_size).to(model.output.weight.device)
    bits = weight_bits(model, ids, nats_per_char)
    return bits, len(packed(model, bits))


def _against_ngrams(network: Tensor, ngrams: Tensor, key: str) -> TrainingResult:
    """By how much a network's costs (N,) in nats are above those of the n-grams, with the interval and the verdict.

    Without a ``key``, i.e. a known spread of seeds, one seed has the interval of the text alone and no verdict.
    """
    first, second = ((costs.cpu() / log(2)).numpy()[None] for costs in (network, ngrams))
    comparison = compared(key, first, second)
    both = comparison.over_both
    low, high = map(percent, both.ends) if both.ends else (None, None)
    found = {
        "test_difference": percent(both.mean),
        "test_difference_low": low,
        "test_difference_high": high,
        "test_interval": "" if both.ends is None else "seeds and text" if key else "text",
        "test_verdict": comparison.verdict if key and both.ends else "none",
    }
    return cast(TrainingResult, found)


class Experiment(Callback):
    """A training with its corpus and checkpoints: a new one, or the one restored from ``checkpoint_dir``.

    As the Callback of its training, it keeps the best weights so far and writes two checkpoints: last.safetensors holds
    the whole state, including the best weights, after the last reported epoch or later; best.safetensors holds the best
    weights with all that is needed to use them. Nothing is written before ``run``. Raises InputError for a text that is
    too short, a device that this machine lacks, and a checkpoint that is damaged, of another training, or can't be
    resumed with this number of epochs.
    """

    def __init__(
        self, corpus: Corpus, model_config: ModelConfig, train_config: TrainConfig, checkpoint_dir: Path | None = None
    ) -> None:
        self.corpus = corpus = corpus.limited(train_config.train_chars)
        self.model_config, self.train_config, self.checkpoint_dir = model_config, train_config, checkpoint_dir
        preset, most, is_on_top = train_config.preset, model_config.ngrams, model_config.on_top_of == "ngram"
        prior: Prior | None = cross_fitted(corpus, preset, most) if is_on_top else None
        if train_config.counting_loss:
            prior = soft_targets(corpus, preset)
        ngrams = fitted_ngrams(corpus, preset, most) if is_on_top else None
        torch.manual_seed(train_config.seed)
        model = language_model(model_config, len(corpus.vocabulary), ngrams)
        self.training = Training(model, data_of(corpus, train_config, prior), train_config)
        self.callbacks: tuple[Callback, ...] = ()
        self.best_weights: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()
        self.facts: dict[str, Any] = {  # of both checkpoints
            "corpus": {name: getattr(corpus, name) for name in ("name", "source", "corpus_sha256", "source_sha256")},
            "vocabulary": {"alphabet": corpus.vocabulary.alphabet, "symbols": list(corpus.vocabulary.symbols)},
            "model": model_identity(model_config),
            "train": asdict(train_config),
            "recipe": RECIPE[train_config.preset],
        }
        if checkpoint_dir is not None and (last := checkpoint_dir / LAST_CHECKPOINT).is_file():
            tensors, found = load_checkpoint(last)
            try:
                if not has_form(found, RESUMABLE):
                    raise ValueError("its facts have another form")
                if _identity(found) != _identity(self.facts):
                    raise InputError(f"{last} is of another training (text, options or recipe); restore this one's")
                self._check_epochs(found["state"])
                if best := group("best", tensors):
                    model.load_state_dict(best)  # to check them
                    if not all(parameter.isfinite().all() for parameter in model.parameters()):
                        raise ValueError("its best weights are not all finite numbers")
                self.training.load_state_dict(tensors, found["state"])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"{last} is not a training that this version can resume ({error}); start a new training"
                ) from error
            self.best_weights = best

    def _check_epochs(self, state: Mapping[str, Any]) -> None:
        """Raise InputError for a number of epochs with which a checkpoint's training can't be resumed."""
        training, planned, done = self.training, state["epochs"], len(state["history"])
        if training.epochs != planned and (training.config.schedule != "constant" or training.config.counting_loss):
            raise InputError(
                f"--epochs {training.epochs} is not possible: learning rate and loss of this training were planned for "
                f"{planned} epochs; the number can change only with a constant rate and without counting_loss. "
                f"Start a new training with --epochs {training.epochs}"
            )
        if training.epochs < done:
            raise InputError(
                f"--epochs {training.epochs} is not possible: {done} epochs are done; give at least as many"
            )

    def run(self, *callbacks: Callback) -> Result:
        """Train to the end, then evaluate the best epoch (lowest validation perplexity) on the test text.

        With a folder, a checkpoint is written before each call of ``on_epoch``, every SAVE_SECONDS within an epoch, and
        on Ctrl-C or SystemExit; another Experiment with the same folder then continues with bit-identical results.
        Raises TrainingDivergedError as ``fit`` does.
        """
        self.callbacks = callbacks
        try:
            fit(self.training, self, *callbacks)
        except (KeyboardInterrupt, SystemExit):
            if self.training.is_whole:
                self.save_checkpoints(self.training)
            raise
        return self._evaluate()

    def on_start(self, training: Training) -> None:
        if self.checkpoint_dir is not None:
            for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
                for part in leftovers(self.checkpoint_dir / name):  # of a killed process
                    part.unlink(missing_ok=True)
            if training.best is not None:
                self._write_best(training)  # the process may have died between writing the two files

    def on_step(self, training: Training) -> None:
        """Write the last checkpoint if the one before is SAVE_SECONDS old."""
        if self.checkpoint_dir is not None and time.monotonic() - self.saved_at >= SAVE_SECONDS:
            training.checked_losses()  # a diverged training must not replace the checkpoint
            self._save_if_allowed(training)

    def on_epoch(self, training: Training, point: EpochPoint) -> None:
        self._save_if_allowed(training)

    def _save_if_allowed(self, training: Training) -> None:
        for callback in self.callbacks:
            callback.before_checkpoint(training)
        self.save_checkpoints(training)

    def save_checkpoints(self, training: Training) -> None:
        """Copy the weights if the last epoch is the best, and write the checkpoints. Idempotent."""
        is_best = training.partial_epoch is None and bool(training.history) and training.best is training.history[-1]
        if is_best:
            model = deepcopy(training.eval_model)
            model.scale_logits(training.history[-1].logit_scale)
            self.best_weights = model.state_dict()
        if self.checkpoint_dir is None:
            return
        tensors, state = training.state_dict()
        best = flatten("best", self.best_weights)
        save_checkpoint(self.checkpoint_dir / LAST_CHECKPOINT, tensors | best, {**self.facts, "state": state})
        if is_best:
            self._write_best(training)
        self.saved_at = time.monotonic()

    def _write_best(self, training: Training) -> None:
        assert self.checkpoint_dir is not None
        assert training.best is not None
        facts = {**self.facts, "epoch": training.best.epoch, "val_perplexity": training.best.val_perplexity}
        tensors = flatten("model", self.best_weights)
        if isinstance(training.model, NgramLanguageModel):
            tensors |= flatten("ngram", training.model.tables.tensors())
        save_checkpoint(self.checkpoint_dir / BEST_CHECKPOINT, tensors, facts)

    def _evaluate(self) -> Result:
        training, corpus, preset = self.training, self.corpus, self.train_config.preset
        assert training.best is not None  # fit trains for at least one epoch
        model = deepcopy(training.eval_model)
        last_texts = greedy_texts(model, corpus.vocabulary)
        model.load_state_dict(self.best_weights)
        val_perplexities = [point.val_perplexity for point in training.history]
        train_perplexities = [point.train_perplexity for point in training.history]

        costs, by_ngrams, nats, ngrams = {}, {}, {}, fitted_ngrams(corpus, preset)
        ids = {split: torch.from_numpy(corpus.split(preset, split)) for split in ("val", "test")}
        for split in ids:
            costs[split], by_ngrams[split], nats[split] = costs_with_ngram(model, ngrams, ids[split])
        mixture, test = best_mixture(nats["val"]), float(costs["test"].sum()) / len(costs["test"])
        mixed = {split: perplexity(float(mixture.of(nats[split])) / len(costs[split])) for split in ids}
        baselines, complexity = baselines_of(corpus, preset), measure(self.model_config, len(corpus.vocabulary))
        samples = sample_texts(model, corpus.vocabulary, self.train_config.seed, corpus.own_prompt)
        tables = model.tables if isinstance(model, NgramLanguageModel) else None
        chosen = chosen_options(self.model_config, self.train_config, corpus.train_chars, len(corpus.vocabulary))
        is_whole = training.stopped_by != "time"
        is_of_letters = corpus.vocabulary.alphabet == "letters"
        is_time_machine = is_of_letters and corpus.source_sha256 == KNOWN_TEXTS["time-machine"].sha256
        key = measured_key(self.model_config, preset, chosen, is_time_machine) if is_whole else ""
        bits, shipped_bytes = shipped(model, ids["val"], float(costs["val"].mean()))
        figures: TrainingResult = {
            "val_perplexity": training.best.val_perplexity,
            "val_perplexity_pooled": training.best.val_perplexity_pooled,
            "test_perplexity": perplexity(test),
            "test_bits_per_char": test / log(2),
            "ngram_val_perplexity": 2 ** baselines["val"].ngram.bits_per_char,
            "ngram_test_perplexity": 2 ** baselines["test"].ngram.bits_per_char,
            "ngram_order": baselines["val"].ngram.order,
            "ngram_entries": baselines["val"].ngram.entries,
            "single_ngram_val_perplexity": 2 ** baselines["val"].single.bits_per_char,
            "single_ngram_test_perplexity": 2 ** baselines["test"].single.bits_per_char,
            "single_ngram_order": baselines["val"].best_order,
            "equal_ngram_order": baselines["val"].order_as_good_as(log2(training.best.val_perplexity_pooled)),
            **_against_ngrams(costs["test"], by_ngrams["test"], key),
            "mixture_val_perplexity": mixed["val"],
            "mixture_test_perplexity": mixed["test"],
            "mixture_kind": mixture.kind,
            "mixture_weight": mixture.weight,
            "best_epoch": training.best.epoch,
            "epochs": len(training.history),
            "stopped": training.stopped,
            "stopped_by": training.stopped_by,
            "fell_over": training.stopped_by != "time"
            and fell_over(train_perplexities, val_perplexities, training.epochs),
            "train_seconds": training.train_seconds,
            "chars_per_second": training.history[-1].train_chars / training.train_seconds,
            "parameters": complexity.parameters,
            "macs_per_char": complexity.macs_per_char,
            "stored_numbers": complexity.parameters + (tables.stored_numbers if tables else 0),
            "weight_bits": bits,
            "shipped_bytes": shipped_bytes,
            "checkpoint": str(self.checkpoint_dir / BEST_CHECKPOINT) if self.checkpoint_dir else None,
            "val_perplexities": val_perplexities,
            "texts": [sample.text for sample in samples],
            "last_texts": last_texts,
            "trained_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": training.precision,
            "device": str(training.device),
        }
        if preset in ON_REPORTS_TEXT:
            _, _, costs["windowed"] = score_windows(model, *windows(ids["val"], WINDOW_LENGTH), WINDOWS_AT_ONCE)
            figures["val_perplexity_windowed"] = perplexity(float(costs["windowed"].mean()))
        if tables is not None:
            figures["on_top_of_order"] = tables.order
        block_costs = {name: block_means(cost) for name, cost in costs.items()}
        return Result(figures, training.history, baselines, block_costs, complexity, samples)
