"""Seconds of each command's --help, and of the imports behind a command: medians of several processes, in turn.

python -m tests.benchmarks.bench_startup [--rounds 7]
"""

import argparse
import statistics
import subprocess
import sys
import time

from pipeline.cli.main import cli


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    commands = {f"tmlm {name} --help": ["-m", "pipeline", name, "--help"] for name in sorted(cli.commands)}
    commands |= {f"import {name}": ["-c", f"import {name}"] for name in ("torch", "mlflow", "pipeline.stages.main")}
    times: dict[str, list[float]] = {label: [] for label in commands}
    for _ in range(rounds):
        for label, words in commands.items():
            times[label].append(seconds(words))
    for label, values in times.items():
        sys.stdout.write(f"{label:<26} {statistics.median(values):6.3f} s  ({min(values):.3f} to {max(values):.3f})\n")


if __name__ == "__main__":
    main()
