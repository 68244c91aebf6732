"""What a command would use on this machine, and why. Nothing is downloaded and nothing is recorded."""

import logging
import os
import shutil
from typing import Any

import torch

from pipeline import tracking
from pipeline.config import CorpusConfig
from pipeline.corpus import FALLBACK, KNOWN_TEXTS, TIME_MACHINE_FILE, cache_dir, find_text
from pipeline.errors import TmlmError
from pipeline.training import choose_device, choose_precision, choose_threads


def findings(corpus: str) -> dict[str, Any]:
    """Name -> what was found, in the order in which one would ask."""
    device = choose_device("auto")
    database = tracking.own_database()
    versions = tracking.environment()
    return {
        "text": _text(CorpusConfig(corpus).corpus),
        "TMLM_DATA_DIR": os.environ.get("TMLM_DATA_DIR") or "not set (a folder with timemachine.txt)",
        "cache": str(cache_dir()),
        "store": os.environ.get("MLFLOW_TRACKING_URI") if database is None else f"sqlite:///{database}",
        "store_state": "set by MLFLOW_TRACKING_URI" if database is None else _state(database),
        "device": str(device),
        "precision": f"{choose_precision('auto', device, 'torch')} (torch.nn layers), "
        f"{choose_precision('auto', device, 'scratch')} (scratch layers)",
        "threads": f"{choose_threads(None)} of {os.cpu_count()} cores",
        "mlflow_command": shutil.which("mlflow") or "not on PATH: activate the environment, or use .venv/bin/mlflow",
        "conda": shutil.which("conda") or "not found: always add --env-manager local (or uv) to mlflow run",
        "git": tracking.git_tags().get("git.commit", "not a repository") + _dirt(),
        "python": versions["python"],
        **versions["packages"],
        "torch_threads": torch.get_num_threads(),
    }


def _text(corpus: str) -> str:
    """Where the text would come from; without a download, so a missing book is told as one that would be fetched."""
    before = os.environ.get("TMLM_OFFLINE")
    os.environ["TMLM_OFFLINE"] = "1"
    logging.disable(logging.WARNING)
    try:
        name, source, data = find_text(corpus)
    except TmlmError as error:
        return " ".join(str(error).split())
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            del os.environ["TMLM_OFFLINE"]
    if corpus == "auto" and name == FALLBACK and before is None:
        return (
            f"{KNOWN_TEXTS[0]}, to be downloaded: no {TIME_MACHINE_FILE} in TMLM_DATA_DIR or the cache; "
            f"without a network {FALLBACK}, {len(data):,} bytes from {source}"
        )
    return f"{name}, {len(data):,} bytes from {source}"


def _state(database: Any) -> str:
    return f"{database.stat().st_size:,} bytes" if database.is_file() else "not there yet: made by the first run"


def _dirt() -> str:
    return " (changed since)" if tracking.git_tags().get("git.dirty") == "true" else ""
