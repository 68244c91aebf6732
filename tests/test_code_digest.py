"""What a recorded result depends on: a module's source and all of ours that it imports."""

import pytest

from pipeline import code_digest as module
from pipeline.code_digest import code_digest, modules_behind
from pipeline.steps import STAGE_MODULES


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of three modules, a -> b, and c alone."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    code_digest.cache_clear()
    (tmp_path / "models").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "a.py").write_text("import os\ndef f():\n    from models.b import x\n")
    (tmp_path / "models" / "b.py").write_text("x = 1\n")
    (tmp_path / "pipeline" / "c.py").write_text("import json\n")
    yield tmp_path
    code_digest.cache_clear()


def digest_of(*names):
    code_digest.cache_clear()
    return code_digest(*names)


def test_a_modules_digest_follows_its_imports_wherever_they_stand(project):
    assert modules_behind("pipeline.a") == ["models.b", "pipeline.a"]
    before = digest_of("pipeline.a"), digest_of("pipeline.c")
    (project / "models" / "b.py").write_text("x = 2\n")
    assert digest_of("pipeline.a") != before[0]
    assert digest_of("pipeline.c") == before[1]


def test_import_of_a_name_and_of_a_module_are_both_followed(project):
    (project / "pipeline" / "c.py").write_text("from pipeline import a\n")
    assert modules_behind("pipeline.c") == ["models.b", "pipeline.a", "pipeline.c"]


def test_circles_end(project):
    (project / "models" / "b.py").write_text("import pipeline.a\n")
    assert modules_behind("models.b") == ["models.b", "pipeline.a"]


def test_training_depends_on_the_cells_and_preparing_does_not():
    train, prepare = modules_behind(*STAGE_MODULES["train"]), modules_behind(*STAGE_MODULES["prepare"])
    assert {"models.cells", "pipeline.training", "pipeline.batches", "pipeline.corpus"} <= set(train)
    assert not {"models.cells", "pipeline.training"} & set(prepare)
    for stage in STAGE_MODULES:
        behind = modules_behind(*STAGE_MODULES[stage])
        assert not {"pipeline.tracking", "pipeline.store", "pipeline.cli", "pipeline.figures"} & set(behind), stage
