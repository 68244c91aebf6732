"""Inject faults into real commands, and check that the same command again ends as if nothing had happened.

python -m tests.faults [--cases 300] [--minutes 5] [--seed 0] [--only COMMAND:FAULT] [--folder mlruns/faults]
python -m tests.faults --repeat SEED:NUMBER [--repeat ...]

A case is a command, a fault and a moment, drawn from a seed and a number. It runs in a copy of the project, with a
store of its own. The command that meets the fault has to end with a documented exit code, an error with a sentence, and
nothing with a traceback. Then the fault is undone, and the same command runs again (of a training, --resume). It has to
end with 0, with no run RUNNING, and no training lost, recorded twice, or different from one without a fault in any
weight, metric or sample; and no process and no temporary folder may be left. A deletion has to leave what it leaves
without a fault; again, it may end with 2, as there is nothing left to delete. In a hostile store all files that are not
the search's are compared; then the store is read, and the training in it is deleted.

cases.jsonl in the folder has a line for each case; the next command goes on after the last, first with commands and
faults that have no case in docs/data/faults.csv, to which it adds its own. A fault that came too late
is missed, one that needs root or dask is skipped; neither counts among --cases. The records of a broken case are kept.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any
from urllib.parse import urlsplit

import optuna
import psutil
import pytest
from safetensors.numpy import load_file

from tests import fault_cells
from tests.checkout import ROOT, free_port
from tests.fault_cells import Cell
from tests.servers import MlflowServer

MARK = "TMLM_FAULT_LAB"  # variable by which the processes of a lab are known
COMMAND_SECONDS = 400  # after which a command counts as hanging
SIGNAL_SECONDS = 5.0  # from a signal to the end of a command
LEFT_SECONDS = 10.0  # from the end of a command to that of its processes
TRIALS = 3
CLOCK_METRICS = ("training/seconds", "speed/train_seconds", "speed/chars_per_second")
TRACEBACK = "Traceback (most recent call last)"
TMLM = [sys.executable, "-m", "pipeline"]

TRAINING = ["--corpus", "text.txt", "--cell", "gru", "--hidden-size", "24", "--epochs", "12", "--batch-size", "16"]
SPACE = ["--corpus", "text.txt", "--cell", "rnn,gru", "--hidden-size", "4..9", "--num-layers", "1"]
SEARCH = [*TMLM, "search", "--study-name", "search", *SPACE, "--trials", str(TRIALS)]
PARAMETERS = [
    f"{name[2:].replace('-', '_')}={value}" for name, value in zip(TRAINING[::2], TRAINING[1::2], strict=True)
]
COMMANDS = {
    "train": [*TMLM, "train", *TRAINING],
    "pipeline": [*TMLM, "pipeline", *TRAINING],
    "mlflow run": [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", "-e", "train"]
    + [word for parameter in PARAMETERS for word in ("-P", parameter)],
    "search": [*SEARCH, "--minutes", "5", "--epochs", "4", "--workers", "2"],
    "answer": [*TMLM, "answer", "--corpus", "text.txt", "--scale", "0.005", "--seeds", "1", "--workers", "2"],
    "reproduce": [*TMLM, "reproduce", "--quick", "--only", "*-scratch-1x8", "--workers", "2"],
    "export": [*TMLM, "export", "search", "--output", "exported"],
    "push": [*TMLM, "push", "sqlite:///pushed.db", "search"],
    "delete": [*TMLM, "delete", "search", "--yes"],
    "search --cluster": [*SEARCH, "--epochs", "60", "--confirm-seeds", "1", "--cluster"],
}
WEIGHTS = {"train": 5, "pipeline": 5, "mlflow run": 2, "search": 5, "answer": 2, "reproduce": 3, "export": 3, "push": 4,
           "delete": 3, "search --cluster": 2}  # fmt: skip
PREPARED = {"export": "searched", "push": "searched", "delete": "trained"}  # the stores that commands start from
WITH_WORKERS = ("search", "answer", "reproduce", "search --cluster")
# the stage of a command whose name is another
STAGES = {"mlflow run": "train", "search --cluster": "search", "export": "search", "push": "search", "delete": "train"}

CLOCK = """import os, time
real = time.time
time.time = lambda: real() + os.stat(os.environ["TMLM_FAULT_CLOCK"]).st_mtime
time.time_ns = lambda: int(time.time() * 1e9)
"""


class Verdict(Exception):  # noqa: N818 - most are no errors
    """The end of a case: its state, broken, missed or skipped, and why."""

    def __init__(self, state: str, why: str) -> None:
        super().__init__(why)
        self.state = state


def demand(holds: bool, what: str) -> None:
    """End the case as broken, with this message, unless the condition holds."""
    if not holds:
        raise Verdict("broken", what)


def digest_of(*values: Any) -> str:
    return hashlib.sha256(b"".join(v if isinstance(v, bytes) else repr(v).encode() for v in values)).hexdigest()[:16]


def content_of(file: Path) -> bytes:
    """What a file contains; of safetensors, which have their metadata in any order, the weights."""
    if file.suffix != ".safetensors":
        return file.read_bytes()
    return repr([(name, digest_of(array.tobytes())) for name, array in sorted(load_file(file).items())]).encode()


# --- processes and files ----------------------------------------------------------------------------------------------


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; empty if it has ended."""
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return []


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def send(processes: list[psutil.Process], number: int) -> None:
    """Send a signal; after SIGKILL, wait for the end, but leave the exit code to who started the process."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    while number == signal.SIGKILL and any(map(lives, processes)):
        time.sleep(0.01)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def mount(*words: str | Path) -> None:
    if os.geteuid() != 0:
        raise Verdict("skipped", "mounting needs root")
    subprocess.run(["mount", *words], check=True)


def unmount(path: Path) -> bool:
    return subprocess.run(["umount", "--lazy", path], stderr=subprocess.DEVNULL).returncode == 0


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


class Link:
    """A way to a TCP port of this machine that can be cut and reset."""

    def __init__(self, port: int) -> None:
        self.target, self.mode = port, "pass"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except ConnectionRefusedError:
                    client.close()
                    continue
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        with source, target, suppress(OSError):
            while (data := source.recv(65_536)) and self.mode != "reset":
                while self.mode == "cut":
                    time.sleep(0.1)
                target.sendall(data)
            if self.mode == "reset":
                source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            target.shutdown(socket.SHUT_RDWR)


# --- where a case runs ------------------------------------------------------------------------------------------------


class Lab:
    """A copy of the project that runs one case after the other, each with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout, self.output = folder, folder / "checkout", folder / "output.txt"
        self.temporary, self.aside = folder / "tmp", folder / "aside"
        self.clock = folder / "clock"  # whose mtime is added to Python's clock
        self.records, self.exported = self.checkout / "mlruns", self.checkout / "exported"
        self.servers, self.link = dict[str, subprocess.Popen](), Link(0)
        self.reset()  # what a campaign that was killed has left
        remove(self.checkout)
        self.digest = copy_project(self.checkout)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.checkout),
            "TMLM_CACHE_DIR": str(folder / "cache"),
            "TMLM_CLUSTER_KEYS": str(folder / "keys"),
            "TMLM_FAULT_CLOCK": str(self.clock),
            "TMLM_OFFLINE": "1",
            "TMPDIR": str(self.temporary),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes of a server that nothing here needs
            MARK: str(folder),
        }
        stores = {"empty": [*TMLM, "runs"], "searched": COMMANDS["search"], "trained": COMMANDS["train"]}
        for name, words in stores.items():
            if not (folder / name).exists():
                self.reset("searched" if name == "trained" else "")
                code, output, _ = self.wait(self.start(words))
                demand(code == 0, f"without any fault:\n{output}")
                shutil.copytree(self.records, folder / name)

    def reset(self, prepared: str = "") -> None:
        """Forget what the last case left, and start from a prepared store."""
        send(self.processes(), signal.SIGKILL)
        for server in self.servers.values():
            server.wait()
        self.link.listener.close()
        while unmount(self.records):  # a bind mount has no other sign
            continue
        scratch = [self.temporary, self.folder / "server", self.folder / "cache", self.aside]
        for path in (self.records, self.exported, *self.checkout.glob("pushed.db*"), *scratch):
            remove(path)
        self.temporary.mkdir(parents=True)
        self.set_clock(0)
        self.servers, self.more = {}, list[str]()
        self.extra, self.limits, self.place = dict[str, str](), dict[int, int](), self.checkout
        self.database = self.records / "mlflow.db"
        if prepared:
            shutil.copytree(self.folder / prepared, self.records)
        else:
            self.records.mkdir(parents=True)

    def set_clock(self, seconds: int) -> None:
        self.clock.touch()
        os.utime(self.clock, (seconds, seconds))

    def start(self, words: list[str]) -> subprocess.Popen:
        def limit() -> None:
            for kind, value in self.limits.items():
                resource.setrlimit(kind, (value, value))

        self.started_at = time.monotonic()
        with self.output.open("w") as out:
            environment = self.environment | self.extra
            return subprocess.Popen(words, cwd=self.place, env=environment, stdout=out, stderr=out,
                                    start_new_session=True, preexec_fn=limit)  # fmt: skip

    def wait(self, process: subprocess.Popen) -> tuple[int, str, float]:
        """Wait for a command; returns its exit code, its output, and the seconds that it took."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=COMMAND_SECONDS)
        seconds, output = time.monotonic() - self.started_at, self.output.read_text(errors="replace")
        demand(process.returncode is not None, f"still running after {COMMAND_SECONDS} s:\n{output[-3000:]}")
        return process.returncode, output, seconds

    def wait_for_work(self, process: subprocess.Popen) -> None:
        """Wait until a command first writes to its store or output, as starting takes seconds."""

        def written() -> float:
            folders = (self.records, self.database.parent, self.checkout)
            files = [file for folder in folders for file in (folder, *folder.glob("*.db*"))]
            return max(file.stat().st_mtime for file in files if file.exists())

        before = written()
        while process.poll() is None and written() == before:
            time.sleep(0.05)

    def serve(self, name: str, words: list[str], *ports: int) -> None:
        """Start a server, and wait until it listens on all ports."""
        with (self.folder / f"{name}.log").open("w") as log:
            self.servers[name] = subprocess.Popen(
                words, cwd=self.checkout, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 120
        while not all(map(listens, ports)):
            demand(time.monotonic() < until, f"{name} does not start")
            time.sleep(0.3)

    def serve_mlflow(self) -> None:
        """Start an MLflow server behind a link; again, on the same port and store."""
        folder = self.folder / "server"
        if not folder.exists():
            shutil.copytree(self.folder / "empty", folder)
            self.link = Link(free_port())
        port, store = self.link.target, f"sqlite:///{folder}/mlflow.db"
        words = ["--port", str(port), "--workers", "1", "--artifacts-destination", f"{folder}/artifacts"]
        self.serve("server", [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, *words], port)

    def serve_cluster(self) -> None:
        ports = free_port(), free_port()
        words = ["--host", "127.0.0.1", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
        self.serve("serve", [*TMLM, "cluster", "serve", *words], *ports)
        self.link = Link(ports[0])
        self.add_nodes()
        self.database = self.records / "cluster" / "mlflow.db"

    def add_nodes(self) -> None:
        """Start two nodes with a worker each, the second behind a link."""
        for number, port in enumerate((self.link.target, self.link.port), 1):
            self.serve(f"node{number}", [*TMLM, "node", f"tls://127.0.0.1:{port}", "--workers", "1"])

    def stop_servers(self) -> None:
        """Stop the servers and nodes as their users do; what they leave is a fault."""
        send([psutil.Process(server.pid) for server in self.servers.values() if server.poll() is None], signal.SIGTERM)
        for server in self.servers.values():
            server.wait(timeout=30)
        until = time.monotonic() + LEFT_SECONDS
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        demand(not left, f"servers left {left}")

    def processes(self) -> list[psutil.Process]:
        """The processes of this lab's commands and servers."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.folder) and lives(process):
                    found.append(process)
        return found

    def own(self) -> list[psutil.Process]:
        """The processes of the command, itself first, without those of servers."""
        served = {process.pid for server in self.servers.values() for process in family(server.pid)}
        return [process for process in self.processes() if process.pid not in served]

    # what is recorded

    def query(self, sql: str, *values: str) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=60)) as connection:
            return connection.execute(sql, values).fetchall()

    def runs(self) -> list[dict[str, Any]]:
        """The runs of the store, oldest first, with their tags by bare names and their folder of artifacts."""
        if not self.database.exists() or not self.database.stat().st_size:  # SQLite makes an empty file first
            return []
        runs = []
        for run_id, name, status, uri in self.query(
            "SELECT run_uuid, name, status, artifact_uri FROM runs WHERE lifecycle_stage='active' ORDER BY start_time"
        ):
            tags = {key.removeprefix("mlflow.tmlm."): value
                    for key, value in self.query("SELECT key, value FROM tags WHERE run_uuid=?", run_id)}  # fmt: skip
            on_server = uri.startswith("mlflow-artifacts:")
            folder = (self.database.parent / "artifacts" if on_server else Path("/")) / urlsplit(uri).path.lstrip("/")
            runs.append({"id": run_id, "name": name, "status": status, "stage": tags.get("stage"),
                         "key": tags.get("step_key"), "artifacts": folder})  # fmt: skip
        return runs

    def finished(self, stage: str = "train") -> dict[str, str]:
        """What each finished run of a stage recorded, but times, as a digest by its name and key."""
        found: dict[str, str] = {}
        for run in self.runs():
            if run["stage"] == stage and run["status"] == "FINISHED":
                rows = self.query("SELECT key, step, value FROM metrics WHERE run_uuid=?", run["id"])
                recorded: list[Any] = [sorted(row for row in rows if row[0] not in CLOCK_METRICS)]
                recorded += [file.read_bytes() for file in sorted(run["artifacts"].rglob("samples/*.md"))]
                recorded += [content_of(file) for file in run["artifacts"].rglob("best.safetensors")]
                key = f"{run['name']} {run['key']}"
                demand(key not in found, f"recorded twice: {key}")
                found[key] = digest_of(*recorded)
        return found


