"""The project's own promises: MLproject, --help, conda.yaml and the documents agree; every library has one door."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from pipeline.cli.main import cli
from pipeline.cli.options import Auto
from pipeline.report.statements.table import KINDS, report_statements
from pipeline.report.statements.verdicts import WORDS
from pipeline.report.table import report_table

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
PROJECT, CONTRACTS = PYPROJECT["project"], PYPROJECT["tool"]["importlinter"]["contracts"]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
COMMAND_OF = {"main": "pipeline"}  # an entry point is the command of its name, but for this one
PARAMETER_OF = {"prompts": "prompt"}  # click's variable -> the parameter's name
UNDER_MLFLOW = set(cli.commands) - {
    "runs",
    "compare",
    "chat",
    "recommend",
    "export",
    "ui",
    "doctor",
    "cluster",
    "node",
}  # these are for a person at a terminal
RECORDED = ROOT / "tests" / "data" / "store-0.1.tar.xz"  # a store on a text of made-up words: packed, no text to read
SOURCES = sorted([*ROOT.glob("models/**/*.py"), *ROOT.glob("pipeline/**/*.py")])
PAGES = sorted(ROOT.glob("docs/*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in PAGES)]
CHANGES = re.findall(r"^\| (?:a|an) .*\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)  # its "Where do I change ..."


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines()]


@cache
def imports_of(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            assert path.parent.name == "known_cost", f"{path} has a relative import; only the folder to copy may"
            found.add(f"pipeline.search.known_cost.{node.module}")
    return found


def packages_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


# --- MLproject, click and the dataclasses ----------------------------------------------------------------------------


def options_for_mlflow(command: click.Command) -> list[click.Parameter]:
    """All that have a value of their own: MLflow would record "auto", or nothing, as the value of any other."""
    return [
        p
        for p in command.params
        if p.name != "as_json" and (p.default not in ("auto", None) or p.required or p.name == "corpus")
    ]


def default_for_mlflow(parameter: click.Parameter) -> str | None:
    """A parameter's default as MLproject writes it; None for a required one."""
    if isinstance(parameter, click.Argument):
        return None
    default = parameter.default
    if isinstance(default, bool):
        return str(default).lower()
    return str(default[0] if isinstance(default, list | tuple) else default)


def test_every_command_that_records_is_an_entry_point_and_no_other():
    entries = {COMMAND_OF.get(name, name) for name in MLPROJECT["entry_points"]}
    assert entries == UNDER_MLFLOW


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_entry_point_has_the_commands_options_and_defaults(entry):
    command = cli.commands[COMMAND_OF.get(entry, entry)]
    expected = {PARAMETER_OF.get(p.name, p.name): default_for_mlflow(p) for p in options_for_mlflow(command)}
    written = {
        name: None if isinstance(value, str) else str(value["default"])
        for name, value in MLPROJECT["entry_points"][entry]["parameters"].items()
    }
    assert written == expected


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_entry_point_passes_each_parameter_to_its_option_unquoted(entry):
    command = cli.commands[COMMAND_OF.get(entry, entry)]
    words = ["python", "-m", "pipeline", command.name]
    for parameter in options_for_mlflow(command):
        name = PARAMETER_OF.get(parameter.name, parameter.name)
        words += [f"{{{name}}}"] if isinstance(parameter, click.Argument) else [parameter.opts[0], f"{{{name}}}"]
    assert MLPROJECT["entry_points"][entry]["command"].split() == words


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_mlproject_defaults_are_accepted_by_the_command(entry):
    """What MLflow passes when the user says nothing is what click has when the user says nothing."""
    command = cli.commands[COMMAND_OF.get(entry, entry)]
    args: list[str] = []
    for parameter in options_for_mlflow(command):
        default = default_for_mlflow(parameter)
        args += ["m"] if default is None else [parameter.opts[0], default]
    silent = ["m"] if "m" in args else []
    assert command.make_context("x", args).params == command.make_context("x", silent).params


