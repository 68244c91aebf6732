"""Read what ``tmlm export`` is given: a training, several of one text, a study or an experiment."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pipeline.config import COSTS, CostAxis
from pipeline.errors import InputError
from pipeline.results import SEARCH, PickResult, Rival
from pipeline.support.wording import listed
from pipeline.tracking import artifacts, references, store
from pipeline.tracking.names import WEIGHTS
from pipeline.tracking.queries import FINISHED, has_tag, nested_trainings, search_runs, trainings
from pipeline.tracking.recorded import SHORT_ID, RecordedRun, RecordedTraining, noted, run_of
from pipeline.training.checkpoints import Checkpoint, load_checkpoint
from pipeline.training.files import BEST_CHECKPOINT

LONGEST_NAME = 100  # characters of a training's name in that of a folder


@dataclass(frozen=True)
class Subject:
    """What is exported; ``search`` is None unless it is a study.

    ``models`` are those of several trainings whose models are exported: of several seeds, the best. ``studies`` are the
    searches of an experiment that have a front.
    """

    kind: Literal["training", "trainings", "study", "experiment"]
    name: str
    trainings: tuple[RecordedTraining, ...]
    search: RecordedRun | None = None
    models: tuple[RecordedTraining, ...] = ()
    studies: tuple[RecordedRun, ...] = ()

    @property
    def finished(self) -> tuple[RecordedTraining, ...]:
        return tuple(training for training in self.trainings if training.result)

    @property
    def axis(self) -> CostAxis:
        """The cost that perplexity is shown against: a study's own."""
        return COSTS[self.search.result["cost"] if self.search else "macs"]

    @property
    def picks(self) -> Mapping[str, PickResult]:
        """What a study recommends, by name."""
        return self.search.result.get("picks", {}) if self.search else {}

    @property
    def chosen(self) -> Mapping[str, list[str]]:
        """The trainings whose models are exported: id -> names of a study's picks; none of an experiment."""
        runs: dict[str, list[str]] = {run.id: [] for run in self.models or self.trainings[: self.kind == "training"]}
        for name, pick in self.picks.items():
            runs.setdefault(pick["run_id"], []).append(name)
        return runs

    @property
    def folders(self) -> Mapping[str, list[str]]:
        """The folders of the exported models: id of the training -> their paths, by the picks or names that it has."""
        if not self.models:
            return {id: [f"models/{name}" for name in names] or ["model"] for id, names in self.chosen.items()}
        names = [re.sub(r"[^\w.+-]+", "-", run.name).lstrip(".")[:LONGEST_NAME] for run in self.models]
        often, named = Counter(names), zip(self.models, names, strict=True)
        return {run.id: [f"models/{name}{f'-{run.id[:SHORT_ID]}' * (often[name] > 1)}"] for run, name in named}

    @cached_property
    def checkpoints(self) -> Mapping[str, tuple[Checkpoint, Path]]:
        """The best checkpoint of each that has weights, and its path; InputError if that is missing or damaged."""
        kept = [training.id for training in self.trainings if training.id in self.chosen and not training.tag(WEIGHTS)]
        paths = ((run_id, artifacts.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}")) for run_id in kept)
        return {run_id: (load_checkpoint(path), path) for run_id, path in paths}

    @property
    def compared(self) -> Sequence[Rival]:
        """A study's picks and their rivals, as the search recorded them."""
        return (self.search and self.search.result.get("compared")) or ()


def subject_of(*given: str) -> Subject:
    """Read the training, study or experiment that a reference names, or the trainings that several do.

    Runs and studies are named as everywhere (``references.find``), and come before an experiment of the same name or
    id. Raises InputError if a reference names nothing, if what it names has not finished, and as ``_several`` does.
    """
    if len(given) != 1:
        return _several(given)
    (reference,) = given
    try:
        return _of_run(references.find(reference))
    except references.NoSuchRunError as error:
        missing = error
    with store.store_errors():
        experiments = store.client().search_experiments()
    experiment = next((each for each in experiments if reference in (each.name, each.experiment_id)), None)
    if experiment is None:
        raise InputError(f"{missing}, or the name of an experiment")
    found = trainings(FINISHED, order="start_time ASC", experiments=[experiment.experiment_id])
    if not (exported := tuple(training for training in found if training.result and training.configuration)):
        raise InputError(f"the experiment {experiment.name} ({experiment.experiment_id}) has no finished training")
    searches = search_runs(
        has_tag("stage", SEARCH), FINISHED, order="start_time ASC", experiments=[experiment.experiment_id]
    )
    studies = tuple(search for search in searches if search.result.get("front"))
    return Subject("experiment", experiment.name, exported, studies=studies)


def _several(given: Sequence[str]) -> Subject:
    """The subject of several trainings, or runs of several seeds.

    Raises InputError for too few or too many, for a study or an experiment among them, for a training that is given
    twice, and for trainings on different texts or by different alphabets.
    """
    most = references.MOST_TOGETHER
    if not 2 <= len(given) <= most:
        raise InputError(f"{len(given)} to export; give one run, study or experiment, or 2 to {most} trainings")
    try:
        found = [references.find(reference) for reference in given]
    except references.NoSuchRunError as error:
        raise InputError(f"{error}; an experiment is exported alone") from None
    if studies := [f"study {run.study}" for run in found if run.stage == SEARCH]:
        raise InputError(f"{listed(studies)} can't be exported with others: give a study alone, or trainings alone")
    parts = [_of_run(run) for run in found]
    exported = [training for part in parts for training in part.trainings]
    keys = {run.id: (run.config_id, run.seed, run.facts["stopped_by"]) for run in exported}
    often = Counter(keys[run.id] for run in exported)
    if twice := {run.id: references.describe_run(run) for run in exported if often[keys[run.id]] > 1}:
        raise InputError(f"{'; '.join(twice.values())}: the same training; give it once")
    models = tuple(part.trainings[0] for part in parts)
    if len({(run.corpus_sha256, run.configuration["corpus"]["alphabet"]) for run in models}) > 1:
        texts = [f"{references.describe_run(run)}, has the text {run.corpus_sha256[:SHORT_ID]}" for run in models]
        raise InputError(f"one page has trainings on one text, by one alphabet: {'; '.join(texts)}")
    return Subject("trainings", listed([part.name for part in parts]), tuple(exported), models=models)


def _of_run(run: RecordedRun) -> Subject:
    """The subject of a run: its study if it is a search, else the training that it is about, or all of its seeds."""
    if run.stage == SEARCH:
        return _study(run)
    training = references.training_behind(run)
    others = [each for each in nested_trainings(run.id) if each.result and each.id != training.id]  # of several seeds
    if not training.result:
        remedy = "wait for its end" if training.state == "running" else f"tmlm train --resume {training.id}"
        raise InputError(f"{training.id} ({training.name}) has no result yet: {remedy}")
    if not training.configuration:
        raise InputError(f"{training.id} ({training.name}) has no options that this version can read")
    name, parts = run.name if others else training.name, (training, *others)
    return Subject("training", name, tuple(noted(part, run.note) for part in parts))


def _study(search: RecordedRun) -> Subject:
    nested = [training for training in nested_trainings(search.id) if training.configuration]
    known = {training.id for training in nested}
    members = [run_id for member in search.result.get("front", ()) for run_id in member["run_ids"]]
    earlier = [references.training_behind(run_of(member)) for member in members if member not in known]
    subject = Subject("study", search.study, (*nested, *(run for run in earlier if run.configuration)), search)
    if strange := {pick["run_id"] for pick in subject.picks.values()} - {each.id for each in subject.finished}:
        raise InputError(f"the study {search.study} picks {listed(sorted(strange))}, no finished training of it")
    if not search.result or not subject.finished:
        again = f"tmlm search --study-name {search.study}"
        raise InputError(f"the study {search.study} has no result yet; the same command again finishes it: {again}")
    return subject
