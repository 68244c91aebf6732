"""Stores that older versions have written: refused, and upgraded by ``tmlm doctor --upgrade``, whatever happens."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError
from pipeline.runs import doctor
from pipeline.runs.push import push
from pipeline.search.study.storage import open_storage
from pipeline.tracking.queries import listed_trainings
from pipeline.tracking.store import look, setup, upgrade
from tests.cli.commands import run
from tests.labs import TrainedStore, everything, execute


@pytest.fixture
def old(no_store: Path, trained_store: TrainedStore) -> Path:
    """The database of a store with a training, and a storage of Optuna beside it, as older versions have made them."""
    trained_store.copy(no_store)
    database = no_store / "mlruns" / "mlflow.db"
    command.downgrade(_get_alembic_config(f"sqlite:///{database}"), "-2")
    storage = optuna.storages.RDBStorage(f"sqlite:///{database.parent}/optuna.db")
    optuna.create_study(storage=storage, study_name="kept")
    storage.engine.dispose()  # else this process has it open
    execute(database.with_name("optuna.db"), "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    return database


def test_an_older_store_is_refused_as_it_is_until_it_is_upgraded_with_a_backup(old):
    before = everything(old)
    with pytest.raises(InputError, match=r"out-of-date.*`tmlm doctor --upgrade`"):
        look()
    assert everything(old) == before
    doctor.upgrade()
    assert [training.state for training in listed_trainings()] == ["finished"]
    assert optuna.get_all_study_names(f"sqlite:///{old.parent}/optuna.db") == ["kept"]
    (backup,) = old.parent.glob("mlflow.db.before-upgrade-2*")
    assert everything(backup) == before
    assert doctor.upgrade() == [f"{file} is up to date" for file in (old, old.with_name("optuna.db"))]
    assert len(list(old.parent.glob("*.before-upgrade-*"))) == 2, "one of each database"


def test_a_store_that_is_in_use_is_refused(old):
    with old.open("rb") as file, subprocess.Popen(["sleep", "300"], stdin=file) as user:  # as a UI or a search has it
        with pytest.raises(InputError, match=rf"is in use by sleep \(pid {user.pid}\); stop it first"):
            doctor.upgrade()
        user.kill()
    assert not list(old.parent.glob("*.before-upgrade-*"))


NOTE = "INSERT INTO tags SELECT 'mlflow.note.content', 'recorded after the kill', run_uuid FROM runs"


@pytest.mark.parametrize("is_upgraded", [True, False])
def test_what_was_recorded_since_another_version_was_cut_off_is_not_lost(old, is_upgraded):
    unfinished = old.with_name("mlflow.db.before-upgrade-unfinished")
    shutil.copyfile(old, unfinished)
    if is_upgraded:
        command.upgrade(_get_alembic_config(f"sqlite:///{old}"), "heads")
    execute(old, "DELETE FROM tags WHERE key = 'mlflow.note.content'")
    execute(old, NOTE)
    recorded = everything(old)
    if is_upgraded:
        doctor.upgrade()
        assert len(list(old.parent.glob("mlflow.db.before-upgrade-2*"))) == 1
    else:
        with pytest.raises(InputError, match=rf"an upgrade of {old} was cut off, and {unfinished} is"):
            doctor.upgrade()
    assert everything(old) == recorded
    assert unfinished.exists() != is_upgraded


@pytest.mark.parametrize("name", ["alembic_version", "registered_models"])
def test_a_view_in_place_of_a_table_is_not_read(old, name):
    execute(old, f"ALTER TABLE {name} RENAME TO honest")
    execute(old, f"CREATE VIEW {name} AS SELECT * FROM honest")  # as an endless one
    with pytest.raises(InputError, match=rf"{old} has a view or virtual table {name}"):
        look()
    with pytest.raises(InputError, match=rf"{old} has a view or virtual table {name}"):
        doctor.upgrade()


def test_what_other_stores_have_in_place_of_a_table_is_not_read(store, empty_database, tmp_path):
    setup()
    other, studies = tmp_path / "other.db", store / "mlruns" / "optuna.db"
    shutil.copyfile(empty_database, other)
    optuna.storages.RDBStorage(f"sqlite:///{studies}").engine.dispose()
    for database, name in ((other, "registered_models"), (studies, "trials")):
        execute(database, f"ALTER TABLE {name} RENAME TO honest")
        execute(database, f"CREATE VIEW {name} AS SELECT * FROM honest")
    with pytest.raises(InputError, match=rf"{other} has a view or virtual table registered_models"):
        push(str(other), "all")
    with pytest.raises(InputError, match=rf"{studies} has a view or virtual table trials"):
        open_storage(SearchConfig())


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
def test_a_store_without_a_revision_is_refused_and_one_with_a_second_column_is_upgraded(old, name):
    execute(old.with_name(name), "ALTER TABLE alembic_version ADD COLUMN more")
    assert len(doctor.upgrade()) == 4
    execute(old.with_name(name), "DELETE FROM alembic_version")
    with pytest.raises(InputError, match=rf"{name} has no revision in its table alembic_version"):
        doctor.upgrade()


def test_ctrl_c_stops_an_upgrade(old, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = everything(old)
    monkeypatch.setattr("alembic.command.upgrade", interrupt)
    with pytest.raises(KeyboardInterrupt):
        doctor.upgrade()
    assert everything(old) == before
    assert not list(old.parent.glob("*before-upgrade*"))


def test_a_store_of_a_newer_mlflow_stays_as_it_is_and_that_of_a_server_is_left_to_who_runs_it(old, monkeypatch):
    execute(old, "UPDATE alembic_version SET version_num = 'newer'")
    before = everything(old)
    with pytest.raises(RecordingError, match=r"is as it was, .* Can't locate revision identified by 'newer'"):
        doctor.upgrade()
    assert (everything(old), list(old.parent.glob("*.before-upgrade-*"))) == (before, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code, _, said = run("doctor", "--upgrade")
    assert (code, "whoever runs http://127.0.0.1:1 has to" in said) == (2, True)


def upgrade_until(moment: int, seen: Any) -> None:
    """Upgrade, and be killed after so many statements of migrations, connections, renames and removals."""

    def count(*_: object) -> None:
        seen.value += 1
        if seen.value == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    moments = "sqlite3.connect", "os.rename", "os.remove"
    event.listen(Engine, "before_cursor_execute", count)
    sys.addaudithook(lambda name, given: count() if name in moments else None)
    upgrade()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_is_recorded_after_an_upgrade_was_killed_is_kept_and_the_next_one_completes_it(old, tmp_path):
    fork, results, total = multiprocessing.get_context("fork"), list[list[str]](), 0
    execute(old, "DELETE FROM tags WHERE key = 'mlflow.note.content'")
    shutil.copytree(old.parent, tmp_path / "made")
    for tenth in range(11):
        shutil.rmtree(old.parent)
        shutil.copytree(tmp_path / "made", old.parent)
        for moment in (tenth * total // 10, 0):
            process = fork.Process(target=upgrade_until, args=(moment, seen := fork.Value("i", 0)))
            process.start()
            process.join()
            assert process.exitcode == (-signal.SIGKILL if moment else 0)
            if moment or not total:
                execute(old, NOTE)
            total = total or seen.value
        results.append(sorted(everything(old).splitlines()))  # sorted, as MLflow makes indexes in any order
        assert results[-1] == results[0], f"killed at the moment {tenth * total // 10} of {total}"
        assert not [*old.parent.glob("*unfinished*"), *old.parent.glob(".*before-upgrade*")]
