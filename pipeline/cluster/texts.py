"""Provide what a node needs before it trains: the text, the same RECIPE, and the address of the store.

The text is sent in prepared form, as artifacts of the parent run. Its facts, with its digests, are sent with each task,
so that no other text is accepted.
"""

import json
import os
from dataclasses import dataclass, field, replace
from functools import cache

from pipeline.config import RECIPE, CorpusConfig, PresetName
from pipeline.errors import TmlmError, UnfitNodeError
from pipeline.text.corpus import FACTS_FILE, IDS_FILE, Corpus, adopt, kept_corpus, load_corpus, pin

FOLDER = "text"  # in the artifacts of the parent run


@dataclass(frozen=True)
class Needs:
    """What the tasks of a command need: the store's address, the run that has the text, the text's facts, RECIPE."""

    store: str
    run_id: str
    config: CorpusConfig
    source: str
    is_fallback: bool
    facts: str
    recipe: dict[PresetName, int] = field(hash=False)


def send(config: CorpusConfig, store: str) -> Needs:
    """Log the text to the current run, unless it has it already; return what the nodes need to know."""
    from pipeline.tracking.runs import current_run

    corpus, run = load_corpus(config), current_run()
    if not run.has(f"{FOLDER}/{FACTS_FILE}"):
        for name in (IDS_FILE, FACTS_FILE):  # FACTS_FILE last: it marks the text as complete
            run.file(corpus.folder / name, FOLDER)
    facts = (corpus.folder / FACTS_FILE).read_text()
    return Needs(store, run.id, config, corpus.source, corpus.is_fallback, facts, dict(RECIPE))


def provide(needs: Needs) -> None:
    """Get everything for the task that follows in this process. Raises UnfitNodeError if that is not possible."""
    os.environ["MLFLOW_TRACKING_URI"] = needs.store
    pin(needs.config, _text(needs))  # each time: the process may have done a task of another command before


@cache
def _text(needs: Needs) -> Corpus:
    """The text of a command, from the cache or from its run."""
    if needs.recipe != RECIPE:
        raise UnfitNodeError(f"its RECIPE {RECIPE} differs from the command's {needs.recipe}; install the same version")
    from pipeline.tracking import recorded, store

    facts = json.loads(needs.facts)
    corpus = kept_corpus(facts["name"], needs.source, facts["alphabet"], facts["corpus_sha256"])
    if corpus is None:
        try:
            store.setup()
            folder = recorded.download_artifact(f"runs:/{needs.run_id}/{FOLDER}")
            corpus = adopt(facts, (folder / IDS_FILE).read_bytes(), needs.source)
        except (TmlmError, *store.REFUSALS, ValueError) as error:
            raise UnfitNodeError(f"the text can't be read from {store.shown(needs.store)}: {error}") from error
    return replace(corpus, is_fallback=needs.is_fallback)
