"""Small stores that earlier commits recorded: what comes later reads them, and continues the last one bit for bit.

    python -m tests.yardstick compare    # exit code 1 if the working tree continues it differently

The store of 4aa78f6 (recipe 5) has three finished trainings of 8 units (one on top of n-grams, one with
``budget_seconds``), and a training, a search and an answer that were killed half-way. That of d5cc29df (recipe 6) and
CONTINUED have a search, an answer, a training with several seeds and a main job that reused the text of an earlier one,
each once finished and once killed half-way. The text of all was made up. Beside the archives are figures of what the
same code made of a copy and, but for the first, of one configuration of the report, which tests compare to 1e-4. The
first two are the work of their commits by the command ``make`` that this file had at ef0d8513 and at cb7f259e; the
third was recorded by that command as it is at d345fe0b. This program lets CONTINUED and the working tree continue a
copy each on this machine. Figures that only one records are named; NEEDED ones that the commit alone has are a
difference.

Left out of the archives: the pages that run a model, the copies of models for serving, and ``last.safetensors`` of the
finished trainings that have a parent. Every picture is one pixel. The machine in the records is made up, as is the
user, so that each run that was killed is one of another machine: ``tmlm doctor --close`` ends it.
"""

import argparse
import hashlib
import json
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

import mlflow
import optuna
import pytest
from safetensors.numpy import load_file

from pipeline.errors import RecordingError
from pipeline.runs import doctor
from tests.checkout import ROOT, Checkout, environment_with, runs_in
from tests.labs import store_at

DATA = ROOT / "tests" / "data"
PATIENCE_SECONDS = 300  # for a command
TEXT = "yardstick.txt"  # beside mlruns/
CONTINUED = "cd085b51"  # the store of the present recipe, by the commit that recorded it; the others are only read
STORES = ("4aa78f6", "d5cc29df", CONTINUED)

SEARCH: dict[str, Any] = {
    "corpus": TEXT, "alphabet": "letters", "cell": "rnn,gru", "num_layers": "1", "hidden_size": "4..8", "epochs": 4,
    "trials": 5, "confirm_seeds": 2, "workers": 1,
}  # fmt: skip
ANSWER: dict[str, Any] = {"corpus": TEXT, "alphabet": "letters", "scale": 0.01, "seeds": 1, "workers": 1}
TRAIN: dict[str, Any] = {
    "corpus": TEXT, "alphabet": "letters", "cell": "lstm", "hidden_size": 8, "epochs": 10, "precision": "fp32",
}  # fmt: skip
CUT_OFF: dict[str, dict[str, Any]] = {  # of CONTINUED: the commands that were killed, with their options
    "search": {**SEARCH, "study_name": "cut-off"},
    "answer": ANSWER,
    "train": {**TRAIN, "seeds": 3},
    "pipeline": {**TRAIN, "seed": 2},
}
FINISHED: dict[str, dict[str, Any]] = {
    "search": {**SEARCH, "study_name": "finished", "epochs": 3, "trials": 3},
    "answer": {**ANSWER, "scale": 0.005},
    "train": {**TRAIN, "cell": "gru", "epochs": 3, "seeds": 2},
    "pipeline": {**TRAIN, "epochs": 4, "seed": 1},
}
PLAN: dict[str, Any] = {  # of the answer: its own networks would take megabytes
    "shape": {"cell": "gru", "num_layers": 1, "hidden_size": 8},
    "hidden_sizes": (4,),
    "on_top_chars": {4: 1_000_000, 8: 1_000_000},
}
ANSWER_WITH_PLAN = f"""
from functools import partial
from pipeline.answer import plan, run
run.answer = partial(run.answer, plan=plan.AnswerPlan(**{PLAN!r}))
from pipeline.cli.main import main
main()
"""

OF_TIME_OR_PLACE = (  # parts of the names of figures that are not compared; sentences may be worded anew
    *("seconds", "minutes", "per_second", "_ms", "ms_"),
    *("run_id", "storage", "checkpoint", "mlflow_run", "sentence"),
    *("aliases", "label"),  # of a search's picks, which had bare names, too
    "texts",  # of which the first began with "it has"
    "name",  # of a run, as later versions give others
)
NEEDED = ("weights best", "perplexity/", "result/", "trial ")  # beginnings of the names of figures that must stay


def unpack(store: str, home: Path) -> None:
    """Put the store and its text into a folder, with the tables that the installed MLflow and Optuna have."""
    with tarfile.open(DATA / f"yardstick-{store}.tar.xz") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python before 3.11.4 has none
        tar.extractall(home)
    with store_at(home):
        try:
            doctor.upgrade()
        except RecordingError as error:
            if "Can't locate revision" not in str(error):
                raise
            pytest.skip(f"a later MLflow than {mlflow.__version__} recorded this store")


