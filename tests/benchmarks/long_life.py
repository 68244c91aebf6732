"""Long life: whether memory, open files, threads and time stay flat over many trainings, trials, requests or runs.

    python -m tests.benchmarks.long_life trainings [--count 500]     by the Python API, in one process
    python -m tests.benchmarks.long_life search [--count 1000]       trials of one search, by two workers
    python -m tests.benchmarks.long_life served [--count 100000]     requests to ``mlflow models serve``
    python -m tests.benchmarks.long_life store [--count 5000]        runs in the store that commands read

The models have 4 to 16 units, the text a few thousand characters. The first three print a row after each tenth of the
count: the median milliseconds of a unit, its CPU milliseconds (in the process that trains, proposes or answers), and
what that process and its children have then: MB, open files, threads, and files in TMPDIR. The last line compares the
last tenth with the first. ``store`` prints the CPU seconds and the peak MB of commands in a store of 10 runs, of a
tenth of the count, and of the count, and the milliseconds in which MLflow's UI answers; the runs are copies of one
training. On a busy machine, look at the CPU time.
"""

import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from typing import Any

import psutil

from pipeline import api
from pipeline.cli.main import cli
from pipeline.config import CorpusConfig, SearchConfig
from pipeline.search.run import search as run_search
from pipeline.stages.sweep import do
from pipeline.support.workers import Workers
from pipeline.text.corpus import load_corpus
from pipeline.tracking import store as tracking_store
from pipeline.tracking.names import recorded_tag
from pipeline.tracking.ui import views
from tests.checkout import ask, free_port, server

