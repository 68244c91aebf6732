"""Inject faults into real commands in a copy of the project, and print a table of what was survived.

python -m tests.faults [--minutes 5] [--seed 0] [--workers 2] [--only search]

A fault is survived if nothing that was recorded is lost. A training, resumed, must end with the weights, the metric
histories and the sample texts of one without a fault, bit for bit. A search, started again, must end with the right
number of trials, no configuration trained twice, and the same result for each as in any other search. No run may stay
RUNNING, and a command that ends by itself must do so with a message, the right exit code and in time. A fault that
comes too late is missed: it counts as neither injected nor survived, and is tried again at once, at an earlier moment.

Exits with 1 if anything was lost, or if a fault was missed each time although there was time for all.
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
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from pipeline.search.study.attributes import PREFIX
from pipeline.training.checkpoints import load_checkpoint
from tests.checkout import Checkout

TRAININGS = {
    "lstm 1x128, stream": ["--hidden-size", "128", "--epochs", "4"],
    "gru 2x32, report": ["--preset", "report", "--cell", "gru", "--num-layers", "2", "--hidden-size", "32",
                         "--epochs", "6"],
    "gru 2x24 scratch": ["--cell", "gru", "--implementation", "scratch", "--num-layers", "2",
                                                "--hidden-size", "24",
                                                "--epochs", "2", "--batch-size", "64"],
}  # fmt: skip
CLOCK_METRICS = ("training/seconds", "speed/train_seconds", "speed/chars_per_second")
IN_TIME_SECONDS = 5.0  # from a signal to the end of the process
AT_ONCE_SECONDS = 1.5  # from a second Ctrl-C
TWICE_SECONDS = 0.4  # between two Ctrl-C; closer ones count as one (pipeline.support.signals.SAME_SECONDS)
COMMAND_SECONDS = 240  # after which a command counts as hanging
EARLIER = (1.0, 0.6, 0.3)  # factors of the drawn moment: at the first try, and after each that came too late
SEARCH_TRIALS = 4
SEARCH = ["--trials", str(SEARCH_TRIALS), "--epochs", "2", "--cell", "rnn,gru", "--hidden-size", "4..9",
          "--num-layers", "1", "--confirm-seeds", "2", "--workers", "2"]  # fmt: skip


class LostError(Exception):
    """A fault was not survived; the message says how."""


class MissedError(Exception):
    """A fault came too late; the message says for what."""


class Draw(random.Random):
    """The random choices of one fault."""

    earlier = 1.0  # one of EARLIER

    def seconds(self, low: float, high: float) -> float:
        """A random time between two, scaled by ``earlier``."""
        return self.earlier * self.uniform(low, high)


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

    tensors: dict[str, torch.Tensor]
    metrics: list[tuple[str, int, float]]
    texts: dict[str, str]

    def differs_from(self, other: "Outcome") -> str:
        """Say in what they differ; "" if they are equal."""
        if self.metrics != other.metrics:
            return f"metrics: {sorted(set(self.metrics) ^ set(other.metrics))[:3] or 'a step is there twice'}"
        if self.texts != other.texts:
            return f"sample texts: {[name for name in other.texts if self.texts.get(name) != other.texts[name]]}"
        for name, tensor in other.tensors.items():
            if name not in self.tensors or not torch.equal(self.tensors[name], tensor):
                return f"weights: {name}"
        return ""


class Lab:
    """A copy of the project with one store, in which faults are injected."""

    def __init__(self, folder: Path) -> None:
        self.checkout = Checkout(folder)
        self.environment = dict(self.checkout.environment)
        if data := os.environ.get("TMLM_DATA_DIR"):
            self.environment["TMLM_DATA_DIR"] = data
        self.references: dict[str, Outcome] = {}
        self.seconds: dict[str, float] = {}
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

    def run(self, *words: str) -> Ended:
        return self.wait(self.start([sys.executable, "-m", "pipeline", *words]))

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

    def runs_of(self, pid: int) -> dict[str, tuple[str, str]]:
        """The runs that a process has started or resumed: stage -> id and status."""
        found = self.checkout.query(
            "SELECT stage.value, r.run_uuid, r.status FROM runs r JOIN tags p USING (run_uuid) "
            "JOIN tags stage USING (run_uuid) "
            "WHERE p.key='mlflow.tmlm.process.pid' AND p.value=? AND stage.key='stage'",
            str(pid),
        )
        return {stage: (run_id, status) for stage, run_id, status in found}

    def status(self, run_id: str) -> str:
        return str(self.checkout.query("SELECT status FROM runs WHERE run_uuid=?", run_id)[0][0])

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

    def measure(self) -> None:
        """Record the outcome and the seconds of each training without a fault."""
        for name, options in TRAININGS.items():
            done = self.run("train", *options)
            demand(done.code == 0, f"{name} without any fault:\n{done.output}")
            self.references[name] = self.outcome(self.runs_of(done.pid)["train"][0])
            self.seconds[name] = done.seconds

    def finish(self, training: str, run_id: str) -> None:
        """Resume a training unless it is finished, and compare its outcome with the one without a fault."""
        if self.status(run_id) != "FINISHED":
            done = self.run("train", "--resume", run_id)
            demand(done.code == 0, f"--resume ended with {done.code}:\n{done.output}")
        demand(self.status(run_id) == "FINISHED", f"the resumed run is {self.status(run_id)}")
        difference = self.outcome(run_id).differs_from(self.references[training])
        demand(not difference, f"not the same after --resume: {difference}")


@dataclass
class StudyTrial:
    """A trial as Optuna's database has it."""

    number: int
    state: str
    parameters: dict[str, float]  # the index for a choice
    attributes: dict[str, Any]


