"""Two small stores that earlier commits recorded: what comes later has to read them, and to continue them bit for bit.

    python -m tests.yardstick make                        # writes the archive and the figures of d5cc29df, by its code
    python -m tests.yardstick compare --store d5cc29df    # exit code 1 if the working tree continues it differently

In the store of 4aa78f6 are three finished trainings of 8 units (one on top of n-grams, one with ``budget_seconds``), a
training, a study and an answer that were killed half-way, and the text of all, which was made up. In that of d5cc29df
are a search, an answer, a training with several seeds and a main job whose text an earlier one had prepared, each once
finished and once killed half-way. Beside each archive are figures of what the same code made of a copy, which CI's test
compares to 1e-4; that of d5cc29df has its record of one configuration of the report, too. The archive of 4aa78f6 was
made by the command ``make`` that this file had at ef0d8513. This program lets the commit and the working tree continue
a copy each on this machine. Figures that only one of them records are named, and are no difference unless NEEDED.

Left out of the archives: the pages that run a model, the copies of models for serving, and ``last.safetensors`` of the
finished trainings that have a parent. Every picture is one pixel. The machine in the records is made up, as is the
user, so that each run that was killed is one of another machine: ``tmlm doctor --close`` ends it.
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
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import optuna
from mlflow.store.db.utils import _get_latest_schema_revision
from safetensors.numpy import load_file

from pipeline.tracking.names import bare_tags
from tests.checkout import ROOT, Checkout
from tests.labs import PNG

PATIENCE_SECONDS = 300  # for a command
TEXT = "yardstick.txt"  # beside mlruns/
ON_TEXT: dict[str, Any] = {"corpus": TEXT, "alphabet": "letters"}
SEARCH: dict[str, Any] = {**ON_TEXT, "cell": "rnn,gru", "num_layers": "1", "confirm_seeds": 2, "workers": 1}
ANSWER: dict[str, Any] = {**ON_TEXT, "seeds": 1, "workers": 1}
TRAIN: dict[str, Any] = {**ON_TEXT, "hidden_size": 8, "precision": "fp32"}


@dataclass(frozen=True)
class Store:
    """A store: the commit that recorded it, and by command the options of what it finished and of what was cut off."""

    commit: str
    cut_off: dict[str, dict[str, Any]]
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def archive(self) -> Path:
        return ROOT / "tests" / "data" / f"yardstick-{self.commit}.tar.xz"

    @property
    def figures(self) -> Path:
        return self.archive.with_name(f"yardstick-{self.commit}.json")


STORES = (
    Store(
        "4aa78f6",
        {  # the search is first, as it puts the text where the training looks for it
            "search": {**SEARCH, "study_name": "yardstick", "hidden_size": "4..12", "epochs": 4, "trials": 6},
            "answer": {**ANSWER, "minutes": 0.1},
            "train": {"resume": "d1c2803aa2704888b4454cb85000a5ab"},
        },
    ),
    Store(
        "d5cc29df",
        {
            "search": {**SEARCH, "study_name": "cut-off", "hidden_size": "4..8", "epochs": 4, "trials": 5},
            "answer": {**ANSWER, "minutes": 0.1},
            "train": {**TRAIN, "cell": "lstm", "epochs": 10, "seeds": 3},
            "pipeline": {**TRAIN, "cell": "lstm", "epochs": 10, "seed": 2},
        },
        {
            "search": {**SEARCH, "study_name": "finished", "hidden_size": "4..8", "epochs": 3, "trials": 3},
            "answer": {**ANSWER, "minutes": 0.05},
            "train": {**TRAIN, "cell": "gru", "epochs": 3, "seeds": 2},
            "pipeline": {**TRAIN, "cell": "lstm", "epochs": 4, "seed": 1},
        },
    ),
)
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


# --- the text, and a store as a file ----------------------------------------------------------------------------------


def made_up_text(characters: int = 20_000, seed: int = 51) -> str:
    """Sentences of made-up words, each of which is followed by one of a few others."""
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
        lines.append(f"{' '.join(line).capitalize()}.")
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
        for picture in (*folder.rglob("*.png"), *folder.rglob("*.webp")):
            picture.write_bytes(PNG)
        for run in runs_of(folder):
            if run["status"] == "FINISHED" and "mlflow.parentRunId" in run["tags"]:
                kept = folder.joinpath("mlruns", "0", run["id"], "artifacts", "checkpoints", "last.safetensors")
                kept.unlink(missing_ok=True)

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


def unpack(store: Store, home: Path) -> None:
    """Put the store and its text into a folder, with the tables that the installed MLflow and Optuna have."""
    with tarfile.open(store.archive) as tar:
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
    """The runs of a store, oldest first: id, name, status, tags by their bare names, and what they are paired by."""
    with closing(sqlite3.connect(home / "mlruns" / "mlflow.db")) as database:
        rows = database.execute("SELECT run_uuid, name, status FROM runs ORDER BY start_time").fetchall()
        runs = [dict(zip(("id", "name", "status"), row, strict=True)) for row in rows]
        for run in runs:
            tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid=?", (run["id"],)).fetchall())
            run["tags"] = bare_tags(tags)
    tags_of = {run["id"]: run["tags"] for run in runs}
    return [{**run, "pair": pair_of(run["tags"], tags_of)} for run in runs]


def pair_of(tags: Mapping[str, str], tags_of: Mapping[str, Mapping[str, str]]) -> str:
    """The parent's stage and a run's own, with config_id and seed of the training that it is, or that it is about.

    With no training, its study or the digest of its answer. No names, as later versions may give others.
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

    def start(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        how = ("-c", COMMAND_WITH_PLAN) if "answer" in command else ("-m", "pipeline")
        return subprocess.Popen(
            [sys.executable, *how, *command, *words(options)],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.home.parent / "errors.txt").open("wb"),
            start_new_session=True,
        )

    def run(self, *command: str, **options: Any) -> None:
        """Run a command; end with its errors if it fails."""
        if self.start(*command, **options).wait(PATIENCE_SECONDS):
            sys.exit(f"{' '.join(command)}\n{(self.home.parent / 'errors.txt').read_text()}")

    def kill(self, is_due: Callable[[], bool], *command: str, **options: Any) -> None:
        """Run a command, and kill it with its workers as soon as it is due; then forget on which machine it ran."""
        process, until = self.start(*command, **options), time.monotonic() + PATIENCE_SECONDS
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

    def counted(self, query: str) -> int:
        """The number that a query returns; 0 as long as there is no such table."""
        try:
            with closing(sqlite3.connect(self.home / "mlruns" / "mlflow.db", timeout=60)) as connection:
                return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


