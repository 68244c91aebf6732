"""The open data: every seed as it was recorded, enough to repeat the page's arithmetic."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from models.ngram import KneserNey, predicted_bits_per_char
from pipeline.config import CorpusConfig
from pipeline.report.checks import checks
from pipeline.report.open_data import result
from pipeline.report.page.tables import perplexity_table
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.evidence import BEST_VAL, Evidence
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import HOLDS, OPEN, Verdict
from pipeline.support.page.document import Cell
from pipeline.text.corpus import Corpus, load_corpus
from tests.checkout import ROOT
from tests.report.committed import committed
from tests.report.committed import result as kept
from tests.report.reproductions import reproduction


def test_an_infinite_perplexity_is_null():
    found = reproduction(1)
    first = found.configurations[0]
    run = replace(first.runs[0], train=(*first.runs[0].train[:-1], math.inf))
    made = result(replace(found, configurations=(replace(first, runs=(run,)),)), (), ())
    assert (
        json.loads(json.dumps(made, allow_nan=False))["configurations"][0]["trainings"][0]["last"]["train_book"] is None
    )


def mean_with_interval(groups: dict[str, list[float]], id: str) -> tuple[float, float, float]:
    """The geometric mean of a group, and its 95 % interval by the spread pooled over all groups."""
    logs = {name: [math.log(value) for value in values] for name, values in groups.items() if values}
    means = {name: sum(values) / len(values) for name, values in logs.items()}
    degrees = sum(len(values) - 1 for values in logs.values())
    squares = sum((value - means[name]) ** 2 for name, values in logs.items() for value in values)
    half = student.ppf(0.975, degrees) * math.sqrt(squares / degrees / len(logs[id]))
    return math.exp(means[id]), math.exp(means[id] - half), math.exp(means[id] + half)


def test_the_intervals_of_the_page_and_of_verdicts_follow_from_the_result_alone():
    """Those of the page are over our seeds, those of verdicts over d2l's too."""
    id, found = "gru-torch-2x32", reproduction()
    kept = json.loads(json.dumps(result(found, (), ())))

    def interval(*roles: str) -> tuple[float, float, float]:
        return mean_with_interval(
            {
                row["id"]: [
                    each["best"]["val_book"]
                    for each in row["trainings"]
                    if each["role"] in roles and each["epochs"] == each["epochs_planned"]
                ]
                for row in kept["configurations"]
            },
            id,
        )

    mean, low, high = interval("report")
    sheet = perplexity_table(found)
    row = sheet.rows[[each.id for each in found.configurations].index(id)]
    assert row[sheet.heads.index("validation, best")] == Cell(f"{mean:.2f}", [f"{low:.2f} to {high:.2f}"], "strong")
    estimate = Evidence(found, (), lambda statement, _: Verdict(statement, OPEN, "")).mean(id, BEST_VAL)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx(interval("report", "d2l"))


# --- the committed reproduction ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(book) -> Corpus:
    return load_corpus(CorpusConfig(str(book)))


@pytest.fixture(scope="module")
def found(corpus) -> Reproduction:
    return committed(corpus)


def test_of_the_book_more_context_is_better_and_the_prompts_are_found(corpus, found):
    facts = found.text
    perplexities = [facts.val_perplexities[order] for order in range(1, 9)]
    assert perplexities == sorted(perplexities, reverse=True)
    assert [facts.windowed[order] for order in (4, 5, 6)] == pytest.approx([5.17, 4.86, 4.78], abs=0.005)
    assert math.exp(np.mean(facts.block_costs["windowed"][4])) == pytest.approx(facts.windowed[4], rel=1e-3)
    assert facts.gated["val"] < min(perplexities)
    assert facts.gated["windowed"] < min(facts.windowed.values())
    assert facts.unigram == pytest.approx(16.66, abs=0.01)
    assert facts.train_unigram == pytest.approx(17.07, abs=0.01)
    assert math.log2(facts.val_perplexities[6]) == pytest.approx(
        predicted_bits_per_char(
            KneserNey(corpus.split("report", "train"), 28, order=6), np.asarray(corpus.split("report", "val"))
        )
    )
    places = {(each.prompt, each.position, each.split) for each in facts.prompts}
    assert places >= {
        ("proceeded the", 4546, "training"),
        ("staring hard", 5147, "training"),
        ("it has", 13823, "validation"),
    }
    assert all(len(each.continuation) == 20 for each in facts.prompts)


def test_the_committed_data_lead_to_the_committed_verdicts_on_all_258_statements(found):
    expected = kept()
    made = result(found, weigh(found, report_statements()).verdicts, checks(found))
    assert len(made["verdicts"]) == 258
    assert made["verdicts"] == expected["verdicts"]
    assert made["tally"] == expected["tally"]
    met, before = ({each["name"]: each["is_met"] for each in one["checks"]} for one in (made, expected))
    assert met == before
    for one, other in zip(made["configurations"], expected["configurations"], strict=True):
        assert one["best_val_perplexity"] == pytest.approx(other["best_val_perplexity"], rel=1e-5)


def test_the_counts_of_the_documents_are_those_of_the_data():
    by_basis = kept()["tally"]["basis"]
    trained, itself, captions = (by_basis[basis] for basis in ("training", "report", "caption"))
    held, part, reason, fails, open = trained.values()
    counts = (
        f"Of the {sum(trained.values())} statements that trainings decide, {held} are reproduced and {part} in part, "
        f"{reason} right for a wrong reason, {fails} not reproduced and {open} open",
        f"The other {sum(itself.values()) + sum(captions.values())} are about what the report itself shows",
        f"{itself[HOLDS] + captions[HOLDS]} are right, of which {captions[HOLDS]} are captions and references to",
    )
    text = " ".join((ROOT / "docs" / "reproduction.md").read_text().replace("**", "").split())
    assert [words for words in counts if words not in text] == []
