"""What a node has to have before it trains: the text of the search, the same code, and the address of the store.

The text travels in prepared form among the artifacts of the parent run. Its facts, with its digests, travel with each
task, so that only that text is accepted.
"""

import json
import os
from dataclasses import dataclass, replace
from functools import cache

from pipeline.config import CorpusConfig
from pipeline.errors import TmlmError, UnfitNodeError
from pipeline.support.code_digest import code_digest
from pipeline.text.corpus import FACTS_FILE, IDS_FILE, Corpus, adopt, kept_corpus, load_corpus, pin

FOLDER = "text"  # among the artifacts of the parent run
CODE = "pipeline.stages.train"  # the module that trains and records


@dataclass(frozen=True)
class Needs:
    """What the tasks of a command need: the store's address, the run that has the text, the text's facts, the code."""

    store: str
    run_id: str
    config: CorpusConfig
    source: str
    is_fallback: bool
    facts: str
    code: str


def send(config: CorpusConfig, store: str) -> Needs:
    """Log the text to the run that this process has open, unless it has it; returns what to tell the nodes."""
    from pipeline.tracking.runs import current_run

    corpus, run = load_corpus(config), current_run()
    if not run.has(f"{FOLDER}/{FACTS_FILE}"):
        for name in (IDS_FILE, FACTS_FILE):  # the facts last: they say that the text is whole
            run.file(corpus.folder / name, FOLDER)
    facts = (corpus.folder / FACTS_FILE).read_text()
    return Needs(store, run.id, config, corpus.source, corpus.is_fallback, facts, code_digest(CODE))


def provide(needs: Needs) -> None:
    """Get everything for the task that follows in this process. Raises UnfitNodeError if that is not possible."""
    os.environ["MLFLOW_TRACKING_URI"] = needs.store
    pin(needs.config, _text(needs))  # each time: the process may have done a task of another command before


@cache
def _text(needs: Needs) -> Corpus:
    """The text of a command, from the cache or from its run."""
    if (own := code_digest(CODE)) != needs.code:
        raise UnfitNodeError(f"its code ({own}) is not that of the command ({needs.code}); install the same version")
    from pipeline.tracking import records, store

    facts = json.loads(needs.facts)
    corpus = kept_corpus(facts["name"], needs.source, facts["alphabet"], facts["corpus_sha256"])
    if corpus is None:
        try:
            store.setup()
            folder = records.download_artifact(f"runs:/{needs.run_id}/{FOLDER}")
            corpus = adopt(facts, (folder / IDS_FILE).read_bytes(), needs.source)
        except (TmlmError, *store.REFUSALS, ValueError) as error:
            raise UnfitNodeError(f"the text can't be had from {store.shown(needs.store)}: {error}") from error
    return replace(corpus, is_fallback=needs.is_fallback)
