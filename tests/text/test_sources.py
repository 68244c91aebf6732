"""Where a text comes from, how it is read in pieces, and what is refused."""

import hashlib
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli.main import cli
from pipeline.config import CorpusConfig
from pipeline.errors import DataUnavailableError, InputError, TmlmError
from pipeline.text import downloads, sources
from pipeline.text.corpus import load_corpus
from pipeline.text.downloads import cache_dir
from pipeline.text.sources import PUBLISHED_TEXTS, FoundText, find_file, find_text
from pipeline.text.vocabulary import UNKNOWN
from pipeline.tracking.step import same_text
from tests.limits import SLACK

TIME_MACHINE_MIRRORS = PUBLISHED_TEXTS["time-machine"].addresses
TEXT = "".join(f"It was number {i}, the {'éàü'[i % 3]} of many;\n" for i in range(400))
BYTES = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(str.encode),
    st.text(max_size=20).map(lambda text: text.encode("utf-8-sig")),
    st.tuples(st.text(max_size=9), st.binary(max_size=4), st.text(max_size=9)).map(
        lambda parts: parts[0].encode() + parts[1] + parts[2].encode()
    ),
)


def read(data: bytes) -> str:
    return "".join(FoundText("it", "it", data).pieces(hashlib.sha256(data).hexdigest()))


@given(data=BYTES, size=st.integers(1, 12))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_bytes_are_a_text_or_refused_at_the_same_place_whatever_the_size_of_the_pieces(data, size, monkeypatch):
    monkeypatch.setattr(sources, "PIECE_BYTES", size)
    if b"\0" in data:
        with pytest.raises(InputError, match=r"NUL bytes|not UTF-8"):
            read(data)
        return
    try:
        expected = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = f"--corpus it is not UTF-8 text: byte {error.start:,} is 0x{data[error.start]:02x}; "
        with pytest.raises(InputError, match=re.escape(place)):
            read(data)
    else:
        assert read(data) == expected


def test_the_place_of_a_wrong_byte_is_its_place_in_the_file(monkeypatch):
    monkeypatch.setattr(sources, "PIECE_BYTES", 7)
    with pytest.raises(InputError, match="byte 2,003 is 0xe9"):
        read("\ufeff".encode() + b"ab" * 1000 + b"\xe9")


def test_bytes_that_are_not_those_of_the_digest_are_refused_at_the_end():
    pieces = FoundText("it", "it", b"text").pieces(hashlib.sha256(b"another").hexdigest())
    assert next(pieces) == "text"
    with pytest.raises(InputError, match="--corpus it has changed while it was read"):
        list(pieces)


@given(st.text(max_size=60) | st.text(max_size=20).map("https://{}".format) | st.binary(max_size=9).map(os.fsdecode))
def test_any_name_is_a_text_or_a_reason(name):
    try:
        assert find_text(name, online=False).size >= 0
    except TmlmError as error:
        str(error).encode()  # it can be shown


def test_what_is_no_file_is_refused_by_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ):
        with pytest.raises(InputError, match=f"--corpus {path} can't be read: it is {kind}; give a UTF-8 text file"):
            find_text(str(path))


def test_a_sparse_file_of_100_gb_is_refused_at_its_first_nul_byte(tmp_path):
    path = tmp_path / "sparse.txt"
    path.write_text("a text")
    os.truncate(path, 100 * 10**9)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"--corpus \S+sparse.txt has NUL bytes: it is not a text file"):
        load_corpus(CorpusConfig(str(path)))
    assert time.monotonic() - started < 5 * SLACK


def test_a_file_that_is_not_there_is_refused_with_the_places_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    with pytest.raises(InputError, match=rf"--corpus a/b\.txt .* there is no file {tmp_path}/a/b\.txt; give auto"):
        find_text("a/b.txt")
    monkeypatch.setenv("TMLM_DATA_DIR", "/nowhere")
    with pytest.raises(InputError, match=rf"there is no file {tmp_path}/b\.txt or /nowhere/b\.txt; give"):
        find_text("b.txt")
    with pytest.raises(InputError, match=r"there is no file /nowhere/c\.txt; give"):
        find_text("/nowhere/c.txt")


def test_a_file_beside_the_caller_of_mlflow_run_is_found(tmp_path, monkeypatch):
    (tmp_path / "novel.txt").write_text(TEXT)
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    monkeypatch.setattr(sources, "folder_of_mlflow_run", lambda: str(tmp_path))
    assert find_text("novel.txt").source == str(tmp_path / "novel.txt")
    with pytest.raises(InputError, match=rf"or {tmp_path}/other\.txt; give .*\(under `mlflow run`, an absolute one\)"):
        find_text("other.txt")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_text("text")

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # a test that is run by root could not have it

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"can't be read: .*Permission denied"):
        find_text(str(tmp_path / "secret.txt"))


