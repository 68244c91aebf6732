"""Ask and tell: how many trials, which, and what becomes of those that end badly."""

from math import log10
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import COST_NAMES, CorpusConfig, SearchConfig, config_id, resolve
from pipeline.errors import InputError, RecordingError, TmlmError, TrainingDivergedError
from pipeline.search.study.attributes import REPEATS, of_trial
from pipeline.search.study.space import Space
from pipeline.search.study.trials import FAILURES_IN_A_ROW, Proposal, SearchStudy
from pipeline.support.workers import Loss
from pipeline.text.corpus import load_corpus
from pipeline.text.ngrams import baselines_of
from tests.search.study.studies import macs_per_char, perplexity, result_of, shapes, train_all


def test_a_trial_is_what_tmlm_train_makes_of_its_shape_on_the_text(begin):
    search = begin(cell="lstm", num_layers="3", hidden_size="20", epochs=None)
    task = search.ask(0)
    shape = {"cell": "lstm", "num_layers": 3, "hidden_size": 20}
    alone = resolve(shape, search.corpus.train_chars, len(search.corpus.vocabulary))
    assert config_id(task.model, task.train, "") == config_id(*alone, "") != config_id(*resolve(shape), "")


def test_a_trial_has_the_budget_and_the_seed_that_it_is_given_and_the_rest_as_the_preset_says_for_its_cell(begin):
    search, rates = begin(epochs=4, max_seconds=9.0), {}
    for cell in ("rnn", "lstm"):
        model, train = search.problem.configs_of({"cell": cell, "num_layers": 1, "hidden_size": 8}, 5)
        assert (model.shape, train.epochs, train.max_seconds, train.seed) == (f"{cell}-1x8", 4, 9.0, 5)
        rates[cell] = train.learning_rate
    assert rates == {"rnn": 0.0236, "lstm": 0.0473}  # in 4 passes


def test_the_first_trial_of_a_study_has_the_presets_own_shape_if_the_space_has_it(begin):
    wide = {"hidden_size": "8..256", "on_top_of": "ngram,nothing", "trials": 2}
    search = begin(**wide)
    assert [shape == "lstm-1x192" for shape in shapes([search.ask(0), search.ask(1)])] == [True, False]
    begin(**wide).requeue_running()
    assert begin(**wide).ask(0).model.shape == "lstm-1x192"
    assert begin(**wide, study_name="affordable", budget_macs=9000).ask(0).model.hidden_size < 192


@pytest.mark.parametrize(
    "sampler",
    ["known-cost", "random", "grid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "tpe", "nsga2"))],
)
def test_no_sampler_has_a_configuration_trained_twice_and_all_come_to_the_end_of_a_small_space(begin, sampler):
    search = begin(sampler=sampler, cell="gru,lstm", num_layers="1", hidden_size="4,5,6", trials=50)
    trained = train_all(search)
    assert sorted(shapes(trained)) == [f"{cell}-1x{width}" for cell in ("gru", "lstm") for width in (4, 5, 6)]
    assert search.is_exhausted


def test_the_reference_is_the_trigrams_perplexity_or_the_one_given_once_it_is_reached(begin):
    search, given = begin(), begin(max_perplexity=5.0)
    (trigram,) = [single for single in baselines_of(search.corpus, "stream")["val"].singles if single.order == 3]
    assert search.problem.max_perplexity == 2**trigram.bits_per_char
    assert [given.problem.reference(values)[0] for values in ([4.9, 6.0], [5.1], [])] == [5, 28, 28]


def test_a_repeat_is_told_what_the_earlier_trial_came_to_and_does_not_count(begin):
    search = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=2)
    train_all(search)
    repeats = [trial for trial in search.results.trials(TrialState.COMPLETE) if REPEATS in of_trial(trial)]
    first = {trial.number: trial for trial in search.results.complete()}
    assert len(search.results.complete()) == 2
    assert all(trial.values == first[of_trial(trial)[REPEATS]].values for trial in repeats)


