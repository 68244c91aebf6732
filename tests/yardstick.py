"""A small store that an earlier commit recorded: what comes later has to read it, and to continue it bit for bit.

    python -m tests.yardstick make --commit 4aa78f6       # writes ARCHIVE and FIGURES, with that commit's own code
    python -m tests.yardstick compare --commit 4aa78f6    # exit code 1 if the working tree continues it differently

The store has three finished trainings of 8 units (one on top of n-grams, one with ``budget_seconds``), a training, a
study and an answer that were killed half-way, and the text of all, which was made up. ``make`` works in MADE_IN, whose
name is in the records, and says what the same code makes of a copy in FIGURES, which CI's test compares to 1e-4.
``compare`` lets the commit and the working tree continue a copy each on this machine. Figures that only one of them
records are named, and are no difference unless NEEDED.

Left out of the archive: the pages that run a model, the copies of models for serving, and ``last.safetensors`` of the
finished trainings of the study and the answer. Every picture is one pixel. The machine in the records is made up, as is
the user, so that each run that was killed is one of another machine: ``tmlm doctor --close`` ends it.
"""

import argparse
import hashlib
import json
import lzma
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import optuna
from mlflow.store.db.utils import _get_latest_schema_revision
from safetensors.numpy import load_file

from pipeline.tracking.names import bare_tags
from tests.checkout import ROOT, Checkout
from tests.labs import PNG

ARCHIVE = ROOT / "tests" / "data" / "yardstick.tar.xz"
FIGURES = ROOT / "tests" / "data" / "yardstick.json"
LARGEST_BYTES = 300_000  # of the archive
MADE_IN = Path("/tmp/yardstick-store")
PATIENCE_SECONDS = 300  # for a command, and until it has done what it is killed after
TEXT = "yardstick.txt"  # beside mlruns/
STUDY = "yardstick"

TRAINING: dict[str, Any] = {"corpus": TEXT, "hidden_size": 8, "precision": "fp32"}
FINISHED: dict[str, dict[str, Any]] = {  # beside the one with budget_seconds, which only Python has
    "lstm-1x8-s0-yardstick": {"cell": "lstm", "epochs": 4},
    "gru-1x8-on-ngram-s0-yardstick": {"cell": "gru", "epochs": 3, "on_top_of": "ngram"},
}
BY_SECONDS = "rnn-1x8-s0-yardstick"
CUT_OFF, CUT_OFF_OPTIONS = "lstm-1x8-s1-yardstick", {"cell": "lstm", "epochs": 10, "seed": 1}
KILLED_AFTER = {"epochs": 4, "trials": 3, "trainings": 2}
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
TRAIN_BY_SECONDS = f"import tmlm; tmlm.train({TEXT!r}, cell='rnn', hidden_size=8, precision='fp32', budget_seconds=1)"

OF_A_MACHINE = {  # tags of a process, by which a later command would take it for one of its own machine
    "process.host": "yardstick",
    "process.machine": "0" * 32,
    "process.boot": "00000000-0000-0000-0000-000000000000",
}
OF_TIME_OR_PLACE = (  # parts of the names of figures that are not compared; sentences may be worded anew
    *("seconds", "minutes", "per_second", "_ms", "ms_"),
    *("run_id", "storage", "checkpoint", "mlflow_run", "sentence"),
    *("aliases", "label"),  # of a search's picks, which had bare names, too
)
NEEDED = ("weights best", "perplexity/", "result/", "trial ")  # beginnings of the names of figures that both must have
FINAL = tuple(f"result/{name}_perplexity" for name in ("val", "test", "mixture_val", "mixture_test"))


# --- the text, and the store as a file --------------------------------------------------------------------------------


def made_up_text(characters: int = 24_000, seed: int = 9) -> str:
    """Lines of made-up words, each of which is followed by one of a few others."""
    random = Random(seed)

    def one_of(values: list[str]) -> str:
        return values[int(len(values) * random.random())]  # the only method that Python promises not to change

    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = ["".join(one_of(syllables) for _ in range(1 + int(3 * random.random()))) for _ in range(60)]
    followers = {word: [one_of(words) for _ in range(4)] for word in words}
    lines, word = list[str](), words[0]
    while sum(map(len, lines)) + len(lines) < characters:
        line = []
        for _ in range(5 + int(8 * random.random())):
            line.append(word)
            word = one_of(followers[word] if random.random() < 0.9 else words)
        lines.append(" ".join(line))
    return "\n".join(lines) + "\n"


