"""Use the project in a copy of its working tree, as its users do."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipeline.tracking.names import bare_tags

ROOT = Path(__file__).resolve().parent.parent


class Checkout:
    """A copy of the working tree, with a separate cache and without downloads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        listed = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in listed.splitlines():
            source, target = ROOT / name, self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                target.symlink_to(source.readlink())
            elif source.exists():
                shutil.copy2(source, target)
        self.environment = environment_with(folder / "cache")
        self.database = self.folder / "mlruns" / "mlflow.db"

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; fail the test, with its output, unless the exit code is ``code``."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == code, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done

    def mlflow_run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("mlflow", "run", ".", "--env-manager", "local", *words, code=code)

    def runs(self) -> list[dict[str, Any]]:
        return runs_in(self.database)

    def query(self, sql: str, *values: str) -> list[tuple]:
        with closing(sqlite3.connect(self.database, timeout=60)) as connection:
            return connection.execute(sql, values).fetchall()

    def last(self, stage: str) -> dict[str, Any]:
        """The latest run of a stage."""
        return [run for run in self.runs() if run["tags"].get("stage") == stage][-1]


def environment_with(cache: Path) -> dict[str, str]:
    """The variables of a command with this cache: no downloads, and none of the user's or the test's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TMLM_"))}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMLM_CACHE_DIR": str(cache),
        "TMLM_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def runs_in(database: Path) -> list[dict[str, Any]]:
    """All runs with their tags (by bare names too), parameters and last metrics, oldest first."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute("SELECT run_uuid, name, status, artifact_uri FROM runs ORDER BY start_time")
        runs = [dict(zip(("id", "name", "status", "artifacts"), row, strict=True)) for row in rows]
        for run in runs:
            for table in ("tags", "params", "latest_metrics"):
                found = connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid=?", (run["id"],))
                run[table] = dict(found.fetchall())
            run["tags"] = bare_tags(run["tags"])
    return runs


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, environment: Mapping[str, str], *words: str) -> Iterator[None]:
    """Run a server in a folder within the block, and stop it with its children."""
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def ask(url: str, data: Any = None, seconds: float = 240, content_type: str = "application/json") -> tuple[int, str]:
    """Request an address until the server answers; returns status and body.

    ``data`` is posted: bytes as they are, other values as JSON. Raises OSError after ``seconds`` without an answer.
    """
    body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
    deadline = time.monotonic() + seconds
    while True:
        request = urllib.request.Request(url, body, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
