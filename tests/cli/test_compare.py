"""``tmlm compare``, of two trainings and of two searches."""

import json
from typing import Any

import pytest

from pipeline.tracking.runs import tracked_run
from tests.cli.commands import run
from tests.made_up import SEARCH


def recorded(corpus: str = "novel", sha256: str = "a", preset: str = "stream", **params: object) -> str:
    tags = {"corpus": corpus, "corpus.sha256": sha256, "protocol": preset}
    with tracked_run("train", "gru-1x4-s0", tags) as training:
        training.params({"preset": preset, **params})
        training.metrics({"perplexity/val": 9.0}, step=1)
    return training.id


def test_compare_shows_what_differs_and_both_texts(trained):
    recorded(cell="gru", hidden_size=4)
    code, out, _ = run("compare", "latest", trained.run_id[:8])
    assert code == 0
    first = next(line for line in out.splitlines() if line.startswith("validation perplexity, last epoch"))
    assert first.split()[-2] == "9.000"
    assert ["cell", "gru", "lstm"] in [line.split() for line in out.splitlines()]
    assert "num_layers" in out, "which the other has not recorded"
    assert "The texts differ (novel and topics), so their perplexities can't be compared." in out


def test_compare_as_json_has_a_pair_for_each_difference(store):
    first, second = recorded(cell="gru", seed=0), recorded(cell="lstm", seed=0)
    result = json.loads(run("compare", first, second, "--json")[1])
    assert result["run_ids"] == [first, second]
    assert result["options"] == {"cell": ["gru", "lstm"]}
    assert result["figures"]["perplexity/val"] == [9.0, 9.0]
    assert result["warning"] == ""
    other = json.loads(run("compare", recorded(preset="report"), first, "--json")[1])["warning"]
    assert other.startswith("The presets report and stream validate on different characters: only the test")


def searched(study: str, *front: tuple[int, float], sha256: str = "a") -> None:
    """Record a finished search, with members of these MACs and perplexities on its front."""
    ends = {"stored_numbers": 1, "parameters": 1, "val_perplexity_low": None, "test_perplexity": 9.0}
    members: list[dict[str, Any]] = [
        {"name": f"{study}-{macs}", "macs_per_char": macs, "val_perplexity": value, "run_ids": [], **ends}
        for macs, value in front
    ]
    result = {**SEARCH, "study_name": study, "corpus_sha256": sha256, "front": members}
    with tracked_run("search", f"search-{study}", {"study": study}) as search:
        search.params({"cell": study})
        search.json("result.json", result)


def test_two_searches_are_compared_by_their_fronts_within_one_reference_point(store):
    searched("gru", (10, 6.0), (100, 4.0))
    searched("rnn", (10, 5.0), (100, 5.0), (1000, 4.0))
    result = json.loads(run("compare", "gru", "rnn", "--json")[1])
    assert result["reference"] == [pytest.approx(6.2), round(10**3.2)], "a tenth of 4 to 6, and of 10 to 1000"
    assert result["hypervolumes"] == pytest.approx([0.2 + 1.2 * 2.2, 2 * 1.2 + 0.2 * 2.2])
    assert result["options"] == {"cell": ["gru", "rnn"]}
    dominated = {member["name"]: member["dominated_by"] for member in result["members"]}
    assert dominated == {
        "gru-10": ["rnn-10"], "gru-100": [], "rnn-10": [], "rnn-100": ["gru-100"], "rnn-1000": ["gru-100"],
    }  # fmt: skip
    code, out, _ = run("compare", "gru", "rnn")
    assert (code, out.splitlines()[3].split()) == (0, ["dominated", "by", "the", "other", "1", "2"])


@pytest.mark.parametrize(("better", "worse"), [((10, 6.0), (20, 6.0)), ((10, 5.0), (10, 6.0)), ((10, 5.0), (20, 6.0))])
def test_of_two_fronts_of_one_member_the_better_one_has_the_larger_hypervolume(store, better, worse):
    searched("gru", better)
    searched("rnn", worse)
    first, second = json.loads(run("compare", "gru", "rnn", "--json")[1])["hypervolumes"]
    assert first > second > 0


def test_searches_of_two_texts_are_not_compared(store):
    searched("gru", (10, 6.0))
    searched("rnn", (10, 5.0), sha256="b")
    assert run("compare", "gru", "rnn")[0] == 2
