"""Ask and tell: how many trials, which, and what becomes of those that end badly."""

import os
from datetime import timedelta
from math import log10
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import CorpusConfig, SearchConfig, resolve
from pipeline.errors import InputError, RecordingError, RemoteError, TmlmError, TrainingDivergedError
from pipeline.search.known_cost.sampler import KnownCostSampler
from pipeline.search.space import Space
from pipeline.search.study.attributes import LOST, PREFIX, PROCESS, REPEATS, RETRY_OF, SEED, of_trial
from pipeline.search.study.trials import FAILURES_IN_A_ROW, Proposal, Search
from pipeline.support.processes import process_tags
from pipeline.support.workers import Loss
from pipeline.text.corpus import load_corpus
from pipeline.training import hardware
from tests.search.study.studies import perplexity, result_of, shapes, train_all


def test_more_workers_than_the_memory_holds_are_refused(begin, monkeypatch):
    monkeypatch.setattr(hardware, "memory_of_this_machine", lambda: 10**9)
    begin(workers=1)
    with pytest.raises(InputError, match=r"in 16 workers at once needs about 5 GB of memory; .* lower --workers to 3$"):
        begin(workers=16)


def test_a_trial_is_trained_as_a_single_training_of_its_shape_on_the_text(begin):
    search = begin(cell="lstm", num_layers="3", hidden_size="200")
    task = search.next_task(0)
    shape = {"cell": "lstm", "num_layers": 3, "hidden_size": 200, "epochs": 2, "sample_every": 0}
    assert (task.model, task.train) == resolve(shape, search.corpus.train_chars)
    assert task.model != resolve(shape)[0]


def test_trials_are_how_many_are_complete_in_total(begin_on_nothing):
    assert len(train_all(begin_on_nothing())) == 8
    assert train_all(begin_on_nothing()) == []
    more = begin_on_nothing(trials=11)
    assert len(train_all(more)) == 3
    assert len(more.results.complete()) == 11


@pytest.mark.parametrize(
    "sampler",
    ["known-cost", "random", "grid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "tpe", "nsga2"))],
)
def test_no_sampler_has_a_configuration_trained_twice_and_all_come_to_the_end_of_a_small_space(begin, sampler):
    search = begin(sampler=sampler, cell="gru,lstm", num_layers="1", hidden_size="4,5,6", trials=50)
    trained = train_all(search)
    assert sorted(shapes(trained)) == [f"{cell}-1x{width}" for cell in ("gru", "lstm") for width in (4, 5, 6)]
    assert search.is_exhausted


def test_a_repeat_is_told_what_the_earlier_trial_came_to_and_does_not_count(begin):
    search = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=2)
    train_all(search)
    repeats = [trial for trial in search.results.trials(TrialState.COMPLETE) if REPEATS in of_trial(trial)]
    first = {trial.number: trial for trial in search.results.complete()}
    assert len(search.results.complete()) == 2
    assert all(trial.values == first[of_trial(trial)[REPEATS]].values for trial in repeats)


def test_with_another_seed_the_same_configurations_are_trained_again(begin):
    options = {"sampler": "grid", "cell": "lstm", "num_layers": "1", "hidden_size": "4,5"}
    one = train_all(begin(**options, trials=2))
    two = train_all(begin(**{**options, "sampler": "random"}, trials=4, seed=1))
    assert sorted(shapes(two)) == sorted(shapes(one))
    assert {task.train.seed for task in two} == {1}


def test_a_trial_reads_the_study_as_often_however_many_there_are(begin, monkeypatch):
    search = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4..200", trials=30)
    storage, reads = type(search.storage), []
    read = storage.get_all_trials

    def counted(*args: Any, **kwargs: Any) -> Any:
        reads.append(1)
        return read(*args, **kwargs)

    monkeypatch.setattr(storage, "get_all_trials", counted)
    counts = []
    while (task := search.next_task(0)) is not None:
        search.take(task.number, result_of(task, 5.0))
        counts.append(len(reads))
        reads.clear()
    assert len(counts) == 30
    assert min(counts) == 4, "counted, waiting or lost ones, Optuna's own look for waiting ones, repeats"


def test_objectives_are_perplexity_and_log10_macs_and_have_their_names(begin):
    search = begin(trials=1)
    (task,) = train_all(search)
    (trial,) = search.results.complete()
    assert trial.values == pytest.approx([perplexity(task), log10(task.macs_per_char)])
    assert search.study.metric_names == ["validation perplexity", "log10 MACs per character"]


