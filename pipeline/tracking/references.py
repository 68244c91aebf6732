"""Which run a reference names, and the training or checkpoint behind it; the same references everywhere.

``find`` says what can be named. What is not a full id is logged with what it names, which the command line prints.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from heapq import merge
from itertools import islice
from pathlib import Path

from pipeline import earlier
from pipeline.errors import InputError
from pipeline.results import SEARCH, SEEDS, STAGES, Stage
from pipeline.support.wording import counted, listed
from pipeline.tracking import artifacts, queries, recorded, registry
from pipeline.tracking.queries import begins, equals, has_tag, search_runs
from pipeline.tracking.recorded import RecordedRun, RecordedTraining
from pipeline.tracking.store import REFUSALS, setup, shown
from pipeline.training.files import BEST_CHECKPOINT

log = logging.getLogger(__name__)

FORMS = (  # for messages
    "a run id or its first 4 or more characters, latest, the name of a run or a study, or a search's @PICK or "
    "@STUDY-PICK"
)
MOST_TOGETHER = 20  # runs that are compared, or exported on one page
NAMED = 5  # of the bearers of a name that a refusal lists
NAMES_TRIED = 200  # that a misspelt reference is compared with
STUDYS_PICK = "knee"  # that the name of a study stands for where a model is wanted
ORIGINS = ("trained_run", "resumed_run")  # tags of a pipeline, sample or resumption that name the run it is about
BY_A_PERSON = has_tag("role", None)  # a training that no sweep started


class NoSuchRunError(InputError):
    """The reference names no run."""


def describe_run(run: RecordedRun) -> str:
    """A run in words: lstm-1x192-s0 on time-machine, run c23c7253."""
    return f"{run.name}{f' on {run.corpus}' if run.corpus else ''}, run {run.id[: recorded.SHORT_ID]}"


def find(reference: str, what: str = "") -> RecordedRun:
    """The run that ``reference`` names.

    That is a full run id; a unique prefix of at least 4 characters; ``latest``, the training, or run of several seeds,
    that a person started and that finished last, or ``latest~N``, the Nth one before it; the name of a run, or of a
    study for its search; or ``@STUDY-PICK``, a registered pick of a search; or ``@PICK``, as ``_latest_pick`` says.
    Raises InputError for a name that several runs bear, and NoSuchRunError for one that none bears. ``what`` is put
    before the reference in messages.
    """
    run = recorded.readable(_find(reference, what))
    _tell(run, reference)
    return run


def training_of(reference: str, what: str = "", corpus_sha256: str = "") -> RecordedTraining:
    """The training that a run, as ``find`` takes it, is or is about; of a search, its pick STUDYS_PICK.

    ``corpus_sha256`` is the text that the command names, whose pick ``@PICK`` is if it has one.
    """
    run = recorded.readable(_find(reference, what, corpus_sha256))
    training = training_behind(run)
    _tell(training, reference, run)
    return training


def checkpoint_of(model: str) -> tuple[Path, str | None]:
    """The best checkpoint of a MODEL, and its run id if MODEL is a run or a ``runs:/`` address.

    MODEL is what ``training_of`` takes, the path of a checkpoint, or a ``models:/`` or ``runs:/`` address of a logged
    model. Raises InputError for anything else.
    """
    if os.path.isfile(model):  # also False for an invalid file name
        return Path(model), None
    store = setup()
    if model.startswith(("models:", "runs:")):
        try:
            run_id = model.split("/")[1] if model.startswith("runs:/") else None
            return artifacts.download_artifact(model) / "artifacts" / BEST_CHECKPOINT, run_id
        except REFUSALS as error:
            raise InputError(
                f"cannot load MODEL {model}: {error}; give a run id, a file or a models:/ address"
            ) from None
    try:
        run = _find(model, "MODEL ")
        training = training_behind(run)
    except NoSuchRunError:
        neither = f"MODEL {model} is neither a run of {shown(store.uri)} nor a file{_near(model)}"
        raise InputError(f"{neither}; give {FORMS}, the path of a checkpoint, or a models:/ address") from None
    recorded.refuse_without_weights(training)
    if BEST_CHECKPOINT not in recorded.artifacts_of(training, "checkpoints"):
        raise InputError(f"MODEL {model} ({describe_run(training)}) has no checkpoint; give another training")
    _tell(training, model, run)
    return artifacts.artifact_path(training.id, f"checkpoints/{BEST_CHECKPOINT}"), training.id


def training_behind(run: RecordedRun) -> RecordedTraining:
    """The training that a run is or is about; of a search, its pick STUDYS_PICK; of several seeds, the best.

    Raises InputError if there is none.
    """
    seen = set[str]()
    while not isinstance(run, RecordedTraining):
        seen.add(run.id)
        origin = next((found for name in ORIGINS if (found := run.tag(name))), "")
        stage = STAGES.get(run.stage, Stage())
        if stage.has_picks:
            picks = artifacts.read_result(run.id, run.stage).get("picks", {})
            origin = picks.get(STUDYS_PICK, {}).get("run_id", "")
        behind = recorded.find_run(origin) if origin and origin not in seen else None
        if behind is None:
            again = "a result yet; the same command again finishes it"
            lacks = again if stage.command else "a model; see `tmlm runs`"
            raise InputError(f"{describe_run(run)}, is a run of `tmlm {stage.command or run.stage}` without {lacks}")
        run = behind
    return run


def names(beginning: str) -> Iterator[tuple[str, str]]:
    """The picks, studies and, after a first character, runs whose name begins so, each with what it is."""
    if beginning[:1] in ("", "@"):
        versions = registry.aliases()
        picks = [f"@{alias}" for alias in (*(registry.PICKS if versions else ()), *versions)]
        yield from ((pick, "pick") for pick in picks if pick.startswith(beginning))
    for run in search_runs(has_tag("stage", SEARCH), order="start_time DESC"):
        if run.study.startswith(beginning):
            yield run.study, describe_run(run)
    if beginning:
        for run in search_runs(begins("attributes.run_name", beginning), order="start_time DESC"):
            if run.name.startswith(beginning):
                yield run.name, describe_run(run)


def _near(reference: str) -> str:
    """A question whether ``latest``, or a pick, study or run that is called much like this, is meant; "" for none."""
    known = [name for beginning in {"", reference[:1]} for name, _ in islice(names(beginning), NAMES_TRIED)]
    near = get_close_matches(reference, ["latest", *known], 1, 0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def _tell(run: RecordedRun, reference: str, named: RecordedRun | None = None) -> None:
    """Log which run a reference, which has ``named`` another, stands for."""
    if run.id != reference:
        of_study = f", of study {run.study}" if reference.startswith("@") else ""
        of_seeds = f", the best seed of {named.name}" if named and named.stage == SEEDS else ""
        log.info("%s%s", describe_run(run), of_study or of_seeds)


def _find(reference: str, what: str = "", corpus_sha256: str = "") -> RecordedRun:
    store = setup()
    if match := re.fullmatch(r"latest(?:~(\d{1,9}))?", reference):
        return _latest(int(match[1] or 0), what + reference)
    if reference.startswith("@"):
        return _picked(reference[1:], what + reference, corpus_sha256)
    bearers: dict[str, RecordedRun] = {}
    if re.fullmatch("[0-9a-f]{32}", reference):
        if run := recorded.find_run(reference):  # deleted or not
            return run
    elif reference.isprintable() and reference.strip() and not {"'", '"'} <= {*reference}:  # what MLflow can search for
        conditions = [equals("attributes.run_name", reference)]
        conditions += [f"{has_tag('stage', SEARCH)} and {has_tag('study', reference)}"]
        conditions += [begins("attributes.run_id", reference)] * bool(re.fullmatch("[0-9a-f]{4,31}", reference))
        bearers = {run.id: run for condition in conditions for run in islice(search_runs(condition), NAMED + 1)}
    if not bearers:
        raise NoSuchRunError(f"{what}{reference} is not a run of {shown(store.uri)}{_near(reference)}; give {FORMS}")
    if len(bearers) > 1:
        words, more = [describe_run(run) for run in bearers.values()][:NAMED], "; and others" * (len(bearers) > NAMED)
        raise InputError(f"{what}{reference} names several runs: {'; '.join(words)}{more}. Give one of them by its id")
    return next(iter(bearers.values()))


def _latest(before: int, what: str) -> RecordedRun:
    """The Nth training, or run of several seeds, before the last one that a person started and that finished."""
    alone = queries.trainings(queries.FINISHED, BY_A_PERSON)
    with_seeds = search_runs(queries.FINISHED, has_tag("stage", SEEDS))
    found = list(islice(merge(alone, with_seeds, key=lambda run: -(run.ended_ms or 0)), before + 1))
    if len(found) > before:
        return found[before]
    if found:
        has = "has" if len(found) == 1 else "have"
        raise InputError(f"{what}: only {counted(len(found), 'training')} of yours {has} finished; see `tmlm runs`")
    studies = Counter(run.study for run in queries.trainings(queries.FINISHED))
    if not studies:
        raise InputError(f"{what}: no training has finished yet; run `tmlm pipeline` or `tmlm train` first")
    there = listed([f"{counted(number, 'training')} of {study}" for study, number in studies.items()])
    picks = listed([f"@{alias}" for alias in registry.aliases()])
    raise InputError(
        f"{what}: no training has finished yet that you started; there are {there}: give "
        f"{f'a pick ({picks}), or ' if picks else ''}the id of one (`tmlm runs --all`)"
    )


def _picked(name: str, what: str, corpus_sha256: str) -> RecordedRun:
    """The run of a registered pick: that of ``@STUDY-PICK``, or of ``_latest_pick``. Raises InputError without one."""
    versions, pick = registry.aliases(), earlier.pick(name, registry.PICKS)
    if pick in registry.PICKS:
        alias = _latest_pick(pick, versions, corpus_sha256)
    else:
        alias = pick = earlier.pick(registry.alias_of(name), versions)
    if pick not in (name, registry.alias_of(name)):
        log.info("@%s is called @%s", name, pick)
    run = registry.run_of_version(versions[alias]) if alias in versions else None
    if run is None:
        known = listed([f"@{each}" for each in versions])
        raise InputError(f"{what} is no pick of a search; {f'there are {known}' if known else 'there is none'}")
    return run


def _latest_pick(pick: str, versions: Mapping[str, str], corpus_sha256: str) -> str:
    """The alias of this pick of the latest search that trained in full; "" if no search has registered one.

    It is of the text ``corpus_sha256`` if this has been searched, else of the text of the latest search. A search whose
    trainings were shortened, as by --quick or --epochs, counts only if its text has no other.
    """
    found = [*search_runs(has_tag("stage", SEARCH))]
    alias_of = {run.id: earlier.pick(registry.pick_alias(run.study, pick), versions) for run in found}
    if not (searches := [run for run in found if alias_of[run.id] in versions]):
        return ""
    of_text = [run for run in searches if run.corpus_sha256 == corpus_sha256]
    of_text = of_text or [run for run in searches if run.corpus_sha256 == searches[0].corpus_sha256]
    whole = {"epochs": "auto", "max_seconds": "0.0"}  # what a search that trains in full has recorded, if anything
    full = [run for run in of_text if all(run.params.get(name, value) == value for name, value in whole.items())]
    return alias_of[(full or of_text)[0].id]