def trials_of(lab: Lab, study: str) -> list[StudyTrial]:
    """The trials of a study, by number; empty if the study does not exist yet."""
    path = lab.checkout.folder / "mlruns" / "optuna.db"  # created here if it is missing
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='trial_user_attributes'").fetchall():
            return []

        def about(table: str, key: str, value: str, trial_id: int) -> dict[str, Any]:
            return dict(connection.execute(f"SELECT {key}, {value} FROM {table} WHERE trial_id=?", (trial_id,)))

        rows = connection.execute(
            "SELECT trial_id, number, state FROM trials JOIN studies USING (study_id) WHERE study_name=? "
            "ORDER BY number",
            (study,),
        ).fetchall()
        return [
            StudyTrial(
                number,
                state,
                about("trial_params", "param_name", "param_value", trial_id),
                {
                    key.removeprefix(PREFIX): json.loads(value)
                    for kind in ("user", "system")
                    for key, value in about(f"trial_{kind}_attributes", "key", "value_json", trial_id).items()
                },
            )
            for trial_id, number, state in rows
        ]


@dataclass
class StudyRun:
    """A run of a study as MLflow's database has it, of stage search, train or, under ``mlflow run``, resume."""

    id: str
    stage: str
    status: str
    parent: str
    config_id: str
    seed: str
    failure: str


def study_runs(lab: Lab, study: str) -> list[StudyRun]:
    """The runs of a study, oldest first."""

    def tag(name: str) -> str:
        return f"coalesce((SELECT value FROM tags t WHERE t.run_uuid=r.run_uuid AND t.key='{name}'), '')"

    rows = lab.checkout.query(
        f"SELECT r.run_uuid, {tag('stage')}, r.status, {tag('mlflow.parentRunId')}, {tag('config_id')}, "
        "coalesce((SELECT value FROM params p WHERE p.run_uuid=r.run_uuid AND p.key='seed'), ''), "
        f"{tag('failure')} FROM runs r JOIN tags s USING (run_uuid) "
        "WHERE s.key='study' AND s.value=? ORDER BY start_time",
        study,
    )
    return [StudyRun(*row) for row in rows]


def counted(trials: list[StudyTrial]) -> list[StudyTrial]:
    """The trials that a search counts: complete, and not a repeat of an earlier one."""
    return [trial for trial in trials if trial.state == "COMPLETE" and "repeats" not in trial.attributes]


