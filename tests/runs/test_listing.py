"""``tmlm runs``."""

import json
import time

import pytest
from mlflow.tracking import MlflowClient

from pipeline.runs import doctor
from pipeline.runs.sentences import age, runs_table
from pipeline.tracking.queries import listed_trainings
from pipeline.tracking.runs import tracked_run
from tests.cli.commands import run
from tests.labs import record


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_an_age_is_in_its_largest_unit_of_which_there_are_two(seconds, shown):
    assert age(seconds) == shown


def test_a_store_of_version_0_1_is_not_called_empty(store):
    for run_id in [record("older"), record("old")]:
        MlflowClient().delete_tag(run_id, "mlflow.tmlm.format")
    said = "2 runs of version 0.1.0 are here, which this version does not read"
    assert run("runs")[1] == f"{said}\n"
    assert doctor.findings()["unread"] == [said]


def test_a_limited_list_says_that_there_are_more(trained, monkeypatch):
    (training,) = listed_trainings()
    monkeypatch.setattr("pipeline.tracking.queries.listed_trainings", lambda search, corpus: [training] * 3)
    assert run("runs", "--limit", "2")[1].splitlines()[3:] == ["(the last 2; more with --limit)"]


def test_a_search_is_one_row_with_the_figures_of_its_best_until_all_are_wanted(store):
    with tracked_run("search", "search-tiny", {"corpus": "novel", "study": "tiny"}) as search:
        for perplexity in (5.0, 4.0):
            with tracked_run("train", f"gru-{perplexity}", {"role": "trial", "corpus": "novel"}) as trial:
                trial.metrics({"result/val_perplexity": perplexity, "speed/train_seconds": 2.0}, step=0)
    record("own")
    rows = json.loads(run("runs", "--json")[1])["runs"]
    assert [row["name"] for row in rows] == ["own", "search-tiny"]
    facts = {"run_id": search.id, "val_perplexity": 4.0, "train_seconds": 4.0, "trainings": 2, "state": "finished"}
    assert facts.items() <= rows[1].items()
    assert "search-tiny: 2" in run("runs")[1]  # as much as a narrow terminal shows
    assert [row["name"] for row in json.loads(run("runs", "--all", "--json")[1])["runs"]] == [
        "own",
        "gru-4.0",
        "gru-5.0",
    ]


def test_runs_are_of_a_text_and_sorted_by_a_column_with_blanks_last(store):
    for name, perplexity, macs, text in (
        ("b", 4.0, 20.0, "novel"),
        ("a", 3.0, 30.0, "novel-raw"),
        ("c", 5.0, 10.0, "x"),
    ):
        tags = {"corpus": text, "corpus.sha256": text, "corpus.source": f"/books/{text}.txt"}
        with tracked_run("train", name, tags) as training:
            training.params({"alphabet": "raw" if text == "novel-raw" else "letters"})
            training.constants({"result/val_perplexity": perplexity, "size/macs_per_char": macs})
            training.constants({"result/fell_over": name == "a"})
    record("unfinished", error=ValueError("half way"), corpus="novel")
    for words, names in {
        ("--sort", "val"): ["a", "b", "c", "unfinished"],
        ("--sort", "-VAL"): ["c", "b", "a", "unfinished"],
        ("--sort=-macs", "--limit", "1"): ["a"],
        ("--limit", "1", "--sort", "val"): ["a"],
        ("--sort", "age"): ["unfinished", "c", "a", "b"],
        ("--corpus", "novel"): ["unfinished", "a", "b"],
        ("--corpus", "/books/novel.txt"): ["b"],
        ("--corpus", "novel", "--search", "poems"): [],
    }.items():
        assert [row["name"] for row in json.loads(run("runs", *words, "--json")[1])["runs"]] == names
        assert ("--learning-rate" in run("runs", *words)[1]) == ("a" in names)
        assert ("don't compare: choose one with --corpus" in run("runs", *words)[2]) == (words[-1] in ("val", "-VAL"))
    code, _, said = run("runs", "--corpus", "poems")
    assert (code, "poems has no training; texts that have one: novel, novel-raw, x" in said) == (2, True)


def test_a_text_in_an_empty_store_is_not_refused(store):
    assert run("runs", "--corpus", "poems") == (0, "no training is recorded on this text\n", "")


def test_sorting_by_what_is_no_column_is_refused_with_the_columns(no_store):
    code, _, said = run("runs", "--sort", "epochs")
    assert code == 2
    assert "give one of run, name, text, val" in said


def test_a_narrow_terminal_lacks_intervals_seconds_good_states_and_macs_before_names_are_cut(trained, monkeypatch):
    row = next(listed_trainings()).row() | {"name": "lstm-1x192-s0-budget-20000-my-novel-raw", "corpus": "my-novel-raw"}
    ends = {f"{name}_{end}": 9.0 for name in ("val_perplexity", "test_perplexity") for end in ("low", "high")}
    of_seeds = row | ends | {"ended_ms": int(1000 * time.time()), "note": "why"}
    seen = list[list[bool]]()
    for width in range(140, 59, -1):
        monkeypatch.setenv("COLUMNS", str(width))
        heads, line, note = runs_table([of_seeds]).splitlines()
        assert max(len(heads), len(line)) <= width
        looks = ["±" in line, *(head in heads for head in ("seconds", "state", "MACs")), ".." not in line]
        seen += [looks] if looks not in seen else []
    assert seen == [[False] * number + [True] * (5 - number) for number in range(6)]
    assert (line.split()[1][:4], line.split()[1][-4:], note) == ("lstm", "-raw", f"{trained.run_id[:8]}  why")
    assert line.split()[3:5] == [f"{trained.result[f'{split}_perplexity']:.3f}" for split in ("val", "test")]
    assert "fell over" in runs_table([row | {"fell_over": True}]), "a state that is not ok stays"