def test_every_option_that_a_preset_decides_says_auto():
    for name in ("train", "pipeline"):
        automatic = [p for p in cli.commands[name].params if isinstance(p.type, Auto)]
        assert len(automatic) > 5
        assert {p.default for p in automatic} == {"auto"}


# --- dependencies ----------------------------------------------------------------------------------------------------


def test_conda_yaml_lists_the_dependencies_of_pyproject():
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    (pip,) = (item["pip"] for item in conda["dependencies"] if isinstance(item, dict))
    assert pip == PROJECT["dependencies"]
    assert MLPROJECT["conda_env"] == "conda.yaml"


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    package_of = {"yaml": "pyyaml"}
    declared = {re.split("[<>=]", line)[0] for line in PROJECT["dependencies"]}
    imported = {name for path in SOURCES for name in packages_of(path)} - set(sys.stdlib_module_names)
    imported = {package_of.get(name, name) for name in imported} - {"models", "pipeline", "pydoc_data"}
    optional = {re.split("[<>=]", line)[0] for name in ("onnx", "cluster") for line in EXTRAS[name]}
    assert declared <= imported <= declared | optional


def test_every_data_file_of_a_package_is_declared_and_so_installed():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    declared = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    folders = [ROOT.joinpath(*package.split(".")) for package in ("models", "pipeline")]
    there = {path for path in tracked_files() if path.suffix != ".py" and any(path.is_relative_to(f) for f in folders)}
    assert there
    assert there == declared


def test_type_checkers_are_told_that_both_packages_have_types():
    assert (ROOT / "models" / "py.typed").is_file()
    assert (ROOT / "pipeline" / "py.typed").is_file()


# --- structure -------------------------------------------------------------------------------------------------------


def test_models_know_nothing_of_files_trackers_and_command_lines():
    """Beside torch and numpy they import what calculates and describes; ptflops, one of them (see above)."""
    of_the_standard_library = {
        "collections",
        "copy",
        "dataclasses",
        "functools",
        "io",
        "itertools",
        "math",
        "typing",
        "zlib",
    }
    allowed = {"models", "torch", "numpy", "ptflops"} | of_the_standard_library
    for path in ROOT.glob("models/*.py"):
        assert packages_of(path) <= allowed, path


def test_every_package_has_its_layer():
    """A package that no layer names would be free to import anything."""
    (layers,) = (each["layers"] for each in CONTRACTS if each["type"] == "layers")
    named = {name.strip() for layer in layers for name in layer.split("|")}
    parts = {path.stem for path in (ROOT / "pipeline").iterdir() if not path.name.startswith(("__", "py.typed"))}
    assert named == {"models", *(f"pipeline.{name}" for name in parts - {"checkpoints", "samples"})}  # for 0.1's models


