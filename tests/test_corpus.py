"""Where a text comes from, in which order, and what is refused."""

import hashlib
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests

from models.ngram import KneserNey, mean_bits
from pipeline import corpus as corpus_module
from pipeline.config import CorpusConfig
from pipeline.corpus import load_corpus
from pipeline.downloads import cache_dir
from pipeline.errors import DataUnavailableError, InputError
from pipeline.texts import TIME_MACHINE_MIRRORS

TEXT = "".join(f"It was number {i}, the {'éàü'[i % 3]} of many;\n" for i in range(400))


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "many.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


# --- a file ----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_normalised_and_mapped_into_memory(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    assert corpus.name == "many"
    assert corpus.vocabulary.decode(corpus.ids[:20]) == "it was number the of"
    assert isinstance(corpus.ids, np.memmap)
    assert corpus.ids.dtype == np.uint8
    assert corpus.source_sha256 == hashlib.sha256(text_file.read_bytes()).hexdigest()
    normalised = corpus.vocabulary.decode(corpus.ids)
    assert corpus.corpus_sha256 == hashlib.sha256(normalised.encode()).hexdigest()


def test_raw_keeps_every_character(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file), "raw"))
    assert corpus.vocabulary.decode(corpus.ids) == TEXT
    assert "é" in corpus.vocabulary.symbols


def test_a_file_of_that_name_in_the_data_folder_is_found(text_file, monkeypatch, tmp_path):
    monkeypatch.setenv("TMLM_DATA_DIR", str(text_file.parent))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(load_corpus(CorpusConfig("many.txt"))) > 1000


def test_the_second_time_the_prepared_ids_are_used(text_file, monkeypatch):
    first = load_corpus(CorpusConfig(str(text_file)))
    monkeypatch.setattr(corpus_module, "_prepare", lambda *a: pytest.fail("prepared a second time"))
    assert np.array_equal(load_corpus(CorpusConfig(str(text_file))).ids, first.ids)


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes()[:-1]), lambda p: p.unlink()])
def test_damaged_prepared_ids_are_made_again(text_file, damage):
    first = load_corpus(CorpusConfig(str(text_file)))
    good = first.ids.copy()
    damage(first.folder / "ids.bin")
    assert np.array_equal(load_corpus(CorpusConfig(str(text_file))).ids, good)


def test_a_changed_file_is_another_corpus(text_file):
    first = load_corpus(CorpusConfig(str(text_file)))
    text_file.write_text(TEXT + "and one more", encoding="utf-8")
    second = load_corpus(CorpusConfig(str(text_file)))
    assert second.corpus_sha256 != first.corpus_sha256
    assert len(second) == len(first) + len("and one more")


