"""Prepared texts: character ids on disk, and their splits. ngrams.py has the n-grams of a text."""

import hashlib
import json
import logging
import re
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pipeline.config import HELD_OUT_CHARS, ON_REPORTS_TEXT, PASS_CHARS, WINDOW_ENDS, Alphabet, CorpusConfig, PresetName
from pipeline.errors import InputError
from pipeline.support.files import atomic_write, leftovers, write_atomically
from pipeline.support.progress import Progress
from pipeline.text.cache import LOCK, bytes_in, cache_dir, hold, is_used, json_in, leave, writing_cache
from pipeline.text.sources import FALLBACK, KNOWN_TEXTS, PIECE_SIZE, FoundText, find_text, usual_alphabet
from pipeline.text.vocabulary import LETTERS, UNKNOWN, Vocabulary, normalised

log = logging.getLogger(__name__)

TRAIN_SHARE, VAL_SHARE = 0.90, 0.05  # of the text's characters; the rest is the test split
MIN_CHARS = 1000
MOST_SYMBOLS = 19_500  # of which the gate of n-grams can learn from a batch of positions, in 2.4 GB
PREPARED_FORMAT = 1  # of the cached texts; raise it when a text is prepared in another way
BASELINE_CHARS, BASELINE_BLOCK = 1_000_000, 50_000  # of a long text: the baselines' sample, and its blocks
PROMPT_PIECE, PROMPT_WORD = 2_000, 12  # characters of a text in which its first words are, and of a word at most
NAME_CHARS = 40  # characters of a text's name in the name of its folder
DROPPED_WARNED, DROPPED_REFUSED, DROPPED_NAMED = 0.05, 0.5, 5  # shares of a text's letters; letters in a message
SURROGATE = 0xD800  # a code point that no text has
IDS_FILE, FACTS_FILE = "ids.bin", "corpus.json"
TEXT_FOLDER = re.compile(rf"(.+-)?({'|'.join(get_args(Alphabet))})-(sent-)?[0-9a-f]{{16}}")
PUBLISHED = "|".join(text.file for text in KNOWN_TEXTS.values() if text.file)
DOWNLOAD = re.compile(rf"\.?({PUBLISHED}|[0-9a-f]{{16}}-[0-9a-f]{{16}}\.txt)(\.[0-9a-f]{{32}})?")  # or a part of one
NAMES_FILE = "names"  # JSON: the names under which a text was read, each with its source
FALLBACK_WARNING = (
    f"FALLING BACK to {FALLBACK}, the documentation topics that ship with Python, in place of The Time Machine: "
    "perplexities of different texts are not comparable."
)


