"""Many commands at once on one store: every run complete, whoever makes the store."""

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import Checkout, ask, free_port, server

EPOCHS = 3
ARTIFACTS = ("config.yaml", "result.json", "plots/perplexity.png", "samples/final.md", "checkpoints/best.safetensors",
             "checkpoints/last.safetensors")  # fmt: skip


def train_at_once(checkout: Checkout, count: int) -> list[dict[str, Any]]:
    """That many trainings, started together, each with a seed of its own; their runs."""
    processes = [
        subprocess.Popen(
            ["python", "-m", "pipeline", "train", "--corpus", "python-docs", "--hidden-size", "8", "--batch-size", "64",
             "--epochs", str(EPOCHS), "--seed", str(seed)],
            cwd=checkout.folder, env=checkout.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in range(count)
    ]  # fmt: skip
    for process in processes:
        _, err = process.communicate(timeout=280)
        assert (process.returncode, err) == (0, "")
    return checkout.runs()


def assert_complete(checkout: Checkout, run: dict[str, Any]) -> None:
    """Its status, every step of every curve once, its tags, and its artifacts."""
    assert run["status"] == "FINISHED"
    steps = checkout.query("SELECT key, step FROM metrics WHERE run_uuid=? AND key LIKE 'perplexity/%'", run["id"])
    expected = [(f"perplexity/{split}", epoch) for split in ("train", "val") for epoch in range(1, EPOCHS + 1)]
    assert sorted(steps) == expected
    assert "result/test_perplexity" in run["latest_metrics"]
    assert "failure" not in run["tags"]
    folder = Path(run["artifacts"])
    for name in ARTIFACTS:
        assert (folder / name).stat().st_size > 0
    assert folder.is_relative_to(checkout.folder / "mlruns")


@pytest.mark.slow
def test_three_trainings_that_start_on_no_store_at_all_are_all_complete(tmp_path):
    checkout = Checkout(tmp_path)
    runs = train_at_once(checkout, 3)
    assert {run["params"]["seed"] for run in runs} == {str(seed) for seed in range(3)}
    for run in runs:
        assert_complete(checkout, run)
    models = checkout.query("SELECT count(*), count(DISTINCT source_run_id) FROM logged_models WHERE status=2")
    assert models == [(3, 3)]


# --- MLflow before, with and after the first command ------------------------------------------------------------------

OPENS = {  # that open or create mlflow.db
    "ui": ["mlflow", "ui", "--workers", "1"],
    "server": ["mlflow", "server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"],
    "server by path": ["mlflow", "server", "--workers", "1", "--backend-store-uri", "sqlite:///{}"],
    "run": ["mlflow", "run", ".", "--env-manager", "local", "-e", "prepare"],
}
PREPARE = ["python", "-m", "pipeline", "prepare", "--corpus", "python-docs"]
DELAYS = (-2, 0, 0.7, 1.5, 4)  # seconds from the first command to MLflow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opens", "seconds"),
    [
        pytest.param(opens, seconds, marks=[pytest.mark.ci] * (opens == "ui" and seconds == 1.5))
        for opens in OPENS
        for seconds in DELAYS
    ],
)
def test_a_first_command_and_mlflow_make_one_whole_store(tmp_path, opens, seconds):
    checkout, port = Checkout(tmp_path), free_port()
    environment = {**checkout.environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = [word.format(checkout.database) for word in OPENS[opens]]
    with ExitStack() as stack:

        def start(words: list[str]) -> subprocess.Popen:
            process = subprocess.Popen(words, cwd=checkout.folder, env=environment, stderr=subprocess.PIPE, text=True)
            return stack.enter_context(process)

        def start_mlflow() -> list[subprocess.Popen]:
            if opens == "run":
                return [start(words)]
            stack.enter_context(server(checkout.folder, environment, *words, "--port", str(port)))
            return []

        begun = start_mlflow() if seconds < 0 else []
        time.sleep(max(0, -seconds))
        begun.append(start(PREPARE))
        time.sleep(max(0, seconds))
        begun += start_mlflow() if seconds >= 0 else []
        for process in begun:
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
        ids = sorted(run["id"] for run in checkout.runs())
        assert [run["status"] for run in checkout.runs()] == ["FINISHED"] * len(begun)
        if opens != "run":
            status, body = ask(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"]})
            assert (status, sorted(run["info"]["run_id"] for run in json.loads(body)["runs"])) == (200, ids)
    assert checkout.query("PRAGMA integrity_check") == [("ok",)]