def copy_project(target: Path) -> str:
    """Copy the project's code as it is now, beside a text; returns a digest of it."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [name for name in sorted(names) if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]
    code = [name for name in files if not name.startswith(("docs/", "tests/"))]
    for name in code:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    text = "\n".join(topics[name] for name in sorted(topics))[:12_000]
    (target / "text.txt").write_text(text, encoding="utf-8")
    (target / "mlflow.db").symlink_to("mlruns/mlflow.db")  # which `mlflow run` opens
    (target / "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
    return digest_of(*((ROOT / name).read_bytes() for name in code))


# --- faults -----------------------------------------------------------------------------------------------------------

Undo = Callable[[], Any] | None
"""What undoes a fault that is not over by itself."""


class Faults:
    """The faults of a case: each method injects one in a lab, as ``draw`` says, and returns what undoes it."""

    def __init__(self, lab: Lab, draw: random.Random) -> None:
        self.lab, self.draw = lab, draw

    def signal(self, number: int, to_all: bool) -> None:
        send(self.lab.own() if to_all else self.lab.own()[:1], number)

    def kill_worker(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and (own := self.lab.own()):
            with suppress(psutil.Error):
                leaves = [one for one in own[1:] if not one.children() and "resource_tracker" not in one.cmdline()[-1]]
                if leaves:
                    return send([self.draw.choice(leaves)], signal.SIGKILL)
            time.sleep(0.1)
        raise Verdict("missed", "no worker")

    def freeze(self, processes: list[psutil.Process], most_seconds: float) -> None:
        send(processes, signal.SIGSTOP)
        time.sleep(self.draw.uniform(1, most_seconds))
        send(processes, signal.SIGCONT)

    def freeze_some(self) -> None:
        """Freeze the command with its workers, or only one of these processes."""
        own = self.lab.own()
        self.freeze(own if self.draw.random() < 0.5 else own and [self.draw.choice(own)], 10)

    def step_clock(self) -> Undo:
        """Set Python's clock forward or back in all processes."""
        self.lab.set_clock(self.draw.choice((-86_400, -3_600, -60, 60, 3_600, 86_400)))
        return lambda: self.lab.set_clock(0)

    def limit(self, kind: int, low: float, high: float) -> Undo:
        """Limit a resource of the command to 2 ** low to 2 ** high."""
        self.lab.limits[kind] = int(2 ** self.draw.uniform(low, high))
        return self.lab.limits.clear

    def small_disk(self) -> Undo:
        """Put the records on a disk with 32 kB to 4 MB left."""
        records, aside = self.lab.records, self.lab.records.rename(self.lab.aside)
        records.mkdir()
        files = [path.stat().st_size for path in aside.rglob("*")]
        space = int(sum(files) / 1024 + 4 * len(files) + 2 ** self.draw.uniform(5, 12))
        mount("-t", "tmpfs", "-o", f"size={space}k", "tmpfs", records)
        shutil.copytree(aside, records, dirs_exist_ok=True)
        return lambda: mount("-o", "remount,size=1g", records)

    def lock(self, database: Path) -> None:
        """Hold SQLite's lock for writers, or for readers, too, for a while."""
        if not database.exists():
            raise Verdict("missed", "no store yet")
        with closing(sqlite3.connect(database, timeout=5, isolation_level=None)) as connection:
            try:
                connection.execute(f"BEGIN {self.draw.choice(('IMMEDIATE', 'EXCLUSIVE'))}")
            except sqlite3.OperationalError as error:
                raise Verdict("missed", str(error)) from error
            time.sleep(self.draw.choice((3, 8, 15, 70)))
            connection.execute("ROLLBACK")

    def damage_store(self, truncate: bool) -> Undo:
        """Truncate the database, or move it away; afterwards, or soon, it is what it was."""
        records, aside = self.lab.records, self.lab.aside
        aside.mkdir()
        files = list(records.glob("mlflow.db*"))
        if records / "mlflow.db" not in files:
            raise Verdict("missed", "no store yet")
        for file in files:
            shutil.copy2(file, aside) if truncate else file.rename(aside / file.name)
        if truncate:
            os.truncate(records / "mlflow.db", int((aside / "mlflow.db").stat().st_size * self.draw.random()))

        def restore() -> None:
            for file in [*records.glob("mlflow.db*")] if any(aside.iterdir()) else []:
                file.unlink()
            for file in [*aside.iterdir()]:
                file.rename(records / file.name)

        if not truncate and self.draw.random() < 0.5:
            time.sleep(self.draw.uniform(0.5, 5))
            restore()
        return restore

    def make_read_only(self) -> Undo:
        """Let the folder of the records be read-only; files that are open stay writable."""
        records, aside = self.lab.records, self.lab.aside
        aside.mkdir()
        mount("--bind", records, aside)
        mount("-o", "remount,bind,ro", aside)
        mount("--bind", aside, records)
        unmount(aside)
        return lambda: unmount(records)

    def disturb_link(self, mode: str, most_seconds: float) -> None:
        self.lab.link.mode = mode
        time.sleep(self.draw.uniform(2, most_seconds))
        self.lab.link.mode = "pass"

    def stop_server(self, for_good: bool) -> Undo:
        send(family(self.lab.servers["server"].pid), signal.SIGKILL)
        if for_good:
            return self.lab.serve_mlflow
        time.sleep(self.draw.uniform(0, 10))
        self.lab.serve_mlflow()
        return None

    def kill_part(self, server: str, words: str) -> None:
        """Kill the process of a server whose command line has these words, with its children."""
        for process in family(self.lab.servers[server].pid):
            with suppress(psutil.Error):
                if words in " ".join(process.cmdline()):
                    return send(family(process.pid), signal.SIGKILL)
        raise Verdict("missed", f"no process of {server} has {words}")

    def stop_nodes(self) -> Undo:
        send([psutil.Process(self.lab.servers[name].pid) for name in ("node1", "node2")], signal.SIGTERM)
        return self.lab.add_nodes


