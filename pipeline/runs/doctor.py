"""Report what commands would use here and why, without downloading or recording anything; repair the store."""

import os
import shutil
from pathlib import Path
from typing import Any

from pipeline.config import resolve
from pipeline.errors import InputError, TmlmError
from pipeline.support import machine
from pipeline.support.files import megabytes
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import kept_facts, kept_names, prepared_dir
from pipeline.text.ngrams import remove_outdated
from pipeline.text.sources import find_text
from pipeline.tracking import liveness, relocation, store
from pipeline.tracking.queries import refused_runs, unread_runs
from pipeline.tracking.references import find
from pipeline.tracking.store import address, client, look, moved_from, own_database, shown, store_errors
from pipeline.training.hardware import choose_device, choose_precision


def findings() -> dict[str, Any]:
    """Everything that ``doctor`` reports, by name, in the order in which it is printed."""
    device, database = choose_device("auto"), own_database()
    environment, git = machine.environment(), machine.git_tags()
    precisions = []
    for cell, implementation in (("lstm", "torch"), ("gru", "torch"), ("lstm", "scratch")):
        model, train = resolve({"cell": cell, "implementation": implementation})
        precision = choose_precision("auto", device, model, train.batch_size)
        precisions.append(f"{precision} ({cell}, {implementation})")
    runs: dict[str, list[str]] = {}
    places: dict[str, list[Path]] = {"runs and studies": [database.parent]} if database else {}
    state = "set by MLFLOW_TRACKING_URI" if database is None else "not there yet; the first run creates it"
    try:
        if look():
            with store_errors():
                running = [f"{run.id} {run.name}: {liveness.describe_process(run)}" for run in liveness.running_runs()]
                moved = "" if database is None else moved_from(database, client().get_experiment("0"))
                other = None if database else store.sqlite_file(address())
                if other is not None and (experiment := store.own_experiment()):
                    artifacts = relocation.local_path(experiment.artifact_location)
                    is_below = artifacts and artifacts.resolve().is_relative_to(other.parent.resolve())
                    places["runs"] = [other, artifacts] if artifacts and is_below else [other]  # the record may lie
            unread, failed = unread_runs(), " ".join(run.id for run in refused_runs())
            runs = {
                "running": running,
                "moved": [f"{moved}; `tmlm doctor --repair` updates their locations"] * bool(moved),
                "unread": [unread] * bool(unread),
                "failed": [f"before their command recorded anything: tmlm delete {failed}"] * bool(failed),
            }
            state = state if database is None else f"{database.stat().st_size:,} bytes"
    except TmlmError as error:
        state = str(error)
    places |= {"texts": [cache_dir()], "pages": [store.beside_store(store.PAGES)]}
    texts = sorted(
        {f"{name} ({facts['alphabet']})" for folder, facts in kept_facts().items() for name in kept_names(folder)}
    )
    return {
        "text": _text(),
        "TMLM_DATA_DIR": os.environ.get("TMLM_DATA_DIR") or "not set (a folder with timemachine.txt)",
        "cache": str(cache_dir()),
        "kept_texts": f"{prepared_dir()}: {', '.join(texts) or 'none yet'}",
        "store": shown(address()) if database is None else address(),
        "store_state": state,
        "disk": ", ".join(f"{what} {sum(map(megabytes, paths)):.1f} MB" for what, paths in places.items()),
        "device": str(device),
        "precision": "; ".join(precisions),
        "threads": f"1 of {machine.usable_cores()} cores",
        "mlflow_command": shutil.which("mlflow") or "not on PATH: activate the environment, or use .venv/bin/mlflow",
        "conda": shutil.which("conda") or "not found: always add --env-manager local (or uv) to mlflow run",
        "git": git.get("git.commit", "not a repository") + " (changed since)" * (git.get("git.dirty") == "true"),
        "python": environment["python"],
        **environment["packages"],
        **runs,
    }


def _text() -> str:
    """The source of the default text, found without downloading."""
    text = find_text("auto", online=False)
    local = f"{text.name}, {text.size:,} bytes from {text.source}"
    if not text.missing:
        return local
    if os.environ.get("TMLM_OFFLINE"):
        return f"{local}, instead of The Time Machine, which is not on this machine, and TMLM_OFFLINE is set"
    return f"The Time Machine, to be downloaded (without a network: {local})"


def repair() -> list[str]:
    """Close runs whose process died, fix artifact paths of a moved checkout, and remove caches of other versions."""
    messages = [f"removed {file}, which another version has cached" for file in remove_outdated()]
    if not look():
        return [*messages, "there is no store yet"]
    with store_errors():
        closed = liveness.close_dead_runs()
        messages += [f"closed {run.id} {run.name}: {liveness.describe_process(run)}" for run in closed]
        if (database := own_database()) is not None:
            messages += relocation.repair(database)
    return messages or ["nothing to repair"]


def upgrade() -> list[str]:
    """Upgrade the store, and Optuna's storage, that older versions have written, and keep backups; returns messages."""
    from pipeline.search.study import storage  # imports optuna, needed only here

    return store.upgrade() + storage.upgrade()


def close(run_id: str) -> list[str]:
    """Close a run whose process can't be checked from here. Raises InputError if it is alive here or has ended."""
    if not look():
        raise InputError(f"--close {run_id}: there is no store yet")
    with store_errors():
        run = find(run_id, "--close ")
        liveness.close_by_hand(run)
    return [f"{run.id} {run.name}: {liveness.describe_process(run)}"]
