"""Inject faults into real commands in copies of the project, and check that the same command again loses nothing.

python -m tests.faults [--minutes 5] [--seed 0] [--only search]

Each fault meets a command in a fresh store. Afterwards the same command (of a training, --resume) must end with 0, with
every training finished once, and with weights, metric histories and sample texts that are those of a command without a
fault, bit for bit. No run may stay RUNNING. A command that ends by itself must do so with a message, the right exit
code and in time. A fault that comes too late is missed: it counts as neither survived nor lost.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import optuna
import psutil
import torch
from optuna.trial import FrozenTrial

from pipeline.search.study.attributes import PREFIX
from pipeline.training.checkpoints import load_checkpoint
from tests.checkout import Checkout

CLOCK_METRICS = ("training/seconds", "speed/train_seconds", "speed/chars_per_second")
IN_TIME_SECONDS = 5.0  # from a signal to the end of all processes
COMMAND_SECONDS = 240  # after which a command counts as hanging
SEARCH_TRIALS = 4
SEARCH = ["--trials", str(SEARCH_TRIALS), "--epochs", "2", "--cell", "rnn,gru", "--hidden-size", "4..9",
          "--num-layers", "1", "--confirm-seeds", "2", "--workers", "2"]  # fmt: skip
TRAINING = ["--corpus", "text.txt", "--cell", "gru", "--hidden-size", "24", "--epochs", "12", "--batch-size", "16"]
COMMANDS = {
    "train": TRAINING,
    "pipeline": TRAINING,
    "search": ["--corpus", "text.txt", *SEARCH],
    "reproduce": ["--quick", "--only", "*-scratch-1x8", "--workers", "2"],  # needs the book
}


@dataclass(frozen=True)
class Fault:
    """A command, and an action: at a moment of ``tests.fault_points``, or without one, a signal while it trains.

    A moment is met at a random time, up to the ``number``-th.
    """

    command: str
    action: str = "kill"
    moment: str = ""
    number: int = 1
    under_mlflow: bool = False

    def __str__(self) -> str:
        command = f"mlflow run -e {self.command}" if self.under_mlflow else self.command
        return f"{command}: {self.action} {f'at {self.moment}' if self.moment else 'while it trains'}"

    def words(self, number: int | None = None) -> list[str]:
        """The command line, with the fault at the ``number``-th time of its moment if that is given."""
        options = COMMANDS[self.command]
        if self.under_mlflow:
            pairs = zip(options[::2], options[1::2], strict=True)
            given = [f"{option.removeprefix('--').replace('-', '_')}={value}" for option, value in pairs]
            entry = "main" if self.command == "pipeline" else self.command
            parameters = [word for each in given for word in ("-P", each)]
            return ["mlflow", "run", ".", "--env-manager", "local", "-e", entry, *parameters]
        module = ["pipeline"] if number is None else ["tests.fault_points", self.moment, str(number), self.action]
        return [sys.executable, "-m", *module, self.command, *options]


FAULTS = [
    Fault("train", "kill", "step", 30),
    Fault("train", "kill", "half a checkpoint", 11),
    Fault("train", "full", "figures", 4),
    Fault("train", "kill", "result"),
    Fault("train", "SIGINT"),
    Fault("pipeline", "kill", "figures", 4),
    Fault("pipeline", "kill", "model"),
    Fault("pipeline", "SIGINT", under_mlflow=True),
    Fault("pipeline", "SIGKILL", under_mlflow=True),
    Fault("search", "kill", "asked", 6),
    Fault("search", "kill", "trial/figures", 2),
    Fault("search", "kill", "registered"),
    Fault("search", "SIGTERM"),
    Fault("reproduce", "kill", "submitted", 4),
    Fault("reproduce", "SIGINT"),
    Fault("reproduce", "SIGKILL"),
    Fault("reproduce", "kill", "result"),
]


class LostError(Exception):
    """A fault was not survived; the message says how."""


class MissedError(Exception):
    """A fault came too late."""


def demand(holds: bool, what: str) -> None:
    """Raise LostError with this message unless the condition holds."""
    if not holds:
        raise LostError(what)


@dataclass
class Ended:
    """A command that is over."""

    pid: int
    code: int
    output: str
    seconds: float


@dataclass
class Outcome:
    """Everything that a training recorded, except times."""

    tensors: dict[str, torch.Tensor] = field(repr=False)
    metrics: list[tuple[str, int, float]] = field(repr=False)
    texts: dict[str, str] = field(repr=False)

    def equals(self, other: "Outcome") -> bool:
        same = self.tensors.keys() == other.tensors.keys()
        same = same and all(torch.equal(self.tensors[name], tensor) for name, tensor in other.tensors.items())
        return same and (self.metrics, self.texts) == (other.metrics, other.texts)


Known = dict[tuple[str, str], Outcome]
"""What a training recorded in another store, by its configuration and seed."""


class Lab:
    """A copy of the project with one store, in which faults are injected."""

    def __init__(self, folder: Path) -> None:
        self.checkout = Checkout(folder)
        text = "\n".join(topics[name] for name in sorted(topics))[:30_000]
        (self.checkout.folder / "text.txt").write_text(text, encoding="utf-8")
        self.environment = dict(self.checkout.environment)
        if data := os.environ.get("TMLM_DATA_DIR"):
            self.environment["TMLM_DATA_DIR"] = data
        self.started: list[subprocess.Popen[str]] = []
        self.perplexities: dict[tuple[str, str], tuple[str, float]] = {}  # configuration and seed -> study, validation

    def start(self, words: list[str], group: bool = False) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words,
            cwd=self.checkout.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=group,
        )
        self.started.append(process)
        return process

    def wait(self, process: subprocess.Popen[str]) -> Ended:
        began = time.monotonic()
        output, _ = process.communicate(timeout=COMMAND_SECONDS)
        return Ended(process.pid, process.returncode, output, time.monotonic() - began)

    def add_store(self, database: Path) -> None:
        """Start from a copy of this database, as a command takes seconds to create one."""
        self.checkout.database.parent.mkdir(exist_ok=True)
        shutil.copy(database, self.checkout.database)

    def kill_all(self) -> None:
        """Kill the process groups that are still running."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                self.wait(process)

    def artifacts(self, run_id: str) -> Path:
        return Path(str(self.checkout.query("SELECT artifact_uri FROM runs WHERE run_uuid=?", run_id)[0][0]))

    def outcome(self, run_id: str) -> Outcome:
        rows = self.checkout.query("SELECT key, step, value FROM metrics WHERE run_uuid=?", run_id)
        folder = self.artifacts(run_id)
        return Outcome(
            load_checkpoint(folder / "checkpoints" / "last.safetensors")[0],
            sorted(row for row in rows if row[0] not in CLOCK_METRICS),
            {file.name: file.read_text() for file in (folder / "samples").iterdir()},
        )

    def is_training(self) -> bool:
        try:
            return bool(self.checkout.query("SELECT 1 FROM metrics WHERE key='perplexity/val'"))
        except sqlite3.OperationalError:  # there is no store yet
            return False

    def check(self, command: str, known: Known) -> None:
        """Check that all runs have ended, each training once, and as in other stores; raises LostError."""
        runs = self.checkout.runs()
        states = [(run["name"], run["status"]) for run in runs]
        demand("RUNNING" not in [status for _, status in states], f"left {states}")
        own = [run["status"] for run in runs if run["tags"].get("stage") == command]
        is_new_run = command == "pipeline"  # which the same command again starts; others reopen theirs
        demand(own == ["FINISHED"] or (is_new_run and own[-1:] == ["FINISHED"]), f"not one finished run: {states}")
        trained: set[tuple[str, str]] = set()
        for run in runs:
            if run["tags"].get("stage") == "train" and run["status"] == "FINISHED":
                key = (run["tags"]["config_id"], run["params"]["seed"])
                demand(key not in trained, f"trained twice: {run['name']}")
                trained.add(key)
                outcome = self.outcome(run["id"])
                demand(known.setdefault(key, outcome).equals(outcome), f"another outcome than without fault: {run}")
        if command == "search":
            check_search(self, "search")


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The running descendants of a process; empty if it has ended."""
    return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []


def inject(lab: Lab, fault: Fault, known: Known, draw: random.Random | None = None) -> None:
    """Inject a fault, run the command again and check; raises LostError or MissedError.

    ``draw`` chooses the moment; by default it is the latest, and the first second of a training.
    """
    number = None if not fault.moment else fault.number if draw is None else draw.randint(1, fault.number)
    process, children = lab.start(fault.words(number), group=True), []
    if not fault.moment:
        until = time.monotonic() + COMMAND_SECONDS
        while process.poll() is None and not lab.is_training() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.0 if draw is None else draw.uniform(0.0, 3.0))
        children = below(process)
        to_all = fault.action == "SIGINT" or fault.under_mlflow
        if process.poll() is None:
            (os.killpg if to_all else os.kill)(process.pid, signal.Signals[fault.action])
    done = lab.wait(process)
    if (done.code == 0 and "/" not in fault.moment) or "was met 0 times" in done.output:
        raise MissedError
    codes = {"kill": -9, "SIGKILL": -9, "full": 1, "SIGINT": 130, "SIGTERM": 143}
    expected = 0 if "/" in fault.moment else codes[fault.action]  # a search survives the death of a worker
    demand(done.code == expected or fault.under_mlflow, f"ended with {done.code}, not {expected}:\n{done.output}")
    demand("Traceback" not in done.output or fault.under_mlflow, f"a traceback:\n{done.output}")
    in_time = IN_TIME_SECONDS * (2 if fault.under_mlflow else 1)  # mlflow ends after its child
    demand(fault.moment != "" or done.seconds < in_time, f"ended only after {done.seconds:.1f} s")
    _, left = psutil.wait_procs(children, timeout=max(0.0, in_time - done.seconds))
    alive = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    demand(not alive, f"still there: {alive}")

    words = fault.words()
    if fault.command == "train":
        runs = lab.checkout.query("SELECT run_uuid FROM runs")
        if not runs:
            raise MissedError
        words = [sys.executable, "-m", "pipeline", "train", "--resume", runs[0][0]]
    again = lab.wait(lab.start(words, group=True))
    demand(again.code == 0, f"the same command again ended with {again.code}:\n{again.output}")
    lab.check(fault.command, known)


def learn(lab: Lab, command: str, known: Known) -> None:
    """Run a command without a fault, and keep what its trainings recorded."""
    done = lab.wait(lab.start(Fault(command).words(), group=True))
    demand(done.code == 0, f"without any fault:\n{done.output}")
    lab.check(command, known)


# --- what a search has recorded ---------------------------------------------------------------------------------------


def trials_of(lab: Lab, study: str) -> list[FrozenTrial]:
    """The trials of a study, by number."""
    return optuna.load_study(study_name=study, storage=f"sqlite:///{lab.checkout.folder}/mlruns/optuna.db").trials


def attributes(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's attributes of users and of the system, by their bare names."""
    return {name.removeprefix(PREFIX): value for name, value in (trial.user_attrs | trial.system_attrs).items()}


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that a search counts: complete, and not a repeat of an earlier one."""
    return [trial for trial in trials if trial.state.name == "COMPLETE" and "repeats" not in attributes(trial)]


def check_search(lab: Lab, study: str, trials: int = SEARCH_TRIALS, seeds: int = 2) -> None:
    """Check a search that has ended, whatever faults it had; raises LostError."""
    all_trials = trials_of(lab, study)
    runs = [run for run in lab.checkout.runs() if run["tags"].get("study") == study]
    complete = counted(all_trials)
    demand(len(complete) == trials, f"{len(complete)} trials, not {trials}: {all_trials}")
    open_trials = [trial for trial in all_trials if not trial.state.is_finished()]
    demand(not open_trials, f"not ended: {open_trials}")
    configurations = [tuple(sorted(trial.params.items())) for trial in complete]
    demand(len(set(configurations)) == len(complete), f"a configuration is there twice: {configurations}")
    demand(not [run for run in runs if run["status"] == "RUNNING"], f"RUNNING: {runs}")
    parents = [run for run in runs if run["tags"]["stage"] == "search"]
    demand([run["status"] for run in parents] == ["FINISHED"], f"not one finished search: {parents}")
    finished = [run for run in runs if run["tags"]["stage"] == "train" and run["status"] == "FINISHED"]
    demand(
        {run["tags"]["mlflow.parentRunId"] for run in finished} == {parents[0]["id"]},
        f"not nested in {parents[0]['id']}: {finished}",
    )
    trained = [(run["tags"]["config_id"], run["params"]["seed"]) for run in finished]
    demand(len(set(trained)) == len(trained), f"trained twice: {finished}")
    of_trials = {attributes(trial)["run_id"] for trial in complete}
    demand(of_trials <= {run["id"] for run in finished}, f"trials without a finished run: {of_trials} of {finished}")
    result = json.loads((lab.artifacts(parents[0]["id"]) / "result.json").read_text())
    for pick in result["picks"].values():
        (runs_of_pick,) = [member["run_ids"] for member in result["front"] if pick["run_id"] in member["run_ids"]]
        demand(len(set(runs_of_pick)) == seeds, f"not {seeds} runs of each pick: {result['front']}")
    for run in finished:
        value = json.loads((lab.artifacts(run["id"]) / "result.json").read_text())["val_perplexity"]
        elsewhere, same = lab.perplexities.setdefault((run["tags"]["config_id"], run["params"]["seed"]), (study, value))
        demand(value == same, f"{run}: validation perplexity {value}, but {same} in {elsewhere}")


# --- the table -------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job and its children would ignore it
    has_book = bool(os.environ.get("TMLM_DATA_DIR"))
    faults = [each for each in FAULTS if options.only in str(each) and (has_book or each.command != "reproduce")]
    draw, counts, lost = random.Random(options.seed), Counter[tuple[str, str]](), list[str]()
    until, known = time.monotonic() + 60 * options.minutes, dict[str, Known]()
    while time.monotonic() < until:
        fault = min(draw.sample(faults, len(faults)), key=lambda each: sum(counts[str(each), how] for how in HOW))
        folder = Path(tempfile.mkdtemp(prefix="tmlm-faults-"))
        how = "survived"
        try:
            if fault.command not in known:
                learn(Lab(folder / "without"), fault.command, known.setdefault(fault.command, {}))
            inject(Lab(folder / "with"), fault, known[fault.command], draw)
        except MissedError:
            how = "missed"
        except (LostError, subprocess.TimeoutExpired, OSError, KeyError, psutil.Error, sqlite3.Error) as error:
            how = "lost"
            lost.append(f"{fault} (store kept in {folder}): {type(error).__name__}: {error}")
        counts[str(fault), how] += 1
        if how != "lost":
            shutil.rmtree(folder)
    width = max(len(str(fault)) for fault in faults)
    lines = [f"{'fault':<{width}}  {'  '.join(HOW)}"]
    for fault in faults:
        lines.append(f"{fault!s:<{width}}  {'  '.join(f'{counts[str(fault), how]:>{len(how)}}' for how in HOW)}")
    sys.stdout.write("\n".join([*lost, *lines]) + "\n")
    return int(bool(lost))


HOW = ("survived", "lost", "missed")

if __name__ == "__main__":
    sys.exit(main())
