"""The facts that earlier versions recorded in sentences, which nothing else reads.

Tags, results, checkpoints and trials are read in different layers, so this module is below all of them. A record of
this version has the facts themselves, and they count.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

STOPPED = {"--max-seconds": "time", "patience": "patience"}  # first word of ``stopped`` -> ``stopped_by``
FAILED = {"stopped by ": "stopped", "TrainingDivergedError: ": "diverged", "over --budget-macs": "over budget"}
RIVALS = {"yours so far": "yours", "": "ngram"}  # label of a model beside the picks -> its kind
PICKS = {"small": "lean"}  # name of a search's pick -> that of today
GONE = {"budget_seconds": 0.0}  # options that are gone, with their values in digests; budget_chars says the same


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of tags, a result, a checkpoint or a trial, with ``stopped_by``, and kind and message of a failure."""
    stopped, failure = (str(record.get(name) or "") for name in ("stopped", "failure"))
    found = {"stopped_by": STOPPED.get(stopped.partition(" ")[0], "")}
    if failure:
        start = next((start for start in FAILED if failure.startswith(start)), "")
        found |= {"failure.kind": FAILED.get(start, "error"), "failure.message": failure.removeprefix(start)}
    return {**found, **record}


def rival(row: Mapping[str, Any]) -> dict[str, Any]:
    """A pick or rival of a search as recorded, with its ``kind``."""
    return {**row, "kind": row.get("kind") or RIVALS.get(row["label"], "pick")}


def pick(name: str, known: Collection[str]) -> str:
    """A pick, or an alias that ends with one, by that of its names which is ``known``; else as it is."""
    for own, other in (PICKS | {new: old for old, new in PICKS.items()}).items():
        renamed = name.removesuffix(own) + other
        if name not in known and renamed in known and (name == own or name.endswith(f"-{own}")):
            return renamed
    return name


def options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training, without those that are gone."""
    return {name: value for name, value in recorded.items() if name not in GONE}


def steps(description: str) -> list[str]:
    """The ids in the description of a main job, its steps' among them, whatever stands beside them."""
    return re.findall("(?=([0-9a-f]{32}))", description)
