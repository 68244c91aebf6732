"""The answer as a tracked run: what it trains, what it records, and what a second command takes over."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.answer.plan import AnswerPlan
from pipeline.answer.run import AnswerRun, answer
from pipeline.config import AnswerConfig, CorpusConfig
from pipeline.errors import InputError, TmlmError
from pipeline.runs.delete import delete
from pipeline.stages.sweep import TrainingTask
from pipeline.support.progress import Progress
from pipeline.support.workers import Event, Loss
from pipeline.text.corpus import load_corpus
from pipeline.tracking import artifacts, queries
from pipeline.training.files import BEST_CHECKPOINT
from tests.labs import PNG
from tests.pools import Inline, pool_with

BRIEF = AnswerConfig(seeds=1, scale=0.0001)  # one pass of each
PLAN = AnswerPlan(  # the smallest networks of each family, and two characters to time
    shape={"cell": "lstm", "num_layers": 1, "hidden_size": 12},
    smallest_text=2_000,
    hidden_sizes=(4,),
    on_top_chars={4: 100_000},
    adapted_chars=100,
    fitted_chars=100,
    scale_steps=2,
    pruned_orders=(4,),
    timed_chars=2,
    timings=1,
)


def answer_on(corpus_config: CorpusConfig, config: AnswerConfig, make_pool: Any, **more: Any) -> AnswerRun:
    return answer(load_corpus(corpus_config), config, make_pool=make_pool, plan=PLAN, **more)


@pytest.fixture(scope="module")
def lab(lab: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.answer.pictures._picture", lambda *panels: PNG)
        yield lab


@pytest.fixture(scope="module")
def corpus_config(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> CorpusConfig:
    path = tmp_path_factory.mktemp("text") / "smaller.txt"
    path.write_text(small_text.read_text(encoding="utf-8")[:5_000], encoding="utf-8")
    return CorpusConfig(str(path), "letters")


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def shown() -> list[float]:
    """The shares that the bar shows once all is trained."""
    return []


@pytest.fixture(scope="module")
def done(lab: Path, corpus_config: CorpusConfig, said: list[str], shown: list[float]) -> AnswerRun:
    real = Progress.show

    def show(bar: Progress, share: float) -> None:
        real(bar, share)
        if bar.postfix == "trainings=4/4":
            shown.append(bar.n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "show", show)
        return answer_on(corpus_config, BRIEF, Inline, say=said.append)


def test_every_training_is_a_finished_run_nested_in_the_answers(done):
    nested = queries.nested_trainings(done.run_id)
    assert [training.state for training in nested] == ["finished"] * 4
    assert sorted(training.tags["family"] for training in nested) == ["on top", "size", "text", "text"]
    ids = {training.id for training in nested}
    assert {run["run_id"] for run in done.result["trainings"]} == ids


def test_the_bar_goes_on_in_small_steps_when_all_is_trained_and_never_back(done, shown):
    steps = [after - before for before, after in pairwise(shown)]
    assert 0 <= min(steps) <= max(steps) < 0.1
    assert (shown[0] < 0.9, shown[-1]) == (True, pytest.approx(0.99, abs=0.01))


def test_the_run_has_the_sentences_the_pictures_and_the_figures(done, said):
    assert said[0].startswith("4 trainings, with ")
    run = MlflowClient().get_run(done.run_id)
    assert (run.info.status, run.data.tags["stage"], run.data.params["scale"]) == ("FINISHED", "answer", "0.0001")
    assert artifacts.read_result(done.run_id, "answer") == json.loads(json.dumps(done.result))
    assert list(done.result["sentences"]) == ["line", "alone", "together", "small", "adaptive"]
    for sentence in done.result["sentences"].values():
        assert sentence.split(" ")[0] in run.data.tags["mlflow.note.content"]
    for name in ("answer", "costs"):
        assert artifacts.artifact_path(done.run_id, f"plots/{name}.png").is_file()
    network = done.findings.systems["network"]
    assert run.data.metrics["result/test_perplexity"] == pytest.approx(network.test[0], rel=1e-5)


def test_differences_to_the_ngram_are_those_of_the_recorded_perplexities(done):
    """Character by character they sum up to what the trainings recorded."""
    recorded_perplexities = {
        "network": done.result["trainings"][1]["test_perplexity"],
        "mixed": done.result["trainings"][1]["mixture_test_perplexity"],
        "on top": done.result["trainings"][-1]["test_perplexity"],
    }
    bar = log2(done.result["trainings"][1]["ngram_test_perplexity"])
    for system, perplexity in recorded_perplexities.items():
        difference = done.findings.compared[f"{system} against n-grams"].over_both.mean
        assert difference == pytest.approx(log2(perplexity) - bar, abs=1e-5), system


def test_networks_meet_n_grams_of_at_most_their_size(done):
    rivals = done.findings.rivals
    assert [(rival.unit, rival.network.name) for rival in rivals] == [
        (unit, name) for name in ("LSTM 1x4", "LSTM 1x12") for unit in ("numbers", "bytes")
    ]
    least = {"numbers": 0.9, "bytes": 0.985}
    assert all(least[rival.unit] * rival.size <= rival.ngram.size(rival.unit) <= rival.size for rival in rivals)


@pytest.mark.slow
def test_with_more_seeds_only_these_are_trained_and_two_networks_are_a_control(done, corpus_config):
    given: list[TrainingTask] = []
    more = answer_on(corpus_config, replace(BRIEF, seeds=2), pool_with(given))
    assert (more.run_id, len(given)) == (done.run_id, 4)
    assert [len(training.test) for training in more.findings.trained] == [2] * 4
    assert more.findings.systems["network"].test[0] == done.findings.systems["network"].test[0]
    assert more.findings.compared.keys() - done.findings.compared.keys() == {
        f"{system} against two networks" for system in ("mixed", "on top")
    } | {f"two networks against {system}" for system in ("network", "n-grams")}


def test_a_training_whose_model_is_gone_is_done_again_unless_a_person_has_deleted_it(done, corpus_config):
    lost, *_ = done.result["trainings"]
    artifacts.artifact_path(lost["run_id"], f"checkpoints/{BEST_CHECKPOINT}").unlink()
    given: list[TrainingTask] = []
    again, *_ = answer_on(corpus_config, BRIEF, pool_with(given)).result["trainings"]
    assert len(given) == 1
    assert again["run_id"] != lost["run_id"]
    assert again["test_perplexity"] == lost["test_perplexity"]
    delete([again["run_id"]], weights=True)
    with pytest.raises(InputError, match=f"were deleted; .* delete {done.run_id}, then this command again"):
        answer_on(corpus_config, BRIEF, pool_with([]))


def test_a_training_whose_process_dies_twice_ends_the_answer_which_can_be_resumed(lab, corpus_config):
    def dies(task: TrainingTask) -> list[Event]:
        return [Event("lost", task, Loss("its process (pid 1) is gone, exit code -9"))]

    with pytest.raises(TmlmError, match=r"is lost: its process \(pid 1\) .* 2 times; run the same command again"):
        answer_on(corpus_config, AnswerConfig(seeds=1, scale=0.0002), pool_with([], dies))