def check_search(lab: Lab, study: str, trials: int = SEARCH_TRIALS, seeds: int = 2) -> None:
    """Check a search that has ended, whatever faults it had; raises LostError."""
    all_trials, runs = trials_of(lab, study), study_runs(lab, study)
    complete = counted(all_trials)
    demand(len(complete) == trials, f"{len(complete)} trials, not {trials}: {all_trials}")
    open_trials = [trial for trial in all_trials if trial.state in ("RUNNING", "WAITING")]
    demand(not open_trials, f"not ended: {open_trials}")
    configurations = [tuple(sorted(trial.parameters.items())) for trial in complete]
    demand(len(set(configurations)) == len(complete), f"a configuration is there twice: {configurations}")
    demand(not [run for run in runs if run.status == "RUNNING"], f"RUNNING: {runs}")
    parents = [run for run in runs if run.stage == "search"]
    demand([run.status for run in parents] == ["FINISHED"], f"not one finished search: {parents}")
    finished = [run for run in runs if run.stage == "train" and run.status == "FINISHED"]
    demand({run.parent for run in finished} == {parents[0].id}, f"not nested in {parents[0].id}: {finished}")
    trained = [(run.config_id, run.seed) for run in finished]
    demand(len(set(trained)) == len(trained), f"trained twice: {finished}")
    of_trials = {trial.attributes["run_id"] for trial in complete}
    demand(of_trials <= {run.id for run in finished}, f"trials without a finished run: {of_trials} of {finished}")
    result = json.loads((lab.artifacts(parents[0].id) / "result.json").read_text())
    for member in result["front"]:
        demand(len(set(member["run_ids"])) == seeds, f"not {seeds} runs of each member: {result['front']}")
    for run in finished:
        value = json.loads((lab.artifacts(run.id) / "result.json").read_text())["val_perplexity"]
        elsewhere, same = lab.perplexities.setdefault((run.config_id, run.seed), (study, value))
        demand(value == same, f"{run}: validation perplexity {value}, but {same} in {elsewhere}")


def train_words(training: str, *fault: str) -> list[str]:
    """The command of a training, with a fault of fault_points if one is given."""
    module = ["tests.fault_points", *fault] if fault else ["pipeline"]
    return [sys.executable, "-m", *module, "train", *TRAININGS[training]]


# --- the faults ------------------------------------------------------------------------------------------------------

Fault = Callable[[Lab, str, Draw], None]  # returns if it was survived
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return add


def met_at(lab: Lab, training: str, moment: str, number: int, action: str = "kill") -> str:
    """Start a training with an action at a moment; returns the id of its run."""
    done = lab.wait(lab.start(train_words(training, moment, str(number), action)))
    if action == "kill":
        demand(done.code == -signal.SIGKILL, f"it was to be killed and ended with {done.code}:\n{done.output}")
    else:
        demand(done.code == 1, f"ended with {done.code}, not 1:\n{done.output}")
        demand("Traceback" not in done.output, f"a traceback:\n{done.output}")
    return lab.runs_of(done.pid)["train"][0]


def killed(lab: Lab, process: subprocess.Popen[str]) -> int:
    """The id of a process that was sent kill -9. Raises MissedError if it had ended before."""
    done = lab.wait(process)
    if done.code == 0:
        raise MissedError("it was done before it could be killed")
    demand(done.code == -signal.SIGKILL, f"it was to be killed and ended with {done.code}:\n{done.output}")
    return done.pid


def finish_what_was_met(lab: Lab, training: str, run_id: str, status: str) -> None:
    """Resume a training and compare. Raises MissedError if its run had ended before the fault."""
    lab.finish(training, run_id)
    if status == "FINISHED":
        raise MissedError("the run had ended before")


def last_epoch(training: str) -> int:
    return int(TRAININGS[training][TRAININGS[training].index("--epochs") + 1])


