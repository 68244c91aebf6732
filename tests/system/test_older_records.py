"""What the first release has recorded still works, and means what it meant then.

The store was recorded by that release itself (tests/data/record_store.py says how), and so were the answers that are
expected here. It lies in another folder than it was recorded in: `tmlm doctor --repair` finds it again, as its user
would. What a checkpoint or a study of then does not say is what was then the only way: only so are the curves the same.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from click.testing import CliRunner
from mlflow.store.db.utils import _get_latest_schema_revision, _get_schema_version, _upgrade_db
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState
from sqlalchemy import create_engine

from pipeline.cli.main import cli
from pipeline.config import CorpusConfig, SearchConfig
from pipeline.report.statements.table import report_statements
from pipeline.search.study.attributes import of_study
from pipeline.stages.search import search
from pipeline.text.downloads import cache_dir
from pipeline.tracking.registry import Owner, register_picks
from pipeline.tracking.store import setup
from tests.checkout import Checkout
from tests.conftest import isolate
from tests.data.record_store import (
    ADDRESS,
    AFFORDABLE,
    ANSWERS,
    ARCHIVE,
    SAMPLED,
    SEARCHED,
    TRIALS_NOW,
    TRIALS_THEN,
    made_up_text,
    put_text,
    text_sha256,
)
from tests.pools import Inline

THEN: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
RUNS: dict[str, str] = THEN["runs"]
SAMPLE_PARAMS = {"length": 80, "seed": 7, "temperature": 0.7}  # SAMPLED, as the served model takes it
OF_A_READING = 1e-5  # relative: the order of a sum differs among processors, and six digits are recorded
OF_A_TRAINING = 1e-3  # what that comes to in some hundred steps; another schedule or recipe is far outside
RATE = "training/learning_rate"
COUNTED = {"ngram_perplexity", "ngram_bits_per_char"}  # then of the 6-gram, now of the best order on validation
OF_A_STEP = 0.03  # relative: the release recorded the rate of the step that follows an epoch's last one


def unpack(folder: Path) -> None:
    """The store under a checkout's mlruns/, its databases made of their SQL and brought to the installed MLflow's."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        archive.extractall(folder)
    for name in ("mlflow", "optuna"):
        script = folder / "mlruns" / f"{name}.sql"
        with closing(sqlite3.connect(script.with_suffix(".db"))) as connection:
            connection.executescript(script.read_text(encoding="utf-8"))
        script.unlink()
    engine = create_engine(f"sqlite:///{folder}/mlruns/mlflow.db")
    if _get_schema_version(engine) != _get_latest_schema_revision():
        _upgrade_db(engine)  # what the refusal of an older store tells its user to do
    engine.dispose()


def command(*words: str) -> dict[str, Any]:
    """What a command of this version prints as JSON."""
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, f"{words}\n{done.output}\n{done.exception!r}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def mend(folder: Path) -> None:
    """The store is in the folder, where this version works now, and its artifacts and its text are found there."""
    unpack(folder)
    put_text(cache_dir())
    assert command("doctor", "--repair")["moved"] == []


@pytest.fixture
def older(no_store: Path) -> Path:
    """The store in a checkout of the test's own, for one that goes on with what is in it."""
    mend(no_store)
    return no_store


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store in a checkout of this module, for those that read it."""
    home = tmp_path_factory.mktemp("older")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, home)
        patch.setattr("pipeline.tracking.store.root", lambda: home)
        setup.cache_clear()
        mend(home)
    setup.cache_clear()
    return home


@pytest.fixture
def read(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in that checkout."""
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: shared)
    monkeypatch.setenv("TMLM_CACHE_DIR", str(shared / "cache"))
    setup.cache_clear()
    setup()  # MLflow itself, which some ask, knows the store too
    yield shared
    setup.cache_clear()


def curves(run_id: str) -> dict[str, list[float]]:
    """Each metric by its name of then: what was recorded then, and under this version's name since."""
    client = MlflowClient()
    return {
        key: [m.value for name in names_of(key) for m in client.get_metric_history(run_id, name)]
        for key in THEN["resumed"]
    }


def names_of(metric: str) -> list[str]:
    """A metric's name of then and that of this version."""
    return list(dict.fromkeys([metric, metric.replace("final/", "result/")]))


def assert_same_training(found: Mapping[str, list[float]], then: Mapping[str, list[float]]) -> None:
    assert len(found["perplexity/val"]) == len(then["perplexity/val"])
    assert found[RATE] == pytest.approx(then[RATE], rel=OF_A_STEP)
    for key in then.keys() - {RATE}:
        assert found[key] == pytest.approx(then[key], rel=OF_A_TRAINING), key


