"""``tmlm train --seeds N``: one parent run, whose trainings are those of ``tmlm train --seed k``."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient

from models.config import ConfigError
from pipeline.config import resolve
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.results import OVER_SEEDS
from pipeline.runs.delete import delete
from pipeline.runs.listing import folded
from pipeline.stages.seed_means import ENDS, over_seeds
from pipeline.stages.seeds import refuse_diverged, train_seeds
from pipeline.stages.sweep import TrainingTask
from pipeline.stages.train import options_like, train
from pipeline.support.statistics import estimate
from pipeline.support.workers import Event
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, queries, recorded
from pipeline.tracking.references import find, training_of
from pipeline.tracking.step import Step
from pipeline.training.checkpoints import load_checkpoint
from tests.cli.commands import examples, run
from tests.pools import diverges, pool_with

OPTIONS: dict[str, Any] = {"hidden_size": 8, "epochs": 1, "batch_size": 32, "precision": "fp32"}


def seed_1_diverges(task: TrainingTask) -> list[Event] | None:
    return diverges(task) if task.train.seed == 1 else None


def trained(corpus: Corpus, seeds: int, given: list[TrainingTask], ends: Any = seed_1_diverges, **options: Any) -> Step:
    configs = resolve({**OPTIONS, **options})
    return train_seeds(corpus, *configs, seeds, make_pool=pool_with(given, ends))


@pytest.fixture(scope="module")
def done(lab: Path, corpus: Corpus) -> Step:
    return trained(corpus, 3, [])


def test_each_seed_is_the_training_that_the_seed_alone_gives(done, corpus):
    alone = train(corpus, *resolve({**OPTIONS, "seed": 2}))
    nested = {training.seed: training for training in queries.nested_trainings(done.run_id)}
    assert {seed: training.state for seed, training in nested.items()} == {0: "finished", 1: "failed", 2: "finished"}
    assert nested[2].tag("protocol") == recorded.run_of(alone.run_id).tag("protocol") == "stream"
    weights = [load_checkpoint(artifacts.artifact_path(run, "checkpoints/best.safetensors"))[0] for run in
               (alone.run_id, nested[2].id)]  # fmt: skip
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    of_the_clock = {"train_seconds", "chars_per_second", "run_id", "checkpoint"}
    result = {name: value for name, value in alone.result.items() if name not in of_the_clock}
    assert result.items() <= nested[2].result.items()
    MlflowClient().delete_run(alone.run_id)


def test_the_parent_has_the_means_and_stands_for_the_best_seed(done):
    perplexities = [training["val_perplexity"] for training in done.result["trainings"]]
    expected = estimate(perplexities, of_next=True)
    assert (done.result["val_perplexity"], done.result["val_perplexity_high"]) == (expected.mean, expected.high)
    assert (done.result["val_perplexity_min"], done.result["val_perplexity_max"]) == (
        min(perplexities),
        max(perplexities),
    )
    metrics = recorded.run_of(done.run_id).metrics
    for end in ("val_perplexity_low", "val_perplexity_high", "test_perplexity_low", "test_perplexity_high"):
        assert metrics[f"result/{end}"] == pytest.approx(done.result[end], rel=1e-5)
    assert json.loads(json.dumps(done.result)) == artifacts.read_json(done.run_id, artifacts.RESULT_FILE)
    (row,) = folded(queries.listed_trainings())
    assert (row["run_id"], row["name"][:25], row["trainings"]) == (done.run_id, "lstm-1x8-seeds-epochs-1-b", 3)
    assert row["val_perplexity"] == pytest.approx(expected.mean, rel=1e-5)
    assert find("latest").id == done.run_id
    assert training_of("latest").id == done.result["trainings"][perplexities.index(min(perplexities))]["run_id"]
    assert options_like("latest", {})[0]["epochs"] == 1


def test_a_figure_that_a_seed_has_not_recorded_has_no_mean():
    figures = over_seeds(
        [{**dict.fromkeys(OVER_SEEDS, 4.0), "mixture_test_perplexity": None}, dict.fromkeys(OVER_SEEDS, 4)]
    )
    assert {name for name, value in figures.items() if value is None} == {
        "mixture_test_perplexity", *(f"mixture_test_perplexity_{end}" for end in ENDS),
    }  # fmt: skip


def test_the_same_command_trains_nothing_again_and_a_larger_number_adds_seeds(done, corpus):
    given: list[TrainingTask] = []
    for seeds in (3, 2, 4, 3):
        again = trained(corpus, seeds, given)
        assert again.run_id == done.run_id
        assert (again.result["seeds"], again.result["diverged"]) == (seeds, [1])
        with pytest.raises(TrainingDivergedError, match="diverged: seed 1; ") as raised:
            refuse_diverged(again.result, ["a model"])
        assert raised.value.models == ["a model"]
    assert [task.train.seed for task in given] == [3]
    assert again.result["val_perplexity"] == done.result["val_perplexity"]
    assert artifacts.read_json(done.run_id, artifacts.RESULT_FILE)["seeds"] == 4


def test_a_seed_whose_configuration_can_not_be_read_is_trained_again(done, corpus):
    (first, *_) = queries.nested_trainings(done.run_id)
    MlflowClient().set_tag(first.id, "mlflow.tmlm.config", "{")
    given: list[TrainingTask] = []
    assert trained(corpus, 2, given).run_id == done.run_id
    assert [task.train.seed for task in given] == [0]
    MlflowClient().set_tag(first.id, "mlflow.tmlm.config", first.tag("config"))


def test_the_documented_commands_work(done, small_text):
    """Seed 1 has diverged here, so the first one ends with exit code 1 after it has shown the others."""
    (words,) = (example for example in examples("train") if "--seeds" in example)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    code, out, err = run(*words, "--corpus", str(small_text), "--alphabet", "letters", *options)
    assert (code, "3 seeds; diverged: 1" in out, "diverged: seed 1" in err) == (1, True, True)
    assert [run(*example)[0] for example in examples("best")] == [0]


def test_one_seed_another_first_seed_and_nothing_but_divergence_are_refused(lab, corpus):
    with pytest.raises(ConfigError, match="seeds is 1; it must be at least 2 and at most 100"):
        trained(corpus, 1, [])
    with pytest.raises(InputError, match="--seed 1 is one seed, and --seeds 2 trains the seeds 0 to 1"):
        trained(corpus, 2, [], seed=1)
    with pytest.raises(TrainingDivergedError, match=r"all seeds of gru-1x8-seeds-epochs-1-.*-topics diverged"):
        trained(corpus, 2, [], diverges, cell="gru")


def test_seeds_whose_weights_were_deleted_are_not_trained_again(done, corpus):
    deleted = delete([done.run_id], weights=True)
    assert [each["reason"].split(",")[0] for each in deleted["stayed"]] == ["failed"]  # the one that diverged
    given: list[TrainingTask] = []
    again = trained(corpus, 3, given)
    assert (again.result, given) == (done.result, [])
    assert run("sample", done.run_id)[0] == 2
