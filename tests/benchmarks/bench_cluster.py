"""How far one driver goes: what a finished trial costs the process that asks and tells.

    python -m tests.benchmarks.bench_cluster [--finished 100 1000] [--samplers known-cost ...]

Runs ``tmlm search`` with MLflow's server on the loopback interface and a pool in which every training ends at once with
a made-up result, and prints the milliseconds of each trial after so many: those of the driver's CPU and those that
pass. Making the finished trials takes as long each.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any

from models.complexity import closed_form
from pipeline.config import CorpusConfig, SearchConfig
from pipeline.stages import search
from pipeline.support.workers import Event
from pipeline.tracking import server, store
from pipeline.tracking.step import CURVES_PLOT, parent_run
from tests.checkout import ask, free_port
from tests.labs import PNG
from tests.pools import Inline

HOST = "127.0.0.1"
SAMPLERS = ("known-cost", "tpe", "gp", "random")
SYMBOLS = 28


class EnoughError(Exception):
    """Ends a search after some trials."""


class AtOnce(Inline):
    """A pool in which each training ends at once, until ``count`` of them have; the first one does not count."""

    def __init__(self, run_id: str, count: int) -> None:
        super().__init__(1)
        self._run_id, self._trials = run_id, count
        self.times: list[tuple[float, float]] = []  # of this process's CPU and of the clock, at each start

    def done(self, task: Any) -> list[Event]:
        self.times.append((time.process_time(), time.monotonic()))
        if len(self.times) > self._trials + 1:
            raise EnoughError
        return [Event("done", task, made_up(task.model, task.train, self._run_id))]

    def ms_per_trial(self) -> list[float]:
        """Milliseconds of CPU and of the clock."""
        return [1000 * (end - start) / self._trials for start, end in zip(self.times[0], self.times[-1], strict=True)]


def made_up(model: Any, train: Any, run_id: str) -> dict[str, Any]:
    """A result of a training: the perplexity falls with the size, and has noise."""
    macs = closed_form(model, SYMBOLS).macs_per_char
    value = 30 * exp(-0.15 * log(macs) + Random(f"{model.shape}{train.learning_rate}").gauss(0, 0.01)) + 2
    curve = [value + 1 / epoch - 1 / 6 for epoch in range(1, 7)]
    return {
        "run_id": run_id, "val_perplexity": value, "test_perplexity": value, "parameters": macs, "macs_per_char": macs,
        "train_seconds": 1.0, "best_epoch": 6, "epochs": 6, "stopped": "", "val_perplexities": curve,
        "texts": ["it has " * 30],
    }  # fmt: skip


@contextmanager
def mlflow_server(folder: Path) -> Iterator[None]:
    """MLflow's server of a cluster, in use by this process."""
    port = free_port()
    environment = {**os.environ, **server.server_environment(f"sqlite:///{folder}/mlflow.db")}
    command = server.server_command("server", HOST, port, 2, "--artifacts-destination", str(folder / "artifacts"))
    process = subprocess.Popen(command, env=environment, cwd=folder)
    os.environ["MLFLOW_TRACKING_URI"] = address = f"http://{HOST}:{port}"
    try:
        ask(f"{address}/health")
        yield
    finally:
        process.terminate()
        process.wait()


def run_trials(database: Path, corpus_config: CorpusConfig, sampler: Any, count: int, run_id: str) -> AtOnce:
    """Run so many further trials of the study in a database."""
    config = SearchConfig(
        trials=1_000_000, sampler=sampler, storage=f"sqlite:///{database}", learning_rate="0.001..0.05"
    )
    pool = AtOnce(run_id, count)
    with suppress(EnoughError):
        search.search(config, corpus_config, make_pool=lambda workers: pool)
    return pool


def main() -> None:
    from pydoc_data.topics import topics

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", nargs="+", type=int, default=[100, 1000])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--further", type=int, default=20, help="trials to run on top of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "mlruns").mkdir()
        store.root = lambda: folder
        text = folder / "text.txt"
        text.write_text("\n".join(topics[name] for name in sorted(topics))[:200_000], encoding="utf-8")
        corpus_config = CorpusConfig(str(text))
        sys.stdout.write("sampler     finished   CPU ms  wall ms, of each further trial\n")
        with mlflow_server(folder):
            with parent_run("train", "stands-in-for-all", {}, None) as run:
                run.picture(CURVES_PLOT, PNG)
            for count in options.finished:
                run_trials(folder / f"{count}.db", corpus_config, "random", count, run.id)
                for sampler in options.samplers:
                    database = folder / f"{count}-{sampler}.db"
                    shutil.copy(folder / f"{count}.db", database)
                    pool = run_trials(database, corpus_config, sampler, options.further, run.id)
                    cpu, wall = pool.ms_per_trial()
                    sys.stdout.write(f"{sampler:<11}{count:9,}{cpu:9.1f}{wall:9.1f}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