@fault("kill -9 at a random moment")
def _(lab: Lab, training: str, draw: Draw) -> None:
    process = lab.start(train_words(training))
    time.sleep(draw.seconds(0.2, 1.0) * lab.seconds[training])
    process.kill()
    runs = lab.runs_of(killed(lab, process))
    if "train" in runs:  # else it had not begun to record
        finish_what_was_met(lab, training, *runs["train"])


@fault("kill -9 at a random step")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "step", draw.randint(1, 40)))


@fault("kill -9 while a checkpoint is written")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "half a checkpoint", draw.randint(1, 2 * last_epoch(training))))


@fault("kill -9 between the last and the best checkpoint")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "best checkpoint", draw.randint(1, 2)))


@fault("kill -9 between a checkpoint and its metrics")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "figures", draw.randint(1, last_epoch(training))))


@fault("kill -9 between metrics and sample texts")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "texts", draw.randint(1, 4)))


@fault("kill -9 between training and the run's end")
def _(lab: Lab, training: str, draw: Draw) -> None:
    moment, number = draw.choice([("picture", 1), ("picture", 2), ("model", 1), ("result", 1), ("result", 2)])
    lab.finish(training, met_at(lab, training, moment, number))


@fault("kill -9 of the resumed training too")
def _(lab: Lab, training: str, draw: Draw) -> None:
    run_id = met_at(lab, training, "checkpoint", draw.randint(1, 2))
    words = ["tests.fault_points", draw.choice(["figures", "half a checkpoint"]), "1", "kill"]
    again = lab.wait(lab.start([sys.executable, "-m", *words, "train", "--resume", run_id]))
    demand(again.code == -signal.SIGKILL, f"the resumed one ended with {again.code}:\n{again.output}")
    lab.finish(training, run_id)


def stopped(lab: Lab, training: str, draw: Draw, signum: int) -> None:
    process = lab.start(train_words(training))
    time.sleep(draw.seconds(0.3, 0.9) * lab.seconds[training])
    process.send_signal(signum)
    done = lab.wait(process)
    demand(done.seconds < IN_TIME_SECONDS, f"ended only after {done.seconds:.1f} s")
    runs = lab.runs_of(done.pid)
    if done.code == 0:
        raise MissedError("it was done before the signal")
    demand(done.code in (128 + signum, -signum), f"ended with {done.code}:\n{done.output}")
    if "train" in runs:
        run_id, status = runs["train"]
        demand(status in ("KILLED", "FINISHED"), f"the run is {status}:\n{done.output}")
        demand("Traceback" not in done.output, f"a traceback:\n{done.output}")
        finish_what_was_met(lab, training, run_id, status)


@fault("Ctrl-C at a random moment")
def _(lab: Lab, training: str, draw: Draw) -> None:
    stopped(lab, training, draw, signal.SIGINT)


@fault("SIGTERM at a random moment")
def _(lab: Lab, training: str, draw: Draw) -> None:
    stopped(lab, training, draw, signal.SIGTERM)