@dataclass(frozen=True)
class Fault:
    """What injects a fault, the exit codes of a command that meets it, and the commands that may.

    An ``early`` fault is there before the command starts; one that ends with 0 has not met it.
    """

    inject: Callable[[Any], Undo]
    codes: tuple[int, ...]
    commands: tuple[str, ...]
    weight: int = 1
    early: bool = False
    on_server: bool = False


ALL, DIRECT = tuple(COMMANDS), tuple(name for name in COMMANDS if name != "mlflow run")
CLUSTER = ("search --cluster",)
LOCAL = tuple(name for name in COMMANDS if name not in CLUSTER)
ON_SERVER = ("train", "pipeline", "push")
REFUSED, LATER = (0, 1, 2), (0, 2)  # a server is waited for once it has answered, and refused before
SIZE, MEMORY = resource.RLIMIT_FSIZE, resource.RLIMIT_AS
FAULTS = {
    "kill -9 of the command": Fault(lambda f: f.signal(9, to_all=False), (-9,), DIRECT, 3),
    "kill -9 of everything": Fault(lambda f: f.signal(9, to_all=True), (-9,), ALL, 3),
    "kill -9 of a worker": Fault(Faults.kill_worker, (0,), WITH_WORKERS[:3], 6),
    "SIGTERM": Fault(lambda f: f.signal(15, to_all=False), (143,), DIRECT, 2),
    "Ctrl-C": Fault(lambda f: f.signal(2, to_all=True), (130,), ALL, 2),
    "SIGSTOP for a while": Fault(Faults.freeze_some, (0,), LOCAL, 2),
    "clock step": Fault(Faults.step_clock, (0,), LOCAL),
    "disk full (RLIMIT_FSIZE)": Fault(lambda f: f.limit(SIZE, 9, 21), REFUSED, LOCAL, 2, early=True),
    "disk full (tmpfs)": Fault(Faults.small_disk, REFUSED, LOCAL, 2, early=True),
    # -6: a library that is written in Rust aborts
    "memory limit": Fault(lambda f: f.limit(MEMORY, 29.5, 31.5), (*REFUSED, -6), LOCAL, early=True),
    "store locked": Fault(lambda f: f.lock(f.lab.database), REFUSED, LOCAL),
    "trials locked": Fault(lambda f: f.lock(f.lab.records / "optuna.db"), REFUSED, ("search", "delete")),
    "store truncated": Fault(lambda f: f.damage_store(truncate=True), REFUSED, LOCAL),
    "store gone": Fault(lambda f: f.damage_store(truncate=False), REFUSED, LOCAL),
    "store read-only": Fault(Faults.make_read_only, REFUSED, LOCAL),
    "server resets connections": Fault(lambda f: f.disturb_link("reset", 20), LATER, ON_SERVER, on_server=True),
    "server hangs": Fault(lambda f: f.disturb_link("cut", 20), LATER, ON_SERVER, on_server=True),
    "server restarted": Fault(lambda f: f.stop_server(for_good=False), LATER, ON_SERVER, on_server=True),
    "server away": Fault(lambda f: f.stop_server(for_good=True), REFUSED, ON_SERVER, on_server=True),
    "node killed": Fault(lambda f: f.kill_part("node2", "node"), (0,), CLUSTER, 2),
    "node frozen": Fault(lambda f: f.freeze(family(f.lab.servers["node2"].pid), 50), (0,), CLUSTER, 2),
    "node's link cut": Fault(lambda f: f.disturb_link("cut", 50), (0,), CLUSTER, 2),
    "no node left": Fault(Faults.stop_nodes, (1,), CLUSTER, 2),
    "scheduler killed": Fault(lambda f: f.kill_part("serve", "scheduler"), (0,), CLUSTER, 2),
    "MLflow's server killed": Fault(lambda f: f.kill_part("serve", "mlflow server"), (0,), CLUSTER, 2),
}