CONNECTIONS = 4  # of the served model's clients
COPIED = (  # MLflow's tables with rows of a run
    *("runs", "tags", "params", "metrics", "latest_metrics", "inputs", "input_tags", "logged_models"),
    *("logged_model_tags", "logged_model_params", "logged_model_metrics"),
)


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Meter:
    """Prints a row after each tenth of ``count`` units."""

    def __init__(self, count: int, process: int | None = None) -> None:
        self._tenth, self._process = max(1, count // 10), psutil.Process(process)
        self._seconds: list[float] = []
        self._rows: list[list[float]] = []
        self._cpu, self._lock = self._cpu_seconds(), threading.Lock()
        write("      done      ms   CPU ms       MB   files  threads    left")

    def _cpu_seconds(self) -> float:
        return sum(self._process.cpu_times()[:2])

    def add(self, began: float) -> float:
        """Count a unit that began at this time; returns the present time."""
        with self._lock:
            now = time.monotonic()
            self._seconds.append(now - began)
            if len(self._seconds) % self._tenth == 0:
                self._row()
            return now

    def _row(self) -> None:
        tree, cpu = [self._process, *self._process.children(recursive=True)], self._cpu_seconds()
        row = [
            1000 * median(self._seconds[-self._tenth :]),
            1000 * (cpu - self._cpu) / self._tenth,
            sum(process.memory_info().rss for process in tree) / 1e6,
            sum(process.num_fds() for process in tree),
            sum(process.num_threads() for process in tree),
            sum(1 for _ in Path(os.environ["TMPDIR"]).rglob("*")),
        ]
        self._rows, self._cpu = [*self._rows, row], cpu
        write("{:10,} {:7,.1f} {:8,.1f} {:8,.1f} {:7} {:8} {:7}".format(len(self._seconds), *row))

    def conclude(self) -> None:
        """Compare the last tenth with the first."""
        (ms, cpu, *first), (last_ms, last_cpu, *last) = self._rows[0], self._rows[-1]
        more = ", ".join(
            f"{name} {b - a:+,.0f}" for name, a, b in zip(("MB", "files", "threads", "left"), first, last, strict=True)
        )
        write(f"last tenth to first: time x {last_ms / ms:.2f}, CPU x {last_cpu / cpu:.2f}, {more}")


def trainings(count: int, text: Path) -> None:
    meter, began = Meter(count), time.monotonic()
    for seed in range(count):
        api.train(text, hidden_size=4, epochs=1, seed=seed, threads=1)
        began = meter.add(began)
    meter.conclude()


def search(count: int, text: Path) -> None:
    meter, starts = Meter(count), list[float]()

    class Metered(Workers):
        """Workers; a unit is what passes from one trial to the next."""

        def submit(self, task: Any) -> None:
            super().submit(task)
            if task.role == "trial":
                starts.append(meter.add(starts[-1]) if starts else time.monotonic())

    config = SearchConfig(
        trials=count + 1, epochs=1, confirm_seeds=1, workers=2, storage=f"sqlite:///{text.parent}/optuna.db",
        num_layers="1..2", hidden_size="4..16", learning_rate="0.001..0.05",
    )  # fmt: skip
    corpus_config = CorpusConfig(str(text), "letters")
    run_search(load_corpus(corpus_config), config, make_pool=lambda workers: Metered(do, workers))
    meter.conclude()


def served(count: int, text: Path) -> None:
    run_id, port = api.train(text, hidden_size=4, epochs=1, threads=1).run_id, free_port()
    model = ("-m", f"runs:/{run_id}/lstm-1x4", "--env-manager", "local", "--port", str(port), "--workers", "1")
    body, headers = json.dumps({"inputs": ["it has"], "params": {"length": 1}}), {"Content-Type": "application/json"}

    def request() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        began = time.monotonic()
        for _ in range(count // CONNECTIONS):
            connection.request("POST", "/invocations", body, headers)
            answer = connection.getresponse()
            assert (answer.status, len(json.loads(answer.read())["predictions"])) == (200, 1)
            began = meter.add(began)

    with server(text.parent, os.environ, "mlflow", "models", "serve", *model):
        ask(f"http://127.0.0.1:{port}/ping")
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        meter = Meter(count, next(each.pid for each in listening if each.laddr and each.laddr.port == port))
        threads = [threading.Thread(target=request) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    meter.conclude()


def store(count: int, text: Path) -> None:
    database, port, page = text.parent / "mlruns/mlflow.db", free_port(), text.parent / "page"
    small, output = ("--corpus", str(text), "--epochs", "1"), ("-o", str(page))
    search = ("search", *small, "--study-name", "small", "--workers", "1")
    commands = {
        "train": ("train", *small, "--hidden-size", "4"),
        "search, resumed": (*search, "--trials", "5", "--hidden-size", "4..8"),
        "runs": ("runs",), "runs --search": ("runs", "--search", "no such words"), "doctor": ("doctor",),
        "compare": ("compare", "latest", "latest~1"), "best": ("best", "--max-macs", "1000000"),
        "sample latest": ("sample", "latest"), "export latest": ("export", "latest", *output),
        "export search": ("export", "small", *output),
        "export experiment": ("export", tracking_store.EXPERIMENT, *output),
    }  # fmt: skip
    for name in ("search, resumed", "train", "train"):
        cost_of(commands[name])
    run, digest = last_training(database)
    queries = {"UI, first page": "", "UI, a text's models": views.models("", digest).query}
    rows = {name: f"{name:<20}" for name in (*commands, *queries)}
    ui = ("--backend-store-uri", f"sqlite:///{database}", "--port", str(port), "--workers", "1")
    with server(text.parent, os.environ, "mlflow", "ui", *ui):
        for size in (10, count // 10, count):
            grow(database, run, size)
            for name, words in commands.items():
                rows[name] += "{:8.2f} s {:6,.0f} MB".format(*cost_of(words))
                shutil.rmtree(page, ignore_errors=True)
            for name, query in queries.items():
                rows[name] += f"{answer_ms(f'http://127.0.0.1:{port}', query):14.0f} ms  "
            write("\n".join([f"{size:,} runs", *rows.values(), ""]))


def cost_of(words: tuple[str, ...]) -> tuple[float, float]:
    """CPU seconds and peak MB of a command, without its imports."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            cli(words)
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
    _, status, usage = os.wait4(child, 0)
    assert status == 0, words
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def answer_ms(address: str, query: str) -> float:
    """Median milliseconds of the request that fills the UI's table of runs."""
    order, times = f"metrics.`{views.PERPLEXITY}` ASC" if query else "attributes.start_time DESC", []
    asked = {"experiment_ids": ["0"], "filter": query, "max_results": 100, "order_by": [order]}
    for _ in range(6):
        began = time.monotonic()
        status, body = ask(f"{address}/ajax-api/2.0/mlflow/runs/search", asked)
        times.append(1000 * (time.monotonic() - began))
        assert (status, bool(json.loads(body)["runs"])) == (200, True)
    return median(times[1:])


def last_training(database: Path) -> tuple[str, str]:
    """The last training's run, and the digest of its text."""
    tag = recorded_tag("corpus.sha256")
    query = f"SELECT run_uuid, value FROM runs JOIN tags USING (run_uuid) WHERE key = '{tag}' ORDER BY start_time DESC"
    with closing(sqlite3.connect(database)) as connection:
        run, digest = connection.execute(query).fetchone()
    return run, digest


def grow(database: Path, run: str, size: int) -> None:
    """Copy a run, with its model's record, inputs and artifacts, until there are so many; the copies end earlier."""
    with closing(sqlite3.connect(database)) as connection:

        def select(sql: str, *values: str) -> list[Any]:
            return connection.execute(sql, values).fetchall()

        ids = [run, *(row[0] for row in select("SELECT input_uuid FROM inputs WHERE destination_id = ?", run))]
        ids += [row[0] for row in select("SELECT model_id FROM logged_models WHERE source_run_id = ?", run)]
        rows = {name: [row for row in select(f"SELECT * FROM {name}") if {*ids} & {*row}] for name in COPIED}
        ((artifacts,),), ((present,),) = (
            select("SELECT artifact_uri FROM runs WHERE run_uuid = ?", run), select("SELECT COUNT(*) FROM runs"),
        )  # fmt: skip
        for number in range(present, size):

            def renewed(value: Any, number: int = number) -> Any:
                for each in ids if isinstance(value, str) else ():
                    value = value.replace(each, f"{each[:-6]}{number:06}")
                return value

            for table, found in rows.items():
                places = ", ".join("?" * len(found[0]))
                connection.executemany(
                    f"INSERT INTO {table} VALUES ({places})", [[*map(renewed, row)] for row in found]
                )
            earlier = f"start_time = start_time - {number}000, end_time = end_time - {number}000"
            connection.execute(f"UPDATE runs SET {earlier} WHERE run_uuid = ?", (renewed(run),))
            shutil.copytree(artifacts, renewed(artifacts), copy_function=os.link)
        connection.commit()


COUNTS = {trainings: 500, search: 1000, served: 100_000, store: 5000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    by_name = {measure.__name__: measure for measure in COUNTS}
    parser.add_argument("what", choices=by_name)
    parser.add_argument("--count", type=int, help="trainings, trials, requests or runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder, temporary = Path(home), Path(home) / "tmp"
        temporary.mkdir()
        (folder / "mlruns").mkdir()
        text = folder / "text.txt"
        text.write_text("\n".join(topics[name] for name in sorted(topics))[:6000], encoding="utf-8")
        os.environ |= {"TMPDIR": str(temporary), "TMLM_CACHE_DIR": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlruns/mlflow.db"
        tempfile.tempdir, tracking_store.root = None, lambda: folder
        measure = by_name[options.what]
        measure(options.count or COUNTS[measure], text)


if __name__ == "__main__":
    main()
