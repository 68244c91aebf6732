"""Prepared texts: what is cached and prepared again, what is refused, splits and baselines."""

import hashlib
import json
import os
import re
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from models.ngram import KneserNey
from pipeline.config import CorpusConfig
from pipeline.errors import InputError
from pipeline.text import corpus as corpus_module
from pipeline.text import sources
from pipeline.text.cache import cache_dir, hold
from pipeline.text.corpus import Corpus, kept_copies, kept_corpus, load_corpus
from pipeline.text.ngrams import ENDINGS, baselines_of, fitted_ngrams, remove_outdated, soft_targets
from pipeline.text.vocabulary import LETTERS, Vocabulary, normalise

TEXT = "".join(f"It was number {i}, the {'éàü'[i % 3]} of many;\n" for i in range(400))


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "many.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def corpus(text_file: Path) -> Corpus:
    return load_corpus(CorpusConfig(str(text_file), "letters"))


def kept(corpus: Corpus) -> Corpus | None:
    return kept_corpus(corpus.name, corpus.source, corpus.vocabulary.alphabet, corpus.corpus_sha256)


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_a_file_is_normalised_and_mapped_into_memory(text_file, alphabet):
    corpus = load_corpus(CorpusConfig(str(text_file), alphabet))
    assert corpus.name == "many"
    expected = normalise(TEXT, alphabet)
    assert corpus.vocabulary.decode(corpus.ids) == expected
    assert isinstance(corpus.ids, np.memmap)
    assert corpus.ids.dtype == np.uint8
    assert corpus.source_sha256 == hashlib.sha256(text_file.read_bytes()).hexdigest()
    assert corpus.corpus_sha256 == hashlib.sha256(expected.encode()).hexdigest()


@pytest.mark.parametrize("alphabet", ["letters", "raw"])
def test_line_breaks_byte_order_mark_and_size_of_pieces_change_nothing(tmp_path, monkeypatch, alphabet):
    text = "".join(f"It\u0323\u0301 was {i}\n\n\u1100\u1161\u11a8 of the\n\U0001f600\n" for i in range(100))
    prepared: list[Corpus] = []
    for size in (1, 100, 10**6):
        monkeypatch.setattr(sources, "PIECE_SIZE", size)
        for line_break, encoding in (("\n", "utf-8"), ("\r\n", "utf-8"), ("\r", "utf-8-sig")):
            path = tmp_path / f"{size}-{len(prepared)}.txt"
            path.write_text(text, encoding=encoding, newline=line_break)
            prepared.append(load_corpus(CorpusConfig(str(path), alphabet)))
    assert {corpus.corpus_sha256 for corpus in prepared} == {prepared[0].corpus_sha256}
    assert all(np.array_equal(corpus.ids, prepared[0].ids) for corpus in prepared)
    assert prepared[0].vocabulary.decode(prepared[0].ids) == normalise(text, alphabet)


def test_prepared_ids_are_used_again_and_writing_to_them_does_not_change_the_file(text_file, corpus, monkeypatch):
    before = corpus.ids.copy()
    corpus.ids[0] = 27 - corpus.ids[0]
    monkeypatch.setattr(corpus_module, "_prepare", lambda *a: pytest.fail("prepared a second time"))
    assert np.array_equal(load_corpus(CorpusConfig(str(text_file), "letters")).ids, before)


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"[1]", b'{"symbols": ', b"\xff"])
@pytest.mark.parametrize("file", ["ids.bin", "corpus.json"])
def test_damaged_copy_is_not_used_and_prepared_again(text_file, corpus, file, damage):
    good = corpus.ids.copy()
    path = corpus.folder / file
    path.unlink() if damage is None else path.write_bytes(damage)
    assert kept(corpus) is None
    assert np.array_equal(load_corpus(CorpusConfig(str(text_file), "letters")).ids, good)


@pytest.mark.parametrize(
    "lie",
    [
        {"symbols": [*LETTERS[:2], *reversed(LETTERS[2:])]},
        {"symbols": LETTERS[:20]},
        {"symbols": [*LETTERS, "a"]},
        {"symbols": 7},
        {"corpus_sha256": "0" * 64},
        {"source_sha256": "0" * 64},
    ],
)
def test_facts_that_are_not_those_of_the_ids_are_not_believed(text_file, corpus, lie):
    file = corpus.folder / "corpus.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | lie))
    again = load_corpus(CorpusConfig(str(text_file), "letters"))
    assert again == corpus
    assert np.array_equal(again.ids, corpus.ids)


