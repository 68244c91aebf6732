"""What a recorded result depends on: a module's source and all of ours that it imports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.support import code_digest as code_digest_module
from pipeline.support.code_digest import LEFT_OUT, code_digest, modules_behind, own_code_digest
from pipeline.tracking.step import RECORDING, STAGE_MODULES, step_key


def forget() -> None:
    for function in (code_digest_module._read, code_digest_module._digest_with_imports, code_digest, own_code_digest):
        function.cache_clear()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of three modules, a -> b, and c alone."""
    monkeypatch.setattr(code_digest_module, "ROOT", tmp_path)
    forget()
    (tmp_path / "models").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "a.py").write_text("import os\ndef f():\n    from models.b import x\n")
    (tmp_path / "models" / "b.py").write_text("x = 1\n")
    (tmp_path / "pipeline" / "c.py").write_text("import json\n")
    yield tmp_path
    forget()


def digest_of(*names: str) -> str:
    forget()
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


# --- what counts, and what does not ----------------------------------------------------------------------------------

SOURCE = '''"""A module."""
import logging
import math
from dataclasses import dataclass

from models.b import x
from pipeline.errors import InputError

log = logging.getLogger(__name__)


@dataclass
class Options:
    """Options."""

    rate: float = option(0.5, help="The rate.")


def double(value: float, unit: str = "m") -> str:
    """Twice a value."""
    if value < 0:
        raise InputError(f"the value is {value:.2f}; give one above 0")
    if value > 9:
        log.warning("The value %s is large", value)
    return f"{2 * value * x} {unit}"
'''


def with_source(project: Path, source: str) -> str:
    (project / "pipeline" / "d.py").write_text(source)
    return digest_of("pipeline.d")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * value", "3 * value"),
        ("value < 0", "value <= 0"),
        ('{unit}"', ' {unit}"'),  # a text that is a result
        ('= "m"', '= "cm"'),
        ("option(0.5", "option(0.6"),
        ("raise InputError", "raise ValueError"),
        ("import math", "import cmath as math"),
        ("import x", "import y as x"),
        ("models.b", "pipeline.c"),
        ("@dataclass\n", ""),
    ],
)
def test_another_computation_is_another_digest(project, old, new):
    assert old in SOURCE
    assert with_source(project, SOURCE.replace(old, new, 1)) != with_source(project, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another description."""'),
        ('"""Options."""', '"""What may be set."""'),
        ('"""Twice a value."""', '"""Two times a value."""\n    # doubled'),
        ('"""Twice a value."""\n    ', ""),
        ("the value is {value:.2f}; give one above 0", "{value} is below 0"),
        ("The value %s is large", "%s: a large value"),
        ("The rate.", "How fast."),
        ("import math\n", "import math\n\n\n"),
        (
            "from models.b import x\nfrom pipeline.errors import InputError",
            "from pipeline.errors import InputError\nfrom models.b import x",
        ),
    ],
)
def test_other_words_are_the_same_digest(project, old, new):
    assert old in SOURCE
    assert with_source(project, SOURCE.replace(old, new, 1)) == with_source(project, SOURCE)


def test_a_module_that_is_moved_leaves_the_digest_as_it_is(project):
    before = digest_of("pipeline.a")
    (project / "pipeline" / "text").mkdir()
    (project / "models" / "b.py").rename(project / "pipeline" / "text" / "moved.py")
    source = (project / "pipeline" / "a.py").read_text().replace("models.b", "pipeline.text.moved")
    (project / "pipeline" / "a.py").unlink()
    (project / "pipeline" / "text" / "first.py").write_text(source)
    assert modules_behind("pipeline.text.first") == ["pipeline.text.first", "pipeline.text.moved"]
    assert digest_of("pipeline.text.first") == before


def test_a_name_that_is_taken_from_another_module_is_another_digest(project):
    (project / "pipeline" / "c.py").write_text("x = 2\n")
    (project / "pipeline" / "d.py").write_text("import pipeline.c\nfrom models.b import x\n")
    before = digest_of("pipeline.d")
    (project / "pipeline" / "d.py").write_text("import models.b\nfrom pipeline.c import x\n")
    assert digest_of("pipeline.d") != before


def test_modules_that_only_word_fetch_and_handle_files_do_not_count(project):
    before = with_source(project, SOURCE)
    (project / "pipeline" / "errors.py").write_text("class InputError(Exception): code = 7\n")
    assert digest_of("pipeline.d") == before


def test_what_is_left_out_and_what_stages_name_are_modules():
    named = {name for names in STAGE_MODULES.values() for name in names}
    for name in LEFT_OUT | named | set(RECORDING.values()):
        assert code_digest_module._source(name).is_file(), name


@pytest.mark.parametrize(("addition", "same"), [("MORE = 1\n", False), ("# more\n", True)])
def test_the_key_of_a_training_follows_what_records_it(monkeypatch, tmp_path: Path, addition, same):
    before = step_key("train", {})
    real: Callable[[str], Path] = code_digest_module._source

    def altered(name: str) -> Path:
        if name != RECORDING["train"]:
            return real(name)
        (tmp_path / "altered.py").write_text(real(name).read_text() + addition)
        return tmp_path / "altered.py"

    forget()
    monkeypatch.setattr(code_digest_module, "_source", altered)
    try:
        assert (step_key("train", {}) == before) is same
    finally:
        forget()


def test_training_depends_on_the_cells_and_preparing_does_not():
    train, prepare = modules_behind(*STAGE_MODULES["train"]), modules_behind(*STAGE_MODULES["prepare"])
    assert {"models.cells", "pipeline.training.loop", "pipeline.text.batches", "pipeline.text.corpus"} <= set(train)
    assert not {"models.cells", "pipeline.training.loop"} & set(prepare)
    for stage in STAGE_MODULES:
        behind = modules_behind(*STAGE_MODULES[stage])
        assert not {
            "pipeline.tracking.runs",
            "pipeline.tracking.store",
            "pipeline.cli.main",
            "pipeline.support.plotting",
        } & set(behind), stage
