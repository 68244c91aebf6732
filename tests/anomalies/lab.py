"""Commands that are recorded, a folder for them, and the state of the disk that each starts from."""

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data.topics import topics

from tests.anomalies.disk import Disk, Operation, RecordingError, State, build, contents, differences, operations
from tests.anomalies.judge import COMPLETE, Judge
from tests.checkout import ROOT

TMLM = [sys.executable, "-m", "pipeline"]
TINY = ["--cell", "gru", "--hidden-size", "8", "--epochs", "2", "--batch-size", "16"]
TEXT = ["--corpus", "text.txt", "--alphabet", "letters"]
SMALL = ["--quick", "--trials", "2", "--epochs", "1", "--confirm-seeds", "1", "--workers", "1"]
COMMANDS = {
    "create": [sys.executable, "-c", "from pipeline.tracking.store import setup; setup()"],
    "train": [*TMLM, "train", *TEXT, *TINY],
    "pipeline": [*TMLM, "pipeline", *TEXT, *TINY],
    "search": [*TMLM, "search", "--study-name", "search", *TEXT, *SMALL],
    "export": [*TMLM, "export", "search", "--output", "exported"],
    "push": [*TMLM, "push", "sqlite:///pushed.db", "search"],
    "delete": [*TMLM, "delete", "search", "--yes"],
    "download": [*TMLM, "prepare", "--corpus", "https://127.0.0.1:{port}/text.txt", "--alphabet", "letters"],
}
AFTER_A_SEARCH = ("export", "push", "delete")
AGAIN = {"export": [2], "delete": [2]}  # exit codes of the same command once its work is done


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
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
            "REQUESTS_CA_BUNDLE": str(folder / "certificate.pem"),
        }

    def run(self, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        given = self.environment | environment
        return subprocess.run(words, cwd=self.watched, env=given, capture_output=True, text=True, check=False)

    def record(self, words: list[str]) -> tuple[Disk, list[Operation]]:
        """The disk before a command, and what the command did to it. Raises RecordingError if something was missed."""
        before, again, log = Disk(self.watched), Disk(self.watched), self.folder / "log"
        log.write_bytes(b"")
        out, into = os.pipe()
        given = self.environment | self.recorder_variables | {"RECORDER_STDOUT": str(os.fstat(into).st_ino)}
        process = subprocess.Popen(words, cwd=self.watched, env=given, stdout=into, stderr=subprocess.PIPE, text=True)
        os.close(into)
        with ThreadPoolExecutor(1) as reader, open(out, encoding="utf-8") as pipe:
            printed = reader.submit(pipe.read)
            said = process.communicate()[1]
            text = printed.result()
        if process.returncode:
            raise RecordingError(f"{' '.join(words)}: exit code {process.returncode}: {said[-2000:]}")
        found = operations(log)
        for each in found:
            again.apply(each)
        if missed := differences(again, self.watched):
            raise RecordingError(f"the recorder has missed operations on {', '.join(missed)}")
        if again.printed != text:
            raise RecordingError("the recorder has missed what was printed")
        return before, found


def complete(lab: Lab) -> tuple[int, list[str]]:
    """How many runs are complete in the stores, and which are RUNNING."""
    state = contents(lab.watched)
    judge = Judge(lab.watched, state)
    stores = [judge.store(state, name) for name in state if name.endswith(".db")]
    rows = {id: status for store in stores for (kind, id), (status, _) in store.rows.items() if kind == "run"}
    return [*rows.values()].count(COMPLETE), [id for id, status in rows.items() if status == "RUNNING"]


def serve(lab: Lab, folder: Path) -> int:
    """Serve a folder over https on loopback, by a certificate of the lab's own; returns the port."""
    key, certificate = lab.folder / "key.pem", lab.folder / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request, *names, *made], check=True, capture_output=True)

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def stores_of(lab: Lab, only: Sequence[str]) -> Iterator[tuple[str, list[str], State]]:
    """Each command by name, its words, and the state that it starts from."""
    served, empty = lab.folder / "served", contents(lab.watched)
    shutil.copytree(lab.watched, served)
    port, searched = serve(lab, served), dict[str, bytes | str | None]()
    for name, words in COMMANDS.items():
        if only and name not in only:
            continue
        if name in AFTER_A_SEARCH and not searched:
            build(lab.watched, empty)
            lab.run(COMMANDS["search"])
            searched = contents(lab.watched)
        yield name, [word.format(port=port) for word in words], searched if name in AFTER_A_SEARCH else empty