def test_prepared_text_outlives_its_file(text_file, corpus):
    text_file.write_text(TEXT + "and one more", encoding="utf-8")
    assert len(load_corpus(CorpusConfig(str(text_file), "letters"))) == len(corpus) + len("and one more")
    text_file.unlink()
    again = kept(corpus)
    assert again is not None
    assert np.array_equal(again.ids, corpus.ids)
    assert again == corpus
    assert kept(replace(corpus, name="few")) == replace(corpus, name="few")
    assert kept(replace(corpus, corpus_sha256="0" * 64)) is None


def test_a_text_under_two_names_is_kept_once_and_known_by_both(text_file, corpus, monkeypatch):
    (copy := text_file.with_name("my-book.txt")).write_bytes(text_file.read_bytes())
    monkeypatch.setattr(corpus_module, "_prepare", lambda *a: pytest.fail("prepared a second time"))
    again = load_corpus(CorpusConfig(str(copy), "letters"))
    assert (again.name, again.source, again.folder) == ("my-book", str(copy), corpus.folder)
    assert kept_copies("my-book") == kept_copies("many") == ([corpus.folder], {corpus.corpus_sha256})


def test_soft_targets_are_kept_until_the_last_user_of_the_text_leaves_and_made_anew_with_the_same_bits(
    text_file, monkeypatch
):
    first, second = (load_corpus(CorpusConfig(str(text_file), "letters")) for _ in range(2))
    folder, table = first.folder, soft_targets(first, "stream").table
    (file,) = folder.glob("*.f16")
    monkeypatch.setattr("pipeline.text.ngrams.fit_gate", lambda *a: pytest.fail("fitted a second time"))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.text.ngrams.sample_of", lambda *a: pytest.fail("made a second time"))
        assert torch.equal(soft_targets(second, "stream").table, table)
    fitted_ngrams.cache_clear()
    del first
    assert file.exists()
    other = hold(folder)  # as another process does
    del second
    assert file.exists()  # as if all processes had been killed
    os.close(other)
    third = load_corpus(CorpusConfig(str(text_file), "letters"))
    del third
    assert not file.exists()
    assert torch.equal(soft_targets(load_corpus(CorpusConfig(str(text_file), "letters")), "stream").table, table)


def test_full_disk_is_named_and_leaves_nothing_partial(text_file, file_size_limit):
    with (
        file_size_limit(5000),
        pytest.raises(InputError, match=r"can't be written: File too large.*; TMLM_CACHE_DIR sets another folder"),
    ):
        load_corpus(CorpusConfig(str(text_file), "letters"))
    assert not list((cache_dir() / "prepared").glob("*/.*"))
    corpus = load_corpus(CorpusConfig(str(text_file), "letters"))
    with file_size_limit(10), pytest.raises(InputError, match="can't be written: "):
        baselines_of(corpus, "stream")
    assert baselines_of(corpus, "stream")


# --- splits and baselines --------------------------------------------------------------------------------------------


def long_corpus(folder: Path, length: int = 12_000_000) -> Corpus:
    ids = np.resize(np.arange(251, dtype=np.uint8) % 27, length)
    return Corpus("long", "", "", "", Vocabulary("letters", LETTERS), ids, folder)


def test_stream_splits_follow_each_other_and_leave_nothing_out(corpus):
    spans, end = corpus.spans("stream"), len(corpus)
    train, val = int(0.9 * end), int(0.9 * end) + int(0.05 * end)
    assert spans == {"train": (0, train), "val": (train, val), "test": (val, end)}


def test_100_000_characters_of_a_long_text_are_held_out(tmp_path):
    corpus = long_corpus(tmp_path)
    assert corpus.spans("stream") == {
        "train": (0, 10_800_000), "val": (10_800_000, 10_900_000), "test": (11_400_000, 11_500_000),
    }  # fmt: skip
    assert corpus.spans("report")["test"] == corpus.spans("stream")["test"]
    assert long_corpus(tmp_path, 11_000_000).spans("stream")["test"] == (10_450_000, 11_000_000)


