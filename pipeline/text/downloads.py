"""Downloads: by https only, whole or not there, and given up when nothing more comes.

One rule bounds all that can hang (name look-up, connection, handshake, headers, body): a server that sends fewer than
SLOW_BYTES in SLOW_SECONDS is given up.
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

SAY_SECONDS = 5.0  # a download that takes longer says so, then again after three times as long

PART_BYTES = 8192

POLL_SECONDS = 0.2

ABANDONED_SECONDS = 3600.0  # a part that nobody has added to for so long was left by a process that is gone


def cache_dir() -> Path:
    """Where downloads and prepared texts are kept: $TMLM_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("TMLM_CACHE_DIR")
    return Path(os.path.expanduser(own)) if own else platformdirs.user_cache_path("time-machine-lm")


def is_address(corpus: str) -> bool:
    return corpus.partition("://")[0].lower() in ("http", "https")


def public(address: str) -> str:
    """An http address as it may be shown and recorded: without user name, password, query and fragment.

    Any of these may hold a secret: a signed address, for one, is as good as a password. Anything else is left as it is.
    """
    if not is_address(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{re.split(r'[?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept_downloads(address: str) -> list[Path]:
    """The files that were downloaded from a recorded address with what the record leaves out, the latest first."""
    found = (cache_dir() / "downloads").glob(f"{_digest(address)}-*.txt")
    return sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)


def _kept(url: str) -> Path:
    """The file in the cache of an address; its name tells to which recorded address it belongs."""
    folder = cache_dir() / "downloads"
    plain = folder / f"{_digest(url)}.txt"
    return plain if public(url) == url or plain.is_file() else folder / f"{_digest(public(url))}-{_digest(url)}.txt"


def download(url: str, online: bool, file: str = "", known_sha256: str | None = None) -> Path:
    """The file behind an https address, from the cache where it is kept (as ``file``, where its digest is known).

    Raises InputError for what is no https address, and DataUnavailableError with the reason for what can't be had.
    """
    shown = public(url)
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname and (parts.port is None or parts.port))
    except ValueError:
        parts, whole = None, False
    if parts is None or not whole:
        raise InputError(f"--corpus {shown} is not an address; give https://HOST/PATH, or a file")
    if parts.scheme != "https":
        raise InputError(f"--corpus {shown} is not https; only https addresses are downloaded")
    folder = cache_dir() / "downloads"
    kept = folder / file if file else _kept(url)
    if known_sha256 is None and kept.is_file():
        return kept
    if not online or os.environ.get("TMLM_OFFLINE"):
        raise DataUnavailableError(f"{shown}: not asked ({'TMLM_OFFLINE is set' if online else 'offline'})")
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    known_hash = f"sha256:{known_sha256}" if known_sha256 else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{kept.name}.lock"):  # of several who want it, one asks
            _sweep(folder)
            pooch.retrieve(url, known_hash, fname=kept.name, path=folder, downloader=fetch)
    except ValueError as error:  # pooch: the digest is another one
        raise DataUnavailableError(f"{shown}: another text than the book's (wrong sha256)") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataUnavailableError(f"{shown}: can't be downloaded to {cache_dir()}: {reason}") from error
    return kept


def _sweep(folder: Path) -> None:
    """Remove the parts that killed downloads have left; pooch names them tmp and random letters."""
    for part in folder.glob("tmp*"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
        except FileNotFoundError:  # another process swept it, or has it whole
            continue


class _Transfer(threading.Thread):
    """One request, in a thread of its own: whatever hangs in it, the one who waits can give it up."""

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
        except Exception as error:  # whatever it is, the one who waits raises it
            self.error = error

    def _get(self) -> None:
        import requests

        # the one who waits gives up first; the limits here end the thread
        limits = (CONNECT_SECONDS, 3 * SLOW_SECONDS)
        with requests.get(self.url, stream=True, timeout=limits, hooks={"response": _stay_on_https}) as response:
            response.raise_for_status()
            response.raw.enforce_content_length = True  # urllib3 before 2 takes a cut connection for the end
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
    """Write what an address holds to a file. Raises DataUnavailableError with the reason; the file is then partial.

    The arguments are those that pooch calls its downloaders with.
    """
    shown = public(url)
    transfer = _Transfer(url, output_file)
    started = time.monotonic()
    transfer.start()
    window, before, say_at = started, 0, started + SAY_SECONDS
    try:
        while transfer.is_alive():
            transfer.join(POLL_SECONDS)
            now = time.monotonic()
            if now - window >= SLOW_SECONDS:
                if transfer.is_alive() and transfer.received - before < SLOW_BYTES:
                    raise DataUnavailableError(
                        f"{shown}: given up, since {transfer.received - before:,} bytes came in {SLOW_SECONDS:g} s"
                    )
                window, before = now, transfer.received
            if now >= say_at:
                log.warning("downloading %s: %s bytes in %.0f s", shown, f"{transfer.received:,}", now - started)
                say_at = now + 2 * (now - started)
    finally:
        transfer.given_up = True
    if transfer.error is not None:
        raise _reason(transfer) from transfer.error


def _reason(transfer: _Transfer) -> Exception:
    """Why a transfer failed, in words; what is not the network's fault as it is."""
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
            reason = "no secure connection (if its certificate is of your own authority, REQUESTS_CA_BUNDLE names that)"
        case requests.TooManyRedirects():
            reason = "redirected without end"
        case requests.ConnectionError():
            reason = "no connection"
        case requests.RequestException() | ValueError():
            reason = f"can't be asked ({str(error).replace(transfer.url, public(transfer.url))})"
        case _:
            assert error is not None
            return error
    return DataUnavailableError(f"{public(transfer.url)}: {reason}")
