"""The digest of a module's source and of all of ours that it imports: what a recorded result depends on."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("models", "pipeline")


def _source(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _imports(module: str) -> set[str]:
    """Modules of ours that the source of a module imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_source(module).read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] in OURS and _source(name).is_file()}


def modules_behind(*modules: str) -> list[str]:
    """The modules and all of ours that they import, directly or not, in alphabetical order."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(_imports(module))
    return sorted(seen)


@cache
def code_digest(*modules: str) -> str:
    """sha256 (16 digits) over the sources of the modules and of all of ours that they import."""
    digest = hashlib.sha256()
    for module in modules_behind(*modules):
        digest.update(module.encode() + b"\0" + _source(module).read_bytes() + b"\0")
    return digest.hexdigest()[:16]
