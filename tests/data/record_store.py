"""How store-0.1.tar.xz was made: a small store recorded by the first release, and what that release answers about it.

python -m tests.data.record_store REPOSITORY FOLDER

It checks the release's commit out into FOLDER, gives it commands as its users do, on a text of made-up words, and
packs what they have recorded. Then the same commit sees the commands that test_older_records.py gives a later one:
store-0.1.json keeps what it answers. FOLDER is named in the records, so choose one that says nothing of its machine.

The databases are packed as SQL, which is a third of their size. Left out, or made smaller, since nothing reads it back:
pictures (each is one pixel), pages of the report, what an ended training could only be resumed from, the models of the
reproduction, the host's names. Reading it takes the MLflow that wrote it (``mlflow`` in
store-0.1.json) or a later one, whose ``mlflow db upgrade`` the test calls.
"""

import hashlib
import io
import json
import lzma
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

RELEASE = "42b8c902fcbdb632f41886784c23044eaad79fe3"
HERE = Path(__file__).resolve().parent
ARCHIVE, ANSWERS = HERE / "store-0.1.tar.xz", HERE / "store-0.1.json"
ADDRESS = "https://example.org/made-up.txt"  # nobody is asked: the text is put where a download of it is kept
CHARACTERS = 18_000
SEED = 20_000

TRAINED = ["--hidden-size", "4", "--epochs", "4", "--seed", "1"]
STOPPED = ["--cell", "gru", "--num-layers", "2", "--hidden-size", "3", "--epochs", "4", "--batch-size", "8"]
STOPPED_AT_STEP = 150  # of 4 epochs of 63 steps: in the third
WINDOWS = ["--preset", "report", "--cell", "rnn", "--implementation", "scratch", "--hidden-size", "3", "--epochs", "2"]
SEARCHED = ["--study-name", "small", "--cell", "rnn,gru", "--num-layers", "1", "--hidden-size", "3,4",
            "--sampler", "grid", "--epochs", "2", "--confirm-seeds", "2", "--workers", "1"]  # fmt: skip
TRIALS_THEN, TRIALS_NOW = 3, 4
REPRODUCED = ["--only", "gru-scratch-1x8,lstm-scratch-1x8", "--epochs", "2", "--max-seconds", "3", "--workers", "1"]
AFFORDABLE = ["--max-macs", "800"]
SAMPLED = ["--prompt", "it has", "--length", "80", "--seed", "7", "--temperature", "0.7"]
AS_HERE = ["--device", "cpu", "--precision", "fp32"]

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a4944415478da63f80f00010101001cb08c99"
    "0000000049454e44ae426082"
)


def made_up_text(characters: int = CHARACTERS) -> str:
    """Words of a small made-up vocabulary in an order that has some structure; the same on every machine."""
    state = SEED

    def draw(below: int) -> int:
        nonlocal state
        state = (1_103_515_245 * state + 12_345) % 2**31  # a generator of its own: no library's may change it
        return (state >> 12) % below

    syllables = [a + b for a in "bdfklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]
    words = ["".join(syllables[draw(len(syllables))] for _ in range(1 + draw(3))) for _ in range(60)]
    text, word = "", 0
    while len(text) < characters:
        word = (7 * word + 3 + draw(4)) % len(words) if draw(5) else draw(len(words))
        text += words[word] + (".\n" if draw(9) == 0 else " ")
    return text[:characters]


def put_text(cache: Path) -> None:
    """The text where a download from ADDRESS is kept."""
    kept = cache / "downloads" / f"{hashlib.sha256(ADDRESS.encode()).hexdigest()[:16]}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(made_up_text(), encoding="utf-8")


class Release:
    """A checkout of the release, used as its users do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout = folder, folder / "checkout"
        self.mlruns = self.checkout / "mlruns"

    def run(self, *words: str, module: str = "pipeline", code: int = 0) -> dict[str, Any]:
        """A command; its result, as JSON has it."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TMLM_CACHE_DIR": str(self.folder / "cache"),
            "TMLM_DATA_DIR": str(self.folder / "data"),
            "TMLM_OFFLINE": "1",
            "USER": "somebody",
            "LOGNAME": "somebody",
        }
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def query(self, sql: str, *values: str) -> list[tuple]:
        with closing(sqlite3.connect(self.mlruns / "mlflow.db")) as connection:
            return connection.execute(sql, values).fetchall()

    def curve(self, run_id: str, key: str) -> list[float]:
        sql = "SELECT value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step"
        return [value for (value,) in self.query(sql, run_id, key)]

    def latest(self, tag: str, value: str) -> str:
        sql = "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE key = ? AND value = ? ORDER BY start_time"
        return str(self.query(sql, tag, value)[-1][0])


