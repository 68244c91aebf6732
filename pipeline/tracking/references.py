"""Which run a reference names, and the training or checkpoint behind it; the same references everywhere.

A reference is a run id or its first characters, ``latest``, the name of a run or of a study, or a pick of a search. One
that is not a full id is logged with what it names, which the command line prints.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

# first: it sets the environment that MLflow reads when it is imported
from pipeline.tracking.store import setup, shown, without_passwords

# isort: split

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.wording import counted, listed
from pipeline.tracking import recorded, registry
from pipeline.tracking.recorded import (
    FINISHED,
    SHORT_ID,
    RecordedRun,
    RecordedTraining,
    begins,
    equals,
    has_tag,
    search_runs,
)

log = logging.getLogger(__name__)

FORMS = (  # for messages
    "a run id or its first 4 or more characters, latest, the name of a run or a study, or a search's @PICK or "
    "@STUDY-PICK"
)
NAMED = 5  # of the bearers of a name that a refusal lists
STUDYS_PICK = "knee"  # that the name of a study stands for where a model is wanted
ORIGINS = ("trained_run", "resumed_run")  # tags of a pipeline, sample or resumption that name the run it is about
BY_A_PERSON = has_tag("role", None)  # a training that no search, answer or reproduction started


class NoSuchRunError(InputError):
    """The reference names no run."""


def described(run: RecordedRun) -> str:
    """A run in words: lstm-1x192-s0 on time-machine, run c23c7253."""
    return f"{run.name}{f' on {run.corpus}' if run.corpus else ''}, run {run.id[:SHORT_ID]}"


def find(reference: str, what: str = "") -> RecordedRun:
    """The run that ``reference`` names.

    That is a full run id; a unique prefix of at least 4 characters; ``latest``, the training that a person started and
    that finished last, or ``latest~N``, the Nth one before it; the name of a run, or of a study for its search; or
    ``@PICK`` or ``@STUDY-PICK``, a registered pick of a search. Raises InputError for a name that several runs bear,
    and NoSuchRunError for one that none bears. ``what`` is put before the reference in messages.
    """
    run = recorded.readable(_find(reference, what))
    _tell(run, reference)
    return run


def training_of(reference: str, what: str = "") -> RecordedTraining:
    """The training that a run, as ``find`` takes it, is or is about; of a search, its pick STUDYS_PICK."""
    training = training_behind(recorded.readable(_find(reference, what)))
    _tell(training, reference)
    return training


def checkpoint_of(model: str) -> tuple[Path, str | None]:
    """The best checkpoint of a MODEL, and its run id if MODEL is a run or a ``runs:/`` address.

    MODEL is what ``training_of`` takes, the path of a checkpoint, or a ``models:/`` or ``runs:/`` address of a logged
    model. Raises InputError for anything else.
    """
    if os.path.isfile(model):  # also False for an invalid file name
        return Path(model), None
    store = setup()
    if urlsplit(model).scheme in ("models", "runs"):
        try:
            run_id = model.split("/")[1] if model.startswith("runs:/") else None
            return recorded.download_artifact(model) / "artifacts" / BEST_CHECKPOINT, run_id
        except (MlflowException, OSError) as error:
            raise InputError(
                f"cannot load MODEL {model}: {without_passwords(str(error))}; give a run id, a file or a models:/ "
                "address"
            ) from None
    try:
        training = training_behind(_find(model, "MODEL "))
    except NoSuchRunError:
        raise InputError(
            f"MODEL {model} is neither a run of {shown(store.uri)} nor a file; give {FORMS}, the path of a checkpoint, "
            "or a models:/ address"
        ) from None
    kept = MlflowClient().list_artifacts(training.id, "checkpoints")
    if f"checkpoints/{BEST_CHECKPOINT}" not in [file.path for file in kept]:
        raise InputError(f"MODEL {model} ({described(training)}) has no checkpoint; give another training")
    _tell(training, model)
    return recorded.artifact_path(training.id, f"checkpoints/{BEST_CHECKPOINT}"), training.id


def training_behind(run: RecordedRun) -> RecordedTraining:
    """The training that a run is or is about; of a search, its pick STUDYS_PICK. Raises InputError if there is none."""
    if isinstance(run, RecordedTraining):
        return run
    origin = next((found for name in ORIGINS if (found := run.tag(name))), "")
    if run.stage == "search":
        picks = recorded.read_result(run.id, run.stage).get("picks", {})
        origin = picks.get(STUDYS_PICK, {}).get("run_id", "")
    behind = recorded.find_run(origin) if origin else None
    if behind is None:
        lacks = (
            "a result yet; the same command again finishes it" if run.stage == "search" else "a model; see `tmlm runs`"
        )
        raise InputError(f"{described(run)}, is a run of `tmlm {run.stage}` without {lacks}")
    return training_behind(behind)


def names(beginning: str) -> Iterator[tuple[str, str]]:
    """The picks, studies and, after a first character, runs whose name begins so, each with what it is."""
    if beginning[:1] in ("", "@"):
        yield from ((f"@{alias}", "pick") for alias in registry.aliases() if f"@{alias}".startswith(beginning))
    for run in search_runs(has_tag("stage", "search"), order="start_time DESC"):
        if run.study.startswith(beginning):
            yield run.study, described(run)
    if beginning:
        for run in search_runs(begins("attributes.run_name", beginning), order="start_time DESC"):
            if run.name.startswith(beginning):
                yield run.name, described(run)


def _tell(run: RecordedRun, reference: str) -> None:
    if run.id != reference:
        log.info("%s", described(run))


def _find(reference: str, what: str = "") -> RecordedRun:
    store = setup()
    if match := re.fullmatch(r"latest(?:~(\d{1,9}))?", reference):
        return _latest(int(match[1] or 0), what + reference)
    if reference.startswith("@"):
        return _picked(reference[1:], what + reference)
    bearers: dict[str, RecordedRun] = {}
    if re.fullmatch("[0-9a-f]{32}", reference):
        if run := recorded.find_run(reference):  # deleted or not
            return run
    elif reference.isprintable() and reference.strip() and not {"'", '"'} <= {*reference}:  # what MLflow can search for
        conditions = [equals("attributes.run_name", reference)]
        conditions += [f"{has_tag('stage', 'search')} and {has_tag('study', reference)}"]
        conditions += [begins("attributes.run_id", reference)] * bool(re.fullmatch("[0-9a-f]{4,31}", reference))
        bearers = {run.id: run for each in conditions for run in islice(search_runs(each), NAMED + 1)}
    if not bearers:
        raise NoSuchRunError(f"{what}{reference} is not a run of {shown(store.uri)}; give {FORMS}")
    return _only(bearers, [*map(described, bearers.values())], what + reference)


def _only(bearers: Mapping[str, RecordedRun], words: Sequence[str], what: str) -> RecordedRun:
    """The only one of the runs, by id. Raises InputError if there are several, each in words."""
    if len(bearers) > 1:
        more = "; and others" * (len(words) > NAMED)
        raise InputError(f"{what} names several runs: {'; '.join(words[:NAMED])}{more}. Give one of them by its id")
    return next(iter(bearers.values()))


def _latest(before: int, what: str) -> RecordedRun:
    """The Nth training before the last one that a person started and that finished."""
    found = list(islice(recorded.trainings(FINISHED, BY_A_PERSON), before + 1))
    if len(found) > before:
        return found[before]
    if found:
        has = "has" if len(found) == 1 else "have"
        raise InputError(f"{what}: only {counted(len(found), 'training')} of yours {has} finished; see `tmlm runs`")
    studies = Counter(run.study for run in recorded.trainings(FINISHED))
    if not studies:
        raise InputError(f"{what}: no training has finished yet; run `tmlm pipeline` or `tmlm train` first")
    there = listed([f"{counted(number, 'training')} of {study}" for study, number in studies.items()])
    picks = listed([f"@{alias}" for alias in registry.aliases()])
    raise InputError(
        f"{what}: no training has finished yet that you started; there are {there}: give "
        f"{f'a pick ({picks}), or ' if picks else ''}the id of one (`tmlm runs --all`)"
    )


def _picked(name: str, what: str) -> RecordedRun:
    """The run of a registered pick. Raises InputError if the pick of this name is another model on another text."""
    versions, alias = registry.aliases(), registry.alias_of(name)
    meant = [each for each in versions if each == alias or (alias in registry.PICKS and each.endswith(f"-{alias}"))]
    runs = {each: run for each in meant if (run := registry.run_of_version(versions[each])) is not None}
    if not runs:
        known = listed([f"@{each}" for each in versions])
        raise InputError(f"{what} is no pick of a search; {f'there are {known}' if known else 'there is none'}")
    if len({run.corpus_sha256 for run in runs.values()}) == 1 and alias in runs:
        return runs[alias]
    meant.sort(key=lambda each: each != alias)  # first, so that a pick is called by its study if it has one
    words = {runs[each].id: f"@{each}: {described(runs[each])}" for each in meant if each in runs}
    return _only({run.id: run for run in runs.values()}, [*words.values()], what)
