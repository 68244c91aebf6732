"""``tmlm export``: what a reference names, the files, and that nothing is overwritten."""

import csv
import errno
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from mlflow.tracking import MlflowClient
from safetensors.numpy import load_file

from pipeline.config import COSTS, resolve
from pipeline.errors import InputError
from pipeline.pages import tables
from pipeline.pages.configurations import configurations_of
from pipeline.pages.export import _check_is_inside, export
from pipeline.pages.page_models import MODEL_BYTES, page_models
from pipeline.pages.subject import subject_of
from pipeline.results import FIGURES
from pipeline.stages.train import train
from pipeline.support.files import sync
from pipeline.tracking.recorded import FORMAT
from pipeline.tracking.references import training_of
from pipeline.tracking.store import setup
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.loading import load_model
from tests.cli.commands import run
from tests.labs import TINY
from tests.pages.made_up import training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "page"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_training_becomes_a_page_two_tables_and_its_model(trained, folder):
    code, out, _ = run("export", "latest", "-o", str(folder), "--json")
    result = json.loads(out)
    assert (code, result["kind"], result["page"]) == (0, "training", str(folder / "index.html"))
    names = {str(Path(file).relative_to(folder)) for file in result["files"]}
    model = {f"model/{name}" for name in ("README.md", "weights.safetensors", "config.json", "vocabulary.json")}
    assert names == {"index.html", "runs.csv", "curves.csv", "table.tex", *model}
    assert names == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert "95 % interval of the text alone" in (folder / "index.html").read_text()


def test_the_tables_have_each_epoch_and_every_option(trained, folder):
    export(trained.run_id, folder=folder)
    epochs = rows_of(folder / "curves.csv")
    assert [float(row["val_perplexity"]) for row in epochs] == pytest.approx(
        trained.result["val_perplexities"], rel=1e-5
    )
    assert {(row["run"], row["seed"]) for row in epochs} == {(trained.run_id, "0")}
    (row,) = rows_of(folder / "runs.csv")
    assert (row["hidden_size"], row["batch_size"], row["status"]) == ("8", "32", "finished")
    assert float(row["test_perplexity"]) == trained.result["test_perplexity"]
    heads = (folder / "runs.csv").read_text().splitlines()[0].split(",")
    assert len(set(heads)) == len(heads), "a reader would rename a column"
    assert set(FIGURES) <= set(trained.result)
    assert row["requested_epochs"] == row["epochs"] == str(trained.result["epochs"])


def test_the_explorer_shows_pooled_perplexities_where_they_are_recorded_beside_the_reports(trained):
    for epoch in (1, 2):
        MlflowClient().log_metric(trained.run_id, "perplexity_pooled/val", 10.0 - epoch, step=epoch)
    (configuration,) = configurations_of([training_of(trained.run_id)])
    series = configuration.series(COSTS["macs"], picks={})
    assert series.val == [[9.0, 8.0]]
    assert len(series.train[0]) == 2


def test_the_weights_are_the_models_and_name_no_folder(trained, folder, small_text):
    export(trained.run_id, folder=folder)
    weights = folder / "model" / "weights.safetensors"
    model, vocabulary, _ = load_model(weights)
    assert load_file(weights)["model.output.weight"].shape == (28, 8)
    assert load_checkpoint(weights)[1]["corpus"]["source"] == small_text.name
    assert json.loads((folder / "model" / "vocabulary.json").read_text()) == list(vocabulary.symbols)
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["model"]["hidden_size"] == model.config.hidden_size
    assert all(str(small_text.parent) not in file.read_text("latin-1") for file in folder.rglob("*.*"))


def test_nothing_is_overwritten_and_a_refusal_leaves_no_folder(trained, folder):
    assert run("export", "nothing-of-this-name", "-o", str(folder))[0] == 2
    assert not folder.exists()
    (folder / "model").mkdir(parents=True)
    code, _, err = run("export", "latest", "-o", str(folder))
    assert (code, "--output" in err) == (2, True)
    assert [path.name for path in folder.rglob("*")] == ["model"]


