"""The keys of a cluster: one self-signed certificate and its key, shared by the scheduler, the nodes and searches.

Anyone who has the keys can run code on every machine of the cluster. Dask creates them, valid for a year.
"""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from pipeline.config import SCHEDULER_PORT
from pipeline.errors import InputError

FILES = ("certificate.pem", "key.pem")
REASON_SECONDS = 5.0  # timeout of the connection that finds out why another one failed


def keys_folder(given: str | None = None) -> Path:
    """The folder of the keys: ``given``, else $TMLM_CLUSTER_KEYS, else one in the user's configuration folder."""
    chosen = given or os.environ.get("TMLM_CLUSTER_KEYS", "")
    return Path(chosen).expanduser() if chosen else platformdirs.user_config_path("time-machine-lm") / "cluster"


def has_keys(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def make_keys(folder: Path) -> None:
    """Create keys that only their owner can read. Raises InputError if the folder has keys already."""
    from distributed import Security

    if present := [name for name in FILES if (folder / name).exists()]:
        raise InputError(f"{folder} has {' and '.join(present)} already; give another DIR, or remove them first")
    made = Security.temporary()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in zip(FILES, (made.tls_ca_file, made.tls_client_key), strict=True):
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)


@dataclass(frozen=True)
class Address:
    """Where a scheduler listens, and the folder with the keys to connect to it; ``keys`` is None without TLS."""

    host: str
    port: int
    keys: Path | None

    def __str__(self) -> str:
        return f"{self.protocol}://{netloc(self.host, self.port)}"

    @property
    def protocol(self) -> str:
        return "tcp" if self.keys is None else "tls"

    @classmethod
    def read(cls, text: str, keys: Path) -> "Address":
        """Parse tls://HOST:PORT, or tcp://HOST:PORT on the loopback interface. Raises InputError for anything else."""
        try:
            url = urlsplit(text)
            host, port = url.hostname, url.port or SCHEDULER_PORT
        except ValueError:
            host, port = None, 0
        if not host or url.scheme not in ("tls", "tcp"):
            raise InputError(
                f"{text!r} is not the address of a scheduler; give tls://HOST:PORT, as `tmlm cluster serve` prints it"
            )
        if url.scheme == "tcp" and not is_loopback(host):
            raise InputError(
                f"{text} is without TLS, which is allowed on the loopback interface only; give tls://{host}:{port}"
            )
        if url.scheme == "tls" and not has_keys(keys):
            raise InputError(
                f"{text} needs keys, and {keys} has none; give the folder that `tmlm cluster keys` created in "
                "TMLM_CLUSTER_KEYS"
            )
        return cls(host, port, keys if url.scheme == "tls" else None)

    @classmethod
    def to_serve(cls, host: str, port: int, keys: Path) -> "Address":
        """The address to listen on, with TLS if there are keys. Raises InputError without keys, except on loopback."""
        try:
            if ipaddress.ip_address(host).is_unspecified:
                raise InputError(f"--host {host} means every interface; give the address of one of them")
        except ValueError:
            if host != "localhost":
                raise InputError(
                    f"--host {host} is not an IP address; give that of the interface to listen on"
                ) from None
        if not has_keys(keys) and not is_loopback(host):
            raise InputError(f"--host {host} needs keys, and {keys} has none; create them: tmlm cluster keys {keys}")
        return cls(host, port, keys if has_keys(keys) else None)

    def security(self) -> Any:
        """The ``distributed.Security`` of a connection, with certificates on both sides; None without TLS."""
        from distributed import Security

        if self.keys is None:
            return None
        certificate, key = (str(self.keys / name) for name in FILES)
        credentials = {
            f"tls_{role}_{kind}": file
            for role in ("client", "scheduler", "worker")
            for kind, file in (("cert", certificate), ("key", key))
        }
        return Security(require_encryption=True, tls_ca_file=certificate, **credentials)

    def unreachable_reason(self) -> str:
        """Why connecting failed: the system's error if nothing listens at the address, else the likely causes."""
        try:
            socket.create_connection((self.host, self.port), timeout=REASON_SECONDS).close()
        except OSError as error:
            return str(error)
        return "the server there is not a scheduler, has other keys, or is too busy"


def netloc(host: str, port: int) -> str:
    """HOST:PORT as in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
