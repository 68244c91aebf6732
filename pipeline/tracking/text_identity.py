"""A text in records: its tags, options, keys and datasets; the text to train on, and that of an earlier training."""

import logging
from dataclasses import replace
from typing import Any

from pipeline.config import Alphabet, CorpusConfig, PresetName
from pipeline.errors import InputError, without_secrets
from pipeline.support import wording
from pipeline.text.corpus import Corpus, check_letters, kept_corpus, load_corpus
from pipeline.text.downloads import is_address
from pipeline.text.sources import KNOWN_TEXTS, find_file, find_text
from pipeline.tracking import queries
from pipeline.tracking.runs import TrackedRun, dataset

from mlflow.entities import DatasetInput

log = logging.getLogger(__name__)


def corpus_tags(corpus: Corpus) -> dict[str, str]:
    """The tags of a run on a text, by their bare names."""
    tags = {"corpus": corpus.label, "corpus.sha256": corpus.corpus_sha256, "corpus.source": corpus.source}
    return {**tags, "corpus.fallback": "true"} if corpus.is_fallback else tags


def corpus_options(corpus: Corpus) -> dict[str, Any]:
    """The text's options as recorded: an address without credentials, and the alphabet that it has."""
    return {"corpus": without_secrets(corpus.option), "alphabet": corpus.vocabulary.alphabet}


def corpus_keys(corpus: Corpus) -> dict[str, Any]:
    """What identifies a text in step keys and recorded configurations."""
    return {"corpus": corpus.name, "corpus_sha256": corpus.corpus_sha256, "source_sha256": corpus.source_sha256}


def corpus_figures(corpus: Corpus) -> dict[str, Any]:
    """What identifies a text in results: its label, as in lists of runs, and its digests."""
    return {**corpus_keys(corpus), "corpus": corpus.label}


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
        is_on = queries.on_text(corpus.name if corpus.name in KNOWN_TEXTS else corpus.source)
        done = [run for run in queries.finished_trainings() if is_on(run)]
        if {run.corpus for run in done} == {corpus.name}:
            trained, them = wording.counted(len(done), "training"), "them" if done[1:] else "it"
            log.warning("%s has %s as letters: --alphabet letters goes on with %s", corpus.name, trained, them)
    elif stage and config.alphabet == "letters":
        conditions = queries.has_tag("stage", stage), queries.has_tag("corpus.sha256", corpus.corpus_sha256)
        if queries.latest(*conditions) is None:
            check_letters(find_text(config.corpus))
    return corpus


def same_text(name: str, source: str, alphabet: Alphabet, corpus_sha256: str, train_chars: int = 0) -> Corpus:
    """The text of an earlier training, which read ``train_chars`` (0: all), from the cache or its recorded source.

    Raises InputError if it is not in the cache and the source is gone or has changed.
    """
    if (kept := kept_corpus(name, source, alphabet, corpus_sha256)) is not None:
        return kept.limited(train_chars)
    is_file = name not in KNOWN_TEXTS and not is_address(source)
    if is_file and find_file(source) is None:
        raise InputError(
            f"the text {name} that was trained on is gone: there is no file {source}, and no copy of it is kept; "
            "restore it there (any other: `tmlm evaluate --text FILE`)"
        )
    corpus = load_corpus(CorpusConfig(name if name in KNOWN_TEXTS else source, alphabet))
    if corpus.corpus_sha256 != corpus_sha256:
        raise InputError(
            f"the text {name} is not the one that was trained on (sha256 {corpus.corpus_sha256[:8]}..., "
            f"then {corpus_sha256[:8]}...); restore the earlier one at {source} "
            "(any other: `tmlm evaluate --text FILE`)"
        )
    return replace(corpus, name=name).limited(train_chars)
