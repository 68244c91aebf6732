"""Run a stage in a tracked run, or reuse the result of an earlier run with the same key.

A step returns a flat dict, which is also an artifact of its run, result.json. It is reused while all that it depends on
is unchanged: its configuration, the text, the RECIPE of its preset and the result of the previous step.
"""

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Generic, TypeVar

import torch

from pipeline.config import Alphabet, CorpusConfig, PresetName
from pipeline.errors import InputError, without_secrets
from pipeline.support import wording
from pipeline.text.corpus import Corpus, check_letters, kept_corpus, load_corpus
from pipeline.text.sources import KNOWN_TEXTS, find_text
from pipeline.tracking import recorded, runs
from pipeline.tracking.liveness import close_nested, process_state
from pipeline.tracking.names import failure_tags
from pipeline.tracking.recorded import RecordedRun, artifact_path
from pipeline.tracking.runs import TrackedRun, dataset
from pipeline.tracking.store import REFUSALS, client, set_tags, store_errors, store_reason
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.files import BEST_CHECKPOINT

from mlflow.entities import DatasetInput

log = logging.getLogger(__name__)

CURVES_PLOT = "plots/perplexity.png"


R = TypeVar("R", bound=Mapping[str, Any])  # a result


@dataclass(frozen=True)
class Step(Generic[R]):
    """A finished stage: its run, its result, and whether the result was reused from an earlier run."""

    stage: str
    run_id: str
    result: R = field(repr=False)
    reused: bool = False


def step_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """The digest of all that a step's result depends on: torch's version and ``inputs``, which name text and RECIPE."""
    depends = {"stage": stage, "torch": torch.__version__, **inputs}
    return sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def finished_step(stage: str, key: str) -> Step[Any] | None:
    """The latest finished run with this key as a step to reuse; None if there is none whose artifacts are intact."""
    found = recorded.latest(recorded.has_tag("step_key", key), recorded.FINISHED)
    result = _reusable(found) if found else None
    return Step(stage, found.id, result, reused=True) if found and result else None


def leave_out_repeats(parent: str, counted: Collection[str]) -> None:
    """Keep one finished training for each step key in a run, if possible one of ``counted``; mark others FAILED.

    A node that was cut off from its cluster may finish a training that another node has repeated meanwhile. FAILED runs
    are not listed as finished trainings; the tag duplicate_of names the run that counts. Trainings that are still
    RUNNING, although the run needs no more of them, have lost their process or could not record their end: they are
    closed. Raises as ``store_errors`` does.
    """
    with store_errors():
        close_nested(parent, lambda run: True, "its end was not recorded, and it was not needed any more")
        kept: dict[str, str] = {}
        finished = [run for run in recorded.nested_trainings(parent) if run.state == "finished"]
        for run in sorted(finished, key=lambda run: run.id not in counted):
            if (first := kept.setdefault(run.tag("step_key") or run.id, run.id)) != run.id:
                failure = failure_tags(f"a duplicate: the run {first} of the same training counts")
                set_tags(run.id, {"duplicate_of": first, **failure})
                client().set_terminated(run.id, "FAILED", run.ended_ms)


def _reusable(run: RecordedRun) -> dict[str, Any] | None:
    """A step's result with the present path of its checkpoint.

    None if the result, or an artifact that later steps need (checkpoint, curves), is missing or damaged.
    """
    if run.result.get("checkpoint") is None:
        return dict(run.result) or None
    try:
        checkpoint = artifact_path(run.id, f"checkpoints/{BEST_CHECKPOINT}")  # the folder may have moved
        load_checkpoint(checkpoint)
        has_curves = artifact_path(run.id, CURVES_PLOT).is_file()
    except (InputError, *REFUSALS) as error:  # damaged or deleted artifacts, or an unreachable artifact store
        log.warning("the training %s is repeated: its artifacts can't be read: %s", run.id, store_reason(error))
        return None
    return {**run.result, "checkpoint": str(checkpoint)} if has_curves else None


