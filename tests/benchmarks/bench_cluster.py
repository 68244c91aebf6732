"""How far one driver goes: what a finished trial costs the process that asks and tells.

    python -m tests.benchmarks.bench_cluster [--finished 100 1000 5000] [--samplers known-cost ...]

Runs the search's own loop on a study that has that many finished trials, with MLflow's server on the loopback
interface, in which every training ends at once with a made-up result. It prints the driver's CPU milliseconds per
trial, and which of them are the sampler's, Optuna's storage's (an SQLite file) and MLflow's.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from io import BytesIO
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


class Shares:
    """CPU seconds of this process and seconds by part, each without those of the parts that it calls."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.wall: defaultdict[str, float] = defaultdict(float)
        self._part, self._since = "rest", (time.process_time(), time.monotonic())

    def _enter(self, part: str) -> str:
        now, before = (time.process_time(), time.monotonic()), self._part
        self.cpu[before] += now[0] - self._since[0]
        self.wall[before] += now[1] - self._since[1]
        self._part, self._since = part, now
        return before

    def stop(self) -> None:
        """Count what has passed since the last call."""
        self._enter(self._part)

    def count(self, part: str, owner: Any, *names: str) -> None:
        """Count the functions ``names`` of a class or module towards a part."""

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                before = self._enter(part)
                try:
                    return function(*args, **kwargs)
                finally:
                    self._enter(before)

            return call

        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))


class AtOnce:
    """A pool in which each training ends at once, until the time is up; the first one does not count."""

    count = 1

    @property
    def slots(self) -> dict[str, int]:
        return {"": 1}

    def __init__(self, shares: Shares, result: Callable[[Any], dict[str, Any]], seconds: float) -> None:
        self._shares, self._result, self._seconds = shares, result, seconds
        self._task: Any = None
        self.done = -1
        self.until = time.monotonic() + seconds

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
            self._shares.clear()

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

    from pipeline.search.study import dashboard
    from pipeline.search.study.samplers import distributions, draw
    from pipeline.search.study.trials import RESULT

    done = len(search.results.trials())
    ids = search.storage
    for number in range(done, count):
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


def make_studies(folder: Path, corpus_config: CorpusConfig, counts: Sequence[int]) -> None:
    """Make an SQLite file with a study for each number of finished trials, where there is none."""
    from sqlalchemy import event

    if all((folder / f"{count}.db").exists() for count in counts):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growing.db").unlink(missing_ok=True)
    search = open_search(folder / "growing.db", corpus_config, "random")
    event.listen(search.storage.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    search.storage.engine.dispose()
    for count in sorted(counts):
        add_trials(search, count)
        shutil.copy(folder / "growing.db", folder / f"{count}.db")


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
    from tests.checkout import free_port

    port = free_port()
    environment = {**os.environ, **server.environment(f"sqlite:///{folder}/mlflow.db")}
    command = server.command("server", HOST, port, 2, "--artifacts-destination", str(folder / "artifacts"))
    process = subprocess.Popen(command, env=environment, cwd=folder)
    os.environ["MLFLOW_TRACKING_URI"] = address = f"http://{HOST}:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                break
        yield
    finally:
        process.terminate()
        process.wait()


def count_parts(shares: Shares) -> None:
    """Let the sampler, the storage and MLflow be counted apart."""
    from optuna.samplers import GPSampler, RandomSampler, TPESampler
    from optuna.storages import RDBStorage
    from optuna.storages._cached_storage import _CachedStorage

    from pipeline.search.known_cost.sampler import KnownCostSampler
    from pipeline.tracking import recorded
    from pipeline.tracking.runs import TrackedRun

    for sampler in (KnownCostSampler, GPSampler, RandomSampler, TPESampler):
        shares.count("sampler", sampler, "infer_relative_search_space", "sample_relative", "sample_independent")
        shares.count("sampler", sampler, "before_trial", "after_trial")
    for storage in (_CachedStorage, RDBStorage):
        named = [name for name in vars(storage) if name.startswith(("get_", "set_", "create_", "_get_trials"))]
        shares.count("storage", storage, *named)
    shares.count("MLflow", TrackedRun, "metrics")
    shares.count("MLflow", recorded, "artifact_path")


def trials_row(database: Path, corpus_config: CorpusConfig, sampler: str, count: int, most: int, seconds: float) -> str:
    """Run some further trials of the study in a file, which has ``count``; returns a row of the table."""
    from threadpoolctl import threadpool_limits

    from pipeline.search.study import attributes
    from pipeline.stages.search import _SearchSweep
    from pipeline.support.progress import search_progress
    from pipeline.tracking import store
    from pipeline.tracking.step import CURVES_PLOT, parent_run

    search = open_search(database, corpus_config, sampler)
    attributes.set_of_study(search.study, attributes.MLFLOW_STORE, store.identity())
    search.config = search.results.config = SearchConfig(**{**vars(search.config), "trials": count + 1 + most})
    with parent_run("search", "search-bench", {}, None) as run:
        run.picture(CURVES_PLOT, picture())

        def result(task: Any) -> dict[str, Any]:
            return made_up(task.model, task.train, search.macs_per_char(vars(task.model)), run.id)

        pool = AtOnce(SHARES, result, seconds)
        sweep = _SearchSweep(search, "free", lambda line: None)
        sweep.run, sweep.pool, sweep.began = run, pool, time.monotonic()
        with search_progress("bench", 1) as sweep.bar, threadpool_limits(1, user_api="blas"):
            sweep._train_trials()
        done = pool.done
    SHARES.stop()
    return f"{sampler:<11}{count:9,}{done:8}" + "".join(
        f"{1000 * seconds / done:9.1f}"
        for spent in (SHARES.cpu, SHARES.wall)
        for seconds in (sum(spent.values()), *(spent[part] for part in PARTS))
    )


def picture() -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (600, 400)).save(file, "PNG")
    return file.getvalue()


SHARES = Shares()
PARTS = ("sampler", "storage", "MLflow", "rest")


def trials(
    finished: Sequence[int], samplers: Sequence[str], further: int, seconds: float, studies: Path | None
) -> None:
    """Print the table of the driver's work per trial."""
    from pydoc_data.topics import topics

    from pipeline.tracking import store

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "mlruns").mkdir()
        store.root = lambda: folder
        text = folder / "text.txt"
        text.write_text("\n".join(topics[name] for name in sorted(topics))[:200_000], encoding="utf-8")
        corpus_config = CorpusConfig(str(text))
        studies = studies or folder / "studies"
        make_studies(studies, corpus_config, finished)
        count_parts(SHARES)
        columns = "".join(f"{name:>9}" for name in ("all", *PARTS))
        sys.stdout.write(f"milliseconds per trial      {'CPU':<45}wall\n")
        sys.stdout.write(f"sampler     finished  trials{columns}{columns}\n")
        with mlflow_server(folder):
            store.setup()
            for sampler in samplers:
                for count in finished:
                    shutil.copy(studies / f"{count}.db", folder / "study.db")
                    sys.stdout.write(
                        trials_row(folder / "study.db", corpus_config, sampler, count, further, seconds) + "\n"
                    )
                    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", nargs="+", type=int, default=[100, 1000, 5000])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--further", type=int, default=20, help="trials to run on top of each")
    parser.add_argument("--seconds", type=float, default=60, help="start no further one after these")
    parser.add_argument("--studies", type=Path, help="keep those with finished trials in this folder, to use again")
    trials(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
