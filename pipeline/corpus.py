"""Corpus: where a text comes from, the symbols it is reduced to, and its splits.

The order in which a text is looked for: the path that was given; $TMLM_DATA_DIR/<file>; the user's cache; download
(https only, checked against the known digest). ``auto`` asks for The Time Machine and falls back, loudly, to the
reference topics inside every Python, so that the pipeline runs with no network at all.
"""

import hashlib
import json
import logging
import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray

from models.ngram import Baselines, baselines
from pipeline.code_digest import code_digest
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL, Alphabet, CorpusConfig, PresetName
from pipeline.errors import DataUnavailableError, InputError
from pipeline.files import write_atomically
from pipeline.vocabulary import Vocabulary, normalise

log = logging.getLogger(__name__)

TRAIN_SHARE, VAL_SHARE = 0.90, 0.05  # of the text's characters; the rest is the test text

TIME_MACHINE_FILE = "timemachine.txt"
TIME_MACHINE_SHA256 = "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516"
TIME_MACHINE_LETTERS_SHA256 = "9f258eadf409c46591c5c61d72c087cb825faf419c9f87ceb580f0eacb30c506"
TIME_MACHINE_MIRRORS = (
    "https://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
    "https://d2l-data.s3.amazonaws.com/timemachine.txt",
    "https://raw.githubusercontent.com/d2l-ai/d2l-zh/592fbef84a684e752393edbf267c07dbc53e082b/data/timemachine.txt",
)
CONNECT_SECONDS, READ_SECONDS = 3.0, 20.0
FALLBACK = "python-docs"
FALLBACK_WARNING = (
    f"FALLING BACK to {FALLBACK}, the reference topics inside this Python, in place of The Time Machine: "
    "perplexities of different texts do not compare."
)
KNOWN_TEXTS = ("time-machine", FALLBACK)


def cache_dir() -> Path:
    """Where downloads and prepared texts are kept: $TMLM_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("TMLM_CACHE_DIR")
    return Path(own).expanduser() if own else platformdirs.user_cache_path("time-machine-lm")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- where a text comes from -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundText:
    """A text as it was found: its name, where it came from in words, its bytes.

    ``missing`` tells why it stands in for another one; it is empty where the text is the one that was asked for.
    """

    name: str
    source: str
    data: bytes
    missing: str = ""


def find_text(corpus: str, online: bool = True) -> FoundText:
    """The text that ``--corpus`` means; nothing is downloaded unless ``online``."""
    if corpus == "auto":
        try:
            return find_text("time-machine", online)
        except DataUnavailableError as error:
            return replace(find_text(FALLBACK), missing=str(error))
    if corpus == "time-machine":
        return _time_machine(online)
    if corpus == FALLBACK:
        from pydoc_data.topics import topics  # 700 kB: only when asked for

        text = "\n\n".join(topics[topic] for topic in sorted(topics))
        source = f"reference topics of Python {platform.python_version()} (pydoc_data)"
        return FoundText(FALLBACK, source, text.encode())
    if urlsplit(corpus).scheme in ("http", "https"):
        return FoundText(_name_of(Path(urlsplit(corpus).path)), corpus, _download(corpus, None, online))
    return _file(corpus)


def _name_of(path: Path) -> str:
    """A text's name by its file; a known name is only for the text that it names."""
    return f"{path.stem}-file" if path.stem in (*KNOWN_TEXTS, "auto") else path.stem or "text"


def _file(corpus: str) -> FoundText:
    data_dir = os.environ.get("TMLM_DATA_DIR")
    for place in [Path(corpus)] + ([Path(data_dir) / corpus] if data_dir else []):
        try:
            path = place.expanduser().resolve()  # so that it is found again from another folder
            return FoundText(_name_of(path), str(path), path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"--corpus {corpus} can't be read: {error}; give a UTF-8 text file") from None
    raise InputError(
        f"--corpus {corpus} is not a known text and no such file exists; give auto, time-machine, {FALLBACK}, "
        "the path of a UTF-8 file or an https address"
    )


def _is_time_machine(data: bytes) -> bool:
    if sha256(data) == TIME_MACHINE_SHA256:
        return True
    text = normalise(data.decode("utf-8", "replace"), "letters")
    return sha256(text.encode()) == TIME_MACHINE_LETTERS_SHA256