# --- what a store has -------------------------------------------------------------------------------------------------


def runs_of(home: Path) -> list[dict[str, Any]]:
    """The runs of a store, as ``runs_in`` has them, with what they are paired by."""
    runs = runs_in(home / "mlruns" / "mlflow.db")
    tags_of = {run["id"]: run["tags"] for run in runs}
    return [{**run, "pair": pair_of(run["tags"], tags_of)} for run in runs]


def pair_of(tags: Mapping[str, str], tags_of: Mapping[str, Mapping[str, str]]) -> str:
    """The stages of a run's parent and of the run, with config_id and seed of the training that it is or refers to.

    Without a training, with its study or the digest of its answer. Never with its name, as later versions give others.
    """
    parent = tags_of.get(tags.get("mlflow.parentRunId", ""), {}).get("stage", "")
    training = tags_of[tags["trained_run"]] if "trained_run" in tags else tags
    if "config" in training:
        what = f"{training['config_id']}-s{json.loads(training['config'])['train']['seed']}"
    else:
        what = tags.get("study", tags.get("answer", ""))
    return "/".join(filter(None, (parent, tags["stage"], what)))


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
    """All that is compared, in one part for each finished run, and for the trials of each study."""
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
        assert run["pair"] not in parts, f"two runs {run['pair']}"
        parts[run["pair"]] = history_of(home, run["id"]) | weights | result
    for study, trials in trials_of(home).items():
        parts[f"trials/{study}"] = {
            f"trial {trial.number}": [trial.state.name, trial.params, trial.values] for trial in trials
        }
    return parts


def trials_of(home: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """The trials of each study."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/mlruns/optuna.db")
    try:
        names = optuna.get_all_study_names(storage)
        return {name: optuna.load_study(study_name=name, storage=storage).trials for name in names}
    finally:
        storage.engine.dispose()


# --- commands ---------------------------------------------------------------------------------------------------------


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
        self.has_scale = "--scale" in (self.home / "MLproject").read_text()  # of an answer
        self.environment = environment_with(folder / "cache")
        self.environment |= {"PYTHONPATH": str(self.home), "LOGNAME": "yardstick"}  # MLflow records the name

    def run(self, *words: str, **options: Any) -> None:
        """Run a command; end with its errors if it fails."""
        if "scale" in options and not self.has_scale:
            options["minutes"] = 10 * options.pop("scale")
        command = [*words, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]
        how = ["-c", ANSWER_WITH_PLAN] if "answer" in words else ["-m", "pipeline"]
        done = subprocess.run(
            [sys.executable, *how, *command],
            cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")


def continue_all(lab: Lab) -> dict[str, dict[str, Any]]:
    """Continue a lab's copy of CONTINUED, as its user would on another machine; returns the contents afterwards."""
    lab.run("doctor", "--repair")
    for run in runs_of(lab.home):
        if run["status"] == "RUNNING" and "role" not in run["tags"]:  # the others are closed by what they are parts of
            lab.run("doctor", "--close", run["id"])
    for command, options in CUT_OFF.items():
        lab.run(command, **options)
    return contents(lab.home)


# --- the comparison -------------------------------------------------------------------------------------------------


def shortened(names: Collection[str]) -> str:
    """The first of these names, and how many there are."""
    return f"{', '.join(sorted(names)[:3])}{f' ... ({len(names)})' if len(names) > 3 else ''}"


def compare(commit: str) -> bool:
    """Continue a copy by the commit and one by the working tree; print a line for each part. Whether all are equal."""
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        labs = Lab(Path(old), commit), Lab(Path(new), None)
        for lab in labs:  # one by one, as an upgrade is of the store that this process has
            unpack(CONTINUED, lab.home)
        with ThreadPoolExecutor() as both_at_once:
            then, now = both_at_once.map(continue_all, labs)
    is_equal = True
    for part in sorted(then.keys() | now.keys()):
        before, after = then.get(part, {}), now.get(part, {})
        both, single = before.keys() & after.keys(), before.keys() ^ after.keys()
        different = [name for name in both if before[name] != after[name]]
        missing = before.keys() - after.keys() if before and after else single  # a new figure of a run is no difference
        different += [name for name in missing if name.startswith(NEEDED)]
        notes = [f"only one has {shortened(single)}"] if single else []
        verdict = f"DIFFERENT: {shortened(different)}" if different else f"{len(both):4} equal"
        sys.stdout.write(f"{part:60} {'; '.join([verdict, *notes])}\n")
        is_equal = is_equal and not different
    sys.stdout.write(f"{'the same' if is_equal else 'NOT the same'}, bit for bit, as {commit}\n")
    return is_equal


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare",))
    parser.add_argument("--commit", default=CONTINUED, help="commit to compare with, if not that of the store")
    sys.exit(not compare(parser.parse_args().commit))
