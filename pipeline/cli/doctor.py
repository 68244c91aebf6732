"""What a command would use on this machine, and why. Nothing is downloaded and nothing is recorded.

And what is wrong with the store: runs without a process, artifacts that a move has left behind; ``repair`` mends both.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch

from models.config import CellName, ModelConfig
from pipeline.config import TrainConfig
from pipeline.errors import InputError, TmlmError
from pipeline.support import machine
from pipeline.support.machine import usable_cores
from pipeline.text.downloads import cache_dir
from pipeline.text.sources import find_text
from pipeline.tracking import liveness
from pipeline.tracking.relocation import LOCK_SECONDS, left_behind, mend
from pipeline.tracking.store import address, look, own_database, shown, sqlite_file, store_errors
from pipeline.training.hardware import choose_device, choose_precision, choose_threads

Implementation = Literal["torch", "scratch"]

PRECISIONS: tuple[tuple[CellName, Implementation], ...] = (("lstm", "torch"), ("gru", "torch"), ("lstm", "scratch"))


def findings(corpus: str) -> dict[str, Any]:
    """Name -> what was found, in the order in which one would ask."""
    device = choose_device("auto")
    database = own_database()
    environment = machine.environment()
    try:
        state, runs = "set by MLFLOW_TRACKING_URI" if database is None else _state(database), _runs()
    except TmlmError as error:
        state, runs = str(error), {}
    return {
        "text": _text(corpus),
        "TMLM_DATA_DIR": os.environ.get("TMLM_DATA_DIR") or "not set (a folder with timemachine.txt)",
        "cache": str(cache_dir()),
        "store": shown(address()) if database is None else f"sqlite:///{database}",
        "store_state": state,
        "device": str(device),
        "precision": "; ".join(f"{_precision(device, *each)} ({', '.join(each)})" for each in PRECISIONS),
        "threads": f"{choose_threads(None)} of {usable_cores()} cores",
        "mlflow_command": shutil.which("mlflow") or "not on PATH: activate the environment, or use .venv/bin/mlflow",
        "conda": shutil.which("conda") or "not found: always add --env-manager local (or uv) to mlflow run",
        "git": machine.git_tags().get("git.commit", "not a repository") + _dirt(),
        "python": environment["python"],
        **environment["packages"],
        **runs,
    }


def _runs() -> dict[str, list[str]]:
    """The runs that are RUNNING and what is known of their processes; those whose artifacts a move left behind."""
    if not look():
        return {}
    with store_errors():
        running = [f"{each.id} {each.name}: {each.meaning}" for each in liveness.open_runs()]
        database = own_database()
        moved = [] if database is None else left_behind(database, LOCK_SECONDS)
    return {"running": running, "moved": moved}


def repair() -> list[str]:
    """Close the runs whose process is gone, and find the artifacts of a moved checkout; what was done, in sentences."""
    if not look():
        return ["there is no store yet"]
    said: list[str] = []
    with store_errors():
        closed = liveness.close_dead_runs()
        left: list[liveness.OpenRun] = []
        if sqlite_file(address()) is not None:  # on a server, the `mlflow run` may be alive on another machine
            begun, left = liveness.close_begun_runs()
            closed += begun
        said += [f"closed {each.id} {each.name}: {each.meaning}" for each in closed]
        said += [
            f"left {each.id} {each.name}: begun less than an hour ago by a `mlflow run` that may be in another "
            f"container; if it has ended: tmlm doctor --close {each.id}"
            for each in left
        ]
        if (database := own_database()) is not None:
            said += mend(database, LOCK_SECONDS)
    return said or ["nothing to repair"]


def close(run_id: str) -> list[str]:
    """Close a run whose process can't be seen from here. InputError for one that is alive here, or that has ended."""
    if not look():
        raise InputError(f"--close {run_id}: there is no store yet")
    with store_errors():
        closed = liveness.close_by_hand(run_id)
    return [f"{closed.id} {closed.name}: {closed.meaning}"]


def _text(corpus: str) -> str:
    """Where the text would come from, without a download."""
    try:
        found = find_text(corpus, online=False)
    except TmlmError as error:
        return " ".join(str(error).split())
    here = f"{found.name}, {found.size:,} bytes from {found.source}"
    if not found.missing:
        return here
    if os.environ.get("TMLM_OFFLINE"):
        return f"{here}, in place of The Time Machine: not in TMLM_DATA_DIR or the cache, and TMLM_OFFLINE is set"
    return f"The Time Machine, to be downloaded: not in TMLM_DATA_DIR or the cache (without a network: {here})"


def _state(database: Path) -> str:
    return f"{database.stat().st_size:,} bytes" if database.is_file() else "not there yet: made by the first run"


def _precision(device: torch.device, cell: CellName, implementation: Implementation) -> str:
    """The arithmetic of the default recipe."""
    return choose_precision("auto", device, ModelConfig(cell, implementation=implementation), TrainConfig().batch_size)


def _dirt() -> str:
    return " (changed since)" if machine.git_tags().get("git.dirty") == "true" else ""
