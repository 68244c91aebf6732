"""Find recorded runs: conditions in MLflow's syntax, lists of runs and trainings, groups by configuration."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from pipeline.config import NOT_COMPUTED
from pipeline.errors import InputError, without_secrets
from pipeline.results import TRAIN
from pipeline.support.wording import counted
from pipeline.tracking.descriptions import NOTE
from pipeline.tracking.names import PARENT, recorded_tag
from pipeline.tracking.recorded import (
    FORMAT,
    REFUSED,
    SHORT_ID,
    RecordedRun,
    RecordedTraining,
    artifacts_of,
    noted,
    read_run,
)
from pipeline.tracking.store import client, own_experiment, setup, store_errors

PAGE, LARGEST_PAGE = 10, 200  # runs in the first request, as most look for the latest one; each next has twice as many
FINISHED = "attributes.status = 'FINISHED'"
BEST_FIRST = "metrics.`result/val_perplexity` ASC"  # an order of trainings
NOT_FAILED = "attributes.status != 'FAILED' and attributes.status != 'KILLED'"  # finished or running
STOPPED = "attributes.status != 'FINISHED' and attributes.status != 'RUNNING'"


def search_runs(
    *conditions: str, order: str = "end_time DESC", experiments: Sequence[str] = ()
) -> Iterator[RecordedRun]:
    """The runs that meet all conditions, page by page as they are needed; these and ``order`` are in MLflow's syntax.

    Searches the store's experiment unless others are given, and leaves out runs in another format.
    """
    experiments, token, query = experiments or [setup().experiment_id], None, " and ".join(conditions)
    size = PAGE
    while True:
        with store_errors():
            page = client().search_runs(list(experiments), query, 1, size, [order], token)
        for run in map(read_run, page):
            if not run.stage or run.tag("format") == str(FORMAT):
                yield run
        if not (token := page.token):
            return
        size = min(2 * size, LARGEST_PAGE)


def has_tag(tag: str, value: str | None) -> str:
    """The condition that a tag, given by its bare name, has a value; None: that it is missing."""
    name = f"tags.`{recorded_tag(tag)}`"
    return f"{name} IS NULL" if value is None else equals(name, value)


def equals(name: str, value: str) -> str:
    """The condition that an attribute or a tag equals a value, which must not have both kinds of quotes."""
    quote = '"' if "'" in value else "'"
    return f"{name} = {quote}{value}{quote}"


def begins(name: str, beginning: str) -> str:
    """The condition that an attribute begins so; in place of a quote or a sign, it may have any character."""
    pattern = re.sub(r"\W", "_", beginning)  # LIKE's wildcard for one character
    return f"{name} LIKE '{pattern}%'"


def trainings(
    *conditions: str, order: str = "end_time DESC", experiments: Sequence[str] = ()
) -> Iterator[RecordedTraining]:
    """The trainings that meet all conditions, by default the one that ended last first."""
    for run in search_runs(has_tag("stage", TRAIN), *conditions, order=order, experiments=experiments):
        if isinstance(run, RecordedTraining):
            yield run


def on_text(corpus: str) -> Callable[[RecordedTraining], bool]:
    """Whether a training is on a text: its recorded name, with or without alphabet, its path, address or sha256."""
    path = corpus if "\0" in corpus else os.path.realpath(os.path.expanduser(corpus))
    meant = {corpus, without_secrets(corpus), path}

    def is_on(run: RecordedTraining) -> bool:
        labels = {f"{name}-{run.params.get('alphabet', 'letters')}" for name in meant}
        return run.corpus in labels or not meant.isdisjoint((run.corpus, run.tag("corpus.source"), run.corpus_sha256))

    return is_on


def listed_trainings(search: str = "", corpus: str = "") -> Iterator[RecordedTraining]:
    """The trainings: the running ones, then the others by the time at which they ended, latest first.

    One without a note has that of the run that it is nested in. ``search`` keeps those with all its words in name, id,
    text, study or note, ignoring case; ``corpus`` those ``on_text``. Raises InputError if only other texts have any.
    """
    words, is_on_text = search.lower().split(), on_text(corpus) if corpus else lambda run: True
    notes = {run.id: run.note for run in search_runs(f"tags.{NOTE} != ''")}
    running = trainings("attributes.status = 'RUNNING'", order="start_time DESC")
    is_known, others = False, set[str]()
    for run in chain(running, trainings("attributes.status != 'RUNNING'")):
        if not is_on_text(run):
            others.add(run.corpus)
            continue
        is_known, run = True, noted(run, notes.get(run.parent, ""))
        texts = [text.lower() for text in (run.name, run.id, run.corpus, run.study, run.note)]
        if all(any(word in text for text in texts) for word in words):
            yield run
    if others and not is_known:
        raise InputError(f"{corpus} has no training; texts that have one: {', '.join(sorted(others))}")


def finished_trainings(corpus_sha256: str = "") -> list[RecordedTraining]:
    """The finished trainings with a result, of one text or of all, the latest first."""
    of_text = [has_tag("corpus.sha256", corpus_sha256)] if corpus_sha256 else []
    found = trainings(FINISHED, "metrics.`result/val_perplexity` > 0", *of_text)
    return [run for run in found if "result/val_perplexity" in run.metrics]


def diverged_trainings(corpus_sha256: str) -> list[RecordedTraining]:
    """The trainings on a text that diverged, latest first; they have no result."""
    failed = trainings(has_tag("corpus.sha256", corpus_sha256), "attributes.status = 'FAILED'")
    return [run for run in failed if run.has_diverged]


def nested_trainings(parent: str) -> list[RecordedTraining]:
    """The trainings nested in a run, in the order in which they started."""
    return list(trainings(has_tag(PARENT, parent), order="start_time ASC"))


def by_configuration(trainings: Iterable[RecordedTraining]) -> list[dict[int, RecordedTraining]]:
    """Group trainings that differ in their seed alone, and map each seed to the last training with it.

    Trainings that their time limit ended are apart from those of the same configuration.
    """
    groups: dict[tuple[str, bool], dict[int, RecordedTraining]] = {}
    for training in trainings:
        key = training.config_id, training.facts["stopped_by"] == "time"
        groups.setdefault(key, {})[training.seed] = training
    return list(groups.values())


def told_apart(names: Sequence[str], trainings: Sequence[RecordedTraining]) -> list[str]:
    """Add to equal names up to three options that differ among their trainings; the run's id if these are equal too."""
    options = [{**training.configuration["model"], **training.configuration["train"]} for training in trainings]
    values = defaultdict[tuple[str, str], set[str]](set)
    for name, own in zip(names, options, strict=True):
        for option in own.keys() - NOT_COMPUTED:
            values[name, option].add(str(own[option]))
    told = []
    for name, own in zip(names, options, strict=True):
        differing = [option for option in own if len(values[name, option]) > 1][:3]
        shown = {key: "auto" if own[key] is None else own[key] for key in differing}
        said = [f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()]
        told.append(f"{name} ({', '.join(said)})" if said else name)
    often, given = Counter(told), zip(names, trainings, told, strict=True)
    return [f"{name} (run {run.id[:SHORT_ID]})" if often[full] > 1 else full for name, run, full in given]


