"""The search: an Optuna study of two objectives, validation perplexity and log10 MACs per character.

Optuna's storage is the record of the trials. ``Search`` proposes what to train and takes what it came to; who trains,
and where that is recorded, it does not know. With sampler.py the only door to Optuna.

A trial carries the process that asked for it, so that the next start knows at once which trials have been left behind.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count, islice, product
from math import inf, log10
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import FIRST_RECIPE, RECIPES, STOPPED_BY_TIME, CorpusConfig, SearchConfig, TrainConfig
from pipeline.errors import InputError, RemoteError, TmlmError, TrainingDivergedError
from pipeline.search.front import Candidate, Trial
from pipeline.search.known_cost.sampler import range_of
from pipeline.search.known_cost.space import CandidateSpace
from pipeline.search.pruning import PRUNED, FinishedCurve
from pipeline.search.space import PARAMETERS, Space, configs_of, protocol_of
from pipeline.search.study.samplers import OVER_BUDGET, build_sampler, distributions, is_over_budget
from pipeline.search.study.storage import (
    CONFIRMED,
    FAILURE,
    IDENTITY,
    KILLED,
    KILLS,
    LOST,
    MLFLOW_STORE,
    PARENT,
    PROCESS,
    PROTOCOL,
    REPEATS,
    RETRY_OF,
    SEED,
    TEXT,
    artifact_folder,
    open_storage,
    storage_errors,
    storage_url,
)
from pipeline.support.processes import is_gone, is_of_this_machine, process_tags
from pipeline.text.corpus import Corpus
from pipeline.tracking import store
from pipeline.training.hardware import check_training_fits

log = logging.getLogger(__name__)

OBJECTIVES = ["validation perplexity", "log10 MACs per character"]

KILLS_ALLOWED = 1  # of a trial's process, before its configuration is left alone

FAILURES_IN_A_ROW = 20  # trials that failed for good and none that did not, after which the search ends

ANSWERS_IN_A_ROW = 20  # proposals that need no training, after which one that does is drawn at random

LARGEST_LISTED_SPACE = 100_000  # configurations that a space is listed up to

RANDOM_ATTEMPTS = 1000  # after which a space without a size is taken for searched through

FEWEST_TO_RANK = 4  # complete trials, before parameters are ranked

ORPHANED_AFTER = timedelta(days=2)  # in a shared storage; more than clocks and time zones differ

RESULT = (  # what a training came to, as far as a trial shows it
    "run_id",
    "val_perplexity",
    "test_perplexity",
    "parameters",
    "macs_per_char",
    "train_seconds",
    "best_epoch",
    "epochs",
    "stopped",
    "val_perplexities",
)

DIVERGED: Mapping[str, Any] = {"run_id": "", "val_perplexity": inf, "test_perplexity": inf}


def _name(shape: str, parameters: Mapping[str, Any]) -> str:
    """A configuration in a word: its shape, and what else was searched."""
    others = [f"{name} {value:.3g}" for name, value in parameters.items() if PARAMETERS[name] is float]
    return " ".join([shape, *others])


def _plain(value: Any) -> str:
    """A part of the protocol as a message shows it."""
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _process_of(trial: FrozenTrial) -> Mapping[str, str]:
    """The process that asked for a trial; empty where it names none."""
    return trial.user_attrs.get(PROCESS) or trial.system_attrs.get(PROCESS) or {}


def points_of(space: Space) -> CandidateSpace:
    """The searched parameters as numbers."""
    return CandidateSpace({name: range_of(name, each) for name, each in distributions(space).items()})


def configurations(space: Space) -> Iterator[dict[str, Any]] | None:
    """Every configuration of a space; None where they are too many to be listed, or a parameter is continuous."""
    points = points_of(space)
    if points.size() > LARGEST_LISTED_SPACE:
        return None
    return ({**space.fixed, **points.external(point)} for point in points.enumerate())


def draw(space: Space, random: Random) -> dict[str, Any]:
    """A random configuration, as Optuna's random sampler draws it: by ratio in hidden size and learning rate."""
    if not space.searched:
        return dict(space.fixed)
    points = points_of(space)
    (point,) = points.from_unit(np.array([[random.random() for _ in points.ranges]]))
    return {**space.fixed, **points.external(point)}


