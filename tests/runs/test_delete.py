"""Deleting: all of what is named goes, nothing else does, and a deletion that was killed is completed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import mlflow
import optuna
import pytest
from filelock import FileLock
from mlflow.tracking import MlflowClient

from pipeline.config import CorpusConfig, SearchConfig
from pipeline.errors import InputError, RecordingError
from pipeline.runs import doctor
from pipeline.runs.delete import delete
from pipeline.search.run import search
from pipeline.search.study import attributes, storage
from pipeline.search.study.space import Space
from pipeline.search.study.trials import SearchStudy
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import everything_kept, load_corpus
from pipeline.tracking import queries, recorded
from pipeline.tracking.registry import aliases, register_picks
from pipeline.tracking.relocation import local_path
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.store import root, setup
from pipeline.tracking.ui import views
from tests.cli.commands import examples
from tests.cli.commands import run as command
from tests.databases import standing_in
from tests.labs import execute, record, rows, training

JOURNAL = "mlruns/.delete-*.json"
WRITES = (
    "pipeline.runs.delete.write_atomically", "optuna.delete_study",
    "mlflow.tracking.MlflowClient.delete_model_version",
    "mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._hard_delete_logged_model", "pathlib.Path.unlink",
    "mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._hard_delete_run", "shutil.rmtree",
    "mlflow.tracking.MlflowClient.delete_experiment_tag", "mlflow.tracking.MlflowClient.update_registered_model",
    "pipeline.tracking.store.set_tags",
)  # fmt: skip

DELETING = "checkout", "working folder", "mlruns", "by us", "moved"  # stores that delete files
MARKING = "mlruns/0", "by mlflow run", "PostgreSQL"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> optuna.storages.RDBStorage:
    """Optuna's storage of all tests here, as creating its tables takes long."""
    return optuna.storages.RDBStorage(f"sqlite:///{tmp_path_factory.mktemp('studies')}/optuna.db")


@pytest.fixture(autouse=True)
def _storage(kept, monkeypatch):
    monkeypatch.setenv("TMLM_STORAGE", str(kept.engine.url))
    monkeypatch.setattr(storage, "open_storage", lambda config: kept)
    yield
    for name in optuna.get_all_study_names(kept):
        optuna.delete_study(study_name=name, storage=kept)


class KilledError(BaseException):
    """Nobody's to catch."""


def killed_after(name: str, done: set[str]) -> Callable[..., Any]:
    """The function of this name, which is killed after its first call with the same texts and paths."""
    write = resolve_name(name)

    def wrapped(*args: Any, **options: Any) -> Any:
        result = write(*args, **options)
        call = f"{name} {[each for each in (*args, *options.values()) if isinstance(each, str | Path)]}"
        if call not in done and "unfinished" not in call:
            done.add(call)
            raise KilledError
        return result

    return wrapped


def kills(home: Path, monkeypatch: pytest.MonkeyPatch, named: list[str], weights: bool = False) -> Iterator[None]:
    """Delete what is named, killed after each write, until it is done; yields after each kill."""
    done = set[str]()
    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(name, killed_after(name, done))
        while (is_begun := bool([*home.glob(JOURNAL)])) or not done:
            with suppress(KilledError):
                delete(["another"] if is_begun else named, weights=weights and not is_begun)
            yield


def searched(name: str) -> tuple[str, str]:
    """The ids of a search, whose study Optuna has, and of its trial, which is registered as its knee."""
    with tracked_run("search", name, {"study": name, "corpus": "novel"}) as run:
        trial = training("gru-1x8-s0", study=name, role="trial")
        register_picks({"knee": (trial, "It is.")}, name, "novel")
        run.client.set_experiment_tag(setup().experiment_id, *views.search(name, "novel", run.id).tag)
    study = optuna.create_study(storage=storage.open_storage(SearchConfig()), study_name=name)
    for attribute, value in {attributes.PROTOCOL: {}, attributes.PARENT: run.id, attributes.IDENTITY: name}.items():
        attributes.set_of_study(study, attribute, value)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    return run.id, trial