@contextmanager
def parent_run(stage: str, name: str, tags: Mapping[str, Any], earlier: RecordedRun | None) -> Iterator[TrackedRun]:
    """Start the parent run, or reopen ``earlier``, the parent run of the same command, and close what it has lost."""
    if earlier is not None:
        with store_errors():
            lost = "the command that it was for has ended"
            close_nested(earlier.id, lambda run: process_state(run) == "remote", lost)
    with runs.tracked_run(stage, name, tags, resumed=earlier) as run:
        yield run


def corpus_tags(corpus: Corpus) -> dict[str, str]:
    """The tags of a run on a text, by their bare names."""
    tags = {"corpus": corpus.label, "corpus.sha256": corpus.corpus_sha256, "corpus.source": corpus.source}
    return {**tags, "corpus.fallback": "true"} if corpus.is_fallback else tags


def corpus_options(config: CorpusConfig, corpus: Corpus) -> dict[str, Any]:
    """The text's options as recorded: an address without credentials, and the alphabet that it has."""
    return {"corpus": without_secrets(config.corpus), "alphabet": corpus.vocabulary.alphabet}


def corpus_keys(corpus: Corpus) -> dict[str, Any]:
    """What identifies a text in step keys and recorded configurations."""
    return {"corpus": corpus.name, "corpus_sha256": corpus.corpus_sha256, "source_sha256": corpus.source_sha256}


def record_datasets(run: TrackedRun, corpus: Corpus, preset: PresetName, only: str | None = None) -> None:
    """Log each split of a text, or only the one named ``only``, as a dataset that the run read."""
    run.datasets(data for split, data in datasets_of(corpus, preset).items() if only in (None, split))


def datasets_of(corpus: Corpus, preset: PresetName) -> dict[str, DatasetInput]:
    """The datasets as which the splits of a text are recorded."""
    digest = corpus.corpus_sha256[:16]
    return {
        split: dataset(f"{corpus.label}/{split}", f"{digest}-{start}-{end}"[:36], corpus.source, split)
        for split, (start, end) in corpus.spans(preset).items()
    }


def text_to_train(config: CorpusConfig, stage: str = "") -> Corpus:
    """The text that a command names to train on; whatever ``letters`` drops where its ``stage`` has a run on the text.

    A warning says if ``auto`` takes ``raw`` and all trainings on the text are as ``letters``.
    """
    corpus = load_corpus(config, is_new=not stage)
    if config.alphabet == "auto" and corpus.vocabulary.alphabet == "raw":
        is_on = recorded.on_text(corpus.name if corpus.name in KNOWN_TEXTS else corpus.source)
        done = [run for run in recorded.finished_trainings() if is_on(run)]
        if {run.corpus for run in done} == {corpus.name}:
            trained, them = wording.counted(len(done), "training"), "them" if done[1:] else "it"
            log.warning("%s has %s as letters: --alphabet letters goes on with %s", corpus.name, trained, them)
    elif stage and config.alphabet == "letters":
        conditions = recorded.has_tag("stage", stage), recorded.has_tag("corpus.sha256", corpus.corpus_sha256)
        if recorded.latest(*conditions) is None:
            check_letters(find_text(config.corpus))
    return corpus


def same_text(name: str, source: str, alphabet: Alphabet, corpus_sha256: str, train_chars: int = 0) -> Corpus:
    """The text of an earlier training, which read ``train_chars`` (0: all), from the cache or its recorded source.

    Raises InputError if it is not in the cache and the source is gone or has changed.
    """
    if (kept := kept_corpus(name, source, alphabet, corpus_sha256)) is not None:
        return kept.limited(train_chars)
    corpus = load_corpus(CorpusConfig(name if name in KNOWN_TEXTS else source, alphabet))
    if corpus.corpus_sha256 != corpus_sha256:
        raise InputError(
            f"the text {name} is not the one that was trained on (sha256 {corpus.corpus_sha256[:8]}..., "
            f"then {corpus_sha256[:8]}...); restore the earlier one at {source} (any other: evaluate --text FILE)"
        )
    return replace(corpus, name=name).limited(train_chars)
