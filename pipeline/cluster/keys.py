"""The keys of a cluster: one self-signed certificate and its key, shared by the scheduler, the nodes and searches.

Anyone who has the keys can run code on every machine of the cluster. They name the addresses of its head.
"""

import ipaddress
import os
import re
import socket
import ssl
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
import psutil

from pipeline.config import SCHEDULER_PORT
from pipeline.errors import InputError

VARIABLE = "TMLM_CLUSTER_KEYS"  # names the folder of the keys
FILES = ("certificate.pem", "key.pem")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
VALID = timedelta(days=365)
CLOCKS_DIFFER = timedelta(days=1)  # at most, between machines
REASON_SECONDS = 5.0  # timeout of the connection that finds out why another one failed


def keys_folder(given: str | None = None) -> Path:
    """The folder of the keys: ``given``, else $TMLM_CLUSTER_KEYS, else one in the user's configuration folder."""
    chosen = given or os.environ.get(VARIABLE, "")
    return Path(chosen).expanduser() if chosen else platformdirs.user_config_path("time-machine-lm") / "cluster"


def has_keys(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def make_keys(folder: Path, hosts: Sequence[str] = ()) -> None:
    """Create keys that only their owner can read, for a head of these names or IP addresses (default: this machine's).

    Raises InputError for any other host, and for a folder that has keys already, is open to others or can't be used.
    """
    for host in hosts:
        if not is_ip(host) and not re.fullmatch(r"[\w*.-]+", host, re.ASCII):
            raise InputError(f"--head {host!r} is no name and no IP address; give one, without a port")
    if present := [name for name in FILES if (folder / name).exists()]:
        raise InputError(f"{folder} has {' and '.join(present)} already; give another DIR, or remove them first")
    certificate, key = _new_keys(dict.fromkeys([*(hosts or own_hosts()), *LOOPBACK]))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_is_private(folder)
        for name, content in zip(FILES, (certificate, key + certificate), strict=True):  # MLflow reads both from one
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
    except OSError as error:
        raise InputError(f"DIR {folder} can't have keys: {error.strerror}; give another DIR, or {VARIABLE}") from error


def own_hosts() -> list[str]:
    """The IP addresses of this machine's interfaces."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = [each for interface in psutil.net_if_addrs().values() for each in interface if each.family in families]
    return [address.address.partition("%")[0] for address in found]  # without the scope of a link-local address


def _new_keys(hosts: Iterable[str]) -> tuple[bytes, bytes]:
    """A self-signed certificate for these names and IP addresses, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    named = [x509.IPAddress(ipaddress.ip_address(host)) if is_ip(host) else x509.DNSName(host) for host in hosts]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "time-machine-lm cluster")])
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
         "encipher_only", "decipher_only"), False
    )  # fmt: skip
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(named), False),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(digital_signature=True, key_cert_sign=True, **uses), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCKS_DIFFER).not_valid_after(now + VALID)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    encoding = serialization.Encoding.PEM
    plain = (encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(encoding), key.private_bytes(*plain)


def _check_is_private(folder: Path) -> None:
    """Raise InputError if others than their owner and its group can read the key, or put another one in its place."""
    mode, key = folder.stat().st_mode, folder / FILES[1]
    may_replace = mode & stat.S_IWOTH and not mode & stat.S_ISVTX  # a Kubernetes secret has the sticky bit
    if may_replace or (key.exists() and key.stat().st_mode & stat.S_IRWXO):
        raise InputError(
            f"{folder} can be read or changed by other users of this machine: chmod 700 {folder}, chmod 600 "
            f"{folder}/*.pem"
        )


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
                f"{text!r} is not the address of a scheduler; give tls://HOST:{SCHEDULER_PORT}, as `tmlm cluster "
                "serve` prints it"
            )
        if url.scheme == "tcp" and not is_loopback(host):
            raise InputError(
                f"{text} is without TLS, which is allowed on the loopback interface only; give tls://{host}:{port}"
            )
        if url.scheme == "tcp":
            return cls(host, port, None)
        if not has_keys(keys):
            created = "the folder that `tmlm cluster keys` created"
            raise InputError(f"{text} needs keys, and {keys} has none; give {created} in {VARIABLE}")
        _check_is_private(keys)
        return cls(host, port, keys)

    @classmethod
    def to_serve(cls, host: str, port: int, keys: Path | None) -> "Address":
        """The address to listen on; without TLS if ``keys`` is None, which raises InputError except on loopback.

        The folder ``keys`` may be empty yet. Raises InputError for keys that others can read.
        """
        if not is_ip(host) and host != "localhost":
            raise InputError(f"--host {host} is not an IP address; give that of the interface to listen on")
        if is_ip(host) and ipaddress.ip_address(host).is_unspecified:
            raise InputError(f"--host {host} means every interface; give the address of one of them")
        if keys is None and not is_loopback(host):
            raise InputError(f"--without-tls is allowed on the loopback interface only, and --host is {host}")
        if keys is not None and has_keys(keys):
            _check_is_private(keys)
        return cls(host, port, keys)

    @property
    def certified_host(self) -> str:
        """The host if the certificate has it, else the first name there, such as that of a Kubernetes service.

        Raises InputError if the certificate has neither.
        """
        if self.keys is None or self.host in (hosts := _hosts_of(self.keys)):
            return self.host
        if names := [host for host in hosts if host not in LOOPBACK and not is_ip(host)]:
            return names[0]
        raise InputError(
            f"the keys in {self.keys} are for {', '.join(hosts)}; create others: "
            f"tmlm cluster keys DIR --head {self.host}"
        )

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

    def tls(self) -> ssl.SSLContext:
        """The context of a connection to the head; only with keys."""
        assert self.keys is not None
        context = ssl.create_default_context(cafile=str(self.keys / FILES[0]))
        context.load_cert_chain(self.keys / FILES[0], self.keys / FILES[1])
        return context

    def mlflow_settings(self) -> dict[str, str]:
        """MLflow's variables with which a client connects to the cluster's MLflow server."""
        if self.keys is None:
            return {}
        names = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
        return {name: str(self.keys / file) for name, file in zip(names, FILES, strict=True)}

    def unreachable_reason(self) -> str:
        """Why connecting failed: the error of the system or of TLS (an expired certificate, say), or likely causes."""
        try:
            with socket.create_connection((self.host, self.port), timeout=REASON_SECONDS) as connection:
                if self.keys is not None:
                    context = self.tls()
                    context.check_hostname = False  # as dask
                    context.wrap_socket(connection).close()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except OSError as error:
            return str(error)
        return "the server there is not a scheduler, has other keys, or is too busy"


def _hosts_of(keys: Path) -> list[str]:
    """The names and addresses that a certificate is for."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate((keys / FILES[0]).read_bytes())
    except ValueError:
        raise InputError(f"{keys / FILES[0]} is no certificate; create the keys anew: tmlm cluster keys DIR") from None
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each.value) for each in named]


def netloc(host: str, port: int) -> str:
    """HOST:PORT as in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)
