"""Mutations of the source, each a small mistake that a test should catch: ``python -m tests.mutations``.

``draw`` writes data/mutations.json: for each package a random order of mistakes in its functions, SHARES of which are
applied. ``run`` applies them one by one to a copy of the working tree and prints which are caught, first by the
package's own tests, then by all fast ones. A mistake is stored as file, function, and the code before and after: it is
found again after other code has moved, and one whose code is gone is replaced by the next of its package.
"""

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.checkout import ROOT, Checkout

STORED = Path(__file__).parent / "data" / "mutations.json"
SEED, SPARES = 20261130, 6  # more mistakes of each package, for those whose code goes
SHARES = {
    "models": 8, "pipeline": 3, "pipeline/support": 6, "pipeline/text": 4, "pipeline/training": 6,
    "pipeline/tracking": 8, "pipeline/search": 7, "pipeline/report": 6, "pipeline/answer": 2, "pipeline/export": 3,
    "pipeline/cluster": 1, "pipeline/stages": 4, "pipeline/cli": 2,
}  # fmt: skip  # of sixty, about in proportion to lines
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}


def mistaken(node: ast.AST) -> ast.AST | None:
    """An expression with one mistake in it; None for one that has no place for any."""
    match node:
        case ast.Compare(left, [operator], rights):
            return ast.Compare(left, [COMPARED[type(operator)]()], rights)
        case ast.BinOp(left, operator, right) if type(operator) in COMPUTED and "'" not in ast.unparse(node):
            return ast.BinOp(left, COMPUTED[type(operator)](), right)  # of numbers, not of strings or paths
        case ast.BoolOp(ast.And(), values):
            return ast.BoolOp(ast.Or(), values)
        case ast.BoolOp(ast.Or(), values):
            return ast.BoolOp(ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            return operand
        case ast.IfExp(test, body, orelse):
            return ast.IfExp(test, orelse, body)
        case ast.Constant(bool() as value):
            return ast.Constant(not value)
        case ast.Constant(int() as value):
            return ast.Constant(value + 1)
    return None


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


def mistakes(file: Path) -> Iterator[dict[str, Any]]:
    """Every mistake that can be made in the functions of a file."""
    for name, source in functions(file):
        for node in ast.walk(ast.parse(source)):
            before, after = ast.get_source_segment(source, node) or "", mistaken(node)
            if after is not None and "\n" not in before and source.count(before) == 1:
                path = str(file.relative_to(ROOT))
                yield {"file": path, "function": name, "before": before, "after": ast.unparse(after)}


def draw() -> None:
    """Draw and store the mistakes."""
    drawn = {}
    for package, share in SHARES.items():
        is_deep = package not in ("models", "pipeline")
        files = sorted((ROOT / package).glob("**/*.py" if is_deep else "*.py"))
        found = [each for file in files for each in mistakes(file)]
        drawn[package] = random.Random(f"{SEED} {package}").sample(found, min(share + SPARES, len(found)))
    STORED.write_text(json.dumps(drawn, indent=1) + "\n")


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
    parser.add_argument("what", choices=("draw", "run"))
    parser.add_argument("--only", default="", choices=("", *SHARES), help="one package")
    given = parser.parse_args()
    if given.what == "draw":
        draw()
    else:
        run(given.only)
