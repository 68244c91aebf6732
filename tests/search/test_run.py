"""The search as a tracked run: what it leaves in the record, in the registry and in Optuna's storage."""

import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from models.complexity import closed_form, gate_numbers
from models.config import ModelConfig
from pipeline.config import SearchConfig, TrainConfig
from pipeline.errors import InputError, RecordingError
from pipeline.pages.tables import FRONT
from pipeline.runs.delete import delete
from pipeline.search.run import YOURS, search
from pipeline.search.sentences import SearchRun
from pipeline.search.study.attributes import of_trial
from pipeline.stages.sweep import TextKey, TrainingTask, do
from pipeline.support.statistics import geometric_mean
from pipeline.support.workers import Event, Loss
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, queries, recorded, registry
from pipeline.tracking.references import checkpoint_of, find
from pipeline.tracking.registry import PICKS
from pipeline.tracking.step import CURVES_PLOT
from pipeline.tracking.store import _setup
from pipeline.tracking.ui import links
from pipeline.training import memory
from tests.cli.commands import assert_described
from tests.labs import make_artifacts_plain, new_store, record, store_at
from tests.pages.made_up import training
from tests.pools import Inline, not_trained, pool_with

pytestmark = pytest.mark.usefixtures("plain_artifacts")
TINY: dict[str, Any] = {
    "cell": "gru,lstm", "num_layers": "1", "hidden_size": "4,9", "learning_rate": "0.02", "epochs": 1,
    "trials": 3, "max_perplexity": 27.0,
}  # fmt: skip


def search_on(corpus: Corpus, config: SearchConfig, **more: Any) -> SearchRun:
    """Search in this process unless another pool is given; two characters are enough to time."""
    return search(corpus, config, timed_chars=2, **{"make_pool": Inline, **more})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Any:
    """A store that the tests of this module share, since a search takes seconds."""
    home = new_store(tmp_path_factory.mktemp("search") / "lab", empty_database)
    with store_at(home), pytest.MonkeyPatch.context() as patch:
        make_artifacts_plain(patch)
        yield home


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def searched(lab: Path, corpus: Corpus, said: list[str]) -> SearchRun:
    return search_on(corpus, SearchConfig(**TINY, confirm_seeds=2), say=said.append)


@pytest.fixture
def study(searched: SearchRun, lab: Path) -> optuna.Study:
    return optuna.load_study(study_name="search-topics", storage=f"sqlite:///{lab}/mlruns/optuna.db")


def test_every_trial_and_every_confirmation_is_a_finished_run_nested_in_the_searchs(searched, study):
    runs = queries.nested_trainings(searched.run_id)
    roles = [run.tags["role"] for run in runs]
    assert roles.count("trial") == 3
    assert roles.count("confirmation") == searched.result["confirmations"] > 0
    assert all(pick.point.seeds == 2 for pick in searched.picks.values())
    colours = {(run.configuration["model"]["cell"], run.tags["mlflow.runColor"]) for run in runs}
    assert len(colours) == len({colour for _, colour in colours}) == len({cell for cell, _ in colours}), "one a cell"
    for run in runs:
        assert (run.state, list(run.curve("perplexity/val"))) == ("finished", [1])
        assert artifacts.artifact_path(run.id, CURVES_PLOT).is_file()
    metrics = {run.id: run.metrics for run in runs if run.tags["role"] == "trial"}
    assert {trial.user_attrs["run_id"] for trial in study.trials} == metrics.keys()
    for trial in study.trials:
        assert trial.state == TrialState.COMPLETE
        expected = metrics[trial.user_attrs["run_id"]]["result/val_perplexity"]
        assert trial.values[0] == pytest.approx(expected, rel=1e-5)
        shape = ModelConfig(trial.params["cell"], 1, trial.params["hidden_size"])
        assert 10 ** trial.values[1] == pytest.approx(closed_form(shape, 28).macs_per_char)
    for point in searched.evaluated.points:
        assert len(point.candidate.ms_per_char) == (len(point.candidate.run_ids) if point.on_front else 0)
    assert len(searched.evaluated.front) < len(searched.evaluated.points)