def _time_machine(online: bool) -> FoundText:
    """The exact text. Raises DataUnavailableError with all that was tried."""
    tried = []
    data_dir = os.environ.get("TMLM_DATA_DIR")
    local = [Path(data_dir) / TIME_MACHINE_FILE] if data_dir else []
    for path in [*local, cache_dir() / "downloads" / TIME_MACHINE_FILE]:
        try:
            data = path.read_bytes()
        except OSError as error:
            tried.append(f"{path}: {error.strerror}")
            continue
        if _is_time_machine(data):
            return FoundText("time-machine", str(path.resolve()), data)
        tried.append(f"{path}: another text (sha256 {sha256(data)[:8]}..., not {TIME_MACHINE_SHA256[:8]}...)")
    for url in TIME_MACHINE_MIRRORS:
        try:
            return FoundText("time-machine", url, _download(url, TIME_MACHINE_SHA256, online))
        except DataUnavailableError as error:
            tried.append(str(error))
    raise DataUnavailableError(
        "The Time Machine can't be had. Tried:\n  "
        + "\n  ".join(tried)
        + f"\nPut the book's {TIME_MACHINE_FILE} into a folder and set TMLM_DATA_DIR to it, or use --corpus {FALLBACK}."
    )


def _download(url: str, known_sha256: str | None, online: bool) -> bytes:
    """The bytes behind an https address, kept in the cache. Raises DataUnavailableError with the reason."""
    if urlsplit(url).scheme != "https":
        raise InputError(f"--corpus {url} is not https; only https addresses are downloaded")
    if not online or os.environ.get("TMLM_OFFLINE"):
        raise DataUnavailableError(f"{url}: not asked ({'TMLM_OFFLINE is set' if online else 'offline'})")
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    file = TIME_MACHINE_FILE if known_sha256 else f"{sha256(url.encode())[:16]}.txt"
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{known_sha256}" if known_sha256 else None,
            fname=file,
            path=cache_dir() / "downloads",
            downloader=downloader,
        )
        return Path(path).read_bytes()
    except requests.Timeout as error:
        raise DataUnavailableError(f"{url}: no answer in time") from error
    except requests.HTTPError as error:
        raise DataUnavailableError(f"{url}: HTTP status {error.response.status_code}") from error
    except requests.RequestException as error:
        raise DataUnavailableError(f"{url}: no connection") from error
    except ValueError as error:  # pooch: the digest is another one
        raise DataUnavailableError(f"{url}: another text than the book's (wrong sha256)") from error
    except OSError as error:
        raise DataUnavailableError(f"{url}: can't be kept in {cache_dir()}: {error.strerror}") from error


