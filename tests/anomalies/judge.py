"""What the states of a disk still have of what the store names, and of what was reported: whole, missing or damaged."""

import re
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.anomalies.disk import DATABASES, Disk, Operation, State, is_below

Answers = frozenset[tuple[str, ...]]
# a copy counts as PUSHING until it has its digest
TAGGED = "EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'mlflow.tmlm.pushed.{}')"
STATUS = f"iif({TAGGED.format('from')} AND NOT {TAGGED.format('digest')}, 'PUSHING', runs.status)"
QUERIES = {  # of what a store has; each row is an id, the status of its run, and its folder
    "run": f"SELECT run_uuid, {STATUS}, artifact_uri FROM runs WHERE lifecycle_stage = 'active'",
    "model": f"SELECT model_id, {STATUS}, artifact_location FROM logged_models JOIN runs ON run_uuid = source_run_id "
    "WHERE logged_models.lifecycle_stage = 'active'",
    "page": f"SELECT run_uuid, {STATUS}, artifact_uri FROM runs JOIN tags USING (run_uuid) "
    "WHERE key = 'mlflow.tmlm.page' AND value != ''",
}
LOST = "missing", "damaged"
COMPLETE, GONE = "FINISHED", ("deleted", "")
JOURNAL = re.compile(r"/\.delete-[^/]*\.json$")
# files that are the old or the new one, whole
ATOMIC = re.compile(rf"/mlruns/.*/checkpoints/\w|/cache/.*/\w[^/]*$(?<!lock)|/exported/|{JOURNAL.pattern}")


@dataclass(frozen=True)
class Store:
    """The integrity of a database, and the status and folder of what it has, by kind and id."""

    integrity: str
    rows: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


class Judge:
    """Judges the states of one recording, below the folder ``root``."""

    def __init__(self, root: Path, first: State) -> None:
        self.root, self.first = root, first  # the state before the command
        self.stores: dict[int, Store] = {}
        self.versions: dict[str, set[bytes | str | None]] = {name: {data} for name, data in first.items()}

    def completed(self, name: str, kept: State) -> None:
        """Take note of what got its name by a rename, or was synced: a file has this content, or one of a later one."""
        for each in kept:
            if is_below(each, name):
                self.versions.setdefault(each, set()).add(kept[each])

    def store(self, state: State, file: str) -> Store:
        """Read a database, as the next command would find it."""
        parts = {name: data for name in ("", "-wal", "-journal") if (data := state.get(f"{file}{name}")) is not None}
        if "" not in parts:
            return Store("absent")
        key = hash(tuple(parts.items()))
        if key not in self.stores:
            with tempfile.TemporaryDirectory() as folder:
                for name, data in parts.items():
                    assert isinstance(data, bytes)
                    Path(folder, f"store.db{name}").write_bytes(data)
                self.stores[key] = _read(Path(folder, "store.db"))
        return self.stores[key]

    def answers(self, state: State, kept: State, printed: str, *, is_reported: bool) -> Answers:
        """Judge a state by what was there without a failure (``kept``), and by what was printed until then.

        ``is_reported`` says that something relies on the files from now on: a print, a store, or the command's end.
        """
        return frozenset(self._answers(state, kept, printed, is_reported))

    def _answers(self, state: State, kept: State, printed: str, is_reported: bool) -> Iterator[tuple[str, ...]]:
        is_deleting = any(JOURNAL.search(name) for name in state)  # what is named there may go
        expected = kept if is_deleting else {**self.first, **kept}
        for database in [name for name in kept if name.endswith(".db") and "/." not in name]:
            store = self.store(state, database)
            yield "database", database, store.integrity
            for (kind, id), (status, folder) in store.rows.items():
                yield kind, id, status
                if status == COMPLETE:
                    yield from _incomplete(kind, id, folder, state, expected)
            now = self.store(kept, database).rows
            for kind, id in {*now, *store.rows}:
                (status, folder), found = now.get((kind, id), GONE), store.rows.get((kind, id), GONE)
                name = f"{folder}/page.html" if kind == "page" else id[:8]
                if name in printed and status != found[0]:
                    yield kind, id, f"{status} as reported", "damaged"
        for name, data in kept.items():
            if name.removeprefix(f"{self.root}/") in printed and state.get(name, b"missing") != data:
                yield "printed", name, _how(name, state)
            if is_reported and ATOMIC.search(name) and state.get(name, b"missing") != data:
                yield "reported", name, _how(name, state)
        for name, data in state.items():
            if isinstance(data, bytes) and ATOMIC.search(name) and data not in self.versions.get(name, ()):
                yield "file", name, "damaged"


