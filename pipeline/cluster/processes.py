"""The processes of a cluster, and what keeps them running: the scheduler and MLflow's server on the head, the nodes.

Run as ``python -m pipeline.cluster.processes PARENT scheduler|node ADDRESS KEYS ...``: each stops when the process that
started it is gone. They listen on one interface only; dask's HTTP servers, which can't be left out, on loopback.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.cluster.keys import Address, netloc
from pipeline.errors import InputError
from pipeline.support import signals
from pipeline.support.progress import write_line

RESTART_SECONDS = 3.0  # between the end of a process and its next start
POLL_SECONDS = 0.5
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 10.0  # for a process to end after SIGTERM
GONE_SECONDS = 30.0  # without a sign of a node, after which the scheduler counts it as gone
HTTP = "127.0.0.1:0"
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical", "PYTHONWARNINGS": "ignore"}  # no traceback for each lost connection


def check_can_listen(host: str, ports: Mapping[str, int]) -> None:
    """InputError if this machine can't listen on one of the ports, by their options."""
    for option, port in ports.items():
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(f"can't listen on {host}:{port} ({reason}); give another {option}, or --host") from error


def scheduler_command(address: Address, mlflow: str) -> list[str]:
    return [*_command("scheduler", address), mlflow]


def node_command(address: Address, slots: int) -> list[str]:
    return [*_command("node", address), str(slots)]


def _command(kind: str, address: Address) -> list[str]:
    own = [sys.executable, "-m", "pipeline.cluster.processes", str(os.getpid()), kind]
    return [*own, str(address), str(address.keys or "")]


def mlflow_command(host: str, port: int, artifacts: str) -> list[str]:
    """MLflow's server; its database is given by MLFLOW_BACKEND_STORE_URI, which no other user can read."""
    command = [sys.executable, "-m", "pipeline.cli.ui_server", str(os.getpid()), "server", "--host", host]
    command += ["--port", str(port), "--workers", "2", "--artifacts-destination", artifacts]
    return [*command, "--allowed-hosts", netloc(host, port), "--uvicorn-opts", "--log-level warning"]


def supervise(
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    say: Callable[[str], None],
    is_once: bool = False,
) -> int:
    """Keep processes running, by name, until this one is stopped; ``is_once``: until the first ends, with its code."""

    def start(name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(commands[name], env={**os.environ, **QUIET, **environment}, start_new_session=True)

    running = {name: start(name) for name in commands}
    try:
        while True:
            time.sleep(POLL_SECONDS)
            for name, process in running.items():
                if (code := process.poll()) is None:
                    continue
                if is_once:
                    return code
                say(f"The {name} has ended (exit code {code}); it is started again in {RESTART_SECONDS:.0f} seconds.")
                time.sleep(RESTART_SECONDS)
                _kill_rest(process)
                running[name] = start(name)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(CLOSE_SECONDS)
            _kill_rest(process)
            process.wait()


def _kill_rest(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a process and of those that it started: MLflow's would keep its port."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _schedule(address: Address, mlflow: str) -> None:
    from distributed import Scheduler

    from pipeline.cluster.pool import MLFLOW

    scheduler = Scheduler(
        host=address.host,
        port=address.port,
        protocol=str(address).partition(":")[0],
        security=address.security(),
        dashboard=False,
        dashboard_address=HTTP,
        allowed_failures=0,
        worker_ttl=GONE_SECONDS,
    )
    await _run(scheduler, scheduler.close, lambda: scheduler.set_metadata([MLFLOW], mlflow))


async def _take_tasks(address: Address, slots: int, folder: str) -> None:
    from distributed import Status, Worker
    from distributed.utils import get_ip

    node = Worker(
        str(address),
        nthreads=slots,
        name=f"{socket.gethostname()}:{os.getpid()}",
        host=get_ip(address.host, address.port),
        security=address.security(),
        dashboard_address=HTTP,
        memory_limit=0,
        death_timeout=GONE_SECONDS,
        local_directory=folder,
    )

    async def leave() -> None:
        node.status = Status.closing_gracefully  # it gets no more tasks, and stops those that it has
        while node.state.executing:
            await asyncio.sleep(POLL_SECONDS)
        await node.close()

    await _run(node, leave, lambda: write_line(f"Joined {address}."))


async def _run(
    server: Any, close: Callable[[], Coroutine[Any, Any, Any]], on_start: Callable[[], None] = lambda: None
) -> None:
    """Run a scheduler or a node until it ends, or until SIGTERM or Ctrl-C, on which it closes."""
    loop, closing = asyncio.get_running_loop(), []
    for signum in signals.SIGNALS:
        loop.add_signal_handler(signum, lambda: closing.append(asyncio.ensure_future(close())))
    async with server:
        on_start()
        await server.finished()


def _why_not(address: Address) -> str:
    """Why a node can't join: the system's reason if nothing answers at the address."""
    try:
        socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return str(error)
    return "what answers there has other keys, or is no scheduler"


def main(parent: str, kind: str, address: str, keys: str, detail: str) -> None:
    signals.install(parent=int(parent))
    signals.disable_deadline()  # a node waits for its trainings to stop
    at = Address.read(address, Path(keys))
    if kind == "scheduler":
        asyncio.run(_schedule(at, detail))
        return
    with tempfile.TemporaryDirectory(prefix="tmlm-node-") as folder:
        try:
            asyncio.run(_take_tasks(at, int(detail), folder))
        except (OSError, TimeoutError):
            sys.exit(f"The scheduler {at} can't be reached ({_why_not(at)}).")


if __name__ == "__main__":
    main(*sys.argv[1:])
