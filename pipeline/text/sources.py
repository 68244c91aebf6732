"""Find the text that --corpus names, and read it in pieces, so that memory does not grow with its length.

A file is looked up at the given path and in $TMLM_DATA_DIR; a known text in $TMLM_DATA_DIR, in the user's cache, and
then downloaded. ``auto`` stands for The Time Machine and falls back, with a warning, to the documentation topics that
ship with Python, so that the pipeline runs without a network.
"""

import hashlib
import io
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from pipeline.config import Alphabet
from pipeline.errors import DataUnavailableError, InputError, without_secrets
from pipeline.text.cache import cache_dir
from pipeline.text.downloads import download, is_address

PIECE_SIZE = 1_000_000  # bytes or characters that are read at once
FALLBACK = "python-docs"


@dataclass(frozen=True)
class KnownText:
    """A text with a name of its own.

    One with ``addresses`` is downloaded when it is first used, and recognised by its digest, with line breaks LF;
    ``file`` is its name in $TMLM_DATA_DIR and in the cache. ``alphabet`` is what ``auto`` stands for.
    """

    title: str
    licence: str
    licence_fields: Mapping[str, str]  # of the metadata of a model's card
    alphabet: Alphabet
    has_reports_prompts: bool = False
    file: str = ""
    sha256: str = ""
    addresses: tuple[str, ...] = ()


KNOWN_TEXTS = {
    "time-machine": KnownText(
        title="The Time Machine",
        licence="It is in the public domain: H. G. Wells died in 1946.",
        licence_fields={"license": "mit"},  # the project's, as the text is in the public domain
        alphabet="letters",
        has_reports_prompts=True,
        file="timemachine.txt",
        sha256="8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
        addresses=(
            "https://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
            "https://d2l-data.s3.amazonaws.com/timemachine.txt",
            "https://raw.githubusercontent.com/d2l-ai/d2l-zh/592fbef84a684e752393edbf267c07dbc53e082b/data/timemachine.txt",
        ),
    ),
    "tiny-shakespeare": KnownText(
        title="Tiny Shakespeare",
        licence="It is in the public domain.",
        licence_fields={"license": "mit"},
        alphabet="raw",
        file="tinyshakespeare.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        addresses=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        ),
    ),
    FALLBACK: KnownText(
        title="the reference topics of Python's documentation",
        licence="Copyright Python Software Foundation, whose licence (PSF-2.0) permits copies.",
        licence_fields={
            "license": "other",
            "license_name": "psf-2.0",
            "license_link": "https://docs.python.org/3/license.html",
        },
        alphabet="letters",
    ),
}
UNKNOWN_LICENCE = "Its licence is not recorded: a model can repeat its text, so find out before you publish the model."


