"""The stage ``evaluate``: perplexity of a trained model on a split of its corpus or on another text."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from models.language_model import LanguageModel
from models.mixture import Mixture
from pipeline.config import RECIPE, PresetName
from pipeline.errors import DataUnavailableError, InputError
from pipeline.results import EVALUATE, TRAIN, Evaluation
from pipeline.stages.sentences import evaluation_text
from pipeline.support.markdown import plain
from pipeline.text.corpus import Corpus, encoded, label_of, text_sha256
from pipeline.text.ngrams import baselines_of, fitted_ngrams
from pipeline.text.sources import KNOWN_TEXTS, PIECE_SIZE, find_file
from pipeline.text.vocabulary import Vocabulary
from pipeline.tracking import artifacts, references, runs
from pipeline.tracking.queries import finished_trainings
from pipeline.tracking.step import Step, finished_step, step_key
from pipeline.tracking.text_identity import corpus_figures, record_datasets, same_text
from pipeline.training.checkpoints import stored_digest
from pipeline.training.evaluation import perplexity, text_costs
from pipeline.training.loading import load_model
from pipeline.training.mixing import costs_with_ngram
from pipeline.training.samples import prompts_for

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
        """Load ``model``, as ``references.checkpoint_of`` takes it. Raises InputError.

        From then on, this process computes with one thread.
        """
        torch.set_num_threads(1)
        path, run_id = references.checkpoint_of(model)
        network, vocabulary, facts = load_model(path)
        trained = cls(network, vocabulary, facts, stored_digest(path), run_id)
        if run_id is None:
            log.info("%s on %s, %s", trained.name, trained.corpus_label, model)
        return trained

    @property
    def name(self) -> str:
        return f"{self.network.config.shape}-s{self.facts['train']['seed']}"

    @property
    def preset(self) -> PresetName:
        return cast(PresetName, self.facts["train"]["preset"])

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

    @property
    def prompt(self) -> str:
        """What it continues if nothing else is given: the first prompt of its recorded samples, or of its alphabet."""
        samples = artifacts.read_samples(self.run_id) if self.run_id else []
        return samples[0]["prompt"] if samples else prompts_for(self.vocabulary)[0]

    def corpus(self) -> Corpus:
        """Load the text that it was trained on, from the same source. Raises InputError if the text has changed.

        The training split is what the model was trained on. A foreign checkpoint could name any file or address, so
        without a run in this store that confirms it, only texts known by name are opened.
        """
        then = self.facts["corpus"]
        if (
            then["name"] not in KNOWN_TEXTS
            and self.run_id is None
            and then["source"] not in (run.tag("corpus.source") for run in finished_trainings(then["corpus_sha256"]))
        ):
            raise InputError(
                f"the checkpoint was trained on {then['name']}, which is not a known text, and belongs to no run in "
                "this store: give the text to evaluate it on with --text FILE"
            )
        train_chars = self.facts["train"].get("train_chars", 0)
        return same_text(then["name"], then["source"], self.vocabulary.alphabet, then["corpus_sha256"], train_chars)


def evaluate(
    model: str,
    split: str = "test",
    text: str | None = None,
    adapt: bool = False,
    reuse: bool = False,
    scored: Mapping[str, Any] | None = None,
) -> Step[Evaluation]:
    """Record perplexity and bits per character of a trained model on a split of its corpus, or on another text file.

    Also evaluates the n-gram model, fitted on the model's training text, if that text can be read, and the mixture
    of the two, if the model's run has recorded one. With ``adapt``, also the adaptive score, for which the model learns
    from what it has scored. ``scored`` is the result of the model's training, whose score of the test text is recorded
    in place of a second one. Raises InputError or DataUnavailableError for a model or text that can't be read.
    """
    if text and split != "test":
        raise InputError(f"--split {split} is a split of the model's own text: leave it out, or --text")
    trained = TrainedModel.find(model)
    label = Path(text).name if text else split
    file = find_file(text, "--text") if text else None
    if text and file is None:
        place = Path(text).expanduser().absolute()
        raise InputError(f"--text {text}: there is no file {place}; give the path of a UTF-8 text file")
    digest = file.sha256() if file else ""

    key = step_key(EVALUATE, {**trained.keys, "split": split, "text": digest, "adapt": adapt})
    if reuse and (step := finished_step(EVALUATE, key)):
        return step

    with runs.tracked_run(EVALUATE, f"{EVALUATE}-{label}-{trained.name}", {**trained.tags, "step_key": key}) as run:
        run.params({"model": trained.run_id or model, "split": split if file is None else "", "text": text or ""})
        run.params({"adapt": str(adapt).lower()})
        corpus: Corpus | None = None
        try:
            corpus = trained.corpus()
        except (DataUnavailableError, InputError) as error:
            if adapt:
                raise InputError(f"{error}; without the text of the training, leave out --adapt") from error
            if file is None:
                raise
            log.warning("No n-gram model to compare with: %s", error)
        result: dict[str, Any] = {"run_id": run.id, "trained_run": trained.run_id}
        result |= {"split": None if text else split, "text": text}
        if file is None:
            assert corpus is not None
            ids = corpus.split(trained.preset, split)
            result |= corpus_figures(corpus)
            record_datasets(run, corpus, trained.preset, split)
        else:
            ids = encoded(file, trained.vocabulary)
            result["unknown_characters"] = unknown = int((ids == trained.vocabulary.unknown_id).sum())
            own = trained.facts["corpus"]["corpus_sha256"]
            pieces = np.split(ids, range(PIECE_SIZE, len(ids), PIECE_SIZE))
            result["is_training_text"] = not unknown and text_sha256(pieces, trained.vocabulary) == own
        if len(ids) < 2:
            raise InputError(f"--text {text} has {len(ids)} characters; at least 2 are needed")
        result |= _score(trained, corpus, ids) if scored is None else _score_of(scored, len(ids) - 1)
        if adapt:
            from pipeline.training.adaptive import adaptive_figures  # here, as most evaluations do without

            assert corpus is not None
            result |= adaptive_figures(trained.network, corpus, trained.preset, ids)
        metrics = {name: value for name, value in result.items() if isinstance(value, float) or name == "refits"}
        run.constants({f"evaluation/{name}": value for name, value in metrics.items()})
        run.describe(evaluation_text(plain(label), result))
        run.json(artifacts.RESULT_FILE, result)
    return Step(EVALUATE, run.id, cast(Evaluation, result))


def _score(trained: TrainedModel, corpus: Corpus | None, ids: NDArray[np.integer]) -> dict[str, Any]:
    """Score a text (N,) by a model and, where the text of its training is known, by the n-grams and their mixture."""
    figures: dict[str, Any] = {}
    if corpus is None:
        totals = {"": float(text_costs(trained.network, torch.from_numpy(ids)).sum())}  # in nats
    else:
        ngram = fitted_ngrams(corpus, trained.preset)
        costs, _, nats = costs_with_ngram(trained.network, ngram, torch.from_numpy(ids))
        totals = {"": float(costs.sum()), "ngram_": float(Mixture("linear", 0.0).of(nats))}
        training = artifacts.read_result(trained.run_id, TRAIN) if trained.run_id else {}
        is_current = trained.facts["recipe"] == RECIPE[trained.preset]  # else it was mixed with other n-grams
        if "mixture_weight" in training and is_current:
            mixture = Mixture(training["mixture_kind"], training["mixture_weight"])
            totals["mixture_"] = float(mixture.of(nats))
        single_order = baselines_of(corpus, trained.preset)["val"].best_order
        figures = {"ngram_order": ngram.tables.order, "single_ngram_order": single_order}
    characters = len(ids) - 1
    for which, total in totals.items():
        figures[f"{which}perplexity"] = perplexity(total / characters)
        figures[f"{which}bits_per_char"] = total / characters / math.log(2)
    return {**figures, "characters": characters}


def _score_of(training: Mapping[str, Any], characters: int) -> dict[str, Any]:
    """The score of the test text that the result of a training has."""
    figures = {name: training[name] for name in ("ngram_order", "single_ngram_order")}
    for which in ("", "ngram_", "mixture_"):
        known = training[f"{which}test_perplexity"]
        figures |= {f"{which}perplexity": known, f"{which}bits_per_char": math.log2(known)}
    return {**figures, "characters": characters}
