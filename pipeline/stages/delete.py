"""Delete recorded runs and studies, and the kept copies of texts.

What goes is written to a journal first, so that the next call completes a deletion that was killed.
"""

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError, TmlmError, reason_of, without_secrets
from pipeline.search.study import attributes, storage
from pipeline.support.files import command_lock, write_atomically
from pipeline.support.records import ListOf, String, record
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import kept_copies
from pipeline.text.downloads import is_address
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import artifacts, liveness, queries, recorded, references, store
from pipeline.tracking.delete import going_with, has_own_id, items_of, listed, remove, whole_of
from pipeline.tracking.names import PARENT
from pipeline.tracking.program import command
from pipeline.tracking.queries import has_tag
from pipeline.tracking.recorded import RecordedRun

THING = record(kind=String, name=String, id=String)
STAYED = record(name=String, id=String, job=String, reason=String)
JOURNAL = record(deleted=ListOf[THING], stayed=ListOf[STAYED])


def delete(
    named: Sequence[str],
    text: str = "",
    dry_run: bool = False,
    confirm: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:
    """Delete the runs and studies that are named, and what the cache keeps of a text.

    Returns what is deleted, what stays, and the files that are left; ``confirm`` is called with that before, and may
    raise. ``dry_run`` deletes nothing. A deletion that was cut off is completed in place of this one. Raises InputError
    for what can't be deleted, and RecordingError at the end if some of it could not be.
    """
    config = storage.with_storage(SearchConfig())
    studies = store.shown(storage.storage_url(config))
    place = sha256(f"{store.shown(store.address())}\n{studies}".encode()).hexdigest()[:16]
    journal = store.root() / "mlruns" / f".delete-{place}.json"
    with command_lock(journal.with_suffix(".lock"), "another `tmlm delete` is running here; wait for its end"):
        is_cut_off = os.path.lexists(journal)
        if is_cut_off:
            store.look()  # so that MLflow uses the store
            found = artifacts.as_dict(json.loads, journal.read_bytes() if journal.is_file() else b"", JOURNAL)
        else:
            found = _found(named, text, config)
        strange = [f"{each['kind']} {each['id']!r}" for each in found.get("deleted", ()) if not has_own_id(each)]
        if is_cut_off and (strange or not found):
            raise InputError(f"{journal} is damaged: move it away; what it names may be half deleted")
        if strange:
            raise InputError(f"{store.shown(store.address())} has the {strange[0]}, which is no id: nothing is deleted")
        _refuse_running(found)
        result = {"stayed": found["stayed"], **listed(found["deleted"]), "dry_run": dry_run, "completed": is_cut_off}
        if not is_cut_off:
            result["notes"] = found["notes"] + result["notes"]
        if dry_run:
            return result
        confirm(result)
        _refuse_running(found)
        if not is_cut_off:
            kept = [{name: each[name] for name in ("kind", "name", "id")} for each in found["deleted"]]
            write_atomically(journal, json.dumps({"deleted": kept, "stayed": found["stayed"]}).encode())
        if failures := _carry_out(result):
            more = f" (and {len(failures) - 1} more)" * (len(failures) > 1)
            way = f"the next `tmlm delete` tries it again; to give it up, remove {journal}"
            raise RecordingError(f"not deleted: {failures[0]}{more}; {way}")
        journal.unlink()
    return result


def _carry_out(found: Mapping[str, Any]) -> list[str]:
    """Delete what was found, even if some of it can't be; returns what can't, with the reasons."""
    failures = []
    for each in (*found["stayed"], *found["deleted"]):
        kind = each.get("kind", "run")
        try:
            if kind == "study":
                storage.delete_study(each["name"], each["id"])
            elif "job" not in each:
                remove(each)
            elif (step := recorded.find_run(each["id"])) and not step.is_deleted:
                with store.store_errors():
                    store.set_tags(step.id, {PARENT: each["job"]})
        except (TmlmError, OSError) as error:
            store.look()  # raises if the store can't be used at all
            if kind == "study" and isinstance(error, InputError):  # it is being searched
                raise
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            failures.append(f"{kind} {each['name']} ({each.get('path') or each['id']}): {reason}")
    return failures


def _refuse_running(found: dict[str, Any]) -> None:
    ids = {each["id"] for each in found["deleted"] if each["kind"] == "run"}
    for run in liveness.running_runs() if ids else ():
        if run.id in ids:
            recorded.refuse_running(run, references.describe_run(run))


def _found(named: Sequence[str], text: str, config: SearchConfig) -> dict[str, Any]:
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
        kept, in_use = storage.kept_study(name), store.shown(storage.storage_url(config))
        searched_in = next((run.params.get("storage", "auto") for run in runs if run.id == run_id), "")
        if kept and kept.get(attributes.PARENT, run_id) == run_id:
            items.append({"kind": "study", "name": name, "id": kept[attributes.IDENTITY]})
            notes.insert(0, f"The trials of {name} are in {in_use}")
        elif searched_in != without_secrets(config.storage):
            cure = "" if searched_in == "auto" else shlex.quote(searched_in)
            raise InputError(
                f"{in_use} has no trials of {name}, which was searched with another storage; delete it with that: "
                f"{storage.STORAGE_VARIABLE}={cure} {command()} delete {shlex.quote(name)}"
            )
        else:
            notes.append(f"{in_use} has no trials of {name}")
    items += items_of(runs) if runs else []
    if text:
        items += _copies(text, notes)
    if not items:
        reasons = "; ".join(f"{each['name']} is {each['reason']}: name that, too" for each in stayed)
        raise InputError(reasons or "give a run or a study to delete, or --text NAME")
    return {"deleted": items, "stayed": stayed, "notes": notes}


def _copies(text: str, notes: list[str]) -> list[dict[str, Any]]:
    """What the cache keeps of a text; adds to the notes what its trainings need without."""
    paths, digests = kept_copies(text)
    if not paths:
        raise InputError(f"--text {text}: the cache {cache_dir()} has no such text; `tmlm doctor` lists its texts")
    trained = [run for each in digests if store.look() for run in queries.trainings(has_tag("corpus.sha256", each))]
    for source in sorted({run.tag("corpus.source") for run in trained}):
        is_there = text in KNOWN_TEXTS or is_address(source) or Path(source).is_file()
        gone = "" if is_there else ", which is not there"
        notes.append(f"To evaluate or resume the trainings on {text}, {source} will be read{gone}")
    return [{"kind": "text", "name": text, "id": path.name} for path in paths]
