"""Delete recorded runs and studies, and the kept copies of texts.

What goes is written to a journal first, so that the next call completes a deletion that was killed.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.config import SearchConfig
from pipeline.errors import InputError
from pipeline.search.study import attributes, storage
from pipeline.support.files import command_lock, write_atomically
from pipeline.support.records import ListOf, Number, String, record
from pipeline.text.corpus import kept_copies
from pipeline.text.downloads import cache_dir, is_address
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import liveness, recorded, references, registry, store
from pipeline.tracking.delete import going_with, item, items_of, remove, whole_of
from pipeline.tracking.recorded import RecordedRun, has_tag

DELETED = record(kind=String, name=String, id=String, path=String, megabytes=Number)
STAYED = record(name=String, id=String, job=String, reason=String)
JOURNAL = record(deleted=ListOf[DELETED], stayed=ListOf[STAYED], megabytes=Number)


def delete(
    named: Sequence[str],
    text: str = "",
    dry_run: bool = False,
    confirm: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:
    """Delete the runs and studies that are named, and what the cache keeps of a text.

    Returns what is deleted and what stays; ``confirm`` is called with that before, and may raise. ``dry_run`` deletes
    nothing. A deletion that was cut off is completed in place of this one. Raises InputError for what can't be deleted.
    """
    studies = store.shown(storage.storage_url(storage.with_storage(SearchConfig())))
    place = sha256(f"{store.shown(store.address())}\n{studies}".encode()).hexdigest()[:16]
    journal = store.root() / "mlruns" / f".delete-{place}.json"
    with command_lock(journal.with_suffix(".lock"), "another `tmlm delete` is running here; wait for its end"):
        is_cut_off = journal.exists()
        if is_cut_off:
            store.look()  # so that MLflow uses the store
            found = recorded.as_dict(json.loads, journal.read_text(), JOURNAL)
        else:
            found = _found(named, text, studies)
        if not found:
            raise InputError(f"{journal} is damaged: move it away; what it names may be half deleted")
        _refuse_running(found)
        result = {**found, "dry_run": dry_run, "completed": is_cut_off}
        if dry_run:
            return result
        if not is_cut_off:
            confirm(result)
            _refuse_running(found)
            write_atomically(journal, json.dumps(found).encode())
        for each in found["stayed"]:
            store.set_tags(each["id"], {"mlflow.parentRunId": each["job"]})
        for each in found["deleted"]:
            storage.delete_study(each["name"], each["id"]) if each["kind"] == "study" else remove(each)
        if any(each["kind"] == "model version" for each in found["deleted"]):
            registry.describe_registered_model()
        journal.unlink()
    return result


def _refuse_running(found: dict[str, Any]) -> None:
    ids = {each["id"] for each in found["deleted"] if each["kind"] == "run"}
    for run in liveness.running_runs() if ids else ():
        if run.id in ids:
            recorded.refuse_running(run, references.describe_run(run))


def _found(named: Sequence[str], text: str, storage_in_use: str) -> dict[str, Any]:
    """What is deleted with these, and what stays; with reasons and notes. Raises InputError as ``delete`` does."""
    notes, studies, wholes = list[str](), dict[str, str](), list[RecordedRun]()
    if named:
        liveness.close_the_dead()
    for reference in named:
        try:
            run = references.find(reference)
            wholes.append(whole_of(run))
            if wholes[-1] is not run:
                notes.append(f"{run.name} is a step of {wholes[-1].name}, which is deleted as a whole")
        except references.NoSuchRunError:
            if not (kept := storage.kept_study(reference)):
                raise
            studies[reference] = parent = kept.get(attributes.PARENT, "")
            wholes += filter(None, [recorded.find_run(parent)])  # which is marked as deleted
    runs, stayed = going_with(wholes) if wholes else ([], [])

    items = []
    studies |= {run.study: run.id for run in runs if run.stage == "search"}
    for name, run_id in studies.items():
        kept = storage.kept_study(name)
        if kept and kept.get(attributes.PARENT, run_id) == run_id:
            items.append(item("study", name, kept[attributes.IDENTITY]))
            notes.insert(0, f"The trials of {name} are in {storage_in_use}")
        else:
            notes.append(f"{storage_in_use} has no trials of {name}; is {storage.STORAGE_VARIABLE} another storage?")
    items += items_of(runs) if runs else []
    if any(each["kind"] == "run" and not each["path"] for each in items):
        notes.append("On a server, runs are only marked as deleted; whoever runs it frees the space with `mlflow gc`")
    if text:
        items += _copies(text, notes)
    if not items:
        reasons = "; ".join(f"{each['name']} is {each['reason']}: name that, too" for each in stayed)
        raise InputError(reasons or "give a run or a study to delete, or --text NAME")
    size = sum(each["megabytes"] for each in items)
    return {"deleted": items, "stayed": stayed, "notes": notes, "megabytes": size}


def _copies(text: str, notes: list[str]) -> list[dict[str, Any]]:
    """What the cache keeps of a text; adds to the notes what its trainings need without."""
    paths, digests = kept_copies(text)
    if not paths:
        raise InputError(f"--text {text}: the cache {cache_dir()} has no such text; `tmlm doctor` lists its texts")
    trained = [run for each in digests if store.look() for run in recorded.trainings(has_tag("corpus.sha256", each))]
    for source in sorted({run.tag("corpus.source") for run in trained}):
        is_there = text in KNOWN_TEXTS or is_address(source) or Path(source).is_file()
        gone = "" if is_there else ", which is not there"
        notes.append(f"To evaluate or resume the trainings on {text}, {source} will be read{gone}")
    return [item("text", text, path.name, path) for path in paths]