# --- hostile stores ---------------------------------------------------------------------------------------------------

ROWS = {  # columns of a table: id, location, and the run of a row
    "logged_models": ("model_id", "artifact_location", "source_run_id"),
    "model_versions": ("version", "source", "run_id"),
    "runs": ("run_uuid", "artifact_uri", "run_uuid"),
}
NO_IDS = ("", "", ".", "..", "..", "../victim", "../../../aside/victim")
COPIES = ("backup.db", "mlflow.db.bak", "mlflow.db.before-repair-1", "mlflow.db.before-upgrade-1")  # beside it


class Hostile:
    """Asks for more than a deletion of a search and a text may delete: what is ``owned``, as ids or paths.

    All that it names lies in the lab, so that a deletion that obeys does no harm elsewhere.
    """

    def __init__(self, lab: Lab, draw: random.Random, stack: ExitStack) -> None:
        self.lab, self.draw, self.stack, self.drawn = lab, draw, stack, list[Any]()
        self.text, self.victim, lab.place = lab.folder / "cache/prepared/text", lab.aside / "victim", lab.aside / "work"
        self.training, self.trial = lab.runs()[-1]["id"], lab.query("SELECT run_id FROM model_versions")[0][0]
        rows = lab.query("SELECT run_uuid, run_uuid FROM runs UNION SELECT model_id, source_run_id FROM logged_models")
        self.of_training = [id for id, run in rows if run == self.training]
        self.owned: list[Any] = [self.text, *(id for id, run in rows if run != self.training)]
        lab.more, lab.extra = ["--text", "text"], {"HOME": str(lab.aside / "home")}
        victims = lab.place, lab.aside / "home", lab.records / "unsent/another", *(self.victim / id for id, _ in rows)
        pages = lab.records / ".pages"
        pages.mkdir()
        for id, _ in rows:  # whose page is a link to what is not theirs
            (pages / f"{id}.html").symlink_to(self.victim / id / "corpus.json")
        for folder in (self.text, *victims):
            folder.mkdir(parents=True)
            (folder / "corpus.json").write_text('{"name": "text", "alphabet": "raw"}')

    def contents(self) -> dict[str, str]:
        """Digests of all files and folders that are not owned."""
        lab, found = self.lab, dict[str, str]()
        owned = {lab.records.resolve() / folder / id for folder in ("0", "0/models", "unsent") for id in self.owned}
        owned |= {lab.records.resolve() / ".pages" / f"{id}.html" for id in self.owned}
        owned |= {lab.database.resolve(), lab.records.resolve() / "optuna.db"}
        for path in (path for part in ("checkout", "aside", "cache") for path in (lab.folder / part).rglob("*")):
            is_passing = path.name.startswith(".") or path.name.endswith(("-wal", "-shm", ".pyc"))
            if not is_passing and owned.isdisjoint((path, *path.parents, path.resolve())):
                found[str(path)] = digest_of(content_of(path)) if path.is_file() else ""
        return found

    def pick(self, *choices: Any) -> Any:
        self.drawn.append(self.draw.choice(choices))
        return self.drawn[-1]

    def change(self, sql: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.lab.database)) as connection, connection:
            connection.execute(sql, values)

    def location(self, id: str) -> str:
        folders = self.victim, self.lab.records / "0" / id / "../../../../aside/victim", Path("../victim")
        path = self.pick(*(folder / id / "artifacts" for folder in folders), *folders, self.lab.place, Path())
        return f"{self.pick('', '', 'file://', 'file://host')}{path}"

    def alter_row(self) -> None:
        table, name = self.pick(*ROWS), self.pick(*NO_IDS)
        id, location, run = ROWS[table]
        self.change(f"UPDATE {table} SET {id}=?, {location}=? WHERE {run}=?", name, self.location(name), self.trial)
        if table == "runs":
            self.change("UPDATE tags SET run_uuid=? WHERE run_uuid=?", name, self.trial)

    def alter_locations(self) -> None:
        id, location, _ = ROWS[table := self.pick("runs", "logged_models")]
        for (row,) in self.lab.query(f"SELECT {id} FROM {table}"):
            self.change(f"UPDATE {table} SET {location}=? WHERE {id}=?", self.location(str(row)), row)

    def copy(self, database: Path, is_used: bool = True) -> None:
        with closing(sqlite3.connect(self.lab.database)) as source, closing(sqlite3.connect(database)) as target:
            source.backup(target)
        if is_used or ".before-" not in database.name:
            self.owned = [self.text]
        if is_used:
            self.lab.database, self.lab.extra["MLFLOW_TRACKING_URI"] = database, f"sqlite:///{database}"

    def copy_elsewhere(self) -> None:
        """Use a copy of all records, or one of the database, in the folder above it or elsewhere."""
        copies = self.lab.aside / "records" / "mlflow.db", self.lab.checkout / "pushed.db", self.lab.aside / "mlflow.db"
        if (copy := self.pick(*copies)) == copies[0]:
            shutil.copytree(self.lab.records, copy.parent)
        self.copy(copy)

    def forge_journal(self) -> None:
        kept = self.lab.records / "0" / self.training
        path = self.pick(self.victim, self.victim / self.trial, self.lab.place, Path(), kept)
        kind = self.pick(*["text", "run", "logged model", "study"][: 1 if path == kept else None])
        id = self.pick(path.name, path.name, str(path), *NO_IDS)
        item = {"kind": kind, "name": "x", "id": id, **self.pick({}, {"path": str(path), "megabytes": 0})}
        journal = json.dumps({"deleted": [item], "stayed": [], "megabytes": 0}).encode()
        content = self.pick(*6 * [journal], b"", b"{}", b"[" * 9999, b"\xff{}", journal[:-9])
        place = digest_of(f"{self.lab.database}\n{self.lab.records}/optuna.db".encode())
        (self.lab.records / f".delete-{place}.json").write_bytes(content)

    def put_link(self) -> None:
        """Put a link in the place of a folder, which is moved elsewhere."""
        run, records = self.lab.records / "0" / self.trial, self.lab.records
        folder = self.pick(run, run / "artifacts", records / "0", records / "0/models", records, self.text)
        folder.symlink_to(folder.rename(self.lab.aside / "disk"))

    def serve(self) -> None:
        """Record on a server that says that it has what it has not, and that it has deleted it."""
        self.copy(self.lab.aside / f"{self.draw.random()}.db")  # MLflow keeps connections by path
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        server = MlflowServer(self.lab.database, self.lab.aside / "artifacts", patch)
        name = self.pick(*NO_IDS)
        model = {"model_id": name, "source_run_id": self.trial, "artifact_uri": self.location(name)}
        path, lie = self.pick(
            ("model-versions/search", {"model_versions": [{"name": "x", "version": name, "run_id": self.trial}]}),
            ("logged-models/search", {"models": [{"info": model}]}),
        )
        server.refuse(path, "GET POST", 200, json.dumps(lie).encode())
        server.refuse("/", "DELETE", 200, b"{}")
        self.stack.callback(server.stop)
        self.lab.extra["MLFLOW_TRACKING_URI"] = server.url()


