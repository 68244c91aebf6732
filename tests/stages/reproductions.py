"""Reproductions of one or two small configurations on another text than the book, for tests of what is recorded."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.config import ReproduceConfig
from pipeline.report.reproduction import TextFacts
from pipeline.report.text_facts import text_facts
from pipeline.text.corpus import Corpus
from pipeline.tracking import recorded
from tests.labs import leave_out_the_served_model, make_artifacts_plain
from tests.report.page.pages import SENSITIVITY

TWO = ReproduceConfig(only="gru-scratch-1x8,lstm-scratch-1x8")
ONE = replace(TWO, only="gru-scratch-1x8")
FACTS: dict[str, TextFacts] = {}  # by the digest of a text
SAID = "id,kind,configurations,statement,value,relation"


def stand_in(patch: pytest.MonkeyPatch, corpus: Corpus) -> None:
    """Another text in place of the book, in the command and in what stands in for a worker; one epoch; light artifacts.

    That pictures are drawn is for the tests of figures.
    """
    patch.setattr("pipeline.stages.reproduce.load_corpus", lambda config: corpus)
    patch.setattr("pipeline.stages.reproduce.QUICK_EPOCHS", 1)
    patch.setattr("pipeline.stages.reproduce.text_facts", facts_of)  # once a text
    patch.setattr("pipeline.stages.tasks._loaded", lambda config: corpus)
    patch.setattr("pipeline.stages.report.sensitivity", lambda evidence: SENSITIVITY)
    patch.setattr("pipeline.stages.sweep.shapes_to_time", lambda configurations: configurations[:1])
    make_artifacts_plain(patch)
    leave_out_the_served_model(patch)


def facts_of(corpus: Corpus) -> TextFacts:
    if corpus.corpus_sha256 not in FACTS:
        FACTS[corpus.corpus_sha256] = text_facts(corpus)
    return FACTS[corpus.corpus_sha256]


def trainings(run_id: str) -> dict[str, Any]:
    return {each.tags["configuration"]: each for each in recorded.nested_trainings(run_id)}