def job(name: str, trained: str = "") -> tuple[str, str]:
    """The ids of a main job and of its training, which is new unless it reuses one."""
    with tracked_run("pipeline", name, {"corpus": "novel"}) as run:
        trained = trained or training("lstm-1x8-s0")
        run.tags({"step.train": trained})
    return run.id, trained


def outcome() -> str:
    """What becomes of the files of a training and its logged model, and of its row: "deleted" or "marked"."""
    run = training("lstm")
    (model,) = MlflowClient().search_logged_models([setup().experiment_id], f"source_run_id = '{run}'")
    places = {run: MlflowClient().get_run(run).info.artifact_uri, model.model_id: model.artifact_location}
    left = {step["id"]: step["path"] for step in delete([run])["left"]}
    assert left in ({}, places)
    assert all(folder.exists() == bool(left) for place in places.values() if (folder := local_path(place)))
    assert bool(recorded.find_run(run)) == bool(left)
    return "marked" if left else "deleted"


def arrange(place: str, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the store of a checkout one of this place."""
    if place in ("by us", "by mlflow run", "PostgreSQL"):
        shutil.copy(home / "mlruns/mlflow.db", home.parent / "other.db")
        where = "UPDATE experiments SET name='Default', artifact_location=?"
        execute(home.parent / "other.db", where, f"{home.parents[1]}/mlruns/0")
        is_local = place != "PostgreSQL"
        uri = f"sqlite:///{home.parent}/other.db" if is_local else "postgresql+standin://host/db"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "Default" if place == "by mlflow run" else "time-machine-lm")
    elif place == "working folder":
        patch.setattr("pipeline.tracking.store.ROOT", home / "installed")
        patch.setattr("pipeline.tracking.store.root", root)
    elif place == "moved":
        new = home.rename(home.with_name("moved"))
        patch.setattr("pipeline.tracking.store.root", lambda: new)
        with pytest.raises(InputError, match="was moved or copied"):
            delete(["latest"])
        doctor.repair()
    elif place != "checkout":  # is a link
        (home / place).mkdir(exist_ok=True)
        (home / place).symlink_to(shutil.move(home / place, home.parent / "other"))
    patch.chdir(home if home.exists() else home.parent)


def runs() -> set[str]:
    return {run.id for run in queries.search_runs()}


def traces(home: Path, *ids: str) -> dict[str, Any]:
    """The rows of all tables, and the files of all folders, that have one of these ids."""
    tables = [name for (name,) in rows(home / "mlruns/mlflow.db", "SELECT name FROM sqlite_master WHERE type='table'")]
    found = {name: rows(home / "mlruns/mlflow.db", f"SELECT * FROM {name}") for name in tables}
    kept = {name: [row for row in each if any(id in str(row) for id in ids)] for name, each in found.items()}
    files = [file for file in home.rglob("*") if file.is_file() and {*ids} & {*file.parts}]
    return {name: each for name, each in kept.items() if each} | {str(file): file.read_bytes() for file in files}


def test_a_deletion_killed_after_any_write_is_completed_and_takes_nothing_of_others(store, kept, monkeypatch):
    others = training("another"), training("deleted by another")
    client = MlflowClient()
    client.delete_run(others[1])
    gone = client.create_logged_model(setup().experiment_id, "deleted").model_id
    client.delete_logged_model(gone)
    client.delete_experiment(client.create_experiment("deleted"))
    searched("search-other")
    before, deleted = traces(store, *others, gone), "SELECT name FROM experiments WHERE lifecycle_stage='deleted'"
    ids = *searched("search-novel"), training("lstm"), record("evaluation", "evaluate", trained_run="")
    client.set_tag(ids[3], "mlflow.tmlm.trained_run", ids[2])
    reused = job("a", ids[2])
    assert traces(store, *ids)

    assert len([*kills(store, monkeypatch, ["search-novel", ids[2], reused[0]])]) > 15
    assert traces(store, *ids, reused[0]) == {}
    assert traces(store, *others, gone) == before
    assert rows(store / "mlruns/mlflow.db", deleted) == [("deleted",)]
    assert [(each.study_name, each.n_trials) for each in optuna.get_all_study_summaries(kept)] == [("search-other", 1)]
    assert [*aliases()] == ["search-other-knee"]


def test_a_step_that_another_job_reused_is_kept_by_that_and_goes_with_it(store):
    (first, trained), second = job("a"), job("b")
    sharing, _ = job("c", trained)
    assert {step["id"] for step in delete([first, second[1]], dry_run=True)["deleted"]} >= {first, *second}
    assert [step["id"] for step in delete([trained])["stayed"]] == [trained]
    assert runs() == {trained, sharing, *second}
    other, gru = job("d", training("gru"))
    with pytest.raises(InputError, match=f"gru is reused by the main job {other}"):
        delete([gru])
    delete([sharing])
    assert not runs() & {trained, sharing}


def test_a_part_of_a_search_and_what_is_running_are_refused_and_nothing_goes_unasked(store):
    _, trial = searched("search-novel")
    lstm = training("lstm")
    before = runs()
    with pytest.raises(InputError, match="a part of search-novel; delete that: tmlm delete search-novel"):
        delete([trial])
    with (
        tracked_run("evaluate", "busy", {"trained_run": lstm}) as busy,
        pytest.raises(InputError, match=r"busy, .* is still running"),
    ):
        delete([lstm])
    assert command("delete", lstm)[0] == 2
    assert runs() == before | {busy.id}


def test_the_documented_commands_delete_what_they_name_but_for_a_dry_run(store, small_text, tmp_path):
    (tmp_path / "my-book.txt").write_text(small_text.read_text())
    text = load_corpus(CorpusConfig(str(tmp_path / "my-book.txt"), "letters")).folder
    searched("search-my-book-raw")
    (tmp_path / "other.txt").write_text(small_text.read_text()[::-1])
    load_corpus(CorpusConfig(str(tmp_path / "other.txt"), "letters"))
    other, there = training("gru"), list[tuple[int, bool]]()
    training("latest")
    for words in examples("delete"):
        assert command(*words)[0] == 0
        there.append((len(runs()), text.exists()))
    assert there == [(4, True), (4, True), (1, True), (1, False), (1, False)]
    assert not everything_kept()
    assert other in runs()


def test_copies_and_downloads_of_a_text_go_and_no_other(store, small_text, tmp_path):
    (other := tmp_path / "other.txt").write_text(small_text.read_text()[::-1])
    corpora = [
        load_corpus(CorpusConfig(str(path), alphabet))
        for path in (small_text, other)
        for alphabet in ("raw", "letters")
    ]
    download = cache_dir() / "downloads" / "address.txt"
    download.parent.mkdir()
    download.write_bytes(small_text.read_bytes())
    record("lstm", corpus="topics", corpus_sha256=corpora[1].corpus_sha256, corpus_source=str(tmp_path / "gone.txt"))
    assert [note for note in delete([], "topics")["notes"] if "gone.txt will be read, which is not there" in note]
    assert not download.exists()
    assert [corpus.folder.exists() for corpus in corpora] == [False, False, True, True]
    assert len(runs()) == 1
    with pytest.raises(InputError, match="has no such text"):
        delete([], "topics")


def test_the_cache_is_emptied_but_for_what_a_command_uses_or_another_program_has_there(store, small_text, tmp_path):
    (gone := tmp_path / "gone.txt").write_text(small_text.read_text()[::-1])
    used, unused = (load_corpus(CorpusConfig(str(path), "letters")) for path in (small_text, gone))
    record("lstm", corpus="gone", corpus_sha256=unused.corpus_sha256, corpus_source=str(gone))
    downloads = cache_dir() / "downloads"
    names = "0" * 16 + "-" + "1" * 16 + ".txt", f".timemachine.txt.{'2' * 32}", "thesis.txt", "timemachine.lock"
    for file in (downloads / name for name in names):
        file.parent.mkdir(exist_ok=True)
        file.write_text("It was.")
    gone.unlink()
    folder = unused.folder
    assert {step["id"] for step in delete([], cache=True, dry_run=True)["deleted"]} == {*names[:2]}
    del unused
    with FileLock(downloads / "timemachine.lock"):
        while_downloading = delete([], cache=True, dry_run=True)
    assert [step["id"] for step in while_downloading["deleted"]] == [folder.name]
    done = delete([], cache=True)
    assert {step["id"] for step in done["deleted"]} == {folder.name, *names[:2]}
    assert [note for note in done["notes"] if "gone.txt will be read, which is not there" in note]
    assert [note for note in done["notes"] if str(used.folder) in note]
    assert (used.folder.exists(), folder.exists(), sorted(os.listdir(downloads))) == (True, False, sorted(names[2:]))
    with pytest.raises(InputError, match="stays"):
        delete([], cache=True)


def test_to_delete_a_text_alone_creates_no_store(no_store, small_text, monkeypatch):
    load_corpus(CorpusConfig(str(small_text), "letters"))
    monkeypatch.chdir(no_store)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # as in a new process: to a file in the working folder
    delete([], "topics")
    assert not [*no_store.rglob("*.db")]


@pytest.mark.parametrize("place", [*DELETING, *MARKING])
def test_files_go_from_below_the_folder_of_a_local_database_and_others_stay(store, monkeypatch, place):
    arrange(place, store, monkeypatch)
    with standing_in(store.parent / "other.db"):
        assert outcome() == ("deleted" if place in DELETING else "marked")


def test_on_a_server_runs_are_marked_and_their_files_stay(mlflow_server, tmp_path, monkeypatch):
    assert outcome() == "marked"
    MlflowClient().create_experiment("local", str(tmp_path / "local"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "local")
    assert outcome() == "marked"
    assert len([*tmp_path.rglob("final.md")]) == 2
    left = delete([gru := training("gru")], weights=True)["left"]
    assert [step["kind"] for step in left] == ["weights", "logged model"]
    assert recorded.run_of(gru).tag("weights") == "deleted"


def test_a_copy_of_a_database_deletes_no_files_nor_does_its_original_beside_it(store, monkeypatch):
    ids, database = [training(name) for name in "abcdef"], store / "mlruns" / "mlflow.db"
    copies = [store.parent / "above.db", store / "mlruns/beside.db"]
    copies += [store / "mlruns/mlflow.db.before-repair-1", store / "mlruns/mlflow.db.before-upgrade-1"]
    for copy in copies:
        execute(database, "VACUUM INTO ?", str(copy))
    for used, id, named in zip([*copies, database], ids, [copies[1], database, *copies[2:], copies[1]], strict=False):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{used}")
        assert str(named) in delete([id])["notes"][0]
        assert MlflowClient().get_run(id).info.lifecycle_stage == "deleted"
    copies[1].unlink()
    assert not delete([ids[5]])["left"]
    assert {id for id in ids if [*store.glob(f"mlruns/0/{id}/artifacts/samples/final.md")]} == {*ids} - {ids[5]}


def test_a_database_beside_whose_runs_are_a_view_is_not_read(store):
    id = training("lstm")
    execute(store / "mlruns" / "beside.db", "CREATE VIEW runs AS SELECT '' AS artifact_uri, '' AS run_uuid")
    with pytest.raises(InputError, match=r"beside\.db has a view or virtual table runs"):
        delete([id])
    assert id in runs()


def test_hostile_rows_delete_nothing_elsewhere(store, tmp_path):
    database, outside = store / "mlruns" / "mlflow.db", tmp_path / "outside"
    for place in (f"{outside}", f"{outside}/x/..", f"file://host{outside}", f"{store}/mlruns/../..{outside}"):
        id = training("lstm")
        (outside / id / "artifacts").mkdir(parents=True)
        execute(database, "UPDATE runs SET artifact_uri=? WHERE run_uuid=?", f"{place}/{id}/artifacts", id)
        assert [step["path"] for step in delete([id])["left"]] == [f"{place}/{id}/artifacts"]
        assert (outside / id / "artifacts").exists()
    id = training("its own parent")
    execute(database, "INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', ?, ?)", id, id)
    execute(database, "UPDATE logged_models SET model_id='..'")
    with pytest.raises(InputError, match=r"has the logged model '\.\.', which is no id: nothing is deleted"):
        delete([id])
    execute(database, "DELETE FROM logged_models")
    delete([id])
    assert id not in runs()


def test_what_can_not_be_deleted_is_named_with_the_journal_and_stops_nothing_else(store, tmp_path):
    stuck, linked, last = (training(name) for name in ("stuck", "linked", "last"))
    MlflowClient().create_registered_model("a person's")
    MlflowClient().create_model_version("a person's", "file:///x", last)
    database, folder = store / "mlruns/mlflow.db", store / "mlruns/0" / linked
    refuse = "CREATE TRIGGER no BEFORE DELETE ON runs WHEN old.name='stuck' BEGIN SELECT RAISE(FAIL, 'no'); END"
    execute(database, refuse)
    folder.symlink_to(shutil.move(folder, tmp_path / "disk"))
    for _ in range(2):
        with pytest.raises(RecordingError, match=rf"not deleted: run stuck .*{stuck}.* no.*remove .*\.delete-.*json"):
            delete([stuck, linked, last])
    assert runs() == {stuck}
    assert (folder.is_symlink(), (tmp_path / "disk/artifacts").exists()) == (False, True)


def test_a_journal_deletes_what_the_store_owns_and_only_if_that_is_confirmed(store, monkeypatch, tmp_path):
    (victim := tmp_path / "victim").mkdir()
    gone, other = training("gone"), training("other")
    with monkeypatch.context() as patch, suppress(KilledError):
        patch.setattr(WRITES[0], killed_after(WRITES[0], set()))
        delete([other])
    (file,) = store.glob(JOURNAL)
    execute(store / "mlruns/mlflow.db", "DELETE FROM runs WHERE run_uuid=?", gone)  # d5cc29df has deleted rows first
    for text, is_completed in (("victim", True), ("../victim", False), ("\xff", False)):
        things = [("text", text), ("run", gone), ("run", "0" * 32)]
        deleted = [{"kind": kind, "name": "x", "id": id, "path": str(victim), "megabytes": 0.0} for kind, id in things]
        stayed = [{"name": "other", "id": other, "job": "", "reason": ""}]  # stays though the job is damaged
        file.write_text(json.dumps({"deleted": deleted, "stayed": stayed}, ensure_ascii=False), encoding="latin-1")
        assert command("delete", other)[0] == 2
        code, _, err = command("delete", other, "--yes")
        assert (code, "is damaged: move it away" in err) == ((0, False) if is_completed else (2, True))
    assert victim.exists()
    assert not [*store.glob(f"mlruns/0/{gone}")]
    assert other in runs()


def test_what_a_job_has_reused_is_read_from_tags_and_of_earlier_records_from_the_description(store):
    first, reused = job("first")
    for earlier, note in ((False, "edited"), (True, f"by `{reused}`")):
        second, _ = job("second", reused)
        MlflowClient().set_tag(second, "mlflow.note.content", note)
        if earlier:
            MlflowClient().delete_tag(second, "mlflow.tmlm.step.train")
        assert [step["id"] for step in delete([first], dry_run=True)["stayed"]] == [reused]
        MlflowClient().delete_run(second)


def test_a_study_in_another_storage_is_refused_with_the_command_that_deletes_it(store, monkeypatch):
    search = record("search-novel", "search", study="search-novel")
    MlflowClient().log_param(search, "storage", "sqlite:////x/own.db")
    code, _, err = command("delete", "search-novel", "--yes")
    assert (code, search in runs()) == (2, True)
    assert re.search(r"TMLM_STORAGE=sqlite:/{4}x/own\.db \S*tmlm delete search-novel", err)
    monkeypatch.setenv("TMLM_STORAGE", "sqlite:////x/own.db")  # which has no trials any more
    delete(["search-novel"])
    assert not runs()


def test_a_study_whose_run_was_deleted_elsewhere_goes_by_its_name_as_the_search_says(store, corpus):
    config = storage.with_storage(SearchConfig(study_name="own"))
    study = SearchStudy(config, Space.of(config), corpus)
    with tracked_run("search", "a search", {"study": "own"}) as run:
        trial = training("gru-1x8-s0", study="own", role="trial")
    attributes.set_of_study(study.study, attributes.PARENT, run.id)
    MlflowClient().delete_run(run.id)
    with pytest.raises(InputError, match=r"the run of study own was deleted.*`tmlm delete own`"):
        search(corpus, config)
    delete(["own"])
    assert traces(store, run.id, trial) == {}
    assert storage.kept_study("own") is None


def test_a_run_that_failed_before_a_command_took_it_over_is_listed_by_doctor_and_deleted(begun, monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID")
    client = MlflowClient()
    client.set_tag(begun, "mlflow.project.entryPoint", "train")
    client.set_tag(begun, "failure", "No such option")
    client.set_terminated(begun, "FAILED")
    for _ in range(2):
        assert doctor.findings()["failed"][0].endswith(f"tmlm delete {begun}")
        assert not doctor.findings()["unread"]
        client.set_tag(begun, "stage", "train")  # as version 0.2.0 did
    doctor.repair()
    assert [step["id"] for step in delete([begun[:8]])["deleted"]] == [begun]


def test_a_deletion_keeps_the_locks_of_its_database(store):
    """SQLite's locks are those of the process, which loses them if it opens and closes the file itself."""
    read = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM runs').fetchall()"
    delete([training("lstm")], dry_run=True)
    subprocess.run([sys.executable, "-c", read, store / "mlruns/mlflow.db"], check=True)
    assert (store / "mlruns/mlflow.db-wal").exists()  # the last to close the database deletes it


def test_weights_are_marked_as_deleted_before_they_go_and_a_killed_deletion_of_them_is_completed(store, monkeypatch):
    run, gru = training("lstm"), training("gru")
    for path in ("checkpoints", "earlier/epoch-0001/checkpoints"):
        MlflowClient().log_text(run, "weights", f"{path}/best.safetensors")
    kept, there = traces(store, gru), store / f"mlruns/0/{run}/artifacts/checkpoints"
    safe = [
        there.exists() or recorded.run_of(run).tag("weights") for _ in kills(store, monkeypatch, [run], weights=True)
    ]
    assert (all(safe), len(safe) > 5) == (True, True)
    assert not [*store.rglob("*.safetensors")]
    assert "logged_models" not in traces(store, run)
    assert not (outputs := MlflowClient().get_run(run).outputs) or not outputs.model_outputs
    assert recorded.run_of(run).metrics == {"result/val_perplexity": 9.0, "size/macs_per_char": 1548.0}
    assert traces(store, gru) == kept


def test_weights_of_a_registered_or_unfinished_training_stay_and_so_do_those_behind_a_link(store, tmp_path):
    _, trial = searched("search-novel")
    stopped = record("stopped", error=KeyboardInterrupt())
    for named, reason in ((trial, "version 1 of the registered model"), (stopped, "stopped, and resumed from its wei")):
        with pytest.raises(InputError, match=f"{named}. keeps its weights: it is {reason}"):
            delete([named], weights=True)
    linked = training("linked")
    folder = store / f"mlruns/0/{linked}/artifacts"
    (folder / "checkpoints").mkdir()
    folder.symlink_to(shutil.move(folder, tmp_path / "disk"))
    assert [each["kind"] for each in delete([linked], weights=True)["left"]] == ["weights"]
    assert (folder / "checkpoints").exists()