def test_the_sampler_may_import_no_package_of_ours():
    (contract,) = (each for each in CONTRACTS if each.get("source_modules") == ["pipeline.search.known_cost"])
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES if path.stem != "__init__"]
    forbidden = tuple(contract["forbidden_modules"])
    free = {name for name in modules if not any(name == each or name.startswith(f"{each}.") for each in forbidden)}
    others = {name for name in free if not name.startswith("pipeline.search.known_cost.")}
    assert others == {
        "pipeline.__main__",
        "pipeline.checkpoints",
        "pipeline.samples",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pipeline/search/front.py", "import mlflow"),
        ("pipeline/text/batches.py", "import pipeline.training.loop"),
        ("pipeline/report/table.py", "import pipeline.search.space"),
        ("models/cells.py", "import pipeline.errors"),
    ],
)
def test_the_linter_refuses_an_import_that_the_layers_or_the_doors_forbid(tmp_path, module, line):
    for name in ("models", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run() -> int:
        return subprocess.run(lint, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    assert run() == 0
    (tmp_path / module).write_text(f"{(tmp_path / module).read_text()}\n{line}\n")
    assert run() == 1


def test_packages_hold_a_docstring_only():
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(packages) > 10
    for package in packages:
        body = ast.parse(package.read_text()).body
        assert len(body) == 1, package
        assert isinstance(body[0], ast.Expr), package


def test_the_top_level_holds_what_is_needed_and_nothing_else():
    allowed = {
        "models", "pipeline", "tests", "mlruns", "docs", ".ci", ".gitignore", "MLproject", "conda.yaml", "mlflow.db",
        "pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
        "CITATION.cff", "Dockerfile", ".dockerignore", ".editorconfig", ".github", ".pre-commit-config.yaml",
    }  # fmt: skip
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} <= allowed


def test_one_database_for_mlflow_run_and_everything_else():
    """A bare `mlflow ui` and `mlflow run` use ./mlflow.db, which is mlruns/mlflow.db."""
    assert (ROOT / "mlflow.db").is_symlink()
    assert (ROOT / "mlflow.db").readlink() == Path("mlruns/mlflow.db")
    assert [path.name for path in tracked_files() if path.parent == ROOT / "mlruns"] == [".gitkeep"]


def test_no_book_is_kept_in_the_repository():
    for path in tracked_files():
        if path.is_file() and not path.is_symlink() and path.suffix not in (".png", ".svg"):
            is_kept_report = ROOT / "docs" / "report" in path.parents  # a page with its data, made by ``reproduce``
            largest = 800_000 if is_kept_report else 100_000
            assert path.stat().st_size < largest, f"{path} is large: what is it?"


def test_no_eighty_characters_of_the_book_are_kept_in_the_repository(book):
    """Whatever the lines, capitals and punctuation are; every eighty that begin with a word of the book are looked for.

    A sample text has some words of it in a row, and the documents a few of its prompts. The recorded store is packed;
    what it was trained on is made up, and the test of it holds that.
    """

    def eighties(text: str) -> Iterator[str]:
        words = " ".join(re.findall("[a-z]+", text.lower()))
        starts = (match.start() for match in re.finditer(r"\b[a-z]", words))
        return (piece for start in starts if len(piece := words[start : start + 80]) == 80)

    of_the_book = set(eighties(book.read_text()))
    assert len(of_the_book) > 30_000
    for path in tracked_files():
        if path.is_file() and not path.is_symlink() and path.suffix != ".png" and path != RECORDED:
            kept = of_the_book & set(eighties(path.read_text()))
            assert not kept, f"{path} has {len(kept)} pieces of the book"


# --- start-up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in sorted(cli.commands))], ids=" ".join)
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys\nfrom pipeline.cli.main import cli\n"
        f"try: cli({words!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'mlflow', 'numpy', 'matplotlib', 'optuna') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage: " in done.stdout


# --- documents -------------------------------------------------------------------------------------------------------


def test_readme_fits_on_a_few_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_readme_has_a_row_for_each_command_and_usage_shows_each_entry_point():
    readme, usage = (ROOT / "README.md").read_text(), "".join(page.read_text() for page in PAGES)
    for name in cli.commands:
        assert f"| `tmlm {name}" in readme, name
        assert re.search(rf"(tmlm|-m pipeline|-e) {name}\b", usage), name


def test_readme_has_a_row_for_each_document():
    readme = (ROOT / "README.md").read_text()
    for page in PAGES:
        assert f"| [docs/{page.name}](docs/{page.name}) |" in readme


def test_the_tour_is_kept_with_its_results_and_without_messages():
    """Messages name folders of the machine that ran it."""
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} == {"execute_result", "stream"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_lead_somewhere(name):
    """To a file of the repository, and to a heading that the page has."""
    path = ROOT / name
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", path.read_text())
    for target in (link or source for link, source in targets):
        if not target.startswith("http"):
            file, _, heading = target.partition("#")
            page = path.parent / file if file else path
            assert page.exists(), target
            if heading:
                heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
                assert heading in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, target


def test_contributings_tree_names_every_package_and_nothing_that_is_not_there():
    (tree,) = re.findall(r"^```\n(MLproject .*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    tracked = {str(path.parent.relative_to(ROOT)) for path in tracked_files() if path.name == "__init__.py"}
    assert {package for package in tracked if package.split("/")[0] != "tests"} <= named


@pytest.mark.parametrize("row", CHANGES, ids=[row.split("|")[1].strip() for row in CHANGES])
def test_what_contributing_says_to_change_is_there(row):
    """The files, and each name that it mentions stands in one of them."""
    _, _, files, what, _ = row.split("|")
    paths = [name for name in re.findall(r"`([^`]+)`", files + what) if "/" in name or name == "MLproject"]
    assert 1 <= len(re.findall("`[^`]+`", files)) <= 2
    assert [name for name in paths if not (ROOT / name).exists()] == []
    sources = "\n".join((ROOT / name).read_text() for name in paths if (ROOT / name).is_file())
    names = [name for name in re.findall(r"`([A-Za-z_.]+)`", what) if name not in paths and not name.endswith(".py")]
    assert [name for name in names if name.split(".")[-1] not in sources] == []


def test_ci_and_contributing_call_the_same_targets():
    targets = set(re.findall(r"^(?:.* \|\| )?make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), re.M))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for target in targets - {"setup"}:
        assert f"make {target}" in contributing
    rules = dict(re.findall(r"^([\w-]+):([\w -]*)", (ROOT / "Makefile").read_text(), re.M))
    assert targets <= set(rules)
    assert targets - {"setup", "run"} == set(rules["check"].split())


@pytest.mark.parametrize(("target", "tools"), [("run", False), ("ui", False), ("test", True), ("lint", True)])
def test_running_needs_no_development_tools_and_the_hint_comes_before_the_download(target, tools, tmp_path):
    """What make would do for a checkout without an environment."""
    words = ["make", "--dry-run", target, f"ENV={tmp_path}/env", f"PYTHON={sys.executable}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    printed = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert ("'.[dev]'" in printed) == tools
    assert printed.index("PIP_EXTRA_INDEX_URL=") < printed.index("--editable '.")


def test_reproduction_has_the_figures_of_the_kept_report():
    """Its table of the reproduction, cell by cell, from what ``tmlm report --json`` printed of that run."""
    result = json.loads((ROOT / "docs" / "report" / "result.json").read_text())
    lines = (ROOT / "docs" / "reproduction.md").read_text().splitlines()
    rows = {cells[1]: cells[3:8] for line in lines if len(cells := [each.strip(" *") for each in line.split("|")]) == 9}
    shown = ("train_perplexity", "val_perplexity", "best_val_perplexity", "stream_test_perplexity")
    for row in result["configurations"]:
        trained = f"{row['seeds']} x {row['epochs']}" if row["seeds"] else ""
        expected = [trained, *("" if row[name] is None else f"{row[name]:.2f}" for name in shown)]
        assert rows[row["id"]] == expected


def test_the_kept_report_is_of_the_reports_own_table():
    result = json.loads((ROOT / "docs" / "report" / "result.json").read_text())
    assert [row["id"] for row in result["configurations"]] == [row.id for row in report_table().rows]
    assert not result["quick"]
    page = (ROOT / "docs" / "report" / "report.md").read_text()
    words = [verdict["verdict"] for verdict in result["verdicts"].values()]
    counts = [words.count(word) for word in WORDS]
    tally = "{} are reproduced and {} in part, {} right for a wrong reason, {} not reproduced and {} open".format(
        *counts
    )
    assert f"Of the report's {len(words)} statements, {tally}" in page
    reproduction = " ".join((ROOT / "docs" / "reproduction.md").read_text().split())
    assert f"{len(report_statements())} of {len(KINDS)} kinds" in reproduction
    assert f"Of its {len(words)} statements, {tally}" in reproduction
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"of its {len(words)} statements about such networks {tally}" in readme


def test_mlflows_own_lines_do_not_open_each_make_run_unless_they_are_asked_for():
    show = ["make", "--silent", "--eval=show: ; @echo $(MLFLOW_LOGGING_LEVEL) $$MLFLOW_LOGGING_LEVEL", "show"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_LOGGING_LEVEL"}

    def shown(**more: str) -> str:
        done = subprocess.run(show, cwd=ROOT, env={**environment, **more}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert shown() == "WARNING WARNING"
    assert shown(MLFLOW_LOGGING_LEVEL="INFO") == "INFO INFO"