def test_the_parent_shows_the_pictures_the_curves_the_summary_and_the_result(searched, said, lab, study):
    assert said[0].startswith("3 trials, then the confirmations of their picks\n")
    assert f"Study search-topics in {lab}/mlruns/optuna.db" in said[0]
    address = f"http://127.0.0.1:{links.PORT}/#/experiments/0/runs/{searched.run_id}"
    assert study.user_attrs["mlflow_run"].startswith(address)
    client = MlflowClient()
    run = client.get_run(searched.run_id)
    pictures = [file.path for file in client.list_artifacts(searched.run_id, "plots")]
    assert pictures == [f"plots/{name}.png" for name in ("hypervolume", "importance", "pareto", "time")]
    assert "MACs per character" in run.data.tags["mlflow.note.content"]
    assert_described(searched.run_id)
    assert json.loads(artifacts.read_text(searched.run_id, "result.json")) == searched.result
    assert all(name.isidentifier() for name in searched.result)
    assert yaml.safe_load(artifacts.read_text(searched.run_id, "space.yaml"))["hidden_size"] == "4,9"
    assert run.data.metrics["search/hypervolume"] == pytest.approx(searched.evaluated.hypervolume, rel=1e-5)
    assert run.data.metrics["search/trials"] == 3
    history = client.get_metric_history(searched.run_id, "progress/best_val_perplexity")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert [metric.value for metric in history] == sorted((metric.value for metric in history), reverse=True)
    assert client.get_metric_history(searched.run_id, "progress/hypervolume")[-1].value > 0


def test_the_picks_are_registered_under_their_aliases(searched):
    client = MlflowClient()
    assert tuple(searched.result["picks"]) == PICKS
    for name in PICKS:
        assert searched.result["picks"][name]["aliases"] == [f"search-topics-{name}"]
        version = client.get_model_version_by_alias("time-machine-lm", f"search-topics-{name}")
        assert version.run_id == searched.picks[name].run_id


def test_every_column_of_an_exported_front_is_a_figure_of_its_members(searched):
    assert all(set(FRONT) <= set(member) for member in searched.result["front"])


def test_the_same_command_again_trains_nothing_keeps_the_run_and_sees_what_you_have_trained(searched, corpus):
    given: list[TrainingTask] = []
    of_text = {"corpus": "topics", "corpus_sha256": searched.result["corpus_sha256"], "protocol": "stream"}
    yours = [record(f"gru-{number}", **of_text) for number in range(2)]
    for number, run_id in enumerate(yours):
        MlflowClient().log_metric(run_id, "result/val_perplexity", 9.0 - number)
        MlflowClient().log_dict(run_id, dict(training(number).result), artifacts.RESULT_FILE)
    config = SearchConfig(**TINY, confirm_seeds=2)
    again = search_on(corpus, config, make_pool=pool_with(given))
    assert again.run_id == searched.run_id
    assert given == []
    assert len(queries.nested_trainings(searched.run_id)) == 3 + searched.result["confirmations"]
    assert again.result["front"] == searched.result["front"]
    assert [row["label"] for row in searched.result["compared"][-2:]] != [YOURS, ""]
    row, ngram = again.result["compared"][-2:]
    assert (row["label"], row["run_id"], row["mixture_val_perplexity"]) == (YOURS, yours[1], 3.6)
    assert (ngram["macs_per_char"], ngram["mixture_val_perplexity"]) == (5 * 10 * 28 + gate_numbers(0), None)
    pick = again.result["compared"][0]
    of_seeds = [artifacts.read_result(each, "train") for each in searched.picks["lean"].point.candidate.run_ids]
    assert pick["mixture_test_perplexity"] == geometric_mean([seed["mixture_test_perplexity"] for seed in of_seeds])


# --- each in a store of its own ---------------------------------------------------------------------------------------


def test_auto_starts_no_more_workers_than_the_memory_holds(store, corpus, monkeypatch):
    counts = []

    def no_pool(count: int) -> Inline:
        counts.append(count)
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "usable_cores", lambda: 64)
    monkeypatch.setattr(memory, "memory_of_this_machine", lambda: 12 * 10**8)
    config = SearchConfig(**{**TINY, "workers": None})
    with pytest.raises(KeyboardInterrupt):
        search_on(corpus, config, make_pool=no_pool)
    assert counts == [3]


def test_a_storage_that_refuses_in_the_middle_is_told_in_a_sentence(store, corpus, monkeypatch):
    def full(*arguments: object, **named: object) -> None:
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_user_attr", full)
    config = SearchConfig(**{**TINY, "study_name": "full"})
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*optuna.db: database or disk is full"):
        search_on(corpus, config)


