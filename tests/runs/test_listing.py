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
        with tracked_run("train", name, {"corpus": text, "corpus.source": f"/books/{text}.txt"}) as training:
            training.params({"alphabet": "raw" if text == "novel-raw" else "letters"})
            training.constants({"result/val_perplexity": perplexity, "size/macs_per_char": macs})
            training.constants({"result/fell_over": name == "a"})
    record("unfinished", error=ValueError("half way"), corpus="novel")
    for words, names in {
        ("--sort", "val"): ["a", "b", "c", "unfinished"],
        ("--sort", "-VAL"): ["c", "b", "a", "unfinished"],
        ("--sort=-macs", "--limit", "1"): ["a"],
        ("--sort", "age"): ["unfinished", "c", "a", "b"],
        ("--corpus", "novel"): ["unfinished", "a", "b"],
        ("--corpus", "/books/novel.txt"): ["b"],
        ("--corpus", "poems"): [],
    }.items():
        assert [row["name"] for row in json.loads(run("runs", *words, "--json")[1])["runs"]] == names
        assert ("--learning-rate" in run("runs", *words)[1]) == ("a" in names)


def test_sorting_by_what_is_no_column_is_refused_with_the_columns(no_store):
    code, _, said = run("runs", "--sort", "epochs")
    assert code == 2
    assert "give one of run, name, text, val" in said


def test_the_table_has_perplexities_and_cost_and_fits_into_the_terminal(trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    now, result = int(1000 * time.time()), trained.result
    row = next(listed_trainings()).row()
    row |= {"name": "lstm-1x192-on-ngram-s0-a-long-title", "corpus": "a-long-title-raw", "ended_ms": now}
    lines = runs_table([row]).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["run", "name", "text", "val", "test", "MACs", "seconds", "state", "age"]
    run_id, name, text, val, test, macs, _, state, *_ = lines[1].split()
    assert (run_id, name[:10], text, state) == (trained.run_id[:8], "lstm-1x192", "a-long..", "ok")
    assert (val, test) == tuple(f"{result[f'{split}_perplexity']:.3f}" for split in ("val", "test"))
    assert macs == f"{result['macs_per_char']:,}"
