"""What a node has to have before it trains: the text of the search, the same code, and the address of the store.

The text travels in prepared form among the artifacts of the parent run, and is found again by its digest.
"""

import os
from dataclasses import dataclass, replace
from functools import cache

from pipeline.config import CorpusConfig
from pipeline.errors import TmlmError, UnfitNodeError
from pipeline.support.code_digest import code_digest
from pipeline.text.corpus import FACTS_FILE, IDS_FILE, adopt, kept_corpus, load_corpus, pin

FOLDER = "text"  # among the artifacts of the parent run
CODE = "pipeline.training.experiment"  # the module that trains


@dataclass(frozen=True)
class Needs:
    """What the tasks of a command need: the store's address, the run that has the text, the text, and the code."""

    store: str
    run_id: str
    config: CorpusConfig
    name: str
    source: str
    is_fallback: bool
    corpus_sha256: str
    code: str


def send(config: CorpusConfig, store: str) -> Needs:
    """Log the text to the run that this process has open, unless it has it; returns what to tell the nodes."""
    from pipeline.tracking.runs import current_run

    corpus, run = load_corpus(config), current_run()
    if not run.has(f"{FOLDER}/{FACTS_FILE}"):
        for name in (IDS_FILE, FACTS_FILE):  # the facts last: they say that the text is whole
            run.file(corpus.folder / name, FOLDER)
    text = corpus.name, corpus.source, corpus.is_fallback, corpus.corpus_sha256
    return Needs(store, run.id, config, *text, code_digest(CODE))


@cache
def provide(needs: Needs) -> None:
    """Get everything for the tasks that follow in this process. Raises UnfitNodeError if that is not possible."""
    os.environ["MLFLOW_TRACKING_URI"] = needs.store
    if (own := code_digest(CODE)) != needs.code:
        raise UnfitNodeError(f"its code ({own}) is not that of the command ({needs.code}); install the same version")
    from pipeline.tracking import records, store

    text = needs.name, needs.source, needs.config.alphabet, needs.corpus_sha256
    corpus = kept_corpus(*text)
    if corpus is None:
        try:
            store.setup()
            adopt(records.download_artifact(f"runs:/{needs.run_id}/{FOLDER}"))
        except (TmlmError, *store.REFUSALS, ValueError, KeyError) as error:
            raise UnfitNodeError(f"the text can't be had from {store.shown(needs.store)}: {error}") from error
        if (corpus := kept_corpus(*text)) is None:
            raise UnfitNodeError(f"the text in run {needs.run_id} is not {needs.name} ({needs.corpus_sha256[:8]}...)")
    pin(needs.config, replace(corpus, is_fallback=needs.is_fallback))
