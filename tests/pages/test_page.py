"""The page of an export: one file with everything from the record as words, read without scripts, MLflow or network."""

import json
import re
from typing import Any

import pytest

from pipeline.pages.charts import WIDTH
from pipeline.pages.page import ELEMENTS, page
from pipeline.pages.page_models import SCRIPTS, PageModels
from pipeline.pages.subject import Subject
from pipeline.tracking.recorded import RecordedTraining
from tests.demo import DEMO
from tests.pages.made_up import EPOCHS, study, training
from tests.pages.parsed import Page

HOSTILE = """<script>alert(1)</script><b onclick='x()'>&"$1</b>"""


@pytest.fixture(autouse=True)
def _record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of trainings that are in no store."""
    monkeypatch.setattr("pipeline.pages.page.read_environment", lambda run_id: {"python": HOSTILE, "packages": {}})


def of(subject: Subject) -> str:
    return page(subject, PageModels(remarks=[HOSTILE]), [("runs.csv", "one row for each training")])


def texts(html: str) -> str:
    """The visible words of a page."""
    return " ".join("".join(Page(html).texts.values()).split())


RESULT = {**training().result, "texts": [HOSTILE], "stopped": HOSTILE}
FILE_TEXT = {"name": HOSTILE, "source": f"/home/{HOSTILE}.txt", "train_chars": 156_000}
FROM_FILE = {**training().configuration, "text": FILE_TEXT}
WORDS: dict[str, Any] = {"name": HOSTILE, "corpus": HOSTILE, "result": RESULT, "configuration": FROM_FILE}


@pytest.mark.parametrize(
    "subject",
    [
        Subject("training", HOSTILE, (training(2, **WORDS),)),
        study(2, HOSTILE, corpus=HOSTILE),
        Subject("experiment", HOSTILE, (training(**WORDS),)),
    ],
    ids=["training", "study", "experiment"],
)
def test_other_peoples_words_stay_words(subject):
    html = of(subject)
    assert "<script>alert" not in html
    assert not [tag for tag, attributes in Page(html).tags if "onclick" in attributes]
    assert HOSTILE in texts(html)
    for figures in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL):
        json.loads(figures)


def test_a_training_that_fell_over_is_marked_in_the_verdict_and_in_the_table():
    fallen = training(result={**training().result, "fell_over": True})
    assert texts(of(Subject("training", "x", (fallen,)))).count("fell over") == 2


def test_the_script_is_in_a_page_that_has_models():
    subject = Subject("training", "one", (training(),))
    counts = [page(subject, PageModels(models=models)).count("<script>") for models in (list[Any]([{}]), [])]
    assert counts == [3, 1]


def test_the_demo_is_made_of_the_templates_and_small():
    demo = DEMO.read_text()
    assert [file.name for file in (ELEMENTS, *SCRIPTS) if file.read_text() not in demo] == []
    assert len(demo.encode()) < 1_500_000


def test_trainings_share_a_chart_if_they_validate_on_the_same_characters_whatever_their_preset():
    def by(preset: str) -> RecordedTraining:
        configuration = training().configuration
        train = {**configuration["train"], "preset": preset}
        return training(0, configuration={**configuration, "train": train}, params={"preset": preset})

    other = training(1, corpus="novel")
    html = of(Subject("experiment", "lab", (training(0), by("best"), by("report"), by("report-text"), other)))
    titles = re.findall(r"<h3>(.*?)</h3>\s*<p>The best is .*</p>\s*<figure", html)
    assert titles == [
        "time-machine, preset stream and best",
        "time-machine, preset report and report-text",
        "novel, preset stream",
    ]
    assert html.count('<figure class="explorer') == 3


def test_several_trainings_are_a_chart_and_a_table_of_the_options_that_differ():
    models = training(0), training(1), training(2)
    made = Page(of(Subject("trainings", "all", (*models, training(1, seed=1)), models=models)))
    rows = [[cell.strip() for cell in cells] for where, cells in made.rows if where == "differences"]
    assert rows[0][:3] == ["configuration", "cell", "hidden size"]
    assert [row[:3] for row in rows[1:]] == [
        ["lstm-1x16", "lstm", "16"],
        ["gru-1x12", "gru", "12"],
        ["rnn-1x8", "rnn", "8"],
    ]
    assert (rows[0][-2:], rows[2][-2:]) == (["validation", "test"], ["6.05 ± 0.11", "6.10 ± 0.11"])
    assert "3 networks on time-machine" in made.texts[""]
    assert made.texts["repeat"].count("tmlm train") == 3
    assert sum(attributes.get("class") == "explorer" for attributes in made.all("figure")) == 1


def test_the_table_of_trainings_has_the_trials_of_a_search_if_there_are_any():
    tags = training().tags
    trial = training(0, tags={**tags, "trial": "7"})
    rows = Page(of(Subject("experiment", "lab", (trial, training(1))))).rows
    assert [cells[2].strip() for where, cells in rows if where == "trainings"] == ["trial", "", "7"]
    assert "trial" not in Page(of(Subject("training", "x", (training(),)))).texts["trainings"]


def test_every_seed_of_a_configuration_is_in_the_table():
    rows = [cells for where, cells in Page(of(study(2))).rows if where == "trainings"]
    assert sorted(cells[1].strip() for cells in rows) == ["0", "0", "1", "seed"]


def test_configurations_of_one_shape_are_told_apart_by_what_differs():
    first = training(0)
    train = {**first.configuration["train"], "epochs": None, "budget_chars": 40_000}
    second = training(0, id="2" * 32, configuration={**first.configuration, "train": train})
    html = of(Subject("experiment", "lab", (first, second)))
    assert f"rnn-1x8 (epochs {EPOCHS})" in html
    assert "rnn-1x8 (epochs auto, budget chars 40000)" in html


def test_the_page_of_a_study_has_its_name_and_is_about_the_network_of_its_best_pick():
    subject = study(2, "quick-time-machine")
    assert subject.search
    subject.search.result["picks"]["best"]["run_id"] = subject.trainings[0].id
    html = of(subject)
    assert f"The best, {subject.trainings[0].name}: " in texts(html)
    assert "<title>Study quick-time-machine on time-machine</title>" in html


def test_settings_of_a_search_that_its_command_lacks_are_named():
    subject = study(2)
    assert subject.search
    subject.search.params.update(learning_rate="0.01..0.1", storage="sqlite:////home/me/optuna.db")  # type: ignore[attr-defined]
    said = texts(of(subject))
    assert "settings of Python only, which the command lacks: learning_rate 0.01..0.1." in said
    assert "/home/me" not in said


def test_the_names_of_levels_leave_most_of_a_chart_to_its_curves():
    left, right, *_ = re.findall(r'data-box="([^"]+)"', of(study(2)))[0].split()
    assert float(right) - float(left) > 0.6 * WIDTH
