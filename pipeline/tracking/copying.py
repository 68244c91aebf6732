"""Copy runs to another store: parameters, curves, tags, artifacts, models with their aliases, and nesting.

A copy has the tags pushed.from, the id of the run that was recorded first, pushed.by, the store that it is a copy of,
and pushed.digest once all of it is there and has the source's digest. A push first deletes its copies without it. The
note of a run is not part of it, and pushed.note is the one that the copy was given last.
"""

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, RecordingError
from pipeline.results import SEARCH
from pipeline.support.machine import environment_variables
from pipeline.support.progress import Progress
from pipeline.tracking import store as stores
from pipeline.tracking.artifacts import sync_artifacts
from pipeline.tracking.descriptions import NOTE, describe, without_note
from pipeline.tracking.names import recorded_tag
from pipeline.tracking.queries import equals, has_tag, search_runs
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import Store, setup, shown, store_refusals, tag_experiment, tolerating
from pipeline.tracking.ui import views

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_PARENT_RUN_ID

PUSHED_NOTE = "pushed.note"
ORIGIN, BY, DIGEST = map(recorded_tag, ("pushed.from", "pushed.by", "pushed.digest"))
# tags that a copy does not have from its source
DIFFERENT = (ORIGIN, BY, DIGEST, recorded_tag(PUSHED_NOTE), MLFLOW_MODEL_VERSIONS)
POINT = ("key", "value", "timestamp", "step")  # of a curve
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")  # a run's id, or a logged model's without "m-"


class Place:
    """The store of a source or a target, and its experiment; ``folder`` is where that has its artifacts."""

    def __init__(self, store: Store) -> None:
        self.uri, self.experiment_id = store.uri, store.experiment_id
        self.client = MlflowClient(store.uri, store.uri)
        experiment = self.client.get_experiment(store.experiment_id)
        self.name, location = experiment.name, experiment.artifact_location
        self.folder = f"{local_path(location) or location}/"

    def run(self, run_id: str) -> Run:
        """A run. Raises RecordingError if it is gone."""
        with tolerating("RESOURCE_DOES_NOT_EXIST"):
            return self.client.get_run(run_id)
        raise RecordingError(f"the run {run_id} was deleted from {shown(self.uri)} meanwhile: push again")

    def models(self, run_id: str) -> list[LoggedModel]:
        """The models that were logged in a run."""
        return list(self.client.search_logged_models([self.experiment_id], equals("source_run_id", run_id)))

    def files(self, location: str) -> dict[str, bytes]:
        """All artifacts at a location: path -> contents."""
        with tempfile.TemporaryDirectory() as copies:
            folder, where = local_path(location), {"artifact_uri": location, "tracking_uri": self.uri}
            try:
                if folder is None and not mlflow.artifacts.list_artifacts(**where):
                    return {}  # a download of nothing fails
                folder = folder or Path(mlflow.artifacts.download_artifacts(**where, dst_path=copies))
            except ValueError as error:
                raise InputError(
                    f"artifacts are at {location}, which MLflow can't read ({error}): delete their run, or push others"
                ) from None
            return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def read(self, run_id: str) -> dict[str, Any]:
        """All of a run that its copy has too."""
        run = self.run(run_id)
        info, data, datasets = run.info, run.data, run.inputs.dataset_inputs if run.inputs else ()
        steps = {model.model_id: model.step for model in run.outputs.model_outputs} if run.outputs else {}
        points = (point for key in data.metrics for point in self.client.get_metric_history(run_id, key))
        return {
            "run": [info.run_name, info.status, info.start_time, info.end_time],
            "params": data.params,
            "tags": {key: value for key, value in without_note(data.tags).items() if key not in DIFFERENT},
            "metrics": _points(points, *POINT),
            "datasets": sorted([dataset.dataset.name, dataset.dataset.digest] for dataset in datasets),
            "files": self.files(info.artifact_uri),
            "models": {
                model.model_id: {
                    "model": [model.name, model.model_type or "", model.status.value, steps.get(model.model_id)],
                    "params": model.params,
                    "tags": {key: value for key, value in model.tags.items() if key not in DIFFERENT},
                    "metrics": _points(model.metrics or (), *POINT, "dataset_name", "dataset_digest"),
                    "files": self.files(model.artifact_location),
                }
                for model in self.models(run_id)
            },
        }


def _points(points: Iterable[Metric], *names: str) -> list[dict[str, Any]]:
    return sorted(({name: getattr(point, name) for name in names} for point in points), key=repr)


def digest(record: Mapping[str, Any]) -> str:
    """The digest of what ``Place.read`` has read."""
    text = json.dumps(record, sort_keys=True, default=lambda data: sha256(data).hexdigest())
    return sha256(text.encode()).hexdigest()