def test_a_perplexity_is_capped_at_uniform(begin):
    search = begin(trials=1)
    train_all(search, lambda task: 1e9)
    (trial,) = search.results.complete()
    assert trial.values[0] == search.vocab_size
    assert trial.user_attrs["val_perplexity"] == 1e9
    assert search.results.candidates() == []


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
    assert all(number in ignored for number, trial in enumerate(high.results.trials()) if REPEATS in of_trial(trial))
    assert 1 not in ignored
    train_all(begin(**{**options, "trials": 5}, sampler="known-cost"))
    assert sorted(each.hidden_size for each in high.results.candidates()) == [4, 5, 6, 7, 8]


def test_a_diverged_trial_fails_with_its_reason_and_another_takes_its_place(begin):
    search, outcomes = begin(trials=3), iter([TrainingDivergedError("the loss is nan"), 5.0, 4.0, 3.0])
    trained = train_all(search, lambda task: next(outcomes))
    (failed,) = search.results.trials(TrialState.FAIL)
    assert failed.user_attrs["failure"] == "the loss is nan"
    assert len(search.results.complete()) == 3
    assert len(set(shapes(trained))) == 4


def test_a_search_whose_trials_all_diverge_ends_with_the_reason_and_may_be_started_again(begin):
    def diverges(task: Proposal) -> Exception:
        return TrainingDivergedError("the loss is nan in epoch 1; lower --learning-rate")

    wide = {"sampler": "random", "hidden_size": "4..64", "learning_rate": "200..900", "trials": 2}
    expected = (
        r"20 trials have all failed, the last one \(trial 19\) because: the loss is nan in epoch 1; lower --learning"
    )
    with pytest.raises(TmlmError, match=expected) as told:
        train_all(begin(**wide), diverges)
    assert told.value.exit_code == 1
    assert begin(**wide).results.counts()["failed"] == FAILURES_IN_A_ROW == 20
    again = begin(**wide)
    assert len(train_all(again)) == 2
    assert again.results.counts() == again.results.counts() | {"trials": 2, "failed": 20}


def test_a_trial_now_and_then_that_does_not_fail_keeps_the_search_going(begin):
    outcomes = iter(([TrainingDivergedError("nan")] * (FAILURES_IN_A_ROW - 1) + [5.0]) * 3)
    search = begin(sampler="random", hidden_size="4..64", trials=3)
    train_all(search, lambda task: next(outcomes))
    assert search.results.counts()["failed"] == 3 * (FAILURES_IN_A_ROW - 1)


def test_trials_that_all_kill_their_processes_end_the_search_too(begin, monkeypatch):
    monkeypatch.setattr("pipeline.search.study.trials.FAILURES_IN_A_ROW", 2)
    search = begin()
    for _ in range(3):
        search.take(search.next_task(0).number, Loss("its process (pid 77) is gone, exit code -9"))
    with pytest.raises(TmlmError, match=r"last 2 trials have all failed.*pid 77\) is gone.*; it was lost before"):
        search.take(search.next_task(0).number, Loss("its process (pid 77) is gone, exit code -9"))
    assert search.results.counts()["failed"] == 2


def test_what_could_not_be_brought_from_its_process_is_told_as_it_was(begin):
    search = begin()
    with pytest.raises(TmlmError, match=r"^OddError: 7$"):
        search.take(search.next_task(0).number, RemoteError("OddError: 7"))
    assert of_trial(search.results.trials()[0])[LOST] == "OddError: 7"


def test_what_is_neither_a_result_nor_a_divergence_ends_the_search_and_is_tried_again_later(begin):
    search = begin()
    task = search.next_task(0)
    with pytest.raises(RecordingError, match="disk"):
        search.take(task.number, RecordingError("the disk is full"))
    again = begin()
    assert again.next_task(0).model == task.model


def test_what_fails_twice_for_no_known_reason_does_not_hold_the_study_up_for_ever(begin):
    models = []
    for _ in range(3):
        search = begin()
        task = search.next_task(0)
        models.append(task.model)
        with pytest.raises(RuntimeError, match="an odd error"):
            search.take(task.number, RuntimeError("an odd error"))
    assert models[0] == models[1] != models[2]


def test_a_trial_that_memory_did_not_hold_fails_whoever_could_not_allocate_it(begin):
    search = begin(trials=1)
    outcomes = iter([MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), 5.0])
    assert len(train_all(search, lambda task: next(outcomes))) == 3
    reasons = [trial.user_attrs["failure"] for trial in search.results.failed()]
    assert reasons == ["out of memory", "DefaultCPUAllocator: can't allocate memory: 8 bytes"]