def differing(options: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The options that differ, each with all values."""
    names = dict.fromkeys(name for each in options for name in each)
    values = {name: [each.get(name) for each in options] for name in names}
    return {name: each for name, each in values.items() if len({*each}) > 1}


def unread_runs() -> str:
    """A sentence about the runs of version 0.1.0, which recorded no format; "" if there are none."""
    with store_errors():
        experiments = [experiment.experiment_id for experiment in client().search_experiments()]
        found = client().search_runs(experiments, f"tags.stage != '' and {has_tag('format', None)}")
    count = sum(bool(read_run(run).stage) for run in found)
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'run')} of version 0.1.0 {are} here, which this version does not read" if count else ""


def refused_runs() -> list[RecordedRun]:
    """The runs in this experiment that `mlflow run` began, and that ended before a command recorded anything."""
    with store_errors():
        experiment = own_experiment()
        conditions = "attributes.status = 'FAILED'", "tags.failure != ''", has_tag("format", None)
        runs = search_runs(*conditions, experiments=[experiment.experiment_id]) if experiment else ()
        return [run for run in runs if run.tags.keys() >= REFUSED and not run.logged and not artifacts_of(run)]


def latest(*conditions: str) -> RecordedRun | None:
    """The most recently started run that meets all conditions; None if there is none."""
    return next(search_runs(*conditions, order="start_time DESC"), None)