def test_a_file_that_is_gone_when_it_is_read_is_named(tmp_path):
    (tmp_path / "going.txt").write_text("text")
    found = find_file(str(tmp_path / "going.txt"))
    digest = found.sha256()
    (tmp_path / "going.txt").unlink()
    with pytest.raises(InputError, match=r"going.txt can't be read: No such file"):
        list(found.pieces(digest))
    with pytest.raises(InputError, match=r"going.txt can't be read: No such file"):
        found.sha256()


@pytest.mark.parametrize(
    ("content", "alphabet", "reason"),
    [
        (b"", "letters", "bad.txt is empty; at least 1,000 characters are needed"),
        (b"", "raw", "bad.txt is empty; at least 1,000 characters are needed"),
        (b"short", "raw", "has 5 characters of the alphabet 'raw' in 5 bytes; at least 1,000 are needed"),
        ("latin é".encode("latin-1") * 500, "raw", r"is not UTF-8 text: byte 6 is 0xe9; convert it \(iconv -t UTF-8\)"),
        (("utf-16" * 500).encode("utf-16-le"), "letters", "has NUL bytes: it is not a text file"),
        (("e" + "\u0301" * 2000).encode(), "raw", "combining marks or more in a row"),
    ],
)
def test_the_command_refuses_a_bad_text_in_one_sentence(tmp_path, content, alphabet, reason):
    (tmp_path / "bad.txt").write_bytes(content)
    done = CliRunner().invoke(cli, ["prepare", "--corpus", str(tmp_path / "bad.txt"), "--alphabet", alphabet])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"Error: .*{reason}.*\n", done.stderr), done.stderr


# --- The Time Machine, the fallback and downloads --------------------------------------------------------------------


def test_auto_falls_back_to_the_interpreters_own_topics_and_says_so(monkeypatch, caplog):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    corpus = load_corpus(CorpusConfig("auto"))
    assert corpus.name == "python-docs"
    assert corpus.is_fallback
    assert not load_corpus(CorpusConfig("python-docs")).is_fallback
    assert "FALLING BACK to python-docs" in caplog.text
    assert TIME_MACHINE_MIRRORS[0] in caplog.text


def test_time_machine_is_strict_and_says_what_was_tried_and_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "timemachine.txt").write_text("another text " * 1000)
    monkeypatch.setenv("TMLM_DATA_DIR", str(tmp_path))
    with pytest.raises(DataUnavailableError) as error:
        load_corpus(CorpusConfig("time-machine"))
    assert error.value.exit_code == 3
    for part in ("another text (sha256", "8424dbd9", *TIME_MACHINE_MIRRORS, "set TMLM_DATA_DIR", "python-docs"):
        assert part in str(error.value)


def test_the_exact_book_has_the_digests_characters_and_order_of_the_report(monkeypatch, book):
    monkeypatch.setenv("TMLM_DATA_DIR", str(book.parent))
    corpus = load_corpus(CorpusConfig("auto"))
    assert corpus.name == "time-machine"
    assert len(corpus) == 173_428
    assert len(corpus.vocabulary) == 28
    assert corpus.source_sha256.startswith("8424dbd9")
    assert corpus.corpus_sha256.startswith("9f258ead")
    text = corpus.vocabulary.decode(corpus.ids)
    assert [text.find(prefix) for prefix in ("it has", "proceeded the", "staring hard")] == [13_823, 4_546, 5_147]