def test_two_exports_into_one_folder_are_one_whole_one_and_a_refusal(trained, folder, monkeypatch):
    second = list[tuple[int, str, str]]()

    def sync_late(path: Path) -> None:
        if not second:  # all files of the first are written
            second.append(run("export", "latest", "-o", str(folder)))
            assert second[0][0] == 2
        sync(path)

    monkeypatch.setattr("pipeline.support.files.sync", sync_late)
    folder.mkdir(mode=0o700)
    code, out, _ = run("export", "latest", "-o", str(folder), "--json")
    assert (code, folder.stat().st_mode & 0o777) == (0, 0o700)
    assert {str(path) for path in folder.rglob("*") if path.is_file()} == {*json.loads(out)["files"]}
    assert list(folder.parent.glob("*page*")) == [folder]


def test_what_is_no_name_of_a_folder_is_refused(trained, folder):
    folder.symlink_to(folder)
    for output in (folder, folder / "in-it", Path("x" * 5000), Path("nul\0")):
        with pytest.raises(InputError, match="give another one"):
            export(trained.run_id, folder=output)


def test_an_export_whose_disk_is_full_leaves_no_file_and_the_same_one_again_succeeds(trained, folder, monkeypatch):
    folder.mkdir()
    with monkeypatch.context() as disk:
        full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
        disk.setattr("pipeline.support.files.sync", full)
        code, _, err = run("export", "latest", "-o", str(folder))
    assert (code, f"No space left on device: {folder}" in err) == (1, True)
    assert list(folder.parent.glob("*page*")) == [folder]
    assert not list(folder.iterdir())
    assert run("export", "latest", "-o", str(folder))[0] == 0


def test_a_pipelines_run_stands_for_its_training_and_an_experiment_for_the_finished_ones(trained, folder):
    of_pipeline = begun({"stage": "pipeline", "mlflow.tmlm.trained_run": trained.run_id})
    assert subject_of(of_pipeline).trainings[0].id == trained.run_id
    begun({"stage": "train"})
    result = export(experiment_name(), folder=folder)
    assert (result["kind"], len(rows_of(folder / "runs.csv"))) == ("experiment", 1)
    assert subject_of(setup().experiment_id).name == experiment_name()


def test_a_reference_that_names_nothing_is_refused_and_so_is_what_has_no_result(trained):
    begun({"stage": "search", "study": "first"})
    other = begun({"stage": "prepare"})
    for references, words in (
        (["nothing"], "is not a run of .*, or the name of an experiment"),
        (["first"], "tmlm search --study-name first"),
        ([other], "is a run of `tmlm prepare`"),
        (["latest", "latest"], f"run {trained.run_id[:8]}: the same training"),
        (["latest", "first"], "study first can't be exported with others"),
        (["latest", "nothing"], "an experiment is exported alone"),
        (["latest"] * 21, "21 to export"),
    ):
        with pytest.raises(InputError, match=words):
            subject_of(*references)


def test_trainings_on_other_texts_or_by_other_alphabets_are_refused_with_the_text_of_each(store, monkeypatch):
    raw = {**training(2).configuration, "corpus": {"alphabet": "raw"}}
    runs = {"a": training(0), "b": training(1), "novel": training(2, corpus="novel")}
    runs["raw"] = training(2, configuration=raw)
    monkeypatch.setattr("pipeline.pages.subject.references.find", runs.__getitem__)
    assert subject_of("a", "b").kind == "trainings"
    for other in ("novel", "raw"):
        with pytest.raises(InputError, match=f"rnn-1x8-s0 on time-machine.*lstm-1x16-s0 on {runs[other].corpus}"):
            subject_of("a", other)