@pytest.mark.parametrize("factor", [1, 1e9])
def test_objectives_are_perplexity_capped_at_uniform_and_log10_macs_and_have_their_names(begin, factor):
    search = begin(trials=1)
    (task,) = train_all(search, lambda task: factor * perplexity(task))
    (trial,) = search.results.complete()
    expected = min(28, factor * perplexity(task))
    assert trial.values == pytest.approx([expected, log10(macs_per_char(task))])
    assert trial.user_attrs["val_perplexity"] == factor * perplexity(task)
    assert len(search.results.candidates()) == (expected < 28)
    assert search.study.metric_names == ["validation perplexity", "log10 MACs per character"]


def test_known_cost_ignores_what_repeats_and_what_is_over_the_budget_which_is_trained_once_that_is_raised(begin):
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
    assert sorted(candidate.hidden_size for candidate in high.results.candidates()) == [4, 5, 6, 7, 8]


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


def test_what_is_neither_a_result_nor_a_divergence_ends_the_search_and_is_tried_again_later(begin):
    search = begin()
    task = search.ask(0)
    with pytest.raises(RecordingError, match="disk"):
        search.tell(task.number, RecordingError("the disk is full"))
    again = begin()
    again.requeue_running()
    assert again.ask(0).model == task.model


def test_a_trial_that_diverged_was_lost_or_did_not_fit_into_memory_fails_and_another_takes_its_place(begin):
    failures = {
        "the loss is nan": TrainingDivergedError("the loss is nan"),
        "out of memory": MemoryError(),
        "DefaultCPUAllocator: can't allocate memory: 8": RuntimeError("DefaultCPUAllocator: can't allocate memory: 8"),
        "it is gone, exit code -9; it was lost before, so it is not tried again": Loss("it is gone, exit code -9"),
    }
    search, outcomes = begin(trials=3), iter([*failures.values(), 5.0, 4.0, 3.0])
    trained = train_all(search, lambda task: next(outcomes))
    assert len(set(shapes(trained))) == len(trained) == 7
    assert [trial.user_attrs["failure"] for trial in search.results.failed()] == [*failures]
    assert search.results.counts()["failed"] == 4
    assert len(search.results.complete()) == 3


def test_a_budget_below_the_cheapest_model_is_refused(begin):
    with pytest.raises(InputError, match=r"--budget-macs 10 is less than the cheapest model of the space needs: \d+"):
        begin(budget_macs=10)


def test_a_text_too_short_to_train_on_is_refused_before_there_is_a_study(begin_on_nothing, no_store, tmp_path):
    (tmp_path / "short.txt").write_text("it has " * 1000)
    config, corpus = SearchConfig(preset="report"), load_corpus(CorpusConfig(str(tmp_path / "short.txt"), "letters"))
    with pytest.raises(InputError, match="--preset report needs"):
        SearchStudy(config, Space.of(config), corpus)
    assert not (no_store / "mlruns" / "optuna.db").exists()


def test_a_script_of_ones_own_reads_the_study(begin_on_disk, no_store):
    train_all(begin_on_disk(trials=3, max_perplexity=28.0))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{no_store}/mlruns/optuna.db")
    assert len(study.best_trials) >= 1
    frame = study.trials_dataframe(attrs=("number", "values", "user_attrs"))
    figures = ["model", "parameters", "run_id", "sample_text", "seed", *COST_NAMES]
    figures += ["test_perplexity", "train_seconds", "val_perplexity"]
    objectives = ["values_log10 MACs per character", "values_validation perplexity"]
    assert sorted(frame.columns) == sorted(["number", *objectives, *(f"user_attrs_{name}" for name in figures)])


