"""Downloads over https: atomic, cached, and aborted if they stall.

A download that receives fewer than SLOW_BYTES in SLOW_SECONDS is aborted, whichever part of it hangs: name lookup,
connection, handshake, headers or body.
"""

import hashlib
import logging
import os
import re
import threading
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import platformdirs
from filelock import FileLock

from pipeline.errors import DataUnavailableError, InputError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
SLOW_SECONDS, SLOW_BYTES = 20.0, 20_000
NOTICE_SECONDS = 5.0  # until a slow download is first logged; each further interval is twice the time so far
PART_BYTES = 8192
POLL_SECONDS = 0.2
ABANDONED_SECONDS = 3600.0  # a partial file that has not changed for so long was left by a killed process


def cache_dir() -> Path:
    """The folder of downloads and prepared texts: $TMLM_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("TMLM_CACHE_DIR")
    return Path(os.path.expanduser(own)) if own else platformdirs.user_cache_path("time-machine-lm")


def is_address(corpus: str) -> bool:
    """Whether the value of --corpus is an http or https address."""
    return corpus.partition("://")[0].lower() in ("http", "https")


def public(address: str) -> str:
    """An http(s) address without user name, password, query and fragment, to show and record; other text unchanged.

    Each of these parts may hold a secret, such as the signature of a signed address.
    """
    if not is_address(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{re.split(r'[?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def kept_downloads(address: str) -> list[Path]:
    """Files downloaded from addresses whose ``public`` form is this one, the latest first."""
    files = (cache_dir() / "downloads").glob(f"{_digest(address)}-*.txt")
    return sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)


def download(url: str, online: bool, file: str = "", known_sha256: str | None = None) -> Path:
    """Download an https address into the cache, unless it is already there; returns the file.

    ``file`` is its name in the cache; the content must have the digest ``known_sha256``, if given. Raises InputError
    for anything but an https address, and DataUnavailableError, with the reason, if the download fails or is not
    allowed (``online`` is False or TMLM_OFFLINE is set).
    """
    shown = public(url)
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname and (parts.port is None or parts.port))
    except ValueError:
        parts, is_valid = None, False
    if parts is None or not is_valid:
        raise InputError(f"--corpus {shown} is not an address; give https://HOST/PATH, or a file")
    if parts.scheme != "https":
        raise InputError(f"--corpus {shown} is not https; only https addresses are downloaded")
    folder = cache_dir() / "downloads"
    kept = folder / file if file else _kept(url)
    if known_sha256 is None and kept.is_file():
        return kept
    if not online or os.environ.get("TMLM_OFFLINE"):
        raise DataUnavailableError(f"{shown}: not downloaded ({'TMLM_OFFLINE is set' if online else 'offline'})")
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    known_hash = f"sha256:{known_sha256}" if known_sha256 else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{kept.name}.lock"):  # only one of several processes downloads it
            _sweep(folder)
            pooch.retrieve(url, known_hash, fname=kept.name, path=folder, downloader=fetch)
    except ValueError as error:  # pooch's error for a wrong digest
        raise DataUnavailableError(f"{shown}: not the expected text (wrong sha256)") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataUnavailableError(f"{shown}: can't be downloaded to {cache_dir()}: {reason}") from error
    return kept


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kept(url: str) -> Path:
    """The cache file of an address; its name holds the digest of the public address, for ``kept_downloads``."""
    folder = cache_dir() / "downloads"
    plain = folder / f"{_digest(url)}.txt"
    return plain if public(url) == url or plain.is_file() else folder / f"{_digest(public(url))}-{_digest(url)}.txt"


def _sweep(folder: Path) -> None:
    """Remove partial files of killed downloads, which pooch names tmp and random letters."""
    for part in folder.glob("tmp*"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
        except FileNotFoundError:  # another process removed or completed it
            continue


class _Transfer(threading.Thread):
    """A request in a separate thread, so that ``fetch`` can abandon it wherever it hangs."""

    def __init__(self, url: str, target: str) -> None:
        super().__init__(daemon=True)
        self.url, self.target = url, target
        self.answered = False
        self.given_up = False
        self.received = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._get()
        except Exception as error:  # of any kind; re-raised by ``fetch``
            self.error = error

    def _get(self) -> None:
        import requests

        # ``fetch`` gives up before these limits, which end the abandoned thread
        limits = (CONNECT_SECONDS, 3 * SLOW_SECONDS)
        with requests.get(self.url, stream=True, timeout=limits, hooks={"response": _stay_on_https}) as response:
            response.raise_for_status()
            response.raw.enforce_content_length = True  # urllib3 before 2 mistakes a broken connection for the end
            self.answered = True
            with open(self.target, "wb") as file:
                for part in response.iter_content(PART_BYTES):
                    file.write(part)
                    self.received += len(part)
                    if self.given_up:
                        return
                file.flush()
                os.fsync(file.fileno())


def _stay_on_https(response: object, *args: object, **kwargs: object) -> None:
    """Refuse a redirect to anything but https before it is followed."""
    import requests

    assert isinstance(response, requests.Response)
    if response.is_redirect:
        target = response.headers["location"]
        try:
            scheme = urlsplit(urljoin(response.url, target)).scheme
        except ValueError:
            scheme = ""
        if scheme != "https":
            response.close()
            raise DataUnavailableError(f"redirected to {public(target)}, which is not https")


def fetch(url: str, output_file: str, pooch: object) -> None:
    """Download an address to a file, as one of pooch's downloaders.

    Raises DataUnavailableError with the reason if that fails; the file may then be partial.
    """
    shown = public(url)
    transfer = _Transfer(url, output_file)
    started = time.monotonic()
    transfer.start()
    window, before, notice_at = started, 0, started + NOTICE_SECONDS
    try:
        while transfer.is_alive():
            transfer.join(POLL_SECONDS)
            now = time.monotonic()
            if now - window >= SLOW_SECONDS:
                if transfer.is_alive() and transfer.received - before < SLOW_BYTES:
                    raise DataUnavailableError(
                        f"{shown}: given up after {transfer.received - before:,} bytes in {SLOW_SECONDS:g} s"
                    )
                window, before = now, transfer.received
            if now >= notice_at:
                log.warning("downloading %s: %s bytes in %.0f s", shown, f"{transfer.received:,}", now - started)
                notice_at = now + 2 * (now - started)
    finally:
        transfer.given_up = True
    if transfer.error is not None:
        raise _reason(transfer) from transfer.error


def _reason(transfer: _Transfer) -> Exception:
    """The error to raise for a failed transfer: DataUnavailableError with the reason, or an unrelated error itself."""
    import requests

    error = transfer.error
    match error:
        case requests.HTTPError():
            reason = f"HTTP status {error.response.status_code}"
        case DataUnavailableError():
            reason = str(error)
        case requests.RequestException() if transfer.answered:
            reason = f"the connection broke off after {transfer.received:,} bytes"
        case requests.Timeout():
            reason = f"no connection within {CONNECT_SECONDS:g} s"
        case requests.exceptions.SSLError():
            reason = "no secure connection (for a certificate of your own authority, set REQUESTS_CA_BUNDLE)"
        case requests.TooManyRedirects():
            reason = "too many redirects"
        case requests.ConnectionError():
            reason = "no connection"
        case requests.RequestException() | ValueError():
            reason = f"the request failed ({str(error).replace(transfer.url, public(transfer.url))})"
        case _:
            assert error is not None
            return error
    return DataUnavailableError(f"{public(transfer.url)}: {reason}")
