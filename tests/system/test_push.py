"""The acceptance of `tmlm push`: a hundred runs and a study to a server of MLflow, killed twice on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from mlflow.entities import LoggedModelOutput
from mlflow.tracking import MlflowClient

from pipeline.support.files import ROOT
from pipeline.tracking import server
from pipeline.tracking.names import recorded_tag
from pipeline.tracking.push import Place, digest
from pipeline.tracking.registry import REGISTERED_MODEL
from pipeline.tracking.runs import Dataset, tracked_run
from pipeline.tracking.store import Store, setup
from tests.checkout import free_port
from tests.made_up import SEARCH

RUNS, TRIALS = 100, 12
KILLED_AT = (20, 70)  # complete copies
ORIGIN, DIGEST = recorded_tag("pushed.from"), recorded_tag("pushed.digest")


def record(number: int, tags: dict[str, str], has_model: bool = False) -> str:
    """The id of a small run that nobody has trained."""
    with tracked_run("train", f"gru-1x8-s{number}", {"corpus": "novel", "corpus.sha256": "ab" * 32, **tags}) as run:
        run.params({"cell": "gru", "hidden_size": 8, "seed": number})
        run.datasets([Dataset("novel/train", f"{number:x}", "novel.txt", "train")])
        for curve in ("perplexity/train", "perplexity/val"):
            run.curve(curve, {step: 20 / step + number for step in range(1, 51)})
        run.json("result.json", {"run_id": run.id, "checkpoint": f"{run.checkpoint_dir}/best.safetensors"})
        run.checkpoint_dir.mkdir(parents=True)
        (run.checkpoint_dir / "best.safetensors").write_bytes(os.urandom(20_000))
        run.send_checkpoints()
        if has_model:
            model = run.client.create_logged_model(run.store.experiment_id, "gru-1x8", run.id)
            run.client.log_model_artifacts(model.model_id, str(run.checkpoint_dir))
            run.client.finalize_logged_model(model.model_id, "READY")
            run.constants({"result/val_perplexity": 3.5}, model.model_id)
            run.client.log_outputs(run.id, [LoggedModelOutput(model.model_id, 50)])
    return run.id


def contents(place: Place, run_id: str) -> str:
    """All of a run but its own tags, with a word for each id and for the folder of the artifacts."""
    record = place.read(run_id)
    files = [record.pop("files"), *(model.pop("files") for model in record["models"].values())]
    readable = [{path: data.decode(errors="surrogateescape") for path, data in each.items()} for each in files]
    text = json.dumps([record, readable], sort_keys=True).replace(place.folder, "FOLDER/")
    return re.sub(r"[0-9a-f]{32}", "ID", text.replace(f"/experiments/{place.experiment_id}/", "/experiments/ID/"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hundred_runs_and_a_study_reach_a_server_though_the_push_is_killed_twice(
    store, empty_database, tmp_path, monkeypatch
):
    for number in range(RUNS):
        record(number, {}, has_model=number % 10 == 0)
    with tracked_run("search", "search-tiny", {"study": "tiny", "corpus": "novel", "corpus.sha256": "ab" * 32}) as run:
        trials = [record(number, {"study": "tiny", "role": "trial"}, number == 0) for number in range(TRIALS)]
        run.json(
            "result.json", {**SEARCH, "run_id": run.id, "picks": {"knee": {"run_id": trials[0], "sentence": "It is."}}}
        )
        run.note(f"[the knee](#/experiments/{setup().experiment_id}/runs/{trials[0]})")
    (model,) = MlflowClient().search_logged_models([setup().experiment_id], f"source_run_id = '{trials[0]}'")
    MlflowClient().create_registered_model(REGISTERED_MODEL)
    MlflowClient().create_model_version(REGISTERED_MODEL, model.artifact_location, trials[0], model_id=model.model_id)
    MlflowClient().set_registered_model_alias(REGISTERED_MODEL, "knee", "1")
    everything = RUNS + TRIALS + 1

    shutil.copy(empty_database, tmp_path / "server.db")
    port = free_port()
    command = server.command("server", "127.0.0.1", port, 1, "--artifacts-destination", str(tmp_path / "artifacts"))
    environment = {**os.environ, **server.environment(f"sqlite:///{tmp_path}/server.db"), "PYTHONPATH": str(ROOT)}
    uri = f"http://127.0.0.1:{port}"
    push = [sys.executable, "-m", "pipeline", "push", uri, "all", "--json"]
    pushing = {**os.environ, "MLFLOW_TRACKING_URI": setup().uri, "PYTHONPATH": str(ROOT)}

    def complete() -> int:
        names = [each.experiment_id for each in MlflowClient(uri).search_experiments()]
        return len(MlflowClient(uri).search_runs(names, f"tags.`{DIGEST}` != ''", max_results=1000))

    with subprocess.Popen(command, env=environment) as running:
        try:
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "10")
            assert complete() == 0  # waits for the server
            for enough in KILLED_AT:
                with subprocess.Popen(push, env=pushing, start_new_session=True) as pushed:
                    while complete() < enough:
                        assert pushed.poll() is None
                        time.sleep(0.2)
                    os.killpg(pushed.pid, signal.SIGKILL)
            last = json.loads(subprocess.run(push, env=pushing, check=True, capture_output=True).stdout)
            again = json.loads(subprocess.run(push, env=pushing, check=True, capture_output=True).stdout)

            source = Place(setup())
            (experiment,) = MlflowClient(uri).search_experiments(filter_string=f"name = '{source.name}'")
            target = Place(Store(uri, experiment.experiment_id, None))
            copies_of = {
                run.data.tags[ORIGIN]: run
                for run in target.client.search_runs([target.experiment_id], max_results=1000)
            }
            assert len(copies_of) == everything == last["copied"] + last["earlier"]
            assert (again["copied"], again["earlier"], again["changed"]) == (0, everything, [])
            for origin, copy in copies_of.items():
                assert copy.data.tags[DIGEST] == digest(source.read(origin))
                assert contents(target, copy.info.run_id) == contents(source, origin)
            knee = target.client.get_model_version_by_alias(REGISTERED_MODEL, "knee")
            assert knee.run_id == copies_of[trials[0]].info.run_id
            assert copies_of[trials[0]].data.tags["mlflow.parentRunId"] == copies_of[run.id].info.run_id
        finally:
            running.terminate()
