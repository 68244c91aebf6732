"""A small store that an earlier commit recorded: what comes later has to read it, and to continue it bit for bit.

    python -m tests.yardstick compare [--commit 4aa78f6]    # exit code 1 if the working tree continues it differently

The store has three finished trainings of 8 units (one on top of n-grams, one with ``budget_seconds``), a training, a
study and an answer that were killed half-way, and the text of all, which was made up; FIGURES is what the same code
made of a copy, which CI's test compares to 1e-4. Both are the work of 4aa78f6 by the command ``make`` that this file
had at ef0d8513. This program lets the commit and the working tree continue a copy each on this machine. Figures that
only one of them records are named, and are no difference unless NEEDED.

Left out of the archive: the pages that run a model, the copies of models for serving, and ``last.safetensors`` of the
finished trainings of the study and the answer. Every picture is one pixel. The machine in the records is made up, as is
the user, so that each run that was killed is one of another machine: ``tmlm doctor --close`` ends it.
"""

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from mlflow.store.db.utils import _get_latest_schema_revision
from safetensors.numpy import load_file

from pipeline.tracking.names import bare_tags
from tests.checkout import ROOT, Checkout

ARCHIVE = ROOT / "tests" / "data" / "yardstick.tar.xz"
FIGURES = ROOT / "tests" / "data" / "yardstick.json"
PATIENCE_SECONDS = 300  # for a command
TEXT = "yardstick.txt"  # beside mlruns/
STUDY = "yardstick"

FINISHED = ("lstm-1x8-s0-yardstick", "gru-1x8-on-ngram-s0-yardstick")  # beside the one with budget_seconds
BY_SECONDS = "rnn-1x8-s0-yardstick"
CUT_OFF, CUT_OFF_EPOCHS = "lstm-1x8-s1-yardstick", 10
TRIALS_BEFORE = 3  # of SEARCH, before it was killed
SEARCH: dict[str, Any] = {
    "study_name": STUDY, "corpus": TEXT, "cell": "rnn,gru", "num_layers": "1", "hidden_size": "4..12",
    "epochs": 4, "trials": 6, "confirm_seeds": 2, "workers": 1,
}  # fmt: skip
ANSWER: dict[str, Any] = {"corpus": TEXT, "minutes": 0.1, "seeds": 1, "workers": 1}
PLAN: dict[str, Any] = {  # of the answer, in pipeline/answer/plan.py: its own networks would take megabytes
    "SHAPES": {"stream": {"cell": "gru", "num_layers": 1, "hidden_size": 8}},
    "HIDDEN_SIZES": (4,),
    "ON_TOP_CHARS": {4: 1_000_000, 8: 1_000_000},
}
COMMAND_WITH_PLAN = f"""
from pipeline.answer import plan
for name, value in {PLAN!r}.items():
    assert hasattr(plan, name), name
    setattr(plan, name, value)
from pipeline.cli.main import main
main()
"""

OF_TIME_OR_PLACE = (  # parts of the names of figures that are not compared; sentences may be worded anew
    *("seconds", "minutes", "per_second", "_ms", "ms_"),
    *("run_id", "storage", "checkpoint", "mlflow_run", "sentence"),
    *("aliases", "label"),  # of a search's picks, which had bare names, too
    "texts",  # of which the first began with "it has"
)
NEEDED = ("weights best", "perplexity/", "result/", "trial ")  # beginnings of the names of figures that both must have


