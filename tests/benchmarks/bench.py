"""Speed against peers, with the targets: a table and bench.json. ``make bench`` installs d2l and PPMd and runs it.

    pip install --no-deps d2l==1.0.3
    pip install pyppmd==1.3.1
    python -m tests.benchmarks.bench [--output FOLDER] [--rounds 3] [--only training quality ...]

Everything is on one thread, in CPU seconds. Each figure is the median of the rounds, except the time to a quality (one
run) and the matrix products (the best of eight). Ours and d2l's take turns (A B A B), each in a process of its own,
since the allocator setting that ours trains with holds for a whole process. About five minutes on a quiet core. The
text is The Time Machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import log
from multiprocessing import get_context
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any

import torch

from models.complexity import closed_form
from models.config import Decoding, ModelConfig
from models.generation import generate
from models.language_model import LanguageModel
from pipeline.config import WINDOW_LENGTH, CorpusConfig, PresetName, resolve
from pipeline.support.files import write_atomically
from pipeline.support.machine import environment, keep_freed_memory, tune_process
from pipeline.text.batches import data_for, data_of, windows
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.ngrams import fitted_ngrams
from pipeline.training.adaptive import REFIT_CHARS, AdaptiveModel, fit_weights, mixed_costs
from pipeline.training.evaluation import score_windows
from pipeline.training.experiment import Experiment
from pipeline.training.hardware import has_bf16
from pipeline.training.loop import Callback, Training

Shape = tuple[str, int, int]  # cell, layers, hidden size
Work = Callable[..., tuple[float, ...]]

SHAPES: dict[Shape, float] = {("lstm", 1, 128): 4.0, ("gru", 1, 128): 3.0, ("rnn", 1, 128): 2.2, ("lstm", 2, 128): 3.5}
"""The shapes of training steps and epochs, and how many times as fast as d2l's an epoch shall be."""

BATCH_SIZE = 1024  # of the book
QUALITY = 10.0  # validation perplexity on d2l's windows that both train to
OUR_EPOCHS = 6  # of 10,000 characters, in which the default recipe is below QUALITY
CHARS = 1000  # generated
PPMD_ORDERS = range(3, 13)
ARCHIVERS = {  # each where it is on the path
    "zpaq -m5": ("zpaq", "add", "PACKED", "PLAIN", "-method", "5"),
    "paq8px -6": ("paq8px", "-6", "PLAIN", "PACKED"),
}
TRACKING_TARGET = "3 %"  # of a training, at most
SHORT_CHARS = 12_000  # of the text of trainings with and without a record


# --- what the two processes run ---------------------------------------------------------------------------------------


@cache
def text() -> Corpus:
    return load_corpus(CorpusConfig("time-machine"))


def split_of(corpus: Corpus, split: str, preset: PresetName = "report") -> torch.Tensor:
    """The ids of a split; the report's are those that d2l reads."""
    return torch.from_numpy(corpus.ids)[slice(*corpus.spans(preset)[split])]


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def prepare(ours: bool) -> None:
    torch.set_num_threads(1)
    if ours:
        tune_process()
        keep_freed_memory()


@cache
def our_training(shape: Shape) -> Training:
    cell, layers, size = shape
    precision = "bf16" if has_bf16(torch.device("cpu")) else "fp32"
    options = {"preset": "report", "cell": cell, "num_layers": layers, "hidden_size": size, "precision": precision}
    model, config = resolve({**options, "device": "cpu"})
    return Training(LanguageModel(model, len(text().vocabulary)), data_of(text(), config), config)


