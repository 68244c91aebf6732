"""Recorded runs and trainings that nobody has recorded."""

from collections.abc import Mapping
from typing import Any

from pipeline.tracking.recorded import RecordedRun, RecordedTraining

READ_WHEN_ASKED_FOR = ("configuration", "curves", "result")

FIELDS: Mapping[str, Any] = {
    "status": "FINISHED", "tags": {}, "params": {}, "metrics": {}, "started_ms": 0, "ended_ms": 1, "artifact_uri": "",
}  # fmt: skip

SEARCH: Mapping[str, Any] = {  # the result of a search without a trial
    "study_name": "tiny", "corpus": "novel", "corpus_sha256": "a", "cost": "macs", "front": [], "picks": {},
}  # fmt: skip


def made_up_run(id: str, name: str, kind: type[RecordedRun] = RecordedRun, **values: Any) -> Any:
    """A run with these fields, and with what it would read when asked for (a configuration, curves, a result)."""
    run = kind(id, name, **{**FIELDS, **{key: values[key] for key in values if key not in READ_WHEN_ASKED_FOR}})
    vars(run).update({key: values[key] for key in READ_WHEN_ASKED_FOR if key in values})
    return run


def made_up_training(id: str, name: str, **values: Any) -> RecordedTraining:
    """A training, as ``made_up_run`` makes a run."""
    training: RecordedTraining = made_up_run(id, name, RecordedTraining, **values)
    return training
