"""Read what a reference of ``tmlm export`` names: a training, a study or an experiment, with its trainings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import InputError
from pipeline.support.wording import listed
from pipeline.tracking.records import run_of, tag
from pipeline.tracking.references import NoSuchRunError, run_id_of
from pipeline.tracking.trainings import (
    WholeSearch,
    WholeTraining,
    experiment_of,
    finished_in,
    searches,
    where,
    whole_search,
    whole_training,
)

Kind = Literal["training", "study", "experiment"]

ORIGINS = ("trained_run", "resumed_run")  # tags of a pipeline, sample or resumption that name the run it is about


@dataclass(frozen=True)
class Subject:
    """What is exported; ``search`` is None unless it is a study."""

    kind: Kind
    name: str
    trainings: tuple[WholeTraining, ...]
    search: WholeSearch | None = None

    @property
    def finished(self) -> tuple[WholeTraining, ...]:
        return tuple(training for training in self.trainings if training.is_finished)

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
    studies, experiment = searches(), experiment_of(reference)
    meant = [f"the run {run_id}"] if run_id else []
    meant += [f"the study of the run {studies[reference]}"] if reference in studies else []
    meant += [f"the experiment {experiment[0]}"] if experiment else []
    if len(meant) > 1:
        raise InputError(f"{reference} names {listed(meant)}; give a run's whole id, or an experiment's other name")
    if run_id:
        return _of_run(run_id)
    if reference in studies:
        return _study(studies[reference])
    if experiment:
        return _experiment(*experiment)
    known = f" (studies here: {', '.join(sorted(studies))})" if studies else ""
    raise InputError(f"{reference} is no run, study or experiment of {where()}{known}; `tmlm runs` lists the runs")


def _of_run(run_id: str) -> Subject:
    """The subject of a run, or of the run that it is about. Raises InputError for any other run."""
    run = run_of(run_id)
    stage = run.data.tags.get("stage", "")
    if stage == "search":
        return _study(run_id)
    if stage == "train":
        training = whole_training(run_id)
        if not training.is_finished:
            remedy = "wait for its end" if training.status == "RUNNING" else f"tmlm train --resume {run_id}"
            raise InputError(f"{run_id} ({training.name}) has no result yet: {remedy}")
        return Subject("training", training.name, (training,))
    origin = next((found for name in ORIGINS if (found := tag(run, name))), "")
    if not origin:
        raise InputError(
            f"{run_id} ({run.info.run_name}) is a run of `tmlm {stage}`; give a training, a pipeline, a search, or the "
            "name of a study or an experiment"
        )
    return _of_run(origin)


def _study(run_id: str) -> Subject:
    search = whole_search(run_id)
    nested = {training.run_id for training in search.trainings}
    members = [run_id for member in search.result.get("front", ()) for run_id in member["run_ids"]]
    reused = tuple(
        whole_training(member) for member in members if member not in nested
    )  # nested in an earlier run of the study
    subject = Subject("study", search.study, (*search.trainings, *reused), search)
    if not search.result or not subject.finished:
        raise InputError(
            f"the study {search.study} has no result yet; the same command again finishes it: "
            f"tmlm search --study-name {search.study}"
        )
    return subject


def _experiment(experiment_id: str, name: str) -> Subject:
    subject = Subject("experiment", name, finished_in(experiment_id))
    if not subject.trainings:
        raise InputError(f"the experiment {name} ({experiment_id}) has no finished training")
    return subject
