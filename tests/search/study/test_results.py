"""Results of a study: its trials by outcome, the candidates, importances and counts."""

from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from models.complexity import closed_form
from pipeline.errors import TrainingDivergedError
from pipeline.search.study import attributes
from pipeline.text.ngrams import fitted_ngrams
from tests.search.study.studies import macs_per_char, result_of, train_all


def test_what_was_never_trained_is_no_failure(begin):
    search = begin(sampler="random", budget_macs=400, trials=3)
    assert max(map(macs_per_char, train_all(search))) <= 400
    reasons = [str(trial.user_attrs["failure"]) for trial in search.results.trials(TrialState.FAIL)]
    assert any(reason.startswith("over --budget-macs: ") for reason in reasons)
    assert search.results.counts()["failed"] == 0
    assert len(search.results.plotted_trials()) == 3


@pytest.mark.parametrize(
    ("facts", "stopped", "failure"),
    [
        ({"stopped_by": "time", "failure.kind": "over budget"}, "in other words", "in other words"),
        ({}, "--max-seconds 9", "over --budget-macs: 9 MACs per character"),
    ],
)
def test_what_became_of_a_trial_does_not_hang_on_the_words_for_it(begin, facts, stopped, failure):
    search, own = begin(), {f"{attributes.PREFIX}{name}": value for name, value in facts.items()}
    about: dict[str, Any] = {"user_attrs": {"stopped": stopped, "failure": failure}, "system_attrs": own}
    search.study.add_trial(create_trial(state=TrialState.COMPLETE, values=[1.0, 1.0], **about))
    search.study.add_trial(create_trial(state=TrialState.FAIL, **about))
    assert search.results.counts()["cut_short"] == 1
    assert search.results.failed() == []


def test_a_repeat_of_a_diverged_trial_is_a_repeat_and_no_second_failure(begin):
    search = begin(sampler="random", cell="lstm", num_layers="1", hidden_size="4,5", trials=2)
    outcomes = iter([TrainingDivergedError("nan"), 5.0])
    train_all(search, lambda task: next(outcomes))
    assert len(search.results.trials(TrialState.FAIL)) > 1
    assert search.results.counts()["failed"] == 1
    assert search.results.counts()["repeated"] == len(search.results.trials()) - 2


def test_trials_that_differ_in_their_seed_alone_are_one_configuration_and_no_seed_counts_twice(begin):
    options = {"sampler": "grid", "cell": "lstm", "num_layers": "1", "hidden_size": "4", "confirm_seeds": 3}
    train_all(begin(**options, trials=1, seed=2))
    search = begin(**options, trials=2, seed=1)
    train_all(search)
    (member,) = search.results.candidates()
    assert member.run_ids == ("run-lstm-1x4-2", "run-lstm-1x4-1")
    (task,) = search.missing_confirmations([member])
    assert task.train.seed == 3  # the next that is neither trial's own
    search.tell_confirmation(task.number, task.train.seed, result_of(task, 9.0))
    (member,) = begin(**options, trials=2, seed=7).results.candidates()
    assert len(set(member.run_ids)) == 3
    assert begin(**options, trials=2, seed=7).missing_confirmations([member]) == []


def test_a_study_of_stored_numbers_counts_the_ngrams_of_a_trial_on_top_of_them(begin):
    search = begin(sampler="grid", hidden_size="4", num_layers="1", on_top_of="nothing,ngram", cost="stored-numbers")
    numbers = fitted_ngrams(search.corpus, "stream").tables.stored_numbers
    for task in iter(lambda: search.ask(0), None):
        parameters = closed_form(task.model, 28).parameters
        stored = parameters + numbers * (task.model.on_top_of == "ngram")
        search.tell(task.number, {**result_of(task, 5.0), "stored_numbers": stored})
        assert 10 ** search.results.trials()[task.number].values[1] == pytest.approx(stored)
        candidate = search.results.candidates()[-1]
        assert (candidate.sizes["stored_numbers"], candidate.ngram_numbers) == (stored, stored - parameters)
    assert sum(candidate.name.endswith("-on-ngram") for candidate in search.results.candidates()) == 3


def test_importances_are_shares_of_each_objective(begin):
    search = begin(trials=8)
    train_all(search)
    importances = search.results.importances()
    assert importances.keys() == {"validation perplexity", "log10 MACs per character"}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in importances.values())
