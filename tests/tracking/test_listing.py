"""The trainings of a store as rows."""

from contextlib import suppress

from pipeline.tracking import runs
from pipeline.tracking.listing import run_rows


def recorded(name: str, corpus: str = "a-text", stage: str = "train", study: str = "") -> str:
    with runs.tracked_run(stage, name, {"corpus": corpus, "study": study}) as run:
        pass
    return run.id


def test_a_training_is_a_row_with_its_shape_figures_and_cost(trained, small_text):
    (row,) = run_rows()
    result = trained.result
    assert (row.run_id, row.corpus, row.state) == (trained.run_id, small_text.stem, "finished")
    assert (row.cell, row.num_layers, row.hidden_size, row.seed, row.preset) == ("lstm", 1, 8, 0, "stream")
    assert row.macs_per_char == result["macs_per_char"]
    assert row.parameters == result["parameters"]
    assert row.corpus_sha256 == result["corpus_sha256"]
    assert abs(row.val_perplexity - result["val_perplexity"]) < 1e-3
    assert abs(row.test_perplexity - result["test_perplexity"]) < 1e-3
    assert row.train_seconds is not None
    assert row.train_seconds > 0
    assert row.ended_ms is not None
    assert row.ended_ms > row.started_ms


def test_running_trainings_come_first_and_then_the_last_that_ended(store):
    recorded("older")
    recorded("newer")
    with suppress(ValueError), runs.tracked_run("train", "broken", {}):
        raise ValueError("half way")
    recorded("parent", stage="search")
    with runs.tracked_run("train", "now", {}):
        rows = run_rows()
    assert [(row.name, row.state) for row in rows] == [
        ("now", "running"), ("broken", "failed"), ("newer", "finished"), ("older", "finished"),
    ]  # fmt: skip
    assert rows[0].ended_ms is rows[0].val_perplexity is rows[0].num_layers is None


def test_a_training_whose_process_is_gone_is_not_running(store, monkeypatch):
    with runs.tracked_run("train", "now", {}):
        monkeypatch.setattr("pipeline.tracking.liveness.is_gone", lambda tags: True)
        assert [row.state for row in run_rows()] == ["died"]


def test_what_mlflow_run_was_given_by_mistake_is_left_out_of_its_row(store):
    with runs.tracked_run("train", "mistyped", {}) as run:
        run.params({"hidden_size": "foo", "num_layers": "inf", "seed": "3"})
    (row,) = run_rows()
    assert (row.hidden_size, row.num_layers, row.seed) == (None, None, 3)


def test_rows_are_chosen_by_words_text_and_number(store):
    recorded("lstm-1x8-s0")
    recorded("gru-1x8-s0", corpus="novel", study="tiny")
    last = recorded("gru-2x8-s0", corpus="novel")
    assert [row.name for row in run_rows("GRU nov")] == ["gru-2x8-s0", "gru-1x8-s0"]
    assert [row.name for row in run_rows("tiny")] == ["gru-1x8-s0"]
    assert [row.name for row in run_rows(last[:6])] == ["gru-2x8-s0"]
    assert [row.name for row in run_rows(corpus="novel", limit=1)] == ["gru-2x8-s0"]
    assert run_rows(corpus="nov") == []


def test_all_pages_are_read(store, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.listing.PAGE", 2)
    for number in range(5):
        recorded(f"run-{number}")
    assert len(run_rows()) == 5
