"""Lose what was not synced at every operation of a command, and let its calls fail.

python -m tests.anomalies [--only COMMAND ...] [--minutes 5 | --all] [--seed 0] [--folder mlruns/anomalies]

A command runs once, and what it does to the disk is recorded (``recorder.c``). After each operation the disk is judged
as four kinds of failure would leave it (``disk.py``, ``judge.py``): nothing that was reported, and no file of a
complete run, may be lost. One state of each kind of answer is then built, and the same command, `tmlm doctor` and
`tmlm runs` have to end with 0 there.

Then calls fail (``calls.py``), for so many minutes of each command, or all. The command has to end with a documented
exit code and a sentence, and the same command then with 0; after an interrupted call and a short write, the first ends
with 0. After a sync that failed, the states are judged, too. At the end, no run may be left RUNNING, and what a command
without a failure records must be there.

cases.jsonl in the folder has a line for each call; the next command leaves out those that did not break.
"""

import json
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from tests.anomalies.calls import NOT_MET, cases, groups, meet
from tests.anomalies.disk import Disk, Operation, State, build
from tests.anomalies.judge import Judgement, judged
from tests.anomalies.lab import AGAIN, COMMANDS, Lab, outcome, serve, states_before
from tests.checkout import ROOT
from tests.fault_cells import Cell, add


@dataclass(frozen=True)
class Recording:
    """A command without a failure: what it does to the disk, and what it leaves there each time."""

    name: str
    words: list[str]
    before: State
    disk: Disk
    operations: list[Operation]
    expected: frozenset[str]


def record(lab: Lab, name: str, words: list[str], before: State) -> Recording:
    outcomes = []
    for _ in range(2):
        build(lab.watched, before)
        disk, operations, done = lab.record(words)
        assert not done.returncode, f"{name}: exit code {done.returncode}: {done.stderr}"
        outcomes.append(outcome(lab)[0])
    return Recording(name, words, before, disk, operations, outcomes[0] & outcomes[1])


def run_again(lab: Lab, recording: Recording, found: Judgement) -> Iterator[str]:
    """Build a state of each kind, and yield how the same command and two others end there, if not as they should."""
    for answers, state in found.kinds.items():
        build(lab.watched, state)
        (lab.watched / "tmp").mkdir(exist_ok=True)
        for words in (recording.words, ["doctor"], ["runs"]):
            done = lab.run(words)
            if done.returncode not in [0, *(AGAIN.get(recording.name, []) if words is recording.words else [])]:
                yield f"{words[0]}: exit code {done.returncode}: {done.stderr[-300:]}; after {sorted(answers)[:3]}"
        recorded, running = outcome(lab)
        if running or not recording.expected <= recorded:
            missing = sorted(recording.expected - recorded)[:5]
            yield f"running: {running}; missing: {missing}; after {sorted(answers)[:3]}"


def fail_calls(lab: Lab, recording: Recording, given: Namespace) -> tuple[str, int]:
    """Let calls of a command fail, but those that are in the folder; returns how many did, and how many broke it."""
    file, deadline, name = given.folder / "cases.jsonl", time.monotonic() + 60 * given.minutes, recording.name
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = [line["case"] for line in lines if line["command"] == name and not line["broken"]]
    found, is_broken = groups(deepcopy(recording.disk), recording.operations), 0
    every = cases(found, given.seed)
    for case in [case for case in every if list(case) not in done]:
        if time.monotonic() > deadline and not given.all:
            break
        wrong = [*meet(lab, name, recording.words, recording.before, case, recording.expected)]
        broken, is_met = [each for each in wrong if each != NOT_MET], NOT_MET not in wrong
        done.append(list(case))
        with file.open("a") as out:
            out.write(json.dumps({"command": name, "case": case, "broken": broken, "is_met": is_met}) + "\n")
        if broken or is_met:
            lost = [each for each in broken if each.startswith("lost")]
            add(name, f"a call fails: {case[-1]}", Cell(1, bool(broken), bool(lost)))
        if broken:
            is_broken += 1
            sys.stdout.write(f"  {name} {' '.join(map(str, case))}: {'; '.join(broken)}\n")
            sys.stdout.flush()
    tried = [case for case in every if list(case) in done]
    return f"{len(found)} groups of calls, {len(tried)} of {len(every)} cases, {is_broken} broken", is_broken


def fail_power(lab: Lab, recording: Recording) -> tuple[str, Cell]:
    """Judge all states of a recording, and run the command again in one of each kind; returns what was found, too."""
    found = judged(lab.watched, deepcopy(recording.disk), recording.operations)
    broken = [*run_again(lab, recording, found)]
    wrong = [f"lost: {what} ({len(states)} states, first {states[0]})" for what, states in found.lost.items()] + broken
    counts = f"{len(recording.operations)} operations, {found.states} states of {len(found.kinds)} kinds"
    return "\n  ".join([counts, *wrong[:20]]), Cell(found.states, len(broken), sum(map(len, found.lost.values())))


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.anomalies", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=COMMANDS, default=[], help="a command; may be repeated")
    parser.add_argument("--minutes", type=float, default=5, help="for the calls of each command that fail")
    parser.add_argument("--all", action="store_true", help="let all of them fail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "mlruns" / "anomalies")
    given, is_broken = parser.parse_args(), False
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder).resolve()) as lab:
        before, port = states_before(lab), serve(lab)
        for name in given.only or COMMANDS:
            words = [word.format(port=port) for word in COMMANDS[name]]
            recording = record(lab, name, words, before(name))
            said, cell = fail_power(lab, recording)
            add(name, "power failure", cell, replaces=True)
            sys.stdout.write(f"{name}: {said}\n")
            said, broken_calls = fail_calls(lab, recording, given)
            sys.stdout.write(f"{name}: {said}\n")
            sys.stdout.flush()
            is_broken |= bool(cell.lost or cell.broken or broken_calls)
    return is_broken


if __name__ == "__main__":
    sys.exit(main())
