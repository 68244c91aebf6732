"""What stopping hopeless trials saves and what it loses: searches replayed on recorded validation curves.

A replay is a search of 40 trials, one after the other, each a row of a table; the rule is asked after every epoch but
the last, and knows only the trials that have finished before. What it stopped is then compared with the same search
without stopping: epochs and processor seconds saved, points of that search's front that were stopped, and hypervolume
in (perplexity, log10 MACs per character) lost, with the reference point (28, the largest MACs of the table).
Trainings that diverged are left out.

Tables: curves.csv holds random shapes with the search's own budget of 6 epochs, and small LSTMs with a random learning
rate; trainings.csv (record_trainings.py) holds a full grid of shapes, and random shapes with a random learning rate,
with 3 epochs each. What has the preset's learning rate and what has a random one are two searches.
Orders: random; or as a search that learns: 10 at random, then each time the best of three that are drawn.

    python -m tests.benchmarks.bench_hopeless [--curves FILE] [--table FILE] [--replays 200]
    TMLM_DATA_DIR=FOLDER python -m tests.benchmarks.bench_hopeless --record

The second command makes curves.csv; it may be stopped and started again.
"""

import argparse
import csv
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

from pipeline.config import CorpusConfig, resolve
from pipeline.search.pruning import FinishedCurve, PruningRule

DATA = Path(__file__).parent / "data"
EPOCHS = 6
SHAPE = ("cell", "num_layers", "hidden_size")
SHAPES, RANDOM_RATES = 44, 25  # to record
COLUMNS = (
    *SHAPE,
    "learning_rate",
    "seed",
    "macs_per_char",
    *(f"val_perplexity_{epoch}" for epoch in range(1, EPOCHS + 1)),
    "cpu_seconds",
)
TRIALS, FIRST_AT_RANDOM = 40, 10
UNIFORM_PERPLEXITY = 28.0
RULES = {
    "no margins": PruningRule(min_finished=5, min_epochs=1, neighbours=3, slack=0, noise=0),
    "from epoch 1": PruningRule(min_epochs=1),
    "default": PruningRule(),
    "careful": PruningRule(min_finished=15, neighbours=10, slack=0.5),
}


@dataclass(frozen=True)
class Training:
    """A row of a table: what was trained (all but the seed), its curve and what it cost."""

    configuration: tuple[str, ...]
    curve: FinishedCurve
    cpu_seconds: float

    @property
    def point(self) -> tuple[int, float]:
        """MACs per character, and the best epoch's perplexity."""
        return self.curve.macs_per_char, min(self.curve.val_perplexities)


@dataclass(frozen=True)
class Replay:
    """What came of one search; shares are of the same search without stopping."""

    stopped: int
    epochs_saved: float
    seconds_saved: float
    front_points: int
    front_points_lost: int
    hypervolume_lost: float


