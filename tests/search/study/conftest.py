"""Fixtures that create a study, or resume it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.config import SearchConfig
from pipeline.search.study import attributes
from pipeline.search.study.space import Space
from pipeline.search.study.storage import open_storage
from pipeline.search.study.trials import SearchStudy
from pipeline.text.corpus import Corpus
from tests.search.study.studies import SMALL


@pytest.fixture(scope="session")
def empty_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optuna's database without a study: making its tables takes longer than a study of some trials."""
    path = tmp_path_factory.mktemp("studies") / "optuna.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def begin(begin_on_nothing: Callable[..., SearchStudy], monkeypatch: pytest.MonkeyPatch) -> Callable[..., SearchStudy]:
    """Creates or resumes the study as a command would; in memory, unless ``storage`` is given."""
    memory = optuna.storages.InMemoryStorage()

    def opened(config: SearchConfig) -> optuna.storages.BaseStorage:
        memory._prev_waiting_trial_number = dict.fromkeys(memory._prev_waiting_trial_number, 0)  # as a new process
        return memory if config.storage == "auto" else open_storage(config)

    monkeypatch.setattr("pipeline.search.study.trials.open_storage", opened)
    return begin_on_nothing


@pytest.fixture
def begin_on_disk(
    begin_on_nothing: Callable[..., SearchStudy], no_store: Path, empty_studies: Path
) -> Callable[..., SearchStudy]:
    """Creates or resumes the study in a database file that exists."""
    (no_store / "mlruns").mkdir()
    shutil.copy(empty_studies, no_store / "mlruns" / "optuna.db")
    return begin_on_nothing


@pytest.fixture
def begin_on_nothing(no_store: Path, corpus: Corpus) -> Callable[..., SearchStudy]:
    """Creates the study, and its database, which does not exist yet."""

    def begun(**options: Any) -> SearchStudy:
        config = SearchConfig(**{**SMALL, **options})
        search = SearchStudy(config, Space.of(config), corpus)
        attributes.set_of_study(search.study, attributes.PARENT, "parent")
        return search

    return begun
