"""Assemble the known-cost sampler as a package of OptunaHub's registry, from the one copy of its code that there is.

    python -m tests.optunahub.assemble FOLDER        writes FOLDER/package/samplers/known_cost/

The layout is that of the registry's template: __init__.py with what the package offers, README.md with its front
matter, example.py, LICENSE, and here the sampler's modules. Nothing is published.
"""

import argparse
import shutil
import sys
from pathlib import Path

from pipeline.search import known_cost

HERE = Path(__file__).parent
SAMPLER = Path(known_cost.__file__).parent
LICENSE = SAMPLER.parents[2] / "LICENSE"
PACKAGE = "samplers/known_cost"
INIT = '''"""{docstring}"""

from .sampler import KnownCostSampler

__all__ = ["KnownCostSampler"]
'''


def assemble(folder: Path) -> Path:
    """Write the package below ``folder``; returns the root of the registry, ``folder``/package."""
    root = folder / "package"
    package = root / PACKAGE
    package.mkdir(parents=True)
    for module in SAMPLER.glob("*.py"):
        shutil.copy(module, package)
    (package / "__init__.py").write_text(INIT.format(docstring=(known_cost.__doc__ or "").splitlines()[0]))
    for file in (HERE / "README.md", HERE / "example.py", LICENSE):
        shutil.copy(file, package)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.stdout.write(f"{assemble(parser.parse_args().folder)}\n")


if __name__ == "__main__":
    main()