class EachStep(Callback):
    """Calls a function after each step."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def on_step(self, training: Training) -> None:
        self.call()


def our_epoch(shape: Shape) -> tuple[float, float]:
    """CPU seconds of an epoch, and of a step in it."""
    marks = [time.process_time()]
    training = our_training(shape)
    training.run_epoch(EachStep(lambda: marks.append(time.process_time())))
    return time.process_time() - marks[0], median(b - a for a, b in pairwise(marks[1:]))


@cache
def d2l_trainer(shape: Shape) -> Any:
    from tests.benchmarks.d2l_twin import Curves, Data, Trainer, build

    cell, layers, size = shape
    model, config = resolve({"preset": "report", "cell": cell, "num_layers": layers, "hidden_size": size})
    trainer = Trainer(max_epochs=1, gradient_clip_val=config.clip)
    trainer.curves = Curves()
    data = Data(text())
    trainer.vocab = data.vocab
    trainer.begin(build(model, len(text().vocabulary), config.learning_rate, trainer.curves), data)
    return trainer


def d2l_epoch(shape: Shape) -> tuple[float, float]:
    """CPU seconds of an epoch, and of a step in it."""
    trainer = d2l_trainer(shape)
    marks = [time.process_time()]
    mark = trainer.optim.register_step_post_hook(lambda *_: marks.append(time.process_time()))
    trainer.fit_epoch()
    mark.remove()
    return time.process_time() - marks[0], median(b - a for a, b in pairwise(marks[1:]))


def our_quality() -> tuple[float, float]:
    """CPU seconds of a short training by the default recipe, on d2l's characters; its perplexity on d2l's windows."""
    train, val = (split_of(text(), split) for split in ("train", "val"))
    shape = {"cell": "lstm", "num_layers": 1, "hidden_size": 128}
    model, config = resolve({**shape, "device": "cpu", "epochs": OUR_EPOCHS}, len(train))
    torch.manual_seed(config.seed)
    training = Training(LanguageModel(model, len(text().vocabulary)), data_for(train, val, config), config)
    seconds = cpu_seconds(lambda: [training.run_epoch() for _ in range(OUR_EPOCHS)])
    inputs, targets = windows(val, WINDOW_LENGTH)
    return seconds, score_windows(training.eval_model, inputs, targets, BATCH_SIZE)[0]


def d2l_quality() -> tuple[float, float]:
    """CPU seconds of d2l's LSTM 1x128, from its first epoch to the one that reaches QUALITY, and its perplexity."""
    torch.manual_seed(0)
    d2l_trainer.cache_clear()
    trainer, seconds, perplexity = d2l_trainer(("lstm", 1, 128)), 0.0, QUALITY + 1
    while perplexity > QUALITY:
        seconds += cpu_seconds(trainer.fit_epoch)
        perplexity = trainer.curves.epoch()[1]
    return seconds, perplexity


def our_chars_per_second() -> tuple[float]:
    model = LanguageModel(ModelConfig("lstm", 1, 128), len(text().vocabulary))
    prompt, greedy = text().vocabulary.encode("it has").tolist(), Decoding(method="greedy")
    return (CHARS / cpu_seconds(lambda: list(generate(model, [prompt], CHARS, greedy))),)


def d2l_chars_per_second() -> tuple[float]:
    trainer = d2l_trainer(("lstm", 1, 128))
    return (CHARS / cpu_seconds(lambda: trainer.model.predict("it has", CHARS, trainer.vocab)),)


def our_counting() -> tuple[float, float]:
    """CPU seconds, and bits per character of the test text, of n-grams that learn from it as they read it."""
    corpus, began = text(), time.process_time()
    train, ngram = corpus.split("stream", "train"), fitted_ngrams(corpus, "stream")
    members, targets = {}, {}
    for split in ("val", "test"):
        ids = corpus.split("stream", split)
        members[split] = AdaptiveModel([], ngram, train, REFIT_CHARS).read(ids)
        targets[split] = torch.from_numpy(ids[1:]).long()
    weights = fit_weights(members["val"], targets["val"])
    bits = float(mixed_costs(members["test"], weights, targets["test"]).mean()) / log(2)
    return time.process_time() - began, bits


