"""The commands ``cluster keys``, ``cluster serve`` and ``node``, and the option --cluster."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import say
from pipeline.cli.options import LabCommand, option
from pipeline.config import SCHEDULER_PORT
from pipeline.errors import InputError, without_secrets
from pipeline.support import signals

if TYPE_CHECKING:
    from pipeline.cluster.keys import Address
    from pipeline.support.workers import MakePool, Work
    from pipeline.text.corpus import Corpus

PORT = click.IntRange(1, 65535)

cluster_option = option(
    "--cluster",
    default="",
    metavar="ADDRESS",
    group="Cluster",
    help="Train on the nodes of this cluster: the scheduler's address, as `tmlm cluster serve` prints it. The keys are "
    "read from $TMLM_CLUSTER_KEYS, or the user's configuration folder.",
)


def pool_on(cluster: str, workers: int | None, work: "Work") -> "Callable[[Corpus], MakePool]":
    """Return what makes, for a text, the pool that does ``work``: on a cluster's nodes or, if "", in local processes.

    With a cluster, its MLflow server becomes the store of this process. Raises InputError if MLFLOW_TRACKING_URI names
    another one.
    """
    if not cluster:
        from pipeline.support.workers import Workers

        return lambda corpus: partial(Workers, work)
    if workers is not None:
        raise InputError("--workers can't be given with --cluster: each node sets its own number (tmlm node --workers)")
    address = _address(cluster)
    from pipeline.cluster import pool, texts

    store, tracking_uri = pool.mlflow_address(address), os.environ.get("MLFLOW_TRACKING_URI", "")
    if tracking_uri and without_secrets(tracking_uri).rstrip("/") != store:
        raise InputError(
            f"MLFLOW_TRACKING_URI is {tracking_uri}, but the cluster records in {store}: run the command again "
            f"with MLFLOW_TRACKING_URI={store}"
        )
    os.environ.update({**address.mlflow_settings(), "MLFLOW_TRACKING_URI": tracking_uri or store})
    prepare = texts.fetch_needs
    return lambda corpus: lambda count: pool.DaskPool(address, work, partial(prepare, texts.send(corpus, store)))


def _address(text: str) -> "Address":
    """The scheduler's address, with the keys that it needs. Raises InputError for one that can't be used."""
    _check_installed()
    from pipeline.cluster.keys import Address, keys_folder

    return Address.read(text, keys_folder())


def _check_installed() -> None:
    if importlib.util.find_spec("distributed") is None:
        raise InputError("a cluster needs dask.distributed; install it: pip install 'time-machine-lm[cluster]'")


@click.group()
def cluster() -> None:
    """Set up a cluster of machines."""


@cluster.command("keys", cls=LabCommand)
@click.argument("directory", metavar="[DIR]", default="")
@click.option(
    "--head", multiple=True, help="Address or name of the machine that serves; may be repeated.  [default: this one's]"
)
def keys(directory: str, head: tuple[str, ...]) -> None:
    """Create the keys of a cluster.

    Copy them to each machine of the cluster; they are valid for a year. DIR is the folder to write them to; by
    default $TMLM_CLUSTER_KEYS, else one in the user's configuration folder.
    """
    _check_installed()
    from pipeline.cluster.keys import keys_folder, make_keys

    folder = keys_folder(directory)
    make_keys(folder, head)
    click.echo(
        f"Wrote the keys to {folder}. Copy it to each machine of the cluster; anyone who has it can run code on all of "
        "them."
    )


@cluster.command(cls=LabCommand)
@click.option("--host", required=True, help="IP address of the interface to listen on, or localhost.")
@click.option("--port", type=PORT, default=SCHEDULER_PORT, show_default=True, help="Port of the scheduler.")
@click.option("--mlflow-port", type=PORT, default=5000, show_default=True, help="Port of MLflow's server.")
@click.option(
    "--artifacts", default="", help="Folder or address of the artifacts.  [default: mlruns/cluster/artifacts]"
)
@click.option(
    "--without-tls",
    is_flag=True,
    help="On the loopback interface: let every user of this machine run code as you, and read and change the record.",
)
def serve(host: str, port: int, mlflow_port: int, artifacts: str, without_tls: bool) -> None:
    """Start the scheduler and the MLflow server of a cluster.

    Both listen on --host only, let nobody in without the keys, which are created if there are none, and are restarted
    if they exit. Searches and reproductions with --cluster record there: in mlruns/cluster/mlflow.db, or the database
    whose SQLAlchemy URL is in $TMLM_CLUSTER_STORE.
    """
    _check_installed()
    from pipeline.cluster import processes
    from pipeline.cluster.keys import Address, has_keys, keys_folder, make_keys, netloc
    from pipeline.tracking import server
    from pipeline.tracking.store import root, sqlite_address

    keys = keys_folder()
    address = Address.to_serve(host, port, None if without_tls else keys)
    processes.check_can_listen(host, {"--port": port, "--mlflow-port": mlflow_port})
    if not without_tls and not has_keys(keys):
        make_keys(keys)
        click.echo(f"keys: {keys}, created; copy it to each machine of the cluster")
    mlflow_host = netloc(address.certified_host, mlflow_port)
    folder = root() / "mlruns" / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # else other users could read the database
    mlflow = f"{'http' if without_tls else 'https'}://{mlflow_host}"
    proxied = ["--artifacts-destination", artifacts or str(folder / "artifacts"), "--allowed-hosts", mlflow_host]
    uvicorn = processes.mlflow_options(address)
    commands = {
        "scheduler": processes.scheduler_command(address),
        "MLflow server": server.server_command("server", host, mlflow_port, 2, *proxied, uvicorn=uvicorn),
    }
    database = os.environ.get("TMLM_CLUSTER_STORE") or sqlite_address(folder / "mlflow.db")
    environment = {**server.server_environment(database), processes.MLFLOW: mlflow}
    settings = {"MLFLOW_TRACKING_URI": mlflow, **address.mlflow_settings()}
    ready = [
        f"scheduler: {address}",
        f"mlflow: {mlflow}",
        f"join: tmlm node {address} --workers N",
        f"search: tmlm search --cluster {address}",
        f"other commands: {' '.join(f'{name}={shlex.quote(value)}' for name, value in settings.items())} tmlm ...",
    ]
    signals.disable_deadline()
    when_ready = (lambda: processes.answers(mlflow, address), "\n".join(ready))
    sys.exit(processes.supervise(commands, environment, say, when_ready=when_ready))


@click.command(cls=LabCommand)
@click.argument("address")
@click.option("--workers", type=click.IntRange(1), help="Trainings at once.  [default: usable cores]")
@click.option(
    "--once", is_flag=True, help="Exit when the scheduler does, as a Slurm job should, instead of waiting for it."
)
def node(address: str, workers: int | None, once: bool) -> None:
    """Add this machine to a cluster.

    It runs trainings of searches and reproductions with --cluster ADDRESS until it is stopped, and rejoins after a
    failure. ADDRESS is the scheduler's, as `tmlm cluster serve` prints it.
    """
    at = _address(address)
    from pipeline.cluster import processes
    from pipeline.support.machine import usable_cores
    from pipeline.support.wording import counted

    signals.disable_deadline()
    workers = workers or usable_cores()
    click.echo(f"Joining {at} with {counted(workers, 'worker')}; stop it with Ctrl-C.")
    sys.exit(processes.supervise({"node": processes.node_command(at, workers)}, {}, say, is_once=once))
