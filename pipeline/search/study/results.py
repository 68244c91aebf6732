"""Read the results of a study: its trials by outcome, the candidates for the Pareto front, importances and counts."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import COSTS, SearchConfig, costs_of
from pipeline.results import FIGURES, OF_TRIALS
from pipeline.search.front import Candidate, Trial
from pipeline.search.study import attributes
from pipeline.search.study.protocol import objectives
from pipeline.search.study.samplers import is_over_budget
from pipeline.search.study.space import PARAMETERS, Space, model_of

log = logging.getLogger(__name__)

FEWEST_TO_RANK = 4  # complete trials needed to rank the parameters
DIVERGED: Mapping[str, Any] = {attributes.RUN_ID: "", "val_perplexity": inf, "test_perplexity": inf}


class Results:
    """The results of a study, read from its storage at each call."""

    def __init__(self, study: optuna.Study, config: SearchConfig, space: Space, vocab_size: int) -> None:
        self.study, self.config, self.space, self.vocab_size = study, config, space, vocab_size
        self.confirmations: dict[tuple[int, int], Mapping[str, Any] | None] = {}  # trial, seed -> run; None: diverged
        for key, run in attributes.of_study(study).items():
            if key.startswith(attributes.CONFIRMED):
                number, seed = key.removeprefix(attributes.CONFIRMED).split(":")
                self.confirmations[int(number), int(seed)] = run

    def confirm(self, number: int, seed: int, run: Mapping[str, Any] | None) -> None:
        """Store the result of another seed of a trial's configuration; None if it diverged."""
        self.confirmations[number, seed] = run
        attributes.set_of_study(self.study, f"{attributes.CONFIRMED}{number}:{seed}", run)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in these states (default: all), in the order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def complete(self) -> list[FrozenTrial]:
        """The trained trials, which count towards --trials: without repeats of earlier ones."""
        return [trial for trial in self.trials(TrialState.COMPLETE) if not attributes.has(trial, attributes.REPEATS)]

    def failed(self) -> list[FrozenTrial]:
        """The trials whose training failed, without repeats and those over the budget."""
        tried = [trial for trial in self.trials(TrialState.FAIL) if not is_over_budget(trial)]
        return [trial for trial in tried if not attributes.has(trial, attributes.REPEATS)]

    def counts(self) -> dict[str, int]:
        """The numbers of trials by outcome, and of confirmations."""
        complete = self.complete()
        return {
            "trials": len(complete),
            "cut_short": sum(attributes.of_trial(trial)[attributes.STOPPED_BY] == "time" for trial in complete),
            "failed": len(self.failed()),
            "repeated": sum(attributes.has(trial, attributes.REPEATS) for trial in self.trials()),
            "confirmations": len(self.confirmations),
        }

    def plotted_trials(self) -> list[Trial]:
        """The complete and the failed trials, for pictures."""
        plotted, cost = [], COSTS[self.config.cost].attribute
        for trial in sorted([*self.complete(), *self.failed()], key=lambda trial: trial.number):
            if cost not in trial.user_attrs:  # failed by hand
                continue
            model = model_of(trial.params, self.space)
            value = trial.user_attrs["val_perplexity"] if trial.state == TrialState.COMPLETE else None
            plotted.append(Trial(model.cell, trial.user_attrs[cost], value, model.on_top_of == "ngram"))
        return plotted

    def candidates(self, ms_per_char: Mapping[str, float] | None = None) -> list[Candidate]:
        """The configurations of complete trials, each with all its runs, that are better than uniform guessing.

        Trials that differ only in their seed are runs of one configuration; each seed counts once. ``ms_per_char``
        maps run ids to the milliseconds in which the model generates a character.
        """
        candidates, times = [], ms_per_char or {}
        sizes = [name for name in OF_TRIALS if FIGURES[name].section == "size"]
        for trials in self.by_configuration():
            first, runs = trials[0], list(self.runs_by_seed(trials).values())
            if min(trial.user_attrs["val_perplexity"] for trial in trials) >= self.vocab_size:
                continue
            model = model_of(first.params, self.space)
            floats = [f"{name} {value:.3g}" for name, value in first.params.items() if PARAMETERS[name] is float]
            candidates.append(
                Candidate(
                    name=" ".join([model.shape, *floats]),
                    cell=model.cell,
                    num_layers=model.num_layers,
                    hidden_size=model.hidden_size,
                    sizes={name: first.user_attrs.get(name) for name in sizes} | costs_of(first.user_attrs),
                    run_ids=tuple(run[attributes.RUN_ID] for run in runs),
                    val_perplexities=tuple(run["val_perplexity"] for run in runs),
                    test_perplexities=tuple(run["test_perplexity"] for run in runs),
                    ms_per_char=tuple(times[run[attributes.RUN_ID]] for run in runs if run[attributes.RUN_ID] in times),
                )
            )
        return candidates

    def by_configuration(self) -> list[list[FrozenTrial]]:
        """The complete trials, grouped by configuration."""
        groups: dict[str, list[FrozenTrial]] = {}
        for trial in self.complete():
            groups.setdefault(key_of(trial.params), []).append(trial)
        return list(groups.values())

    def runs_by_seed(self, trials: Sequence[FrozenTrial]) -> dict[int, Mapping[str, Any]]:
        """The runs of one configuration by seed: its trials, then their confirmations."""
        runs: dict[int, Mapping[str, Any]] = {}
        for trial in trials:
            runs.setdefault(trial.user_attrs[attributes.SEED], trial.user_attrs)
        numbers = {trial.number for trial in trials}
        for (number, seed), run in self.confirmations.items():
            if number in numbers:
                runs.setdefault(seed, run or DIVERGED)
        return runs

    def importances(self) -> dict[str, dict[str, float]]:
        """Each parameter's importance (PED-ANOVA) for reaching the best tenth of the trials, by objective.

        They sum to 1. {} for fewer than FEWEST_TO_RANK trials.
        """
        importances: dict[str, dict[str, float]] = {}
        if len(self.complete()) < FEWEST_TO_RANK:
            return importances
        from optuna import importance  # imports scikit-learn, which takes half a second or more

        targets = (lambda trial: float(trial.values[0])), (lambda trial: float(trial.values[1]))
        for name, target in zip(objectives(self.config), targets, strict=True):
            with warnings.catch_warnings(action="ignore"):  # it is experimental in 4.x, and says that low is good
                evaluator = importance.PedAnovaImportanceEvaluator()
                try:
                    importances[name] = importance.get_param_importances(self.study, evaluator=evaluator, target=target)
                except (ValueError, RuntimeError) as error:
                    log.warning("No parameter importance of %s: %s", name, error)
        return importances


def key_of(parameters: Mapping[str, Any]) -> str:
    """A key of a configuration: equal parameters have equal keys."""
    return json.dumps(parameters, sort_keys=True)
