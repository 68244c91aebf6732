"""Downloads over https into the cache: written atomically, bounded in time, and checked against a known digest."""

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

from filelock import FileLock

from pipeline.errors import DataUnavailableError, InputError, without_secrets
from pipeline.support.files import atomic_write, leftovers
from pipeline.text.cache import cache_dir

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS, PART_SECONDS = 3.0, 10.0  # until a server is connected, and until its next bytes arrive
TOTAL_SECONDS = 1200.0
PART_BYTES = 1024
MOST_BYTES = 2_000_000_000


def is_address(text: str) -> bool:
    """Whether a text is an address, not a path."""
    return "://" in text


def kept_file(url: str) -> Path:
    """The cache file of a user's address."""
    digests = (hashlib.sha256(address.encode()).hexdigest()[:16] for address in (without_secrets(url), url))
    return cache_dir() / "downloads" / f"{'-'.join(digests)}.txt"


def download(url: str, online: bool, file: str = "", known_sha256: str = "", refresh: bool = False) -> Path:
    """Download an https address into the cache, unless it is there already; returns the file.

    ``file`` is its name in the cache. A kept file counts if it has the digest ``known_sha256``, or, without a known
    digest, unless ``refresh``. Raises InputError for anything but an https address, and DataUnavailableError, with the
    reason, if the download fails or is not allowed (``online`` is False or TMLM_OFFLINE is set).
    """
    try:
        url.encode()  # half of a surrogate pair can't be requested
        parts = urlsplit(url)
        is_valid = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise InputError(f"--corpus {url} is not an https address; give https://HOST/PATH, or the path of a UTF-8 file")
    kept = cache_dir() / "downloads" / file if file else kept_file(url)

    def is_kept() -> bool:
        digests = ("", hashlib.sha256(kept.read_bytes()).hexdigest()) if kept.is_file() else ()
        return known_sha256 in digests and not refresh

    if is_kept():
        return kept
    if not online or os.environ.get("TMLM_OFFLINE"):
        raise DataUnavailableError(f"{url}: not downloaded ({'TMLM_OFFLINE is set' if online else 'offline'})")
    try:
        with FileLock(kept.with_suffix(".lock")):  # only one of several processes downloads it
            if is_kept():
                return kept
            for part in leftovers(kept):
                part.unlink()
            with atomic_write(kept) as target:
                if fetch(url, target) != known_sha256 and known_sha256:
                    raise DataUnavailableError(f"{url}: not the expected text (wrong sha256)")
    except OSError as error:
        reason = error.strerror or error
        raise DataUnavailableError(f"{url}: can't be downloaded to {cache_dir()}: {reason}") from error
    return kept


def fetch(url: str, file: BinaryIO) -> str:
    """Download an address to an open file; returns the digest. Raises DataUnavailableError with the reason."""
    import requests

    digest, received = hashlib.sha256(), 0
    started, limits = time.monotonic(), (CONNECT_SECONDS, PART_SECONDS)
    try:
        with requests.get(url, stream=True, timeout=limits, hooks={"response": _stay_on_https}) as response:
            if response.status_code != requests.codes.ok:
                raise DataUnavailableError(f"{url}: HTTP status {response.status_code}")
            response.raw.enforce_content_length = True  # urllib3 before 2 mistakes a broken connection for the end
            for part in response.iter_content(PART_BYTES):
                file.write(part)
                digest.update(part)
                received += len(part)
                if received > MOST_BYTES:
                    raise DataUnavailableError(f"{url}: it has more than {MOST_BYTES:,} bytes; download it yourself")
                if (seconds := time.monotonic() - started) > TOTAL_SECONDS:
                    raise DataUnavailableError(f"{url}: given up after {received:,} bytes in {seconds:.0f} s")
    except requests.exceptions.SSLError as error:
        hint = "for a certificate of your own authority, set REQUESTS_CA_BUNDLE"
        raise DataUnavailableError(f"{url}: no secure connection ({hint})") from error
    except (requests.RequestException, ValueError) as error:  # their texts may hold the address with its secrets
        state = f"the connection broke off after {received:,} bytes" if received else "the request failed"
        raise DataUnavailableError(f"{url}: {state} ({type(error).__name__})") from error
    return digest.hexdigest()


def _stay_on_https(response: "requests.Response", *args: object, **kwargs: object) -> None:
    """Refuse a redirect to anything but https before it is followed."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if target.partition(":")[0] != "https":
            response.close()
            raise DataUnavailableError(f"{response.url}: redirected to {target}, which is not https")