@dataclass(frozen=True)
class FoundText:
    """A text that was found: its name, a description of its source, and its file (or bytes, for Python's topics).

    ``missing`` says why it replaces the requested text; "" if it is that text. ``option`` named it, for messages.
    """

    name: str
    source: str
    content: Path | bytes
    missing: str = ""
    option: str = "--corpus"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the text within the block. Raises InputError if it can't be read, or decoded."""
        try:
            with io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb") as file:
                yield file
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.option} {self.source} is not UTF-8 text ({error.reason}: 0x{error.object[error.start]:02x}); "
                "convert it (iconv -t UTF-8) and try again"
            ) from None
        except OSError as error:
            raise InputError(f"{self.option} {self.source} can't be read: {error.strerror}") from None

    def sha256(self) -> str:
        """Digest of the bytes. Raises InputError for an unreadable file, and at the first NUL byte."""
        digest = hashlib.sha256()
        with self._opened() as file:
            while data := file.read(PIECE_SIZE):
                if b"\0" in data:
                    raise InputError(f"{self.option} {self.source} has NUL bytes; give a UTF-8 text file")
                digest.update(data)
        return digest.hexdigest()

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces that end with a line break (LF, whatever the file has) or the text.

        Raises InputError for a file that is not UTF-8 text.
        """
        with self._opened() as opened, io.TextIOWrapper(opened, encoding="utf-8-sig") as file:
            while piece := file.read(PIECE_SIZE) + file.readline():
                yield piece


def find_text(corpus: str, online: bool = True, refresh: bool = False) -> FoundText:
    """Find the text that ``--corpus`` names; downloads only if ``online``, and an address again if ``refresh``.

    Raises InputError for an unknown text or an unusable file, and DataUnavailableError if the download fails.
    """
    if corpus == "auto":
        try:
            return find_text("time-machine", online)
        except DataUnavailableError as error:
            return replace(find_text(FALLBACK), missing=str(error))
    if corpus == FALLBACK:
        from pydoc_data.topics import topics  # imported only here: 700 kB

        text = "\n\n".join(topics[topic] for topic in sorted(topics))
        source = f"reference topics of Python {platform.python_version()} (pydoc_data)"
        return FoundText(FALLBACK, source, text.encode())
    if corpus in KNOWN_TEXTS:
        return _published_text(corpus, online)
    if is_address(corpus):
        try:
            file = download(corpus, online, refresh=refresh)
        except DataUnavailableError as error:
            raise DataUnavailableError(f"--corpus {error}; check the address and the network, or give a file") from None
        return FoundText(_name_of(Path(urlsplit(corpus).path)), without_secrets(corpus), file)
    places = [os.path.join(folder, corpus) for folder in ("", os.environ.get("TMLM_DATA_DIR", ""))]
    for place in places:
        if found := find_file(place):
            return found
    looked = " or ".join(dict.fromkeys(os.path.abspath(os.path.expanduser(place)) for place in places))
    raise InputError(
        f"--corpus {corpus} is not a known text, and there is no file {looked}; give auto, {', '.join(KNOWN_TEXTS)}, "
        "the path of a UTF-8 file (under `mlflow run`, an absolute one) or an https address"
    )


def find_file(path: str, option: str = "--corpus") -> FoundText | None:
    """Find a text by its path; None if there is no file. Raises InputError for anything but a readable file."""
    if is_address(path):
        raise InputError(f"{option} {path} is an address; give the path of a UTF-8 text file")
    try:
        path.encode()  # a name that is not Unicode can't be recorded
        place = Path(path).expanduser().resolve()  # so that the recorded path is valid from any folder
        if not place.is_file() and place.exists():
            kind = "a folder" if place.is_dir() else "not a regular file"
            raise InputError(f"{option} {path} can't be read: it is {kind}; give a UTF-8 text file")
        place.open("rb").close()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{option} {path} can't be read: {error}; give a UTF-8 text file") from None
    return FoundText(_name_of(place), str(place), place, option=option)


def usual_alphabet(name: str) -> Alphabet:
    """The alphabet that ``--alphabet auto`` stands for, of a text with this name."""
    return KNOWN_TEXTS[name].alphabet if name in KNOWN_TEXTS else "raw"


def licence_of(name: str) -> str:
    """The licence of a text, in a sentence."""
    return KNOWN_TEXTS[name].licence if name in KNOWN_TEXTS else UNKNOWN_LICENCE


def _name_of(path: Path) -> str:
    """A text's name, from its file name; "-file" is appended if a known text has that name."""
    name = "".join(character if character.isprintable() else "_" for character in path.stem)
    return f"{name}-file" if name in (*KNOWN_TEXTS, "auto") else name or "text"


def _published_text(name: str, online: bool) -> FoundText:
    """Find one of KNOWN_TEXTS by its digest. Raises DataUnavailableError that lists everything that was tried."""
    published = KNOWN_TEXTS[name]
    tried = []
    for folder in filter(None, [os.environ.get("TMLM_DATA_DIR"), str(cache_dir() / "downloads")]):
        path = Path(folder, published.file)
        try:
            found = find_file(str(path))
            sha256 = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        except (OSError, InputError) as error:
            tried.append(str(error))
        else:
            if found and sha256 == published.sha256:
                return replace(found, name=name)
            tried.append(f"{path}: another text (sha256 {sha256[:8]}..., not {published.sha256[:8]}...)")
    for url in published.addresses:
        try:
            return FoundText(name, url, download(url, online, published.file, published.sha256))
        except DataUnavailableError as error:
            tried.append(str(error))
    raise DataUnavailableError(
        f"{published.title} is not available. Tried:\n  "
        + "\n  ".join(tried)
        + f"\nPut its {published.file} into a folder and set TMLM_DATA_DIR to it, or use --corpus {FALLBACK}."
    )
