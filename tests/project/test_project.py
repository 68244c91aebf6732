"""MLproject, --help, conda.yaml, .ci/run and the documents agree with the code."""

import ast
import graphlib
import inspect
import lzma
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipeline.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
COMMAND_OF = {"main": "pipeline"}  # an entry point is the command of its name, but for this one
PARAMETER_OF = {"prompts": "prompt"}  # click's variable -> the parameter's name
FOR_A_PERSON = {"runs", "compare", "chat", "best", "note", "open", "export", "push", "ui", "delete", "doctor"}
FOR_A_PERSON |= {"check", "cluster", "node"}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
SOURCES = [*ROOT.glob("models/**/*.py"), *ROOT.glob("pipeline/**/*.py")]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    return [path for line in listed.splitlines() if (path := ROOT / line).is_file() and not path.is_symlink()]


def test_no_local_name_hides_what_its_module_imports():
    for path in SOURCES:
        module = ast.parse(path.read_text())
        imports = [each for each in module.body if isinstance(each, ast.Import | ast.ImportFrom)]
        imported = {name.asname or name.name for each in imports for name in each.names}
        functions = [each for each in ast.walk(module) if isinstance(each, ast.FunctionDef)]
        nodes = [node for function in functions for node in ast.walk(function)]
        arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
        local = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        assert not imported & (arguments | local), path


def imported_modules(path: Path) -> Iterator[str]:
    """What a file imports outside of functions, with what it imports for types."""
    body = ast.parse(path.read_text()).body
    for node in [*body, *(child for each in body if isinstance(each, ast.If) for child in each.body)]:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{name.name}" for name in node.names))


def test_no_files_import_each_other_in_a_circle():
    """But for models.cells, which names the types of models.recurrent that its cells are given."""
    imports = {".".join(path.relative_to(ROOT).with_suffix("").parts): {*imported_modules(path)} for path in SOURCES}
    imports["models.cells"].remove("models.recurrent")
    graphlib.TopologicalSorter(imports).prepare()  # CycleError names the files of a circle


def test_mlflows_tags_and_addresses_stand_in_tracking_alone():
    words = re.compile(r"\bmlflow\.(?!db\b)\w|#/experiments|workflowType")
    for path in set(ROOT.glob("pipeline/**/*.py")) - set(ROOT.glob("pipeline/tracking/**/*.py")):
        strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        assert [text for text in strings if isinstance(text, str) and words.search(text)] == [], path


