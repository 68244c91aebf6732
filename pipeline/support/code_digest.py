"""The digest of what a module and all of ours that it imports compute: what a recorded result depends on.

Docstrings, comments and layout do not count, nor does the wording of errors, log messages and help texts, nor the
modules in ``LEFT_OUT``. Neither do the names and places of modules: a module that is moved leaves the digest as it is.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parents[2]

OURS = ("models", "pipeline")

LEFT_OUT = frozenset(  # they word errors, fetch files, write files whole and handle signals
    {"pipeline.errors", "pipeline.text.downloads", "pipeline.support.files", "pipeline.support.signals"}
)

LOG_CALLS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})

Node = TypeVar("Node", bound=ast.AST)


class _Import(NamedTuple):
    """A module of ours that is imported; of it, a name (empty: the module itself), and what that is called here."""

    module: str
    name: str
    alias: str


def _source(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS and _source(module).is_file()


def _imports(tree: ast.Module) -> Iterator[_Import]:
    """What a module imports of ours, wherever in the file the import stands."""
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
    """Empties every text."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")


def _without_words(node: Node) -> Node:
    emptied: Node = _WithoutWords().visit(node)
    return emptied


class _Computing(ast.NodeTransformer):
    """Leaves what computes: no docstrings, no imports of ours, and no words where they can only be read by a person."""

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
    """What a module imports of ours, and the digest of what it computes itself."""
    tree = ast.parse(_source(module).read_bytes())
    imports = tuple(_imports(tree))
    return imports, _sha256(ast.dump(_Computing().visit(tree)))


def modules_behind(*modules: str, without: frozenset[str] = frozenset()) -> list[str]:
    """The modules and all of ours that they import, directly or not, in alphabetical order."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in without:
            seen.add(module)
            waiting.extend(each.module for each in _read(module)[0])
    return sorted(seen)


@cache
def _digest_with_imports(module: str) -> str:
    """The digest of what a module computes and of whence it takes what it imports of ours."""
    imports, own = _read(module)
    taken = [f"{_read(each.module)[1]} {each.name} {each.alias}" for each in imports if each.module not in LEFT_OUT]
    return _sha256("\n".join([own, *sorted(taken)]))


@cache
def code_digest(*modules: str) -> str:
    """The digest (16 digits) of what the modules and all of ours that they import compute."""
    behind = modules_behind(*modules, without=LEFT_OUT)
    return _sha256("\n".join(sorted(map(_digest_with_imports, behind))))[:16]


@cache
def own_code_digest(*modules: str) -> str:
    """The digest (16 digits) of what the modules themselves compute."""
    return _sha256("\n".join(sorted(_read(module)[1] for module in modules)))[:16]
