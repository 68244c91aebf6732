"""Ask an Optuna study for the trials of a search and tell it their results: validation perplexity and log10 MACs.

Optuna's storage is the record of the trials. ``Search`` proposes trainings and records their outcomes; it does not
depend on which process trains, or where its run is recorded. ``results`` reads the study.

Each trial names the process that asked for it, so that the next command sees at once which trials a dead process left.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import count, islice, product
from math import log10
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import CorpusConfig, SearchConfig, TrainConfig
from pipeline.errors import InputError, RemoteError, TmlmError, TrainingDivergedError, is_out_of_memory
from pipeline.search.front import Candidate
from pipeline.search.space import Space, configs_of, shape_of
from pipeline.search.study import attributes, dashboard
from pipeline.search.study.attributes import (
    FAILURE,
    IDENTITY,
    KILLED,
    KILLS,
    LOST,
    MACS,
    MLFLOW_RUN,
    MODEL,
    NGRAM_ENTRIES,
    PARENT,
    PROCESS,
    REPEATS,
    RETRY_OF,
    RUN_ID,
    SAMPLE_TEXT,
    SEED,
    STOPPED,
)
from pipeline.search.study.protocol import check_store, open_study
from pipeline.search.study.results import DIVERGED, Confirmation, Results, key_of
from pipeline.search.study.samplers import (
    OVER_BUDGET,
    build_sampler,
    configurations,
    distributions,
    draw,
    is_over_budget,
)
from pipeline.search.study.storage import open_storage, storage_errors
from pipeline.support.processes import is_gone, is_of_this_machine, process_tags
from pipeline.support.workers import KILLS_ALLOWED, SHARED_KILLS, Loss
from pipeline.text.corpus import Corpus
from pipeline.training.memory import check_can_train

FAILURES_IN_A_ROW = 20  # consecutive failed trials after which the search ends
UNTRAINED_IN_A_ROW = 20  # consecutive proposals without a training before a random untried configuration is enqueued
RANDOM_ATTEMPTS = 1000  # draws without a new configuration after which a continuous space counts as exhausted
ORPHANED_AFTER = timedelta(days=2)  # in a shared storage; longer than clocks and time zones differ

# user attributes of a trial, named as in the result of its training
RESULT = ("val_perplexity", "test_perplexity", "parameters", "train_seconds")


@dataclass(frozen=True)
class Proposal:
    """A training that the study proposes, with the exact MACs per character of its model.

    ``number`` is that of the trial, or of the trial to confirm with another seed.
    """

    number: int
    model: ModelConfig
    train: TrainConfig
    macs_per_char: int


Outcome = Mapping[str, Any] | Exception | Loss
"""The outcome of a training: its result (with what ``_tell`` reads), the exception it raised, or its loss."""


class Search:
    """An open study: proposes trainings and records their outcomes."""

    def __init__(self, config: SearchConfig, space: Space, corpus: Corpus, corpus_config: CorpusConfig) -> None:
        """Create or open the study.

        Raises InputError if the text is too short, the budget too small or the models too large, and if the study has
        another space, text or budget.
        """
        self.config, self.space = config, space
        self.corpus, self.corpus_config = corpus, corpus_config
        self.vocab_size = len(corpus.vocabulary)
        self.is_exhausted = False  # whether no new configuration is left to propose
        self.dashboard_link: Callable[[str], tuple[str, Path | None]] = lambda run_id: ("", None)  # run -> URL, figure
        self._kills: dict[tuple[int, int], float] = {}  # processes that confirmations killed, by number and seed
        self._failures_in_a_row = 0  # since this command started
        self._process = process_tags()
        self._check_budget()
        self._check_memory()
        self.storage = open_storage(config)
        with storage_errors(config):
            self.study = open_study(self.storage, config, space, corpus, corpus_config)
            self.results = Results(self.study, self.config, space, self.vocab_size)
            self._notes = dashboard.Notes(self.study)
            self._study_id = self.storage.get_study_id_from_name(config.study_name)
            self.study.sampler = build_sampler(
                self.config, space, self.macs_per_char, self.vocab_size, done=len(self.results.trials())
            )

    def _check_budget(self) -> None:
        """Raise InputError if no model of the space is within --budget-macs."""
        if not self.config.budget_macs:
            return
        cheapest = min(self.macs_per_char(corner) for corner in self.space.corners())
        if cheapest > self.config.budget_macs:
            raise InputError(
                f"--budget-macs {self.config.budget_macs:,} is less than the cheapest model of the space needs: "
                f"{cheapest:,} MACs per character; raise it, or lower --hidden-size"
            )

    def _check_memory(self) -> None:
        """Raise InputError for a text too short to train on, and for models that don't fit into memory."""
        workers = self.config.workers or 1  # auto: as many as fit into memory
        for corner in self.space.corners():
            if self.is_affordable(self.macs_per_char(corner)):
                model, train = self.configs_of(corner, self.config.seed)
                check_can_train(self.corpus, model, train, workers)

    def check_store(self, identity: str, has_run: Callable[[str], bool]) -> None:
        """Raise InputError if the study's runs are in another MLflow store than the one of this ``identity``."""
        check_store(self.study, self.config, identity, has_run)

    @cached_property
    def identity(self) -> str:
        """A unique id of the study, which a later study of the same name does not share."""
        return str(attributes.of_study(self.study)[IDENTITY])

    @property
    def parent(self) -> str | None:
        """The id of the MLflow run that the trials are nested in; None before it was started."""
        return attributes.of_study(self.study).get(PARENT)

    @parent.setter
    def parent(self, run_id: str) -> None:
        attributes.set_of_study(self.study, PARENT, run_id)

    def describe(self, link: str, outcome: str) -> None:
        """Write the study's note and the link to its run for optuna-dashboard."""
        self.study.set_user_attr(MLFLOW_RUN, link)
        note = dashboard.study_note(self.config, self.space, self.corpus.label, self.vocab_size, link, outcome)
        dashboard.write_note(self.study, note)

    @cached_property
    def reference(self) -> tuple[float, float]:
        """The reference point of hypervolumes: uniform perplexity, largest MACs per character of the space."""
        return float(self.vocab_size), float(max(self.macs_per_char(corner) for corner in self.space.corners()))

    def macs_per_char(self, parameters: Mapping[str, Any]) -> int:
        """The exact MACs per character of a configuration, computed without training."""
        return closed_form(shape_of(parameters, self.space, self.config), self.vocab_size).macs_per_char

    def configs_of(self, parameters: Mapping[str, Any], seed: int) -> tuple[ModelConfig, TrainConfig]:
        """The model and training configurations of these parameters with this seed."""
        return configs_of(parameters, self.space, self.config, seed, self.corpus.train_chars)

    def is_affordable(self, macs: int) -> bool:
        """Whether a model with this many MACs per character is within --budget-macs."""
        return not self.config.budget_macs or macs <= self.config.budget_macs

    # --- ask ---------------------------------------------------------------------------------------------------------

    def next_task(self, running: int) -> Proposal | None:
        """Ask for a trial to train; None if enough are done or ``running``, or if there is nothing new to try.

        Lost trials are retried first. A proposal that repeats an earlier trial is told that trial's values, and one
        over the budget fails; neither counts towards --trials. After UNTRAINED_IN_A_ROW such proposals, a random
        untried configuration is enqueued.
        """
        untrained = 0
        while len(self.results.complete()) + running < self.config.trials:
            trial = self._ask(enqueue_new=self.config.sampler == "grid" or untrained >= UNTRAINED_IN_A_ROW)
            if trial is None:
                self.is_exhausted = True
                return None
            parameters = {**self.space.fixed, **trial.params}
            macs = self.macs_per_char(parameters)
            model = shape_of(parameters, self.space, self.config).shape
            for name, value in {MODEL: model, SEED: self.config.seed, MACS: macs}.items():
                trial.set_user_attr(name, value)
            if not self.is_affordable(macs):
                self._fail(trial.number, f"{OVER_BUDGET}: {macs:,} MACs per character")
            elif (earlier := self._duplicate_of(trial)) is not None:
                self._set_system_attrs(trial.number, {REPEATS: earlier.number})
                self._tell_repeat(trial.number, earlier)
            else:
                return self._proposal(trial.number, parameters, self.config.seed)
            untrained += 1
        return None

    def lacking_runs(self, members: Sequence[Candidate]) -> list[Proposal]:
        """The trainings that members of the front lack to have --confirm-seeds runs.

        Their seeds are the unused ones that follow the seed of the first trial.
        """
        lacking = []
        by_run = {trials[0].user_attrs[RUN_ID]: trials for trials in self.results.by_configuration()}
        for member in members:
            trials = by_run[member.run_ids[0]]
            first = trials[0]
            given_up = {
                seed
                for (number, seed), kills in self._kills.items()
                if number == first.number and kills > KILLS_ALLOWED
            }
            done = given_up | self.results.runs_by_seed(trials).keys()
            unused = (seed for seed in count(first.user_attrs[SEED] + 1) if seed not in done)
            for seed in islice(unused, max(0, self.config.confirm_seeds - len(done))):
                parameters = {**self.space.fixed, **first.params}
                lacking.append(self._proposal(first.number, parameters, seed))
        return lacking

    def _proposal(self, number: int, parameters: Mapping[str, Any], seed: int) -> Proposal:
        model, train = self.configs_of(parameters, seed)
        return Proposal(number, model, train, closed_form(model, self.vocab_size).macs_per_char)

    def _ask(self, enqueue_new: bool) -> optuna.Trial | None:
        """Ask Optuna for a trial; None if ``enqueue_new`` and there is nothing new.

        The order is: enqueued trials, lost ones to retry, a random untried one if ``enqueue_new``, else the sampler's
        proposal. Each trial is first enqueued with the id of this process, which may be killed while it samples.
        """
        trials = self.results.trials()
        if all(trial.state != TrialState.WAITING for trial in trials):
            parameters, retried = self._lost_trial(trials) or (self._untried(trials) if enqueue_new else {}, {})
            if parameters is None:
                return None
            self._enqueue(parameters, {**retried, PROCESS: self._process})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask(distributions(self.space))
        frozen = self.storage.get_trial(trial._trial_id)
        if attributes.of_trial(frozen).get(PROCESS) != self._process:  # another process enqueued it
            self._set_system_attrs(trial.number, {PROCESS: self._process})
        return trial

    def _enqueue(self, parameters: dict[str, Any], kept: Mapping[str, Any]) -> None:
        """Enqueue a trial with system attributes; ``study.enqueue_trial`` sets user attributes only."""
        system_attrs = {"fixed_params": parameters, **attributes.for_system(kept)}
        self.study.add_trial(optuna.create_trial(state=TrialState.WAITING, system_attrs=system_attrs))

    def _lost_trial(self, trials: Sequence[FrozenTrial]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The parameters and attributes to retry the first lost trial not yet retried; None if there is none.

        A trial is skipped if its parameters are incomplete or outside of the search space.
        """
        retried = {attributes.of_trial(trial)[RETRY_OF] for trial in trials if attributes.has(trial, RETRY_OF)}
        for trial in trials:
            if trial.state != TrialState.FAIL or not attributes.has(trial, LOST) or trial.number in retried:
                continue
            kept = attributes.of_trial(trial)
            parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}  # fixed_params: before sampling
            try:
                for name, distribution in distributions(self.space).items():
                    distribution.to_internal_repr(parameters[name])
            except (KeyError, ValueError):
                continue
            kills = kept.get(KILLS, 0) + kept.get(KILLED, 0)
            return parameters, {RETRY_OF: trial.number, KILLS: kills}
        return None

    def _untried(self, trials: Sequence[FrozenTrial]) -> dict[str, Any] | None:
        """Draw searched parameters that are untried and within the budget; None if there are none.

        With --sampler grid, they are drawn from the grid.
        """
        tried = {key_of({**self.space.fixed, **trial.params}) for trial in trials if self._is_tried(trial)}
        random = Random(self.config.seed + len(trials))

        def is_new(parameters: Mapping[str, Any]) -> bool:
            return key_of(parameters) not in tried and self.is_affordable(self.macs_per_char(parameters))

        listed: Iterable[dict[str, Any]] | None
        if self.config.sampler == "grid":
            grid = self.space.grid()
            listed = (
                {**self.space.fixed, **dict(zip(grid, values, strict=True))} for values in product(*grid.values())
            )
        else:
            listed = configurations(self.space)
        if listed is not None:
            untried = [parameters for parameters in listed if is_new(parameters)]
            chosen = random.choice(untried) if untried else None
        else:
            chosen = next(filter(is_new, (draw(self.space, random) for _ in range(RANDOM_ATTEMPTS))), None)
        return None if chosen is None else {name: chosen[name] for name in self.space.searched}

    def _is_tried(self, trial: FrozenTrial) -> bool:
        """Whether a trial with --seed is complete, diverged or running, and not itself a repeat."""
        kept = attributes.of_trial(trial)
        if kept.get(SEED) != self.config.seed or REPEATS in kept or is_over_budget(trial):
            return False
        ended = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
        return trial.state == TrialState.RUNNING or (ended and LOST not in kept)

    def _duplicate_of(self, trial: optuna.Trial) -> FrozenTrial | None:
        """The tried trial with the parameters of this one, if any."""
        parameters = trial.params
        for other in self.results.trials():
            if other.params == parameters and other.number != trial.number and self._is_tried(other):
                return other
        return None

    # --- tell --------------------------------------------------------------------------------------------------------

    def take(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a trial.

        A divergence or a lack of memory fails the trial; any other exception fails it too and is raised. Raises
        TmlmError after FAILURES_IN_A_ROW failed trials.
        """
        if isinstance(outcome, Loss):
            if not self._lose(number, outcome.reason, kills=outcome.kills):
                self._count_failure(number)
        elif not isinstance(outcome, Exception):
            self._tell(number, outcome)
            self._failures_in_a_row = 0
        elif isinstance(outcome, TrainingDivergedError) or is_out_of_memory(outcome):
            self._fail(number, str(outcome) or "out of memory")
            self._count_failure(number)
        else:  # an error of the disk or the store may not recur; any other counts as a kill
            is_transient = isinstance(outcome, TmlmError | OSError) and not isinstance(outcome, RemoteError)
            reason = str(outcome) if isinstance(outcome, RemoteError) else f"{type(outcome).__name__}: {outcome}"
            self._lose(number, reason, kills=0 if is_transient else 1)
            raise outcome

    def take_confirmation(self, number: int, seed: int, outcome: Outcome) -> None:
        """Record the outcome of another seed of a trial's configuration; raise exceptions other than divergence.

        A lost confirmation and one that ran out of memory are not recorded, so that they are retried.
        """
        if isinstance(outcome, Loss) or (isinstance(outcome, Exception) and is_out_of_memory(outcome)):
            kills = outcome.kills if isinstance(outcome, Loss) else 1
            self._kills[number, seed] = self._kills.get((number, seed), 0) + kills  # retried KILLS_ALLOWED times
            return
        if isinstance(outcome, Exception) and not isinstance(outcome, TrainingDivergedError):
            raise outcome
        run = None if isinstance(outcome, Exception) else {name: outcome[name] for name in DIVERGED}
        self.results.confirm(Confirmation(number, seed, run))

    def _count_failure(self, number: int) -> None:
        """Count a failed trial. Raises TmlmError after FAILURES_IN_A_ROW, as further trials would likely fail too."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row < FAILURES_IN_A_ROW:
            return
        reason = self.results.trials()[number].user_attrs[FAILURE]
        raise TmlmError(
            f"the last {FAILURES_IN_A_ROW} trials have all failed, the last one (trial {number}) because: {reason}. "
            "Everything recorded is kept: run the same command again to try other configurations, or search another "
            "space under another --study-name"
        )

    def _trial_id(self, number: int) -> int:
        """The storage's id of a trial, which any process may have asked for."""
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _set_user_attrs(self, number: int, values: Mapping[str, Any]) -> None:
        trial_id = self._trial_id(number)
        for name, value in values.items():
            self.storage.set_trial_user_attr(trial_id, name, value)

    def _set_system_attrs(self, number: int, values: Mapping[str, Any]) -> None:
        trial_id = self._trial_id(number)
        for name, value in attributes.for_system(values).items():
            self.storage.set_trial_system_attr(trial_id, name, value)

    def _tell(self, number: int, result: Mapping[str, Any]) -> None:
        """Tell the study the result of a training, with its attributes, note and figure."""
        link, curve = self.dashboard_link(result[RUN_ID])
        entries = result.get("stored_numbers", result["parameters"]) - result["parameters"]
        self._set_user_attrs(
            number,
            {
                **{name: result[name] for name in RESULT},
                **({NGRAM_ENTRIES: entries} if entries else {}),
                **({STOPPED: result[STOPPED]} if result[STOPPED] else {}),
                SAMPLE_TEXT: dashboard.one_line(result["texts"][-1]),
                MLFLOW_RUN: link,
                RUN_ID: result[RUN_ID],
            },
        )
        trial = self.storage.get_trial(self._trial_id(number))
        self._write_note(trial._trial_id, dashboard.trial_note(trial.user_attrs[MODEL], result, link))
        if curve is not None:
            dashboard.attach_to_trial(self.study, trial, curve)
        self.study.tell(number, [min(result["val_perplexity"], float(self.vocab_size)), log10(result[MACS])])

    def _write_note(self, trial_id: int, note: str) -> None:
        dashboard.write_note(self.study, note, trial_id, self._notes.read())

    def _tell_repeat(self, number: int, earlier: FrozenTrial) -> None:
        """Tell the values of the earlier trial for one that repeats it; fail it if the earlier trial has none."""
        if earlier.state == TrialState.COMPLETE:
            note = f"The same configuration as trial {earlier.number}, whose values it has; nothing was trained."
            self._write_note(self._trial_id(number), note)
            self.study.tell(number, earlier.values)
        else:
            self._fail(number, f"the same configuration as trial {earlier.number}")

    def _fail(self, number: int, reason: str, lost: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._set_system_attrs(number, lost)
        self._set_user_attrs(number, {FAILURE: reason})
        self.study.tell(number, state=TrialState.FAIL)

    # --- retry -------------------------------------------------------------------------------------------------------

    def give_up(self, reason: str) -> None:
        """Fail the running trials of this process, so that the next command retries them.

        If the process is killed before, the next command does it (``close_the_dead``).
        """
        for trial in self.results.trials(TrialState.RUNNING):
            if attributes.of_trial(trial).get(PROCESS) == self._process or self._is_orphan(trial):
                self._lose(trial.number, reason, kills=0)

    def close_the_dead(self, elsewhere: bool = False) -> list[int]:
        """Fail the trials whose process died, so that they are retried; returns their numbers.

        ``elsewhere`` is whether the study's run has ended. With the default storage, this means that processes of other
        machines or containers, which can't be seen from here, have ended too.
        """
        lost = []
        for trial in self.results.trials(TrialState.RUNNING):
            process = attributes.of_trial(trial).get(PROCESS, {})
            here = is_of_this_machine(process)
            gone = is_gone(process) if here else bool(process) and elsewhere and self.config.storage == "auto"
            if gone or self._is_orphan(trial):
                self._lose(trial.number, f"its process (pid {process.get('process.pid', '?')}) is gone", SHARED_KILLS)
                lost.append(trial.number)
        return lost

    def _lose(self, number: int, reason: str, kills: float) -> bool:
        """Fail a trial whose process ended before it; returns whether it will be retried.

        It will not if it has killed more than KILLS_ALLOWED processes.
        """
        trial = self.results.trials()[number]
        total = kills + attributes.of_trial(trial).get(KILLS, 0)
        if total > KILLS_ALLOWED:
            self._fail(number, f"{reason}; it was lost before, so it is not tried again")
            return False
        self._fail(number, reason, {KILLED: kills, LOST: reason})
        return True

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        """Whether a running trial names no process because its process died before recording itself.

        With the default storage it did, as ``study_lock`` admits one command of this machine. In a shared storage, the
        command of another machine may be about to do so, but not for days.
        """
        if attributes.of_trial(trial).get(PROCESS):
            return False
        started = trial.datetime_start
        return self.config.storage == "auto" or (started is not None and datetime.now() - started > ORPHANED_AFTER)