def ppmd_counting() -> tuple[float, float]:
    """The same of PPMd (7-Zip's), which compresses training and test text: what the test text adds, in bits.

    Its order is the best on the validation text.
    """
    from pyppmd import compress

    corpus, began = text(), time.process_time()
    train, val, test = (corpus.split("stream", split).tobytes() for split in ("train", "val", "test"))

    def added(order: int, more: bytes) -> int:
        return len(compress(train + more, max_order=order)) - len(compress(train, max_order=order))

    order = min(PPMD_ORDERS, key=lambda order: added(order, val))
    return time.process_time() - began, 8 * added(order, test) / len(test)


def archiver_bits(folder: str, archiver: str) -> tuple[float]:
    """The bits that the test text adds after training and validation text, by one of ARCHIVERS."""
    corpus, sizes = text(), []
    for splits in (("train", "val", "test"), ("train", "val")):
        plain, packed = Path(folder) / "text", Path(folder) / f"{len(splits)}.{archiver.split()[0]}"
        plain.write_text("".join(corpus.vocabulary.decode(corpus.split("stream", split)) for split in splits))
        places = {"PLAIN": plain, "PACKED": packed}
        command = [places.get(word, word) for word in ARCHIVERS[archiver]]
        subprocess.run(command, check=True, capture_output=True)
        sizes.append(packed.stat().st_size)
    return (8 * (sizes[0] - sizes[1]) / len(corpus.split("stream", "test")),)


def gflops(dtype: torch.dtype) -> float:
    """Billions of multiplications and additions per second, of large matrix products."""
    a, b = (torch.randn(2048, 2048, dtype=torch.float32).to(dtype) for _ in range(2))
    return 2 * 2048**3 / 1e9 / min(cpu_seconds(lambda: a @ b) for _ in range(8))


def tracking_seconds(folder: str) -> tuple[float, float]:
    """CPU seconds of a recorded training and of the same without a record.

    The default model, for as many epochs as in a default training, but of a short text: what recording adds does not
    depend on the text's length.
    """
    from pipeline.stages.train import train

    short = Path(folder) / "short.txt"
    short.write_text(text().vocabulary.decode(text().ids[:SHORT_CHARS]))
    corpus_config = CorpusConfig(str(short), "letters")
    corpus, (model, config) = load_corpus(corpus_config), resolve({"device": "cpu"})
    epochs = round(config.budget_chars / len(split_of(text(), "train", "stream")))
    config = replace(config, epochs=epochs, patience=0)
    recorded = cpu_seconds(lambda: train(corpus, model, config))
    return recorded, cpu_seconds(lambda: Experiment(corpus, model, config).run())


def default_seconds() -> float:
    """CPU seconds of a default training, from those of its first epoch."""
    model, config = resolve({"device": "cpu"})
    training = Training(LanguageModel(model, len(text().vocabulary)), data_of(text(), config), config)
    return training.epochs * cpu_seconds(training.run_epoch)


# --- the table --------------------------------------------------------------------------------------------------------


def bound_ms(shape: Shape, gflops_per_second: float) -> float:
    """Milliseconds of the matrix products of a training step: one forwards and two backwards."""
    macs = closed_form(ModelConfig(*shape), len(text().vocabulary)).matmul_macs_per_char
    return 1e3 * 3 * 2 * macs * BATCH_SIZE * WINDOW_LENGTH / (gflops_per_second * 1e9)


