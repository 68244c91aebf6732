"""What ``tmlm doctor`` reports; its repairs are tested with the store (tests/tracking)."""

import json
import shutil
import sqlite3

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


def test_doctor_says_how_much_room_the_runs_in_another_database_take(store, monkeypatch):
    other = store / "other.db"
    shutil.copy(store / "mlruns" / "mlflow.db", other)
    (store / "mlruns" / "0" / "run").mkdir(parents=True)
    (store / "mlruns" / "0" / "run" / "weights").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    _, out, _ = run("doctor", "--json")
    assert json.loads(out)["disk"].startswith(f"runs {(3_000_000 + other.stat().st_size) / 1e6:.1f} MB, texts ")
    with sqlite3.connect(other) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", ["/"])  # a record may name any folder
    _, out, _ = run("doctor", "--json")
    assert json.loads(out)["disk"].startswith(f"runs {other.stat().st_size / 1e6:.1f} MB, texts ")