# --- the study -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proposal:
    """A training that the study asks for: the number of its trial, or of the trial that it confirms, and what to train.

    ``macs_per_char`` is the model's, exact.
    """

    number: int
    model: ModelConfig
    train: TrainConfig
    macs_per_char: int


@dataclass(frozen=True)
class Lost:
    """The outcome of a training whose process is gone."""

    reason: str


Outcome = Mapping[str, Any] | Exception | Lost

"""What a training came to: its result (at least RESULT and "texts"), what it raised, or that its process was lost."""


@dataclass(frozen=True)
class Confirmation:
    """Another run of a configuration of the front: the trial that it repeats, and what it came to."""

    number: int
    seed: int
    result: Mapping[str, Any] | None  # None: it diverged


class Search:
    """A study that is being worked on by this process: asks, tells, and remembers what has come of it."""

    def __init__(self, config: SearchConfig, space: Space, corpus: Corpus, corpus_config: CorpusConfig) -> None:
        """Create the study or find it. InputError for one of another space, text or budget, or of someone else's."""
        self.config, self.space = config, space
        self.corpus, self.corpus_config = corpus, corpus_config
        self.vocab_size = len(corpus.vocabulary)
        self.nothing_new = False
        self.dashboard_link: Callable[[str], tuple[str, Path | None]] = lambda run_id: (
            "",
            None,
        )  # a run's link and curve
        self._kills: dict[tuple[int, int], int] = {}  # of the processes of a confirmation
        self._failures_in_a_row = 0  # since this command began
        self._process = process_tags()
        self._check_budget()
        self._check_fit()
        storage = open_storage(config)
        with storage_errors(config), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            is_there = config.study_name in optuna.get_all_study_names(storage)
            self.study = optuna.create_study(
                storage=storage,
                study_name=config.study_name,
                directions=None if is_there else [StudyDirection.MINIMIZE] * 2,
                load_if_exists=True,
            )
            if PROTOCOL in self.study.user_attrs or not self._is_untouched():
                self._take_recipe()
                self._check_same(self._protocol())
            else:  # new, or its maker was killed before it had a protocol, which is therefore the last that it gets
                self.study.set_metric_names(OBJECTIVES)
                attributes = {"space_hash": space.digest, IDENTITY: uuid4().hex, PROTOCOL: self._protocol()}
                for name, value in attributes.items():
                    self.study.set_user_attr(name, value)
            self.confirmations = []
            for key, run in self.study.user_attrs.items():
                if key.startswith(CONFIRMED):
                    number, seed = key.removeprefix(CONFIRMED).split(":")
                    self.confirmations.append(Confirmation(int(number), int(seed), run))
            done = len(self.study.get_trials(deepcopy=False))
            self.study.sampler = build_sampler(config, space, self.macs_per_char, self.vocab_size, done)

    def _protocol(self) -> dict[str, Any]:
        return {
            **protocol_of(self.config, self.space),
            "corpus": self.corpus.label,
            "alphabet": self.corpus_config.alphabet,
            TEXT: self.corpus.corpus_sha256,
        }

    def _take_recipe(self) -> None:
        """Go on with a study under the training recipe that it was begun under."""
        recipe = self.study.user_attrs.get(PROTOCOL, {}).get("recipe", FIRST_RECIPE)
        if recipe not in RECIPES:
            raise InputError(
                f"--study-name {self.config.study_name} was begun by a later version (training recipe {recipe}); "
                "use that one, or give another name"
            )
        self.config = replace(self.config, recipe=recipe)

    def _check_budget(self) -> None:
        if not self.config.budget_macs:
            return
        cheapest = min(self.macs_per_char(corner) for corner in self.space.corners())
        if cheapest > self.config.budget_macs:
            raise InputError(
                f"--budget-macs {self.config.budget_macs:,} is less than the cheapest model of the space needs: "
                f"{cheapest:,} MACs per character; raise it, or lower --hidden-size"
            )

    def _check_fit(self) -> None:
        """InputError for a text too short to train on, and for models that this machine's memory can't hold."""
        spans = self.corpus.spans(self.config.preset)
        train_chars, test_chars = (spans[split][1] - spans[split][0] for split in ("train", "test"))
        for corner in self.space.corners():
            model, train = configs_of(corner, self.space, self.config, self.config.seed)
            if not self.config.budget_macs or self.macs_per_char(corner) <= self.config.budget_macs:
                workers = self.config.workers or 1  # auto: as many as the memory holds
                check_training_fits(model, train, self.vocab_size, train_chars, test_chars, workers)

    def _is_untouched(self) -> bool:
        """Whether the study has the directions of a search and nothing has happened in it."""
        return self.study.directions == [StudyDirection.MINIMIZE] * 2 and not self.trials()

    def _check_same(self, protocol: Mapping[str, Any]) -> None:
        name, where = self.config.study_name, store.shown(storage_url(self.config))
        attributes = self.study.user_attrs
        if PROTOCOL not in attributes or self.study.directions != [StudyDirection.MINIMIZE] * 2:
            raise InputError(f"--study-name {name} of {where} is not a study of this search; give another name")
        then = attributes[PROTOCOL]
        changed = [key for key in {**then, **protocol} if then.get(key) != protocol.get(key)]
        if changed:
            said = "; ".join(f"{key} was {_plain(then.get(key))}, now {_plain(protocol.get(key))}" for key in changed)
            raise InputError(
                f"--study-name {name} was begun otherwise ({said}), and its trials would not compare; "
                "give another name, or what it was begun with"
            )

    def check_store(self, identity: str, has_run: Callable[[str], bool]) -> None:
        """InputError for a study whose runs are recorded in another MLflow store; a new one gets this one's identity.

        A study of several experiments of one store, and one that was begun before studies had it, is told by its runs:
        one of them is here.
        """
        then = self.study.user_attrs.get(MLFLOW_STORE)
        if then == identity:
            return
        trials = self.trials()
        runs = [self.parent, *(trial.user_attrs.get("run_id") for trial in trials)]
        known = [run_id for run_id in runs if run_id]
        if (then or known) and not any(map(has_run, known)):
            name, where = self.config.study_name, store.shown(storage_url(self.config))
            raise InputError(
                f"--study-name {name} of {where} has its runs in another MLflow store than "
                f"{store.shown(store.address())}, and both can't be one search; set MLFLOW_TRACKING_URI to that one "
                "(a server, for several checkouts), or give another --study-name"
            )
        if then is None:
            self.study.set_user_attr(MLFLOW_STORE, identity)

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """What tells this study from another one of the same name."""
        return str(self.study.user_attrs[IDENTITY])

    @property
    def parent(self) -> str | None:
        """The MLflow run that the trials are nested in; None before the first."""
        return self.study.user_attrs.get(PARENT)

    @parent.setter
    def parent(self, run_id: str) -> None:
        self.study.set_user_attr(PARENT, run_id)

    def macs_per_char(self, parameters: Mapping[str, Any]) -> int:
        """MACs per character of a configuration: exact, before anything is trained."""
        model, _ = configs_of(parameters, self.space, self.config, self.config.seed)
        return closed_form(model, self.vocab_size).macs_per_char

    @property
    def reference(self) -> tuple[float, float]:
        """The point that hypervolumes refer to: uniform perplexity, and the largest MACs of the space."""
        return float(self.vocab_size), float(max(self.macs_per_char(corner) for corner in self.space.corners()))

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials of these states, in their order."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def complete(self) -> list[FrozenTrial]:
        """The trials that were trained to their end; those that repeat an earlier one are left out."""
        return [trial for trial in self.trials(TrialState.COMPLETE) if REPEATS not in trial.user_attrs]

    def judged(self) -> list[FrozenTrial]:
        """The trials that count: complete, or stopped as hopeless."""
        return [t for t in self.trials(TrialState.COMPLETE, TrialState.PRUNED) if REPEATS not in t.user_attrs]

    def failed(self) -> list[FrozenTrial]:
        """The trials whose training failed for good: not those that were tried again, nor those that nobody trained."""
        return [
            trial
            for trial in self.trials(TrialState.FAIL)
            if not {LOST, REPEATS} & trial.user_attrs.keys() and not is_over_budget(trial)
        ]

    def counts(self) -> dict[str, int]:
        """How many trials there are of each kind, and how many confirmations."""
        repeats = sum(1 for trial in self.trials() if REPEATS in trial.user_attrs)
        return {
            "trials": len(self.judged()),
            "hopeless": len(self.judged()) - len(self.complete()),
            "cut short": sum(1 for t in self.complete() if t.user_attrs["stopped"].startswith(STOPPED_BY_TIME)),
            "failed": len(self.failed()),
            "repeated": repeats,
            "confirmations": len(self.confirmations),
        }

    # --- asking ------------------------------------------------------------------------------------------------------

    def next_task(self, running: int) -> Proposal | None:
        """A trial to train, or None where enough are complete or ``running``, or where there is nothing new to try.

        Lost trials are tried again first. A proposal that was trained before is answered with what it came to, one
        over the budget is failed; neither counts. A sampler that has only such ones is helped out with a random new
        one.
        """
        answered = 0
        while len(self.judged()) + running < self.config.trials:
            helped = self.config.sampler == "grid" or answered >= ANSWERS_IN_A_ROW
            trial = self._ask(helped)
            if trial is None:
                self.nothing_new = True
                return None
            trial.set_user_attr(SEED, self.config.seed)
            parameters = {**self.space.fixed, **trial.params}
            macs = self.macs_per_char(parameters)
            trial.set_user_attr("macs_per_char", macs)
            if self.config.budget_macs and macs > self.config.budget_macs:
                self._fail(trial.number, f"{OVER_BUDGET}: {macs:,} MACs per character")
            elif (earlier := self._twin(trial.number, parameters)) is not None:
                trial.set_user_attr(REPEATS, earlier.number)
                self._answer(trial.number, earlier)
            else:
                return self._proposal(trial.number, parameters, self.config.seed)
            answered += 1
        return None

    def _ask(self, helped: bool) -> optuna.Trial | None:
        """A trial that names this process before it is sampled, in which a process may be killed too.

        It is the one that is in line, or else a lost one once more, or else a random new one where the sampler is
        ``helped`` (None where there is none), or else what the sampler proposes.
        """
        if not self.trials(TrialState.WAITING):
            parameters, attributes = self._lost_one() or (self._something_new() if helped else {}, {})
            if parameters is None:
                return None
            self.study.enqueue_trial(parameters, user_attrs={**attributes, PROCESS: self._process})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask(distributions(self.space))
        if trial.user_attrs.get(PROCESS) != self._process:  # another process had put it in line
            trial.set_user_attr(PROCESS, self._process)
        return trial

    def _lost_one(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Parameters and attributes to try the first lost trial again with that was not yet; None if there is none.

        One that was stopped before it had a configuration is left alone, and so is one that Optuna can't ask for, such
        as a cell that there is not, put in line by hand.
        """
        tried_again = {trial.user_attrs.get(RETRY_OF) for trial in self.trials()}
        for trial in self.trials(TrialState.FAIL):
            if LOST not in trial.user_attrs or trial.number in tried_again:
                continue
            parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}  # the first: of one in line
            try:
                for name, distribution in distributions(self.space).items():
                    distribution.to_internal_repr(parameters[name])
            except (KeyError, ValueError):
                continue
            kills = trial.user_attrs.get(KILLS, 0) + trial.user_attrs.get(KILLED, 0)
            return parameters, {RETRY_OF: trial.number, KILLS: kills}
        return None

    def _something_new(self) -> dict[str, Any] | None:
        """Searched parameters that were never tried and are within the budget, at random; None if there are none.

        With --sampler grid those of the grid.
        """
        tried = {self._key({**self.space.fixed, **trial.params}) for trial in self.trials() if self._is_tried(trial)}
        random = Random(self.config.seed + len(self.trials()))

        def is_new(each: Mapping[str, Any]) -> bool:
            affordable = not self.config.budget_macs or self.macs_per_char(each) <= self.config.budget_macs
            return affordable and self._key(each) not in tried

        listed: Iterable[dict[str, Any]] | None
        if self.config.sampler == "grid":
            grid = self.space.grid()
            listed = ({**self.space.fixed, **dict(zip(grid, each, strict=True))} for each in product(*grid.values()))
        else:
            listed = configurations(self.space)
        if listed is not None:
            left = [each for each in listed if is_new(each)]
            found = random.choice(left) if left else None
        else:
            found = next(filter(is_new, (draw(self.space, random) for _ in range(RANDOM_ATTEMPTS))), None)
        return None if found is None else {name: found[name] for name in self.space.searched}

    @staticmethod
    def _key(parameters: Mapping[str, Any]) -> str:
        return json.dumps(parameters, sort_keys=True)

    def _is_tried(self, trial: FrozenTrial) -> bool:
        """Whether a trial of the present seed is complete, stopped, diverged or under way: itself, not as a repeat."""
        if trial.user_attrs.get(SEED) != self.config.seed or REPEATS in trial.user_attrs or is_over_budget(trial):
            return False
        ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return trial.state == TrialState.RUNNING or (ended and LOST not in trial.user_attrs)

    def _twin(self, number: int, parameters: Mapping[str, Any]) -> FrozenTrial | None:
        """An earlier trial of the same configuration and seed that is complete, stopped, diverged or under way."""
        key = self._key(parameters)
        for trial in self.trials():
            same = trial.number != number and self._key({**self.space.fixed, **trial.params}) == key
            if same and self._is_tried(trial):
                return trial
        return None

    def _answer(self, number: int, earlier: FrozenTrial) -> None:
        """Tell a repeat what the earlier trial came to."""
        if earlier.state == TrialState.COMPLETE:
            self.study.tell(number, earlier.values)
        else:
            self._fail(number, f"the same as trial {earlier.number}")

    def _proposal(self, number: int, parameters: Mapping[str, Any], seed: int) -> Proposal:
        model, train = configs_of(parameters, self.space, self.config, seed)
        return Proposal(number, model, train, closed_form(model, self.vocab_size).macs_per_char)

    def curves(self) -> list[FinishedCurve]:
        """The validation curves of the complete trials."""
        return [
            FinishedCurve(trial.user_attrs["macs_per_char"], tuple(trial.user_attrs["val_perplexities"]))
            for trial in self.complete()
        ]

    # --- telling -----------------------------------------------------------------------------------------------------

    def take(self, number: int, outcome: Outcome) -> None:
        """Record what a trial came to. An exception that is no divergence is recorded and raised.

        TmlmError where FAILURES_IN_A_ROW trials have failed.
        """
        if isinstance(outcome, TrainingDivergedError | MemoryError):
            self._fail(number, str(outcome) or "out of memory")
            self._count_failure(number)
        elif isinstance(outcome, Exception):  # the disk and the store may be better next time, nothing else is
            may_pass = isinstance(outcome, TmlmError | OSError) and not isinstance(outcome, RemoteError)
            named = str(outcome) if isinstance(outcome, RemoteError) else f"{type(outcome).__name__}: {outcome}"
            self._lose(number, named, kills=0 if may_pass else 1)
            raise outcome
        elif isinstance(outcome, Lost):
            if not self._lose(number, outcome.reason, kills=1):
                self._count_failure(number)
        else:
            self._tell(number, outcome)
            self._failures_in_a_row = 0

    def take_confirmation(self, number: int, seed: int, outcome: Outcome) -> None:
        """Record what another seed of a trial's configuration came to; an exception that is no divergence is raised."""
        if isinstance(outcome, Lost | MemoryError):  # it is asked for again, but once
            self._kills[number, seed] = self._kills.get((number, seed), 0) + 1
            return
        if isinstance(outcome, Exception) and not isinstance(outcome, TrainingDivergedError):
            raise outcome
        run = None if isinstance(outcome, Exception) else {name: outcome[name] for name in DIVERGED}
        self.confirmations.append(Confirmation(number, seed, run))
        self.study.set_user_attr(f"{CONFIRMED}{number}:{seed}", run)

    def _count_failure(self, number: int) -> None:
        """Note that a trial failed for good; TmlmError after FAILURES_IN_A_ROW, since more would hardly do better."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row < FAILURES_IN_A_ROW:
            return
        reason = self.trials()[number].user_attrs[FAILURE]
        raise TmlmError(
            f"the last {FAILURES_IN_A_ROW} trials have all failed, trial {number} as follows: {reason}. All that was "
            "recorded is kept: start the same command again to try others, or search another space under another "
            "--study-name"
        )

    def _tell(self, number: int, result: Mapping[str, Any]) -> None:
        storage, trial_id = self.study._storage, self._trial_id(number)
        for name in RESULT:
            storage.set_trial_user_attr(trial_id, name, result[name])
        storage.set_trial_user_attr(trial_id, "sample_text", result["texts"][0])
        self._show_in_dashboard(trial_id, result["run_id"])
        if result["stopped"].startswith(PRUNED):
            self.study.tell(number, state=TrialState.PRUNED)
            return
        self.study.tell(number, [min(result["val_perplexity"], float(self.vocab_size)), log10(result["macs_per_char"])])

    def _fail(self, number: int, reason: str) -> None:
        self.study._storage.set_trial_user_attr(self._trial_id(number), FAILURE, reason)
        self.study.tell(number, state=TrialState.FAIL)

    def _lose(self, number: int, reason: str, kills: int) -> bool:
        """Fail a trial whose process ended before it; returns whether it is tried again.

        It is, as long as it is not what kills processes.
        """
        trial = self.study._storage.get_trial(self._trial_id(number))
        total = kills + trial.user_attrs.get(KILLS, 0)
        if total > KILLS_ALLOWED:
            self._fail(number, f"{reason}; {total} times now, so it is not tried again")
            return False
        for name, value in ((KILLED, kills), (LOST, reason)):
            self.study._storage.set_trial_user_attr(trial._trial_id, name, value)
        self._fail(number, reason)
        return True

    def _trial_id(self, number: int) -> int:
        return self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    def give_up(self, reason: str) -> None:
        """Fail the trials of this process that are under way: the next command goes on with them.

        Where a busy machine leaves no time for it, that command finds them running in a process that is gone.
        """
        for trial in self.trials(TrialState.RUNNING):
            if _process_of(trial) == self._process or self._is_orphan(trial):
                self._lose(trial.number, reason, kills=0)

    def close_the_dead(self, elsewhere: bool = False) -> list[int]:
        """Fail the trials whose process is gone, which are then tried again; returns their numbers.

        ``elsewhere``: the study's run has ended, so that in our own file nobody of another machine or container, whose
        processes can't be seen, is at work either.
        """
        lost = []
        for trial in self.trials(TrialState.RUNNING):
            process = _process_of(trial)
            here = is_of_this_machine(process)
            gone = is_gone(process) if here else bool(process) and elsewhere and self.config.storage == "auto"
            if gone or self._is_orphan(trial):
                self._lose(trial.number, f"its process (pid {process.get('process.pid', '?')}) is gone", 1)
                lost.append(trial.number)
        return lost

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        """Whether a running trial that names no process was left behind between two statements.

        Only one command of this machine works on a study (``alone``), so in our own file it was. In a storage that
        others may use, one of them may be there at this moment, but not after days.
        """
        if _process_of(trial):
            return False
        begun = trial.datetime_start
        return self.config.storage == "auto" or (begun is not None and datetime.now() - begun > ORPHANED_AFTER)

    # --- the front ---------------------------------------------------------------------------------------------------

    def candidates(self, ms_per_char: Mapping[str, float] | None = None) -> list[Candidate]:
        """The configurations that were trained to their end, each with its runs; those that learnt nothing left out.

        Trials that differ in their seed alone are runs of one configuration, and a seed counts once.
        """
        found = []
        times = ms_per_char or {}
        for trials in self._by_configuration():
            first, runs = trials[0], list(self._runs(trials).values())
            if min(trial.user_attrs["val_perplexity"] for trial in trials) >= self.vocab_size:
                continue
            model, _ = configs_of(first.params, self.space, self.config, 0)
            found.append(
                Candidate(
                    name=_name(model.shape, first.params),
                    cell=model.cell,
                    num_layers=model.num_layers,
                    hidden_size=model.hidden_size,
                    macs_per_char=first.user_attrs["macs_per_char"],
                    parameters=first.user_attrs["parameters"],
                    run_ids=tuple(run["run_id"] for run in runs),
                    val_perplexities=tuple(run["val_perplexity"] for run in runs),
                    test_perplexities=tuple(run["test_perplexity"] for run in runs),
                    ms_per_char=tuple(times[run["run_id"]] for run in runs if run["run_id"] in times),
                )
            )
        return found

    def _by_configuration(self) -> list[list[FrozenTrial]]:
        """The complete trials, those of one configuration together."""
        found: dict[str, list[FrozenTrial]] = {}
        for trial in self.complete():
            found.setdefault(self._key(trial.params), []).append(trial)
        return list(found.values())

    def _runs(self, trials: Sequence[FrozenTrial]) -> dict[int, Mapping[str, Any]]:
        """The runs of one configuration by their seeds: its trials, then its confirmations."""
        runs: dict[int, Mapping[str, Any]] = {}
        for trial in trials:
            runs.setdefault(trial.user_attrs[SEED], trial.user_attrs)
        numbers = {trial.number for trial in trials}
        for each in self.confirmations:
            if each.number in numbers:
                runs.setdefault(each.seed, each.result or DIVERGED)
        return runs

    def lacking_runs(self, members: Sequence[Candidate]) -> list[Proposal]:
        """The trainings that members of the front lack, each with the next seeds after the first trial's own."""
        lacking = []
        by_run = {trials[0].user_attrs["run_id"]: trials for trials in self._by_configuration()}
        for member in members:
            trials = by_run[member.run_ids[0]]
            first = trials[0]
            left_out = {
                seed
                for (number, seed), kills in self._kills.items()
                if number == first.number and kills > KILLS_ALLOWED
            }
            done = left_out | self._runs(trials).keys()
            unused = (seed for seed in count(first.user_attrs[SEED] + 1) if seed not in done)
            for seed in islice(unused, max(0, self.config.confirm_seeds - len(done))):
                parameters = {**self.space.fixed, **first.params}
                lacking.append(self._proposal(first.number, parameters, seed))
        return lacking

    def shown_trials(self) -> list[Trial]:
        """The trials that were trained to their end, and those that failed for good, as the pictures show them.

        One that was stopped as hopeless is left out: where it would have ended is not known.
        """
        shown = []
        for trial in sorted([*self.complete(), *self.failed()], key=lambda trial: trial.number):
            if "macs_per_char" not in trial.user_attrs:  # failed by hand
                continue
            model, _ = configs_of(trial.params, self.space, self.config, 0)
            value = trial.user_attrs["val_perplexity"] if trial.state == TrialState.COMPLETE else None
            shown.append(Trial(model.cell, trial.user_attrs["macs_per_char"], value))
        return shown

    def importances(self) -> dict[str, dict[str, float]]:
        """The share of each parameter in each objective's variation (functional ANOVA); empty for too few trials."""
        found: dict[str, dict[str, float]] = {}
        if len(self.complete()) < FEWEST_TO_RANK:
            return found
        for index, name in enumerate(OBJECTIVES):
            try:
                found[name] = self._importance(index)
            except (ValueError, RuntimeError) as error:
                log.warning("No parameter importance of %s: %s", name, error)
        return found

    def _importance(self, objective: int) -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is experimental, and fixed parameters are left out of it
            evaluator = FanovaImportanceEvaluator(seed=self.config.seed)
            return get_param_importances(
                self.study, evaluator=evaluator, target=lambda trial: float(trial.values[objective])
            )

    def _show_in_dashboard(self, trial_id: int, run_id: str) -> None:
        """The link to a trial's run, and its curve, for optuna-dashboard."""
        link, picture = self.dashboard_link(run_id)
        self.study._storage.set_trial_user_attr(trial_id, "mlflow_run", link)
        if picture is not None:
            folder = artifact_folder()
            folder.mkdir(parents=True, exist_ok=True)
            upload_artifact(
                artifact_store=FileSystemArtifactStore(folder),
                file_path=str(picture),
                study_or_trial=self.study._storage.get_trial(trial_id),
                storage=self.study._storage,
            )
