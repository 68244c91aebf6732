"""Provide what a node needs before it trains: the text, the same code, and the address of the store.

The text is sent in prepared form, as artifacts of the parent run, and identified by its digest.
"""

import os
from dataclasses import dataclass, replace
from functools import cache

from pipeline.config import CorpusConfig
from pipeline.errors import TmlmError, UnfitNodeError
from pipeline.support.code_digest import code_digest
from pipeline.text.corpus import FACTS_FILE, IDS_FILE, adopt, kept_corpus, load_corpus, pin

FOLDER = "text"  # in the artifacts of the parent run
CODE = "pipeline.training.experiment"  # the module that trains


@dataclass(frozen=True)
class Needs:
    """What the tasks of a command need: the address of the store, the run that has the text, the text, the code."""

    store: str
    run_id: str
    config: CorpusConfig
    name: str
    source: str
    is_fallback: bool
    corpus_sha256: str
    code: str


def send(config: CorpusConfig, store: str) -> Needs:
    """Log the text to the current run, unless it has it already; return what the nodes need to know."""
    from pipeline.tracking.runs import current_run

    corpus, run = load_corpus(config), current_run()
    if not run.has(f"{FOLDER}/{FACTS_FILE}"):
        for name in (IDS_FILE, FACTS_FILE):  # FACTS_FILE last: it marks the text as complete
            run.file(corpus.folder / name, FOLDER)
    text = corpus.name, corpus.source, corpus.is_fallback, corpus.corpus_sha256
    return Needs(store, run.id, config, *text, code_digest(CODE))


@cache
def provide(needs: Needs) -> None:
    """Get everything that tasks in this process need. Raises UnfitNodeError if that is not possible."""
    os.environ["MLFLOW_TRACKING_URI"] = needs.store
    if (own := code_digest(CODE)) != needs.code:
        raise UnfitNodeError(f"its code ({own}) differs from the command's ({needs.code}); install the same version")
    from pipeline.tracking import records, store

    text = needs.name, needs.source, needs.config.alphabet, needs.corpus_sha256
    corpus = kept_corpus(*text)
    if corpus is None:
        try:
            store.setup()
            adopt(records.download_artifact(f"runs:/{needs.run_id}/{FOLDER}"))
        except (TmlmError, *store.REFUSALS, ValueError, KeyError) as error:
            raise UnfitNodeError(f"the text can't be read from {store.shown(needs.store)}: {error}") from error
        if (corpus := kept_corpus(*text)) is None:
            raise UnfitNodeError(f"the text in run {needs.run_id} is not {needs.name} ({needs.corpus_sha256[:8]}...)")
    pin(needs.config, replace(corpus, is_fallback=needs.is_fallback))