def test_writing_to_the_mapped_ids_does_not_change_the_file(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    before = int(corpus.ids[0])
    corpus.ids[0] = 27 - before
    assert load_corpus(CorpusConfig(str(text_file))).ids[0] == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 characters of that alphabet"),
        (b"short", "5 characters of that alphabet, of 5 bytes; at least 1,000"),
        (b"\xff\xfe" + b"x" * 2000, "not UTF-8 text: byte 0 is 0xff"),
        (b"good text " * 200 + b"\xc3", "not UTF-8 text: byte 2,000"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        load_corpus(CorpusConfig(str(tmp_path / "bad.txt")))


def test_nul_bytes_are_refused_in_a_raw_text(tmp_path):
    (tmp_path / "nul.bin").write_bytes(b"ab\0c" * 1000)
    with pytest.raises(InputError, match="NUL bytes"):
        load_corpus(CorpusConfig(str(tmp_path / "nul.bin"), "raw"))


def test_a_text_in_other_letters_is_told_of_the_raw_alphabet(tmp_path):
    (tmp_path / "ru.txt").write_text("съешь ещё этих мягких булок " * 200, encoding="utf-8")
    with pytest.raises(InputError, match="--alphabet raw keeps other letters"):
        load_corpus(CorpusConfig(str(tmp_path / "ru.txt")))
    assert load_corpus(CorpusConfig(str(tmp_path / "ru.txt"), "raw")).label == "ru-raw"


@pytest.mark.parametrize("name", ["time-machine", "python-docs", "auto"])
def test_a_file_never_passes_for_a_text_that_is_known_by_name(tmp_path, name):
    (tmp_path / f"{name}.txt").write_text(TEXT, encoding="utf-8")
    assert load_corpus(CorpusConfig(str(tmp_path / f"{name}.txt"))).name == f"{name}-file"


def test_a_relative_path_is_recorded_so_that_it_is_found_from_anywhere(text_file, monkeypatch):
    monkeypatch.chdir(text_file.parent)
    assert load_corpus(CorpusConfig(text_file.name)).source == str(text_file.resolve())


def test_a_cache_that_can_not_be_written_is_named(text_file, monkeypatch):
    monkeypatch.setenv("TMLM_CACHE_DIR", "/proc/nowhere")
    with pytest.raises(InputError, match="set TMLM_CACHE_DIR"):
        load_corpus(CorpusConfig(str(text_file)))


def test_a_folder_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        load_corpus(CorpusConfig(str(tmp_path)))
    with pytest.raises(InputError, match="no such file exists"):
        load_corpus(CorpusConfig(str(tmp_path / "missing.txt")))


# --- splits and baselines --------------------------------------------------------------------------------------------


def test_the_stream_splits_follow_each_other_and_leave_nothing_out(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    spans = corpus.spans("stream")
    assert spans["train"][0] == 0
    assert spans["train"][1] == spans["val"][0]
    assert spans["val"][1] == spans["test"][0]
    assert spans["test"][1] == len(corpus)
    assert spans["train"][1] == int(0.9 * len(corpus))


def test_a_text_too_short_for_the_reports_windows_is_refused(text_file):
    with pytest.raises(InputError, match="15,032 before the last 5 %"):
        load_corpus(CorpusConfig(str(text_file))).spans("report")


def test_both_presets_read_the_same_test_text():
    corpus = load_corpus(CorpusConfig("python-docs"))
    assert corpus.spans("report")["test"] == corpus.spans("stream")["test"]
    assert corpus.spans("report")["train"] == (0, 10_032)
    assert corpus.spans("report")["val"] == (10_000, 15_032)


def test_baselines_are_those_of_the_training_text_and_are_kept(text_file, monkeypatch):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    bars = corpus.baselines("stream")
    ngram = KneserNey(corpus.split("stream", "train"), 28)
    expected = mean_bits(ngram.log2_probabilities(corpus.split("stream", "val"))[1:])
    assert bars["val"].ngram_bits_per_char == pytest.approx(expected)
    monkeypatch.setattr(corpus_module, "baselines", lambda *a: pytest.fail("fitted a second time"))
    assert corpus.baselines("stream") == bars


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
    """A stand-in for the network: what pooch would fetch for each address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes | Exception]) -> None:
        self.asked: list[str] = []
        self.pages = pages
        monkeypatch.delenv("TMLM_OFFLINE", raising=False)
        monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
        monkeypatch.setattr(pooch, "HTTPDownloader", lambda **options: self.fetch)

    def fetch(self, url: str, output_file: str, pooch: object) -> None:
        self.asked.append(url)
        page = self.pages.get(url, requests.ConnectionError("no such host"))
        if isinstance(page, Exception):
            raise page
        Path(output_file).write_bytes(page)


def test_mirrors_are_asked_in_turn_and_the_digest_is_checked(monkeypatch, book):
    exact = book.read_bytes()
    first, second, third = TIME_MACHINE_MIRRORS
    web = Web(monkeypatch, {first: requests.Timeout("slow"), second: exact[:-1], third: exact})
    corpus = load_corpus(CorpusConfig("time-machine"))
    assert corpus.source == third
    assert web.asked == [first, second, third]
    assert load_corpus(CorpusConfig("time-machine")).source == str(cache_dir() / "downloads" / "timemachine.txt")
    assert len(web.asked) == 3, "the second time it comes from the cache"


def test_all_reasons_are_told_when_no_mirror_has_it(monkeypatch):
    response = requests.Response()
    response.status_code = 404
    first, second, third = TIME_MACHINE_MIRRORS
    Web(monkeypatch, {first: requests.Timeout(), second: b"wrong", third: requests.HTTPError(response=response)})
    with pytest.raises(DataUnavailableError, match=r"(?s)no answer in time.*wrong sha256.*HTTP status 404"):
        load_corpus(CorpusConfig("time-machine"))
    assert not (cache_dir() / "downloads" / "timemachine.txt").exists()


def test_an_https_address_is_a_corpus_and_is_kept(monkeypatch):
    url = "https://example.org/texts/many.txt?x=1"
    web = Web(monkeypatch, {url: TEXT.encode()})
    corpus = load_corpus(CorpusConfig(url))
    assert corpus.name == "many"
    assert corpus.source == url
    load_corpus(CorpusConfig(url))
    assert web.asked == [url]


def test_only_https_addresses_are_downloaded(monkeypatch):
    web = Web(monkeypatch, {})
    with pytest.raises(InputError, match="not https"):
        load_corpus(CorpusConfig("http://example.org/many.txt"))
    assert web.asked == []
