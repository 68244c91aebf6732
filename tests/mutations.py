"""Mutations of the source, each a small mistake that a test should catch: ``python -m tests.mutations run``.

data/mutations.json has for each package a random order of mistakes in its functions, SHARES of which are applied; the
command ``draw`` that this file had at ef0d8513 has drawn them. ``run`` applies them one by one to a copy
of the working tree and prints which are caught, first by the package's own tests, then by all fast ones. A mistake is
stored as file, function, and the code before and after: it is found again after other code has moved, and one whose
code is gone is replaced by the next of its package.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.checkout import Checkout

STORED = Path(__file__).parent / "data" / "mutations.json"
SHARES = {
    "models": 8, "pipeline": 3, "pipeline/known_cost": 3, "pipeline/support": 4, "pipeline/text": 4,
    "pipeline/training": 6, "pipeline/tracking": 8, "pipeline/pages": 6, "pipeline/cluster": 1, "pipeline/stages": 2,
    "pipeline/search": 5, "pipeline/answer": 3, "pipeline/report": 6, "pipeline/runs": 1, "pipeline/cli": 0,
}  # fmt: skip  # of sixty, about in proportion to lines


def functions(file: Path) -> Iterator[tuple[str, str]]:
    """The name and the source of each function and method of a file."""
    text = file.read_text()

    def within(node: ast.AST, path: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                name = f"{path}.{child.name}".lstrip(".")
                if isinstance(child, ast.FunctionDef):
                    yield name, ast.get_source_segment(text, child) or ""
                yield from within(child, name)

    return within(ast.parse(text), "")


def applied(root: Path, mistake: dict[str, Any]) -> tuple[Path, str] | None:
    """The file of a mistake and its text with it; None if its code is not there any more."""
    file = root / mistake["file"]
    for name, source in functions(file) if file.is_file() else ():
        if name == mistake["function"] and source.count(mistake["before"]) == 1:
            return file, file.read_text().replace(source, source.replace(mistake["before"], mistake["after"]))
    return None


def run(only: str) -> None:
    """Apply the mistakes to a copy of the project, one by one, and print what catches them."""
    caught, tried = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Checkout(Path(folder)).folder
        for words in (["init", "-q"], ["add", "."]):  # tests list the project's files
            subprocess.run(["git", *words], cwd=copy, check=True)
        for package, stored in json.loads(STORED.read_text()).items():
            there = [(each, change) for each in stored if (change := applied(copy, each))]
            for mistake, (file, text) in there[: SHARES[package]] if only in ("", package) else ():
                right = file.read_text()
                file.write_text(text)
                own = "tests/models" if package == "models" else f"tests/{package.removeprefix('pipeline').lstrip('/')}"
                by = next((tests for tests in (own, "tests") if _fails(copy, tests)), "NOTHING")
                file.write_text(right)
                caught, tried = caught + (by != "NOTHING"), tried + 1
                where = f"{mistake['file']}:{mistake['function']}"
                say(f"{by:<16} {where}: {mistake['before']}  ->  {mistake['after']}")
            if only in ("", package) and len(there) < SHARES[package]:
                say(f"{package}: only {len(there)} of {SHARES[package]} are left")
    say(f"caught {caught} of {tried}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fails(copy: Path, tests: str) -> bool:
    """Whether a test of a folder fails; a run that never ends is one that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=1200, check=False)
        return done.returncode not in (0, 5)
    except subprocess.TimeoutExpired:
        return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run",))
    parser.add_argument("--only", default="", choices=("", *SHARES), help="one package")
    run(parser.parse_args().only)
