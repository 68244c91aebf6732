"""What a perplexity looks like: five trainings on The Time Machine, and what each writes, in docs/data/ladder.csv.

    python -m tests.benchmarks.ladder

The shapes and budgets were chosen by validation perplexity (about 10, 6, 4.5, 3.5 and, on top of n-grams, 3.4), and
committed before a text was read. The seed is 0. About 3 minutes of one core.
"""

import csv
import json
import shlex
import subprocess
import sys

from tests.figures import DOCS

LADDER = (
    "tmlm train --hidden-size 2 --budget-chars 500000",
    "tmlm train --hidden-size 16 --budget-chars 1000000",
    "tmlm train --hidden-size 48 --budget-chars 1500000",
    "tmlm train",
    "tmlm train --on-top-of ngram",
)
SAMPLE = "tmlm sample {} --prompt 'it has' --temperature 0.7 --length 74"  # of a run; 80 characters with the prompt


def printed(command: str) -> dict:
    """What a command prints as JSON."""
    words = [sys.executable, "-m", "pipeline", *shlex.split(command)[1:], "--json"]
    found: dict = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    return found


if __name__ == "__main__":
    with (DOCS / "data" / "ladder.csv").open("w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["command", "val_perplexity", "test_perplexity", "text"])
        for command in LADDER:
            training = printed(command)
            (text,) = printed(SAMPLE.format(training["run_id"]))["texts"]
            perplexities = (f"{training[f'{split}_perplexity']:.3f}" for split in ("val", "test"))
            rows.writerow([command, *perplexities, text])
