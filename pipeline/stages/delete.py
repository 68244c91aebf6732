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
from pipeline.text.corpus import kept_copies
from pipeline.text.downloads import cache_dir, is_address
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import liveness, recorded, references, registry, store
from pipeline.tracking.delete import going_with, has_own_id, items_of, listed, remove, whole_of
from pipeline.tracking.program import command
from pipeline.tracking.recorded import RecordedRun, has_tag

THING = record(kind=String, name=String, id=String)
STAYED = record(name=String, id=String, job=String, reason=String)
JOURNAL = record(deleted=ListOf[THING], stayed=ListOf[STAYED])
TABLE = {"kind": "table", "name": registry.REGISTERED_MODEL, "id": "of its aliases"}
MOST_FAILURES = 3  # that a message says


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
            found = recorded.as_dict(json.loads, journal.read_bytes() if journal.is_file() else b"", JOURNAL)
            if not found or not all(map(has_own_id, found["deleted"])):
                raise InputError(f"{journal} is damaged: move it away; what it names may be half deleted")
            found["notes"] = []
        else:
            found = _found(named, text, config)
        _refuse_running(found)
        shown = listed(found["deleted"])
        result = {**found, **shown, "notes": found["notes"] + shown["notes"]}
        result |= {"dry_run": dry_run, "completed": is_cut_off}
        if dry_run:
            return result
        confirm(result)
        _refuse_running(found)
        if not is_cut_off:
            write_atomically(journal, json.dumps({name: found[name] for name in ("deleted", "stayed")}).encode())
        if failures := _carry_out(found):
            first, more = "; ".join(failures[:MOST_FAILURES]), f", and {len(failures) - MOST_FAILURES} more"
            raise RecordingError(
                f"not deleted: {first}{more * (len(failures) > MOST_FAILURES)}. The next `tmlm delete` tries it again; "
                f"to give it up, remove {journal}"
            )
        journal.unlink()
    return result


def _carry_out(found: Mapping[str, Any]) -> list[str]:
    """Delete what was found, even if some of it can't be; returns what can't, with the reasons."""
    failures = []
    has_picks = any((each["kind"], each["name"]) == ("model version", TABLE["name"]) for each in found["deleted"])
    for each in (*found["stayed"], *found["deleted"], *[TABLE] * has_picks):
        kind = each.get("kind", "run")
        try:
            _do(each)
        except (TmlmError, OSError) as error:
            store.look()  # raises if the store can't be used at all
            if kind == "study" and isinstance(error, InputError):  # it is being searched
                raise
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            failures.append(f"{kind} {each['name']} ({each['id']}): {reason}")
    return failures


def _do(each: Mapping[str, Any]) -> None:
    """Delete a thing, nest a step that stays in the main job that has reused it, or describe the picks that are left.

    What is gone counts as done.
    """
    match each.get("kind"):
        case None:
            run = recorded.find_run(each["id"])
            if run and not run.is_deleted:
                with store.store_errors():
                    store.set_tags(run.id, {"mlflow.parentRunId": each["job"]})
        case "table":
            with store.store_errors(), store.tolerating("RESOURCE_DOES_NOT_EXIST"):
                registry.describe_registered_model()
        case "study":
            storage.delete_study(each["name"], each["id"])
        case _:
            remove(each)


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
    if strange := [each for each in items if not has_own_id(each)]:
        raise InputError(
            f"{strange[0]['kind']} {strange[0]['name']} of {store.shown(store.address())} has the id "
            f"{strange[0]['id']!r}, which is none of MLflow's: nothing is deleted; remove it from the store first"
        )
    return {"deleted": items, "stayed": stayed, "notes": notes}


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
    return [{"kind": "text", "name": text, "id": path.name} for path in paths]
