"""Digest of the code that a recorded result depends on: a module and the modules of this project that it imports.

It ignores docstrings, comments, formatting, the texts of errors, log messages and help, and the modules in
``LEFT_OUT``. It also ignores the names of modules: moving one does not change the digest.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parents[2]
OURS = ("models", "pipeline")
LEFT_OUT = frozenset(  # errors' messages, downloads, atomic writes, processes and signals change no result
    {
        "pipeline.errors",
        "pipeline.text.downloads",
        "pipeline.support.files",
        "pipeline.support.processes",
        "pipeline.support.signals",
    }
)
LOG_CALLS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})

Node = TypeVar("Node", bound=ast.AST)


class _Import(NamedTuple):
    """An import from a module of this project: the module, the imported name ("": the module itself), and its alias."""

    module: str
    name: str
    alias: str


def _source(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS and _source(module).is_file()


def _imports(tree: ast.Module) -> Iterator[_Import]:
    """Yield the imports from this project's modules, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_ours(alias.name):
                    yield _Import(alias.name, "", alias.asname or "")
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if _is_ours(f"{node.module}.{alias.name}"):
                    yield _Import(f"{node.module}.{alias.name}", "", alias.asname or "")
                elif _is_ours(node.module):
                    yield _Import(node.module, alias.name, alias.asname or "")


class _WithoutWords(ast.NodeTransformer):
    """Replaces every string by an empty one."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")


def _without_words(node: Node) -> Node:
    emptied: Node = _WithoutWords().visit(node)
    return emptied


class _CodeAlone(ast.NodeTransformer):
    """Removes docstrings, imports from this project, and strings that are messages."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.Import | None:
        others = [alias for alias in node.names if alias.name.split(".")[0] not in OURS]
        return ast.Import(others) if others else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if (node.module or "").split(".")[0] in OURS else node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return _without_words(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        is_log = isinstance(function, ast.Attribute) and function.attr in LOG_CALLS and _is_name(function.value, "log")
        is_warning = isinstance(function, ast.Attribute) and function.attr == "warn"
        return _without_words(node) if is_log or is_warning else self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        return _without_words(node) if node.arg == "help" else self.generic_visit(node)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _read(module: str) -> tuple[tuple[_Import, ...], str]:
    """A module's imports from this project, and the digest of its own code."""
    tree = ast.parse(_source(module).read_bytes())
    imports = tuple(_imports(tree))
    return imports, _sha256(ast.dump(_CodeAlone().visit(tree)))


def modules_behind(*modules: str, without: frozenset[str] = frozenset()) -> list[str]:
    """The modules and all modules of this project that they import, directly or not, in alphabetical order."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in without:
            seen.add(module)
            waiting.extend(imported.module for imported in _read(module)[0])
    return sorted(seen)


@cache
def _digest_with_imports(module: str) -> str:
    """Digest of a module's code and of the modules that its imported names come from."""
    imports, own = _read(module)
    used = [f"{_read(of.module)[1]} {of.name} {of.alias}" for of in imports if of.module not in LEFT_OUT]
    return _sha256("\n".join([own, *sorted(used)]))


@cache
def code_digest(*modules: str) -> str:
    """Digest (16 hexadecimal digits) of the modules' code and of the code that they import, directly or not."""
    behind = modules_behind(*modules, without=LEFT_OUT)
    return _sha256("\n".join(sorted(map(_digest_with_imports, behind))))[:16]


@cache
def own_code_digest(*modules: str) -> str:
    """Digest (16 hexadecimal digits) of the modules' own code, without imports."""
    return _sha256("\n".join(sorted(_read(module)[1] for module in modules)))[:16]
