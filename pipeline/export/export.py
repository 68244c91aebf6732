"""Export a training, a study or an experiment: a page, tables and models, in a folder that needs no MLflow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.export.model_files import CARD, CONFIG, ONNX, VOCABULARY, WEIGHTS, ExportedModel, exported_model
from pipeline.export.page import page
from pipeline.export.page_models import page_models
from pipeline.export.subject import Subject, subject_of
from pipeline.export.tables import curves_csv, front_csv, runs_csv
from pipeline.support.files import write_atomically

PAGE = "index.html"

CONTENTS = {
    "runs.csv": "one row for each training: options and final figures",
    "curves.csv": "training and validation perplexity of each epoch",
    "front.csv": "the members of the front, with their intervals and runs",
    CARD: "what to know of the model, as a model card, and code that loads it without this project",
    WEIGHTS: "the weights; tmlm sample takes the file as its MODEL",
    CONFIG: "the model's options, its text and its figures",
    VOCABULARY: "the symbols in the order of their ids",
    ONNX: "one step: ids and state in, logits and new state out",
}


def export(reference: str, folder: Path, with_ngrams: bool = False) -> dict[str, Any]:
    """Write the training, study or experiment that ``reference`` names to a folder; returns its kind, name and files.

    ``with_ngrams`` is as ``page_models`` takes it. Nothing is overwritten. Raises InputError if a file exists already,
    if the reference names nothing or several things, and if what it names has not finished.
    """
    _check_is_free(folder, PAGE)  # before anything is read
    subject = subject_of(reference)
    models = _models(subject)
    files = {f"{model.folder}/{name}": data for model in models for name, data in model.files.items()}
    files |= {"runs.csv": runs_csv(subject.trainings).encode(), "curves.csv": curves_csv(subject.trainings).encode()}
    if subject.search:
        files["front.csv"] = front_csv(subject.search.result["front"], subject.picks).encode()
    listed = [(name, CONTENTS[Path(name).name]) for name in sorted(files)]
    in_page = page_models(subject, with_ngrams)
    # written last: once it exists, the export is complete
    files[PAGE] = page(subject, models, listed, in_page).encode()
    for name in files:
        _check_is_free(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} can't be made a folder: {error.strerror}; give another one") from error
    for name, data in files.items():
        write_atomically(folder / name, data)
    return {
        "kind": subject.kind,
        "name": subject.name,
        "page": str(folder / PAGE),
        "files": [str(folder / name) for name in sorted(files)],
        "without_onnx": next((model.without_onnx for model in models), ""),
    }


def page_of(reference: str) -> str:
    """The page of a finished training or study alone, without the files that ``export`` writes beside it."""
    subject = subject_of(reference)
    return page(subject, [], [], page_models(subject))


def _check_is_free(folder: Path, name: str) -> None:
    if ".." in Path(name).parts or Path(name).is_absolute():  # a record from a server that others write to
        raise InputError(f"the record has a pick whose file would be {name}, outside of --output {folder}")
    if (folder / name).exists():
        raise InputError(f"--output {folder} has {folder / name} already; give another folder, or remove the file")


def _models(subject: Subject) -> list[ExportedModel]:
    """A training's own model, or the models of a study's picks, the best last."""
    if subject.kind == "training":
        return [exported_model("model", subject.trainings[0])]
    by_id = {training.id: training for training in subject.trainings}
    read: dict[str, ExportedModel] = {}  # by run id: a run may have several names
    models = []
    for name, pick in subject.picks.items():
        run_id = pick["run_id"]
        reasons = " ".join(each["sentence"] for each in subject.picks.values() if each["run_id"] == run_id)
        read[run_id] = read.get(run_id) or exported_model(f"models/{name}", by_id[run_id], reasons)
        models.append(replace(read[run_id], folder=f"models/{name}"))
    return models
