"""Records ridge regressions on random features of scikit-learn's digits: data/digits.csv, a task without a network.

One layer of random features (kind, number, scale of the weights) and a ridge regression on them (penalty) predict which
of ten digits an image of 8 x 8 pixels shows. The error is the squared error on 597 held-out images, relative to that of
the mean, at most 1. The cost, known beforehand, is the multiply-accumulates of one prediction: features x (64 + 10).
Every combination is computed for two seeds of the features. Half a minute of one core.

    python -m tests.known_cost.benchmarks.record_digits
"""

import csv
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

TABLE = Path(__file__).parent / "data" / "digits.csv"
FEATURES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SCALES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
SEEDS = (0, 1)
TRAINED_ON = 1200  # images
COLUMNS = ("kind", "features", "scale", "penalty", "macs", *(f"error_{seed}" for seed in SEEDS))

Array = NDArray[np.float64]
KINDS: dict[str, Callable[[Array], Array]] = {"relu": lambda x: np.maximum(x, 0), "cosine": np.cos, "tanh": np.tanh}


def errors(inputs: Array, targets: Array) -> list[float]:
    """The relative error for each of PENALTIES; inputs (images, features), targets (images, 10) centred."""
    known, held_out = inputs[:TRAINED_ON], inputs[TRAINED_ON:]
    mean = known.mean(axis=0)
    known, held_out = known - mean, held_out - mean
    values, vectors = np.linalg.eigh(known.T @ known)
    projected = vectors.T @ (known.T @ targets[:TRAINED_ON])
    rotated, wanted = held_out @ vectors, targets[TRAINED_ON:]
    found = []
    for penalty in PENALTIES:
        predicted = rotated @ (projected / (np.maximum(values, 0) + penalty)[:, None])
        found.append(min(float(np.sum((wanted - predicted) ** 2) / np.sum(wanted**2)), 1.0))
    return found


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, digits = images[order] / 16, digits[order]
    targets = np.eye(10)[digits]
    targets -= targets[:TRAINED_ON].mean(axis=0)
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for kind, features, scale in product(KINDS, FEATURES, SCALES):
            by_seed = []
            for seed in SEEDS:
                random = np.random.default_rng((seed, features))
                weights = scale * random.standard_normal((images.shape[1], features))
                bias = random.uniform(-np.pi, np.pi, features)
                by_seed.append(errors(KINDS[kind](images @ weights + bias), targets))
            for penalty, *found in zip(PENALTIES, *by_seed, strict=True):
                cost = features * (images.shape[1] + targets.shape[1])
                writer.writerow([kind, features, scale, penalty, cost, *(f"{error:.5f}" for error in found)])
    sys.stdout.write(f"{TABLE.name} is written\n")


if __name__ == "__main__":
    main()
