"""What ``tmlm doctor`` reports; its repairs are tested with the store (tests/tracking)."""

import json

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