@contextmanager
def locked(lab: Lab) -> Iterator[None]:
    """Within the block, another writer locks the store."""
    with closing(sqlite3.connect(lab.checkout.database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@fault("Ctrl-C twice")
def _(lab: Lab, training: str, draw: Draw) -> None:
    process = lab.start(train_words(training))
    time.sleep(draw.seconds(0.6, 0.8) * lab.seconds[training])
    with locked(lab):  # else the first one may end it within TWICE_SECONDS
        process.send_signal(signal.SIGINT)
        time.sleep(TWICE_SECONDS)
        at_rest = process.poll() is not None
        process.send_signal(signal.SIGINT)
        done = lab.wait(process)
    demand(done.seconds < AT_ONCE_SECONDS + 1, f"ended only after {done.seconds:.1f} s")
    if at_rest:
        raise MissedError("it had ended before the second Ctrl-C")
    if "train" in (runs := lab.runs_of(done.pid)):
        lab.finish(training, runs["train"][0])


def under_mlflow(lab: Lab, training: str, draw: Draw) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start a pipeline by `mlflow run` and wait until it trains; returns its process and all below it."""
    words = ["mlflow", "run", ".", "--env-manager", "local", "-P", "force=true"]
    options = [*TRAININGS[training]]
    for option, value in zip(options[::2], options[1::2], strict=True):
        words += ["-P", f"{option.removeprefix('--').replace('-', '_')}={value}"]
    process = lab.start(words, group=True)
    until = time.monotonic() + COMMAND_SECONDS / 2
    while not any("train" in lab.runs_of(child.pid) for child in below(process)) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(draw.seconds(0.0, 0.5) * lab.seconds[training])
    return process, below(process)


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The running descendants of a process; empty if it has ended."""
    return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []


def send(process: subprocess.Popen[str], signum: int, group: bool = True) -> None:
    """Send a signal to a process, or to its whole group, unless it has ended."""
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, signum)


def stopped_under_mlflow(lab: Lab, training: str, draw: Draw, signum: int, group: bool) -> None:
    process, children = under_mlflow(lab, training, draw)
    send(process, signum, group)
    done = lab.wait(process)
    demand(done.seconds < IN_TIME_SECONDS, f"mlflow run ended only after {done.seconds:.1f} s")
    _, left = psutil.wait_procs(children, timeout=max(0.0, IN_TIME_SECONDS - done.seconds))
    alive = [child for child in left if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    demand(not alive, f"after {IN_TIME_SECONDS} s still there: {alive}")
    is_met = False
    for child in children:
        runs = lab.runs_of(child.pid)
        statuses = {status for _, status in runs.values()}
        demand("RUNNING" not in statuses, f"left {runs}:\n{done.output}")
        is_met = is_met or not statuses <= {"FINISHED"}
        if runs.get("train", ("", "FINISHED"))[1] == "FINISHED":
            continue
        demand(runs["train"][1] == "KILLED", f"they are {runs}:\n{done.output}")  # mlflow run makes its own run FAILED
        lab.finish(training, runs["train"][0])
    if not is_met:
        raise MissedError("all runs had ended before the signal")


@fault("Ctrl-C of mlflow run, with nested runs")
def _(lab: Lab, training: str, draw: Draw) -> None:
    stopped_under_mlflow(lab, training, draw, signal.SIGINT, group=True)


@fault("SIGTERM of mlflow run, with nested runs")
def _(lab: Lab, training: str, draw: Draw) -> None:
    stopped_under_mlflow(lab, training, draw, signal.SIGTERM, group=False)


@fault("kill -9 of mlflow run and all below it")
def _(lab: Lab, training: str, draw: Draw) -> None:
    process, children = under_mlflow(lab, training, draw)
    send(process, signal.SIGKILL)
    killed(lab, process)
    if not any(status == "RUNNING" for child in children for _, status in lab.runs_of(child.pid).values()):
        raise MissedError("all runs had ended before the kill")
    closed_by_the_next_command(lab, training, *(child.pid for child in children))


def closed_by_the_next_command(lab: Lab, training: str, *dead: int) -> None:
    """Check that the next command that records closes the runs of dead processes, and finish their trainings."""
    prepared = lab.run("prepare")
    demand(prepared.code == 0, f"the next command ended with {prepared.code}:\n{prepared.output}")
    for pid in dead:
        runs = lab.runs_of(pid)
        demand("RUNNING" not in [status for _, status in runs.values()], f"the dead are {runs}")
        if "train" in runs:
            lab.finish(training, runs["train"][0])


@fault("disk full at a checkpoint")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "checkpoint", draw.randint(1, last_epoch(training)), "full"))


@fault("disk full at a picture")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "picture", draw.randint(1, 2), "full"))


@fault("disk full at a metric")
def _(lab: Lab, training: str, draw: Draw) -> None:
    lab.finish(training, met_at(lab, training, "figures", draw.randint(1, last_epoch(training)), "full"))


@fault("a bit of the checkpoint flips")
def _(lab: Lab, training: str, draw: Draw) -> None:
    run_id = met_at(lab, training, "figures", draw.randint(2, last_epoch(training)))
    damaged(lab, training, run_id, lambda data: flip(data, draw))