def read(table: Path) -> dict[str, list[Training]]:
    """The trainings of a table that did not diverge, by the search that they are of."""
    parts: dict[str, list[Training]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            values = [value for name, value in row.items() if name.startswith("val_perplexity_")]
            if not all(values):
                continue
            _, preset = resolve({"cell": row["cell"], "hidden_size": int(row["hidden_size"])})
            rates = "preset" if float(row["learning_rate"]) == preset.learning_rate else "random"
            training = Training(
                tuple(row[column] for column in (*SHAPE, "learning_rate")),
                FinishedCurve(int(row["macs_per_char"]), tuple(float(value) for value in values)),
                float(row["cpu_seconds"]),
            )
            parts.setdefault(f"{len(values)} epochs, {rates} learning rates", []).append(training)
    return parts


def steps_down(points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """The front: (MACs, perplexity) of the points with a lower perplexity than all with fewer or equal MACs."""
    best = UNIFORM_PERPLEXITY
    for macs, perplexity in sorted(points):
        if perplexity < best:
            best = perplexity
            yield macs, perplexity


def hypervolume(points: Sequence[tuple[int, float]], largest_macs: int) -> float:
    area, above = 0.0, UNIFORM_PERPLEXITY
    for macs, perplexity in steps_down(points):
        area += (above - perplexity) * log10(largest_macs / macs)
        above = perplexity
    return area


def random_order(trainings: Sequence[Training], rng: random.Random) -> list[Training]:
    """TRIALS configurations, none of them twice, each with one of its seeds."""
    one_seed = {training.configuration: training for training in rng.sample(trainings, len(trainings))}
    return rng.sample(list(one_seed.values()), min(TRIALS, len(one_seed)))


def learning_order(trainings: Sequence[Training], rng: random.Random) -> list[Training]:
    """The same, but after the first ones each is the nearest to the table's front (in perplexity) of three."""

    def excess(training: Training) -> float:
        macs, perplexity = training.point
        return perplexity / min(p for m, p in (other.point for other in trainings) if m <= macs)

    one_seed = {training.configuration: training for training in rng.sample(trainings, len(trainings))}
    waiting = rng.sample(list(one_seed.values()), len(one_seed))
    chosen, waiting = waiting[:FIRST_AT_RANDOM], waiting[FIRST_AT_RANDOM:]
    while waiting and len(chosen) < TRIALS:
        chosen.append(min(rng.sample(waiting, min(3, len(waiting))), key=excess))
        waiting.remove(chosen[-1])
    return chosen


ORDERS: dict[str, Callable[[Sequence[Training], random.Random], list[Training]]] = {
    "random": random_order,
    "learning": learning_order,
}


def replay(trials: Sequence[Training], rule: PruningRule, largest_macs: int) -> Replay:
    """The trials one after the other under the rule."""
    finished: list[Training] = []
    epochs_saved = seconds_saved = 0.0
    for trial in trials:
        perplexities, macs = trial.curve.val_perplexities, trial.curve.macs_per_char
        epochs, known = len(perplexities), [other.curve for other in finished]
        for done in range(1, epochs):
            if rule.reason_to_stop(perplexities[:done], epochs, macs, known):
                epochs_saved += epochs - done
                seconds_saved += trial.cpu_seconds * (epochs - done) / epochs
                break
        else:
            finished.append(trial)
    points, kept = [trial.point for trial in trials], [trial.point for trial in finished]
    front, full = set(steps_down(points)), hypervolume(points, largest_macs)
    return Replay(
        stopped=len(trials) - len(finished),
        epochs_saved=epochs_saved / sum(len(trial.curve.val_perplexities) for trial in trials),
        seconds_saved=seconds_saved / sum(trial.cpu_seconds for trial in trials),
        front_points=len(front),
        front_points_lost=len(front - set(kept)),
        hypervolume_lost=1 - hypervolume(kept, largest_macs) / full,
    )


def compare(tables: Sequence[Path], replays: int) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| curves | order | rule | stopped | epochs saved | time saved | front points lost | hypervolume lost |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for table in tables:
        for part, trainings in read(table).items():
            largest = max(training.curve.macs_per_char for training in trainings)
            for order, arrange in ORDERS.items():
                searches = [arrange(trainings, random.Random(seed)) for seed in range(replays)]
                for name, rule in RULES.items():
                    results = [replay(trials, rule, largest) for trials in searches]

                    def mean(of: Callable[[Replay], float], results: list[Replay] = results) -> float:
                        return sum(map(of, results)) / len(results)

                    lost, points = (sum(r.front_points_lost for r in results), sum(r.front_points for r in results))
                    yield (
                        f"| {part} ({len(trainings)}) | {order} | {name} | "
                        f"{mean(lambda r: r.stopped):.1f} of {len(searches[0])} | "
                        f"{mean(lambda r: r.epochs_saved):.1%} | {mean(lambda r: r.seconds_saved):.1%} | "
                        f"{lost} of {points} | {mean(lambda r: r.hypervolume_lost):.4%}, "
                        f"at most {max(r.hypervolume_lost for r in results):.2%} |"
                    )


# --- the recording ----------------------------------------------------------------------------------------------------


def to_record() -> list[dict[str, Any]]:
    """Random shapes with the preset's learning rate, then LSTMs with a random one; widths and rates log-uniform."""
    order = random.Random(0)
    chosen: dict[tuple[Any, ...], None] = {}
    while len(chosen) < SHAPES:
        width = round(8 * (192 / 8) ** order.random())
        chosen[order.choice(("rnn", "gru", "lstm")), order.choice((1, 2, 3)), width] = None
    shapes = [dict(zip(SHAPE, shape, strict=True)) for shape in chosen]
    order = random.Random(5)
    rated = [
        {
            "cell": "lstm",  # torch trains it three times as fast as the others
            "num_layers": order.choice((1, 1, 2, 3)),
            "hidden_size": round(8 * (48 / 8) ** order.random()),
            "learning_rate": float(f"{0.001 * (0.3 / 0.001) ** order.random():.3g}"),
        }
        for _ in range(RANDOM_RATES)
    ]
    return [*shapes, *rated]


def record(table: Path) -> None:
    """Train what the table lacks; a training that diverged has no perplexity from that epoch on."""
    from models.complexity import closed_form
    from pipeline.errors import TrainingDivergedError
    from pipeline.text.corpus import load_corpus
    from pipeline.training.experiment import Observer, run_experiment

    os.nice(15)
    table.parent.mkdir(exist_ok=True)
    if not table.is_file():
        table.write_text(",".join(COLUMNS) + "\n")
    with table.open(newline="") as file:
        done = {tuple(row[name] for name in (*SHAPE, "learning_rate")) for row in csv.DictReader(file)}
    corpus = load_corpus(CorpusConfig("time-machine"))
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        for shape in to_record():
            model, train = resolve({**shape, "epochs": EPOCHS})
            row = {**shape, "learning_rate": train.learning_rate, "seed": train.seed}
            if tuple(str(row[name]) for name in (*SHAPE, "learning_rate")) in done:
                continue
            row["macs_per_char"] = closed_form(model, len(corpus.vocabulary)).macs_per_char
            began = time.process_time()

            def keep(training: Any, point: Any, row: dict[str, Any] = row) -> None:
                row[f"val_perplexity_{point.epoch}"] = round(point.val_perplexity, 5)

            try:
                run_experiment(corpus, model, train, Observer(on_epoch=keep))
            except TrainingDivergedError as error:
                sys.stdout.write(f"{shape}: {error}\n")
            row["cpu_seconds"] = round(time.process_time() - began, 2)
            writer.writerow(row)
            file.flush()
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="train what --curves lacks")
    parser.add_argument("--curves", type=Path, default=DATA / "curves.csv")
    parser.add_argument("--table", type=Path, default=DATA / "trainings.csv")
    parser.add_argument("--replays", type=int, default=200)
    args = parser.parse_args()
    if args.record:
        record(args.curves)
        return
    for line in compare([args.curves, args.table], args.replays):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
