"""Lose what was not synced, at every operation of every command.

python -m tests.anomalies [--only COMMAND ...] [--minutes 15]

A command runs once, and what it does to the disk is recorded (``recorder.c``). After each operation the disk is judged
as four kinds of failure would leave it (``disk.py``, ``judge.py``): nothing that was reported, and no file of a
complete run, may be lost. One state of each kind of answer is then built, and the same command, `tmlm doctor` and
`tmlm runs` have to end with 0 there, with no run left RUNNING, and with as many complete runs as without a failure; for
as many states as the minutes allow.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.anomalies.disk import Disk, Operation, State, build
from tests.anomalies.judge import Answers, Judge
from tests.anomalies.lab import AGAIN, COMMANDS, TMLM, Lab, complete, stores_of


@dataclass
class Found:
    """What a recording came to."""

    operations: int
    states: int = 0
    distinct: int = 0
    kinds: int = 0
    reruns: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        states = f"{self.states} states ({self.distinct} distinct)"
        counts = f"{self.operations} operations, {states}, {self.reruns} of {self.kinds} run again"
        wrong = [f"lost: {what} ({count})" for what, count in self.lost.most_common()] + self.broken
        return "\n  ".join([counts, *wrong[:20]])


def judged(lab: Lab, disk: Disk, done: list[Operation]) -> tuple[Found, dict[Answers, State]]:
    """Judge every state after every operation; returns the counts, and a state for each kind of answer."""
    judge = Judge(lab.watched, dict(disk.states())["kept"])
    found, seen, kinds = Found(len(done)), set[int](), dict[Answers, State]()
    for number, operation in enumerate(done):
        disk.apply(operation)
        states = dict(disk.states())
        if operation.kind == "R":
            judge.renamed(operation.paths[1], states["kept"])
        for kind, state in states.items():
            found.states += 1
            key = hash((frozenset(state.items()), frozenset(states["kept"].items()), disk.printed))
            if key in seen:
                continue
            seen.add(key)
            answers = judge.answers(state, states["kept"], disk.printed)
            kinds.setdefault(answers, state)
            for answer in answers:
                is_broken = answer[0] == "database" and answer[-1] not in ("ok", "absent")
                if is_broken or answer[0] == "reported" or answer[-1] in ("missing", "damaged"):
                    found.lost[f"{kind} at {operation.kind} {number}: {' '.join(answer)}"] += 1
    found.distinct = len(seen)
    return found, kinds


def run_again(
    lab: Lab, name: str, words: list[str], kinds: dict[Answers, State], wanted: int, found: Found, deadline: float
) -> None:
    """Build a state of each kind until the deadline, and look at how the same command and two others end there."""
    found.kinds = len(kinds)
    for answers, state in kinds.items():
        if time.monotonic() > deadline:
            return
        build(lab.watched, state)
        (lab.watched / "tmp").mkdir(exist_ok=True)
        found.reruns += 1
        for command in (words, [*TMLM, "doctor"], [*TMLM, "runs"]):
            done = lab.run(command)
            if done.returncode not in [0, *(AGAIN.get(name, []) if command is words else [])]:
                found.broken.append(f"{' '.join(command[2:])}: exit code {done.returncode}: {done.stderr[-300:]}")
        runs, running = complete(lab)
        if running or (runs < wanted and name != "delete"):
            found.broken.append(f"{runs} complete runs of {wanted}; running: {running}; after {sorted(answers)[:3]}")


def anomalies(folder: Path, only: Sequence[str], minutes: float) -> dict[str, Found]:
    """Record and judge each command, and run it again from states of each kind for so many minutes in all."""
    deadline, lab, results = time.monotonic() + 60 * minutes, Lab(folder), dict[str, Found]()
    for name, words, state in stores_of(lab, only):
        build(lab.watched, state)
        disk, done = lab.record(words)
        wanted = complete(lab)[0]
        results[name], kinds = judged(lab, disk, done)
        run_again(lab, name, words, kinds, wanted, results[name], deadline)
        sys.stdout.write(f"{name}: {results[name]}\n")
        sys.stdout.flush()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.anomalies", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=COMMANDS, default=[], help="a command; may be repeated")
    parser.add_argument("--minutes", type=float, default=15, help="for running commands again")
    with tempfile.TemporaryDirectory() as folder:
        given = parser.parse_args()
        results = anomalies(Path(folder).resolve(), given.only, given.minutes)
    return any(found.lost or found.broken for found in results.values())


if __name__ == "__main__":
    sys.exit(main())