def flip(data: bytes, draw: Draw) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


@fault("the checkpoint is cut short")
def _(lab: Lab, training: str, draw: Draw) -> None:
    run_id = met_at(lab, training, "figures", draw.randint(2, last_epoch(training)))
    damaged(lab, training, run_id, lambda data: data[: draw.randrange(len(data))])


def damaged(lab: Lab, training: str, run_id: str, damage: Callable[[bytes], bytes]) -> None:
    """Check that a damaged checkpoint is refused without changing its run, which the restored file resumes."""
    path = lab.artifacts(run_id) / "checkpoints" / "last.safetensors"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    refused = lab.run("train", "--resume", run_id)
    demand(refused.code == 2, f"--resume of it ended with {refused.code}, not 2:\n{refused.output}")
    path.write_bytes(whole)
    lab.finish(training, run_id)


@fault("the store is locked for 20 s")
def _(lab: Lab, training: str, draw: Draw) -> None:
    process = lab.start(train_words(training))
    time.sleep(draw.seconds(0.3, 0.7) * lab.seconds[training])
    with locked(lab):
        time.sleep(20)
        has_waited = process.poll() is None
    done = lab.wait(process)
    demand(done.code == 0, f"ended with {done.code}:\n{done.output}")
    if not has_waited:
        raise MissedError("it was done before it met the lock")
    lab.finish(training, lab.runs_of(done.pid)["train"][0])


@fault("kill -9 of a pipeline beside a live one")
def _(lab: Lab, training: str, draw: Draw) -> None:
    alive = lab.start(train_words(training))
    dead = lab.start([sys.executable, "-m", "pipeline", "pipeline", *TRAININGS[training], "--force"])
    time.sleep(draw.earlier * 0.7 * lab.seconds[training])
    is_beside = alive.poll() is None
    dead.kill()
    closed_by_the_next_command(lab, training, killed(lab, dead))
    done = lab.wait(alive)
    demand(done.code == 0, f"the live one ended with {done.code}:\n{done.output}")
    if not is_beside:
        raise MissedError("the live one was done before the other was killed")
    lab.finish(training, lab.runs_of(done.pid)["train"][0])


# --- faults of a search: each in a new study; the training is not used -----------------------------------------------


def search_words(study: str, *fault: str) -> list[str]:
    """The command of a search, with a fault of fault_points if one is given."""
    module = ["tests.fault_points", *fault] if fault else ["pipeline"]
    return [sys.executable, "-m", *module, "search", "--study-name", study, *SEARCH]


def search_under_mlflow(study: str) -> list[str]:
    words = ["mlflow", "run", ".", "--env-manager", "local", "-e", "search", "-P", f"study_name={study}"]
    for option, value in zip(SEARCH[::2], SEARCH[1::2], strict=True):
        words += ["-P", f"{option.removeprefix('--').replace('-', '_')}={value}"]
    return words


def name_of_study(draw: Draw) -> str:
    return f"faults-{draw.getrandbits(40):x}"


def searched_again(lab: Lab, words: list[str], study: str) -> None:
    """Run the same command again to its end, and check the search."""
    done = lab.wait(lab.start(words))
    demand(done.code == 0, f"the same command again ended with {done.code}:\n{done.output}")
    check_search(lab, study)


def some_way_into(lab: Lab, study: str, draw: Draw) -> None:
    """Wait until a search trains, and up to 12 s longer: into its trials, its confirmations or its end."""
    until = time.monotonic() + COMMAND_SECONDS / 2
    while not any(run.stage == "train" for run in study_runs(lab, study)) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(draw.seconds(0.0, 12.0))


def all_have_ended(processes: list[psutil.Process], seconds: float) -> None:
    _, left = psutil.wait_procs(processes, timeout=max(0.0, seconds))
    alive = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    demand(not alive, f"still there: {alive}")


