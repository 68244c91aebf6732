"""Record a store for tests.yardstick of a checkout, by the code of a commit that the checkout has.

    python tests/record_yardstick.py CHECKOUT COMMIT    # writes CHECKOUT/tests/data/yardstick-COMMIT.tar.xz and .json

About 15 minutes on two busy cores. Where the archive exists without its .json, only the latter is written.
This is the command ``make`` that tests/yardstick.py had at cb7f259e, with what the checkout's tests/yardstick.py and
tests/labs.py have today; commands and options are that file's FINISHED and CUT_OFF (of the store that it continues).
"""

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
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

CHECKOUT = Path(sys.argv[1]).resolve()
COMMIT = subprocess.run(
    ["git", "-C", str(CHECKOUT), "rev-parse", f"{sys.argv[2]}^{{commit}}"], capture_output=True, text=True, check=True
).stdout[:8]
sys.path.insert(0, str(CHECKOUT))

import torch  # noqa: E402

from tests import yardstick  # noqa: E402
from tests.labs import PNG  # noqa: E402
from tests.yardstick import ANSWER_WITH_PLAN, DATA, FINISHED, PATIENCE_SECONDS, TEXT, history_of, runs_of  # noqa: E402

assert CHECKOUT / "tests" / "data" == DATA, f"tests.yardstick is another checkout's: {DATA}"
CUT_OFF: dict[str, dict[str, Any]] = list(yardstick.CUT_OFF.values())[-1]
yardstick.CUT_OFF[COMMIT] = CUT_OFF  # for continue_all
ARCHIVE, FIGURES = DATA / f"yardstick-{COMMIT}.tar.xz", DATA / f"yardstick-{COMMIT}.json"

LARGEST_BYTES = 400_000  # of an archive
MADE_IN = Path("/tmp/yardstick-store")  # whose name is in the records
OF_A_MACHINE = {  # tags of a process, by which a later command would take it for one of its own machine
    "process.host": "yardstick",
    "process.machine": "0" * 32,
}
KILLED_AFTER = {"search": (3, 1), "answer": (2, 1), "train": (1, 1), "pipeline": (0, 4)}  # trainings, epochs of another
REPRODUCED = "gru-scratch-1x8"
FINAL = tuple(f"result/{name}_perplexity" for name in ("val", "test", "mixture_val", "mixture_test"))


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
    """Write the store and the text of a folder to an archive, as the first lines of tests/yardstick.py say."""
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


class Lab(yardstick.Lab):
    """One whose commands can be killed."""

    def kill(self, is_due: Callable[[], bool], command: str, **options: Any) -> None:
        """Run a command, and kill it with its workers as soon as it is due; then forget on which machine it ran."""
        words = [command, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]
        how = ["-c", ANSWER_WITH_PLAN] if command == "answer" else ["-m", "pipeline"]
        process = subprocess.Popen(
            [sys.executable, *how, *words],
            cwd=self.home, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_due():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{command} has ended too early, or hangs")
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


def say(words: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")


def record(lab: Lab) -> None:
    """Record the store: what was killed is killed last, so that no later command ends it."""
    (lab.home / TEXT).write_text(made_up_text())
    lab.run("pipeline", **{**FINISHED["pipeline"], "seed": 0})  # which prepares the text for the others
    for command, options in FINISHED.items():
        lab.run(command, **options)
        say(f"{command} has finished")
    lab.hide_machine()
    trainings = (
        "SELECT count(*) FROM runs JOIN tags USING (run_uuid) "
        "WHERE status='FINISHED' AND tags.key='stage' AND tags.value='train'"
    )
    epochs = "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE status='RUNNING' AND key='perplexity/val'"
    for command, options in CUT_OFF.items():
        done, begun = lab.counted(trainings), lab.counted(epochs)
        more_trainings, more_epochs = KILLED_AFTER[command]

        def is_due(done: int = done + more_trainings, begun: int = begun + more_epochs) -> bool:
            return lab.counted(trainings) >= done and lab.counted(epochs) >= begun

        lab.kill(is_due, command, **options)
        say(f"{command} was killed")


def make() -> None:
    """Write the archive, and the figures that the same code gets from a copy and, of the report, from the book."""
    if MADE_IN.exists():
        sys.exit(f"{MADE_IN} exists already; remove it first")
    MADE_IN.mkdir()
    lab = Lab(MADE_IN, COMMIT)
    record(lab)
    pack(lab.home, ARCHIVE)
    shutil.rmtree(MADE_IN)
    size = ARCHIVE.stat().st_size
    say(f"{ARCHIVE}  {size:,} bytes")
    if size > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES:,}")
    write_figures()


def write_figures() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(Path(temporary), COMMIT)
        yardstick.unpack(COMMIT, lab.home)
        parts = yardstick.continue_all(lab, COMMIT)
    say("a copy was continued")
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(Path(temporary), COMMIT)
        lab.environment["TMLM_DATA_DIR"] = os.environ["TMLM_DATA_DIR"]  # which has timemachine.txt
        lab.run("reproduce", "--quick", only=REPRODUCED, workers=1)
        (reproduced,) = (run for run in runs_of(lab.home) if run["tags"]["stage"] == "train")
        of_the_book = {
            key: value
            for key, value in history_of(lab.home, reproduced["id"]).items()
            if is_kept(key, "perplexity/train")
        }
    kept = {
        "commit": COMMIT,
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
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n")
    say(str(FIGURES))


def is_kept(figure: str, *more: str) -> bool:
    return figure.rpartition(" ")[0] in (*FINAL, "perplexity/val", *more)


if __name__ == "__main__":
    assert (Path(os.environ["TMLM_DATA_DIR"]) / "timemachine.txt").exists()
    if ARCHIVE.exists() and not FIGURES.exists():  # a recording that was interrupted
        write_figures()
    else:
        make()
