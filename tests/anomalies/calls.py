"""Calls that fail once: of each kind of call on each kind of file the first, the last and a drawn one.

Each fails with each error that such a call may give, in an order that a seed decides.
"""

import errno
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from tests.anomalies.disk import Disk, Operation, State, build
from tests.anomalies.judge import judged
from tests.anomalies.lab import AGAIN, Lab, outcome

FILES = [  # patterns of paths: the first that matches is a file's kind
    "*.db-wal", "*.db-journal", "*.db", "*/checkpoints/*", "*/models/m-*", "*/page.html", "*/artifacts/*", "*/cache/*",
    "*/watched/tmp/*", "*/.delete-*", "*.lock", "*exported*",
]  # fmt: skip
SHORT = "short write"
ERRORS = {  # of each kind of operation
    "C": ("ENOSPC", "EMFILE", "EIO"), "W": ("ENOSPC", "EIO", "EINTR", SHORT), "S": ("EIO",), "D": ("EIO",),
    "R": ("EIO", "ENOSPC"), "L": ("EIO",), "M": ("ENOSPC",), "U": ("EIO",), "X": ("EIO",),
}  # fmt: skip
HARMLESS = "EINTR", SHORT  # a program goes on
NOT_MET = "not met"
DOCUMENTED = (0, 1, 2, 3)
Case = tuple[str, str, int, str]  # the kind of a call, the pattern of its file, its number among these, the error


def groups(disk: Disk, done: Sequence[Operation]) -> Counter[tuple[str, str]]:
    """How many calls there are of each kind on files of each kind."""
    found = Counter[tuple[str, str]]()
    for operation in done:
        if operation.kind in ERRORS:
            file = disk.inodes.get(operation.inode)
            named = (name for name, entry in disk.names.items() if entry is file)
            path = next(named, "") if operation.kind in "WSD" else operation.paths[-1]
            if pattern := next((each for each in FILES if fnmatchcase(path, each)), ""):
                found[operation.kind, pattern] += 1
        disk.apply(operation)
    return found


def cases(found: Counter[tuple[str, str]], seed: int) -> list[Case]:
    """The calls that fail, in any order."""
    draw = random.Random(seed)
    numbers = {group: sorted({1, count, draw.randint(1, count)}) for group, count in found.items()}
    every = [(*group, number, error) for group in found for number in numbers[group] for error in ERRORS[group[0]]]
    draw.shuffle(every)
    return every


def meet(lab: Lab, name: str, words: list[str], before: State, case: Case, expected: frozenset[str]) -> Iterator[str]:
    """Meet a case, and run the command again; yields what is not as it should be, "not met", or what is lost."""
    kind, pattern, number, error = case
    count = lab.folder / "count"
    count.unlink(missing_ok=True)
    build(lab.watched, before)
    fault = f"{kind} {pattern} {number} {getattr(errno, error, -1)} {count}"
    disk, operations, done = lab.record(words, RECORDER_FAIL=fault)
    if not count.exists() or count.stat().st_size < number:
        yield NOT_MET
    if "F" in [operation.kind for operation in operations]:
        yield from (f"lost: {each}" for each in judged(lab.watched, disk, operations).lost)
    is_said = "Traceback" not in done.stderr and (not done.returncode or "Error: " in done.stderr)
    if done.returncode not in DOCUMENTED or not is_said or (done.returncode and error in HARMLESS):
        yield f"exit code {done.returncode}: {done.stderr[-600:]}"
    if error not in HARMLESS:
        again = lab.run(words)
        if again.returncode not in [0, *AGAIN.get(name, [])]:
            yield f"again, exit code {again.returncode}: {again.stderr[-600:]}"
    found, running = outcome(lab)
    if running or not expected <= found:
        yield f"running: {running}; missing: {sorted(expected - found)[:5]}; {done.stdout[-300:]} {done.stderr[-300:]}"