def test_a_lost_trial_is_tried_again_once_and_then_left_alone(begin):
    search = begin()
    first = search.next_task(0)
    search.take(first.number, Loss("its process (pid 77) is gone, exit code -9"))
    second = search.next_task(0)
    assert second.model == first.model
    assert of_trial(search.results.trials()[second.number])[RETRY_OF] == first.number
    search.take(second.number, Loss("its process (pid 78) is gone, exit code -9"))
    third = search.next_task(0)
    assert third.model != first.model
    reason = search.results.trials()[second.number].user_attrs["failure"]
    assert reason == "its process (pid 78) is gone, exit code -9; it was lost before, so it is not tried again"


def test_a_trial_whose_machine_is_gone_is_tried_again_four_times(begin):
    search = begin()
    first = trial = search.next_task(0)
    for _ in range(4):
        search.take(trial.number, Loss("the node n1 is gone", kills=0.25))
        trial = search.next_task(0)
        assert trial.model == first.model
    search.take(trial.number, Loss("the node n1 is gone", kills=0.25))
    assert search.next_task(0).model != first.model


def test_a_trial_that_was_stopped_by_hand_is_tried_again_however_often(begin):
    search = begin()
    models = set()
    for _ in range(4):
        task = search.next_task(0)
        models.add(task.model)
        search.give_up("stopped by Ctrl-C")
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
    assert "pid 4194000" in of_trial(again.results.trials()[0])[LOST]
    taken_up = [again.next_task(1 + count) for count in range(2)]
    assert [task.model for task in taken_up] == [task.model for task in left]
    assert mine.model not in [task.model for task in taken_up]


def test_trials_of_a_search_that_is_killed_four_times_are_tried_again(begin, monkeypatch):
    models = set()
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(
                "pipeline.search.study.trials.process_tags", lambda: {**process_tags(), "process.pid": "4194000"}
            )
            models.add(begin().next_task(0).model)
        begin().close_the_dead()
    assert begin().next_task(0).model in models
    assert len(models) == 1


def test_trials_of_another_container_are_closed_once_the_studys_run_has_ended(begin, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "pipeline.search.study.trials.process_tags", lambda: {**process_tags(), "process.namespace": "pid:[1]"}
        )
        begin().next_task(0)
    again = begin()
    assert again.close_the_dead() == []  # whoever has it may be alive
    assert again.close_the_dead(elsewhere=True) == [0]


def nameless(search: Search) -> None:
    """A trial that has just begun to run, and does not say yet whose it is."""
    search.storage.create_new_trial(search._study_id)


def test_trials_of_an_older_study_say_whose_they_are_in_a_user_attribute(begin):
    search = begin()
    nameless(search)
    trial_id = search.storage.get_trial_id_from_study_id_trial_number(search._study_id, 0)
    search.storage.set_trial_user_attr(trial_id, PREFIX + PROCESS, process_tags())
    assert begin().close_the_dead() == []
    search.storage.set_trial_user_attr(trial_id, PREFIX + PROCESS, {**process_tags(), "process.pid": "4194000"})
    assert begin().close_the_dead() == [0]


def test_a_trial_that_a_process_put_in_line_before_it_was_killed_is_taken_over(begin, monkeypatch):
    gone = {**process_tags(), "process.pid": "4194000"}
    begin().study.enqueue_trial({"hidden_size": 7}, user_attrs={PREFIX + PROCESS: gone})
    search = begin()
    task = search.next_task(0)
    assert task.model.hidden_size == 7
    assert of_trial(search.results.trials()[task.number])[PROCESS] == process_tags()


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
    search = begin(trials=2)
    search.study.enqueue_trial({"cell": "transformer", "num_layers": 1, "hidden_size": 4})
    with pytest.raises(ValueError, match="transformer"):
        search.next_task(0)
    search.give_up("the search ended: ValueError")
    assert len(train_all(begin(trials=2))) == 2


def test_the_budget_holds_for_every_sampler(begin):
    for sampler in ("known-cost", "random", "tpe"):
        search = begin(study_name=sampler, sampler=sampler, budget_macs=700)
        trained = train_all(search)
        assert trained
        assert max(task.macs_per_char for task in trained) <= 700
        assert len(search.results.complete()) == len(trained)


def test_a_trial_in_line_is_trained_though_the_grid_has_is_exhausted(begin):
    options = {"cell": "lstm", "num_layers": "1", "hidden_size": "4..9"}
    train_all(begin(**options, sampler="grid", trials=3))  # 4, 8 and 9
    search = begin(**options, sampler="random", trials=4)
    search.study.enqueue_trial({"hidden_size": 7})
    search.next_task(0)
    search.give_up("stopped by Ctrl-C")
    assert shapes(train_all(begin(**options, sampler="grid", trials=4))) == ["lstm-1x7"]