@contextmanager
def current_store(uri: str, experiment: str) -> Iterator[Store]:
    """Make the store at an address, or the mlflow.db in a folder, current within the block. Errors call it URI.

    Raises InputError for a store that can't be used, and RecordingError for one that fails within the block.
    """
    if (path := local_path(uri)) is not None:
        path = path.expanduser().absolute()
        if not uri or not (path.is_file() or path.is_dir()):  # a forgotten URI would be a new folder of the run's name
            raise InputError(f"URI {uri!r} is no folder; give one that exists, http://..., or sqlite:///FILE")
        uri = stores.sqlite_address(path if path.is_file() else path / "mlflow.db")
    variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": experiment, "MLFLOW_EXPERIMENT_ID": ""}
    begun = False
    try:
        with environment_variables(variables), store_refusals():
            store = setup()
            MlflowClient().search_logged_models([store.experiment_id], max_results=1)  # refused before MLflow 3
            begun = True
            yield store
    except (InputError, RecordingError) as error:
        kind = RecordingError if begun else type(error)
        raise kind(str(error).replace("MLFLOW_TRACKING_URI", "URI")) from None
    finally:
        stores._setup.cache_clear()  # of the source, which is not current even if the target could not be
        setup()


class Transfer:
    """Copies runs from a source to a target, which is the current store; ``known`` are the source's runs by id.

    ``by`` is the identity of the source, which copies have as a tag.
    """

    def __init__(self, source: Place, target: Place, known: Mapping[str, RecordedRun], by: str) -> None:
        self.source, self.target, self.by = source, target, by
        self._delete_incomplete(but=())
        whole = (run for run in search_runs() if run.tag("pushed.digest") or not run.tag("pushed.from"))
        self.there = {_origin(run): run for run in whole}
        self.ids = {key: self.there[_origin(run)].id for key, run in known.items() if _origin(run) in self.there}
        experiments = f"/experiments/{source.experiment_id}/", f"/experiments/{target.experiment_id}/"
        self.places = (source.folder, target.folder), experiments

    def copy(self, runs: Sequence[RecordedRun], progress: Progress) -> dict[str, Any]:
        """Copy runs, their notes and the registered versions of their models."""
        client, copied, noted, changed, renoted = self.target.client, 0, 0, list[str](), list[str]()
        for run in runs:  # first the ids of all, since runs refer to each other
            if run.id not in self.ids:
                tags = {ORIGIN: _origin(run), BY: self.by}
                copy = client.create_run(self.target.experiment_id, run.started_ms, tags, run.name)
                self.ids[run.id] = copy.info.run_id
        self._delete_incomplete(but=self.ids.values())  # a request that was repeated has created two
        for number, run in enumerate(runs):
            progress.show(number / len(runs))
            record, there = self.source.read(run.id), self.there.get(_origin(run))
            if there is None:
                self._copy_run(run.id, record)
                copied += 1
            elif there.tag("pushed.digest") not in ("", digest(record)):
                changed.append(f"{run.name} ({run.id})")
            note, pushed = self._translated(run.note), there.tag(PUSHED_NOTE) if there else ""
            if note != pushed and (there is None or there.tag("pushed.by") == self.by):
                if there and there.note != pushed:  # as somebody has said there
                    renoted.append(f"{run.name} ({run.id})")
                else:
                    describe(self.ids[run.id], {NOTE: note, PUSHED_NOTE: note})
                    noted += there is not None
            parent = self.ids.get(run.tag(MLFLOW_PARENT_RUN_ID), "")
            if parent and there and there.tag(MLFLOW_PARENT_RUN_ID) != parent:  # the parent was copied later
                client.set_tag(there.id, MLFLOW_PARENT_RUN_ID, parent)
        aliases, taken = self._register(runs)
        texts = sorted({(run.corpus, run.corpus_sha256) for run in runs if run.corpus_sha256})
        searches = [views.search(run.study, run.corpus, self.ids[run.id]) for run in runs if run.stage == SEARCH]
        of_texts = (views.models(*text) for text in texts)
        tag_experiment(self.target.experiment_id, dict(view.tag for view in (*of_texts, *searches)))
        earlier = len(runs) - copied
        counts = {"copied": copied, "earlier": earlier, "noted": noted}
        return {**counts, "changed": changed, "renoted": renoted, "aliases": aliases, "taken": taken}

    def _delete_incomplete(self, but: Collection[str]) -> None:
        """Delete the copies of this source that are not complete, with their models, except those with these ids."""
        for run in list(search_runs(has_tag("pushed.by", self.by), has_tag("pushed.digest", None))):
            if run.id not in but:
                for model in self.target.models(run.id):
                    self.target.client.delete_logged_model(model.model_id)
                self.target.client.delete_run(run.id)

    def _copy_run(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Copy all of a run to its copy, and compare the digests of what is there and what should be."""
        client, copy = self.target.client, self.ids[run_id]
        for model_id, model in record["models"].items():
            name, kind, *_ = model["model"]
            tags, place = {**self._translated(model["tags"]), ORIGIN: model_id}, self.target.experiment_id
            made = client.create_logged_model(place, name, copy, tags, model["params"], kind or None)
            self.ids[model_id.removeprefix("m-")] = made.model_id.removeprefix("m-")
        wanted = self._translated(record)  # now that all ids are known
        for model in self.target.models(copy):
            if model.model_id not in wanted["models"]:  # a request that was repeated has created two
                client.delete_logged_model(model.model_id)

        linked = [{name: p[name] for name in POINT} for model in wanted["models"].values() for p in model["metrics"]]
        plain = [Metric(**point) for point in wanted["metrics"] if point not in linked]
        client.log_batch(copy, plain, [Param(*entry) for entry in wanted["params"].items()])
        for model_id, model in wanted["models"].items():
            client.log_batch(copy, [Metric(**point, model_id=model_id) for point in model["metrics"]])
            _upload(model["files"], partial(client.log_model_artifacts, model_id))
            *_, status, step = model["model"]
            if status != "PENDING":
                client.finalize_logged_model(model_id, status)
            if step is not None:
                client.log_outputs(copy, [LoggedModelOutput(model_id, step)])
        if inputs := self.source.run(run_id).inputs:
            client.log_inputs(copy, inputs.dataset_inputs)
        _upload(wanted["files"], partial(client.log_artifacts, copy))
        _, status, _, ended_ms = wanted["run"]
        client.set_terminated(copy, status, ended_ms)  # before its tags say what it is, so that no command closes it
        client.log_batch(copy, tags=[RunTag(*entry) for entry in wanted["tags"].items()])

        if digest(self.target.read(copy)) != digest(wanted):
            raise RecordingError(
                f"{copy} in {shown(self.target.uri)} differs from {run_id}, whose copy it is: delete it there "
                f"(mlflow runs delete -r {copy}) and push again"
            )
        sync_artifacts(client, copy)
        client.set_tag(copy, DIGEST, digest(record))

    def _translated(self, value: Any) -> Any:
        """A value with the ids and places of the target, also in the files that are texts."""
        if isinstance(value, str):
            for old, new in self.places:
                value = value.replace(old, new)
            return ID.sub(lambda match: self.ids.get(match[0], match[0]), value)
        if isinstance(value, bytes):
            with suppress(UnicodeDecodeError):
                return self._translated(value.decode()).encode()
        if isinstance(value, Mapping):
            return {self._translated(key): self._translated(each) for key, each in value.items()}
        return [*map(self._translated, value)] if isinstance(value, list) else value

    def _register(self, runs: Sequence[RecordedRun]) -> tuple[list[str], list[str]]:
        """Copy the registered versions of runs, and their aliases; returns the aliases copied and those taken."""
        source, target, pushed, copied, taken = self.source.client, self.target.client, {run.id for run in runs}, [], []
        registered = source.search_model_versions(order_by=["name ASC", "version_number ASC"])
        of_runs = (version for version in registered if version.run_id in pushed)
        for name, versions in groupby(of_runs, lambda version: str(version.name)):
            ours, of_name = source.get_registered_model(name), equals("name", name)
            introduction = (ours.description or "").partition("\n\n|")[0]  # without the table of versions
            with tolerating("RESOURCE_ALREADY_EXISTS"):
                target.create_registered_model(name, description=introduction)
            theirs = target.get_registered_model(name)
            there = {each.source: each.version for each in target.search_model_versions(of_name)}
            for version in versions:
                run_id = self.ids[str(version.run_id)]
                models = {model.artifact_location: model for model in self.target.models(run_id)}
                self.ids |= {model.tags.get(ORIGIN, "")[2:]: model.model_id[2:] for model in models.values()}
                place = self._translated(version.source)
                if place not in there:
                    model_id = models[place].model_id if place in models else None
                    about, tags = self._translated(version.description or ""), self._translated(version.tags)
                    made = target.create_model_version(name, place, run_id, tags, None, about, 0, model_id)
                    there[place] = made.version
                for alias in sorted(each for each, number in ours.aliases.items() if number == version.version):
                    if alias not in theirs.aliases:
                        target.set_registered_model_alias(name, alias, there[place])
                        copied.append(f"@{alias}")
                    elif str(theirs.aliases[alias]) != str(there[place]):
                        taken.append(f"@{alias}")
        return copied, taken


def _upload(files: Mapping[str, bytes], upload: Callable[[str], None]) -> None:
    """Upload a folder that has these files."""
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        upload(folder)


def _origin(run: RecordedRun) -> str:
    """The id of the run that was recorded first, of which this one may be a copy."""
    return run.tag("pushed.from") or run.id
