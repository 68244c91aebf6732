"""How far one driver goes: what a finished trial costs the process that asks and tells.

    python -m tests.benchmarks.bench_cluster [--finished 100 1000 5000] [--samplers known-cost ...]

Runs the search's own loop on a study that has that many finished trials, with MLflow's server on the loopback
interface, in which every training ends at once with a made-up result. It prints the milliseconds per trial: those of
the driver's CPU and those that pass.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp, log, log10
from pathlib import Path
from random import Random
from typing import Any, Self

from pipeline.config import CorpusConfig, SearchConfig
from pipeline.support.workers import Event

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
SAMPLERS = ("known-cost", "tpe", "gp", "random")
SPACE: dict[str, Any] = {"learning_rate": "0.001..0.05", "trials": 1_000_000}  # by default it has 2,241 points
STUDY = "search"


class AtOnce:
    """A pool in which each training ends at once, until the time is up; the first one does not count."""

    count = 1

    @property
    def slots(self) -> dict[str, int]:
        return {"": 1}

    def __init__(self, result: Callable[[Any], dict[str, Any]], seconds: float) -> None:
        self._result, self._seconds = result, seconds
        self._task: Any = None
        self.done = -1
        self.until = time.monotonic() + seconds
        self.began = (time.process_time(), time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left running."""

    @property
    def idle(self) -> int:
        return int(self._task is None and (self.done < 1 or time.monotonic() < self.until))

    @property
    def running(self) -> list[tuple[int, Any]]:
        return [] if self._task is None else [(0, self._task)]

    def submit(self, task: Any) -> None:
        self._task = task
        self.done += 1
        if not self.done:
            self.until = time.monotonic() + self._seconds
            self.began = (time.process_time(), time.monotonic())

    def ms_per_trial(self) -> tuple[float, float]:
        """Milliseconds of this process's CPU and of the clock."""
        now = (time.process_time(), time.monotonic())
        cpu, wall = (1000 * (after - before) / self.done for before, after in zip(self.began, now, strict=True))
        return cpu, wall

    def events(self, timeout_seconds: float | None = None) -> list[Event]:
        task, self._task = self._task, None
        return [Event("done", task, self._result(task), 0)]


def made_up(model: Any, train: Any, macs: int, run_id: str) -> dict[str, Any]:
    """A result of a training: the perplexity falls with the size, and has an optimum of the learning rate and noise."""
    noise = Random(f"{model.shape}{train.learning_rate}").gauss(0, 0.01)
    value = 30 * exp(-0.15 * log(macs) + 0.1 * log(train.learning_rate / 0.008) ** 2 + noise) + 2
    curve = [value + 1 / epoch - 1 / 6 for epoch in range(1, 7)]
    return {
        "run_id": run_id, "val_perplexity": value, "test_perplexity": value, "parameters": macs, "macs_per_char": macs,
        "train_seconds": 1.0, "best_epoch": 6, "epochs": 6, "stopped": "", "val_perplexities": curve,
        "texts": ["it has " * 30],
    }  # fmt: skip


