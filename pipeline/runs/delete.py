"""Delete recorded runs and studies, or the weights in them, and the kept copies of texts.

``_planned`` and ``_weights`` find what goes; ``delete`` writes it to a journal first, so that the next call completes a
deletion that was killed. Rows and files are removed by ``tracking/purge.py``, Optuna's studies by ``study/storage.py``.
"""

import json
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from pipeline import earlier
from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError, TmlmError, reason_of, without_secrets
from pipeline.results import PIPELINE, SEARCH, STAGES, TRAIN, DeletedThing, DeletionResult, Kind, LeftFiles, StayingStep
from pipeline.search.study import attributes, storage
from pipeline.support.files import command_lock, megabytes, write_atomically
from pipeline.support.records import ListOf, String, record
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import everything_kept, kept_copies, kept_facts, kept_names
from pipeline.text.downloads import is_address
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import artifacts, liveness, program, purge, recorded, references, store
from pipeline.tracking.names import DESCRIPTION, PARENT, STEP, WEIGHTS
from pipeline.tracking.purge import Thing
from pipeline.tracking.queries import has_tag, search_runs, trainings
from pipeline.tracking.recorded import RecordedRun


@dataclass(frozen=True)
class Plan:
    """What to delete, in this order, the steps that stay, and what to know of it; ``is_begun`` by an earlier call."""

    things: list[Thing]
    stayed: list[StayingStep]
    notes: list[str] = field(default_factory=list)
    is_begun: bool = False


JOURNAL = record(deleted=ListOf[record(kind=Kind, name=String, id=String)], stayed=ListOf[StayingStep])


def delete(
    named: Sequence[str],
    text: str = "",
    dry_run: bool = False,
    weights: bool = False,
    cache: bool = False,
    confirm: Callable[[DeletionResult], None] = lambda found: None,
) -> DeletionResult:
    """Delete the runs and studies that are named, or only their ``weights``, and what the ``cache`` keeps (of a text).

    Returns what is deleted, what stays, and the files that are left; ``confirm`` is called with that before, and may
    raise. ``dry_run`` deletes nothing. A deletion that was cut off is completed in place of this one. Raises InputError
    for what can't be deleted, and RecordingError at the end if some of it could not be.
    """
    config = storage.with_storage(SearchConfig())
    studies = store.shown(storage.storage_url(config))
    place = sha256(f"{store.shown(store.address())}\n{studies}".encode()).hexdigest()[:16]
    journal = store.root() / "mlruns" / f".delete-{place}.json"
    with command_lock(journal.with_suffix(".lock"), "another `tmlm delete` is running here; wait for its end"):
        if os.path.lexists(journal):
            plan = _begun(journal)
        else:
            plan = _weights(named, text, cache) if weights else _planned(named, text, cache, config)
        if strange := [thing for thing in plan.things if not thing.has_own_id]:
            what = f"{strange[0].kind} {strange[0].id!r}"
            raise InputError(f"{store.shown(store.address())} has the {what}, which is no id: nothing is deleted")
        _refuse_running(plan)
        result = _result(plan, dry_run)
        if dry_run:
            return result
        confirm(result)
        _refuse_running(plan)
        if not plan.is_begun:
            things = [{"kind": thing.kind, "name": thing.name, "id": thing.id} for thing in plan.things]
            write_atomically(journal, json.dumps({"deleted": things, "stayed": plan.stayed}).encode())
        if failures := _carry_out(plan, [step["path"] for step in result["deleted"]]):
            more = f" (and {len(failures) - 1} more)" * (len(failures) > 1)
            way = f"the next `tmlm delete` tries it again; to give it up, remove {journal}"
            raise RecordingError(f"not deleted: {failures[0]}{more}; {way}")
        journal.unlink()
    return result


def _begun(journal: Path) -> Plan:
    """The plan of a deletion that was cut off. Raises InputError for a journal that is damaged."""
    store.look()  # so that MLflow uses the store
    found = artifacts.as_dict(json.loads, journal.read_bytes() if journal.is_file() else b"", JOURNAL)
    things = [Thing(step["kind"], step["name"], step["id"]) for step in found.get("deleted", ())]
    if not found or not all(thing.has_own_id for thing in things):
        raise InputError(f"{journal} is damaged: move it away; what it names may be half deleted")
    return Plan(things, found["stayed"], is_begun=True)


def _refuse_running(plan: Plan) -> None:
    ids = {thing.id for thing in plan.things if thing.kind in purge.OF_RUN}
    for run in liveness.running_runs() if ids else ():
        if run.id in ids:
            recorded.refuse_running(run, references.describe_run(run))