@fault("kill -9 of a search's worker")
def _(lab: Lab, training: str, draw: Draw) -> None:
    study = name_of_study(draw)
    process = lab.start(search_words(study))
    some_way_into(lab, study, draw)
    workers = [each for each in below(process) if is_worker(each)]
    if workers:
        draw.choice(workers).kill()
    done = lab.wait(process)
    demand(done.code == 0, f"ended with {done.code}:\n{done.output}")
    check_search(lab, study)
    if not workers:
        raise MissedError("the search had no workers any more")


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@fault("kill -9 of a search's worker at a moment of its own")
def _(lab: Lab, training: str, draw: Draw) -> None:
    study = name_of_study(draw)
    moment = draw.choice(["step", "checkpoint", "best checkpoint", "figures", "half a checkpoint", "model", "result"])
    role = draw.choice(["trial", "confirmation"])
    done = lab.wait(lab.start(search_words(study, f"{role}/{moment}", "1", "kill")))
    if done.code == 1 and "was met 0 times" in done.output:
        raise MissedError(f"no worker came to {role}/{moment}")
    demand(done.code == 0, f"ended with {done.code}:\n{done.output}")
    check_search(lab, study)


@fault("kill -9 of a search")
def _(lab: Lab, training: str, draw: Draw) -> None:
    study = name_of_study(draw)
    process = lab.start(search_words(study))
    some_way_into(lab, study, draw)
    children = below(process)
    process.kill()
    killed(lab, process)
    all_have_ended(children, IN_TIME_SECONDS)
    searched_again(lab, search_words(study), study)


@fault("kill -9 of a search between two statements")
def _(lab: Lab, training: str, draw: Draw) -> None:
    study = name_of_study(draw)
    moment = draw.choice(["asked", "taken", "told", "judged", "registered"])
    number = draw.randint(1, 2) if draw.earlier == 1 else 1
    killed(lab, lab.start(search_words(study, moment, str(number), "kill")))
    searched_again(lab, search_words(study), study)


def search_stopped(lab: Lab, draw: Draw, signum: int, group: bool) -> None:
    study = name_of_study(draw)
    process = lab.start(search_words(study), group=True)
    some_way_into(lab, study, draw)
    children = below(process)
    send(process, signum, group)
    done = lab.wait(process)
    if done.code == 0:
        check_search(lab, study)
        raise MissedError("the search was done before the signal")
    demand(done.code == 128 + signum, f"ended with {done.code}:\n{done.output}")
    demand(done.seconds < IN_TIME_SECONDS, f"ended only after {done.seconds:.1f} s")
    demand("Traceback" not in done.output, f"a traceback:\n{done.output}")
    all_have_ended(children, IN_TIME_SECONDS - done.seconds)
    trials, runs = trials_of(lab, study), study_runs(lab, study)
    demand("RUNNING" not in [each.status for each in runs], f"left {runs}")
    demand("RUNNING" not in [each.state for each in trials], f"left {trials}")
    searched_again(lab, search_words(study), study)


@fault("Ctrl-C of a search")
def _(lab: Lab, training: str, draw: Draw) -> None:
    search_stopped(lab, draw, signal.SIGINT, group=True)


@fault("SIGTERM of a search")
def _(lab: Lab, training: str, draw: Draw) -> None:
    search_stopped(lab, draw, signal.SIGTERM, group=False)


def search_stopped_under_mlflow(lab: Lab, draw: Draw, signum: int) -> None:
    study = name_of_study(draw)
    process = lab.start(search_under_mlflow(study), group=True)
    some_way_into(lab, study, draw)
    children = below(process)
    send(process, signum)
    done = lab.wait(process)
    if [run.status for run in study_runs(lab, study) if run.stage == "search"] == ["FINISHED"]:
        check_search(lab, study)
        raise MissedError("the search was done before the signal")
    all_have_ended(children, IN_TIME_SECONDS - done.seconds)
    if signum != signal.SIGKILL:
        demand("RUNNING" not in [each.state for each in trials_of(lab, study)], f"left {trials_of(lab, study)}")
    searched_again(lab, search_under_mlflow(study), study)


