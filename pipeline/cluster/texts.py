"""Provide what a node needs before it trains: the text, the same RECIPE and versions, and the address of the store.

The text is sent in prepared form, as artifacts of the parent run. Its facts, with its digests, are sent with each task,
so that no other text is accepted.
"""

import json
import logging
import os
import socket
from dataclasses import dataclass, field
from functools import cache

from pipeline.config import RECIPE, PresetName
from pipeline.errors import TmlmError, UnfitNodeError
from pipeline.support.machine import public_version
from pipeline.text.corpus import FACTS_FILE, IDS_FILE, Corpus, cache_corpus, kept_corpus

log = logging.getLogger(__name__)

COMPUTING = ("torch", "numpy")  # another version may change the last digits of a figure
FOLDER = "text"  # in the artifacts of the parent run


@dataclass(frozen=True)
class Needs:
    """What the tasks of a command need: the store, the text, and the RECIPE and versions that make the same figures."""

    store: str
    run_id: str  # of the run that has the text
    facts: str
    recipe: dict[PresetName, int] = field(hash=False)
    versions: dict[str, str] = field(hash=False)


def send(corpus: Corpus, store: str) -> Needs:
    """Log the text to the innermost open run, unless it has it already; return what the nodes need to know."""
    from pipeline.tracking.runs import open_runs

    run = open_runs[-1]
    if not run.has(f"{FOLDER}/{FACTS_FILE}"):
        for name in (IDS_FILE, FACTS_FILE):  # FACTS_FILE last: it marks the text as complete
            run.file(corpus.folder / name, FOLDER)
    facts = (corpus.folder / FACTS_FILE).read_text()
    versions = {package: public_version(package) for package in (*COMPUTING, "mlflow")}
    return Needs(store, run.id, facts, dict(RECIPE), versions)


def fetch_needs(needs: Needs) -> None:
    """Get everything for the task that follows in this process. Raises UnfitNodeError if that is not possible."""
    os.environ["MLFLOW_TRACKING_URI"] = needs.store  # each time: the last task may have been of another command
    _fetch_text(needs)


@cache
def _fetch_text(needs: Needs) -> None:
    """Put the text of a command into the cache, from its run, unless it is there; refuse another RECIPE or version."""
    if needs.recipe != RECIPE:
        raise UnfitNodeError(f"its RECIPE {RECIPE} differs from the command's {needs.recipe}; install the same version")
    for package, wanted in needs.versions.items():
        if (own := public_version(package)) != wanted:
            differs = f"its {package} {own} differs from the command's {wanted}"
            if package in COMPUTING:
                raise UnfitNodeError(f"{differs}; install the same version")
            log.warning("On the node %s, %s.", socket.gethostname(), differs)
    from pipeline.tracking import artifacts, store

    facts = json.loads(needs.facts)
    if kept_corpus(facts["name"], "", facts["alphabet"], facts["corpus_sha256"]) is None:
        try:
            store.setup()
            cache_corpus(facts, artifacts.download_artifact(f"runs:/{needs.run_id}/{FOLDER}"))
        except (TmlmError, *store.REFUSALS, ValueError) as error:
            raise UnfitNodeError(f"the text can't be read from {store.shown(needs.store)}: {error}") from None
