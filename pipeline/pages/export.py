"""Export trainings, a study or an experiment: a page, tables and models, in a folder that needs no MLflow."""

from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.pages.model_files import CARD, CONFIG, VOCABULARY, WEIGHTS, model_files
from pipeline.pages.page import page
from pipeline.pages.page_models import page_models
from pipeline.pages.subject import subject_of
from pipeline.pages.tables import curves_csv, front_csv, latex, runs_csv
from pipeline.support.files import atomic_folder

PAGE = "index.html"

CONTENTS = {
    "runs.csv": "one row for each training: options and final figures",
    "curves.csv": "training and validation perplexity of each epoch",
    "front.csv": "the members of the front, with their intervals and runs",
    "table.tex": "one row for each configuration, as a LaTeX tabular",
    CARD: "what to know of the model, as a model card, and code that loads it without this project",
    WEIGHTS: "the weights; tmlm sample takes the file as its MODEL",
    CONFIG: "the model's options, its text and its figures",
    VOCABULARY: "the symbols in the order of their ids",
}


def export(*references: str, folder: Path, with_ngrams: bool = False) -> dict[str, Any]:
    """Write what ``subject_of`` reads by these references to a folder; returns its kind, name and files.

    ``with_ngrams`` is as ``page_models`` takes it. The folder, a new or an empty one, has all files or none. Raises
    InputError if it has others, and as ``subject_of`` does.
    """
    try:
        is_taken = folder.resolve() == Path.cwd() or folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    except (OSError, RuntimeError, ValueError) as error:  # no name of a folder; a link to itself
        raise _unfit(folder, error) from error
    if is_taken:
        raise InputError(f"--output {folder} is neither a new nor an empty folder; give another one")
    subject = subject_of(*references)
    by_id, files = {training.id: training for training in subject.trainings}, dict[str, bytes]()
    for run_id, found in subject.checkpoints.items():
        sentences = " ".join(subject.picks[name]["sentence"] for name in subject.chosen[run_id])
        of_model = model_files(by_id[run_id], found, sentences)
        for model in subject.folders[run_id]:
            files |= {f"{model}/{name}": data for name, data in of_model.items()}
    files |= {"runs.csv": runs_csv(subject.trainings).encode(), "curves.csv": curves_csv(subject.trainings).encode()}
    files["table.tex"] = latex(subject.finished).encode()
    if studies := [subject.search] if subject.search else subject.studies:
        files["front.csv"] = front_csv([run.result for run in studies], subject.kind == "experiment").encode()
    listed = [(name, CONTENTS[Path(name).name]) for name in sorted(files)]
    files[PAGE] = page(subject, page_models(subject, with_ngrams), listed).encode()
    for name in files:
        _check_is_inside(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unfit(folder, error) from error
    with atomic_folder(folder) as unfinished:
        for name, data in files.items():
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / name).write_bytes(data)
    return {
        "kind": subject.kind,
        "name": subject.name,
        "page": str(folder / PAGE),
        "files": [str(folder / name) for name in sorted(files)],
    }


def _unfit(folder: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(f"--output {folder} can't be made a folder: {reason}; give another one")


def _check_is_inside(folder: Path, name: str) -> None:
    if ".." in Path(name).parts or Path(name).is_absolute():  # a record from a server that others write to
        raise InputError(f"the record has a pick whose file would be {name}, outside of --output {folder}")
