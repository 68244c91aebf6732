"""The package for OptunaHub: it loads as the registry's packages do, and is the sampler of this project."""

import inspect
import runpy
from pathlib import Path
from types import ModuleType

import optunahub
import pytest

from pipeline.known_cost.sampler import KnownCostSampler
from tests.known_cost.optunahub import assemble


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> ModuleType:
    """The assembled package, loaded from a local registry."""
    root = assemble.assemble(tmp_path_factory.mktemp("registry"))
    module: ModuleType = optunahub.load_local_module(assemble.PACKAGE, registry_root=str(root))
    assert module.KnownCostSampler.__module__ == "optunahub_registry.package.samplers.known_cost.sampler"
    return module


def test_the_example_runs_with_the_package(package, monkeypatch, capsys):
    local = {assemble.PACKAGE: package}
    monkeypatch.setattr(optunahub, "load_module", lambda package: local[package])
    runpy.run_path(str(Path(inspect.getfile(package)).parent / "example.py"), run_name="__main__")
    assert "'width'" in capsys.readouterr().out


def test_the_tests_of_the_registry_pass_and_its_readme_has_its_figure(package, monkeypatch):
    folder = Path(inspect.getfile(package)).parent
    monkeypatch.chdir(folder.parents[2])
    for name, value in runpy.run_path(str(folder / "tests" / "test_sampler.py")).items():
        if name.startswith("test_"):
            value()
    assert f"]({next(folder.glob('images/*.png')).relative_to(folder)})" in (folder / "README.md").read_text()


def test_the_readme_gives_the_signature_that_the_sampler_has():
    signature = ", ".join(
        str(parameter).split(":")[0] + (f"={parameter.default}" if parameter.default is not parameter.empty else "")
        for name, parameter in inspect.signature(KnownCostSampler).parameters.items()
    ).replace("cost, known", "cost, *, known")
    assert f"`KnownCostSampler({signature})`" in (assemble.HERE / "README.md").read_text()
