"""Ask an Optuna study for the trials of a search and tell it their results: perplexity and log10 of the cost.

Optuna's storage is the record of the trials. ``SearchStudy`` proposes trainings and records their outcomes; it does not
depend on which process trains, or where its run is recorded. ``problem`` has the costs, ``results`` reads the study.

A trial that was not told, because its command was stopped or killed, becomes WAITING again: Optuna hands it out again.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from math import inf, log10
from random import Random
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.config import ModelConfig
from pipeline.config import SearchConfig, TrainConfig, costs_of
from pipeline.errors import InputError, TmlmError, TrainingDivergedError, is_out_of_memory
from pipeline.results import OF_TRIALS
from pipeline.search.front import Candidate
from pipeline.search.study import attributes
from pipeline.search.study.problem import Problem
from pipeline.search.study.protocol import open_study
from pipeline.search.study.results import DIVERGED, Results, key_of
from pipeline.search.study.samplers import OVER_BUDGET, build_sampler, configurations, is_over_budget
from pipeline.search.study.space import Space, model_of
from pipeline.search.study.storage import open_storage, storage_errors
from pipeline.support.workers import LOSSES_ALLOWED, Loss, LossCause, Outcome
from pipeline.text.corpus import Corpus

FAILURES_IN_A_ROW = 20  # consecutive failed trials after which the search ends
UNTRAINED_IN_A_ROW = 20  # consecutive proposals without a training before a random untried configuration is enqueued
SAMPLE_CHARS = 80  # of a trial's sample text among its attributes, which optuna-dashboard does not wrap


class Proposal(NamedTuple):
    """A training that the study proposes; ``number`` is that of the trial, or of the trial to confirm with a seed."""

    number: int
    model: ModelConfig
    train: TrainConfig


class SearchStudy:
    """A study, new or opened again: proposes trainings and records their outcomes.

    Raises InputError if its problem is not possible, and if the study has another space, text or budget.
    """

    def __init__(self, config: SearchConfig, space: Space, corpus: Corpus) -> None:
        self.config, self.space, self.corpus = config, space, corpus
        self.problem = Problem(config, space, corpus)
        self.is_exhausted = False  # whether no new configuration is left to propose
        self._lost_confirmations: set[tuple[int, int]] = set()  # number and seed; left to the next command
        self._failures_in_a_row = 0  # since this command started
        self.storage = open_storage(config)
        with storage_errors(config):
            self.study = open_study(self.storage, config, space, corpus)
            self.results = Results(self.study, config, space, self.problem.vocab_size)
            done = len(self.results.trials())
            # Optuna's samplers want it of all complete trials or of none, and an earlier version wrote none
            self._is_constrained = all(map(attributes.constraints, self.results.trials(TrialState.COMPLETE)))
            self.trials = config.trials or inf  # complete ones in total, at the end of this command
            self.study.sampler = build_sampler(self.problem, done, self._is_constrained)

    def ask(self, running: int) -> Proposal | None:
        """Ask for a trial to train; None if enough are done or ``running``, or if there is nothing new to try.

        The first trial of a study has the preset's own shape, if it is in the space; trials in line come before others.
        A proposal that repeats an earlier trial is told that trial's values, and one over the budget fails; neither
        counts towards --trials. After UNTRAINED_IN_A_ROW such proposals, a random untried configuration is enqueued.
        """
        is_grid = self.config.sampler == "grid"
        if not self.results.trials() and not is_grid and (default := self.problem.default_shape()):
            self.study.enqueue_trial(default)
        untrained = 0
        while len(self.results.complete()) + running < self.trials:
            if (is_grid or untrained >= UNTRAINED_IN_A_ROW) and not self.results.trials(TrialState.WAITING):
                if (new := self._untried()) is None:
                    self.is_exhausted = True
                    return None
                self.study.enqueue_trial(new)
            with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
                try:
                    trial = self.study.ask({**self.space.searched})
                except ValueError as error:
                    raise InputError(
                        f"the study {self.config.study_name} has an enqueued trial that its space lacks: {error} "
                        "End it by Optuna's study.tell(NUMBER, state=TrialState.FAIL), or give another --study-name"
                    ) from None
            costs = costs_of(self.problem.sizes(trial.params))
            shape = model_of(trial.params, self.space).shape
            for name, value in {attributes.MODEL: shape, attributes.SEED: self.config.seed, **costs}.items():
                trial.set_user_attr(name, value)
            if not self.problem.can_afford(trial.params):
                reason = f"over --budget-macs: {costs[self.problem.axis.attribute]:,} {self.problem.axis.name}"
                self._fail(trial.number, reason, OVER_BUDGET)
            elif earlier := self._duplicate_of(trial):
                attributes.set_of_trial(self.study, trial.number, attributes.REPEATS, earlier.number)
                if earlier.state == TrialState.COMPLETE:
                    self._complete(trial.number, earlier.values)
                else:
                    self._fail(trial.number, f"the same configuration as trial {earlier.number}")
            else:
                return Proposal(trial.number, *self.problem.configs_of(trial.params, self.config.seed))
            untrained += 1
        return None

    def missing_confirmations(self, members: Iterable[Candidate]) -> list[Proposal]:
        """The trainings that candidates lack to have --confirm-seeds runs, those of the most MACs first.

        Their seeds are the unused ones that follow the seed of the first trial.
        """
        lacking = []
        by_run = {trials[0].user_attrs[attributes.RUN_ID]: trials for trials in self.results.by_configuration()}
        for member in sorted(set(members), key=lambda member: -member.sizes["macs_per_char"]):
            trials = by_run[member.run_ids[0]]
            first = trials[0]
            lost = {seed for number, seed in self._lost_confirmations if number == first.number}
            done = lost | self.results.runs_by_seed(trials).keys()
            unused = (seed for seed in count(first.user_attrs[attributes.SEED] + 1) if seed not in done)
            for seed in islice(unused, max(0, self.config.confirm_seeds - len(done))):
                lacking.append(Proposal(first.number, *self.problem.configs_of(first.params, seed)))
        return lacking

    def _untried(self) -> dict[str, Any] | None:
        """Draw searched parameters that are untried and within the budget; None if there are none."""
        trials = self.results.trials()
        tried = {key_of({**self.space.fixed, **trial.params}) for trial in trials if self._is_tried(trial)}
        random = Random(self.config.seed + len(trials))
        listed = self.space.grid() if self.config.sampler == "grid" else configurations(self.space, random)
        untried = [each for each in listed if key_of(each) not in tried and self.problem.can_afford(each)]
        chosen = random.choice(untried) if untried else None
        return None if chosen is None else {name: chosen[name] for name in self.space.searched}

    def _is_tried(self, trial: FrozenTrial) -> bool:
        """Whether a trial with --seed is complete, diverged, running or in line again, and not itself a repeat."""
        is_repeat = attributes.has(trial, attributes.REPEATS)
        return trial.user_attrs.get(attributes.SEED) == self.config.seed and not is_repeat and not is_over_budget(trial)

    def _duplicate_of(self, trial: optuna.Trial) -> FrozenTrial | None:
        """The tried trial with the parameters of this one, if any."""
        others = (each for each in self.results.trials() if each.params == trial.params and self._is_tried(each))
        return next((other for other in others if other.number != trial.number), None)

    def tell(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a trial.

        A divergence, a lack of memory or a final loss fails the trial; any other exception is raised. Raises TmlmError
        after FAILURES_IN_A_ROW failed trials.
        """
        if isinstance(outcome, Loss):
            self._fail(number, f"{outcome.reason}; it was lost before, so it is not tried again")
        elif not isinstance(outcome, Exception):
            self._tell(number, outcome)
            self._failures_in_a_row = 0
            return
        elif isinstance(outcome, TrainingDivergedError) or is_out_of_memory(outcome):
            self._fail(number, str(outcome) or "out of memory")
        else:
            raise outcome
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:  # further trials would likely fail too
            reason = self.results.trials()[number].user_attrs[attributes.FAILURE]
            raise TmlmError(
                f"the last {FAILURES_IN_A_ROW} trials have all failed, the last one (trial {number}) because: "
                f"{reason}. Everything recorded is kept: run the same command again "
                "to try other configurations, or search another space under another --study-name"
            )

    def tell_confirmation(self, number: int, seed: int, outcome: Outcome) -> None:
        """Record the outcome of another seed of a trial's configuration; raise exceptions other than divergence.

        A lost confirmation and one that ran out of memory are left to the next command.
        """
        if isinstance(outcome, Loss) or (isinstance(outcome, Exception) and is_out_of_memory(outcome)):
            self._lost_confirmations.add((number, seed))
            return
        if isinstance(outcome, Exception) and not isinstance(outcome, TrainingDivergedError):
            raise outcome
        run = None if isinstance(outcome, Exception) else {name: outcome[name] for name in DIVERGED}
        self.results.confirm(number, seed, run)

    def _tell(self, number: int, result: Mapping[str, Any]) -> None:
        """Tell the study the result of a training, with its attributes."""
        trial_id = attributes.trial_id(self.study, number)
        if result[attributes.STOPPED_BY]:
            attributes.set_of_trial(self.study, number, attributes.STOPPED_BY, result[attributes.STOPPED_BY])
        for name, value in {
            **{name: result[name] for name in OF_TRIALS if name in result},
            **({attributes.STOPPED: result[attributes.STOPPED]} if result[attributes.STOPPED] else {}),
            attributes.SAMPLE_TEXT: " ".join(result["texts"][-1].split())[:SAMPLE_CHARS],
            attributes.RUN_ID: result[attributes.RUN_ID],
        }.items():
            self.storage.set_trial_user_attr(trial_id, name, value)
        perplexity = min(result["val_perplexity"], float(self.problem.vocab_size))
        self._complete(number, [perplexity, log10(self.problem.axis.of(result))])

    def _complete(self, number: int, values: Sequence[float]) -> None:
        """Tell the study the values of a trial, and by how much its perplexity is above this command's limit."""
        if self._is_constrained:
            above = [values[0] - self.problem.max_perplexity]
            self.storage.set_trial_system_attr(attributes.trial_id(self.study, number), attributes.CONSTRAINTS, above)
        self.study.tell(number, values)

    def _fail(self, number: int, reason: str, kind: str = "error") -> None:
        trial_id = attributes.trial_id(self.study, number)
        attributes.set_of_trial(self.study, number, attributes.FAILURE_KIND, kind)
        self.storage.set_trial_user_attr(trial_id, attributes.FAILURE, reason)
        self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def count_loss(self, number: int, cause: LossCause) -> bool:
        """Count a loss of a trial, in all commands; returns whether it may be trained again."""
        losses = attributes.of_trial(self.results.trials()[number]).get(attributes.LOSSES, {})
        losses[cause] = losses.get(cause, 0) + 1
        attributes.set_of_trial(self.study, number, attributes.LOSSES, losses)
        return bool(losses[cause] <= LOSSES_ALLOWED[cause])

    def requeue_running(self, cause: LossCause = "stopped") -> list[int]:
        """Put the running trials, which no process trains any more, in line again; returns their numbers.

        ``cause`` is why they were lost: "shared" if their command was killed. One that was lost too often fails.
        """
        running = self.results.trials(TrialState.RUNNING)
        for trial in running:
            if cause == "stopped" or self.count_loss(trial.number, cause):
                self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            else:
                self._fail(trial.number, "its search was killed too often, so it is not tried again")
        return [trial.number for trial in running]
