"""Commands that are recorded, a folder for them, and the state of the disk that each starts from."""

import json
import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data.topics import topics
from subprocess import CompletedProcess
from typing import Self

from safetensors import SafetensorError

from tests.anomalies.disk import Disk, Operation, RecordingError, State, build, contents, differences, operations
from tests.checkout import ROOT
from tests.faults import content_of, digest_of

TINY = ["--cell", "gru", "--hidden-size", "8", "--epochs", "2", "--batch-size", "16"]
TEXT = ["--corpus", "text.txt", "--alphabet", "letters"]
SMALL = ["--quick", "--trials", "2", "--epochs", "1", "--confirm-seeds", "1", "--workers", "1"]
COMMANDS = {
    "creation": ["runs"],  # of a store
    "train": ["train", *TEXT, *TINY],
    "pipeline": ["pipeline", *TEXT, *TINY],
    "search": ["search", "--study-name", "search", *TEXT, *SMALL],
    "export": ["export", "search", "--output", "exported"],
    "push": ["push", "sqlite:///pushed.db", "search"],
    "delete": ["delete", "search", "--yes"],
    "prepare": ["prepare", "--corpus", "https://127.0.0.1:{port}/text.txt", "--alphabet", "letters"],
}
BEFORE = dict.fromkeys(("train", "pipeline", "search"), "creation")  # what has been done before
BEFORE |= dict.fromkeys(("export", "push", "delete"), "search")
AGAIN = {"export": [2], "delete": [2]}  # exit codes of the same command once its work is done
RUNNING = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND status = 'RUNNING'"
RECORDED = """SELECT name, status, metrics.key, value, step FROM runs JOIN metrics USING (run_uuid)
WHERE lifecycle_stage = 'active' AND status = 'FINISHED'"""


class Lab:
    """A copy of the code, and the folder that commands work in, which is recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.watched, self.code = folder, folder / "watched", folder / "code"
        for name in ("pipeline", "models"):
            shutil.copytree(ROOT / name, self.code / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.recorder = folder / "recorder.so"
        compiler = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self.recorder)]
        subprocess.run([*compiler, str(Path(__file__).with_name("recorder.c")), "-ldl", "-lpthread"], check=True)
        log, root = str(folder / "log"), str(self.watched)
        self.recorder_variables = {"LD_PRELOAD": str(self.recorder), "RECORDER_ROOT": root, "RECORDER_LOG": log}
        for name in ("tmp", "cache", "home"):
            (self.watched / name).mkdir(parents=True)
        text = "\n".join(topics[name] for name in sorted(topics))[:9_000]
        (self.watched / "text.txt").write_text(text, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TMLM_"))}
        self.environment = kept | {
            "PYTHONPATH": str(self.code),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.watched / "tmp"),
            "TMLM_CACHE_DIR": str(self.watched / "cache"),
            "HOME": str(self.watched / "home"),
            "PYTHONSAFEPATH": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
            "REQUESTS_CA_BUNDLE": str(folder / "certificate.pem"),
        }

        self.processes: dict[bool, subprocess.Popen[str]] = {}

    def warm(self, records: bool) -> subprocess.Popen[str]:
        """The process that runs commands, with or without the recorder."""
        if records not in self.processes:
            script, pipe = [sys.executable, str(Path(__file__).with_name("warm.py"))], subprocess.PIPE
            given = self.environment | (self.recorder_variables if records else {})
            self.processes[records] = subprocess.Popen(
                script, cwd=self.folder, env=given, stdin=pipe, stdout=pipe, text=True
            )
        return self.processes[records]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for warm in self.processes.values():
            warm.communicate()

    def run(self, words: list[str], *, records: bool = False, **environment: str) -> CompletedProcess[str]:
        """Run ``python -m pipeline`` with these words, or ``python -c``."""
        out, error, warm = self.folder / "out", self.folder / "error", self.warm(records)
        assert warm.stdin is not None
        assert warm.stdout is not None
        out.touch()
        variables = environment | {"RECORDER_STDOUT": str(out.stat().st_ino)}
        warm.stdin.write(json.dumps([words, str(self.watched), variables, str(out), str(error)]) + "\n")
        warm.stdin.flush()
        code = int(warm.stdout.readline())
        return CompletedProcess(words, code, out.read_text(), error.read_text())

    def record(self, words: list[str], **environment: str) -> tuple[Disk, list[Operation], CompletedProcess[str]]:
        """The disk before a command, what the command did to it, and how it ended.

        Raises RecordingError if something was missed.
        """
        before, again, log = Disk(self.watched), Disk(self.watched), self.folder / "log"
        log.write_bytes(b"")
        done = self.run(words, records=True, **environment)
        found = operations(log)
        for each in found:
            again.apply(each)
        if missed := differences(again, self.watched):
            raise RecordingError(f"the recorder has missed operations on {', '.join(missed)}")
        if again.printed != done.stdout:
            raise RecordingError("the recorder has missed what was printed")
        return before, found, done


def outcome(lab: Lab) -> tuple[frozenset[str], list[str]]:
    """What the files contain and what complete runs have recorded, and which runs are RUNNING."""
    found, running = set[str](), list[str]()
    for path in lab.watched.rglob("*"):
        if path.suffix == ".db" and not path.name.startswith("."):
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'metrics'").fetchone():
                    found |= {f"{path.name} {row}" for row in connection.execute(RECORDED)}
                    running += [id for (id,) in connection.execute(RUNNING)]
        elif path.is_file() and ".db" not in path.name:
            try:
                found.add(f"{path.name} {digest_of(content_of(path))}")
            except SafetensorError:
                found.add(f"{path.name} damaged")
    return frozenset(found), running


def serve(lab: Lab) -> int:
    """Serve the text over https on loopback, by a certificate of the lab's own; returns the port."""
    served = lab.folder / "served"
    served.mkdir()
    shutil.copy(lab.watched / "text.txt", served)
    key, certificate = lab.folder / "key.pem", lab.folder / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request, *names, *made], check=True, capture_output=True)

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def states_before(lab: Lab) -> Callable[[str], State]:
    """A function of a command's name that returns the state of the disk that it starts from."""
    empty = contents(lab.watched)

    @cache
    def before(name: str) -> State:
        if name not in BEFORE:
            return empty
        build(lab.watched, before(BEFORE[name]))
        lab.run(COMMANDS[BEFORE[name]])
        return contents(lab.watched)

    return before
