"""Copy modules of this project as a package with a unique name.

A process that imports the copy may have modules called ``models`` or ``pipeline`` of another project or version.
"""

import ast
import re
from functools import cache
from hashlib import sha256
from pathlib import Path

from pipeline.support.files import ROOT

OURS = ("models", "pipeline")


def copy_as_package(module: str, folder: Path) -> Path:
    """Copy a module and all modules of this project that it imports; returns the folder of the new package.

    The package's name is tmlm_ and a digest of what was copied. Imports among the modules are rewritten accordingly.
    """
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in _files_behind(module)}
    digest = sha256("\0".join(f"{file}\0{source}" for file, source in sources.items()).encode()).hexdigest()
    package = folder / f"tmlm_{digest[:12]}"
    for file, source in sources.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        renamed = re.sub(rf"^( *from )({'|'.join(OURS)})\b", rf"\1{package.name}.\2", source, flags=re.MULTILINE)
        (package / file).write_text(renamed, encoding="utf-8")
    (package / "__init__.py").write_text(f'"""A copy of what {module} of time-machine-lm needs."""\n', encoding="utf-8")
    return package


@cache
def _files_behind(module: str) -> list[Path]:
    """The files of a module, of what it imports, and of their packages, in alphabetical order."""
    files: set[Path] = set()
    waiting = [module]
    while waiting:
        file = Path(*waiting.pop().split(".")).with_suffix(".py")
        if file in files or file.parts[0] not in OURS or not (ROOT / file).is_file():
            continue
        files.add(file)
        for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    packages = {parent / "__init__.py" for file in files for parent in file.parents if parent.parts}
    return sorted(files | packages)