@dataclass(frozen=True)
class Corpus:
    """A prepared text: memory-mapped character ids, vocabulary and origin.

    ``source_sha256`` is the digest of the source's bytes, ``corpus_sha256`` that of the normalised text in UTF-8:
    results with the same one are comparable. ``is_fallback`` marks the substitute for The Time Machine. ``last_chars``
    is the number of training characters, counted from the end of the split, under the presets stream and best (0: all);
    see ``limited``. ``option`` is the --corpus that named it.
    """

    name: str
    source: str
    source_sha256: str
    corpus_sha256: str
    vocabulary: Vocabulary
    ids: NDArray[np.integer] = field(compare=False)  # equal if ``corpus_sha256`` is
    folder: Path
    is_fallback: bool = False
    last_chars: int = 0
    option: str = field(default="", compare=False, repr=False)  # may hold a secret

    def __len__(self) -> int:
        return len(self.ids)

    def limited(self, last_chars: int) -> "Corpus":
        """This text with only the last ``last_chars`` training characters (0: all); validation and test are the same.

        Raises InputError for more characters than the training split has.
        """
        if last_chars > self.train_chars:
            raise InputError(
                f"train_chars {last_chars:,} is more than the {self.train_chars:,} training characters of "
                f"{self.name}; give at most as many, or 0 for all of them"
            )
        return replace(self, last_chars=last_chars)

    @property
    def label(self) -> str:
        """The text's name in records, as ``label_of`` says."""
        return label_of(self.name, self.vocabulary.alphabet)

    @property
    def own_prompt(self) -> str:
        """The first two words with a letter or digit; "" for a text whose prompts are the report's."""
        if self.name in KNOWN_TEXTS and KNOWN_TEXTS[self.name].has_reports_prompts:
            return ""
        word = rf"(?=\S{{0,{PROMPT_WORD - 1}}}[^\W_])\S{{1,{PROMPT_WORD}}}"
        words = re.search(rf"(?<!\S){word}( {word})?", self.vocabulary.decode(self.ids[:PROMPT_PIECE]))
        return words[0] if words else ""

    @property
    def train_chars(self) -> int:
        """Characters of the training split under the presets stream and best."""
        return len(self.split("stream", "train"))

    def spans(self, preset: PresetName) -> dict[str, tuple[int, int]]:
        """Start and end (exclusive) of each split, in characters.

        stream, best: 90, 5 and 5 % of the text, in order. report, report-text: the characters of the report's 10,000
        training and 5,000 validation windows. All have the same test split, the last 5 %, so that test results are
        comparable. If the 90 % exceed PASS_CHARS, validation and test are limited to the first HELD_OUT_CHARS of their
        5 %. Raises InputError for a text that is too short for the report's windows.
        """
        train_end = int(TRAIN_SHARE * len(self))
        val_end = train_end + int(VAL_SHARE * len(self))
        held_out = HELD_OUT_CHARS if train_end > PASS_CHARS else len(self)
        start = train_end - self.last_chars if self.last_chars else 0
        train, val = (start, train_end), (train_end, min(val_end, train_end + held_out))
        if preset in ON_REPORTS_TEXT:
            train, val = WINDOW_ENDS
            if val_end < (needed := val[1]):
                raise InputError(
                    f"{self.name} has {len(self):,} characters; --preset {preset} needs {needed:,} before the last "
                    "5 %: use a longer --corpus or --preset stream"
                )
        return {"train": train, "val": val, "test": (val_end, min(len(self), val_end + held_out))}

    def split(self, preset: PresetName, split: str) -> NDArray[np.integer]:
        """The ids of a split ("train", "val" or "test"), as a view of the memory-mapped file."""
        start, end = self.spans(preset)[split]
        return self.ids[start:end]

    def baseline_spans(self, preset: PresetName) -> list[tuple[int, int]]:
        """The spans (start, end) of the training split on which n-grams are fitted: all of it, or a sample.

        A split of more than PASS_CHARS is sampled: BASELINE_CHARS in evenly spaced blocks of BASELINE_BLOCK.
        """
        characters = len(self.split(preset, "train"))
        if characters <= PASS_CHARS:
            return [(0, characters)]
        starts = np.linspace(0, characters - BASELINE_BLOCK, BASELINE_CHARS // BASELINE_BLOCK).astype(int)
        return [(start, start + BASELINE_BLOCK) for start in starts.tolist()]

    def baseline_text(self, preset: PresetName) -> NDArray[np.integer]:
        """The ids of ``baseline_spans``, on which the baselines are fitted."""
        train = self.split(preset, "train")
        return np.concatenate([train[start:end] for start, end in self.baseline_spans(preset)])


def load_corpus(config: CorpusConfig, refresh: bool = False, is_new: bool = False) -> Corpus:
    """Find a text, normalise it and map its ids into memory; prepared texts are cached (``kept_corpus``).

    ``refresh`` downloads the text of an address again. ``is_new`` has its letters counted that ``letters`` drops.
    Raises InputError for an unusable text and DataUnavailableError for one that can't be downloaded.
    """
    text = find_text(config.corpus, refresh=refresh)
    if text.missing:
        log.warning("%s\n%s", text.missing, FALLBACK_WARNING)
    alphabet = usual_alphabet(text.name) if config.alphabet == "auto" else config.alphabet
    wanted = {"alphabet": alphabet, "source_sha256": text.sha256()}
    if is_new and config.alphabet == "letters":
        check_letters(text)
    key = hashlib.sha256("\n".join([*wanted.values(), str(PREPARED_FORMAT)]).encode()).hexdigest()
    folder = prepared_dir() / f"{alphabet}-{key[:16]}"  # the same for all names of a text
    with writing_cache(), FileLock(folder / LOCK):
        facts = json_in(folder / FACTS_FILE)
        if not _is_intact(folder, facts, wanted) or len(facts["symbols"]) > MOST_SYMBOLS:
            for part in leftovers(folder / IDS_FILE):
                part.unlink()
            facts = _prepare(folder, text, alphabet, wanted)
        names = json_in(folder / NAMES_FILE)
        if text.name not in names:
            write_atomically(folder / NAMES_FILE, json.dumps({**names, text.name: text.source}).encode())
        corpus = _mapped(folder, facts, text.name, text.source)
    return replace(corpus, is_fallback=bool(text.missing), option=config.corpus)


def check_letters(text: FoundText) -> None:
    """Warn of the letters of a text that the alphabet ``letters`` drops; raise InputError if it drops most of them."""
    counts = Counter[str]()
    for piece in normalised(text.pieces(), "raw"):  # in which a letter with its accent is one character
        counts.update(piece)
    letters = Counter({character: count for character, count in counts.items() if character.isalpha()})
    dropped = Counter({letter: count for letter, count in letters.items() if not letter.isascii()})
    share, most = dropped.total() / max(letters.total(), 1), dropped.most_common(DROPPED_NAMED)
    message = (
        f"--alphabet letters drops {100 * share:.0f} % of the {letters.total():,} letters of {text.name} "
        f"({', '.join(letter for letter, _ in most)} most often); --alphabet raw keeps them"
    )
    if share > DROPPED_REFUSED:
        raise InputError(message)
    if share > DROPPED_WARNED:
        log.warning("%s", message)


def label_of(name: str, alphabet: Alphabet) -> str:
    """A text's name in records, with the alphabet unless it is ``letters``: perplexities depend on both."""
    return name if alphabet == "letters" else f"{name}-{alphabet}"


def cache_corpus(facts: dict[str, Any], sent: Path) -> None:
    """Put a text that another machine has sent into the cache. ValueError if its ids are not those of its facts."""
    if not _is_intact(sent, facts, {}):
        raise ValueError(f"the ids are not those of the text {facts['name']} ({facts['corpus_sha256'][:8]}...)")
    folder = prepared_dir() / f"{facts['name'][:NAME_CHARS]}-{facts['alphabet']}-sent-{facts['corpus_sha256'][:16]}"
    with writing_cache(), FileLock(folder / LOCK):
        write_atomically(folder / IDS_FILE, (sent / IDS_FILE).read_bytes())
        write_atomically(folder / FACTS_FILE, json.dumps(facts).encode())


def prepared_dir() -> Path:
    """The folder of the prepared texts, which has a folder for each."""
    return cache_dir() / "prepared"


def kept_facts() -> dict[Path, dict[str, Any]]:
    """The facts of the prepared texts that ``kept_corpus`` may return, by folder, the latest first."""
    files = sorted(prepared_dir().glob(f"*/{FACTS_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    return {file.parent: facts for file in files if {"name", "alphabet"} <= (facts := json_in(file)).keys()}


def kept_names(folder: Path) -> list[str]:
    """The names of the text that a folder keeps."""
    return sorted({*json_in(folder / NAMES_FILE), str(json_in(folder / FACTS_FILE).get("name", ""))} - {""})


def kept_copies(name: str) -> tuple[list[Path], set[str]]:
    """What the cache keeps of the texts of a name: their folders and downloads; and the digests of these texts."""
    kept = {folder: facts for folder, facts in kept_facts().items() if name in kept_names(folder)}
    sources = {facts.get("source_sha256") for facts in kept.values()}
    sources |= {KNOWN_TEXTS[name].sha256} if name in KNOWN_TEXTS else set()
    downloads = (cache_dir() / "downloads").glob("*.txt")
    same = [file for file in downloads if hashlib.sha256(bytes_in(file)).hexdigest() in sources]
    return [*kept, *same], {facts["corpus_sha256"] for facts in kept.values() if "corpus_sha256" in facts}


def everything_kept() -> dict[Path, bool]:
    """The folders of texts and the downloads in the cache, whole or not, and whether a process of this machine uses it.

    Files of other programs are left out, as TMLM_CACHE_DIR may be any folder.
    """
    downloads = cache_dir() / "downloads"
    is_downloading = any(map(is_used, downloads.glob("*.lock")))
    kept = {path: is_used(path) for path in prepared_dir().glob("*") if TEXT_FOLDER.fullmatch(path.name)}
    return kept | {path: is_downloading for path in downloads.glob("*") if DOWNLOAD.fullmatch(path.name)}


def kept_corpus(name: str, source: str, alphabet: Alphabet, corpus_sha256: str) -> Corpus | None:
    """The prepared text with this alphabet and digest, under a name; None if the cache has no intact copy.

    It finds a text that was trained on even if its file was moved, changed or deleted; ``source`` is the recorded one.
    """
    wanted = {"alphabet": alphabet, "corpus_sha256": corpus_sha256}
    return next((_mapped(*kept, name, source) for kept in kept_facts().items() if _is_intact(*kept, wanted)), None)


def _mapped(folder: Path, facts: dict[str, Any], name: str, source: str) -> Corpus:
    """The prepared text of a folder, with its ids memory-mapped; the folder is held while they are."""
    vocabulary = _vocabulary(facts)
    ids = np.memmap(folder / IDS_FILE, dtype=vocabulary.dtype, mode="c")  # copy on write: torch requires it writable
    weakref.finalize(ids, leave, folder, hold(folder))
    return Corpus(
        name=name,
        source=source,
        source_sha256=facts["source_sha256"],
        corpus_sha256=facts["corpus_sha256"],
        vocabulary=vocabulary,
        ids=ids,
        folder=folder,
    )


def encoded(text: FoundText, vocabulary: Vocabulary) -> NDArray[np.integer]:
    """Encode a text with a given vocabulary, such as a model's."""
    pieces = map(vocabulary.ids_of, normalised(text.pieces(), vocabulary.alphabet))
    return np.concatenate([np.empty(0, vocabulary.dtype), *pieces])


def _is_intact(folder: Path, facts: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Whether these are the facts of the text that is wanted, and ids and symbols are those of the digest in them."""
    try:
        vocabulary = _vocabulary(facts)
        symbols = LETTERS if vocabulary.alphabet == "letters" else tuple(sorted({*vocabulary.symbols}))
        if not wanted.items() <= facts.items() or vocabulary.symbols != symbols:
            return False
        with (folder / IDS_FILE).open("rb") as file:  # read, as all of a file that is mapped would be in memory
            pieces = iter(lambda: file.read(4 * PIECE_SIZE), b"")
            ids = (np.frombuffer(piece, vocabulary.dtype) for piece in pieces)
            return bool(text_sha256(ids, vocabulary) == facts["corpus_sha256"])
    except (LookupError, OSError, TypeError, ValueError):  # damaged facts may raise any of these
        return False


def _vocabulary(facts: dict[str, Any]) -> Vocabulary:
    return Vocabulary(facts["alphabet"], tuple(facts["symbols"]))


def text_sha256(pieces: Iterable[NDArray[np.integer]], vocabulary: Vocabulary) -> str:
    """The digest of the text of these ids. Raises IndexError or UnicodeDecodeError for ids that are no character's."""
    points = np.array([SURROGATE if symbol == UNKNOWN else ord(symbol) for symbol in vocabulary.symbols], "<u4")
    digest = hashlib.sha256()
    for ids in pieces:
        digest.update(points.take(ids).tobytes().decode("utf-32-le").encode())
    return digest.hexdigest()


def _prepare(folder: Path, text: FoundText, alphabet: Alphabet, wanted: dict[str, str]) -> dict[str, Any]:
    """Write the ids, piece by piece, and the facts, which begin with those that are ``wanted``; returns the facts.

    Raises InputError for a text that is too short or not UTF-8, and for one with too many symbols.
    """
    characters, digest = 0, hashlib.sha256()
    with Progress(f"reading {text.name}") as bar, atomic_write(folder / IDS_FILE) as file:
        vocabulary = Vocabulary.of(normalised(text.pieces(), alphabet), alphabet)
        if len(vocabulary) > MOST_SYMBOLS:
            raise InputError(
                f"--corpus {text.source} has {len(vocabulary):,} symbols; at most {MOST_SYMBOLS:,} can be trained on"
            )
        for piece in normalised(text.pieces(), alphabet):
            characters += len(piece)
            digest.update(piece.encode())
            file.write(vocabulary.ids_of(piece).tobytes())
            bar.show(characters / text.size)
        if characters < MIN_CHARS:
            raise InputError(
                f"--corpus {text.source} has {characters:,} characters of the alphabet {alphabet!r} "
                f"in {text.size:,} bytes; at least {MIN_CHARS:,} are needed"
            )
    facts = {"name": text.name, **wanted, "symbols": vocabulary.symbols, "corpus_sha256": digest.hexdigest()}
    write_atomically(folder / FACTS_FILE, json.dumps(facts).encode())
    return facts
