"""Prepared texts: what is cached and prepared again, what is refused, splits and baselines."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.ngram import KneserNey, mean_bits, predicted_bits_per_char
from pipeline.config import CorpusConfig
from pipeline.errors import InputError
from pipeline.text import corpus as corpus_module
from pipeline.text import sources
from pipeline.text.corpus import Corpus, kept_corpus, load_corpus
from pipeline.text.downloads import cache_dir
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.text.vocabulary import LETTERS, Vocabulary, normalise

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


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"symbols": ', b"\xff"])
def test_damaged_facts_are_made_again(text_file, damage):
    first = load_corpus(CorpusConfig(str(text_file)))
    (first.folder / "corpus.json").write_bytes(damage)
    assert load_corpus(CorpusConfig(str(text_file))).corpus_sha256 == first.corpus_sha256


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


def kept(corpus: Corpus) -> Corpus | None:
    return kept_corpus(corpus.name, corpus.source, corpus.vocabulary.alphabet, corpus.corpus_sha256)


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_a_prepared_text_outlives_its_file(text_file, alphabet):
    corpus = load_corpus(CorpusConfig(str(text_file), alphabet))
    text_file.unlink()
    again = kept(corpus)
    assert again is not None
    assert np.array_equal(again.ids, corpus.ids)
    assert replace(again, ids=corpus.ids) == corpus


@pytest.mark.parametrize("file", ["ids.bin", "corpus.json"])
def test_a_damaged_copy_of_a_text_is_not_used(text_file, file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    (corpus.folder / file).write_bytes((corpus.folder / file).read_bytes()[:-1])
    assert kept(corpus) is None


@pytest.mark.parametrize("other", [{"name": "few"}, {"corpus_sha256": "0" * 64}])
def test_a_copy_of_another_text_is_not_used(text_file, other):
    assert kept(replace(load_corpus(CorpusConfig(str(text_file))), **other)) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"short", "5 characters of the alphabet 'letters' in 5 bytes; at least 1,000"),
        (b"\xff\xfe" + b"x" * 2000, "not UTF-8 text: byte 0 is 0xff"),
        (b"good text " * 200 + b"\xc3", "not UTF-8 text: byte 2,000"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        load_corpus(CorpusConfig(str(tmp_path / "bad.txt")))


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_an_empty_file_is_called_empty(tmp_path, alphabet):
    (tmp_path / "text.txt").touch()
    with pytest.raises(InputError, match=r"--corpus \S+text.txt is empty; at least 1,000 characters are needed"):
        load_corpus(CorpusConfig(str(tmp_path / "text.txt"), alphabet))


def test_nul_bytes_are_refused_in_a_raw_text(tmp_path):
    (tmp_path / "nul.bin").write_bytes(b"ab\0c" * 1000)
    with pytest.raises(InputError, match="NUL bytes"):
        load_corpus(CorpusConfig(str(tmp_path / "nul.bin"), "raw"))


def test_a_text_in_other_letters_is_told_of_the_raw_alphabet(tmp_path):
    (tmp_path / "ru.txt").write_text("съешь ещё этих мягких булок " * 200, encoding="utf-8")
    with pytest.raises(InputError, match="--alphabet raw keeps other letters"):
        load_corpus(CorpusConfig(str(tmp_path / "ru.txt")))
    assert load_corpus(CorpusConfig(str(tmp_path / "ru.txt"), "raw")).label == "ru-raw"


@pytest.mark.parametrize("name", [*KNOWN_TEXTS, "auto"])
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
    with pytest.raises(InputError, match="there is no file "):
        load_corpus(CorpusConfig(str(tmp_path / "missing.txt")))


# --- whole or not there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_the_size_of_the_pieces_changes_nothing(tmp_path, monkeypatch, alphabet):
    text = "".join(f"It\u0323\u0301 was\r\n{i} \u1100\u1161\u11a8 of\r the \U0001f600\n" for i in range(100))
    prepared = []
    for size in (1, 2, 3, 7, 1000, 10**6):
        monkeypatch.setattr(sources, "PIECE_BYTES", size)
        (tmp_path / f"{size}.txt").write_text(text, encoding="utf-8-sig", newline="")
        prepared.append(load_corpus(CorpusConfig(str(tmp_path / f"{size}.txt"), alphabet)))
    expected = normalise(text, alphabet)
    for corpus in prepared:
        assert corpus.vocabulary.decode(corpus.ids) == expected
        assert corpus.vocabulary == Vocabulary.of([expected], alphabet)
        assert corpus.corpus_sha256 == hashlib.sha256(expected.encode()).hexdigest()


def parts_in(folder: Path) -> list[str]:
    """What stands there beside what is whole."""
    return [path.name for path in folder.glob("*/.*")]


def test_a_text_that_is_refused_leaves_nothing_half_written(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good text " * 2000 + b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        load_corpus(CorpusConfig(str(tmp_path / "bad.txt")))
    assert parts_in(cache_dir() / "prepared") == []
    assert not list((cache_dir() / "prepared").glob("*/ids.bin"))


def test_a_disk_that_is_full_is_named_and_nothing_half_written_is_left(text_file, file_size_limit):
    with (
        file_size_limit(5000),
        pytest.raises(InputError, match=r"can't be written: .*make room there or set TMLM_CACHE"),
    ):
        load_corpus(CorpusConfig(str(text_file)))
    assert parts_in(cache_dir() / "prepared") == []
    corpus = load_corpus(CorpusConfig(str(text_file)))
    assert len(corpus) > 5000
    with file_size_limit(10), pytest.raises(InputError, match="can't be written: "):
        corpus.baselines("stream")
    assert corpus.baselines("stream")


def test_what_a_killed_call_left_is_removed_by_the_next_one(text_file):
    first = load_corpus(CorpusConfig(str(text_file)))
    (first.folder / ".ids.bin.4567").write_bytes(b"half")
    (first.folder / "ids.bin").unlink()
    load_corpus(CorpusConfig(str(text_file)))
    assert parts_in(cache_dir() / "prepared") == []


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
@pytest.mark.parametrize("change", [lambda text: text[:-9], lambda text: text + "x", lambda text: text.upper()])
def test_a_text_that_changes_while_it_is_read_is_refused_and_not_kept(text_file, monkeypatch, alphabet, change):
    digest_of = sources.FoundText.sha256

    def then_changed(found: sources.FoundText) -> str:
        digest = digest_of(found)
        text_file.write_text(change(TEXT), encoding="utf-8")
        return digest

    monkeypatch.setattr(sources.FoundText, "sha256", then_changed)
    with pytest.raises(InputError, match=r"many\.txt has changed while it was read; try again"):
        load_corpus(CorpusConfig(str(text_file), alphabet))
    assert not list((cache_dir() / "prepared").glob("*/ids.bin"))


def test_several_processes_may_prepare_one_text_at_once(text_file):
    text_file.write_text(TEXT * 100, encoding="utf-8")
    script = "import sys; from pipeline.text.corpus import *; print(load_corpus(CorpusConfig(sys.argv[1])).ids.sum())"
    command = [sys.executable, "-c", script, str(text_file)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    outputs = [process.communicate(timeout=120) for process in processes]
    expected = load_corpus(CorpusConfig(str(text_file)))
    assert outputs == [(f"{expected.ids.sum()}\n".encode(), b"")] * 4
    assert parts_in(cache_dir() / "prepared") == []


def test_a_long_file_name_is_no_hindrance(tmp_path):
    path = tmp_path / f"{'长' * 80}.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert load_corpus(CorpusConfig(str(path))).name == "长" * 80


@pytest.mark.slow
@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_memory_does_not_grow_with_the_text(tmp_path, alphabet):
    script = (
        "import sys, resource; from pipeline.text.corpus import *; c = load_corpus(CorpusConfig(*sys.argv[1:]));"
        "c.baselines('stream'); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for megabytes in (16, 128):
        line = "".join(f"It wäs number {i}, of many; " for i in range(1000))
        with (tmp_path / f"{megabytes}.txt").open("w", encoding="utf-8") as file:
            for _ in range(megabytes * 1_000_000 // len(line.encode())):
                file.write(line)
        command = [sys.executable, "-c", script, str(tmp_path / f"{megabytes}.txt"), alphabet]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout) / 1024)
    assert peaks[1] - peaks[0] < 10, "megabytes more for a text that has 112 more"


# --- splits and baselines --------------------------------------------------------------------------------------------


def test_the_stream_splits_follow_each_other_and_leave_nothing_out(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    spans = corpus.spans("stream")
    assert spans["train"][0] == 0
    assert spans["train"][1] == spans["val"][0]
    assert spans["val"][1] == spans["test"][0]
    assert spans["test"][1] == len(corpus)
    assert spans["train"][1] == int(0.9 * len(corpus))


def long_corpus(tmp_path: Path, length: int = 12_000_000) -> Corpus:
    ids = np.resize(np.arange(251, dtype=np.uint8) % 27, length)
    return Corpus("long", "", False, "", "", Vocabulary("letters", LETTERS), ids, tmp_path)


def test_of_a_long_text_the_first_half_million_of_validation_and_test_are_read(tmp_path):
    corpus = long_corpus(tmp_path)
    assert corpus.spans("stream") == {
        "train": (0, 10_800_000), "val": (10_800_000, 11_300_000), "test": (11_400_000, 11_900_000),
    }  # fmt: skip
    assert corpus.spans("report")["test"] == corpus.spans("stream")["test"]
    shorter = long_corpus(tmp_path, 11_000_000)
    assert shorter.spans("stream")["val"] == (9_900_000, 10_450_000)
    assert shorter.spans("stream")["test"] == (10_450_000, 11_000_000)


def test_the_baselines_of_a_long_text_see_evenly_spaced_blocks_of_it(tmp_path):
    corpus = long_corpus(tmp_path)
    train, sample = corpus.split("stream", "train"), corpus.baseline_text("stream")
    assert len(sample) == 2_000_000
    blocks = sample.reshape(20, 100_000)
    assert np.array_equal(blocks[0], train[:100_000])
    assert np.array_equal(blocks[-1], train[-100_000:])
    assert np.array_equal(blocks[10], train[10 * 10_700_000 // 19 :][:100_000])
    shorter = long_corpus(tmp_path, 11_000_000)
    assert len(shorter.baseline_text("stream")) == 9_900_000, "of a text that is one pass at most, all"
    assert len(corpus.baseline_text("report")) == 10_032


def test_a_text_too_short_for_the_reports_windows_is_refused(text_file):
    with pytest.raises(InputError, match="15,032 before the last 5 %"):
        load_corpus(CorpusConfig(str(text_file))).spans("report")


def test_all_presets_read_the_same_test_text_and_report_text_the_reports_characters():
    corpus = load_corpus(CorpusConfig("python-docs"))
    assert corpus.spans("report")["test"] == corpus.spans("stream")["test"]
    assert corpus.spans("report-text") == corpus.spans("report")
    assert corpus.spans("report")["train"] == (0, 10_032)
    assert corpus.spans("report")["val"] == (10_000, 15_032)


def test_a_limited_text_keeps_the_end_of_its_training_split_and_what_is_held_out(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    last = corpus.limited(2000)
    end = corpus.spans("stream")["train"][1]
    assert last.spans("stream") == {**corpus.spans("stream"), "train": (end - 2000, end)}
    assert (last.train_chars, len(last.baseline_text("stream"))) == (2000, 2000)
    assert last.limited(0) == corpus


def test_the_baselines_of_a_limited_text_are_its_own(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    last = corpus.limited(2000)
    whole, part = corpus.baselines("stream"), last.baselines("stream")
    assert part["val"].ngram_bits_per_char > whole["val"].ngram_bits_per_char
    assert last.ngram("stream").entries == part["val"].ngram_entries
    assert corpus.baselines("stream") == whole


def test_a_limit_beyond_the_text_is_refused(text_file):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    with pytest.raises(InputError, match=f"--train-chars 99,999 is more than the {corpus.train_chars:,} training"):
        corpus.limited(99_999)


def test_baselines_are_those_of_the_training_text_and_are_kept(text_file, monkeypatch):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    bars = corpus.baselines("stream")
    ngram = KneserNey(corpus.split("stream", "train"), 28, bars["val"].ngram_order)
    expected = mean_bits(ngram.log2_probabilities(corpus.split("stream", "val"))[1:])
    assert bars["val"].ngram_bits_per_char == pytest.approx(expected)
    monkeypatch.setattr("pipeline.text.corpus.baselines", lambda *a: pytest.fail("fitted a second time"))
    assert corpus.baselines("stream") == bars


def test_the_best_n_gram_is_fitted_once_for_a_text_and_preset(text_file, monkeypatch):
    corpus = load_corpus(CorpusConfig(str(text_file)))
    ngram, val = corpus.ngram("stream"), corpus.split("stream", "val")
    assert predicted_bits_per_char(ngram, val) == corpus.baselines("stream")["val"].ngram_bits_per_char
    monkeypatch.setattr("pipeline.text.corpus.KneserNey", lambda *a: pytest.fail("fitted a second time"))
    assert load_corpus(CorpusConfig(str(text_file))).ngram("stream") is ngram
