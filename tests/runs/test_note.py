"""What a person says of a run: its tag, its description, and wherever it is shown."""

import csv
import json

import pytest
from mlflow.tracking import MlflowClient

from pipeline.pages.page import page_of, record_page
from pipeline.pages.subject import subject_of
from pipeline.pages.tables import runs_csv
from pipeline.tracking.recorded import run_of
from pipeline.tracking.runs import tracked_run
from tests.cli.commands import run
from tests.labs import record

DESCRIPTION = "mlflow.note.content"


def test_a_note_opens_the_description_before_the_link_of_the_page_and_goes_without_a_trace(trained):
    record_page(trained.run_id)
    before = run_of(trained.run_id)
    for text, said in {"first": "first\n\n", " the\n*second* ": "the \\*second\\*\n\n", "": ""}.items():
        code, out, _ = run("note", trained.run_id, text, "--json")
        assert (code, json.loads(out)["note"]) == (0, " ".join(text.split()))
        assert run_of(trained.run_id).tag(DESCRIPTION) == f"{said}{before.tag(DESCRIPTION)}"
        assert run("note", "latest")[1].strip() in (" ".join(text.split()), f"{before.name} has no note")
    assert run_of(trained.run_id).tags == before.tags
    for text in ("x" * 1001, " "):
        assert run("note", "latest", text)[0] == run("train", "--note", text)[0] == 2
    assert run("note", "latest", "x" * 1000)[0] == 0


def test_a_description_that_a_person_edited_stays_until_the_run_is_described_anew(store):
    with tracked_run("train", "gru", {"note": "why"}) as training:
        assert run_of(training.id).tag(DESCRIPTION) == "why"
        training.describe("It ended.")
        assert run_of(training.id).tag(DESCRIPTION) == "why\n\nIt ended."
        MlflowClient().set_tag(training.id, DESCRIPTION, "mine")
        run("note", training.id, "because")
        assert (run_of(training.id).note, run_of(training.id).tag(DESCRIPTION)) == ("because", "mine")
        training.describe("It ended again.")
    assert run_of(training.id).tag(DESCRIPTION) == "because\n\nIt ended again."


def test_words_in_the_note_of_a_training_or_of_what_it_is_a_part_of_find_it(store):
    record("first", note="too large a rate")
    with tracked_run("search", "search-tiny", {"study": "tiny", "note": "how small"}):
        record("trial", study="tiny", role="trial")
    for words, names in {"LARGE rate": ["first"], "how tiny": ["search-tiny"], "a s": ["search-tiny", "first"]}.items():
        rows = json.loads(run("runs", "--search", words, "--json")[1])["runs"]
        assert [row["name"] for row in rows] == names
    assert [row["note"] for row in rows] == ["how small", "too large a rate"]


def test_a_note_is_escaped_wherever_it_is_shown(trained):
    MlflowClient().set_tag(trained.run_id, "note", "=1\x1b[31m\n<script>|")
    MlflowClient().set_tag(trained.run_id, "mlflow.tmlm.like", "<b>\u202egru")
    for words in (["runs"], ["compare", trained.run_id, "latest"], ["note", "latest"], ["runs", "--json"]):
        out = run(*words)[1]
        assert ("\x1b" in out, "\u202e" in out, "u001b[31m <script>|" in out) == (False, False, True), words
    page = page_of(subject_of(trained.run_id))
    assert "=1\\u001b[31m &lt;script&gt;|" in page
    assert "Trained like &lt;b&gt;\\u202egru." in page
    (row,) = csv.DictReader(runs_csv(subject_of(trained.run_id).trainings).splitlines())
    assert row["note"] == "'=1\\u001b[31m <script>|"


@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_a_training_has_the_note_that_its_command_gives_and_says_what_it_is_like_and_neither_changes_what_it_is(
    trained, small_text
):
    words = ["train", "--like", "latest", "--corpus", str(small_text), "--alphabet", "letters", "--note", "again"]
    again, faster = (json.loads(run(*words, *more, "--json")[1]) for more in ([], ["--learning-rate", "0.02"]))
    before, same, other = (run_of(run_id) for run_id in (trained.run_id, again["run_id"], faster["run_id"]))
    for tag in ("config_id", "step_key"):
        assert before.tag(tag) == same.tag(tag) != other.tag(tag)
    assert (same.note, same.like, other.like) == ("again", before.name, f"{same.name}, but learning rate 0.02")
    result = json.loads(run("compare", before.id, other.id, "--json")[1])
    assert (result["notes"], result["like"]) == (["", "again"], ["", other.like])
