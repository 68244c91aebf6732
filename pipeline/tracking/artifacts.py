"""Read the artifacts of recorded runs: results, sample texts, files; what is missing or damaged is empty. Sync them."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import yaml

from pipeline import earlier
from pipeline.results import ENVIRONMENT, SAMPLES, SEARCH, STAGES, TRAIN, Stage
from pipeline.support.files import sync
from pipeline.support.records import has_form
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import client, setup

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

RESULT_FILE = "result.json"  # artifact with a step's result
SAMPLES_FILE = "samples/final.json"  # artifact with a training's sample texts
PAGE_FILE = "page.html"  # artifact of a run, which runs its models
COSTS_FILE = "costs.json"  # artifact with a training's mean costs of blocks of the held-out texts
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's refuses what is nested too deeply at once


def sync_artifacts(store: MlflowClient, run_id: str) -> None:
    """Bring to the disk what MLflow has written of a run and its logged models, unless a server has it.

    Before the store says that the run is complete: after a power failure it would be, with empty files. Models are
    looked for below the folder of the run's experiment only: a record may name any folder.
    """
    run = store.get_run(run_id).info
    if (artifacts := local_path(run.artifact_uri)) is None:
        return
    models = store.search_logged_models([run.experiment_id], f"source_run_id = '{run_id}'")
    experiment = artifacts.parent.parent.resolve()
    for folder in (artifacts, *(local_path(model.artifact_location) for model in models)):
        if folder is not None and folder.is_dir() and folder.resolve().is_relative_to(experiment):
            sync(folder)


def read_result(run_id: str, stage: str) -> dict[str, Any]:
    """The result of a stage; {} if it is missing, damaged or not in the form that its stage declares."""
    found = read_json(run_id, RESULT_FILE, STAGES.get(stage, Stage()).result)
    if stage == SEARCH and found.get("compared"):
        return {**found, "compared": [*map(earlier.rival, found["compared"])]}
    return earlier.facts(found) if stage == TRAIN and found else found


def read_samples(run_id: str) -> list[dict[str, Any]]:
    """The sample texts of a training, the longest last; [] if they are missing or damaged."""
    return list(read_json(run_id, SAMPLES_FILE, SAMPLES).get("samples", []))


def read_environment(run_id: str) -> dict[str, Any]:
    """The machine and the versions that a run has recorded; {} if they are missing or damaged."""
    found = as_dict(partial(yaml.load, Loader=LOADER), read_text(run_id, "environment.yaml"), ENVIRONMENT)
    return {name: value for name, value in found.items() if value is not None}


def read_json(run_id: str, path: str, form: Any = dict) -> dict[str, Any]:
    """A JSON artifact as a dict; {} if it is missing, damaged or not of this form."""
    return as_dict(json.loads, read_text(run_id, path), form)


def read_text(run_id: str, path: str) -> str:
    """A text artifact; "" if it is missing or no text."""
    with suppress(MlflowException, OSError, ValueError):
        return artifact_path(run_id, path).read_text(encoding="utf-8")
    return ""


def as_dict(parse: Callable[[Any], Any], text: str | bytes, form: Any) -> dict[str, Any]:
    """What a recorded text says; {} if it does not parse or is no dict of this form."""
    try:
        value = parse(text)
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()  # half of a surrogate pair fails
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) and has_form(value, form) else {}


def artifact_path(run_id: str, path: str) -> Path:
    """Path of a run's artifact: the local file itself, or a download that is removed at exit."""
    local = local_path(_artifact_uri(setup().uri, run_id))
    return local / path if local else download_artifact(f"runs:/{run_id}/{path}")


@lru_cache(maxsize=1000)
def _artifact_uri(store: str, run_id: str) -> str:
    """Where the artifacts of a run of a store are; that changes only with the store's own address, by a repair."""
    return str(client().get_run(run_id).info.artifact_uri)


def download_artifact(uri: str) -> Path:
    """Download an artifact or a logged model to a folder that is removed at exit."""
    folder = tempfile.mkdtemp(prefix="tmlm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
