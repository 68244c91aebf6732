"""The trainings of the store as rows of plain values, newest first."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice

from pipeline.tracking.liveness import state_of
from pipeline.tracking.records import figures, tag, tags_of
from pipeline.tracking.store import setup, store_errors

# isort: split

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

PAGE = 200  # runs in one request

STATES = {"FINISHED": "finished", "RUNNING": "running", "KILLED": "stopped"}  # any other status: failed


@dataclass(frozen=True)
class RunRow:
    """One training as it was recorded; None or "" for what it has not recorded (yet)."""

    run_id: str
    name: str
    corpus: str
    corpus_sha256: str
    cell: str
    num_layers: int | None
    hidden_size: int | None
    seed: int | None
    preset: str
    val_perplexity: float | None
    test_perplexity: float | None
    macs_per_char: int | None
    parameters: int | None
    train_seconds: float | None
    state: str  # finished, running, stopped, failed or died (RUNNING, but its process is gone)
    study: str
    config_id: str
    started_ms: int
    ended_ms: int | None


def run_rows(search: str = "", corpus: str = "", limit: int | None = None) -> list[RunRow]:
    """The trainings of the store: the running ones, then the others by the time at which they ended, latest first.

    ``search`` selects those that have each of its words in their name, id, text or study, ignoring case; ``corpus``
    those on the text of this name or sha256. ``limit`` is the largest number of rows.
    """
    words = search.lower().split()
    rows = (_row(run) for run in _trainings())
    chosen = (row for row in rows if corpus in ("", row.corpus, row.corpus_sha256) and _has(row, words))
    return list(islice(chosen, limit))


def _has(row: RunRow, words: list[str]) -> bool:
    """Whether each of the words is part of one of the row's texts."""
    texts = [text.lower() for text in (row.name, row.run_id, row.corpus, row.study)]
    return all(any(word in text for text in texts) for word in words)


def _trainings() -> Iterator[Run]:
    running = _search("attributes.status = 'RUNNING'", "attributes.start_time DESC")
    ended = _search("attributes.status != 'RUNNING'", "attributes.end_time DESC")
    return chain(running, ended)


def _search(condition: str, order: str) -> Iterator[Run]:
    """The trainings that meet a condition, read page by page as they are needed."""
    store, client = setup(), MlflowClient()
    query, token = f"tags.stage = 'train' and {condition}", None
    while True:
        with store_errors():
            page = client.search_runs([store.experiment_id], query, 1, PAGE, [order], token)
        yield from page
        if not (token := page.token):
            return


def _row(run: Run) -> RunRow:
    info, params, tags = run.info, run.data.params, run.data.tags

    def count(name: str) -> int | None:
        with suppress(KeyError, ValueError, OverflowError):  # mlflow run records what was given, whatever it is
            return int(float(params[name]))
        return None

    metrics = figures(run)
    macs, parameters = metrics.get("size/macs_per_char"), metrics.get("size/parameters")
    return RunRow(
        run_id=info.run_id,
        name=info.run_name,
        corpus=tags.get("corpus", ""),
        corpus_sha256=tag(run, "corpus.sha256"),
        cell=params.get("cell", ""),
        num_layers=count("num_layers"),
        hidden_size=count("hidden_size"),
        seed=count("seed"),
        preset=params.get("preset", ""),
        val_perplexity=metrics.get("result/val_perplexity"),
        test_perplexity=metrics.get("result/test_perplexity"),
        macs_per_char=None if macs is None else int(macs),
        parameters=None if parameters is None else int(parameters),
        train_seconds=metrics.get("speed/train_seconds"),
        state=_state(run),
        study=tags.get("study", ""),
        config_id=tags.get("config_id", ""),
        started_ms=info.start_time,
        ended_ms=info.end_time,
    )


def _state(run: Run) -> str:
    if run.info.status == "RUNNING" and state_of(tags_of(run)) == "gone":
        return "died"
    if tag(run, "failure").startswith("stopped by "):  # `mlflow run` changes KILLED to FAILED
        return "stopped"
    return STATES.get(run.info.status, "failed")
