"""Short names of runs: a unique prefix of a run id, ``latest`` and ``latest~N``."""

import re

from pipeline.tracking.store import setup, shown, store_errors

# isort: split

import mlflow
from mlflow.entities import Run

from pipeline.errors import InputError
from pipeline.support.wording import counted

FORMS = "a run id, the first 4 or more characters of one, or latest"  # for messages

_FULL = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")

NAMED_RUNS = 5  # of the candidates that an ambiguous prefix names


class NoSuchRunError(InputError):
    """No run has this id, or an id with this prefix."""


def run_id_of(reference: str, what: str = "") -> str:
    """The id of the run that ``reference`` names.

    A reference is a full run id, which is returned without a lookup; a unique prefix of at least 4 characters;
    ``latest``, the finished training that ended last; or ``latest~N``, the Nth one before it. Raises InputError if a
    prefix is ambiguous or there are too few trainings, and NoSuchRunError for anything else. ``what`` is put before the
    reference in messages.
    """
    if _FULL.fullmatch(reference):
        return reference
    if match := _LATEST.fullmatch(reference):
        return _latest(int(match[1] or 0), what + reference)
    store = setup()
    runs = _search(f"attributes.run_id LIKE '{reference}%'", NAMED_RUNS + 1) if _PREFIX.fullmatch(reference) else []
    if not runs:
        raise NoSuchRunError(f"{what}{reference} is not a run of {shown(store.uri)}; give {FORMS}")
    if len(runs) > 1:
        names = ", ".join(f"{run.info.run_id} ({run.info.run_name})" for run in runs[:NAMED_RUNS])
        more = ", and others" * (len(runs) > NAMED_RUNS)
        raise InputError(f"{what}{reference} is the beginning of several run ids: {names}{more}; give more of it")
    return str(runs[0].info.run_id)


def _latest(before: int, given: str) -> str:
    """The finished training that has ``before`` later ones; ``given`` is the reference, for messages."""
    trainings = _search("tags.stage = 'train' and attributes.status = 'FINISHED'", before + 1)
    if not trainings:
        raise InputError(f"{given}: no training has finished yet; run `tmlm pipeline` or `tmlm train` first")
    if len(trainings) <= before:
        has = "has" if len(trainings) == 1 else "have"
        raise InputError(f"{given}: only {counted(len(trainings), 'training')} {has} finished; `tmlm runs` lists them")
    return str(trainings[before].info.run_id)


def _search(query: str, count: int) -> list[Run]:
    """At most ``count`` runs of the store's experiment that match a query, latest end first."""
    store, order = setup(), ["attributes.end_time DESC"]
    with store_errors():
        runs: list[Run] = mlflow.search_runs(
            [store.experiment_id], query, max_results=count, order_by=order, output_format="list"
        )
    return runs