HOSTILE: dict[str, Callable[[Hostile], None]] = {
    "hostile row": Hostile.alter_row, "hostile server": Hostile.serve, "copy elsewhere": Hostile.copy_elsewhere,
    "copy beside": lambda h: h.copy(h.lab.records / h.pick(*COPIES), h.pick(True, False)), "link": Hostile.put_link,
    "forged journal": Hostile.forge_journal, "altered location": Hostile.alter_locations,
}  # fmt: skip
FAULTS |= {name: Fault(inject, REFUSED, ("delete",)) for name, inject in HOSTILE.items()}


# --- a case -----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """What a seed and a number draw, and what came of it."""

    seed: int
    number: int
    command: str = ""
    fault: str = ""
    moment: float = 0.0  # share of the command's time after its start; negative: seconds from its start
    new_store: bool = False
    state: str = ""  # survived, broken, missed or skipped
    why: str = ""
    code: int | None = None  # of the command that met the fault
    seconds: float = 0.0  # from the fault to its end
    digest: str = ""  # of the code

    def __post_init__(self) -> None:
        self.draw = random.Random(f"{self.seed}:{self.number}")
        self.command = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        possible = {name: fault for name, fault in FAULTS.items() if self.command in fault.commands}
        self.fault = self.draw.choices(list(possible), [fault.weight for fault in possible.values()])[0]
        self.moment = self.draw.uniform(0, 0.8) if self.draw.random() < 0.85 else -self.draw.uniform(0.2, 4)
        self.new_store = self.command not in PREPARED and self.draw.random() < 0.15

    def set_up(self, lab: Lab, on_server: bool) -> None:
        lab.reset(PREPARED.get(self.command, "" if self.new_store else "empty"))
        if self.command in CLUSTER:
            if find_spec("distributed") is None:
                raise Verdict("skipped", "dask.distributed is not installed")
            lab.serve_cluster()
            lab.more = [f"tls://127.0.0.1:{lab.link.target}"]
        if on_server:
            lab.serve_mlflow()
            address = f"http://127.0.0.1:{lab.link.port}"
            if self.command == "push":
                lab.more = [address]
            else:
                lab.extra, lab.database = {"MLFLOW_TRACKING_URI": address}, lab.folder / "server" / "mlflow.db"

    def words(self, lab: Lab) -> list[str]:
        words = COMMANDS[self.command]
        return [*TMLM, "push", *lab.more, "search"] if self.command == "push" and lab.more else [*words, *lab.more]

    def words_again(self, lab: Lab) -> list[str]:
        """The same command, of a training --resume; [] for one that is done and would not be gone on with."""
        if self.command in ("train", "mlflow run"):
            begun = [run for run in lab.runs() if run["stage"] == "train" and run["artifacts"].is_dir()]
            if begun and begun[-1]["status"] == "FINISHED":
                return []
            if begun and self.command == "train":
                return [*TMLM, "train", "--resume", begun[-1]["id"]]
        return [] if self.command in ("export", "delete") and self.code == 0 else self.words(lab)

    def run(self, lab: Lab, known: "Known") -> None:
        """Inject the fault, run the command again, and check."""
        fault = FAULTS[self.fault]
        if self.fault in HOSTILE:
            self.run_hostile(lab, fault)
            return
        known.learn(lab, self.command)
        self.set_up(lab, fault.on_server)
        faults = Faults(lab, self.draw)
        undo = fault.inject(faults) if fault.early else None
        process, struck_at = lab.start(self.words(lab)), 0.0
        if not fault.early:
            if self.moment < 0:
                time.sleep(-self.moment)
            else:
                lab.wait_for_work(process)
                time.sleep(self.moment * known.seconds[self.command])
            if process.poll() is not None:
                raise Verdict("missed", "the command had ended")
            struck_at = time.monotonic() - lab.started_at
            undo = fault.inject(faults)
        self.code, output, seconds = lab.wait(process)
        self.seconds = round(seconds - struck_at, 2)
        if self.code == 0 and (fault.early or 0 not in fault.codes):
            raise Verdict("missed", "it was not met")
        self.check_end(lab, fault, output)
        if undo:
            undo()
        before = lab.finished()
        if words := self.words_again(lab):
            code, output, _ = lab.wait(lab.start(words))
            was_done = self.command == "delete" and code == 2
            demand(code == 0 or was_done, f"the same command again ended with {code}:\n{output[-3000:]}")
            demand(TRACEBACK not in output, f"a traceback of the same command again:\n{output[-3000:]}")
        self.check_records(lab, known)
        lab.stop_servers()
        mlflows = "tmp" if self.command == "mlflow run" else "db_init_lock"  # of `mlflow run` and of a server
        left = [path.name for path in lab.temporary.iterdir() if not path.name.startswith(mlflows)]
        demand(not left, f"left in the temporary folder: {left}")
        now = lab.finished()
        lost = [key for key, digest in before.items() if now.get(key) != digest]
        demand(not lost or self.command in ("push", "delete"), f"no longer as they were: {lost}")

    def run_hostile(self, lab: Lab, fault: Fault) -> None:
        """Delete a search, read the store, and delete the training until it is gone: nothing else may go."""
        lab.reset("trained")
        with ExitStack() as stack:
            fault.inject(hostile := Hostile(lab, self.draw, stack))
            self.why, honest = str(hostile.drawn), [*TMLM, "delete", "--yes", hostile.training]
            for words in (self.words(lab), [*TMLM, "runs"], honest, honest, honest):
                if words is honest and len(hostile.owned) > 1:
                    hostile.owned += hostile.of_training
                before = hostile.contents()
                self.code, output, self.seconds = lab.wait(lab.start(words))
                self.check_end(lab, fault, output)
                changed = [path for path, _ in before.items() - hostile.contents().items()]
                demand(not changed, f"no longer as they were: {changed}:\n{output[-1000:]}")
                demand(self.code == 0 or words[-1] != "runs", f"not to be read:\n{output[-3000:]}")
                for journal in lab.records.glob(".delete-*.json"):
                    if self.code and journal.name in output:
                        journal.unlink()  # as the sentence advises
                if words is honest and hostile.training not in [run["id"] for run in lab.runs()]:
                    return
            may_refuse = self.code == 2 and self.fault == "hostile server"  # which says that all runs are hostile
            demand(may_refuse, f"the training can't be deleted:\n{output[-3000:]}")

    def check_end(self, lab: Lab, fault: Fault, output: str) -> None:
        """Check the exit code, the time after a signal, the output, and that no process is left."""
        if self.command != "mlflow run":  # which has an exit code and a traceback of its own
            demand(self.code in fault.codes, f"ended with {self.code}, not {fault.codes}:\n{output[-3000:]}")
            demand(TRACEBACK not in output, f"a traceback:\n{output[-4000:]}")
            has_sentence = re.search(r"^Error: \S", output, re.MULTILINE)
            demand(self.code not in (1, 2) or bool(has_sentence), f"no sentence:\n{output[-3000:]}")
            is_late = self.code in (130, 143) and self.seconds > SIGNAL_SECONDS
            demand(not is_late, f"ended only {self.seconds} s after the signal:\n{output[-2000:]}")
        until = time.monotonic() + LEFT_SECONDS
        while (left := lab.own()) and time.monotonic() < until:
            time.sleep(0.2)
        demand(not left, f"still there after {LEFT_SECONDS:.0f} s: {left}")

    def check_records(self, lab: Lab, known: "Known") -> None:
        """Check that what is recorded is that of a command without a fault."""
        runs = [run for run in lab.runs() if run["stage"]]  # others were begun by `mlflow run` only
        states = [(run["name"], run["status"]) for run in runs]
        demand("RUNNING" not in [status for _, status in states], f"left RUNNING: {states}")
        stage = STAGES.get(self.command, self.command)
        own = [run for run in runs if run["stage"] == stage]
        demand([run["status"] for run in own][-1:] == ["FINISHED"], f"the last {stage} is not finished: {states}")
        demand(len(own) == 1 or self.command not in WITH_WORKERS, f"more than one {stage}: {states}")
        for each in ("train", "evaluate", "sample"):
            known.compare(each, lab.finished(each))
        if self.command in ("search", *CLUSTER):
            check_search(lab, own[-1])
        if self.command in ("answer", "reproduce"):
            result = (own[-1]["artifacts"] / "result.json").read_text()
            perplexities = re.findall(r'"(?:[^"]*perplexity[^"]*|test)": \[?[-0-9.e]+', result)
            known.compare(self.command, {"result": digest_of(sorted(perplexities))})
        if self.command == "export":
            files = [file for file in lab.exported.rglob("*") if file.is_file()]
            digests = {str(file.relative_to(lab.exported)): digest_of(content_of(file)) for file in files}
            known.compare("export", {"files": digest_of(sorted(digests.items()))})
        if self.command == "delete":
            left = [str(path.relative_to(lab.records)) for path in lab.records.rglob("*")]
            for name in ("mlflow.db", "optuna.db"):
                with closing(sqlite3.connect(lab.records / name)) as connection:
                    left += [re.sub(r"\b\d{13}\b", "(a time)", row) for row in connection.iterdump()]
            known.compare("delete", {"left": digest_of(sorted(left))})
        if self.command == "push":
            pushed_from = lab.finished()
            lab.database = lab.folder / "server" / "mlflow.db" if lab.more else lab.checkout / "pushed.db"
            pushed = [(run["name"], run["status"]) for run in lab.runs() if run["stage"]]
            demand(lab.finished() == pushed_from, f"pushed other trainings: {pushed}")
            demand(sorted(pushed) == sorted(states), f"pushed {pushed}, not {states}")


