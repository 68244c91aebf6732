"""Assemble the known-cost sampler as a package of OptunaHub's registry, from the one copy of its code that there is.

    python -m tests.known_cost.optunahub.assemble FOLDER        writes FOLDER/package/samplers/known_cost/

The layout is that of the registry's template: __init__.py with what the package offers, README.md with its front
matter and a figure, example.py, tests, requirements, LICENSE, and here the sampler's modules. Nothing is published.
"""

import argparse
import shutil
import sys
from pathlib import Path

from scipy.stats import trim_mean

from pipeline import known_cost
from pipeline.pages import plotting
from tests.known_cost.benchmarks.bench_samplers import RESULTS, SAMPLERS, TRIALS, read_results

HERE = Path(__file__).parent
SAMPLER = Path(known_cost.__file__).parent
LICENSE = SAMPLER.parents[1] / "LICENSE"
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
    (package / "requirements.txt").write_text("scipy\n")
    (package / "tests").mkdir()
    shutil.copy(HERE / "registry_tests.py", package / "tests" / "test_sampler.py")
    (package / "images").mkdir()
    (package / "images" / "comparison.png").write_bytes(comparison())
    return root


def comparison() -> bytes:
    """Draw the interquartile mean score of each sampler after 10, 20 and 30 trials, from the recorded comparison."""
    figure = plotting.new_figure(7, 4.5)
    axes = plotting.add_axes(figure, "one trial at a time, each sampler with its own first trials")
    rows = [row for row in read_results(RESULTS) if (row["start"], row["workers"]) == ("own", "1")]
    for sampler in (sampler for sampler in reversed(SAMPLERS) if any(row["sampler"] == sampler for row in rows)):
        scores = [[float(row[f"after_{n}"]) for row in rows if row["sampler"] == sampler] for n in TRIALS]
        width = 2.5 if sampler == "known-cost" else 1.2
        axes.plot(TRIALS, [trim_mean(score, 0.25) for score in scores], "o-", linewidth=width, label=sampler)
    axes.set(xlabel="trials", ylabel="share of the attainable hypervolume", xticks=TRIALS)
    plotting.legend_below(figure, [axes], 4)
    return plotting.png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.stdout.write(f"{assemble(parser.parse_args().folder)}\n")


if __name__ == "__main__":
    main()