def test_what_was_over_the_budget_is_trained_once_the_budget_is_raised(begin):
    options = {"sampler": "random", "cell": "lstm", "num_layers": "1", "hidden_size": "4,8", "trials": 2}
    assert shapes(train_all(begin(**options, budget_macs=900))) == ["lstm-1x4"]
    assert shapes(train_all(begin(**options))) == ["lstm-1x8"]


def test_a_lost_trial_is_tried_again_also_if_it_was_proposed_twice(begin):
    search = begin(sampler="random")
    first = search.next_task(0)
    search.study.enqueue_trial(search.results.trials()[0].params)
    assert search.next_task(1).model != first.model
    assert of_trial(search.results.trials()[1])[REPEATS] == 0
    search.take(first.number, Loss("its process (pid 77) is gone, exit code -9"))
    assert search.next_task(1).model == first.model


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


def test_a_script_of_ones_own_reads_the_study(begin_on_disk, no_store):
    train_all(begin_on_disk(trials=3))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{no_store}/mlruns/optuna.db")
    assert len(study.best_trials) >= 1
    frame = study.trials_dataframe(attrs=("number", "values", "user_attrs"))
    figures = ["macs_per_char", "mlflow_run", "model", "parameters", "run_id", "sample_text", "seed"]
    figures += ["test_perplexity", "train_seconds", "val_perplexity"]
    objectives = ["values_log10 MACs per character", "values_validation perplexity"]
    assert sorted(frame.columns) == sorted(["number", *objectives, *(f"user_attrs_{name}" for name in figures)])


def test_a_study_says_in_words_what_is_searched(begin):
    attributes = begin(max_seconds=3.0).study.user_attrs
    assert attributes == {
        "text": "topics",
        "space": "cell rnn,gru,lstm; num_layers 1..2; hidden_size 4..8",
        "training": "2 epochs of preset stream, at most 3 s",
    }


def test_trials_carry_the_process_the_seed_and_what_they_came_to(begin):
    search = begin(trials=1, seed=7)
    train_all(search)
    (trial,) = search.results.complete()
    assert trial.user_attrs[SEED] == 7
    assert of_trial(trial)[PROCESS]["process.pid"] == str(os.getpid())
    assert trial.user_attrs["sample_text"] == "it has"


def test_members_of_the_front_are_given_the_seeds_that_they_lack(begin_on_disk):
    search = begin_on_disk(trials=2, confirm_seeds=3, seed=5)
    train_all(search)
    member = search.results.candidates()[0]
    tasks = search.lacking_runs([member])
    assert [task.train.seed for task in tasks] == [6, 7]
    search.take_confirmation(tasks[0].number, 6, result_of(tasks[0], 9.0))
    search.take_confirmation(tasks[1].number, 7, TrainingDivergedError("nan"))
    (judged,) = [each for each in search.results.candidates() if each.name == member.name]
    assert judged.val_perplexities == (member.val_perplexities[0], 9.0, float("inf"))
    assert search.lacking_runs([member]) == []
    assert begin_on_disk(trials=2, confirm_seeds=3, seed=5).results.confirmations == search.results.confirmations
    assert len(search.results.trials()) == 2  # runs, not trials


def test_a_confirmation_whose_process_is_lost_twice_is_left_out_until_the_next_command(begin):
    search = begin(trials=1, confirm_seeds=2)
    train_all(search)
    for _ in range(2):
        (task,) = search.lacking_runs(search.results.candidates())
        search.take_confirmation(task.number, task.train.seed, Loss("its process (pid 1) is gone, exit code -9"))
    assert search.lacking_runs(search.results.candidates()) == []
    assert len(search.results.candidates()[0].run_ids) == 1
    again = begin(trials=1, confirm_seeds=2)
    assert again.lacking_runs(again.results.candidates()) != []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_confirmation_that_memory_did_not_hold_is_no_divergence_and_is_asked_for_again(begin, error):
    search = begin(trials=1, confirm_seeds=2)
    train_all(search)
    (task,) = search.lacking_runs(search.results.candidates())
    search.take_confirmation(task.number, task.train.seed, error)
    assert search.results.confirmations == []
    assert search.lacking_runs(search.results.candidates()) == [task]
    search.take_confirmation(task.number, task.train.seed, error)
    assert search.lacking_runs(search.results.candidates()) == []  # not a third time
    again = begin(trials=1, confirm_seeds=2)
    assert again.lacking_runs(again.results.candidates()) != []


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