def _carry_out(plan: Plan, paths: Iterable[str]) -> list[str]:
    """Delete the things, which have files at these paths, even if some can't be; returns those, with the reasons."""
    failures = []
    steps = ((Thing("run", step["name"], step["id"]), "", step["job"]) for step in plan.stayed if step["job"])
    for thing, path, job in (*steps, *((thing, path, None) for thing, path in zip(plan.things, paths, strict=True))):
        try:
            if thing.kind == "study":
                storage.delete_study(thing.name, thing.id)
            elif job is None:
                purge.remove(thing)
                if thing.kind == "page":
                    from pipeline.pages.page import record_page  # here, as it imports torch

                    record_page(thing.id, anew=True)
            elif (step := recorded.find_run(thing.id)) and not step.is_deleted:
                with store.store_errors():
                    store.set_tags(step.id, {PARENT: job})
        except (TmlmError, OSError) as error:
            store.look()  # raises if the store can't be used at all
            if thing.kind == "study" and isinstance(error, InputError):  # it is being searched
                raise
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            failures.append(f"{thing.kind} {thing.name} ({path or thing.id}): {reason}")
    return failures


def _result(plan: Plan, dry_run: bool) -> DeletionResult:
    """The result of a plan: paths and MB of what goes, and the files that are left; notes say why."""
    deleted, left, notes = list[DeletedThing](), list[LeftFiles](), dict[str, None]()
    for thing in plan.things:
        paths, location, reason = purge.files_of(thing)
        there = [path for path in paths if os.path.lexists(path)]
        links = {os.path.realpath(path): path for path in there if path.is_symlink()}
        size = sum(megabytes(path) for path in there if path not in links.values())
        about = LeftFiles(kind=thing.kind, name=thing.name, id=thing.id, path=str(there[0]) if there else "")
        deleted.append({**about, "megabytes": size})
        stay = {target: f"{path} is a link: {target} stays" for target, path in links.items()}
        stay |= {without_secrets(location): reason} if reason else {}
        left += [{**about, "path": path} for path in stay]
        notes |= dict.fromkeys(stay.values())
    size = sum(step["megabytes"] for step in deleted)
    found: DeletionResult = {"stayed": plan.stayed, "deleted": deleted, "left": left, "notes": [*plan.notes, *notes]}
    return {**found, "megabytes": size, "dry_run": dry_run, "completed": plan.is_begun}


def _planned(named: Sequence[str], text: str, cache: bool, config: SearchConfig) -> Plan:
    """What goes with these, and what stays. Raises InputError as ``delete`` does."""
    notes, studies, wholes = list[str](), dict[str, str](), list[RecordedRun]()
    if named:
        liveness.close_the_dead()
    for reference in named:
        try:
            run = _find(reference)
            wholes.append(_whole_of(run))
            if wholes[-1] is not run:
                notes.append(f"{run.name} is a step of {wholes[-1].name}, which is deleted as a whole")
        except references.NoSuchRunError:
            if not (kept := storage.kept_study(reference)):
                raise
            studies[reference] = parent = kept.get(attributes.PARENT, "")
            wholes += filter(None, [recorded.find_run(parent)])  # which is marked as deleted
    runs, stayed = _going_with(wholes) if wholes else ([], [])

    things = list[Thing]()
    studies |= {run.study: run.id for run in runs if run.stage == SEARCH}
    for name, run_id in studies.items():
        kept, in_use = storage.kept_study(name), store.shown(storage.storage_url(config))
        searched_in = next((run.params.get("storage", "auto") for run in runs if run.id == run_id), "")
        if kept and kept.get(attributes.PARENT, run_id) == run_id:
            things.append(Thing("study", name, kept[attributes.IDENTITY]))
            notes.insert(0, f"The trials of {name} are in {in_use}")
        elif searched_in != without_secrets(config.storage):
            cure = "" if searched_in == "auto" else shlex.quote(searched_in)
            raise InputError(
                f"{in_use} has no trials of {name}, which was searched with another storage; delete it with that: "
                f"{storage.STORAGE_VARIABLE}={cure} {program.command()} delete {shlex.quote(name)}"
            )
        else:
            notes.append(f"{in_use} has no trials of {name}")
    things += purge.things_of(runs) if runs else []
    if cache or text:
        things += _copies("" if cache else text, notes)
    if not things:
        reasons = "; ".join(f"{step['name']} is {step['reason']}: name that, too" for step in stayed)
        raise InputError(reasons or "give a run or a study to delete, --text NAME, or --cache")
    return Plan(things, stayed, notes)


def _weights(named: Sequence[str], text: str, cache: bool) -> Plan:
    """The weights of these trainings, or of those nested in these runs, and of which they stay."""
    if text or cache or not named:
        raise InputError("--weights needs a run or a study, and neither --text nor --cache")
    liveness.close_the_dead()
    things, stayed, going = list[Thing](), list[StayingStep](), dict[str, RecordedRun]()
    for run in _with_nested(map(_find, named)).values():
        recorded.refuse_running(run, references.describe_run(run))
        if run.stage != TRAIN or run.tag(WEIGHTS):
            continue
        own = purge.things_of([run])
        versions = (thing for thing in own if thing.kind == "model version")
        reasons = [f"version {version.id} of the registered model {version.name}" for version in versions]
        reasons += [f"{run.state}, and resumed from its weights"] * (run.state != "finished")
        reasons += ["marked as deleted"] * run.is_deleted
        if reasons:
            stayed.append({"name": run.name, "id": run.id, "job": "", "reason": reasons[0]})
        else:
            going[run.id] = run
            things += [replace(thing, kind="weights") if thing.kind == "run" else thing for thing in reversed(own)]
    if not things:
        why = [f"{step['name']} ({step['id']}) keeps its weights: it is {step['reason']}" for step in stayed]
        raise InputError("; ".join(why) or f"there are no weights in {' and '.join(named)}: name another training")
    parents = map(recorded.find_run, {run.parent for run in going.values()})
    for search in (run for run in parents if run and run.stage == SEARCH):  # whose page runs its picks
        picks = artifacts.read_result(search.id, SEARCH).get("picks", {}).values()
        going |= {search.id: search} if going.keys() & {pick["run_id"] for pick in picks} else {}
    pages = [run for run in going.values() if artifacts.PAGE_FILE in recorded.artifacts_of(run)]
    return Plan(things + [Thing("page", run.name, run.id, run.artifact_uri) for run in pages], stayed)


