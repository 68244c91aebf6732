"""Milliseconds of one training step: ours against the plain PyTorch step of the d2l.ai book, A B A B.

Both train the same torch.nn layer on batches of 1,024 windows of 32 characters, on one thread. The book's step feeds
one-hot vectors in fp32; ours is what ``fit`` runs, with the allocator setting and, where the hardware has it, bf16.
Each measurement is a process of its own, since the allocator setting can't be taken back.

    python -m tests.benchmarks.bench_step [--cell lstm] [--hidden-size 128] [--rounds 3]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

STEPS, VOCABULARY, BATCH, LENGTH = 12, 28, 1024, 32
WAYS = ("book", "ours fp32", "ours auto")


def median_ms(step: Callable[[], object]) -> float:
    """Median wall milliseconds of a step, after a third of them to warm up."""
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[STEPS // 3 :])


def measure(way: str, cell: str, hidden_size: int) -> float:
    """One measurement in this process."""
    import torch
    from torch.nn import functional as F

    from models.language_model import TORCH_LAYERS, LanguageModel
    from pipeline.config import resolve
    from pipeline.training.hardware import keep_freed_memory
    from pipeline.training.loop import Training

    torch.set_num_threads(1)
    ids = torch.randint(VOCABULARY, (20_000,), dtype=torch.uint8)
    inputs = torch.randint(VOCABULARY, (BATCH, LENGTH))
    targets = torch.randint(VOCABULARY, (BATCH, LENGTH))
    if way == "book":
        core = TORCH_LAYERS[cell](VOCABULARY, hidden_size)
        head = torch.nn.Linear(hidden_size, VOCABULARY)
        parameters = [*core.parameters(), *head.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=1.0)

        def book_step() -> None:
            hidden, _ = core(F.one_hot(inputs.T, VOCABULARY).float())
            loss = F.cross_entropy(head(hidden).swapaxes(0, 1).reshape(-1, VOCABULARY), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

        return median_ms(book_step)
    keep_freed_memory()
    precision = "fp32" if way == "ours fp32" else "auto"
    model, config = resolve({"preset": "report", "cell": cell, "hidden_size": hidden_size})
    training = Training(LanguageModel(model, VOCABULARY), ids, ids, config)
    if precision == "auto":
        from pipeline.training.hardware import choose_precision

        training.precision = choose_precision("auto", training.device, model, config.batch_size)
    return median_ms(lambda: training._train_step(inputs, targets, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        sys.stdout.write(f"{measure(options.way, options.cell, options.hidden_size)}\n")
        return
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_step", "--way", way]
            command += ["--cell", options.cell, "--hidden-size", str(options.hidden_size)]
            found[way].append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    book = statistics.median(found["book"])
    sys.stdout.write(
        f"{options.cell} 1x{options.hidden_size}, {BATCH} x {LENGTH} characters, {options.rounds} rounds\n"
    )
    for way, times in found.items():
        middle = statistics.median(times)
        sys.stdout.write(
            f"  {way:<10} {middle:8.1f} ms  ({min(times):.1f} to {max(times):.1f})  {book / middle:5.2f} x\n"
        )


if __name__ == "__main__":
    main()
