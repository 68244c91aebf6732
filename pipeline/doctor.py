"""What a command would use on this machine, and why. Nothing is downloaded and nothing is recorded."""

import os
import shutil
from typing import Any

from pipeline import tracking
from pipeline.downloads import cache_dir
from pipeline.errors import TmlmError
from pipeline.texts import find_text
from pipeline.training import choose_device, choose_precision, choose_threads


def findings(corpus: str) -> dict[str, Any]:
    """Name -> what was found, in the order in which one would ask."""
    device = choose_device("auto")
    database = tracking.own_database()
    environment = tracking.environment()
    return {
        "text": _text(corpus),
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
        "python": environment["python"],
        **environment["packages"],
    }


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


def _state(database: Any) -> str:
    return f"{database.stat().st_size:,} bytes" if database.is_file() else "not there yet: made by the first run"


def _dirt() -> str:
    return " (changed since)" if tracking.git_tags().get("git.dirty") == "true" else ""
