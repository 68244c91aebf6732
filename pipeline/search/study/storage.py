"""Optuna's storage: its URL, the lock of a study, and errors in one sentence."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError
from pipeline.search.study import attributes
from pipeline.support import files
from pipeline.tracking import schema, store

STORAGE_VARIABLE = "TMLM_STORAGE"  # names another storage
TABLES = ("alembic_version", *BaseModel.metadata.tables)  # of Optuna's database


def default_storage() -> Path:
    """The default SQLite file, next to MLflow's database."""
    return store.root() / "mlruns" / "optuna.db"


def storage_url(config: SearchConfig) -> str:
    """The storage's SQLAlchemy URL."""
    return store.sqlite_address(default_storage()) if config.storage == "auto" else config.storage


def with_storage(config: SearchConfig) -> SearchConfig:
    """Take the storage from TMLM_STORAGE unless the configuration names one; raise InputError if it can't be a file."""
    named = os.environ.get(STORAGE_VARIABLE)
    config = replace(config, storage=named) if config.storage == "auto" and named else config
    store.refuse_no_file(storage_url(config), STORAGE_VARIABLE)
    return config


@contextmanager
def storage_errors(config: SearchConfig, *others: type[Exception]) -> Iterator[None]:
    """Raise errors of the storage, and ``others``, as a RecordingError of one sentence."""
    databases = SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError
    refusals: tuple[type[Exception], ...] = (*databases, *others)
    try:
        yield
    except refusals as error:
        where, reason = store.shown(storage_url(config)), str(error.__cause__ or error).strip().splitlines()[0]
        older = "; `tmlm doctor --upgrade` upgrades it" * isinstance(error, RuntimeError)  # tables of another Optuna
        raise RecordingError(f"the study can't be kept in {where}: {reason}; see {STORAGE_VARIABLE}{older}") from error


def open_storage(config: SearchConfig) -> RDBStorage:
    """Open the storage, or create it. Raises InputError for an invalid URL, RecordingError if it can't be used."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage_url(config)
    try:
        make_url(url)
    except (SQLAlchemyError, ValueError):  # its text may be a password alone
        raise InputError(f"{STORAGE_VARIABLE} is no SQLAlchemy address; give one such as sqlite:///optuna.db") from None
    file = store.sqlite_file(url)
    # a server closes idle connections or is restarted: test each connection, and reconnect
    arguments: dict[str, Any] = {"connect_args": {"timeout": files.LOCK_SECONDS}} if file else {"pool_pre_ping": True}
    lock = FileLock(default_storage().parent / ".optuna.lock", timeout=files.LOCK_SECONDS)
    with storage_errors(config, ImportError, RuntimeError), lock:  # a missing driver; tables of another Optuna version
        if file is not None:
            schema.refuse_views(file, TABLES)
            files.create_database(file, lambda made: RDBStorage(store.sqlite_address(made)), "alembic_version")
        storage = RDBStorage(url, engine_kwargs=arguments)
    store.sync_deletions(storage.engine)
    return storage


def upgrade() -> list[str]:
    """Upgrade the tables of an SQLite storage, as ``schema.upgrade`` does; of a server's, Optuna says what to do."""
    config = with_storage(SearchConfig())
    if (file := store.sqlite_file(storage_url(config))) is None:
        return []

    def migrate(copy: Path) -> None:
        RDBStorage(store.sqlite_address(copy), skip_compatibility_check=True).upgrade()

    with storage_errors(config, OSError):
        newest = RDBStorage("sqlite://").get_head_version()
        return schema.upgrade(file, newest, migrate, ("studies", "trials"), TABLES)


def study_lock(config: SearchConfig) -> AbstractContextManager[None]:
    """Hold the lock of a study; raise InputError if another command on this machine holds it."""
    # a digest, as a study name may be too long for a file name
    study = sha256(f"{storage_url(config)}\n{config.study_name}".encode()).hexdigest()[:16]
    refusal = (
        f"--study-name {config.study_name} is being searched by another command; wait for it, stop it, "
        "or give another name"
    )
    return files.command_lock(default_storage().parent / f".search-{study}.lock", refusal)


def kept_study(name: str) -> dict[str, Any] | None:
    """The system attributes of a search's study in the storage in use; None if there is none. Creates no storage."""
    config = with_storage(SearchConfig(study_name=name))
    file = store.sqlite_file(storage_url(config))
    if file is not None and not file.exists():
        return None
    with storage_errors(config):
        studies = {study.study_name: study for study in open_storage(config).get_all_studies()}
    kept = attributes.ours(studies[name].system_attrs) if name in studies else {}
    return kept if attributes.PROTOCOL in kept else None


def delete_study(name: str, identity: str) -> None:
    """Delete a study with its trials, if it is there. Raises InputError while it is being searched."""
    config = with_storage(SearchConfig(study_name=name))
    with study_lock(config), storage_errors(config):
        if (kept := kept_study(name)) and kept.get(attributes.IDENTITY) == identity:
            optuna.delete_study(study_name=name, storage=open_storage(config))
