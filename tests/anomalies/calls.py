"""Let one call of a command fail: python -m tests.anomalies.calls [--only COMMAND ...] [--minutes 15] [--seed 0]

Calls are grouped by their kind and the kind of their file. Of each group the first, the last and a drawn one fail, with
each error that such a call may give, in an order that the seed decides, for so many minutes for each command. The
command has to end with a documented exit code and a sentence (after EINTR with 0); the same command then ends
with 0, with no run left RUNNING, and with as many complete runs as without a failure.
"""

import argparse
import errno
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tests.anomalies.disk import Disk, Operation, build
from tests.anomalies.lab import AGAIN, COMMANDS, Lab, complete, stores_of

FILES = [  # patterns of paths: the first that matches is a file's kind
    "*.db-wal", "*.db-journal", "*.db", "*/checkpoints/*", "*/models/m-*", "*/page.html", "*/artifacts/*", "*/cache/*",
    "*/watched/tmp/*", "*/.delete-*", "*.lock", "*/exported/*",
]  # fmt: skip
ERRORS = {  # of each kind of operation
    "C": ("ENOSPC", "EMFILE", "EIO"), "W": ("ENOSPC", "EIO", "EINTR"), "S": ("EIO",), "D": ("EIO",),
    "R": ("EIO", "ENOSPC"), "L": ("EIO",), "M": ("ENOSPC",), "U": ("EIO",), "X": ("EIO",),
}  # fmt: skip
DOCUMENTED = (0, 1, 2, 3)
CREATION = "create"  # is not one of ours, with exit codes and sentences; others create stores
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


def cases(found: Counter[tuple[str, str]], draw: random.Random) -> list[Case]:
    """The calls that fail, in any order."""
    numbers = {group: sorted({1, count, draw.randint(1, count)}) for group, count in found.items()}
    every = [(*group, number, error) for group in found for number in numbers[group] for error in ERRORS[group[0]]]
    draw.shuffle(every)
    return every


def wrong(lab: Lab, name: str, words: list[str], case: Case, wanted: int) -> Iterator[str]:
    """Meet a case, and run the command again; yields what is not as it should be."""
    kind, pattern, number, error = case
    count = lab.folder / "count"
    count.unlink(missing_ok=True)
    given = f"{kind} {pattern} {number} {getattr(errno, error)} {count}"
    done = lab.run(words, **lab.recorder_variables, RECORDER_FAIL=given)
    if not count.exists() or count.stat().st_size < number:
        yield "not met"
    is_said = "Traceback" not in done.stderr and (not done.returncode or "Error: " in done.stderr)
    if done.returncode not in DOCUMENTED or (error == "EINTR" and done.returncode) or not is_said:
        yield f"exit code {done.returncode}: {done.stderr[-600:]}"
    again = lab.run(words)
    if again.returncode not in [0, *AGAIN.get(name, [])]:
        yield f"again, exit code {again.returncode}: {again.stderr[-600:]}"
    runs, running = complete(lab)
    if running or (runs < wanted and name != "delete"):
        yield f"{runs} complete runs of {wanted}; running: {running}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.anomalies.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=COMMANDS, default=[], help="a command; may be repeated")
    parser.add_argument("--minutes", type=float, default=15, help="for each command")
    parser.add_argument("--seed", type=int, default=0)
    given, broken = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder).resolve())
        for name, words, state in stores_of(lab, given.only or sorted({*COMMANDS} - {CREATION})):
            build(lab.watched, state)
            disk, done = lab.record(words)
            wanted, found = complete(lab)[0], groups(disk, done)
            every = cases(found, random.Random(given.seed))
            deadline, tried, unmet = time.monotonic() + 60 * given.minutes, 0, 0
            for case in every:
                if time.monotonic() > deadline:
                    break
                build(lab.watched, state)
                said = [*wrong(lab, name, words, case, wanted)]
                tried, unmet = tried + 1, unmet + ("not met" in said)
                if said := [each for each in said if each != "not met"]:
                    broken += 1
                    sys.stdout.write(f"  {name} {' '.join(map(str, case))}: {'; '.join(said)}\n")
            counts = f"{len(found)} groups, {tried} of {len(every)} cases, {unmet} not met"
            sys.stdout.write(f"{name}: {counts}, {broken} broken so far\n")
            sys.stdout.flush()
    return broken > 0


if __name__ == "__main__":
    sys.exit(main())