LARGEST_BYTES = 400_000  # of an archive
MADE_IN = Path("/tmp/yardstick-store")  # whose name is in the records
OF_A_MACHINE = {  # tags of a process, by which a later command would take it for one of its own machine
    "process.host": "yardstick",
    "process.machine": "0" * 32,
    "process.boot": "00000000-0000-0000-0000-000000000000",
}
KILLED_AFTER = {"search": (3, 1), "answer": (2, 1), "train": (1, 1), "pipeline": (0, 4)}  # trainings, epochs of another
REPRODUCED = "gru-scratch-1x8"
FINAL = tuple(f"result/{name}_perplexity" for name in ("val", "test", "mixture_val", "mixture_test"))


def record(lab: Lab, store: Store) -> None:
    """Record the store: what was killed is killed last, so that no later command ends it."""
    (lab.home / TEXT).write_text(made_up_text())
    lab.run("pipeline", **{**store.finished["pipeline"], "seed": 0})  # which prepares the text for the others
    for command, options in store.finished.items():
        lab.run(command, **options)
    lab.hide_machine()
    trainings = (
        "SELECT count(*) FROM runs JOIN tags USING (run_uuid) "
        "WHERE status='FINISHED' AND tags.key='stage' AND tags.value='train'"
    )
    epochs = "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE status='RUNNING' AND key='perplexity/val'"
    for command, options in store.cut_off.items():
        done, begun = lab.counted(trainings), lab.counted(epochs)
        more_trainings, more_epochs = KILLED_AFTER[command]

        def is_due(done: int = done + more_trainings, begun: int = begun + more_epochs) -> bool:
            return lab.counted(trainings) >= done and lab.counted(epochs) >= begun

        lab.kill(is_due, command, **options)