def check_search(lab: Lab, run: dict[str, Any]) -> None:
    """Check that each configuration of a search was tried once, and that each trial has a finished run."""
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{lab.records}/optuna.db").trials
    demand(all(trial.state.is_finished() for trial in trials), f"trials that have not ended: {trials}")
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    counted = [trial for trial in complete if not any(name.endswith(":repeats") for name in trial.system_attrs)]
    tried = {tuple(sorted(trial.params.items())) for trial in counted}
    demand(len(counted) == len(tried) == TRIALS, f"{len(counted)} trials of {len(tried)} configurations: {trials}")
    finished = {each["id"] for each in lab.runs() if each["status"] == "FINISHED"}
    demand({trial.user_attrs["run_id"] for trial in counted} <= finished, f"trials without a finished run: {counted}")
    picks = json.loads((run["artifacts"] / "result.json").read_text())["picks"]
    demand(set(picks) == {"lean", "knee", "best"}, f"picks: {picks}")


class Known:
    """What commands without a fault record, as digests by step, and how long they take; kept in a file."""

    def __init__(self, file: Path, digest: str) -> None:
        kept = json.loads(file.read_text()) if file.exists() else {}
        if kept.get("digest") != digest:  # of other code
            kept = {"digest": digest, "digests": {}, "seconds": {}}
        self.file, self.kept, self.seconds = file, kept, kept["seconds"]

    def compare(self, kind: str, found: dict[str, str]) -> None:
        """Compare digests with those known, and learn new ones."""
        for key, digest in found.items():
            same = self.kept["digests"].setdefault(f"{kind} {key}", digest)
            demand(same == digest, f"another {kind} than without a fault: {key}")
        self.file.write_text(json.dumps(self.kept, indent=1))

    def learn(self, lab: Lab, command: str) -> None:
        """Run a command without a fault, unless that was done."""
        if command not in self.seconds:
            case = Case(0, 0)
            case.command, case.new_store = command, False
            case.set_up(lab, on_server=False)
            process = lab.start(case.words(lab))
            lab.wait_for_work(process)
            start_seconds = time.monotonic() - lab.started_at
            code, output, seconds = lab.wait(process)
            demand(code == 0, f"without any fault:\n{output[-4000:]}")
            case.check_records(lab, self)
            self.seconds[command] = seconds - start_seconds


