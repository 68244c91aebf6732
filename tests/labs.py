"""Tracking stores that are recorded once and copied for each test that starts from them."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModelOutput
from mlflow.tracking._tracking_service import utils

from pipeline.config import CorpusConfig, resolve
from pipeline.stages.train import train
from pipeline.text.corpus import load_corpus
from pipeline.tracking.artifacts import RESULT_FILE
from pipeline.tracking.relocation import PATH_COLUMNS
from pipeline.tracking.runs import dataset, tracked_run
from pipeline.tracking.step import Step, finished_step, step_key
from pipeline.tracking.store import _setup, setup

TINY: dict[str, Any] = {
    "hidden_size": 8, "epochs": 2, "batch_size": 32, "sequence_length": 16, "precision": "fp32", "sample_every": 1,
}  # fmt: skip
TINY_NAME = "lstm-1x8-s0-epochs-2-batch-32-sequence-16-precision-fp32-topics"  # of its run, on the topics


@contextmanager
def store_at(home: Path) -> Iterator[Path]:
    """Within the block, record in the store of this folder: <home>/mlruns/mlflow.db."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.setenv(name, "")  # restore what MLflow sets meanwhile
            patch.delenv(name)
        patch.setattr("pipeline.tracking.store.root", lambda: home)
        _setup.cache_clear()
        try:
            yield home
        finally:
            while mlflow.active_run() is not None:
                mlflow.end_run()
            _setup.cache_clear()


PNG = bytes.fromhex(  # one pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63f80f0001010100b138f6140000000049454e44ae426082"
)


def make_artifacts_plain(patch: pytest.MonkeyPatch) -> None:
    """Compose pictures without drawing and labelling them, and record no page with the model."""
    patch.setattr("pipeline.pages.plotting.png", lambda figure, shades=256: PNG)
    for figures in ("pipeline.pages.plotting", "pipeline.answer.pictures"):
        patch.setattr(f"{figures}.write_labels", lambda *labels, **options: None)
    for record_page in ("pipeline.stages.main.record_page", "pipeline.search.run.record_page"):
        patch.setattr(record_page, lambda run_id: None)


def leave_out_the_served_model(patch: pytest.MonkeyPatch) -> None:
    """Log no model with a training, which saves a third of the time of a tiny one, and so register none of a search."""
    patch.setattr("pipeline.tracking.runs.TrackedRun.model", lambda run, *details: None)
    patch.setattr("pipeline.search.run.register_picks", lambda picks, *details: dict.fromkeys(picks, ""))


def new_store(home: Path, empty_database: Path) -> Path:
    """Make a store without any records in this folder."""
    (home / "mlruns").mkdir(parents=True)
    shutil.copy(empty_database, home / "mlruns" / "mlflow.db")
    return home


@contextmanager
def plain_store(home: Path, empty_database: Path) -> Iterator[Path]:
    """Within the block, record in a new store in this folder, with plain artifacts and without served models."""
    with store_at(new_store(home, empty_database)), pytest.MonkeyPatch.context() as patch:
        make_artifacts_plain(patch)
        leave_out_the_served_model(patch)
        yield home


def _copy(source: str, target: str) -> None:
    """Copy a file; of the code of logged models, which no test changes, make links."""
    (os.link if "/code/" in source else shutil.copy2)(source, target)


def copy_store(source: Path, target: Path) -> None:
    """Copy a store and its artifacts as if they had been recorded in the target folder."""
    shutil.copytree(source / "mlruns", target / "mlruns", copy_function=_copy)
    for table, column in PATH_COLUMNS:
        replaced = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
        execute(target / "mlruns" / "mlflow.db", replaced, str(source), str(target))
    for result in target.rglob("result.json"):
        result.write_text(result.read_text().replace(str(source), str(target)))
    utils._artifact_repos_cache.clear()  # MLflow caches the artifacts of a run by its id alone


@dataclass(frozen=True)
class TrainedStore:
    """A store with one finished training of TINY, to be copied and not written to."""

    home: Path
    step: Step

    def copy(self, target: Path) -> Step:
        """Copy the store and return its training as recorded there."""
        copy_store(self.home, target)
        checkpoint = self.step.result["checkpoint"].replace(str(self.home), str(target))
        return replace(self.step, result={**self.step.result, "checkpoint": checkpoint})

    def logged_model(self, target: Path) -> Path:
        """Copy the store and return the folder of its logged model, as MLflow downloads it."""
        run_id = self.copy(target).run_id
        with store_at(target):
            setup()
            return Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/lstm-1x8", dst_path=str(target / "model")))


def trained_store(home: Path, text: Path) -> TrainedStore:
    """Train TINY in an empty store."""
    config = CorpusConfig(str(text), "letters")
    with store_at(home):
        return TrainedStore(home, train(load_corpus(config), *resolve(TINY)))


def run_step(stage: str, inputs: dict[str, Any], reuse: bool, **result: Any) -> Step:
    """A step with this result, run or reused as those of the stages are."""
    key = step_key(stage, inputs)
    if reuse and (step := finished_step(stage, key)):
        return step
    with tracked_run(stage, "a step", {"step_key": key}) as run:
        run.json(RESULT_FILE, result)
    return Step(stage, run.id, result)


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def everything(database: Path) -> str:
    """All that a database holds, as SQL statements."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def execute(database: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, values)


def record(name: str, stage: str = "train", error: BaseException | None = None, **tags: str) -> str:
    """The id of a new run that has ended, with this error if there is one; corpus_sha256 is the tag corpus.sha256."""
    tags = {key.replace("corpus_", "corpus."): value for key, value in tags.items()}
    with suppress(type(error or ValueError())), tracked_run(stage, name, tags) as run:
        if error:
            raise error
    return run.id


def training(name: str, **tags: str) -> str:
    """The id of a finished training with an artifact, figures, a dataset and a logged model."""
    with tracked_run("train", name, {"corpus": "novel", **tags}) as run:
        run.text("samples/final.md", "it has")
        run.datasets([dataset("novel/train", "ab", "novel.txt", "train")])
        model = run.client.create_logged_model(setup().experiment_id, name, run.id)
        run.client.log_model_artifact(model.model_id, __file__)
        run.client.log_outputs(run.id, [LoggedModelOutput(model.model_id, 0)])
        run.constants({"result/val_perplexity": 9.0, "size/macs_per_char": 1548.0}, model.model_id)
    return run.id