def make(store: Store) -> None:
    """Write the archive, and the figures that the same code gets from a copy and, of the report, from the book."""
    if MADE_IN.exists():
        sys.exit(f"{MADE_IN} exists already; remove it first")
    MADE_IN.mkdir()
    lab = Lab(MADE_IN, store.commit)
    record(lab, store)
    pack(lab.home, store.archive)
    size = store.archive.stat().st_size
    sys.stderr.write(f"{store.archive}  {size:,} bytes\n")
    if size > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES:,}")
    shutil.rmtree(MADE_IN)
    write_figures(store)


def write_figures(store: Store) -> None:
    import torch

    with tempfile.TemporaryDirectory() as temporary:
        parts = continue_all(Lab(Path(temporary), store.commit), store)
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(Path(temporary), store.commit)
        lab.environment["TMLM_DATA_DIR"] = os.environ["TMLM_DATA_DIR"]
        lab.run("reproduce", "--quick", only=REPRODUCED, workers=1)
        (reproduced,) = (run for run in runs_of(lab.home) if run["tags"]["stage"] == "train")
        of_the_book = {
            key: value
            for key, value in history_of(lab.home, reproduced["id"]).items()
            if is_kept(key, "perplexity/train")
        }
    kept = {
        "commit": store.commit,
        "torch": torch.__version__,
        "runs": {
            pair: {key: value for key, value in part.items() if is_kept(key)}
            for pair, part in parts.items()
            if "result/val_perplexity 0" in part
        },
        "trials": {
            pair.removeprefix("trials/"): list(part.values())
            for pair, part in parts.items()
            if pair.startswith("trials/")
        },
        "reproduced": {REPRODUCED: of_the_book},
    }
    store.figures.write_text(json.dumps(kept, indent=1) + "\n")
    sys.stderr.write(f"{store.figures}\n")


def is_kept(figure: str, *more: str) -> bool:
    return figure.rpartition(" ")[0] in (*FINAL, "perplexity/val", *more)


def continue_all(lab: Lab, store: Store) -> dict[str, dict[str, Any]]:
    """Continue a copy of the store, as its user would on another machine; returns the contents afterwards."""
    unpack(store, lab.home)
    lab.run("doctor", "--repair")
    for run in runs_of(lab.home):
        if run["status"] == "RUNNING" and "role" not in run["tags"]:  # the others are closed by what they are parts of
            lab.run("doctor", "--close", run["id"])
    for command, options in store.cut_off.items():
        lab.run(command, **options)
    return contents(lab.home)


# --- the comparison -------------------------------------------------------------------------------------------------


def shortened(names: Collection[str]) -> str:
    """The first of these names, and how many there are."""
    return f"{', '.join(sorted(names)[:3])}{f' ... ({len(names)})' if len(names) > 3 else ''}"


def compare(store: Store, commit: str) -> bool:
    """Continue a copy by the commit and one by the working tree; print a line for each part. Whether all are equal."""
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        labs = Lab(Path(old), commit), Lab(Path(new), None)
        with ThreadPoolExecutor() as both_at_once:
            then, now = both_at_once.map(continue_all, labs, (store, store))
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
    stores = {store.commit: store for store in STORES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "compare"))
    parser.add_argument("--store", choices=stores, default=STORES[-1].commit, help="the commit that recorded the store")
    parser.add_argument("--commit", help="commit to compare with, if not the one that recorded it")
    given = parser.parse_args()
    if given.what == "make":
        make(stores[given.store])
    elif not compare(stores[given.store], given.commit or given.store):
        sys.exit(1)