@fault("Ctrl-C of mlflow run -e search")
def _(lab: Lab, training: str, draw: Draw) -> None:
    search_stopped_under_mlflow(lab, draw, signal.SIGINT)


@fault("kill -9 of mlflow run -e search and all below it")
def _(lab: Lab, training: str, draw: Draw) -> None:
    search_stopped_under_mlflow(lab, draw, signal.SIGKILL)


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """The outcomes of one kind of fault."""

    survived: int = 0
    lost: list[str] = field(default_factory=list)
    missed: int = 0

    @property
    def injected(self) -> int:
        return self.survived + len(self.lost)


def meet(lab: Lab, name: str, training: str, seed: str, tally: Tally) -> None:
    """Inject a fault; try again at earlier moments if it is missed."""
    for earlier in EARLIER:
        draw = Draw(seed)
        draw.earlier = earlier
        try:
            FAULTS[name](lab, training, draw)
        except MissedError:
            tally.missed += 1
            seed += " again"
            continue
        except (LostError, subprocess.TimeoutExpired, OSError, KeyError, psutil.Error, sqlite3.Error) as error:
            tally.lost.append(f"{name} ({training}): {type(error).__name__}: {error}")
        else:
            tally.survived += 1
        return


def meet_faults(lab: Lab, minutes: float, seed: int, workers: int) -> dict[str, Tally]:
    """Inject the faults in turn, each time with another training, until the time is up."""
    tallies = {name: Tally() for name in FAULTS}
    until = time.monotonic() + 60 * minutes
    order = [(name, list(TRAININGS)[(i + j) % len(TRAININGS)]) for i in range(1000) for j, name in enumerate(FAULTS)]
    lock, turn = threading.Lock(), iter(enumerate(order))

    def work() -> None:
        while time.monotonic() < until:
            with lock:
                number, (name, training) = next(turn)
            meet(lab, name, training, f"{seed}-{number}", tallies[name])

    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work) for _ in range(workers)]:
            done.result()
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    width = max(map(len, tallies))
    lines = [f"{'fault':<{width}}  injected  survived  lost  missed"]
    for name, tally in [*tallies.items(), ("in all", _sum(tallies))]:
        figures = f"{tally.injected:>8}  {tally.survived:>8}  {len(tally.lost):>4}  {tally.missed:>6}"
        lines.append(f"{name:<{width}}  {figures}")
    return "\n".join(lines)


def _sum(tallies: dict[str, Tally]) -> Tally:
    each = tallies.values()
    return Tally(sum(t.survived for t in each), [what for t in each for what in t.lost], sum(t.missed for t in each))


def never_injected(tallies: dict[str, Tally]) -> tuple[str, bool]:
    """Name the kinds that were never injected; it is an error if one was missed although all were tried."""
    not_begun = [name for name, tally in tallies.items() if not tally.injected and not tally.missed]
    missed = [name for name, tally in tallies.items() if not tally.injected and tally.missed]
    reasons = {"there was no time for": not_begun, "missed each time": missed}
    lines = [f"{reason}: {', '.join(names)}" for reason, names in reasons.items() if names]
    return "\n".join(lines), bool(missed) and not not_begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job and its children would ignore it
    folder = Path(tempfile.mkdtemp(prefix="tmlm-faults-"))
    lab = Lab(folder)
    lab.measure()
    for name in [name for name in FAULTS if options.only not in name]:
        del FAULTS[name]
    tallies = meet_faults(lab, options.minutes, options.seed, options.workers)
    lost = _sum(tallies).lost
    never, is_error = never_injected(tallies)
    left = lab.checkout.query("SELECT run_uuid, name FROM runs WHERE status='RUNNING'")
    said = [*lost, table(tallies), *([never] if never else []), f"runs left RUNNING: {len(left)}"]
    sys.stdout.write("\n\n".join(said) + "\n")
    if lost or left:
        sys.stdout.write(f"The store is kept in {lab.checkout.folder}\n")
        return 1
    shutil.rmtree(folder)
    return int(is_error)


if __name__ == "__main__":
    sys.exit(main())
