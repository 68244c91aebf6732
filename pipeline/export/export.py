"""Export a training, a study or an experiment: a page, tables and models, in a folder that needs no MLflow."""

from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.export.model_files import CONFIG, ONNX, VOCABULARY, WEIGHTS, ModelFiles, model_files
from pipeline.export.page import ExportedModel, page
from pipeline.export.subject import Subject, subject_of
from pipeline.export.tables import curves_csv, front_csv, runs_csv
from pipeline.support.files import write_atomically
from pipeline.tracking.recorded import RecordedTraining

PAGE = "index.html"

CONTENTS = {
    "runs.csv": "one row for each training: options and final figures",
    "curves.csv": "training and validation perplexity of each epoch",
    "front.csv": "the members of the front, with their intervals and runs",
    WEIGHTS: "the weights; tmlm sample takes the file as its MODEL",
    CONFIG: "the model's options, its text and its figures",
    VOCABULARY: "the symbols in the order of their ids",
    ONNX: "one step: ids and state in, logits and new state out",
}


def export(reference: str, folder: Path) -> dict[str, Any]:
    """Write the training, study or experiment that ``reference`` names to a folder; returns its kind, name and files.

    Nothing is overwritten. Raises InputError if a file exists already, if the reference names nothing or several
    things, and if what it names has not finished.
    """
    _check_is_free(folder, PAGE)  # before anything is read
    subject = subject_of(reference)
    files, models = _models(subject)
    files |= {"runs.csv": runs_csv(subject.trainings).encode(), "curves.csv": curves_csv(subject.trainings).encode()}
    if subject.search:
        result = subject.search.result
        files["front.csv"] = front_csv(result["front"], result["picks"]).encode()
    listed = [(name, CONTENTS[Path(name).name]) for name in sorted(files)]
    files[PAGE] = page(
        subject, models, listed
    ).encode()  # written last, so that the export is complete once the page exists
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


def _check_is_free(folder: Path, name: str) -> None:
    if (folder / name).exists():
        raise InputError(f"--output {folder} has {folder / name} already; give another folder, or remove the file")


def _models(subject: Subject) -> tuple[dict[str, bytes], list[ExportedModel]]:
    """The files of the models by path, and the models: a training's own, or a study's picks, the best last."""
    files: dict[str, bytes] = {}
    models, read = [], dict[str, ModelFiles]()  # by run id: a run may have several names
    for name, (place, training) in _chosen(subject).items():
        found = read.get(training.id) or model_files(training)
        read[training.id] = found
        files |= {f"{place}/{file}": data for file, data in found.files.items()}
        models.append(ExportedModel(name, place, training, found.vocab_size, found.without_onnx))
    return files, models


def _chosen(subject: Subject) -> dict[str, tuple[str, RecordedTraining]]:
    """The folders and trainings of the exported models, by name."""
    if subject.kind == "training":
        return {subject.name: ("model", subject.trainings[0])}
    if subject.search is None:
        return {}
    by_id = {training.id: training for training in subject.trainings}
    picks = {name: pick["run_id"] for name, pick in subject.search.result["picks"].items()}
    return {f"@{name}": (f"models/{name}", by_id[run_id]) for name, run_id in picks.items()}