class Bench:
    """Two processes that take turns, and the rows measured so far."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.rows: list[dict[str, Any]] = []
        self._ours, self._d2l = (
            ProcessPoolExecutor(1, get_context("spawn"), prepare, (ours,)) for ours in (True, False)
        )

    def ours(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._ours.submit(work, *arguments).result()

    def peer(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._d2l.submit(work, *arguments).result()

    def in_turn(self, ours: Work, d2l: Work, *arguments: Any) -> tuple[list[float], list[float]]:
        """The medians of what the two return, each over the rounds; a round before them is not counted."""
        results = [(self.ours(ours, *arguments), self.peer(d2l, *arguments)) for _ in range(self.rounds + 1)][1:]
        mine, theirs = ([median(values) for values in zip(*side, strict=True)] for side in zip(*results, strict=True))
        return mine, theirs

    def add(self, what: str, ours: float, unit: str, d2l: float | None = None, target: str = "") -> None:
        """Print and keep a row; ``ratio``: how many times as fast as d2l. A target is a least ratio or a largest %."""
        ratio = None if d2l is None else ours / d2l if unit.endswith("/s") else d2l / ours
        bound = float(target.split()[0]) if target else 0.0
        met = None if not target else ours <= bound if ratio is None else ratio >= bound
        self.rows.append(
            {"what": what, "ours": ours, "unit": unit, "peer": d2l, "ratio": ratio, "target": target, "met": met}
        )
        said = (
            (" " * 10 if d2l is None else f"{d2l:10,.1f}") + f" {unit:<8}" + (f"{ratio:6.2f} x" if ratio else " " * 8)
        )
        result = "" if met is None else f"target {target}: {'met' if met else 'MISSED'}"
        sys.stdout.write(f"{what:<42}{ours:10,.1f}{said}  {result}".rstrip() + "\n")
        sys.stdout.flush()

    def training(self) -> None:
        """Epochs of the report's protocol, their steps, and what the matrix products alone would take."""
        rates = {name: self.ours(gflops, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
        for name, rate in rates.items():
            self.add(f"matrix products in {name}", rate, "GFLOP/s")
        for shape, least in SHAPES.items():
            (epoch, step), (d2l_epoch_s, d2l_step_s) = self.in_turn(our_epoch, d2l_epoch, shape)
            name = f"{shape[0].upper()} {shape[1]}x{shape[2]}"
            self.add(f"{name}, step of {BATCH_SIZE:,} x {WINDOW_LENGTH}", 1e3 * step, "ms", 1e3 * d2l_step_s)
            self.add("  its matrix products alone, in bf16", bound_ms(shape, rates["bf16"]), "ms")
            self.add(f"{name}, epoch", epoch, "CPU s", d2l_epoch_s, f"{least:g} x")

    def quality(self) -> None:
        (ours, reached), (d2l, _) = self.ours(our_quality), self.peer(d2l_quality)
        self.add(f"LSTM 1x128 to perplexity {QUALITY:g} (ours {reached:.1f})", ours, "CPU s", d2l)

    def generation(self) -> None:
        (ours,), (d2l,) = self.in_turn(our_chars_per_second, d2l_chars_per_second)
        self.add("LSTM 1x128, greedy text", ours, "chars/s", d2l)

    def counting(self) -> None:
        (ours_s, ours), (ppmd_s, ppmd) = self.ours(our_counting), self.peer(ppmd_counting)
        self.add("adaptive counting and PPMd", ours_s, "CPU s", ppmd_s)
        self.add("  1,000 characters of the test text by them", 1000 * ours, "bits", 1000 * ppmd)
        for archiver in filter(lambda each: which(each.split()[0]), ARCHIVERS):
            with tempfile.TemporaryDirectory() as folder:
                (bits,) = self.ours(archiver_bits, folder, archiver)
            self.add(f"  the same by {archiver}", 1000 * ours, "bits", 1000 * bits)

    def tracking(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pairs = [self.ours(tracking_seconds, folder) for _ in range(self.rounds + 1)][1:]
        percent = 100 * median(recorded - plain for recorded, plain in pairs) / self.ours(default_seconds)
        self.add("recording a default training costs", percent, "%", target=TRACKING_TARGET)


PARTS = ("training", "quality", "generation", "counting", "tracking")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("mlruns/bench"), help="folder of bench.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home}/mlflow.db"
        bench = Bench(options.rounds)
        sys.stdout.write(f"{'':42}{'ours':>10}{'peer':>10}\n")
        for part in options.only:
            getattr(bench, part)()
    options.output.mkdir(parents=True, exist_ok=True)
    record = {"environment": environment(), "rows": bench.rows}
    write_atomically(options.output / "bench.json", json.dumps(record, indent=1).encode())
    sys.stdout.write(f"{options.output}/bench.json\n")


if __name__ == "__main__":
    main()