def test_trainings_of_one_name_have_folders_of_their_own_and_the_best_ones_that_fit_are_in_the_page(
    trained, corpus, folder, plain_artifacts, no_served_model, monkeypatch
):
    larger = train(corpus, *resolve({**TINY, "hidden_size": 12, "cell": "gru"})).run_id
    for run_id in (trained.run_id, larger):
        MlflowClient().set_tag(run_id, "mlflow.runName", "../my/model")
    result = export(trained.run_id, larger, folder=folder)
    folders = {run_id: f"models/-my-model-{run_id[:8]}" for run_id in (trained.run_id, larger)}
    assert result["kind"] == "trainings"
    assert [len(rows_of(folder / name)) for name in ("runs.csv", "curves.csv")] == [2, 4]
    for run_id, path in folders.items():
        assert load_model(folder / path / "weights.safetensors")[2]["epoch"]
        assert json.loads((folder / path / "config.json").read_text())["run_id"] == run_id

    subject = subject_of(trained.run_id, larger)
    assert [model["label"] for model in page_models(subject).models] == ["LSTM 1x8", "GRU 1x12"]  # by MACs
    best, other = sorted(subject.models, key=lambda run: float(run.result["val_perplexity"]))
    monkeypatch.setitem(MODEL_BYTES, "trainings", 5_000)
    page = page_models(subject)
    assert [model["parameters"] for model in page.models] == [best.result["parameters"]]
    assert f"its files are in {folders[other.id]}" in page.remarks[-1]


def begun(tags: dict[str, str]) -> str:
    """The id of a new run with these tags."""
    all_tags = {**tags, "mlflow.tmlm.format": str(FORMAT)}
    return str(MlflowClient().create_run(setup().experiment_id, tags=all_tags).info.run_id)


def experiment_name() -> str:
    return str(MlflowClient().get_experiment(setup().experiment_id).name)


def test_a_record_leads_to_no_file_outside_and_to_no_formula_of_a_spreadsheet(tmp_path):
    for name in ("models/../../owned/config.json", "/owned.json"):
        with pytest.raises(InputError, match="outside of --output"):
            _check_is_inside(tmp_path, name)
    member: Any = {"name": "=1+1", "run_ids": [], "macs_per_char": -1}
    (row,) = csv.DictReader(tables.front_csv([{"front": [member], "picks": {}, "study_name": "x"}]).splitlines())
    assert (row["name"], row["macs_per_char"]) == ("'=1+1", "-1")


def test_each_member_of_a_front_has_its_own_picks():
    front: Any = [{"name": "a", "run_ids": ["1", "2"]}, {"name": "b", "run_ids": ["3"]}]
    picks: Any = {"small": {"run_id": "2"}, "best": {"run_id": "3"}}
    first = {"front": front, "picks": picks, "study_name": "first"}
    studies = [first, {"front": front[1:], "picks": {}, "study_name": "2"}]
    rows = csv.DictReader(tables.front_csv(studies, with_study=True).splitlines())
    assert [(row["study"], row["name"], row["picks"], row["runs"]) for row in rows] == [
        ("first", "a", "small", "1 2"),
        ("first", "b", "best", "3"),
        ("2", "b", "", "3"),
    ]


def test_the_table_for_latex_has_a_row_for_each_configuration_with_its_spread_and_its_text():
    novel = training(0, corpus=r"a_b & {c}")
    lines = tables.latex([training(1), training(1, seed=1), training(2), novel]).splitlines()
    assert [line.removesuffix(r" \\") for line in lines[:-1]] == [
        r"\begin{tabular}{llrrrrr}",
        "text & configuration & seeds & validation & test & MACs per character & parameters",
        r"time-machine, preset stream & lstm-1x16 & 1 & 5.38 $\pm$ 0.11 & 5.43 $\pm$ 0.11 & 3,580 & 3,420",
        r"time-machine, preset stream & gru-1x12 & 2 & 6.05 $\pm$ 0.11 & 6.10 $\pm$ 0.11 & 1,960 & 1,876",
        r"a\_b \& \{c\}, preset stream & rnn-1x8 & 1 & 8.04 & 8.10 & 564 & 556",
    ]