def _incomplete(kind: str, id: str, folder: str, state: State, kept: State) -> Iterator[tuple[str, ...]]:
    """The files of a run, a logged model or a page that are not as they were."""
    inside = f"{folder}/page.html" if kind == "page" else f"{folder}/"
    for name, data in kept.items():
        last = name.rpartition("/")[2]
        is_named = name.startswith(inside) and not last.startswith(".") and (kind == "page" or last != "page.html")
        if is_named and state.get(name, b"missing") != data:
            yield kind, id, name.removeprefix(folder), _how(name, state)


def _how(name: str, state: State) -> str:
    return "damaged" if name in state else "missing"


def _read(file: Path) -> Store:
    try:
        with closing(sqlite3.connect(file)) as connection:
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            rows = dict[tuple[str, str], tuple[str, str]]()
            for kind, query in QUERIES.items():
                if {"runs", "tags", "logged_models"} <= tables:
                    rows |= {(kind, str(id)): (str(status), folder) for id, status, folder in connection.execute(query)}
            return Store(integrity, rows)
    except sqlite3.Error as error:
        return Store(f"damaged: {error}")


def _loss(answer: tuple[str, ...]) -> str:
    """What was lost, by an answer; nothing if it is none of a loss."""
    kind, name, *_, how = answer
    if kind == "database":
        return "" if how in ("ok", "absent") else f"the database {name} is broken: {how}"
    if how not in LOST:
        return ""
    if kind == "file":
        return f"the file {name} is neither the old nor the new one"
    if kind in ("printed", "reported"):
        return f"the file {name} is {how} after it was {kind}"
    return f"of the {kind} {name}, {answer[2]} is {how}"


@dataclass
class Judgement:
    """The states after every operation: how many, which answers were given, with a state for each, and what is lost.

    What is lost are sentences, each with the states in which it is so.
    """

    states: int = 0
    kinds: dict[Answers, State] = field(default_factory=dict)
    lost: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def judged(root: Path, disk: Disk, done: Sequence[Operation]) -> Judgement:
    """Judge every state after each of the operations that were done to a disk."""
    judge = Judge(root, dict(disk.states())["kept"])
    found, seen, has_failed = Judgement(), set[int](), False
    for number, operation in enumerate(done):
        disk.apply(operation)
        states = dict(disk.states())
        synced = [] if operation.kind not in "SD" else disk.names_of(operation.inode)
        for name in operation.paths[1:] if operation.kind == "R" else synced:
            judge.completed(name, states["data" if synced else "kept"])
        has_failed |= operation.kind == "F"  # then the command ends with an error
        relies = operation.kind == "P" or number == len(done) - 1 or any(name.endswith(DATABASES) for name in synced)
        is_reported = relies and not has_failed
        for kind, state in states.items():
            found.states += 1
            key = hash((frozenset(state.items()), frozenset(states["kept"].items()), disk.printed, is_reported))
            if key in seen:
                continue
            seen.add(key)
            answers = judge.answers(state, states["kept"], disk.printed, is_reported=is_reported)
            found.kinds.setdefault(answers, state)
            for answer in answers:
                if sentence := _loss(answer):
                    found.lost[sentence.replace(f"{root}/", "")].append(f"{kind} at {operation.kind} {number}")
    return found
