"""The project as its users start it: `mlflow run` in a copy of the repository, from the outside."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import Checkout, ask, free_port, server

TINY = ["-P", "hidden_size=8", "-P", "epochs=1", "-P", "batch_size=64"]
TYPED = ["-P", "learning_rate=1e-3", "-P", "cell=gru"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("main"))


@pytest.fixture(scope="module")
def trained(checkout: Checkout) -> dict[str, Any]:
    """A training started by its own entry point, which is begun by MLflow."""
    checkout.mlflow_run("-e", "train", *TINY, *TYPED)
    return checkout.last("train")


@pytest.fixture(scope="module")
def main_job(checkout: Checkout) -> tuple[str, list[dict[str, Any]]]:
    """What the main job printed, and the runs that it left; with parameters that are recorded in two ways.

    MLflow records them as they are typed, 1e-3, in the run that it begins; we record 0.001.
    """
    known = {run["id"] for run in checkout.runs()} if checkout.database.is_file() else set()
    done = checkout.mlflow_run(*TINY, *TYPED)
    return done.stdout + done.stderr, [run for run in checkout.runs() if run["id"] not in known]


@pytest.mark.ci
@pytest.mark.slow
def test_the_main_job_runs_offline_and_says_so(checkout, main_job):
    said, runs = main_job
    assert "FALLING BACK to python-docs" in said
    assert re.search(r"network +\d+\.\d+ +\d+\.\d+", said)
    (training,) = [run["id"] for run in runs if run["tags"]["stage"] == "train"]
    assert f"/runs/{training}/model-metrics" in said
    assert f"sample {training[:8]} --prompt" in said
    assert [run["status"] for run in runs] == ["FINISHED"] * 5
    assert {run["tags"]["stage"] for run in runs} == {"pipeline", "prepare", "train", "evaluate", "sample"}
    assert all(Path(run["artifacts"]).is_relative_to(checkout.folder / "mlruns") for run in runs)


@pytest.mark.slow
def test_a_typed_parameter_reaches_the_training_and_the_rest_is_recorded(main_job):
    _, runs = main_job
    (trained,) = [run for run in runs if run["tags"]["stage"] == "train"]
    (pipeline,) = [run for run in runs if run["tags"]["stage"] == "pipeline"]
    assert pipeline["params"]["learning_rate"] == "1e-3"
    assert trained["params"]["learning_rate"] == "0.001"
    assert trained["params"]["cell"] == "gru"
    assert trained["params"]["optimizer"] == "adamw"
    assert trained["latest_metrics"]["training/learning_rate"] < 1e-3
    assert trained["tags"]["corpus.fallback"] == "true"


@pytest.mark.slow
def test_a_wrong_parameter_ends_with_the_reason_and_leaves_no_run_running(checkout, trained):
    done = checkout.mlflow_run("-e", "train", "-P", "hidden_size=abc", code=1)
    assert "'abc' is not a valid integer" in done.stderr
    (failed,) = (run for run in checkout.runs() if run["status"] == "FAILED")
    assert "'abc' is not a valid integer" in failed["tags"]["failure"]
    assert "RUNNING" not in {run["status"] for run in checkout.runs()}


# --- minutes, not seconds --------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.slow
def test_the_logged_model_is_served(checkout, trained):
    port = free_port()
    model = f"runs:/{trained['id']}/gru-1x8"
    words = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with server(checkout.folder, checkout.environment, *words):
        assert ask(f"http://127.0.0.1:{port}/ping")[0] == 200
        url = f"http://127.0.0.1:{port}/invocations"
        status, body = ask(url, {"inputs": ["it has", "the"], "params": {"length": 20, "method": "greedy"}})
        assert status == 200
        texts = json.loads(body)["predictions"]
        assert [len(text) for text in texts] == [26, 23]
        assert texts[0].startswith("it has")
        for wrong in ({"inputs": [""]}, {"inputs": ["x"], "params": {"temperature": 0.0}}, {"nothing": 1}):
            status, body = ask(url, wrong)
            assert 400 <= status < 500
            assert body