# --- the prepared text -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """A prepared text: ids on disk, mapped into memory, with what tells where they came from.

    ``source_sha256`` is the digest of the bytes that were read, ``corpus_sha256`` that of the normalised text as
    UTF-8: the identity by which results on it may be compared. ``is_fallback``: it stands in for The Time Machine.
    """

    name: str
    source: str
    is_fallback: bool
    source_sha256: str
    corpus_sha256: str
    vocabulary: Vocabulary
    ids: NDArray[np.integer]
    folder: Path

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label(self) -> str:
        """The name by which records tell it from others: the alphabet is part of what a perplexity is about."""
        alphabet = self.vocabulary.alphabet
        return self.name if alphabet == "letters" else f"{self.name}-{alphabet}"

    def spans(self, preset: PresetName) -> dict[str, tuple[int, int]]:
        """First and past-the-last character of each split.

        stream: 90, 5 and 5 % of the text, in its order. report: the characters under its 10,000 training and 5,000
        validation windows. The test text is the last 5 % under both, so that their test figures compare.
        """
        train_end = int(TRAIN_SHARE * len(self))
        val_end = train_end + int(VAL_SHARE * len(self))
        if preset == "report":
            needed = WINDOW_TRAIN + WINDOW_VAL + WINDOW_LENGTH
            if val_end < needed:
                raise InputError(
                    f"{self.name} has {len(self):,} characters; --preset report needs {needed:,} before the last 5 %: "
                    "use a longer --corpus or --preset stream"
                )
            return {
                "train": (0, WINDOW_TRAIN + WINDOW_LENGTH),
                "val": (WINDOW_TRAIN, WINDOW_TRAIN + WINDOW_VAL + WINDOW_LENGTH),
                "test": (val_end, len(self)),
            }
        return {"train": (0, train_end), "val": (train_end, val_end), "test": (val_end, len(self))}

    def split(self, preset: PresetName, split: str) -> NDArray[np.integer]:
        """The ids of a split, a view of the mapped file."""
        start, end = self.spans(preset)[split]
        return self.ids[start:end]

    def baselines(self, preset: PresetName) -> dict[str, Baselines]:
        """Perplexity of the uniform, unigram and Kneser-Ney models of the training text, on "val" and "test".

        Fitted once for each text, preset and version of models/ngram.py, and kept beside the ids.
        """
        kept = self.folder / f"baselines-{preset}-{code_digest('models.ngram')}.json"
        if kept.is_file():
            return {split: Baselines(**values) for split, values in json.loads(kept.read_text()).items()}
        held_out = {split: self.split(preset, split) for split in ("val", "test")}
        result = baselines(self.split(preset, "train"), held_out, len(self.vocabulary))
        write_atomically(kept, json.dumps({split: asdict(values) for split, values in result.items()}).encode())
        return result


def load_corpus(config: CorpusConfig) -> Corpus:
    """Find the text, reduce it to its alphabet and map its ids into memory; the second time from the cache.

    Raises InputError for a text that can't be used and DataUnavailableError for one that can't be had.
    """
    found = find_text(config.corpus)
    if found.missing:
        log.warning("%s\n%s", found.missing, FALLBACK_WARNING)
    source_sha256 = sha256(found.data)
    key = sha256("\n".join([found.name, config.alphabet, source_sha256, code_digest("pipeline.corpus")]).encode())
    folder = cache_dir() / "prepared" / f"{found.name}-{config.alphabet}-{key[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the cache {cache_dir()} can't be written: {error.strerror}; set TMLM_CACHE_DIR") from None
    with FileLock(folder / "lock"):
        facts = _read_facts(folder)
        if facts is None:
            facts = _prepare(folder, found, config.alphabet)
    vocabulary = Vocabulary(config.alphabet, tuple(facts["symbols"]))
    ids = np.memmap(folder / "ids.bin", dtype=vocabulary.dtype, mode="c")  # copy on write: torch wants it writable
    return Corpus(
        name=found.name,
        source=found.source,
        is_fallback=bool(found.missing),
        source_sha256=source_sha256,
        corpus_sha256=facts["corpus_sha256"],
        vocabulary=vocabulary,
        ids=ids,
        folder=folder,
    )


def _read_facts(folder: Path) -> dict | None:
    """What an earlier call prepared, or None if there is nothing whole."""
    facts_file, ids_file = folder / "corpus.json", folder / "ids.bin"
    if not facts_file.is_file() or not ids_file.is_file():
        return None
    facts: dict = json.loads(facts_file.read_text())
    return facts if sha256(ids_file.read_bytes()) == facts["ids_sha256"] else None


def _prepare(folder: Path, found: FoundText, alphabet: Alphabet) -> dict:
    try:
        text = normalise(found.data.decode("utf-8-sig"), alphabet)
    except UnicodeDecodeError as error:
        raise InputError(
            f"--corpus {found.name} is not UTF-8 text: byte {error.start:,} is 0x{found.data[error.start]:02x}; "
            "convert it (iconv -t UTF-8) and try again"
        ) from None
    if b"\0" in found.data:
        raise InputError(f"--corpus {found.name} has NUL bytes: it is not a text file")
    if len(text) < 1000:
        script = " (--alphabet raw keeps other letters than A to Z)" if alphabet == "letters" else ""
        raise InputError(
            f"--corpus {found.name} has {len(text):,} characters of that alphabet, of {len(found.data):,} bytes; "
            f"at least 1,000 are needed{script}"
        )
    vocabulary = Vocabulary.of(text, alphabet)
    ids = vocabulary.encode(text).tobytes()
    facts = {
        "symbols": vocabulary.symbols,
        "corpus_sha256": sha256(text.encode()),
        "ids_sha256": sha256(ids),
        "characters": len(text),
    }
    write_atomically(folder / "ids.bin", ids)
    write_atomically(folder / "corpus.json", json.dumps(facts).encode())
    return facts