def add_trials(search: Any, count: int) -> None:
    """Add finished trials of random configurations to a study, with all that ``Search`` leaves in a trial."""
    import optuna
    from sqlalchemy import event

    from pipeline.search.study import dashboard
    from pipeline.search.study.samplers import distributions, draw
    from pipeline.search.study.trials import RESULT

    ids = search.storage
    event.listen(ids.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    ids.engine.dispose()
    for number in range(count):
        parameters = draw(search.space, Random(number))
        model, train = search.configs_of(parameters, 0)
        result = made_up(model, train, search.macs_per_char(parameters), f"run{number:029}")
        user = {
            "model": model.shape, "seed": 0, "macs_per_char": result["macs_per_char"],
            **{name: result[name] for name in RESULT},
            "sample_text": dashboard.one_line(result["texts"][-1]), "mlflow_run": f"http://{number}",
            "run_id": result["run_id"],
        }  # fmt: skip
        trial = optuna.create_trial(
            params={name: parameters[name] for name in search.space.searched},
            distributions=distributions(search.space),
            values=[result["val_perplexity"], log10(result["macs_per_char"])],
            user_attrs=user,
        )
        trial_id = ids.create_new_trial(search.study._study_id, trial)
        note = {"note_str:0": dashboard.trial_note(model.shape, result, user["mlflow_run"]), "note_ver": 1}
        for name, value in note.items():
            ids.set_study_system_attr(search.study._study_id, f"dashboard:{trial_id}:{name}", value)


def open_search(database: Path, corpus_config: CorpusConfig, sampler: Any) -> Any:
    from pipeline.search.space import Space
    from pipeline.search.study.trials import Search
    from pipeline.text.corpus import load_corpus

    config = SearchConfig(**SPACE, study_name=STUDY, sampler=sampler, storage=f"sqlite:///{database}")
    return Search(config, Space.of(config), load_corpus(corpus_config), corpus_config)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[None]:
    """MLflow's server of a cluster, in use by this process."""
    from pipeline.tracking import server
    from tests.checkout import ask, free_port

    port = free_port()
    environment = {**os.environ, **server.environment(f"sqlite:///{folder}/mlflow.db")}
    command = server.command("server", HOST, port, 2, "--artifacts-destination", str(folder / "artifacts"))
    process = subprocess.Popen(command, env=environment, cwd=folder)
    os.environ["MLFLOW_TRACKING_URI"] = address = f"http://{HOST}:{port}"
    try:
        ask(f"{address}/health")
        yield
    finally:
        process.terminate()
        process.wait()


def ms_per_trial(
    database: Path, corpus_config: CorpusConfig, sampler: str, count: int, most: int, seconds: float
) -> tuple[float, float]:
    """Milliseconds, of CPU and of the clock, of some further trials of a study that has ``count``."""
    from threadpoolctl import threadpool_limits

    from pipeline.search.study import attributes
    from pipeline.stages.search import _SearchSweep
    from pipeline.support.progress import Progress
    from pipeline.tracking import store
    from pipeline.tracking.step import CURVES_PLOT, parent_run
    from tests.labs import PNG

    search = open_search(database, corpus_config, sampler)
    attributes.set_of_study(search.study, attributes.MLFLOW_STORE, store.identity())
    search.config = search.results.config = SearchConfig(**{**vars(search.config), "trials": count + 1 + most})
    with parent_run("search", "search-bench", {}, None) as run:
        run.picture(CURVES_PLOT, PNG)

        def result(task: Any) -> dict[str, Any]:
            return made_up(task.model, task.train, search.macs_per_char(vars(task.model)), run.id)

        pool = AtOnce(result, seconds)
        sweep = _SearchSweep(search, "free", lambda line: None)
        sweep.run, sweep.pool, sweep.began = run, pool, time.monotonic()
        with Progress("bench") as sweep.bar, threadpool_limits(1, user_api="blas"):
            sweep._train_trials()
        return pool.ms_per_trial()


def main() -> None:
    from pydoc_data.topics import topics

    from pipeline.tracking import store

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", nargs="+", type=int, default=[100, 1000, 5000])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--further", type=int, default=20, help="trials to run on top of each")
    parser.add_argument("--seconds", type=float, default=60, help="start no further one after these")
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
            store.setup()
            for count in options.finished:
                add_trials(open_search(folder / f"{count}.db", corpus_config, "random"), count)
                for sampler in options.samplers:
                    database = folder / f"{count}-{sampler}.db"
                    shutil.copy(folder / f"{count}.db", database)
                    cpu, wall = ms_per_trial(database, corpus_config, sampler, count, options.further, options.seconds)
                    sys.stdout.write(f"{sampler:<11}{count:9,}{cpu:9.1f}{wall:9.1f}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