def assert_same_answer(found: Mapping[str, Any], then: Mapping[str, Any], of_now: set[str]) -> None:
    """Every figure of then is there, and as it was; ``of_now``: what is another one each time."""
    for key in then.keys() - of_now:
        if isinstance(then[key], float):
            assert found[key] == pytest.approx(then[key], rel=OF_A_READING), key
        else:
            assert found[key] == then[key], key


# --- the fixture itself ----------------------------------------------------------------------------------------------


def test_the_store_is_small_and_names_the_mlflow_that_reads_it():
    assert ARCHIVE.stat().st_size < 100_000
    assert tuple(map(int, THEN["mlflow"].split("."))) <= tuple(map(int, mlflow.__version__.split(".")[:3]))


def test_the_made_up_text_is_the_one_that_was_trained_on():
    assert text_sha256() == THEN["text_sha256"]
    assert len(set(made_up_text().split())) < 200


# --- a training's model ----------------------------------------------------------------------------------------------


def test_a_move_is_mended(no_store):
    unpack(no_store)
    put_text(cache_dir())
    before = CliRunner().invoke(cli, ["train", "--resume", RUNS["stopped"]])
    assert before.exit_code == 2, before.output
    assert "doctor --repair" in before.output
    said = "\n".join(command("doctor", "--repair")["repaired"])
    assert "runs: 20 moved from /tmp/tmlm-0.1/checkout/mlruns to " in said
    assert command("doctor")["moved"] == []


def test_it_writes_what_it_wrote(read):
    assert command("sample", RUNS["trained"], *SAMPLED)["texts"] == THEN["sample"]
    assert command("sample", "models:/time-machine-lm@best", *SAMPLED)["texts"] == THEN["sample best"]
    beam = ["--method", "beam", "--length", "40"]
    assert command("sample", RUNS["trained"], *beam)["texts"] == THEN["beam"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([RUNS["trained"], "--split", "val"], "evaluate val"),
        ([RUNS["trained"], "--split", "test"], "evaluate test"),
        ([RUNS["windows"]], "evaluate windows"),
    ],
)
def test_it_is_evaluated_as_it_was(words, answer, read):
    found = command("evaluate", *words)
    assert_same_answer(found, THEN[answer], {"run_id", *COUNTED})
    assert found["ngram_order"] in range(2, 9)
    assert "mixture_perplexity" not in found, "which mixture would have been chosen then is not recorded"


