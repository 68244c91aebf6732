"""The facts that earlier versions recorded in sentences: nothing else reads one.

Tags, results, checkpoints and the trials of a study are read in different layers, so this module is below all of them
and takes plain mappings. A record of this version has the facts themselves, and they count.
"""

import re
from collections.abc import Mapping
from typing import Any

STOPPED = {"--max-seconds": "time", "patience": "patience"}  # first word of ``stopped`` -> the fact ``stopped_by``
FAILED = {  # beginning of ``failure`` -> the fact ``failure.kind``
    "stopped by ": "stopped",
    "TrainingDivergedError: ": "diverged",
    "over --budget-macs": "over budget",
}
KINDS = {"yours so far": "yours", "": "ngram"}  # label of a compared model -> its kind; the others are picks
GONE = {"budget_seconds": 0.0}  # options that are gone, with their values in digests; budget_chars says the same
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")  # of a run


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of tags, a result, a checkpoint's state or a trial's attributes, with the facts that it lacks.

    ``stopped_by`` is why a training stopped before its last epoch; ``failure.kind`` is what failed, and
    ``failure.message`` the error's own message.
    """
    stopped, failure = (str(record.get(name) or "") for name in ("stopped", "failure"))
    kind = next((kind for start, kind in FAILED.items() if failure.startswith(start)), "error")
    message = failure.partition(": ")[2] if kind == "diverged" else failure
    known = {"stopped_by": STOPPED.get(stopped.partition(" ")[0], "")}
    known |= {"failure.kind": kind, "failure.message": message} if failure else {}
    return {**known, **record}


def compared(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the models that a search has compared, with its ``kind``."""
    return {**row, "kind": row.get("kind") or KINDS.get(row["label"], "pick")}


def options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training, without those that are gone."""
    return {name: value for name, value in recorded.items() if name not in GONE}


def steps(tags: Mapping[str, str]) -> list[str]:
    """The ids of the runs that the description of a main job names, its steps among them."""
    return ID.findall(f"{tags.get('trained_run', '')} {tags.get('mlflow.note.content', '')}")
