"""``tmlm compare``, of two trainings and of two searches."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.runs.compare import _above_best
from pipeline.tracking.runs import tracked_run
from tests.cli.commands import examples, run
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


@pytest.mark.parametrize("perplexity", [1e-308, 1e308, -1.0])
def test_a_recorded_perplexity_that_none_can_be_is_no_traceback(store, perplexity):
    odd, whole = seeds("gru", perplexity, 4.0), seeds("lstm", 4.0, 4.1)
    assert run("compare", odd, whole)[0] == 0
    assert run("compare", odd, whole, "--json")[0] == 0


def seeds(name: str, *perplexities: float, **params: object) -> str:
    """The id of a run of several seeds with these validation perplexities, and as much of seconds."""
    with tracked_run("seeds", name, {"corpus": "novel", "corpus.sha256": "a"}) as parent:
        for seed, perplexity in enumerate(perplexities):
            with tracked_run("train", f"{name}-s{seed}", {"corpus": "novel", "corpus.sha256": "a"}) as training:
                training.params({"preset": "stream", "seed": seed, **params})
                training.metrics({"result/val_perplexity": perplexity, "speed/train_seconds": perplexity}, step=0)
    return parent.id


def alone(*perplexities: float) -> list[float | None]:
    """The ends of the interval of a run of one seed beside one of these seeds."""
    found = _above_best([perplexities, [5.0]], [[], []])[1]
    assert found
    return [found["low"], found["high"]]


def test_of_single_seeds_the_interval_is_that_of_the_text_alone():
    blocks = [1.0, 1.2, 0.9, 1.1] * 10
    above, best = _above_best(
        [[5.0], [4.5]], [[each + 0.1 + 0.05 * np.sin(at) for at, each in enumerate(blocks)], blocks]
    )
    assert above
    assert best
    assert above["interval"] == "text"
    assert 100 * (np.exp(0.05) - 1) < above["low"] < 100 * (np.exp(0.1) - 1) < above["high"] < 100 * (np.exp(0.15) - 1)
    assert (best["low"], best["high"], best["interval"]) == (None, None, "")


def test_of_many_the_best_is_marked_and_seeds_are_one_column_of_means_with_intervals(store, tmp_path):
    runs = [seeds("gru-1x4", 4.0, 9.0, cell="gru"), seeds("lstm-1x4", 4.0, 4.1, 4.2, cell="lstm"), recorded(cell="rnn")]
    plot = tmp_path / "curves.png"
    result = json.loads(run("compare", *runs, "--plot", str(plot), "--json")[1])
    assert result["run_ids"] == runs
    assert result["seeds"] == [2, 3, 1]
    assert result["options"] == {"seed": ["0, 1", "0, 1, 2", ""], "cell": ["gru", "lstm", "rnn"]}
    assert result["figures"]["speed/train_seconds"] == [6.5, pytest.approx(4.1), None]
    means = result["figures"]["result/val_perplexity"]
    assert means == [pytest.approx(6.0), pytest.approx((4.0 * 4.1 * 4.2) ** (1 / 3)), None]
    above, best, nothing = result["differences"]["result/val_perplexity"]
    logs = [np.log([4.0, 9.0]), np.log([4.0, 4.1, 4.2])]
    deviation = (sum(((log - log.mean()) ** 2).sum() for log in logs) / 3) ** 0.5
    half = 3.18245 * deviation * (1 / 2 + 1 / 3) ** 0.5  # Student's t of 3 degrees of freedom
    ends = [100 * (means[0] / means[1] * np.exp(sign * half) - 1) for sign in (-1, 0, 1)]
    assert [above["low"], above["percent"], above["high"]] == pytest.approx(ends, rel=1e-4)
    assert alone(4.0, 4.1) == alone(4.0) == [None, None], "one run's two seeds say nothing of others"
    assert (best, nothing) == ({"percent": 0.0, "low": None, "high": None, "interval": ""}, None)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run("compare", *runs, "--plot", str(plot))[0] == 2, "it exists"
    lines = run("compare", *runs)[1].splitlines()
    assert [line.split()[2:4] for line in lines[1:3]] == [["6.000", f"{ends[1]:+.1f}"], ["4.099", "best"]]


def test_the_examples_of_the_documentation_work(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for cell in ("gru", "lstm", "rnn"):
        recorded("time-machine", cell=cell)
    for words in (found := examples("compare") + examples("runs") + examples("note")):
        assert run(*words)[0] == 0, words
    assert len(found) > 3
    assert (tmp_path / "curves.png").is_file()


def test_what_is_not_compared_is_refused_and_nothing_is_drawn(store):
    searched("tiny", (10, 6.0))
    searched("of another text", (10, 5.0), sha256="b")
    searched("of windows", (10, 5.0), preset="report")
    first, other = recorded(), recorded("essay", sha256="b")
    for words, says in {
        (first,): "1 to compare; give 2 to 20",
        (first,) * 21: "21 to compare",
        (first, "tiny"): f"study tiny can't be compared with gru-1x4-s0 on novel, run {first[:8]}",
        ("tiny", "of another text"): "their fronts can't be compared: they are on",
        ("tiny", "of windows"): "they are on novel (preset stream) by macs and novel (preset report) by macs",
        (first, other, "--plot", "curves.png"): "The texts differ (novel and essay)",
        (first, first, "--plot", "curves.txt"): "and end with .png, .svg or .pdf",
        (first, seeds("none")): "has no finished training",
    }.items():
        code, _, said = run("compare", *words)
        assert (code, says in said) == (2, True), said


def searched(study: str, *front: tuple[int, float], sha256: str = "a", preset: str = "stream") -> None:
    """Record a finished search, with members of these MACs and perplexities on its front."""
    ends = {"stored_numbers": 1, "parameters": 1, "val_perplexity_low": None, "test_perplexity": 9.0}
    members: list[dict[str, Any]] = [
        {"name": f"{study}-{macs}", "macs_per_char": macs, "val_perplexity": value, "run_ids": [], **ends}
        for macs, value in front
    ]
    result = {**SEARCH, "study_name": study, "corpus_sha256": sha256, "front": members}
    tags = {"study": study, "corpus": "novel", "corpus.sha256": sha256}
    with tracked_run("search", f"search-{study}", tags) as search:
        search.params({"cell": study, "preset": preset})
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
    assert (code, [line.split()[2:] for line in out.splitlines()[1:3]]) == (
        0,
        [["2.840", "2", "1", "4.000"], ["2.840", "3", "2", "4.000"]],
    )


def test_members_of_several_fronts_are_dominated_by_those_of_any_other(store, tmp_path):
    for study, front in {"gru": ((10, 6.0),), "rnn": ((5, 6.0), (100, 5.0)), "lstm": ((10, 5.0),)}.items():
        searched(study, *front)
    result = json.loads(run("compare", "gru", "rnn", "lstm", "--plot", str(tmp_path / "fronts.svg"), "--json")[1])
    dominated = {member["name"]: member["dominated_by"] for member in result["members"]}
    assert dominated == {"gru-10": ["rnn-5", "lstm-10"], "rnn-5": [], "rnn-100": ["lstm-10"], "lstm-10": []}
    assert result["hypervolumes"] == sorted(result["hypervolumes"])
    assert "<svg" in (tmp_path / "fronts.svg").read_text()


@pytest.mark.parametrize(("better", "worse"), [((10, 6.0), (20, 6.0)), ((10, 5.0), (10, 6.0)), ((10, 5.0), (20, 6.0))])
def test_of_two_fronts_of_one_member_the_better_one_has_the_larger_hypervolume(store, better, worse):
    searched("gru", better)
    searched("rnn", worse)
    first, second = json.loads(run("compare", "gru", "rnn", "--json")[1])["hypervolumes"]
    assert first > second > 0
