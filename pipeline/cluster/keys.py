"""The keys of a cluster: a certificate authority and one certificate, which the scheduler, nodes and searches share.

Whoever has them may run code on every machine of the cluster. The authority's own key is not kept: nobody can add a
certificate later, and new keys replace all earlier ones.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from pipeline.errors import InputError

CA_FILE, CERTIFICATE_FILE, KEY_FILE = FILES = ("ca.pem", "certificate.pem", "key.pem")
NEITHER = (False,) * 4  # content commitment, encipherment of keys and data, key agreement
VALID_DAYS = 3650
SCHEDULER_PORT = 8786


def keys_folder(given: str | None = None) -> Path:
    """The folder of the keys: ``given``, else $TMLM_CLUSTER_KEYS, else one in the user's configuration folder."""
    own = given or os.environ.get("TMLM_CLUSTER_KEYS", "")
    return Path(own).expanduser() if own else platformdirs.user_config_path("time-machine-lm") / "cluster"


def has_keys(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def make_keys(folder: Path) -> None:
    """Make the keys, readable by their owner only. InputError if the folder has some already."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if present := [name for name in FILES if (folder / name).exists()]:
        raise InputError(f"{folder} has {', '.join(present)} already; give another DIR, or remove them first")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tmlm cluster")]), datetime.now(UTC)

    def certificate(name: str, public_key: ec.EllipticCurvePublicKey, is_ca: bool) -> bytes:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        built = (
            x509.CertificateBuilder(ca_name, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
            .add_extension(x509.KeyUsage(not is_ca, *NEITHER, is_ca, is_ca, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        return built.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = {
        CA_FILE: certificate("tmlm cluster", ca_key.public_key(), is_ca=True),
        CERTIFICATE_FILE: certificate("tmlm member", key.public_key(), is_ca=False),
        KEY_FILE: private,
    }
    for name, content in contents.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


@dataclass(frozen=True)
class Address:
    """Where a scheduler listens, and the folder with the keys to reach it; ``keys`` is None without TLS."""

    host: str
    port: int
    keys: Path | None

    def __str__(self) -> str:
        return f"{'tcp' if self.keys is None else 'tls'}://{netloc(self.host, self.port)}"

    @classmethod
    def read(cls, text: str, keys: Path) -> "Address":
        """Read tls://HOST:PORT, or tcp://HOST:PORT on the loopback interface. InputError for anything else."""
        try:
            url = urlsplit(text)
            host, port = url.hostname, url.port or SCHEDULER_PORT
        except ValueError:
            host, port = None, 0
        if not host or url.scheme not in ("tls", "tcp"):
            raise InputError(
                f"{text!r} is no address of a scheduler; give tls://HOST:PORT, as `tmlm cluster serve` prints"
            )
        if url.scheme == "tcp" and not is_loopback(host):
            raise InputError(
                f"{text} is without TLS, which only the loopback interface may be; give tls://{host}:{port}"
            )
        if url.scheme == "tls" and not has_keys(keys):
            raise InputError(
                f"{text} needs keys, and {keys} has none; give the folder that `tmlm cluster keys` made as --keys or "
                "TMLM_CLUSTER_KEYS"
            )
        return cls(host, port, keys if url.scheme == "tls" else None)

    @classmethod
    def to_serve(cls, host: str, port: int, keys: Path) -> "Address":
        """The address to listen on: with TLS if there are keys. InputError without keys, unless it is loopback."""
        try:
            if ipaddress.ip_address(host).is_unspecified:
                raise InputError(f"--host {host} is every interface; give the address of one of them")
        except ValueError:
            if host != "localhost":
                raise InputError(f"--host {host} is no IP address; give that of the interface to listen on") from None
        if not has_keys(keys) and not is_loopback(host):
            raise InputError(f"--host {host} needs keys, and {keys} has none; make them: tmlm cluster keys {keys}")
        return cls(host, port, keys if has_keys(keys) else None)

    def security(self) -> Any:
        """What dask.distributed calls Security: TLS with certificates on both sides; None without TLS."""
        from distributed import Security

        if self.keys is None:
            return None
        ca, certificate, key = (str(self.keys / name) for name in FILES)
        of_each = {
            f"tls_{role}_{kind}": file
            for role in ("client", "scheduler", "worker")
            for kind, file in (("cert", certificate), ("key", key))
        }
        return Security(require_encryption=True, tls_ca_file=ca, **of_each)


def netloc(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
