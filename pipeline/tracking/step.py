"""Run a stage in a tracked run, or reuse the result of an earlier run with the same key.

A step returns a flat dict, which is also an artifact of its run, result.json. It is reused while all that it depends on
is unchanged: its configuration, the text, the RECIPE of its preset and the result of the previous step.
"""

import json
import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar

import torch

from pipeline.errors import InputError
from pipeline.tracking import artifacts, liveness, names, queries, runs
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.store import REFUSALS, client, set_tags, store_errors, store_reason
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.files import BEST_CHECKPOINT

log = logging.getLogger(__name__)

CURVES_PLOT = "plots/perplexity.png"

R = TypeVar("R", bound=Mapping[str, Any])  # a result


@dataclass(frozen=True)
class Step(Generic[R]):
    """A finished stage: its run, its result, and whether the result was reused from an earlier run."""

    stage: str
    run_id: str
    result: R = field(repr=False)
    reused: bool = False


def step_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """The digest of all that a step's result depends on: torch's version and ``inputs``, which name text and RECIPE."""
    depends = {"stage": stage, "torch": torch.__version__, **inputs}
    return sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def finished_step(stage: str, key: str) -> Step[Any] | None:
    """The latest finished run with this key as a step to reuse; None if there is none whose artifacts are intact."""
    found = queries.latest(queries.has_tag("step_key", key), queries.FINISHED)
    result = _reusable(found) if found else None
    return Step(stage, found.id, result, reused=True) if found and result else None


def leave_out_repeats(parent: str, needed: Collection[str]) -> None:
    """Keep one finished training for each step key in a run, if possible one of ``needed``; mark others FAILED.

    A node that was cut off from its cluster may finish a training that another node has repeated meanwhile. FAILED runs
    are not listed as finished trainings; the tag duplicate_of names the run that counts. Trainings that are still
    RUNNING have lost their process or could not record their end: they are closed. Raises as ``store_errors``.
    """
    with store_errors():
        liveness.close_nested(parent, lambda run: True, "its end was not recorded, and it was not needed any more")
        kept: dict[str, str] = {}
        finished = [run for run in queries.nested_trainings(parent) if run.state == "finished"]
        for run in sorted(finished, key=lambda run: run.id not in needed):
            if (first := kept.setdefault(run.tag("step_key") or run.id, run.id)) != run.id:
                failure = names.failure_tags(f"a duplicate: the run {first} of the same training counts")
                set_tags(run.id, {"duplicate_of": first, **failure})
                client().set_terminated(run.id, "FAILED", run.ended_ms)


def _reusable(run: RecordedRun) -> dict[str, Any] | None:
    """A step's result with its checkpoint's present path; None if it, checkpoint or curves are missing or damaged."""
    if run.tag(names.WEIGHTS) and run.result:
        return {**run.result, "checkpoint": None}
    if run.result.get("checkpoint") is None:
        return dict(run.result) or None
    try:
        checkpoint = artifacts.artifact_path(run.id, f"checkpoints/{BEST_CHECKPOINT}")  # the folder may have moved
        load_checkpoint(checkpoint)
        has_curves = artifacts.artifact_path(run.id, CURVES_PLOT).is_file()
    except (InputError, *REFUSALS) as error:  # damaged or deleted artifacts, or an unreachable artifact store
        log.warning("the training %s is repeated: its artifacts can't be read: %s", run.id, store_reason(error))
        return None
    return {**run.result, "checkpoint": str(checkpoint)} if has_curves else None


def parent_run(
    stage: str, name: str, tags: Mapping[str, Any], earlier: RecordedRun | None
) -> AbstractContextManager[runs.TrackedRun]:
    """Start the parent run, or reopen ``earlier``, the parent run of the same command, and close what it has lost."""
    if earlier is not None:
        with store_errors():
            lost = "the command that it was for has ended"
            liveness.close_nested(earlier.id, lambda run: liveness.process_state(run) == "remote", lost)
    return runs.tracked_run(stage, name, tags, resumed=earlier)
