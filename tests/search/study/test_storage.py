"""Optuna's storage: its address, its passwords, its lock, and what of Optuna is private."""

import ast
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution

from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError
from pipeline.search.study import attributes
from pipeline.search.study.storage import open_storage, study_lock, with_storage
from tests.databases import standing_in


def test_two_commands_can_not_work_on_one_study(no_store):
    config = SearchConfig()
    with (
        study_lock(config),
        pytest.raises(InputError, match="is being searched by another command"),
        study_lock(config),
    ):
        pass
    with study_lock(config):
        pass


def test_a_storage_on_a_server_survives_that_its_idle_connections_are_cut(tmp_path, no_store):
    """By an idle timeout, PgBouncer, NAT or a restart."""
    with standing_in(tmp_path / "optuna.db"):
        storage = open_storage(SearchConfig(storage="postgresql+standin://u@host/db"))
        study = optuna.create_study(storage=storage, study_name="cut")
        idle = storage.engine.pool.checkedin()  # type: ignore[attr-defined]
        with ExitStack() as stack:
            taken = [stack.enter_context(storage.engine.connect()) for _ in range(idle)]
            drivers = [each.connection.dbapi_connection for each in taken]
        for driver in drivers:  # while they lie idle in the pool
            assert driver is not None
            driver.close()
        assert drivers
        assert study.ask().number == 0


def test_the_storage_may_be_named_by_an_environment_variable(monkeypatch):
    secret = "postgresql://u:secret@host/db"
    monkeypatch.setenv("TMLM_STORAGE", secret)
    assert with_storage(SearchConfig()).storage == secret
    assert with_storage(SearchConfig(storage="sqlite:///a.db")).storage == "sqlite:///a.db"
    monkeypatch.setenv("TMLM_STORAGE", "")
    assert with_storage(SearchConfig()).storage == "auto"
    assert with_storage(SearchConfig(storage=secret)).storage == secret


def test_a_storage_that_is_none_is_refused_and_one_that_can_not_be_used_is_told(begin, tmp_path):
    with pytest.raises(InputError, match="TMLM_STORAGE is no SQLAlchemy address"):
        begin(storage="nonsense")
    (tmp_path / "text.db").write_text("no database at all, only text" * 100)
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*; see TMLM_STORAGE"):
        begin(storage=f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(RecordingError, match=r"the study can't be kept in .*: .*; see TMLM_STORAGE"):
        begin(storage="firebird://here/no-such-driver")


def test_no_other_private_names_of_optuna_are_used_and_these_exist():
    study, trial, values = optuna.create_study(), optuna.trial.create_trial(value=1.0), IntDistribution(1, 2)
    names = {"_storage": study, "_study_id": study, "_trial_id": trial, "_contains": values}
    assert all(hasattr(thing, name) for name, thing in names.items())
    assert optuna.study._constrained_optimization._CONSTRAINTS_KEY == attributes.CONSTRAINTS
    texts = [path.read_text() for path in Path(attributes.__file__).parents[2].rglob("*.py")]
    nodes = [node for text in texts if "optuna" in text for node in ast.walk(ast.parse(text))]
    used = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr.lstrip("_") == node.attr[1:]]
    assert {node.attr for node in used} - {node.attr for node in used if ast.unparse(node.value) == "self"} == {*names}