def test_candidates_are_given_the_seeds_that_they_lack_the_dearest_first(begin_on_disk):
    search = begin_on_disk(trials=2, confirm_seeds=3, seed=5)
    train_all(search)
    member, other = sorted(search.results.candidates(), key=lambda candidate: candidate.sizes["macs_per_char"])
    assert shapes(search.missing_confirmations([member, other, member])) == [*[other.name] * 2, *[member.name] * 2]
    tasks = search.missing_confirmations([member])
    assert [task.train.seed for task in tasks] == [6, 7]
    search.tell_confirmation(tasks[0].number, 6, result_of(tasks[0], 9.0))
    search.tell_confirmation(tasks[1].number, 7, TrainingDivergedError("nan"))
    (judged,) = [each for each in search.results.candidates() if each.name == member.name]
    assert judged.val_perplexities == (member.val_perplexities[0], 9.0, float("inf"))
    assert search.missing_confirmations([member]) == []
    assert begin_on_disk(trials=2, confirm_seeds=3, seed=5).results.confirmations == search.results.confirmations
    assert len(search.results.trials()) == 2  # runs, not trials


# --- what a command leaves behind ------------------------------------------------------------------------------------


def test_trials_of_a_killed_command_are_continued_first_and_none_is_asked_for_twice(begin_on_disk):
    dead = begin_on_disk()
    left = [dead.ask(count) for count in range(2)]
    again = begin_on_disk()
    assert again.requeue_running("shared") == [0, 1]
    assert [again.ask(count) for count in range(2)] == left
    assert again.ask(2).number == 2
    for task in left:
        again.tell(task.number, result_of(task, 5.0))
    assert [trial.number for trial in begin_on_disk().results.complete()] == [0, 1]


def test_a_trial_is_continued_however_often_its_command_is_stopped_and_left_alone_after_the_fifth_kill(begin):
    first = begin().ask(0)
    for cause in (*["stopped"] * 6, *["shared"] * 4):
        assert begin().requeue_running(cause) == [first.number]
        assert begin().ask(0) == first
    begin().requeue_running("shared")
    again = begin()
    assert again.ask(0).number != first.number
    assert [trial.number for trial in again.results.failed()] == [first.number]


def test_kills_of_a_trial_are_counted_over_commands_and_apart_from_those_of_its_command(begin):
    task = begin().ask(0)
    begin().requeue_running("shared")
    assert begin().count_loss(task.number, "killed")
    assert not begin().count_loss(task.number, "killed")


def test_a_process_that_is_killed_while_it_samples_leaves_a_trial_that_is_sampled_again(begin, monkeypatch):
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            begin().ask(0)
    again = begin()
    assert again.requeue_running("shared") == [0]
    assert again.ask(0).number == 0


def test_an_enqueued_trial_that_the_space_lacks_is_refused(begin):
    search = begin(trials=2)
    search.study.enqueue_trial({"cell": "transformer", "num_layers": 1, "hidden_size": 4})
    with pytest.raises(InputError, match="has an enqueued trial that its space lacks: 'transformer' not in"):
        search.ask(0)


def test_a_trial_is_continued_also_if_it_was_proposed_twice(begin):
    search = begin(sampler="random")
    first = search.ask(0)
    search.study.enqueue_trial(search.results.trials()[0].params)
    assert search.ask(1).model != first.model
    assert of_trial(search.results.trials()[1])[REPEATS] == 0
    begin().requeue_running()
    assert begin().ask(0) == first


@pytest.mark.parametrize("outcome", [Loss("its process is gone"), MemoryError()])
def test_a_confirmation_that_is_lost_is_no_divergence_and_is_left_to_the_next_command(begin, outcome):
    search = begin(trials=1, confirm_seeds=2)
    train_all(search)
    (task,) = search.missing_confirmations(search.results.candidates())
    search.tell_confirmation(task.number, task.train.seed, outcome)
    assert search.results.confirmations == {}
    assert search.missing_confirmations(search.results.candidates()) == []
    again = begin(trials=1, confirm_seeds=2)
    assert again.missing_confirmations(again.results.candidates()) == [task]