def pack(home: Path, archive: Path) -> None:
    """Write the store and the text of a folder to an archive, as the first lines of this file say."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "lab")
        shutil.copytree(home / "mlruns", folder / "mlruns", ignore=shutil.ignore_patterns(".*", "*.db*", "page.html"))
        shutil.copy(home / TEXT, folder)
        for name in ("mlflow.db", "optuna.db"):
            with closing(sqlite3.connect(home / "mlruns" / name)) as database:
                database.execute("VACUUM INTO ?", (str(folder / "mlruns" / name),))
        shutil.rmtree(folder / "mlruns" / "0" / "models")
        for picture in folder.rglob("*.png"):
            picture.write_bytes(PNG)
        for picture in folder.joinpath("mlruns", "optuna-artifacts").iterdir():
            picture.write_bytes(PNG)
        for run in runs_of(folder):
            if run["status"] == "FINISHED" and run["parent"]:
                folder.joinpath("mlruns", "0", run["id"], "artifacts", "checkpoints", "last.safetensors").unlink()

        def nobodys(file: tarfile.TarInfo) -> tarfile.TarInfo:
            file.uid = file.gid = file.mtime = 0
            file.uname = file.gname = ""
            return file

        with (
            lzma.open(archive, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for path in sorted(folder.rglob("*"), key=lambda path: (path.suffix, path.name, path)):  # like beside like
                if path.is_file():
                    tar.add(path, str(path.relative_to(folder)), filter=nobodys)


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

    def kill(self, is_due: Callable[[], bool], *command: str) -> None:
        """Run a command, and kill it with its workers as soon as it is due; then forget on which machine it ran."""
        process, until = self.start(*command), time.monotonic() + PATIENCE_SECONDS
        while not is_due():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(command)} has ended too early, or hangs")
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.hide_machine()

    def hide_machine(self) -> None:
        with closing(sqlite3.connect(self.home / "mlruns" / "mlflow.db", timeout=60)) as database, database:
            for tag, value in OF_A_MACHINE.items():
                database.execute("UPDATE tags SET value=? WHERE key LIKE '%.' || ?", (value, tag))

    def counted(self, query: str, database: str = "mlflow.db") -> int:
        """The number that a query returns; 0 as long as there is no such table."""
        try:
            with closing(sqlite3.connect(self.home / "mlruns" / database, timeout=60)) as connection:
                return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def record(lab: Lab) -> None:
    """Record the store: what was killed is killed last, so that no later command ends it."""
    (lab.home / TEXT).write_text(made_up_text())
    for options in FINISHED.values():
        lab.run("-m", "pipeline", "train", *words(TRAINING | options))
    lab.run("-c", TRAIN_BY_SECONDS)

    epochs = "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE status='RUNNING' AND key='perplexity/val'"
    trials = "SELECT count(*) FROM trials WHERE state='COMPLETE'"
    trainings = "SELECT count(*) FROM runs WHERE status='FINISHED'"
    own = f"{epochs} AND name='{CUT_OFF}'"
    before = len(FINISHED) + 1 + KILLED_AFTER["trials"]
    lab.kill(
        lambda: lab.counted(own) >= KILLED_AFTER["epochs"],
        *("-m", "pipeline", "train", *words(TRAINING | CUT_OFF_OPTIONS)),
    )
    lab.kill(  # with a trial that has trained for an epoch
        lambda: (
            lab.counted(trials, "optuna.db") >= KILLED_AFTER["trials"]
            and lab.counted(f"{epochs} AND name!='{CUT_OFF}'") > 0
        ),
        *("-m", "pipeline", "search", *words(SEARCH)),
    )
    lab.kill(
        lambda: lab.counted(trainings) >= before + KILLED_AFTER["trainings"],
        *("-c", COMMAND_WITH_PLAN, "answer", *words(ANSWER)),
    )
    lab.hide_machine()


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


# --- the two programs -------------------------------------------------------------------------------------------------


def make(commit: str) -> None:
    """Write the archive, and the figures that the same code gets from a copy."""
    if MADE_IN.exists():
        sys.exit(f"{MADE_IN} exists already; remove it first")
    MADE_IN.mkdir()
    lab = Lab(MADE_IN, commit)
    record(lab)
    pack(lab.home, ARCHIVE)
    size = ARCHIVE.stat().st_size
    sys.stderr.write(f"{ARCHIVE}  {size:,} bytes\n")
    if size > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES:,}")
    with tempfile.TemporaryDirectory() as temporary:
        parts = continue_all(Lab(Path(temporary), commit))
    versions = subprocess.run(
        [sys.executable, "-c", "import json, torch; print(json.dumps({'torch': torch.__version__}))"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    kept = {
        "commit": commit,
        **json.loads(versions),
        "runs": {
            name: {key: value for key, value in part.items() if key.rpartition(" ")[0] in (*FINAL, "perplexity/val")}
            for name, part in parts.items()
            if "result/val_perplexity 0" in part
        },
        "trials": list(parts[f"study {STUDY}"].values()),
    }
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n")
    sys.stderr.write(f"{FIGURES}\n")
    shutil.rmtree(MADE_IN)


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
    parser.add_argument("what", choices=("make", "compare"))
    parser.add_argument("--commit", default="4aa78f6", help="commit to make the store with, or to compare with")
    given = parser.parse_args()
    if given.what == "make":
        make(given.commit)
    elif not compare(given.commit):
        sys.exit(1)
