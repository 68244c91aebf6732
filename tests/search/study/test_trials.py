"""The study: how many trials, which, and what becomes of those that end badly. A formula stands for the training."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from math import exp, log, log10
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import RECIPE, CorpusConfig, SearchConfig
from pipeline.errors import InputError, RecordingError, RemoteError, TmlmError, TrainingDivergedError
from pipeline.search.known_cost.sampler import KnownCostSampler
from pipeline.search.space import Space
from pipeline.search.study.storage import (
    LOST,
    PROCESS,
    REPEATS,
    RETRY_OF,
    SEED,
    open_storage,
    storage_errors,
)
from pipeline.search.study.trials import FAILURES_IN_A_ROW, Lost, Proposal, Search
from pipeline.support.processes import process_tags
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training import hardware

SMALL = {"hidden_size": "4..8", "num_layers": "1..2", "epochs": 2, "trials": 8}


@pytest.fixture(scope="module")
def corpus(small_text: Path) -> Corpus:
    return load_corpus(CorpusConfig(str(small_text)))


@pytest.fixture(scope="module")
def empty_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optuna's database without a study: making its tables takes longer than a study of some trials."""
    path = tmp_path_factory.mktemp("studies") / "optuna.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def begin(begin_on_nothing: Callable[..., Search], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    """Creates or resumes the study as a command would; in memory, unless ``storage`` is given."""
    memory = optuna.storages.InMemoryStorage()
    monkeypatch.setattr(
        "pipeline.search.study.trials.open_storage",
        lambda config: memory if config.storage == "auto" else open_storage(config),
    )
    return begin_on_nothing


@pytest.fixture
def begin_on_disk(
    begin_on_nothing: Callable[..., Search], no_store: Path, empty_studies: Path
) -> Callable[..., Search]:
    """Creates or resumes the study in a database file that exists."""
    (no_store / "mlruns").mkdir()
    shutil.copy(empty_studies, no_store / "mlruns" / "optuna.db")
    return begin_on_nothing


@pytest.fixture
def begin_on_nothing(no_store: Path, corpus: Corpus, small_text: Path) -> Callable[..., Search]:
    """The same where there is no database yet."""

    def begun(**options: Any) -> Search:
        config = SearchConfig(**{**SMALL, **options})
        found = Search(config, Space.of(config), corpus, CorpusConfig(str(small_text)))
        found.parent = "parent"
        return found

    return begun


def test_more_workers_than_the_memory_holds_are_refused(begin, monkeypatch):
    monkeypatch.setattr(hardware, "memory_of_this_machine", lambda: 10**9)
    begin(workers=1)
    with pytest.raises(InputError, match=r"in 16 workers at once needs about 5 GB of memory; .* lower --workers to 3$"):
        begin(workers=16)


def perplexity(task: Proposal) -> float:
    """Falls with the size; an LSTM is a little better, a later seed a little worse."""
    share = 0.95 if task.model.cell == "lstm" else 1.0
    return share * 20.0 * exp(-0.1 * log(task.macs_per_char)) + 0.01 * task.train.seed


def result_of(task: Proposal, value: float) -> dict[str, Any]:
    return {
        "run_id": f"run-{task.model.shape}-{task.train.seed}",
        "val_perplexity": value,
        "test_perplexity": value,
        "parameters": 100,
        "macs_per_char": task.macs_per_char,
        "train_seconds": 1.0,
        "best_epoch": 2,
        "epochs": 2,
        "stopped": "",
        "val_perplexities": [value + 1, value],
        "texts": ["it has"],
    }


def train_all(found: Search, formula: Callable[[Proposal], Any] = perplexity) -> list[Proposal]:
    """Ask and tell one after the other until there is nothing left; returns what was trained."""
    trained = []
    while (task := found.next_task(0)) is not None:
        trained.append(task)
        value = formula(task)
        found.take(task.number, value if isinstance(value, Exception) else result_of(task, value))
    return trained


def shapes(tasks: list[Proposal]) -> list[str]:
    return [task.model.shape for task in tasks]


def test_trials_are_how_many_are_complete_in_total(begin_on_nothing):
    assert len(train_all(begin_on_nothing())) == 8
    assert train_all(begin_on_nothing()) == []
    more = begin_on_nothing(trials=11)
    assert len(train_all(more)) == 3
    assert len(more.results.counted()) == 11


@pytest.mark.parametrize(
    "sampler",
    ["known-cost", "random", "grid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "tpe", "nsga2"))],
)
def test_no_sampler_has_a_configuration_trained_twice_and_all_come_to_the_end_of_a_small_space(begin, sampler):
    found = begin(sampler=sampler, cell="gru,lstm", num_layers="1", hidden_size="4,5,6", trials=50)
    trained = train_all(found)
    assert sorted(shapes(trained)) == [f"{cell}-1x{width}" for cell in ("gru", "lstm") for width in (4, 5, 6)]
    assert found.is_exhausted


def test_a_repeat_is_told_what_the_earlier_trial_came_to_and_does_not_count(begin):
    found = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=2)
    train_all(found)
    repeats = [trial for trial in found.results.trials(TrialState.COMPLETE) if REPEATS in trial.user_attrs]
    first = {trial.number: trial for trial in found.results.complete()}
    assert len(found.results.counted()) == 2
    assert all(trial.values == first[trial.user_attrs[REPEATS]].values for trial in repeats)


def test_with_another_seed_the_same_configurations_are_trained_again(begin):
    options = {"sampler": "grid", "cell": "lstm", "num_layers": "1", "hidden_size": "4,5"}
    one = train_all(begin(**options, trials=2))
    two = train_all(begin(**{**options, "sampler": "random"}, trials=4, seed=1))
    assert sorted(shapes(two)) == sorted(shapes(one))
    assert {task.train.seed for task in two} == {1}


def test_a_study_goes_on_under_the_training_recipe_that_it_was_begun_under(begin):
    new = begin()
    assert new.next_task(0).train.recipe == RECIPE
    assert new.study.user_attrs["protocol"]["recipe"] == RECIPE
    old = begin(study_name="of 42b8c90")
    protocol = {name: value for name, value in old.study.user_attrs["protocol"].items() if name != "recipe"}
    old.study.set_user_attr("protocol", protocol)
    assert begin(study_name="of 42b8c90").next_task(0).train.recipe == 1
    old.study.set_user_attr("protocol", {**protocol, "recipe": 99})
    with pytest.raises(InputError, match=r"begun by a later version \(training recipe 99\)"):
        begin(study_name="of 42b8c90")


def test_objectives_are_perplexity_and_log10_macs_and_have_their_names(begin):
    found = begin(trials=1)
    (task,) = train_all(found)
    (trial,) = found.results.complete()
    assert trial.values == pytest.approx([perplexity(task), log10(task.macs_per_char)])
    assert found.study.metric_names == ["validation perplexity", "log10 MACs per character"]


def test_a_perplexity_is_capped_at_uniform(begin):
    found = begin(trials=1)
    train_all(found, lambda task: 1e9)
    (trial,) = found.results.complete()
    assert trial.values[0] == found.vocab_size
    assert trial.user_attrs["val_perplexity"] == 1e9
    assert found.results.candidates() == []


def test_a_hopeless_trial_counts_is_no_candidate_and_is_not_asked_for_again(begin):
    options = {"sampler": "grid", "cell": "lstm", "num_layers": "1", "hidden_size": "4,5", "trials": 2}
    found = begin(**options)
    hopeless, good = found.next_task(0), found.next_task(1)
    found.take(hopeless.number, {**result_of(hopeless, 7.0), "stopped": "hopeless: epoch 1 of 2 at 7.00"})
    found.take(good.number, result_of(good, 5.0))
    (pruned,) = found.results.trials(TrialState.PRUNED)
    assert pruned.params["hidden_size"] == hopeless.model.hidden_size
    assert pruned.user_attrs["stopped"].startswith("hopeless: ")
    assert found.results.counts() | {"trials": 2, "hopeless": 1, "failed": 0} == found.results.counts()
    assert [each.hidden_size for each in found.results.candidates()] == [good.model.hidden_size]
    assert [trial.val_perplexity for trial in found.results.plotted_trials()] == [5.0]
    assert [curve.val_perplexities for curve in found.results.curves()] == [(6.0, 5.0)]
    again = begin(**{**options, "trials": 3})
    assert again.next_task(0) is None
    assert again.is_exhausted


def test_a_repeat_of_a_hopeless_trial_is_told_so_and_does_not_count(begin):
    found = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=3)
    task = found.next_task(0)
    found.take(task.number, {**result_of(task, 7.0), "stopped": "hopeless: epoch 1 of 2 at 7.00"})
    found.study.enqueue_trial(found.results.trials()[0].params)
    found.next_task(0)
    assert found.results.trials()[1].user_attrs[REPEATS] == 0
    assert found.results.trials()[1].state == TrialState.FAIL
    assert found.results.counts() | {"trials": 1, "hopeless": 1, "failed": 0} == found.results.counts()


def test_known_cost_is_told_to_ignore_what_nobody_trained_and_what_repeats(begin):
    options = {"cell": "lstm", "num_layers": "1", "hidden_size": "4..8", "trials": 2}
    low = begin(**options, sampler="random", budget_macs=900)
    low.study.enqueue_trial({"hidden_size": 8})  # over the budget
    low.study.enqueue_trial({"hidden_size": 4})
    low.study.enqueue_trial({"hidden_size": 4})
    train_all(low)
    high = begin(**options, sampler="known-cost")
    sampler = high.study.sampler
    ignored = [trial.number for trial in high.results.trials() if sampler._ignore(trial)]
    assert ignored[:2] == [0, 2]
    assert all(number in ignored for number, trial in enumerate(high.results.trials()) if REPEATS in trial.user_attrs)
    assert 1 not in ignored
    train_all(begin(**{**options, "trials": 5}, sampler="known-cost"))
    assert sorted(each.hidden_size for each in high.results.candidates()) == [4, 5, 6, 7, 8]


def test_a_diverged_trial_fails_with_its_reason_and_another_takes_its_place(begin):
    found, outcomes = begin(trials=3), iter([TrainingDivergedError("the loss is nan"), 5.0, 4.0, 3.0])
    trained = train_all(found, lambda task: next(outcomes))
    (failed,) = found.results.trials(TrialState.FAIL)
    assert failed.user_attrs["failure"] == "the loss is nan"
    assert len(found.results.complete()) == 3
    assert len(set(shapes(trained))) == 4


def test_a_search_whose_trials_all_diverge_ends_with_the_reason_and_may_be_started_again(begin):
    def diverges(task: Proposal) -> Exception:
        return TrainingDivergedError("the loss is nan in epoch 1; lower --learning-rate")

    wide = {"sampler": "random", "hidden_size": "4..64", "learning_rate": "200..900", "trials": 2}
    expected = "the last 20 trials have all failed, trial 19 as follows: the loss is nan in epoch 1; lower --learning"
    with pytest.raises(TmlmError, match=expected) as told:
        train_all(begin(**wide), diverges)
    assert told.value.exit_code == 1
    assert begin(**wide).results.counts()["failed"] == FAILURES_IN_A_ROW == 20
    again = begin(**wide)
    assert len(train_all(again)) == 2
    assert again.results.counts() == again.results.counts() | {"trials": 2, "failed": 20}


def test_a_trial_now_and_then_that_does_not_fail_keeps_the_search_going(begin):
    outcomes = iter(([TrainingDivergedError("nan")] * (FAILURES_IN_A_ROW - 1) + [5.0]) * 3)
    found = begin(sampler="random", hidden_size="4..64", trials=3)
    train_all(found, lambda task: next(outcomes))
    assert found.results.counts()["failed"] == 3 * (FAILURES_IN_A_ROW - 1)


def test_trials_that_all_kill_their_processes_end_the_search_too(begin, monkeypatch):
    monkeypatch.setattr("pipeline.search.study.trials.FAILURES_IN_A_ROW", 2)
    found = begin()
    for _ in range(3):
        found.take(found.next_task(0).number, Lost("its process (pid 77) is gone, exit code -9"))
    with pytest.raises(TmlmError, match=r"last 2 trials have all failed.*pid 77\) is gone, exit code -9; 2 times now"):
        found.take(found.next_task(0).number, Lost("its process (pid 77) is gone, exit code -9"))
    assert found.results.counts()["failed"] == 2


def test_what_could_not_be_brought_from_its_process_is_told_as_it_was(begin):
    found = begin()
    with pytest.raises(TmlmError, match=r"^OddError: 7$"):
        found.take(found.next_task(0).number, RemoteError("OddError: 7"))
    assert found.results.trials()[0].user_attrs[LOST] == "OddError: 7"


def test_what_is_neither_a_result_nor_a_divergence_ends_the_search_and_is_tried_again_later(begin):
    found = begin()
    task = found.next_task(0)
    with pytest.raises(RecordingError, match="disk"):
        found.take(task.number, RecordingError("the disk is full"))
    again = begin()
    assert again.next_task(0).model == task.model


def test_what_fails_twice_for_no_known_reason_does_not_hold_the_study_up_for_ever(begin):
    models = []
    for _ in range(3):
        found = begin()
        task = found.next_task(0)
        models.append(task.model)
        with pytest.raises(RuntimeError, match="an odd error"):
            found.take(task.number, RuntimeError("an odd error"))
    assert models[0] == models[1] != models[2]


def test_a_trial_that_memory_did_not_hold_fails_whoever_could_not_allocate_it(begin):
    found = begin(trials=1)
    outcomes = iter([MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), 5.0])
    assert len(train_all(found, lambda task: next(outcomes))) == 3
    reasons = [trial.user_attrs["failure"] for trial in found.results.failed()]
    assert reasons == ["out of memory", "DefaultCPUAllocator: can't allocate memory: 8 bytes"]


def test_a_lost_trial_is_tried_again_once_and_then_left_alone(begin):
    found = begin()
    first = found.next_task(0)
    found.take(first.number, Lost("its process (pid 77) is gone, exit code -9"))
    second = found.next_task(0)
    assert second.model == first.model
    assert found.results.trials()[second.number].user_attrs[RETRY_OF] == first.number
    found.take(second.number, Lost("its process (pid 78) is gone, exit code -9"))
    third = found.next_task(0)
    assert third.model != first.model
    reason = found.results.trials()[second.number].user_attrs["failure"]
    assert reason == "its process (pid 78) is gone, exit code -9; 2 times now, so it is not tried again"


def test_a_trial_that_was_stopped_by_hand_is_tried_again_however_often(begin):
    found = begin()
    models = set()
    for _ in range(4):
        task = found.next_task(0)
        models.add(task.model)
        found.give_up("stopped by Ctrl-C")
    assert len(models) == 1


def test_trials_of_a_process_that_is_gone_are_closed_by_the_next_start(begin_on_disk, monkeypatch):
    gone = {**process_tags(), "process.pid": "4194000"}
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.search.study.trials.process_tags", lambda: gone)
        dead = begin_on_disk()
        left = [dead.next_task(count) for count in range(2)]
    mine = begin_on_disk().next_task(2)
    again = begin_on_disk()
    assert again.close_the_dead() == [0, 1]
    states = [trial.state for trial in again.results.trials()]
    assert states[:3] == [TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    assert "pid 4194000" in again.results.trials()[0].user_attrs[LOST]
    taken_up = [again.next_task(1 + count) for count in range(2)]
    assert [task.model for task in taken_up] == [task.model for task in left]
    assert mine.model not in [task.model for task in taken_up]


def test_trials_of_another_container_are_closed_once_the_studys_run_has_ended(begin, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipeline.search.study.trials.process_tags", lambda: {**process_tags(), "process.namespace": "pid:[1]"}
        )
        begin().next_task(0)
    again = begin()
    assert again.close_the_dead() == []  # whoever has it may be alive
    assert again.close_the_dead(elsewhere=True) == [0]


def test_trials_of_an_older_study_say_whose_they_are_in_another_place(begin):
    found = begin()
    number = found.next_task(0).number
    trial_id = found.study._storage.get_trial_id_from_study_id_trial_number(found.study._study_id, number)
    found.study._storage.set_trial_user_attr(trial_id, PROCESS, None)
    found.study._storage.set_trial_system_attr(trial_id, PROCESS, process_tags())
    assert begin().close_the_dead() == []
    found.study._storage.set_trial_system_attr(trial_id, PROCESS, {**process_tags(), "process.pid": "4194000"})
    assert begin().close_the_dead() == [number]


def test_a_trial_that_a_process_put_in_line_before_it_was_killed_is_taken_over(begin, monkeypatch):
    gone = {**process_tags(), "process.pid": "4194000"}
    begin().study.enqueue_trial({"hidden_size": 7}, user_attrs={PROCESS: gone})
    found = begin()
    task = found.next_task(0)
    assert task.model.hidden_size == 7
    assert found.results.trials()[task.number].user_attrs[PROCESS] == process_tags()


def nameless(found: Search) -> None:
    """A trial that has just begun to run, and does not say yet whose it is."""
    found.storage.create_new_trial(found._study_id)


def test_a_trial_that_was_left_between_two_statements_is_closed_too(begin):
    nameless(begin())
    again = begin()
    assert again.close_the_dead() == [0]
    assert again.results.trials()[0].state == TrialState.FAIL
    assert len(again.results.trials()) == 1  # it had no parameters yet: nothing to try again


def test_in_a_storage_that_others_use_it_is_closed_once_no_living_process_can_be_there(begin, tmp_path, monkeypatch):
    shared = f"sqlite:///{tmp_path}/shared.db"
    nameless(begin(storage=shared))
    again = begin(storage=shared)
    assert again.close_the_dead() == []
    monkeypatch.setattr("pipeline.search.study.trials.ORPHANED_AFTER", timedelta(0))
    assert again.close_the_dead() == [0]


def test_a_process_that_is_killed_while_it_samples_leaves_a_trial_that_names_it(begin, tmp_path, monkeypatch):
    shared = f"sqlite:///{tmp_path}/shared.db"

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.search.study.trials.process_tags", lambda: {**process_tags(), "process.pid": "4194000"})
        patch.setattr(KnownCostSampler, "sample_relative", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(storage=shared).next_task(0)
    again = begin(storage=shared)
    assert again.results.trials()[0].state == TrialState.RUNNING
    assert again.close_the_dead() == [0]


def test_a_trial_put_in_line_with_a_cell_that_there_is_not_does_not_hold_the_study_up_for_ever(begin):
    found = begin(trials=2)
    found.study.enqueue_trial({"cell": "transformer", "num_layers": 1, "hidden_size": 4})
    with pytest.raises(ValueError, match="transformer"):
        found.next_task(0)
    found.give_up("the search ended: ValueError")
    assert len(train_all(begin(trials=2))) == 2


def test_the_budget_holds_for_every_sampler(begin):
    for sampler in ("known-cost", "random", "tpe"):
        found = begin(study_name=sampler, sampler=sampler, budget_macs=700)
        trained = train_all(found)
        assert trained
        assert max(task.macs_per_char for task in trained) <= 700
        assert len(found.results.counted()) == len(trained)


def test_what_was_never_trained_is_no_failure(begin):
    found = begin(sampler="random", budget_macs=400, trials=3)
    train_all(found)
    reasons = [str(trial.user_attrs["failure"]) for trial in found.results.trials(TrialState.FAIL)]
    assert any(reason.startswith("over --budget-macs: ") for reason in reasons)
    assert found.results.counts()["failed"] == 0
    assert len(found.results.plotted_trials()) == 3


def test_a_repeat_of_a_diverged_trial_is_a_repeat_and_no_second_failure(begin):
    found = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=2)
    outcomes = iter([TrainingDivergedError("nan"), 5.0])
    train_all(found, lambda task: next(outcomes))
    assert len(found.results.trials(TrialState.FAIL)) > 1
    assert found.results.counts()["failed"] == 1
    assert found.results.counts()["repeated"] == len(found.results.trials()) - 2


def test_a_trial_in_line_is_trained_though_the_grid_has_is_exhausted(begin):
    options = {"cell": "lstm", "num_layers": "1", "hidden_size": "4..9"}
    train_all(begin(**options, sampler="grid", trials=3))  # 4, 8 and 9
    found = begin(**options, sampler="random", trials=4)
    found.study.enqueue_trial({"hidden_size": 7})
    found.next_task(0)
    found.give_up("stopped by Ctrl-C")
    assert shapes(train_all(begin(**options, sampler="grid", trials=4))) == ["lstm-1x7"]


def test_what_was_over_the_budget_is_trained_once_the_budget_is_raised(begin):
    options = {"sampler": "random", "cell": "lstm", "num_layers": "1", "hidden_size": "4,8", "trials": 2}
    assert shapes(train_all(begin(**options, budget_macs=900))) == ["lstm-1x4"]
    assert shapes(train_all(begin(**options))) == ["lstm-1x8"]


def test_a_lost_trial_is_tried_again_also_if_it_was_proposed_twice(begin):
    found = begin(sampler="random")
    first = found.next_task(0)
    found.study.enqueue_trial(found.results.trials()[0].params)
    assert found.next_task(1).model != first.model
    assert found.results.trials()[1].user_attrs[REPEATS] == 0
    found.take(first.number, Lost("its process (pid 77) is gone, exit code -9"))
    assert found.next_task(1).model == first.model


def test_a_budget_below_the_cheapest_model_is_refused(begin):
    with pytest.raises(InputError, match=r"--budget-macs 10 is less than the cheapest model of the space needs: \d+"):
        begin(budget_macs=10)


def test_what_does_not_fit_into_memory_is_refused_before_there_is_a_study(begin_on_nothing, no_store):
    with pytest.raises(InputError, match=r"--hidden-size 10000000 with --num-layers .* needs about .* GB of memory"):
        begin_on_nothing(hidden_size="4..10000000")
    assert not (no_store / "mlruns" / "optuna.db").exists()
    begin_on_nothing(hidden_size="4..10000000", budget_macs=700)  # none of that size is trained


def test_a_text_too_short_to_train_on_is_refused_before_there_is_a_study(begin_on_nothing, no_store, tmp_path):
    (tmp_path / "short.txt").write_text("it has " * 1000)
    config, corpus_config = SearchConfig(preset="report"), CorpusConfig(str(tmp_path / "short.txt"))
    with pytest.raises(InputError, match="--preset report needs"):
        Search(config, Space.of(config), load_corpus(corpus_config), corpus_config)
    assert not (no_store / "mlruns" / "optuna.db").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": "4..9"}, r"was begun otherwise \(space was .*hidden_size 4..8, now .*hidden_size 4..9\)"),
        ({"epochs": 3}, r"was begun otherwise \(epochs was 2, now 3\)"),
        ({"max_seconds": 4.0}, r"max_seconds was None, now 4.0"),
        ({"preset": "report"}, "preset was stream, now report"),
    ],
)
def test_a_study_goes_on_only_as_it_was_begun(begin, options, said):
    begin()
    with pytest.raises(InputError, match=said):
        begin(**options)


def test_another_sampler_seed_or_number_of_trials_is_no_other_study(begin):
    train_all(begin(trials=2))
    assert len(train_all(begin(trials=4, sampler="tpe", seed=3, workers=1, confirm_seeds=1))) == 2


def test_someone_elses_study_is_refused(begin_on_disk, no_store):
    begin_on_disk(study_name="ours")
    url = f"sqlite:///{no_store}/mlruns/optuna.db"
    optuna.create_study(storage=url, study_name="search", directions=["minimize", "maximize"])
    with pytest.raises(InputError, match="is not a study of this search; give another name"):
        begin_on_disk()


@pytest.mark.parametrize("statements", [0, 1, 2, 3])
def test_a_study_whose_maker_was_killed_in_the_making_is_made_anew(begin_on_disk, statements, monkeypatch):
    made = optuna.Study.set_user_attr
    left = iter([*[made] * statements])

    def killed(*arguments: Any) -> None:
        try:
            next(left)(*arguments)
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            begin_on_disk()
    assert len(train_all(begin_on_disk(trials=2))) == 2
    with pytest.raises(InputError, match="was begun otherwise"):
        begin_on_disk(epochs=3)


def test_a_storage_that_is_none_is_refused_and_one_that_can_not_be_used_is_told(begin, tmp_path):
    with pytest.raises(InputError, match="--storage nonsense is no SQLAlchemy address"):
        begin(storage="nonsense")
    (tmp_path / "text.db").write_text("no database at all, only text" * 100)
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*; see --storage"):
        begin(storage=f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*: .*; see --storage"):
        begin(storage="firebird://here/no-such-driver")
    with pytest.raises((RecordingError, InputError), match="--storage"):
        begin(storage="postgresql://user:secret@127.0.0.1:1/no-such-server")


def test_a_storage_without_its_driver_is_told(begin):
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*; see --storage"):
        begin(storage="oracle+cx_oracle://someone@nowhere/studies")


def test_a_script_of_ones_own_reads_the_study(begin_on_disk, no_store):
    train_all(begin_on_disk(trials=3))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{no_store}/mlruns/optuna.db")
    frame = study.trials_dataframe()
    assert len(study.best_trials) >= 1
    assert {"values_validation perplexity", "params_hidden_size", "user_attrs_run_id"} <= set(frame.columns)
    assert study.user_attrs["protocol"]["space"]["hidden_size"] == "4..8"


def test_trials_carry_the_process_the_seed_and_what_they_came_to(begin):
    found = begin(trials=1, seed=7)
    train_all(found)
    (trial,) = found.results.complete()
    assert trial.user_attrs[SEED] == 7
    assert trial.user_attrs[PROCESS]["process.pid"] == str(os.getpid())
    assert trial.user_attrs["sample_text"] == "it has"
    assert trial.user_attrs["val_perplexities"] == [trial.values[0] + 1, trial.values[0]]


def test_members_of_the_front_are_given_the_seeds_that_they_lack(begin_on_disk):
    found = begin_on_disk(trials=2, confirm_seeds=3, seed=5)
    train_all(found)
    member = found.results.candidates()[0]
    tasks = found.lacking_runs([member])
    assert [task.train.seed for task in tasks] == [6, 7]
    found.take_confirmation(tasks[0].number, 6, result_of(tasks[0], 9.0))
    found.take_confirmation(tasks[1].number, 7, TrainingDivergedError("nan"))
    (judged,) = [each for each in found.results.candidates() if each.name == member.name]
    assert judged.val_perplexities == (member.val_perplexities[0], 9.0, float("inf"))
    assert found.lacking_runs([member]) == []
    assert begin_on_disk(trials=2, confirm_seeds=3, seed=5).results.confirmations == found.results.confirmations
    assert len(found.results.trials()) == 2  # runs, not trials


def test_trials_that_differ_in_their_seed_alone_are_one_configuration_and_no_seed_counts_twice(begin):
    options = {"sampler": "grid", "cell": "lstm", "num_layers": "1", "hidden_size": "4", "confirm_seeds": 3}
    train_all(begin(**options, trials=1, seed=2))
    found = begin(**options, trials=2, seed=1)
    train_all(found)
    (member,) = found.results.candidates()
    assert member.run_ids == ("run-lstm-1x4-2", "run-lstm-1x4-1")
    (task,) = found.lacking_runs([member])
    assert task.train.seed == 3  # the next that is neither trial's own
    found.take_confirmation(task.number, task.train.seed, result_of(task, 9.0))
    (member,) = begin(**options, trials=2, seed=7).results.candidates()
    assert len(set(member.run_ids)) == 3
    assert begin(**options, trials=2, seed=7).lacking_runs([member]) == []


def test_a_confirmation_whose_process_is_lost_twice_is_left_out_until_the_next_command(begin):
    found = begin(trials=1, confirm_seeds=2)
    train_all(found)
    for _ in range(2):
        (task,) = found.lacking_runs(found.results.candidates())
        found.take_confirmation(task.number, task.train.seed, Lost("its process (pid 1) is gone, exit code -9"))
    assert found.lacking_runs(found.results.candidates()) == []
    assert len(found.results.candidates()[0].run_ids) == 1
    again = begin(trials=1, confirm_seeds=2)
    assert again.lacking_runs(again.results.candidates()) != []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_confirmation_that_memory_did_not_hold_is_no_divergence_and_is_asked_for_again(begin, error):
    found = begin(trials=1, confirm_seeds=2)
    train_all(found)
    (task,) = found.lacking_runs(found.results.candidates())
    found.take_confirmation(task.number, task.train.seed, error)
    assert found.results.confirmations == []
    assert found.lacking_runs(found.results.candidates()) == [task]
    found.take_confirmation(task.number, task.train.seed, error)
    assert found.lacking_runs(found.results.candidates()) == []  # not a third time
    again = begin(trials=1, confirm_seeds=2)
    assert again.lacking_runs(again.results.candidates()) != []


def test_importances_are_shares_of_each_objective(begin):
    found = begin(trials=8)
    train_all(found)
    importances = found.results.importances()
    assert importances.keys() == {"validation perplexity", "log10 MACs per character"}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in importances.values())


def test_too_few_trials_have_no_importances(begin):
    found = begin(trials=1)
    train_all(found)
    assert found.results.importances() == {}


def test_a_configuration_of_two_seeds_is_one_candidate_and_lacks_one_seed_less(begin):
    options = {"cell": "lstm", "num_layers": "1", "hidden_size": "4,5", "sampler": "grid", "confirm_seeds": 3}
    train_all(begin(**options, trials=2))
    found = begin(**options, trials=4, seed=1)
    train_all(found)
    candidates = found.results.candidates()
    assert sorted(len(each.run_ids) for each in candidates) == [2, 2]
    tasks = found.lacking_runs(candidates)
    assert [task.train.seed for task in tasks] == [2, 2]


def test_what_was_over_the_budget_is_tried_when_the_budget_is_raised(begin):
    options = {"cell": "lstm", "num_layers": "1", "hidden_size": "4,8", "sampler": "random", "trials": 2}
    low = begin(**options, budget_macs=900)
    train_all(low)
    assert low.is_exhausted
    assert low.results.failed() == []
    high = begin(**options)
    train_all(high)
    assert sorted(each.hidden_size for each in high.results.candidates()) == [4, 8]


def test_a_space_that_memory_can_not_hold_is_refused_before_the_study_begins(begin_on_nothing, no_store):
    with pytest.raises(InputError, match=r"needs about .* GB of memory; this machine has .* lower --hidden-size"):
        begin_on_nothing(hidden_size="8..1000000")
    assert not (no_store / "mlruns" / "optuna.db").exists()


def test_a_storage_that_refuses_in_the_middle_is_told_in_a_sentence(begin):
    from optuna.exceptions import StorageInternalError

    found = begin()
    said = r"the study can't be kept in .*optuna.db: disk I/O error; see --storage"
    with pytest.raises(RecordingError, match=said), storage_errors(found.config):
        raise StorageInternalError("disk I/O error")


# --- whose study it is -----------------------------------------------------------------------------------------------


def test_a_study_is_of_the_mlflow_store_in_which_it_was_begun(begin):
    begin().check_store("0-111", lambda run_id: run_id == "parent")
    begin().check_store("0-111", lambda run_id: False)  # all of its runs were deleted
    with pytest.raises(InputError, match=r"has its runs in another MLflow store than .*mlflow\.db"):
        begin().check_store("0-222", lambda run_id: False)
    begin().check_store("7-333", lambda run_id: run_id == "parent")  # another experiment of the same store


def test_a_study_that_was_begun_before_studies_knew_their_store_is_told_by_its_runs(begin):
    found = begin(trials=1)
    train_all(found)
    (trial,) = found.results.complete()
    with pytest.raises(InputError, match="another MLflow store"):
        begin().check_store("0-222", lambda run_id: False)
    begin().check_store("0-111", lambda run_id: run_id == trial.user_attrs["run_id"])
    begin().check_store("0-111", lambda run_id: False)
