"""Many commands at once on one store: every run complete, whoever makes the store."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import Checkout

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