def unpack(home: Path) -> None:
    """Put the store and its text into a folder, with the tables that the installed MLflow and Optuna have."""
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(home, filter="data")
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database:
        ((revision,),) = database.execute("SELECT version_num FROM alembic_version")
    if revision != _get_latest_schema_revision():
        upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{home}/mlruns/mlflow.db"]
        subprocess.run(upgrade, check=True, capture_output=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/mlruns/optuna.db", skip_compatibility_check=True)
    if storage.get_current_version() != storage.get_head_version():
        storage.upgrade()
    storage.engine.dispose()


# --- what a store has -------------------------------------------------------------------------------------------------


def runs_of(home: Path) -> list[dict[str, Any]]:
    """The runs of a store, oldest first: id, name, status, tags by their bare names, and the name of the parent."""
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database:
        rows = database.execute("SELECT run_uuid, name, status FROM runs ORDER BY start_time").fetchall()
        runs = [dict(zip(("id", "name", "status"), row, strict=True)) for row in rows]
        for run in runs:
            tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid=?", (run["id"],)).fetchall())
            run["tags"] = bare_tags(tags)
        names = {run["id"]: run["name"] for run in runs}
        return [{**run, "parent": names.get(run["tags"].get("mlflow.parentRunId"), "")} for run in runs]


def history_of(home: Path, run_id: str) -> dict[str, float]:
    """Every metric of a run that is not a time, as "NAME STEP"."""
    query = "SELECT key, step, value FROM metrics WHERE run_uuid=? ORDER BY key, step, timestamp"
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database:
        rows = database.execute(query, (run_id,)).fetchall()
    return {f"{key} {step}": value for key, step, value in rows if not is_of_time_or_place(key)}


def is_of_time_or_place(name: str) -> bool:
    return any(part in name for part in OF_TIME_OR_PLACE)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a JSON value by their paths, without those of time or place."""
    if is_of_time_or_place(name.rpartition("/")[2]):
        return
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    else:
        yield name, value
    for key, each in inside:
        yield from leaves(each, f"{name}/{key}")


def contents(home: Path) -> dict[str, dict[str, Any]]:
    """All that is compared, in one part for each finished run, by its parent and name, and for the study's trials."""
    parts: dict[str, dict[str, Any]] = {}
    for run in runs_of(home):
        if run["status"] != "FINISHED":
            continue
        artifacts = home / "mlruns" / "0" / run["id"] / "artifacts"
        weights = {
            f"weights {path.stem} {name}": hashlib.sha256(array.tobytes()).hexdigest()[:16]
            for path in sorted(artifacts.glob("checkpoints/*.safetensors"))
            for name, array in sorted(load_file(path).items())
        }
        result = dict(leaves(json.loads((artifacts / "result.json").read_text()), "result.json"))
        part = f"{run['parent']}/{run['name']}" if run["parent"] else run["name"]
        assert part not in parts, f"two runs {part}"
        parts[part] = history_of(home, run["id"]) | weights | result
    parts[f"study {STUDY}"] = {
        f"trial {trial.number}": [trial.state.name, trial.params, trial.values] for trial in trials_of(home)
    }
    return parts


def trials_of(home: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/mlruns/optuna.db")
    try:
        return optuna.load_study(study_name=STUDY, storage=storage).trials
    finally:
        storage.engine.dispose()


# --- commands ---------------------------------------------------------------------------------------------------------


def words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


class Lab:
    """A checkout, of a commit or (None) of the working tree, with a store of its own, and its commands."""

    def __init__(self, folder: Path, commit: str | None) -> None:
        if commit is None:
            self.home = Checkout(folder).folder
        else:
            self.home = folder / "checkout"
            git = ["git", "-C", str(self.home)]
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, self.home], check=True)
            subprocess.run([*git, "checkout", "--quiet", commit], check=True)
            subprocess.run([*git, "remote", "remove", "origin"], check=True)  # whose address MLflow would record
            (self.home / ".git" / "info" / "exclude").write_text(f"{TEXT}\n")  # else the runs were of changed code
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TMLM_"))
        }
        self.environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.home),
            "TMLM_CACHE_DIR": str(folder / "cache"),
            "TMLM_OFFLINE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LOGNAME": "yardstick",  # MLflow records it
        }

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.home.parent / "errors.txt").open("wb"),
            start_new_session=True,
        )

    def run(self, *command: str) -> None:
        """Run a command; end with its errors if it fails."""
        if self.start(*command).wait(PATIENCE_SECONDS):
            sys.exit(f"{' '.join(command)}\n{(self.home.parent / 'errors.txt').read_text()}")


def continue_all(lab: Lab) -> dict[str, dict[str, Any]]:
    """Continue a copy of the store, as its user would on another machine; returns the contents afterwards."""
    unpack(lab.home)
    lab.run("-m", "pipeline", "doctor", "--repair")
    running = {run["id"]: run for run in runs_of(lab.home) if run["status"] == "RUNNING"}
    for run_id, run in running.items():
        if not run["parent"]:  # the others are closed by the search and the answer
            lab.run("-m", "pipeline", "doctor", "--close", run_id)
    lab.run("-m", "pipeline", "search", *words(SEARCH))  # first, as it puts the text where the training looks for it
    lab.run("-c", COMMAND_WITH_PLAN, "answer", *words(ANSWER))
    (cut_off,) = (run_id for run_id, run in running.items() if run["name"] == CUT_OFF)
    lab.run("-m", "pipeline", "train", "--resume", cut_off)
    return contents(lab.home)


# --- the comparison -------------------------------------------------------------------------------------------------


def shortened(names: Collection[str]) -> str:
    """The first of these names, and how many there are."""
    return f"{', '.join(sorted(names)[:3])}{f' ... ({len(names)})' if len(names) > 3 else ''}"


def compare(commit: str) -> bool:
    """Continue a copy by the commit and one by the working tree; print a line for each part. Whether all are equal."""
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        labs = Lab(Path(old), commit), Lab(Path(new), None)
        with ThreadPoolExecutor() as both_at_once:
            then, now = both_at_once.map(continue_all, labs)
    is_equal = True
    for part in sorted(then.keys() | now.keys()):
        before, after = then.get(part, {}), now.get(part, {})
        both, single = before.keys() & after.keys(), before.keys() ^ after.keys()
        different = [name for name in both if before[name] != after[name]]
        different += [name for name in single if name.startswith(NEEDED)]
        notes = [f"only one has {shortened(single)}"] if single else []
        verdict = f"DIFFERENT: {shortened(different)}" if different else f"{len(both):4} equal"
        sys.stdout.write(f"{part:60} {'; '.join([verdict, *notes])}\n")
        is_equal = is_equal and not different
    sys.stdout.write(f"{'the same' if is_equal else 'NOT the same'}, bit for bit, as {commit}\n")
    return is_equal


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare",))
    parser.add_argument("--commit", default="4aa78f6", help="commit to compare with")
    sys.exit(not compare(parser.parse_args().commit))
