"""The package for OptunaHub: it loads as the registry's packages do, and is the sampler of this project."""

import inspect
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import optunahub
import pytest

from pipeline.search.known_cost.sampler import KnownCostSampler
from tests.optunahub import assemble, example


@pytest.fixture
def package(tmp_path) -> ModuleType:
    """The assembled package, loaded from a local registry."""
    root = assemble.assemble(tmp_path)
    module: ModuleType = optunahub.load_local_module(assemble.PACKAGE, registry_root=str(root))
    return module


def proposals(sampler: optuna.samplers.BaseSampler) -> list[dict[str, Any]]:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(example.objective, n_trials=7)
    return [trial.params for trial in study.trials]


def test_the_package_is_loaded_from_its_own_folder(package, tmp_path):
    assert inspect.getfile(package.KnownCostSampler).startswith(str(tmp_path))
    assert package.KnownCostSampler.__module__ == "optunahub_registry.package.samplers.known_cost.sampler"


def test_the_package_proposes_what_the_project_s_sampler_proposes(package, monkeypatch):
    monkeypatch.setattr("random.lognormvariate", lambda mean, deviation: 1.0)
    ours, theirs = (made(example.log10_weights, seed=0) for made in (KnownCostSampler, package.KnownCostSampler))
    assert proposals(theirs) == proposals(ours)


def test_the_example_runs_with_the_package(package, monkeypatch, capsys):
    local = {assemble.PACKAGE: package}
    monkeypatch.setattr(optunahub, "load_module", lambda package: local[package])
    runpy.run_path(str(Path(inspect.getfile(package)).parent / "example.py"), run_name="__main__")
    assert "'width'" in capsys.readouterr().out


def test_the_tests_of_the_registry_pass_and_its_readme_has_its_figure(package, tmp_path, monkeypatch):
    folder = Path(inspect.getfile(package)).parent
    monkeypatch.chdir(tmp_path)
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
