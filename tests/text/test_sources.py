"""Where a text comes from, how it is read, and what is refused."""

import codecs
import hashlib
import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli.main import cli
from pipeline.config import CorpusConfig
from pipeline.errors import DataUnavailableError, InputError
from pipeline.text import downloads, sources
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import load_corpus
from pipeline.text.sources import KNOWN_TEXTS, FoundText, find_text
from pipeline.text.vocabulary import UNKNOWN
from pipeline.tracking.text_identity import same_text

TIME_MACHINE_MIRRORS = KNOWN_TEXTS["time-machine"].addresses
TEXT = "".join(f"It was number {i}, the {'éàü'[i % 3]} of many;\n" for i in range(400))
BYTES = st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode("utf-8-sig"))


@given(data=BYTES, size=st.integers(1, 12))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_bytes_are_a_text_or_refused_whatever_the_size_of_the_pieces(data, size, monkeypatch):
    monkeypatch.setattr(sources, "PIECE_SIZE", size)
    found = FoundText("it", "it", data)
    try:
        expected = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:  # Python reads a part of a byte order mark alone as no text, which is refused later
        expected = "" if codecs.BOM_UTF8.startswith(data) else None
    if expected is None or b"\0" in data:
        with pytest.raises(InputError, match=r"--corpus it (has NUL bytes|is not UTF-8)"):
            (found.sha256(), list(found.pieces()))
    else:
        assert "".join(found.pieces()) == expected


def test_what_is_no_regular_file_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "not a regular"), (Path("/dev/zero"), "not a reg")):
        with pytest.raises(InputError, match=f"--corpus {path} can't be read: it is {kind}"):
            find_text(str(path))


def test_a_file_is_looked_for_in_two_folders(tmp_path, monkeypatch):
    here, data = (tmp_path / name for name in ("here", "data"))
    for folder in (here, data):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("TMLM_DATA_DIR", str(data))
    with pytest.raises(InputError, match=rf"there is no file {here}/b\.txt or {data}/b\.txt; give"):
        find_text("b.txt")
    for folder in (data, here):
        (folder / "b.txt").write_text(TEXT, encoding="utf-8")
        assert find_text("b.txt").source == str(folder / "b.txt"), "a path that is valid from any folder"


def test_the_help_names_the_known_texts():
    (corpus,) = (field for field in fields(CorpusConfig) if field.name == "corpus")
    assert corpus.metadata["help"].startswith(", ".join(KNOWN_TEXTS))


@pytest.mark.parametrize("name", [*KNOWN_TEXTS, "auto"])
def test_a_file_never_passes_for_a_text_that_is_known_by_name(tmp_path, name):
    (tmp_path / f"{name}.txt").write_text(TEXT, encoding="utf-8")
    assert find_text(str(tmp_path / f"{name}.txt")).name == f"{name}-file"


@pytest.mark.parametrize(
    ("content", "alphabet", "reason"),
    [
        (b"", "letters", "has 0 characters"),
        (b"short", "raw", "has 5 characters of the alphabet 'raw' in 5 bytes; at least 1,000 are needed"),
        ("съешь ещё этих булок".encode() * 200, "letters", "drops 100 % .* --alphabet raw keeps them"),
        ("latin é".encode("latin-1") * 500, "raw", "is not UTF-8 text"),
        (("utf-16" * 500).encode("utf-16-le"), "letters", "has NUL bytes"),
        ("".join(map(chr, range(0x20000, 0x20000 + 20_000))).encode(), "raw", "has 20,001 symbols; at most 19,500"),
    ],
)
def test_bad_text_is_refused_in_one_sentence(tmp_path, content, alphabet, reason):
    (tmp_path / "bad.txt").write_bytes(content)
    done = CliRunner().invoke(cli, ["prepare", "--corpus", str(tmp_path / "bad.txt"), "--alphabet", alphabet])
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(rf"Error: .*{reason}.*\n", done.stderr), done.stderr
    assert not list((cache_dir() / "prepared").glob("*/ids.bin"))


# --- texts known by name, and downloads ------------------------------------------------------------------------------


def test_auto_falls_back_to_pythons_own_topics_and_says_so(monkeypatch, caplog):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    corpus = load_corpus(CorpusConfig("auto"))
    assert (corpus.name, corpus.is_fallback) == ("python-docs", True)
    assert not load_corpus(CorpusConfig("python-docs")).is_fallback
    assert "FALLING BACK to python-docs" in caplog.text