def _find(reference: str) -> RecordedRun:
    """The run that is named, as ``references.find`` does. Raises InputError for one of another experiment."""
    run = references.find(reference)
    if store.client().get_run(run.id).info.experiment_id != store.setup().experiment_id:
        what = references.describe_run(run)
        raise InputError(f"{what}, is of another experiment: set MLFLOW_EXPERIMENT_NAME to that")
    return run


def _whole_of(run: RecordedRun) -> RecordedRun:
    """The run to delete for this one: the main job of a step, else itself.

    Raises InputError for a part of a search, an answer, a reproduction or seeds.
    """
    parent = recorded.find_run(run.parent) if run.parent else None
    if parent is None or parent.id == run.id or parent.is_deleted or not parent.stage:
        return run
    if parent.stage != PIPELINE:
        whole = f"{parent.name}; delete that: tmlm delete {parent.study or parent.id}"
        raise InputError(f"{references.describe_run(run)}, is only a part of {whole}")
    return parent


def _with_nested(wholes: Iterable[RecordedRun]) -> dict[str, RecordedRun]:
    """These runs and those nested in them, parents first."""
    found, queue = dict[str, RecordedRun](), list(wholes)
    while queue:
        run = queue.pop()
        if run.id not in found:
            found[run.id] = run
            if not run.tag("role"):  # a training of a search, an answer or a reproduction has none
                queue += search_runs(has_tag(PARENT, run.id))
    return found


def _going_with(wholes: Iterable[RecordedRun]) -> tuple[list[RecordedRun], list[StayingStep]]:
    """The runs to delete with these, parents first, and the steps that stay with a main job that has reused them.

    With a run go those nested in it, and evaluations and samples of them.
    """
    found = _with_nested(wholes)
    jobs = [job for job in search_runs(has_tag("stage", PIPELINE)) if job.id not in found]
    users = {run_id: [job.id for job in jobs if run_id in _steps(job)] for run_id in found}
    stayed: list[StayingStep] = [
        {"name": found.pop(id).name, "id": id, "job": ids[0], "reason": f"reused by the main job {' and '.join(ids)}"}
        for id, ids in users.items()
        if ids
    ]
    for stage in (name for name, stage in STAGES.items() if stage.is_about_a_run):
        about = search_runs(has_tag("stage", stage), has_tag(PARENT, None))
        found |= {run.id: run for run in about if any(run.tag(origin) in found for origin in references.ORIGINS)}
    return [*found.values()], stayed


def _steps(job: RecordedRun) -> list[str]:
    """The ids of the steps of a main job."""
    described = f"{job.tag('trained_run')} {job.tag(DESCRIPTION)}"  # by an earlier version
    return [id for tag, id in job.tags.items() if tag.startswith(STEP)] or earlier.steps(described)


def _copies(text: str, notes: list[str]) -> list[Thing]:
    """What the cache keeps of a text, or if it is "" of all that no command uses; adds to the notes what that means."""
    if text:
        paths, digests = kept_copies(text)
        notes += [f"{name} is the same text" for path in paths for name in kept_names(path) if name != text]
        missing = f"--text {text}: the cache {cache_dir()} has no such text; `tmlm doctor` lists its texts"
    else:
        kept = everything_kept()
        paths = [path for path, is_used in kept.items() if not is_used]
        digests = {facts.get("corpus_sha256", "") for folder, facts in kept_facts().items() if folder in paths}
        used = [f"{path} stays: a command that is running uses it" for path in kept if path not in paths]
        missing = "; ".join(used) or f"--cache: {cache_dir()} is empty"
        notes += used
    if not paths:
        raise InputError(missing)
    trained = [run for digest in digests if store.look() for run in trainings(has_tag("corpus.sha256", digest))]
    for name, source in sorted({(run.corpus, run.tag("corpus.source")) for run in trained}):
        is_there = name.removesuffix("-raw") in KNOWN_TEXTS or is_address(source) or Path(source).is_file()
        gone = "" if is_there else ", which is not there"
        notes.append(f"To evaluate or resume the trainings on {name}, {source} will be read{gone}")
    return [Thing("text", text or ", ".join(kept_names(path)) or path.name, path.name) for path in paths]