def test_baselines_of_a_long_text_read_evenly_spaced_blocks_of_it(tmp_path):
    corpus = long_corpus(tmp_path)
    train, blocks = corpus.split("stream", "train"), corpus.baseline_text("stream").reshape(20, 50_000)
    assert np.array_equal(blocks[0], train[:50_000])
    assert np.array_equal(blocks[-1], train[-50_000:])
    assert np.array_equal(blocks[10], train[10 * 10_750_000 // 19 :][:50_000])
    assert len(long_corpus(tmp_path, 11_000_000).baseline_text("stream")) == 9_900_000
    assert len(corpus.baseline_text("report")) == 10_032


def test_report_presets_read_the_reports_characters_and_the_same_test_text(corpus):
    docs = load_corpus(CorpusConfig("python-docs"))
    expected = {"train": (0, 10_032), "val": (10_000, 15_032), "test": docs.spans("stream")["test"]}
    assert docs.spans("report") == docs.spans("report-text") == expected
    with pytest.raises(InputError, match="15,032 before the last 5 %"):
        corpus.spans("report")


def test_limited_text_keeps_the_end_of_its_training_split(corpus):
    last = corpus.limited(2000)
    end = corpus.spans("stream")["train"][1]
    assert last.spans("stream") == {**corpus.spans("stream"), "train": (end - 2000, end)}
    assert (last.train_chars, len(last.baseline_text("stream"))) == (2000, 2000)
    assert last.limited(0) == corpus
    whole, part = baselines_of(corpus, "stream"), baselines_of(last, "stream")
    assert part["val"].single.bits_per_char > whole["val"].single.bits_per_char
    assert fitted_ngrams(last, "stream").tables.entries == part["val"].ngram.entries
    with pytest.raises(InputError, match=f"^train_chars 99,999 is more than the {corpus.train_chars:,} training"):
        corpus.limited(99_999)


def test_baselines_are_those_of_the_training_text_and_are_kept_unless_their_file_was_changed(
    text_file, corpus, monkeypatch
):
    bars, val = baselines_of(corpus, "stream"), corpus.split("stream", "val")
    single = KneserNey(corpus.split("stream", "train"), 28, bars["val"].best_order)
    assert bars["val"].single.bits_per_char == pytest.approx(-single.log2_probabilities(val)[1:].mean())
    assert bars["val"].ngram.bits_per_char < bars["val"].single.bits_per_char
    whole, few = fitted_ngrams(corpus, "stream"), fitted_ngrams(corpus, "stream", 100)
    assert float(whole.costs(val).mean()) / log(2) == pytest.approx(bars["val"].ngram.bits_per_char)
    assert few.tables.entries == 100 < whole.tables.entries
    for name in ("_fit", "pruned", "fit_gate"):
        monkeypatch.setattr(f"pipeline.text.ngrams.{name}", lambda *a: pytest.fail("fitted a second time"))
    again = load_corpus(CorpusConfig(str(text_file), "letters"))
    assert baselines_of(again, "stream") == bars
    assert fitted_ngrams(again, "stream") is whole
    assert fitted_ngrams(again, "stream", 100) is few
    (file,) = corpus.folder.glob("counted-*.json")
    of_another_version = file.with_name(file.name.replace(ENDINGS[0], ".json"))
    of_another_version.write_text("{}")
    assert remove_outdated() == [of_another_version]
    assert baselines_of(again, "stream") == bars
    file.write_text(re.sub(r"\.\d", ".5", file.read_text()))
    with pytest.raises(pytest.fail.Exception, match="fitted a second time"):
        baselines_of(again, "stream")


@pytest.mark.parametrize(
    ("alphabet", "begins", "prompt"),
    [
        ("letters", "\n  Call me Ishmael. ", "call me"),
        ("raw", "Ж!\n\nя ", "Ж!"),
        ("raw", "天" * 50, "天" * 12),
        ("raw", "=" * 300 + "\n* * *\n  «Call me __ ", "«Call me"),
    ],
)
def test_the_own_prompt_of_a_text_is_its_first_words_but_of_the_time_machine(tmp_path, alphabet, begins, prompt):
    (tmp_path / "novel.txt").write_text(begins + "some more words " * 100, encoding="utf-8")
    novel = load_corpus(CorpusConfig(str(tmp_path / "novel.txt"), alphabet))
    assert novel.own_prompt == prompt
    assert replace(novel, name="time-machine").own_prompt == ""