def checked_out(repository: Path, folder: Path) -> Release:
    release = Release(folder)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", repository, release.checkout], check=True)
    subprocess.run(["git", "-C", release.checkout, "checkout", "--quiet", "--detach", RELEASE], check=True)
    subprocess.run(["git", "-C", release.checkout, "remote", "remove", "origin"], check=True)
    put_text(folder / "cache")
    return release


def record(release: Release) -> dict[str, str]:
    """Give the commands; the run ids by what they are."""
    runs = {}
    main = release.run("pipeline", "--corpus", ADDRESS, *TRAINED, *AS_HERE, "--json")
    runs["trained"] = release.latest("stage", "train")
    assert main["val_perplexity"]
    words = ["train", "--corpus", ADDRESS, *STOPPED, *AS_HERE, "--json"]
    release.run("step", str(STOPPED_AT_STEP), "interrupt", *words, module="tests.fault_points", code=130)
    runs["stopped"] = release.latest("stage", "train")
    runs["windows"] = release.run("train", "--corpus", ADDRESS, *WINDOWS, *AS_HERE, "--json")["run_id"]
    release.run("evaluate", runs["trained"], "--split", "val", "--json")
    search = ["search", "--corpus", ADDRESS, *SEARCHED]
    runs["search"] = release.run(*search, "--trials", str(TRIALS_THEN), "--json")["run_id"]
    interrupt_the_search(release, [*search, "--trials", str(TRIALS_NOW), "--json"])
    runs["reproduction"] = reproduce(release)
    return runs


def interrupt_the_search(release: Release, words: list[str]) -> None:
    """Ctrl-C in the middle of a trial: the fault of the release's own tests, given by the worker to its parent."""
    faults = release.checkout / "tests" / "fault_points.py"
    as_it_was = faults.read_text()
    to_itself = "os.kill(os.getpid(), signal.SIGINT)"
    assert to_itself in as_it_was
    faults.write_text(
        as_it_was.replace(to_itself, "os.kill(os.getppid(), signal.SIGINT); __import__('time').sleep(30)")
    )
    release.run("trial/step", "50", "interrupt", *words, module="tests.fault_points", code=130)
    faults.write_text(as_it_was)


def reproduce(release: Release) -> str:
    """A reproduction needs The Time Machine: the digest by which it is known is made that of the made-up text."""
    text = made_up_text()
    (release.folder / "data").mkdir()
    (release.folder / "data" / "timemachine.txt").write_text(text, encoding="utf-8")
    texts = release.checkout / "pipeline" / "texts.py"
    as_it_was = texts.read_text()
    books = "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516"
    assert books in as_it_was
    texts.write_text(as_it_was.replace(books, hashlib.sha256(text.encode()).hexdigest()))
    done = release.run("reproduce", *REPRODUCED, "--json")
    texts.write_text(as_it_was)
    shutil.rmtree(release.folder / "data")
    return str(done["run_id"])


# --- packing ---------------------------------------------------------------------------------------------------------


def scrub(release: Release, runs: dict[str, str]) -> None:
    """Make small what nobody reads back, and say nothing of the machine."""
    reproduced = release.query(
        "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = ?", runs["reproduction"]
    )
    with closing(sqlite3.connect(release.mlruns / "mlflow.db")) as connection, connection:
        for key in ("process.host", "process.machine", "process.namespace"):
            connection.execute("UPDATE tags SET value = 'elsewhere' WHERE key = ?", (key,))
        connection.execute("UPDATE tags SET value = 'somebody' WHERE key = 'mlflow.user'")
        connection.execute("UPDATE runs SET user_id = 'somebody'")
        for run_id in reproduced:
            (model,) = connection.execute(
                "SELECT model_id FROM logged_models WHERE source_run_id = ?", run_id
            ).fetchone()
            for table in ("logged_model_params", "logged_model_tags", "logged_models"):
                connection.execute(f"DELETE FROM {table} WHERE model_id = ?", (model,))
            shutil.rmtree(next(release.mlruns.glob(f"*/models/{model}")))
    with closing(sqlite3.connect(release.mlruns / "optuna.db")) as connection, connection:
        for row, value in connection.execute(
            "SELECT trial_system_attribute_id, value_json FROM trial_system_attributes WHERE key LIKE '%:process'"
        ).fetchall():
            elsewhere = dict.fromkeys(("process.host", "process.machine", "process.namespace"), "elsewhere")
            sql = "UPDATE trial_system_attributes SET value_json = ? WHERE trial_system_attribute_id = ?"
            connection.execute(sql, (json.dumps(json.loads(value) | elsewhere), row))
    for environment in release.mlruns.rglob("environment*.yaml"):
        environment.write_text(re.sub(r"(?m)^platform: .*$", "platform: elsewhere", environment.read_text()))
    for picture in release.mlruns.rglob("*.png"):
        picture.write_bytes(PIXEL)
    resumable = {run_id for (run_id,) in release.query("SELECT run_uuid FROM runs WHERE status = 'KILLED'")}
    for checkpoint in release.mlruns.rglob("*.safetensors"):
        owner = checkpoint.parents[2].name
        is_last = checkpoint.name == "last.safetensors" and owner not in {*resumable, runs["windows"]}
        if is_last or (owner,) in reproduced:
            checkpoint.unlink()