def test_of_our_classes_only_interfaces_data_and_exceptions_are_subclassed_in_another_file():
    """What several commands share is called, not inherited."""
    for path in SOURCES:
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        own = [each for each in imports if str(each.module).startswith(("models", "pipeline"))]
        imported = {name.asname or name.name for each in own for name in each.names}
        bases = [ast.unparse(base) for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
        names = {re.split(r"[.[]", base)[0]: re.sub(r"\[.*", "", base).rpartition(".")[2] for base in bases}
        others = {name for first, name in names.items() if first in imported and not name.endswith("Error")}
        assert others <= {"Cell", "LanguageModel", "Callback", "Pool", "Checked"}, path


def test_no_three_files_have_one_name_but_those_that_every_room_may_have():
    names = Counter(path.name for path in SOURCES)
    assert {name for name, n in names.items() if n > 2} <= {"__init__.py", "commands.py", "sentences.py", "pictures.py"}


def test_a_command_stands_in_the_room_that_it_calls():
    for command in cli.commands.values():
        for each in command.commands.values() if isinstance(command, click.Group) else [command]:
            callback: Any = each.callback
            _, room, _ = callback.__module__.split(".")
            called = re.findall(r"from pipeline\.(\w+)\S* import", inspect.getsource(callback))
            assert room in called, each.name


def test_only_two_files_declare_options_of_configurations():
    for path in {*SOURCES} - {ROOT / "models/config.py", ROOT / "pipeline/config.py"}:
        assert not re.search(r"^    \w+: .* = (option|setting)\(", path.read_text(), re.M), path


# --- MLproject -------------------------------------------------------------------------------------------------------


def written_for(parameter: click.Parameter) -> str | None:
    """A parameter's default as MLproject writes it; None for a required one."""
    if isinstance(parameter, click.Argument):
        return None
    default = parameter.default
    if isinstance(default, bool):
        return str(default).lower()
    return str(default[0] if isinstance(default, list | tuple) else default)


def test_every_command_that_records_is_an_entry_point_and_no_other():
    assert {COMMAND_OF.get(name, name) for name in MLPROJECT["entry_points"]} == set(cli.commands) - FOR_A_PERSON


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_an_entry_point_has_and_passes_the_options_of_its_command(entry):
    """But for those whose default the preset decides: MLflow would record "auto" in place of the value."""
    command = cli.commands[COMMAND_OF.get(entry, entry)]
    expected, words, defaults = {}, ["python", "-m", "pipeline", command.name], []
    for parameter in command.params:
        has_value = parameter.default not in ("auto", None) or parameter.required or parameter.name == "corpus"
        if parameter.name == "as_json" or not has_value:
            continue
        name, default = PARAMETER_OF.get(parameter.name, parameter.name), written_for(parameter)
        option = [] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
        expected[name] = default
        words += [*option, f"{{{name}}}"]
        defaults += [*option, "m" if default is None else default]
    found = MLPROJECT["entry_points"][entry]
    written = {
        name: None if value == "string" else str(value["default"]) for name, value in found["parameters"].items()
    }
    assert written == expected
    assert found["command"].split() == words  # unquoted: MLflow quotes what it substitutes
    silent = ["m"] if "m" in defaults else []
    assert command.make_context("x", defaults).params == command.make_context("x", silent).params


# --- dependencies and files ------------------------------------------------------------------------------------------


def test_conda_yaml_has_the_dependencies_and_the_citation_the_version_of_pyproject():
    conda, citation = (yaml.safe_load((ROOT / name).read_text()) for name in ("conda.yaml", "CITATION.cff"))
    assert all(citation[name] == PROJECT[name] for name in ("version", "license", "authors", "keywords"))
    assert [item["pip"] for item in conda["dependencies"] if isinstance(item, dict)] == [PROJECT["dependencies"]]


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        yield from (name.split(".")[0] for name in names)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    extras = PROJECT["optional-dependencies"]
    declared, optional = (
        {re.split("[<>=]", line)[0] for line in lines} for lines in (PROJECT["dependencies"], extras["cluster"])
    )
    imported = {name for path in SOURCES for name in imported_packages(path)} - set(sys.stdlib_module_names)
    imported -= {"models", "pipeline", "pydoc_data"}
    imported = {name.replace("yaml", "pyyaml").replace("google", "protobuf").replace("_", "-") for name in imported}
    assert declared <= imported <= declared | optional


def test_every_data_file_of_a_package_is_declared_and_so_installed():
    declared = {
        path
        for package, patterns in PYPROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    ours = [path for path in tracked_files() if path.relative_to(ROOT).parts[0] in ("models", "pipeline")]
    assert {path for path in ours if path.suffix != ".py"} == declared


def test_no_eighty_characters_of_the_book_are_kept_in_the_repository(book):
    """Whatever the lines, capitals and punctuation are. A sample text has some words of the book in a row."""

    def eighties(text: str) -> Iterator[str]:
        words = " ".join(re.findall("[a-z]+", text.lower()))
        return (words[m.start() : m.start() + 80] for m in re.finditer(r"\b[a-z]", words[:-79]))

    of_the_book = set(eighties(book.read_text()))
    assert len(of_the_book) > 30_000
    for path in tracked_files():
        if path.suffix != ".png":
            text = lzma.decompress(path.read_bytes()).decode("latin-1") if path.suffix == ".xz" else path.read_text()
            assert not of_the_book & set(eighties(text)), path


# --- commands in documents and containers ----------------------------------------------------------------------------


def options_of(words: list[str]) -> set[str]:
    """The options of the command that the words begin with."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_options_that_exist_and_its_links_lead_somewhere(path):
    text = path.read_text()
    every = {option for command in cli.commands for option in options_of([command])} | options_of(["cluster", "serve"])
    for code in [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^\$ (.+)$", text, re.M)]:
        _, is_ours, words = code.split("#")[0].rpartition("tmlm ")
        named = set(re.findall(r"(?<!\S)--[\w-]+", words))
        if is_ours:
            assert named <= options_of(words.split()), code
        elif code.startswith("--"):
            assert named <= every, code
    for target in re.findall(r"""(?:\]\(|src="|srcset=")([^)\s"]+)[)"]""", text):
        file, _, heading = target.partition("#")
        page = path.parent / file if file else path
        if not target.startswith("http"):
            heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M) if heading else []
            heads = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
            assert page.exists(), target
            assert not heading or heading in heads, target


def test_each_command_is_in_the_documents():
    documents = "".join(path.read_text() for path in DOCUMENTS)
    assert [name for name in cli.commands if f"tmlm {name}" not in documents] == []


def test_the_containers_run_commands_with_options_that_exist():
    for path in ROOT.glob("docs/cluster/*.yaml"):
        commands = re.findall(r"venv/bin/tmlm\b([^;\n]+)", re.sub(r'[][,"]', " ", path.read_text()))
        assert len(commands) > 1
        for command in commands:
            assert set(re.findall(r"--[\w-]+", command)) <= options_of(command.split()), command


def test_help_imports_nothing_heavy():
    script = """
import sys
from pipeline.cli.main import cli
for name in ["", *cli.commands]:
    try: cli([name, "--help"] if name else ["--help"])
    except SystemExit: pass
heavy = ("torch", "mlflow", "numpy", "matplotlib", "optuna", "pydantic", "sqlalchemy")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("Usage: ") == len(cli.commands) + 1