def test_the_book_with_other_line_breaks_is_the_book(monkeypatch, tmp_path, book):
    (tmp_path / "timemachine.txt").write_bytes(book.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setenv("TMLM_DATA_DIR", str(tmp_path))
    assert load_corpus(CorpusConfig("time-machine")).corpus_sha256.startswith("9f258ead")


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


def test_mirrors_are_asked_in_turn_and_the_digest_is_checked(monkeypatch, book):
    exact = book.read_bytes()
    first, second, third = TIME_MACHINE_MIRRORS
    web = Web(monkeypatch, {second: exact[:-1], third: exact})
    corpus = load_corpus(CorpusConfig("time-machine"))
    assert corpus.source == third
    assert web.asked == [first, second, third]
    assert load_corpus(CorpusConfig("time-machine")).source == str(cache_dir() / "downloads" / "timemachine.txt")
    assert len(web.asked) == 3, "the second time it comes from the cache"


def test_all_reasons_are_told_when_no_mirror_has_it(monkeypatch):
    Web(monkeypatch, {TIME_MACHINE_MIRRORS[1]: b"wrong"})
    with pytest.raises(DataUnavailableError, match=r"(?s)no such host.*wrong sha256.*no such host"):
        load_corpus(CorpusConfig("time-machine"))
    assert not (cache_dir() / "downloads" / "timemachine.txt").exists()


def test_an_https_address_is_a_corpus_and_is_kept(monkeypatch):
    url = "https://example.org/texts/many.txt?x=1"
    web = Web(monkeypatch, {url: TEXT.encode()})
    corpus = load_corpus(CorpusConfig(url))
    assert corpus.name == "many"
    assert corpus.source == "https://example.org/texts/many.txt", "what follows may be a secret"
    load_corpus(CorpusConfig(url))
    assert web.asked == [url]
    monkeypatch.setenv("TMLM_OFFLINE", "1")
    assert load_corpus(CorpusConfig(url)).corpus_sha256 == corpus.corpus_sha256, "what is kept needs no network"


SECRET_ADDRESS = "https://user:secret@example.org/texts/many.txt?X-Amz-Signature=secret#secret"


def test_a_text_is_found_again_by_an_address_without_its_secrets(monkeypatch):
    """Two addresses that differ in the query alone share a record: the digest picks the text that was trained on."""
    other = SECRET_ADDRESS.replace("?", "?page=2&")
    Web(monkeypatch, {SECRET_ADDRESS: TEXT.encode(), other: TEXT[: len(TEXT) // 2].encode()})
    first, second = load_corpus(CorpusConfig(SECRET_ADDRESS)), load_corpus(CorpusConfig(other))
    assert first.source == second.source
    for corpus in (first, second):
        again = same_text(corpus.name, corpus.source, "letters", corpus.corpus_sha256)
        assert (again.corpus_sha256, again.name, again.source) == (corpus.corpus_sha256, corpus.name, corpus.source)
    with pytest.raises(DataUnavailableError):  # what the record does not have is not taken from another address
        load_corpus(CorpusConfig(first.source))


def test_only_https_addresses_are_downloaded(monkeypatch):
    web = Web(monkeypatch, {})
    with pytest.raises(InputError, match="not https"):
        load_corpus(CorpusConfig("http://example.org/many.txt"))
    assert web.asked == []


# --- tiny Shakespeare ------------------------------------------------------------------------------------------------


@pytest.fixture
def shakespeare(monkeypatch) -> bytes:
    """A made-up text in the place of tiny Shakespeare."""
    text = TEXT.encode()
    sha256 = hashlib.sha256(text).hexdigest()
    made_up = replace(PUBLISHED_TEXTS["tiny-shakespeare"], sha256=sha256, normalised_sha256=sha256)
    monkeypatch.setitem(PUBLISHED_TEXTS, "tiny-shakespeare", made_up)
    return text


def test_tiny_shakespeare_is_downloaded_once(monkeypatch, shakespeare):
    (url,) = PUBLISHED_TEXTS["tiny-shakespeare"].addresses
    web = Web(monkeypatch, {url: shakespeare})
    corpora = [load_corpus(CorpusConfig("tiny-shakespeare", "raw")) for _ in range(2)]
    assert [corpus.source for corpus in corpora] == [url, str(cache_dir() / "downloads" / "tinyshakespeare.txt")]
    assert [corpus.label for corpus in corpora] == ["tiny-shakespeare-raw"] * 2
    assert web.asked == [url]


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_tiny_shakespeare_is_found_in_the_data_folder(monkeypatch, tmp_path, shakespeare, line_break):
    (tmp_path / "tinyshakespeare.txt").write_bytes(shakespeare.replace(b"\n", line_break))
    monkeypatch.setenv("TMLM_DATA_DIR", str(tmp_path))
    corpus = load_corpus(CorpusConfig("tiny-shakespeare", "raw"))
    assert (corpus.name, corpus.source) == ("tiny-shakespeare", str(tmp_path / "tinyshakespeare.txt"))


def test_tiny_shakespeare_offline_is_exit_code_3_and_no_other_text(monkeypatch):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    done = CliRunner().invoke(cli, ["prepare", "--corpus", "tiny-shakespeare"])
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: Tiny Shakespeare is not available. Tried:")
    assert "Put its tinyshakespeare.txt into a folder and set TMLM_DATA_DIR to it" in done.stderr


def test_the_exact_tiny_shakespeare_has_the_characters_and_the_training_split_of_nanogpt():
    """nanoGPT's data/shakespeare_char/prepare.py: "vocab size: 65", "train has 1003854 tokens"."""
    if not (Path(os.environ.get("TMLM_DATA_DIR", "")) / "tinyshakespeare.txt").is_file():
        pytest.skip("needs the exact text: set TMLM_DATA_DIR to a folder with tinyshakespeare.txt")
    corpus = load_corpus(CorpusConfig("tiny-shakespeare", "raw"))
    assert len({*corpus.vocabulary.symbols} - {UNKNOWN}) == 65
    spans = corpus.spans("stream")
    assert spans == {"train": (0, 1_003_854), "val": (1_003_854, 1_059_623), "test": (1_059_623, 1_115_394)}


def test_a_record_of_an_own_file_called_like_a_text_that_became_known_is_still_of_that_file(tmp_path):
    file = tmp_path / "tiny-shakespeare.txt"
    file.write_text(TEXT, encoding="utf-8")
    digest = load_corpus(CorpusConfig(str(file))).corpus_sha256
    corpus = same_text("tiny-shakespeare", str(file), "letters", digest)
    assert (corpus.name, corpus.source) == ("tiny-shakespeare", str(file))
