"""What `prepare` costs for a long text: seconds of the whole command, MB/s of the text's bytes, peak resident memory.

    python -m tests.benchmarks.bench_prepare [--megabytes 1000] [--text letters ...] [--train]

The texts are made in a temporary folder, always the same, and removed. Each command is a process of its own, with a
cache and a store of its own; --train adds `train --max-seconds 20` on the text that was prepared.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BLOCK_CHARS = 1_000_000


def words(characters: int, separators: str) -> Iterator[str]:
    """Words as they come in a text: few of them often, each of letters that lean on one another, some capitals."""
    random = np.random.default_rng(0)
    weights = random.dirichlet(np.full(26, 0.4), 26)
    known = []
    for length in random.integers(1, 11, 20_000):
        letters = [int(random.integers(26))]
        while len(letters) < length:
            letters.append(int(random.choice(26, p=weights[letters[-1]])))
        known.append("".join(chr(ord("a") + letter) for letter in letters))
    known += [word.capitalize() for word in known[:2000]]
    behind = random.choice(list(separators), 50_000, p=[0.86, *[0.14 / (len(separators) - 1)] * (len(separators) - 1)])
    while characters > 0:
        chosen = random.zipf(1.2, 50_000) % len(known)
        block = "".join(known[word] + mark for word, mark in zip(chosen, behind, strict=True))[:characters]
        characters -= len(block)
        yield block


def ideographs(characters: int) -> Iterator[str]:
    """No spaces, no lines, no ASCII: 5,000 symbols, some of them often."""
    random = np.random.default_rng(0)
    while characters > 0:
        points = (0x4E00 + random.zipf(1.1, min(characters, BLOCK_CHARS)) % 5000).astype("<u4")
        characters -= len(points)
        yield points.tobytes().decode("utf-32-le")


# name -> the pieces of so many bytes, and the alphabet
TEXTS: dict[str, tuple[Callable[[int], Iterator[str]], str]] = {
    "letters": (lambda size: words(size, " ,.\n;"), "letters"),
    "raw": (lambda size: words(size, " ,.\n;"), "raw"),
    "line": (lambda size: words(size // 5, " ,.;-"), "letters"),
    "ideographs": (lambda size: ideographs(size // 3), "raw"),
}


def make(path: Path, pieces: Iterator[str]) -> int:
    """Write a text; its size in bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for piece in pieces:
            file.write(piece)
        os.fsync(file.fileno())
    return path.stat().st_size


def cost(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of one processor and peak resident megabytes of a command of ours."""
    environment = os.environ | {
        "TMLM_CACHE_DIR": str(folder / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    started = time.perf_counter()
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="of each text; the single line has a fifth")
    parser.add_argument("--text", nargs="*", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    for name in options.text:
        pieces, alphabet = TEXTS[name]
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home)
            size = make(folder / f"{name}.txt", pieces(options.megabytes * 1_000_000))
            for label, command in {
                "prepare": ["prepare"],
                "prepare again": ["prepare"],
                **({"train": ["train", "--max-seconds", "20"]} if options.train else {}),
            }.items():
                arguments = [*command, "--corpus", str(folder / f"{name}.txt"), "--alphabet", alphabet]
                seconds, cpu_seconds, peak = cost(arguments, folder)
                sys.stdout.write(
                    f"{name:<11} {label:<14} {size / 1e6:6.0f} MB {seconds:6.1f} s ({cpu_seconds:5.1f} s of processor) "
                    f"{size / 1e6 / seconds:6.1f} MB/s {peak:6.0f} MB peak\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
