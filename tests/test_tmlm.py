"""``import tmlm``: the Python API under one name, and an error where another package has ours' names."""

import runpy
import sys

import pytest

import tmlm
from pipeline import api
from pipeline.support.files import ROOT


def test_it_has_the_public_names_of_the_api_and_no_other():
    assert {name for name in vars(tmlm) if not name.startswith("_")} == set(api.__all__)


@pytest.mark.parametrize("place", ["models.py", "pipeline.py", "pipeline/__init__.py", "models"])
def test_what_hides_a_package_is_named_and_not_run(tmp_path, monkeypatch, place):
    """A folder without __init__.py hides a package that was installed as editable."""
    name = place.split("/")[0].removesuffix(".py")
    if place == name:
        (tmp_path / place).mkdir()
    else:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("raise SystemExit")
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ImportError, match=f"^{tmp_path / place} hides the package {name} .*rename it"):
        runpy.run_path(str(ROOT / "tmlm.py"))