def test_time_machine_is_strict_and_says_what_was_tried(monkeypatch, tmp_path):
    (tmp_path / "timemachine.txt").write_text("another text " * 1000)
    monkeypatch.setenv("TMLM_DATA_DIR", str(tmp_path))
    with pytest.raises(DataUnavailableError) as error:
        load_corpus(CorpusConfig("time-machine"))
    assert error.value.exit_code == 3
    for part in ("another text (sha256", "8424dbd9", *TIME_MACHINE_MIRRORS, "set TMLM_DATA_DIR"):
        assert part in str(error.value)


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_exact_book_has_the_digests_characters_and_order_of_the_report(monkeypatch, tmp_path, book, line_break):
    (tmp_path / "timemachine.txt").write_bytes(book.read_bytes().replace(b"\n", line_break))
    monkeypatch.setenv("TMLM_DATA_DIR", str(tmp_path))
    corpus = load_corpus(CorpusConfig("auto"))
    assert (corpus.name, len(corpus), len(corpus.vocabulary)) == ("time-machine", 173_428, 28)
    assert corpus.corpus_sha256.startswith("9f258ead")
    text = corpus.vocabulary.decode(corpus.ids)
    assert [text.find(prefix) for prefix in ("it has", "proceeded the", "staring hard")] == [13_823, 4_546, 5_147]


class Web:
    """A stand-in for the network: what each address holds; a missing one has nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes]) -> None:
        self.asked: list[str] = []
        self.pages = pages
        monkeypatch.delenv("TMLM_OFFLINE", raising=False)
        monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
        monkeypatch.setattr(downloads, "fetch", self.fetch)

    def fetch(self, url: str, file: BinaryIO) -> str:
        self.asked.append(url)
        if url not in self.pages:
            raise DataUnavailableError(f"{url}: no such host")
        file.write(self.pages[url])
        return hashlib.sha256(self.pages[url]).hexdigest()


def test_mirrors_are_asked_in_turn_and_the_digest_is_checked(monkeypatch):
    text = TEXT.encode()
    sha256, mirrors = hashlib.sha256(text).hexdigest(), ("https://a/1", "https://b/2", "https://c/3")
    made_up = replace(KNOWN_TEXTS["time-machine"], sha256=sha256, addresses=mirrors)
    monkeypatch.setitem(KNOWN_TEXTS, "time-machine", made_up)
    web = Web(monkeypatch, {mirrors[1]: text[:-1], mirrors[2]: text})
    assert load_corpus(CorpusConfig("time-machine")).source == mirrors[2]
    assert web.asked == [*mirrors]
    assert load_corpus(CorpusConfig("time-machine")).source == str(cache_dir() / "downloads" / "timemachine.txt")
    assert len(web.asked) == 3, "the second time it comes from the cache"
    (cache_dir() / "downloads" / "timemachine.txt").unlink()
    del web.pages[mirrors[2]]
    with pytest.raises(DataUnavailableError, match=r"(?s)no such host.*wrong sha256.*no such host"):
        load_corpus(CorpusConfig("time-machine"))


SECRET_ADDRESS = "https://user:secret@example.org/texts/many.txt?X-Amz-Signature=secret#secret"


def test_text_of_an_address_is_kept_and_found_again_without_its_secrets(monkeypatch):
    """Two addresses that differ in the query alone share a record: the digest picks the text that was trained on."""
    other = SECRET_ADDRESS.replace("?", "?page=2&")
    web = Web(monkeypatch, {SECRET_ADDRESS: TEXT.encode(), other: TEXT[: len(TEXT) // 2].encode()})
    first, second = load_corpus(CorpusConfig(SECRET_ADDRESS)), load_corpus(CorpusConfig(other))
    assert (first.name, first.source) == ("many", "https://example.org/texts/many.txt")
    assert second.source == first.source
    load_corpus(CorpusConfig(SECRET_ADDRESS))
    assert web.asked == [SECRET_ADDRESS, other]
    for corpus in (first, second):
        again = same_text(corpus.name, corpus.source, "raw", corpus.corpus_sha256)
        assert (again.corpus_sha256, again.name, again.source) == (corpus.corpus_sha256, corpus.name, corpus.source)
    with pytest.raises(DataUnavailableError):  # what the record does not have is not taken from another address
        load_corpus(CorpusConfig(first.source))


def test_the_text_of_a_training_that_is_gone_is_asked_for_where_it_was(tmp_path):
    with pytest.raises(
        InputError, match=r"^the text novel .* is gone: there is no file .*/novel.txt, .* restore it there"
    ):
        same_text("novel", str(tmp_path / "novel.txt"), "raw", "0" * 64)


def test_exact_tiny_shakespeare_has_the_characters_and_the_training_split_of_nanogpt():
    """nanoGPT's data/shakespeare_char/prepare.py: "vocab size: 65", "train has 1003854 tokens"."""
    if not (Path(os.environ.get("TMLM_DATA_DIR", "")) / "tinyshakespeare.txt").is_file():
        pytest.skip("needs the exact text: set TMLM_DATA_DIR to a folder with tinyshakespeare.txt")
    corpus = load_corpus(CorpusConfig("tiny-shakespeare", "raw"))
    assert corpus.label == "tiny-shakespeare-raw"
    assert len({*corpus.vocabulary.symbols} - {UNKNOWN}) == 65
    spans = corpus.spans("stream")
    assert spans == {"train": (0, 1_003_854), "val": (1_003_854, 1_059_623), "test": (1_059_623, 1_115_394)}
