"""Read what a reference of ``tmlm export`` names: a training, a study or an experiment, with its trainings."""

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
from pipeline.tracking.queries import FINISHED, nested_trainings, trainings
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, noted, run_of
from pipeline.training.checkpoints import Checkpoint, load_checkpoint
from pipeline.training.files import BEST_CHECKPOINT


@dataclass(frozen=True)
class Subject:
    """What is exported; ``search`` is None unless it is a study."""

    kind: Literal["training", "study", "experiment"]
    name: str
    trainings: tuple[RecordedTraining, ...]
    search: RecordedRun | None = None

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
        runs: dict[str, list[str]] = {self.trainings[0].id: []} if self.kind == "training" else {}
        for name, pick in self.picks.items():
            runs.setdefault(pick["run_id"], []).append(name)
        return runs

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


def subject_of(reference: str) -> Subject:
    """Read the training, study or experiment that the reference names.

    Runs and studies are named as everywhere (``references.find``), and come before an experiment of the same name or
    id. Raises InputError if the reference names nothing, and if what it names has not finished.
    """
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
    return Subject("experiment", experiment.name, exported)


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