# --- the campaign -----------------------------------------------------------------------------------------------------


def do(case: Case, lab: Lab, known: Known, folder: Path) -> bool:
    """Do a case, and add it to the file; returns whether it met its fault."""
    case.state, case.digest = "survived", lab.digest
    try:
        case.run(lab, known)
    except (Verdict, OSError, KeyError, sqlite3.Error, psutil.Error, subprocess.SubprocessError) as error:
        case.state, case.why = getattr(error, "state", "broken"), f"{case.why} {type(error).__name__}: {error}"
    if case.state == "broken":
        remove(kept := folder / "kept" / f"{case.seed}-{case.number}")
        shutil.copytree(lab.records, kept)
    with (folder / "cases.jsonl").open("a") as file:
        file.write(json.dumps(asdict(case)) + "\n")
    sys.stderr.write(f"{case.seed}:{case.number} {case.command}: {case.fault}: {case.state} {case.why[:300]}\n")
    return case.state in ("survived", "broken")


def next_case(
    seed: int, numbers: Iterable[int], tried: Set[tuple[str, str]], is_chosen: Callable[[dict[str, Any]], bool]
) -> Case:
    """Of the next thousand cases that are chosen, the first whose command has not met its fault, or the first."""
    tried = tried | {key for key, cell in fault_cells.read().items() if cell.cases}
    cases = list(islice((case for number in numbers if is_chosen(asdict(case := Case(seed, number)))), 1000))
    return next((case for case in cases if (case.command, case.fault) not in tried), cases[0])


