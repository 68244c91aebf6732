"""Start the processes of a cluster (scheduler, MLflow's server, nodes) and keep them running.

``python -m pipeline.cluster.processes ADDRESS KEYS SLOTS`` runs a node. Every process listens on one interface only;
dask's HTTP servers, which can't be switched off, listen on loopback and have no page.
"""

import asyncio
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from pipeline.cluster.keys import FILES, Address
from pipeline.errors import InputError
from pipeline.support import child, signals
from pipeline.support.machine import tune_process
from pipeline.support.progress import write_line

RESTART_SECONDS = 3.0  # between the end of a process and its next start
POLL_SECONDS = 0.5
CLOSE_SECONDS = 10.0  # for a process to end after SIGTERM
GONE_SECONDS = 30.0  # without a heartbeat of a node, after which the scheduler counts it as gone
HTTP = "127.0.0.1:0"
MLFLOW = "TMLM_CLUSTER_MLFLOW"  # variable in the scheduler's environment with the address of MLflow's server
ENVIRONMENT = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{GONE_SECONDS:.0f}s",
    "DASK_LOGGING__DISTRIBUTED": "critical",  # no traceback for each lost connection
    "PYTHONWARNINGS": "ignore",
}


def check_can_listen(host: str, ports: Mapping[str, int]) -> None:
    """Raise InputError if this machine can't listen on one of the ports, which are given by option."""
    if len(set(ports.values())) < len(ports):
        raise InputError(f"{' and '.join(ports)} are the same port; give two")
    for option, port in ports.items():
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise InputError(f"can't listen on {host}:{port} ({reason}); give another {option}, or --host") from error


def scheduler_command(address: Address) -> list[str]:
    words = ["scheduler", "--host", address.host, "--port", str(address.port), "--protocol", address.protocol]
    if address.keys is not None:
        certificate, key = (str(address.keys / name) for name in FILES)
        words += ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    return child.child_command("dask", *words, "--no-dashboard", "--dashboard-address", HTTP)


def mlflow_options(address: Address) -> str:
    """The options of uvicorn with which MLflow's server accepts only clients that have the keys."""
    if address.keys is None:
        return ""
    certificate, key = (shlex.quote(str(address.keys / name)) for name in FILES)
    required = int(ssl.CERT_REQUIRED)
    return f"--ssl-certfile {certificate} --ssl-keyfile {key} --ssl-ca-certs {certificate} --ssl-cert-reqs {required}"


def answers(url: str, address: Address) -> bool:
    """Whether MLflow's server answers."""
    try:
        with urlopen(f"{url}/health", timeout=1, context=address.tls() if address.keys else None) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False


def node_command(address: Address, slots: int) -> list[str]:
    return child.child_command("pipeline.cluster.processes", str(address), str(address.keys or ""), str(slots))


def supervise(
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    say: Callable[[str], None],
    is_once: bool = False,
    when_ready: tuple[Callable[[], bool], str] | None = None,
) -> int:
    """Run commands, by name, and restart those that exit, until this process is stopped.

    With ``is_once``, return the exit code of the first that exits instead. ``when_ready`` is a check, and a message to
    say once it is True.
    """
    variables = {**os.environ, **ENVIRONMENT, **environment}

    def start(name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(commands[name], env=variables, start_new_session=True)

    running = {name: start(name) for name in commands}
    try:
        while True:
            time.sleep(POLL_SECONDS)
            if when_ready is not None and when_ready[0]():
                say(when_ready[1])
                when_ready = None
            for name, process in running.items():
                if (code := process.poll()) is None:
                    continue
                if is_once:
                    return code
                say(f"The {name} has exited with code {code}; restarting it in {RESTART_SECONDS:.0f} seconds.")
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
    """Kill what is left of a process and its children: those of MLflow's server would keep its port."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


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

    joining = asyncio.current_task()
    assert joining is not None

    async def leave() -> None:
        if node.status in (Status.init, Status.starting):
            joining.cancel()
            return
        node.status = Status.closing_gracefully  # it gets no more tasks, and its running tasks stop
        while node.state.executing:
            await asyncio.sleep(POLL_SECONDS)
        await node.close()

    loop, leaving = asyncio.get_running_loop(), []
    for signum in signals.SIGNALS:
        loop.add_signal_handler(signum, lambda: leaving.append(asyncio.ensure_future(leave())))
    async with node:
        write_line(f"Joined {address}.")
        await node.finished()


def main(address: str, keys: str, slots: str) -> None:
    """Run a node until it loses the scheduler or receives a signal."""
    tune_process()
    at = Address.read(address, Path(keys))
    os.environ.update(at.mlflow_settings())
    with tempfile.TemporaryDirectory(prefix="tmlm-node-") as folder:
        try:
            asyncio.run(_take_tasks(at, int(slots), folder))
        except asyncio.CancelledError:  # stopped before it has joined
            return
        except (OSError, TimeoutError):
            sys.exit(f"The scheduler {at} can't be reached ({at.unreachable_reason()}).")


if __name__ == "__main__":
    main(*sys.argv[1:])
