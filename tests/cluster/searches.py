"""A search on a head and nodes, each in a network namespace, and what its store has."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from tests.checkout import runs_in
from tests.cluster.network import HEAD, Machine

ADDRESS, STORE = f"tls://{HEAD}:8786", f"https://{HEAD}:5000"
TRIALS = 6

SEARCH = ["search", "--cluster", ADDRESS, "--trials", str(TRIALS), "--epochs", "30", "--confirm-seeds", "1"]
SPACE = ["--cell", "lstm", "--num-layers", "1", "--hidden-size", "32..48", "--alphabet", "letters"]


class Cluster:
    """A head that serves, and its first nodes, n1 and n2, with one worker each."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self.machines = machines
        self.head = machines["head"]
        self.served = self.head.tmlm("cluster", "serve", "--host", HEAD)
        until = time.monotonic() + 120
        while f"{HEAD}:5000" not in self.head.listening() and time.monotonic() < until:  # MLflow's server
            time.sleep(0.5)
        for name in ("n1", "n2"):
            machines[name].tmlm("node", ADDRESS, "--workers", "1")

    def search(self, *more: str) -> subprocess.Popen:
        (self.head.checkout.folder / "text.txt").write_text(text())
        return self.head.tmlm(*SEARCH, *SPACE, "--corpus", "text.txt", *more)

    def runs(self) -> list[dict]:
        """The runs of the store."""
        database = self.head.checkout.folder / "mlruns" / "cluster" / "mlflow.db"
        return runs_in(database) if database.exists() else []

    def trainings(self) -> list[dict]:
        return [run for run in self.runs() if run["tags"].get("stage") == "train"]

    def wait_for(self, condition: Callable[[dict], bool], seconds: float = 300) -> dict:
        """The first training that meets a condition."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for run in self.trainings():
                if condition(run):
                    return run
            time.sleep(0.5)
        raise AssertionError(f"no such training: {self.trainings()}\n{self.head.log.read_text()}")

    def check_complete(self, search: subprocess.Popen, trials: int = TRIALS) -> list[dict]:
        """The search ends well: as many finished trainings as trials, each once, and nothing RUNNING."""
        logs = [machine.log for machine in self.machines.values() if machine.log.exists()]
        assert search.wait(timeout=400) == 0, "\n".join(log.read_text() for log in logs)
        statuses = Counter(run["status"] for run in self.runs())
        finished = [run for run in self.trainings() if run["status"] == "FINISHED"]
        assert "RUNNING" not in statuses
        assert len(finished) == trials
        assert len({run["tags"]["step_key"] for run in finished}) == trials
        return finished


def text() -> str:
    words = ["time", "traveller", "machine", "the", "of", "and", "through", "space", "that", "was"]
    drawn = random.Random(0)
    return " ".join(drawn.choice(words) for _ in range(4_000))


def is_running_on(host: str) -> Callable[[dict], bool]:
    return lambda run: run["status"] == "RUNNING" and run["tags"]["process.host"] == host
