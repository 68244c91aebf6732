"""Delete recorded runs and studies, and the kept copies of texts.

What goes is written to a journal first, so that the next call completes a deletion that was killed.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import SearchConfig
from pipeline.errors import InputError
from pipeline.search.study import attributes, storage
from pipeline.support.files import command_lock, write_atomically
from pipeline.support.records import ListOf, String, record
from pipeline.text.corpus import kept_copies, kept_facts
from pipeline.text.downloads import cache_dir, is_address
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import liveness, recorded, references, store
from pipeline.tracking.delete import going_with, item, items_of, own_store, remove, tidy, whole_of
from pipeline.tracking.recorded import RecordedRun, has_tag

JOURNAL = ".delete-journal.json"
ITEM = record(kind=String, name=String, id=String, path=String)


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
    journal = store.root() / "mlruns" / JOURNAL
    with command_lock(journal.with_name(".delete.lock"), "another `tmlm delete` is running here; wait for its end"):
        is_cut_off = journal.exists()
        found = _cut_off(journal) if is_cut_off else _found(named, text)
        result = {**found, "dry_run": dry_run, "completed": is_cut_off}
        if dry_run:
            return result
        if not is_cut_off:
            confirm(result)
            write_atomically(journal, json.dumps(found).encode())
        for each in found["stayed"]:
            store.set_tags(each["id"], {"mlflow.parentRunId": each["job"]})
        for each in found["deleted"]:
            storage.delete_study(each["name"], each["id"]) if each["kind"] == "study" else remove(each)
        if runs := {each["id"] for each in found["deleted"] if each["kind"] == "run"}:
            tidy(runs)
        journal.unlink()
    return result


def _places() -> dict[str, str]:
    """The store and the studies' storage in use."""
    studies = storage.storage_url(storage.with_storage(SearchConfig()))
    return {"store": store.shown(store.address()), "storage": store.shown(studies)}


def _cut_off(journal: Path) -> dict[str, Any]:
    """The journal of a deletion that was cut off. Raises InputError for a damaged one, or one of another store."""
    form = record(store=String, storage=String, deleted=ListOf[ITEM], stayed=ListOf[record(id=String, job=String)])
    found = recorded.as_dict(json.loads, journal.read_text(), form)
    if not found:
        raise InputError(f"{journal} is damaged: move it away; what it names may be half deleted")
    if not _places().items() <= found.items():
        raise InputError(
            f"a deletion in the store {found['store']} with the studies in {found['storage']} was cut off; set "
            f"MLFLOW_TRACKING_URI and {storage.STORAGE_VARIABLE} to these, and delete again, which completes it"
        )
    store.look()  # so that MLflow uses it
    return found


def _found(named: Sequence[str], text: str) -> dict[str, Any]:
    """What is deleted with these, and what stays; with reasons and notes. Raises InputError as ``delete`` does."""
    where, notes, studies, wholes = _places(), list[str](), dict[str, str](), list[RecordedRun]()
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
            wholes += [run for run in [recorded.find_run(parent)] if run]  # which is marked as deleted
    runs, used = going_with(wholes) if wholes else ([], [])
    stayed = [
        {"name": step.name, "id": step.id, "job": jobs[0], "reason": f"reused by the main job {' and '.join(jobs)}"}
        for step, jobs in used
    ]

    items = []
    studies |= {run.study: run.id for run in runs if run.stage == "search"}
    for name, run_id in studies.items():
        kept = storage.kept_study(name) or {}
        if kept and kept.get(attributes.PARENT, run_id) == run_id:
            items.append(item("study", name, kept[attributes.IDENTITY]))
            notes.insert(0, f"The trials of {name} are in {where['storage']}")
        else:
            notes.append(
                f"{where['storage']} has no trials of {name}; {storage.STORAGE_VARIABLE} may name other studies"
            )
    items += items_of(runs)
    if runs and not own_store():
        notes.append("The server marks runs as deleted; whoever runs it frees the space of their files by `mlflow gc`")

    paths, digests = kept_copies(text) if text else ([], set[str]())
    items += [item("text", text, path.name, path) for path in paths]
    if text and not paths:
        kept_names = ", ".join(sorted({facts["name"] for facts in kept_facts().values()})) or "nothing"
        raise InputError(f"--text {text}: the cache {cache_dir()} has no such text; it has {kept_names}")
    if named or store.look():
        ids = {run.id for run in runs}
        liveness.close_the_dead()
        for run in liveness.running_runs():
            if run.id in ids or run.corpus_sha256 in digests:
                recorded.refuse_running(run, references.describe_run(run))
        trained = [run for digest in digests for run in recorded.trainings(has_tag("corpus.sha256", digest))]
        for source in sorted({run.tag("corpus.source") for run in trained if run.id not in ids}):
            is_there = text in KNOWN_TEXTS or is_address(source) or Path(source).is_file()
            gone = "" if is_there else ", which is not there"
            notes.append(f"To evaluate or resume the trainings on {text}, {source} will be read{gone}")
    if not items:
        reasons = "; ".join(f"{each['name']} is {each['reason']}: name that, too" for each in stayed)
        raise InputError(reasons or "give a run or a study to delete, or --text NAME")
    size = sum(each["megabytes"] for each in items)
    return {**where, "deleted": items, "stayed": stayed, "notes": notes, "megabytes": size}
