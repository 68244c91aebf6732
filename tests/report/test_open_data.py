"""The open data: every seed as it was recorded, enough to repeat the page's arithmetic."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import CorpusConfig
from pipeline.report.checks import checks
from pipeline.report.open_data import result
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import Word
from pipeline.text.corpus import load_corpus
from tests.checkout import ROOT
from tests.report.committed import committed
from tests.report.committed import result as kept
from tests.report.reproductions import reproduction


def test_an_infinite_perplexity_is_null():
    found = reproduction(1)
    first = found.configurations[0]
    run = replace(first.runs[0], train=(*first.runs[0].train[:-1], math.inf))
    made = result(replace(found, configurations=(replace(first, runs=(run,)),)), (), ())
    assert made["configurations"][0]["trainings"][0]["last"]["train_book"] is None


# --- the committed reproduction ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(book) -> Reproduction:
    return committed(load_corpus(CorpusConfig(str(book), "letters")))


def test_of_the_book_more_context_is_better_and_the_prompts_are_found(found):
    facts = found.text
    perplexities = [facts.val_perplexities[order] for order in range(1, 9)]
    assert perplexities == sorted(perplexities, reverse=True)
    assert [facts.windowed[order] for order in (4, 5, 6)] == pytest.approx([5.17, 4.86, 4.78], abs=0.005)
    assert math.exp(np.mean(facts.block_costs["windowed"][4])) == pytest.approx(facts.windowed[4], rel=1e-3)
    assert facts.gated["val"] < min(perplexities)
    assert facts.gated["windowed"] < min(facts.windowed.values())
    assert (facts.unigram, facts.train_unigram) == pytest.approx((16.66, 17.07), abs=0.01)
    places = {(each.prompt, each.position, each.split) for each in facts.prompts if len(each.continuation) == 20}
    assert places >= {
        ("proceeded the", 4546, "training"),
        ("staring hard", 5147, "training"),
        ("it has", 13823, "validation"),
    }


def test_the_committed_data_lead_to_the_committed_verdicts_on_all_258_statements(found):
    expected = kept()
    made = result(found, weigh(found, report_statements()).verdicts, checks(found))
    assert len(made["verdicts"]) == 258
    assert made["verdicts"] == expected["verdicts"]
    assert made["tally"] == expected["tally"]
    met, before = ({check["name"]: check["is_met"] for check in one["checks"]} for one in (made, expected))
    assert met == before
    for one, other in zip(made["configurations"], expected["configurations"], strict=True):
        assert one["best_val_perplexity"] == pytest.approx(other["best_val_perplexity"], rel=1e-5)


def test_the_counts_of_the_documents_are_those_of_the_data():
    by_basis = kept()["tally"]["basis"]
    trained, itself, captions = (by_basis[basis] for basis in ("training", "report", "caption"))
    held, part, reason, fails, open = trained.values()
    right = captions[Word.HOLDS]
    counts = (
        f"Of the {sum(trained.values())} statements that trainings decide, {held} are reproduced and {part} in part, "
        f"{reason} right for a wrong reason, {fails} not reproduced and {open} open",
        f"The other {sum(itself.values()) + sum(captions.values())} are about what the report itself shows",
        f"{itself[Word.HOLDS] + right} are right, of which {right} are captions and references to",
    )
    text = " ".join((ROOT / "docs" / "reproduction.md").read_text().replace("**", "").split())
    assert [words for words in counts if words not in text] == []
