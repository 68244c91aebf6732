"""A long text: the memory, seconds and CPU seconds of reading it, preparing it and training on it.

    python -m tests.benchmarks.long_text FOLDER [--size 1000] [--words FILE] [--seed 0] [--seconds 20]

It writes a text of ``--size`` MB to the folder, which needs three times as much: random words of a file (by default of
The Time Machine), every hundredth with an accent, composed or not, or of Greek letters. Then come ``tmlm prepare`` and
a ``tmlm train`` that stops after ``--seconds``, with a store and a cache in the folder; all is deleted in the end.
Memory is the largest sum of what the process and its children have resident, mapped pages included, looked at every
20 ms. On a busy machine, look at the CPU time.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from pipeline.text.sources import find_text
from tests.checkout import ROOT, environment_with

STRANGE = ("caf\u00e9", "d\u00e9j\u00e0", "u\u0308ber", "cre\u0301me", "\u03bb\u03cc\u03b3\u03bf\u03c2", "na\u00efve")
LINE_WORDS, BLOCK_LINES = 12, 20_000  # of a line, and of what is drawn at once
COMMAND = (sys.executable, "-c", "from pipeline.cli.main import main; main()")


def write_text(path: Path, words: list[str], size: int, seed: int) -> int:
    """Write random words, about ``size`` bytes; returns the bytes."""
    generator, vocabulary = np.random.default_rng(seed), np.array([*words, *STRANGE], dtype=object)
    with path.open("wb") as file:
        while file.tell() < size:
            drawn = generator.integers(len(words), size=BLOCK_LINES * LINE_WORDS)
            strange = generator.random(len(drawn)) < 0.01
            drawn[strange] = len(words) + generator.integers(len(STRANGE), size=strange.sum())
            lines = vocabulary[drawn].reshape(BLOCK_LINES, LINE_WORDS)
            file.write("".join(" ".join(line) + "\n" for line in lines.tolist()).encode())
        return file.tell()


def measured(folder: Path, size: int, *words: str) -> None:
    """Run a command of tmlm; print its seconds, CPU seconds and peak, and these figures once the text is prepared."""
    environment = environment_with(folder / "cache") | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    was_prepared = any((folder / "cache").rglob("corpus.json"))
    began, peak, cpu = time.monotonic(), 0, 0.0

    def row(name: str) -> None:
        seconds = time.monotonic() - began
        speed = f"{size / seconds / 1e6:7.1f} MB/s {size / max(cpu, 0.01) / 1e6:7.1f} MB/CPU s"
        sys.stdout.write(f"{name:<20}{peak / 1e6:8,.0f} MB {seconds:7.1f} s {cpu:7.1f} CPU s {speed}\n")
        sys.stdout.flush()

    with subprocess.Popen([*COMMAND, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL) as command:
        process = psutil.Process(command.pid)
        while command.poll() is None:
            try:
                tree = [process, *process.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in tree))
                cpu = sum(sum(each.cpu_times()[:2]) for each in tree)
            except psutil.Error:  # one has ended
                continue
            if not was_prepared and any((folder / "cache").rglob("corpus.json")):
                row("text is prepared")
                was_prepared = True
            time.sleep(0.02)
    row(f"tmlm {words[0]}")
    if command.returncode:
        sys.exit(f"tmlm {words[0]} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where text, cache and store are written")
    parser.add_argument("--size", type=float, default=1000, help="of the text, in MB")
    parser.add_argument("--words", default="time-machine", help="a file, or a known text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="of the training")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=options.folder.resolve()))
    text = folder / "long.txt"
    try:
        words = "".join(find_text(options.words).pieces()).split()
        size = write_text(text, words, int(1e6 * options.size), options.seed)
        measured(folder, size, "prepare", "--corpus", str(text))
        measured(folder, size, "train", "--corpus", str(text), "--max-seconds", str(options.seconds))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