def table(cases: list[dict[str, Any]]) -> str:
    """How many cases of each command and fault were met and survived, by their last repetition, and what is broken."""
    last = {(case["seed"], case["number"]): case for case in cases if case["state"] in ("survived", "broken")}
    lines = ["| | cases | survived | after a mend |", "|---|---|---|---|"]
    for part, name in [*(("command", name) for name in COMMANDS), *(("fault", name) for name in FAULTS)]:
        survived = {key for key, case in last.items() if case[part] == name and case["state"] == "survived"}
        broke = {(case["seed"], case["number"]) for case in cases if case[part] == name and case["state"] == "broken"}
        if survived | broke:
            lines.append(f"| {name} | {len(survived | broke)} | {len(survived)} | {len(survived & broke)} |")
    broken = [case for case in last.values() if case["state"] == "broken"]
    return "\n".join([*lines, *("{seed}:{number} {command}: {fault}: {why}".format(**case) for case in broken)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300, help="cases of the seed that meet their fault")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which no case is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "mlruns" / "faults")
    parser.add_argument("--repeat", action="append", default=[], metavar="SEED:NUMBER", help="only do this case again")
    parser.add_argument("--only", default="*", metavar="COMMAND:FAULT", help="pattern of the cases to do")
    options = parser.parse_args()
    if not any(fnmatch(f"{each}:{name}", options.only) for name, fault in FAULTS.items() for each in fault.commands):
        parser.error(f"--only {options.only}: no command has such a fault")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job and its children would ignore it
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    file, until = folder / "cases.jsonl", time.monotonic() + 60 * options.minutes

    def is_chosen(case: dict[str, Any]) -> bool:
        return fnmatch("{command}:{fault}".format(**case), options.only)

    def cases() -> list[dict[str, Any]]:
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    lab = Lab(folder / "lab")
    known = Known(folder / "known.json", lab.digest)
    try:
        for name in options.repeat:
            do(Case(*map(int, name.split(":"))), lab, known, folder)  # type: ignore[arg-type] # two of them
        of_seed = [case for case in cases() if case["seed"] == options.seed and is_chosen(case)]
        met = Counter({case["number"]: case["state"] in ("survived", "broken") for case in of_seed})
        tried = {(case["command"], case["fault"]) for case in of_seed if not met[case["number"]]}  # and not met
        while not options.repeat and met.total() < options.cases and time.monotonic() < until:
            case = next_case(options.seed, (number for number in count() if number not in met), tried, is_chosen)
            tried.add((case.command, case.fault))
            if is_met := do(case, lab, known, folder):
                is_lost = "no longer as they were" in case.why or "recorded twice" in case.why
                cell = Cell(1, case.state == "broken", case.state == "broken" and is_lost)
                fault_cells.add(case.command, case.fault, cell)
            met[case.number] = is_met
    finally:
        lab.reset()
    sys.stdout.write(table(cases()) + "\n")
    return int("broken" in {(case["seed"], case["number"]): case["state"] for case in cases()}.values())


if __name__ == "__main__":
    sys.exit(main())
