"""A training without weights: it counts as before, and what needs them says how to train it anew."""

import shlex

import pytest

from pipeline.config import resolve
from pipeline.pages.page import MODELS, record_page
from pipeline.stages.main import pipeline
from pipeline.tracking import artifacts, queries, recorded
from tests.cli.commands import run as command
from tests.labs import TINY, TINY_NAME, new_store, store_at


@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_a_training_keeps_its_figures_and_counts_as_finished(trained, no_store, corpus, tmp_path, empty_database):
    model = trained.run_id
    pipeline(corpus, *resolve(TINY))
    record_page(model)
    before, page = command("runs", "--json")[1], artifacts.artifact_path(model, "page.html")
    assert MODELS in page.read_text()
    assert command("delete", model, "--weights", "--dry-run")[1] == command("delete", model, "--weights", "--yes")[1]
    assert not [*no_store.rglob("*.safetensors")]
    assert MODELS not in page.read_text()
    assert recorded.run_of(model).tag("mlflow.note.content").startswith("[Its page, without a model](#/exp")

    assert pipeline(corpus, *resolve(TINY)).result["reused"] == ["prepare", "train", "evaluate", "sample"]
    after = command("runs", "--json")[1]
    assert after == before.replace('"weights_deleted": false', '"weights_deleted": true') != before
    assert "no weights" in command("runs")[1]
    other = new_store(tmp_path / "other", empty_database)
    for words in (["best", "topics"], ["push", str(other / "mlruns"), model]):
        assert command(*words)[0] == 0, words
    code, _, err = command("export", model, "-o", str(tmp_path / "page"))
    assert (code, f"The model of {TINY_NAME} is left out: its weights were deleted" in err) == (0, True)
    for words in (["sample", model], ["evaluate", model], ["chat", model], ["train", "--resume", model]):
        code, _, err = command(*words)
        assert (code, "were deleted; to train it anew: " in err) == (2, True), words
    assert "there are no weights in" in command("delete", model, "--weights", "--yes")[2]
    with store_at(other):
        (copy,) = queries.trainings()
        assert copy.tag("weights") == "deleted"
    words = shlex.split(command("sample", model)[2].partition("anew: ")[2])
    assert command(*words[words.index("train") :])[0] == 0
    assert command("compare", model, "latest")[0] == command("sample", "latest")[0] == 0