def test_a_text_that_is_no_longer_the_one_of_the_search_is_not_trained_on(store, small_text):
    model, train = ModelConfig("gru", 1, 4), TrainConfig(epochs=1)
    text = TextKey("topics", str(small_text), "letters", "0" * 64, str(small_text))
    task = TrainingTask("trial", 0, text, model, train, "study", "parent")
    with pytest.raises(InputError, match="is not the one that was trained on"):
        do(task, lambda share: None)


def test_lost_trainings_are_repeated_as_the_same_trials_and_confirmations(store, corpus, no_served_model):
    given: list[TrainingTask] = []

    def dies_once(task: TrainingTask) -> list[Event] | None:
        is_first = [each.key for each in given].count(task.key) == 1
        return [Event("lost", task, Loss("its process (pid 1) is gone, exit code -9"))] if is_first else None

    config = SearchConfig(**TINY | {"cell": "gru", "hidden_size": "4", "trials": 1}, confirm_seeds=2)
    done = search_on(corpus, config, make_pool=pool_with(given, dies_once))
    assert [task.role for task in given] == ["trial", "trial", "confirmation", "confirmation"]
    assert (done.counts["trials"], done.counts["confirmations"], done.counts["failed"]) == (1, 1, 0)
    study = optuna.load_study(study_name="search-topics", storage=f"sqlite:///{store}/mlruns/optuna.db")
    assert [of_trial(trial)["losses"] for trial in study.trials] == [{"killed": 1}]


@pytest.mark.slow
def test_no_trial_starts_after_the_minutes_and_the_same_command_again_searches_on(store, corpus, no_served_model):
    clock, given = [0.0], list[TrainingTask]()

    def takes_a_minute(task: TrainingTask) -> list[Event] | None:
        clock[0] += 60
        return None if task.role == "trial" else not_trained(task)

    config = SearchConfig(**TINY | {"cell": "gru", "trials": None, "minutes": 0.5}, confirm_seeds=2)
    for trials in (1, 2):
        done = search_on(corpus, config, make_pool=pool_with(given, takes_a_minute), clock=lambda: clock[0])
        roles = [task.role for task in given]
        assert (roles[0], roles.count("trial"), done.result["trials"]) == ("trial", 1, trials)
        assert all(pick.point.seeds == 2 for pick in done.picks.values())
        assert recorded.run_of(done.run_id).tag("latest.trials") == str(trials)  # an exported command repeats it
        given.clear()


def test_a_search_of_another_checkout_on_the_same_storage_is_refused_before_anything_is_changed(
    searched, study, lab, empty_database, corpus, monkeypatch, tmp_path
):
    """Its own MLflow store knows none of the study's runs: trials would be trained, and then be found nowhere."""
    before = dict(study.user_attrs), len(study.trials)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    storage = f"sqlite:///{lab}/mlruns/optuna.db"
    _setup.cache_clear()
    try:
        with pytest.raises(InputError, match=r"has its runs in another MLflow store than .*give another --study-name"):
            search_on(corpus, SearchConfig(**TINY, storage=storage))
    finally:
        monkeypatch.undo()
        _setup.cache_clear()
    assert (dict(study.user_attrs), len(study.trials)) == before


def test_a_search_whose_weights_were_deleted_goes_on_and_registers_a_pick_by_its_figures(searched, corpus):
    picks = {pick["run_id"] for pick in searched.result["picks"].values()}
    others = {run.id for run in queries.nested_trainings(searched.run_id)} - picks
    done = delete(["search-topics"], weights=True)
    assert {step["id"] for step in done["stayed"]} == picks
    assert {step["id"] for step in done["deleted"] if step["kind"] == "weights"} == others
    version = registry.aliases()["search-topics-knee"]
    (run,) = filter(None, [registry.run_of_version(version)])
    MlflowClient().delete_model_version(registry.REGISTERED_MODEL, version)
    assert run.id in {each["id"] for each in delete([run.id], weights=True)["deleted"]}
    given: list[TrainingTask] = []
    again = search_on(corpus, SearchConfig(**TINY, confirm_seeds=2), make_pool=pool_with(given))
    assert (given, again.result["front"]) == ([], searched.result["front"])
    assert find("@search-topics-knee").id == run.id
    with pytest.raises(InputError, match=f"were deleted; to train it anew: .*train --like {run.id} --corpus"):
        checkpoint_of("@search-topics-knee")
