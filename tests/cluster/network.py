"""Machines for tests: network namespaces with a bridge between them, and host names and processes of their own.

Each machine has its own copy of the project and its own cache. Nothing outside the namespaces is touched.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.checkout import Checkout

HEAD = "10.77.0.1"


def missing() -> str:
    """Why there can be no namespaces here; "" if there can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "ip (iproute2) and unshare (util-linux) are needed"
    name = f"tmlm-probe-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces can't be made: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=False)
    return ""


REASON = missing()

NETWORK = [pytest.mark.network, pytest.mark.timeout(900), pytest.mark.skipif(bool(REASON), reason=REASON)]
"""The marks of tests that need machines."""


class Machine:
    """A machine of the network: commands of the project run on it in its own copy."""

    def __init__(self, name: str, network: str, folder: Path, keys: Path) -> None:
        self.name, self.network = name, network
        self.checkout = Checkout(folder / name)
        self.log = folder / f"{name}.log"
        variables = {"TMLM_CLUSTER_KEYS": str(keys), "OMP_NUM_THREADS": "1", "HOME": str(folder / name)}
        self.environment = {**self.checkout.environment, **variables}
        self.running: list[subprocess.Popen] = []

    def words(self, *command: str) -> list[str]:
        """A command line that runs a command on this machine."""
        own = ["unshare", "--uts"]
        if self.name != "head":  # where processes of an earlier command have to be seen
            own += ["--pid", "--fork", "--kill-child", "--mount-proc"]
        named = ["sh", "-c", 'hostname "$0"; exec "$@"', self.name]
        return ["ip", "netns", "exec", self.network, *own, *named, *command]

    def start(self, *command: str) -> subprocess.Popen:
        with self.log.open("a") as log:
            process = subprocess.Popen(
                self.words(*command),
                cwd=self.checkout.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process

    def tmlm(self, *words: str) -> subprocess.Popen:
        return self.start("python", "-m", "pipeline", *words)

    def run(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.words(*command),
            cwd=self.checkout.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def listening(self) -> list[str]:
        """The local addresses that processes of this machine listen on."""
        return [line.split()[3] for line in self.run("ss", "-ltnH").stdout.splitlines()]

    def kill(self, words: str, signum: int = signal.SIGKILL, of: subprocess.Popen | None = None) -> list[int]:
        """Send a signal to the processes of a command (by default the first) that have the words; returns their ids."""
        found = [process.pid for process in _family(of or self.running[0]) if words in " ".join(process.cmdline())]
        for pid in found:
            os.kill(pid, signum)
        return found

    def link(self, state: str) -> None:
        """Cut its link, or join it again: up or down."""
        subprocess.run(["ip", "-n", self.network, "link", "set", "eth0", state], check=True)

    def power_off(self) -> None:
        """Gone at once, without a word: first the link, then all processes."""
        self.link("down")
        self.stop()

    def stop(self) -> None:
        for process in self.running:
            for each in _family(process):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.kill()  # of a command that has not begun, what makes its namespace
            process.wait()
        self.running = []


def _family(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes of a command, without what only makes its namespace."""
    if process.poll() is not None:
        return []
    first = psutil.Process(process.pid)
    return [each for each in (first, *first.children(recursive=True)) if each.name() != "unshare"]


@contextmanager
def network_of(folder: Path, keys: Path, nodes: tuple[str, ...]) -> Iterator[dict[str, Machine]]:
    """A head at HEAD and nodes with a link to it; all is removed at the end."""
    names = {name: f"tmlm-{os.getpid()}-{name}" for name in ("head", *nodes)}

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    machines: dict[str, Machine] = {}
    try:
        for network in names.values():
            ip("netns", "add", network)
            ip("-n", network, "link", "set", "lo", "up")
        head = names["head"]
        ip("-n", head, "link", "add", "bridge", "type", "bridge")
        ip("-n", head, "address", "add", f"{HEAD}/24", "dev", "bridge")
        ip("-n", head, "link", "set", "bridge", "up")
        for number, name in enumerate(nodes, start=2):
            network = names[name]
            ip("-n", head, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", network)
            ip("-n", head, "link", "set", f"to-{name}", "master", "bridge", "up")
            ip("-n", network, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", network, "link", "set", "eth0", "up")
        machines = {name: Machine(name, network, folder, keys) for name, network in names.items()}
        yield machines
    finally:
        for machine in machines.values():
            machine.stop()
        for network in names.values():
            subprocess.run(["ip", "netns", "delete", network], check=False)
