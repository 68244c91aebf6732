"""What ``tmlm doctor`` reports; its repairs are tested with the store (tests/tracking)."""

import json

from pipeline.config import CorpusConfig
from pipeline.text.corpus import load_corpus
from pipeline.text.downloads import cache_dir
from tests.cli.commands import run


def test_doctor_says_what_would_be_used_without_recording_anything(no_store, monkeypatch):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["text"].startswith("python-docs, ")
    assert found["store"].endswith("lab/mlruns/mlflow.db")
    assert found["torch"]
    assert list(no_store.iterdir()) == []


def test_doctor_says_where_the_copies_of_texts_are(no_store, small_text):
    assert f"{cache_dir() / 'prepared'}: none yet" in run("doctor")[1]
    load_corpus(CorpusConfig(str(small_text)))
    assert f"{cache_dir() / 'prepared'}: topics (letters)" in run("doctor")[1]
