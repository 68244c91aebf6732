"""Stores that older versions have written: refused, and upgraded by ``tmlm doctor --upgrade``, whatever happens."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.errors import InputError, RecordingError
from pipeline.runs import doctor
from pipeline.support.processes import process_tags
from pipeline.tracking.names import recorded_tags
from pipeline.tracking.queries import listed_trainings
from pipeline.tracking.store import look
from tests.cli.commands import run
from tests.labs import TrainedStore
from tests.tracking.test_relocation import everything

HOLD = "import sqlite3, sys; held = sqlite3.connect(sys.argv[1]); held.execute('SELECT 1 FROM runs'); print(); input()"


@pytest.fixture
def old(no_store: Path, trained_store: TrainedStore) -> Path:
    """The database of a store with a training, and a storage of Optuna beside it, as older versions have made them."""
    trained_store.copy(no_store)
    database = no_store / "mlruns" / "mlflow.db"
    command.downgrade(_get_alembic_config(f"sqlite:///{database}"), "-2")
    storage = optuna.storages.RDBStorage(f"sqlite:///{database.parent}/optuna.db")
    optuna.create_study(storage=storage, study_name="kept")
    storage.engine.dispose()  # else this process has it open
    change(database.with_name("optuna.db"), "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    return database


def change(database: Path, sql: str, *values: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(sql, values)


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


def test_a_store_is_not_upgraded_while_a_run_or_a_ui_is_alive_or_after_it_was_used_in_part(old):
    with subprocess.Popen([sys.executable, "-c", HOLD, old], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InputError, match=rf"is in use by .*\(pid {holder.pid}\).*stop it first"):
            doctor.upgrade()
        holder.communicate(b"\n")
    shutil.copyfile(old, backup := old.with_name("mlflow.db.before-upgrade-unfinished"))
    change(backup, "DELETE FROM runs")
    with pytest.raises(InputError, match=r"was used since its upgrade was cut off: move .* away"):
        doctor.upgrade()
    backup.unlink()
    change(old, "UPDATE runs SET status = 'RUNNING'")
    for tag in recorded_tags(process_tags()).items():
        change(old, "INSERT OR REPLACE INTO tags SELECT ?, ?, run_uuid FROM runs", *tag)
    with pytest.raises(InputError, match=r"is in use by the run \w{32}, .*stop it first"):
        doctor.upgrade()
    assert not list(old.parent.glob("*.before-upgrade-*"))


def test_a_store_of_a_newer_mlflow_stays_as_it_is_and_that_of_a_server_is_left_to_who_runs_it(old, monkeypatch):
    change(old, "UPDATE alembic_version SET version_num = 'newer'")
    before = everything(old)
    with pytest.raises(RecordingError, match="is as it was: Can't locate revision identified by 'newer'"):
        doctor.upgrade()
    assert (everything(old), list(old.parent.glob("*.before-upgrade-*"))) == (before, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code, _, said = run("doctor", "--upgrade")
    assert (code, "whoever runs http://127.0.0.1:1 stops its server" in said) == (2, True)


def upgrade_until(moment: int, seen: Any) -> None:
    """Upgrade, and be killed at a moment: after so many connections, statements and renames, which ``seen`` counts."""

    def count(*_: object) -> None:
        seen.value += 1
        if seen.value == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)
    sys.addaudithook(lambda name, given: count() if name in ("sqlite3.connect", "os.rename") else None)
    doctor.upgrade()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_upgrade_that_is_killed_is_completed_by_the_next_one_from_its_backup(old, tmp_path):
    fork, made = multiprocessing.get_context("fork"), tmp_path / "made"
    shutil.copytree(old.parent, made)
    before, after, total = everything(old), list[str](), 0
    for tenth in range(11):
        shutil.rmtree(old.parent)
        shutil.copytree(made, old.parent)
        for moment in (tenth * total // 11, 0):
            seen = fork.Value("i", 0)
            process = fork.Process(target=upgrade_until, args=(moment, seen))
            process.start()
            process.join()
            assert process.exitcode == (-signal.SIGKILL if moment else 0)
            backups = list(old.parent.glob("mlflow.db.before-upgrade-*"))
            assert [everything(backup) for backup in backups] in ([], [before])
        content = sorted(everything(old).splitlines())  # as MLflow makes indexes in any order
        total, after = total or seen.value, after or content
        assert (content, len(backups)) == (after, 1)
        assert not [path.name for path in old.parent.iterdir() if "unfinished" in path.name]
