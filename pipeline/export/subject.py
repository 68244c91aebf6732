"""Read what a reference of ``tmlm export`` names: a training, a study or an experiment, with its trainings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.support.wording import listed
from pipeline.tracking.recorded import (
    NoSuchRunError,
    RecordedRun,
    RecordedTraining,
    has_tag,
    nested_trainings,
    run_id_of,
    run_of,
    search_runs,
    training_of,
    trainings,
)
from pipeline.tracking.store import client, setup, shown, store_errors

Kind = Literal["training", "study", "experiment"]
ORIGINS = ("trained_run", "resumed_run")  # tags of a pipeline, sample or resumption that name the run it is about


@dataclass(frozen=True)
class Subject:
    """What is exported; ``search`` is None unless it is a study."""

    kind: Kind
    name: str
    trainings: tuple[RecordedTraining, ...]
    search: RecordedRun | None = None

    @property
    def finished(self) -> tuple[RecordedTraining, ...]:
        return tuple(training for training in self.trainings if training.result)

    @property
    def picks(self) -> Mapping[str, Mapping[str, Any]]:
        """What a study recommends: name -> run id and sentence."""
        picks: Mapping[str, Mapping[str, Any]] = self.search.result.get("picks", {}) if self.search else {}
        return picks


def subject_of(reference: str) -> Subject:
    """Read the training, study or experiment that the reference names.

    A run is named as everywhere (by id, prefix or ``latest``), a study by its name, an experiment by its name or id.
    Raises InputError if the reference names nothing or several of these, and if what it names has not finished.
    """
    try:
        run_id = run_id_of(reference)
    except NoSuchRunError:
        run_id = ""
    studies: dict[str, str] = {}  # name -> id of the study's latest run
    for run in search_runs(has_tag("stage", "search"), order="start_time DESC"):
        studies.setdefault(run.study, run.id)
    with store_errors():
        experiments = {name: each for each in client().search_experiments() for name in (each.name, each.experiment_id)}
    study, experiment = studies.get(reference), experiments.get(reference)
    named = (("run", run_id), ("study of the run", study), ("experiment", experiment and experiment.experiment_id))
    meant = [f"the {what} {id}" for what, id in named if id]
    if len(meant) > 1:
        raise InputError(f"{reference} names {listed(meant)}; give a run's whole id, or an experiment's other name")
    if run_id or study:
        return _of_run(run_id or str(study))
    if experiment is None:
        known = f" (studies here: {', '.join(sorted(studies))})" if studies else ""
        where = shown(setup().uri)
        raise InputError(f"{reference} is no run, study or experiment of {where}{known}; `tmlm runs` lists the runs")
    finished = "attributes.status = 'FINISHED'"
    found = trainings(finished, order="start_time ASC", experiments=[experiment.experiment_id])
    if not (exported := tuple(training for training in found if training.result)):
        raise InputError(f"the experiment {experiment.name} ({experiment.experiment_id}) has no finished training")
    return Subject("experiment", experiment.name, exported)


def _of_run(run_id: str) -> Subject:
    """The subject of a run, or of the run that it is about. Raises InputError for any other run."""
    run = run_of(run_id)
    if run.stage == "search":
        return _study(run)
    if isinstance(run, RecordedTraining):
        if not run.result:
            remedy = "wait for its end" if run.state == "running" else f"tmlm train --resume {run_id}"
            raise InputError(f"{run_id} ({run.name}) has no result yet: {remedy}")
        return Subject("training", run.name, (run,))
    origin = next((found for name in ORIGINS if (found := run.tag(name))), "")
    if not origin:
        raise InputError(
            f"{run_id} ({run.name}) is a run of `tmlm {run.stage}`; give a training, a pipeline, a search, or the "
            "name of a study or an experiment"
        )
    return _of_run(origin)


def _study(search: RecordedRun) -> Subject:
    nested = [training for training in nested_trainings(search.id) if training.configuration]
    known = {training.id for training in nested}
    members = [run_id for member in search.result.get("front", ()) for run_id in member["run_ids"]]
    earlier = [training_of(member) for member in members if member not in known]  # of an earlier run of the study
    subject = Subject("study", search.study, (*nested, *earlier), search)
    if not search.result or not subject.finished:
        again = f"tmlm search --study-name {search.study}"
        raise InputError(f"the study {search.study} has no result yet; the same command again finishes it: {again}")
    return subject