def members(mlruns: Path) -> Iterator[Path]:
    """The files to pack, those that are alike side by side."""
    left_out = {"report", "optuna-artifacts", "__pycache__"}
    kept = [
        path
        for path in mlruns.rglob("*")
        if path.is_file() and not left_out & set(path.parts) and not re.search(r"\.lock|\.db|\.gitkeep", path.name)
    ]
    yield from sorted(kept, key=lambda path: (path.suffix, path.name, path.stat().st_size, str(path)))


def pack(release: Release) -> None:
    """Everything under mlruns/ as a tar archive, each database as the SQL that makes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("mlflow", "optuna"):
            with closing(sqlite3.connect(release.mlruns / f"{name}.db")) as connection:
                add(archive, f"mlruns/{name}.sql", "\n".join(connection.iterdump()).encode())
        for path in members(release.mlruns):
            add(archive, str(path.relative_to(release.checkout)), path.read_bytes())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    ARCHIVE.write_bytes(lzma.compress(packed.getvalue(), filters=filters))


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


# --- what the release answers ----------------------------------------------------------------------------------------


def answers(release: Release, runs: dict[str, str]) -> dict[str, Any]:
    """What the release itself makes of its store."""
    trained = runs["trained"]
    given: dict[str, Any] = {
        "release": RELEASE,
        "mlflow": version("mlflow"),
        "text_sha256": text_sha256(),
        "runs": runs,
    }
    given["sample"] = release.run("sample", trained, *SAMPLED, "--json")["texts"]
    given["sample best"] = release.run("sample", "models:/time-machine-lm@best", *SAMPLED, "--json")["texts"]
    given["beam"] = release.run("sample", trained, "--method", "beam", "--length", "40", "--json")["texts"]
    for split in ("val", "test"):
        given[f"evaluate {split}"] = release.run("evaluate", trained, "--split", split, "--json")
    given["evaluate windows"] = release.run("evaluate", runs["windows"], "--json")
    given["recommend"] = release.run("recommend", "--corpus", "made-up", *AFFORDABLE, "--json")
    given["report"] = release.run("report", "--run-id", runs["reproduction"], "--json")
    release.run("train", "--resume", runs["stopped"], "--json")
    given["resumed"] = curves(release, runs["stopped"])
    release.run("train", "--resume", runs["windows"], "--epochs", "4", "--json")
    given["windows"] = curves(release, runs["windows"])
    given["search"] = release.run("search", "--corpus", ADDRESS, *SEARCHED, "--trials", str(TRIALS_NOW), "--json")
    given["trials"] = {
        f"{cell} {size} {seed}": curves(release, run_id)
        for run_id, cell, size, seed in release.query(
            "SELECT r.run_uuid, c.value, h.value, s.value FROM runs r "
            "JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId' "
            "JOIN params c ON c.run_uuid = r.run_uuid AND c.key = 'cell' "
            "JOIN params h ON h.run_uuid = r.run_uuid AND h.key = 'hidden_size' "
            "JOIN params s ON s.run_uuid = r.run_uuid AND s.key = 'seed' "
            "WHERE t.value = ? AND r.status = 'FINISHED' ORDER BY r.start_time",
            runs["search"],
        )
    }
    return given


def curves(release: Release, run_id: str) -> dict[str, list[float]]:
    keys = ("perplexity/train", "perplexity/val", "training/learning_rate", "final/test_perplexity")
    return {key: release.curve(run_id, key) for key in keys}


def text_sha256() -> str:
    return hashlib.sha256(made_up_text().encode()).hexdigest()


def main(repository: str, folder: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    release = checked_out(Path(repository), Path(folder))
    runs = record(release)
    scrub(release, runs)
    pack(release)
    given = answers(release, runs)
    ANSWERS.write_text(json.dumps(given, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