def test_its_checkpoint_is_evaluated_by_its_path(read):
    (checkpoint,) = read.glob(f"mlruns/*/{RUNS['trained']}/artifacts/checkpoints/best.safetensors")
    found = command("evaluate", str(checkpoint))
    assert found["perplexity"] == pytest.approx(THEN["evaluate test"]["perplexity"], rel=OF_A_READING)


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow's, of itself
@pytest.mark.parametrize(
    ("address", "answer"),
    [(f"runs:/{RUNS['trained']}/model", "sample"), ("models:/time-machine-lm@best", "sample best")],
)
def test_its_served_model_is_loaded_beside_this_version(address, answer, read, monkeypatch):
    """Its own code comes with it, but where this version's modules are imported already, it meets those."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts that code first: later workers would import it
    ours = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
    monkeypatch.setattr(sys, "meta_path", ours)  # an editable install may be of another tree, with other modules
    assert mlflow.pyfunc.load_model(address).predict(["it has"], params=SAMPLE_PARAMS) == THEN[answer]


@pytest.mark.slow
def test_its_served_model_is_loaded_by_a_process_of_its_own(read, tmp_path):
    script = (
        "import mlflow, sys\n"
        f"model = mlflow.pyfunc.load_model('runs:/{RUNS['trained']}/model')\n"
        f"sys.stdout.write(model.predict(['it has'], params={SAMPLE_PARAMS})[0])"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{read}/mlruns/mlflow.db"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [done.stdout] == THEN["sample"]


# --- trainings that go on --------------------------------------------------------------------------------------------


def test_a_training_that_was_stopped_in_an_epoch_ends_as_it_would_have(older, plain_artifacts):
    """Its cosine schedule goes on from the step that it stopped at."""
    found = command("train", "--resume", RUNS["stopped"])
    assert found["run_id"] == RUNS["stopped"]
    assert_same_training(curves(RUNS["stopped"]), THEN["resumed"])
    assert MlflowClient().get_run(RUNS["stopped"]).info.status == "FINISHED"


def test_a_training_by_the_reports_protocol_is_given_more_epochs(older, plain_artifacts):
    command("train", "--resume", RUNS["windows"], "--epochs", "4")
    assert_same_training(curves(RUNS["windows"]), THEN["windows"])


# --- what was trained together ---------------------------------------------------------------------------------------


def test_the_recommendation_is_the_same(read):
    assert_same_answer(command("recommend", "--corpus", "made-up", *AFFORDABLE), THEN["recommend"], set())


def test_a_study_is_exported_with_its_front_and_the_models_of_its_picks(read, tmp_path):
    result = command("export", "small", "-o", str(tmp_path / "page"))
    assert {f"models/{pick}/weights.safetensors" for pick in ("best", "knee", "small")} <= {
        str(Path(file).relative_to(tmp_path / "page")) for file in result["files"]
    }
    assert "lowest validation perplexity" in (tmp_path / "page" / "index.html").read_text()


def test_the_report_says_the_same_of_what_was_reproduced(read, plain_artifacts):
    found = command("report", "--run-id", RUNS["reproduction"])
    assert_same_answer(found, THEN["report"], {"report", "checks", "configurations", "verdicts"})
    assert list(found["verdicts"]) == [statement.id for statement in report_statements()]  # in place of the 36 claims
    for now, then in zip(found["configurations"], THEN["report"]["configurations"], strict=True):
        assert_same_answer(now, then, set())
    checks = [{check["name"]: check for check in answer["checks"]} for answer in (found, THEN["report"])]
    assert checks[1].items() <= checks[0].items()
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert all(f"{each['id']}" in page for each in THEN["report"]["configurations"])


def study_of(home: Path) -> optuna.Study:
    return optuna.load_study(study_name="small", storage=f"sqlite:///{home}/mlruns/optuna.db")


def assert_went_on(study: optuna.Study, metrics_of: Any) -> None:
    """All trials are there once, each trained as the release trained it: those of then, and the one of now."""
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    shapes = [f"{trial.params['cell']} {trial.params['hidden_size']} 0" for trial in complete]
    assert len(set(shapes)) == len(shapes) == TRIALS_NOW
    runs = dict(zip(shapes, (trial.user_attrs["run_id"] for trial in complete), strict=True))
    for key, run in of_study(study).items():
        if key.startswith("confirmed:"):
            number, seed = key.removeprefix("confirmed:").split(":")
            params = study.trials[int(number)].params
            runs[f"{params['cell']} {params['hidden_size']} {seed}"] = run["run_id"]
    assert runs.keys() == THEN["trials"].keys()
    for name, run_id in runs.items():
        assert_same_training(metrics_of(run_id), THEN["trials"][name])


def test_a_search_goes_on_where_it_was_stopped(older, plain_artifacts):
    before = study_of(older)
    assert sum(trial.state == TrialState.COMPLETE for trial in before.trials) == TRIALS_THEN
    options = dict(zip((word[2:].replace("-", "_") for word in SEARCHED[::2]), SEARCHED[1::2], strict=True))
    numbers: dict[str, Any] = {name: int(options.pop(name)) for name in ("epochs", "confirm_seeds", "workers")}
    config = SearchConfig(**{**options, **numbers}, trials=TRIALS_NOW)
    found = search(config, CorpusConfig(ADDRESS), make_pool=Inline)
    assert found.run_id == RUNS["search"], "in the run of then"
    assert found.counts["trials"] == TRIALS_NOW
    assert_went_on(study_of(older), curves)
    assert [row["name"] for row in found.result["front"]] == [row["name"] for row in THEN["search"]["front"]]
    assert found.result["picks"]["best"]["aliases"] == ["best", "small-best"], "the study's own since then"


def test_another_study_leaves_its_aliases_where_they_are(older):
    owner = Owner("another", "made-up", THEN["text_sha256"])
    registration = register_picks({"best": (RUNS["trained"], "It is the best.")}, owner)["best"]
    assert registration.aliases == ("another-best",)
    assert registration.left["best"].startswith("study small on ")
    assert command("sample", "models:/time-machine-lm@best", *SAMPLED)["texts"] == THEN["sample best"]


@pytest.mark.slow
def test_a_search_goes_on_as_a_command_with_workers(tmp_path):
    checkout = Checkout(tmp_path)
    shutil.rmtree(checkout.folder / "mlruns")
    unpack(checkout.folder)
    put_text(tmp_path / "cache")  # the checkout's
    checkout.run("python", "-m", "pipeline", "doctor", "--repair")
    words = ["search", "--corpus", ADDRESS, *SEARCHED, "--trials", str(TRIALS_NOW), "--json"]
    found = json.loads(checkout.run("python", "-m", "pipeline", *words).stdout)
    assert (found["run_id"], found["trials"]) == (RUNS["search"], TRIALS_NOW)

    def metrics_of(run_id: str) -> dict[str, list[float]]:
        sql = "SELECT value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step"
        return {
            key: [value for name in names_of(key) for (value,) in checkout.query(sql, run_id, name)]
            for key in THEN["resumed"]
        }

    assert_went_on(study_of(checkout.folder), metrics_of)
