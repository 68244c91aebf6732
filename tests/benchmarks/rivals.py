"""A small transformer and a minGRU in the CPU seconds of the default network: docs/data/rivals.csv.

    python -m tests.benchmarks.rivals FOLDER [--texts time-machine devref-fr]

FOLDER has the texts of texts.py. Each row of the table is one training, and none is repeated: the program may be
stopped and started again. The CPU seconds of the default network with seed 0 are the budget of every other training;
those with the best settings on validation have three seeds, and test perplexities.

The transformer is that of nanoGPT (pre-norm blocks, learned positions, tied embedding, no biases), the minGRU (Feng et
al. 2024, arXiv:2410.01201) has a recurrence in place of attention, computed by a parallel scan. Both read windows of a
fixed length from their start; each character that is scored has at least half a window before it.

Shapes: B batch, T time steps, D width, V vocabulary.
"""

import argparse
import csv
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from itertools import product
from math import cos, exp, inf, pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import resolve
from pipeline.text.corpus import Corpus
from pipeline.training.experiment import Experiment
from pipeline.training.hardware import has_bf16, keep_freed_memory
from pipeline.training.loop import fit
from tests.benchmarks.tune_recipe import corpus_of
from tests.figures import DOCS, read_csv

TABLE = DOCS / "data" / "rivals.csv"
LAYERS, WIDTH, HEADS = 4, 128, 4
CHARS_PER_STEP = 256
WARM_UP, FINAL_RATE_SHARE, VALIDATIONS = 0.05, 0.1, 10
CONTEXTS = {"transformer": (64, 128), "minGRU": (128,)}
RATES = (0.0003, 0.001, 0.003)  # tried first
FACTOR = 3  # between neighbouring rates
SEEDS = 3


class Attention(nn.Module):
    """Causal self-attention with HEADS heads: (B, T, D) -> (B, T, D)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.inputs, self.output = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.inputs(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return output


class MinGRU(nn.Module):
    """h_t = (1 - z_t) h_(t-1) + z_t g(W_h x_t), z_t = sigmoid(W_z x_t), in logarithms: (B, T, D) -> (B, T, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.output = nn.Linear(WIDTH, 2 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, candidate = self.inputs(x).float().chunk(2, dim=-1)
        log_candidate = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), F.logsigmoid(candidate))
        kept = F.logsigmoid(-gate).cumsum(1)
        log_state = kept + (F.logsigmoid(gate) + log_candidate - kept).logcumsumexp(1)
        output: Tensor = self.output(log_state.exp())
        return output


class Block(nn.Module):
    """x + mixer(norm(x)), and the same with two layers of four times the width: (B, T, D) -> (B, T, D)."""

    def __init__(self, mixer: nn.Module, dropout: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.mixer(self.norms[0](x)))
        changed: Tensor = x + self.dropout(self.narrow(F.gelu(self.wide(self.norms[1](x)))))
        return changed


class Rival(nn.Module):
    """LAYERS blocks between a tied embedding; a transformer also learns a vector for each position."""

    def __init__(self, kind: str, symbols: int, context: int, dropout: float) -> None:
        super().__init__()
        is_transformer = kind == "transformer"
        self.embedding = nn.Embedding(symbols, WIDTH)
        self.positions = nn.Parameter(torch.zeros(context, WIDTH)) if is_transformer else None
        mixers = (Attention(dropout) if is_transformer else MinGRU() for _ in range(LAYERS))
        self.blocks = nn.Sequential(*(Block(mixer, dropout) for mixer in mixers))
        self.norm, self.dropout = nn.LayerNorm(WIDTH, bias=False), nn.Dropout(dropout)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                is_residual = name.endswith(("output.weight", "narrow.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * LAYERS) ** 0.5 if is_residual else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, T, V) of the next character; in bfloat16 where the processor has it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(torch.device("cpu"))):
            x = self.embedding(ids)
            if self.positions is not None:
                x = x + self.positions[: ids.shape[1]]
            logits: Tensor = self.norm(self.blocks(self.dropout(x))) @ self.embedding.weight.T
        return logits.float()

    def macs_per_char(self, context: int) -> int:
        """Multiply-accumulate operations to generate a character, by a transformer with a cache of a whole window."""
        layers = sum(each.weight.numel() for each in self.modules() if isinstance(each, nn.Linear | nn.Embedding))
        return layers + 2 * context * WIDTH * LAYERS * (self.positions is not None)


@dataclass(frozen=True)
class Row:
    """One training: a row of docs/data/rivals.csv. The first six are its settings."""

    text: str
    model: str
    seed: int
    learning_rate: float = 0.0
    dropout: float = 0.0
    context: int = 0
    cpu_seconds: float = 0.0
    chars_read: int = 0
    parameters: int = 0
    macs_per_char: int = 0
    val_perplexity: float = 0.0
    test_perplexity: float = 0.0  # 0 in a trial


class Training:
    """A rival while it learns a text: random windows, AdamW, warm-up and a cosine."""

    def __init__(self, corpus: Corpus, row: Row) -> None:
        torch.manual_seed(row.seed)
        splits = {name: torch.from_numpy(corpus.split("stream", name)).long() for name in ("train", "val", "test")}
        self.row, self.text, self.splits = row, splits["train"], splits
        self.before = {"val": splits["train"], "test": splits["val"]}
        self.model = Rival(row.model, len(corpus.vocabulary), row.context, row.dropout)
        parameters = [*self.model.parameters()]
        decayed = {"params": [each for each in parameters if each.dim() > 1], "weight_decay": 0.1}
        others = {"params": [each for each in parameters if each.dim() == 1], "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([decayed, others], betas=(0.9, 0.99), fused=True)

    def step(self, done: float) -> None:
        """One step; ``done`` is the share of all steps that have been made."""
        start = torch.randint(len(self.text) - self.row.context, (CHARS_PER_STEP // self.row.context, 1))
        windows = self.text[start + torch.arange(self.row.context + 1)]
        loss = F.cross_entropy(self.model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        falling = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + cos(pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = self.row.learning_rate * min(falling, (done + 1e-4) / WARM_UP)
        self.optimizer.step()

    @torch.no_grad()
    def perplexity(self, split: str) -> float:
        """The perplexity of all characters of a split but the first, each after half a window or more."""
        context, ids, total = self.row.context, self.splits[split], 0.0
        half, text = context // 2, torch.cat([self.before[split][-context:], ids])
        self.model.eval()
        for part in torch.arange(context + 1, len(text), half).split(64):  # of the characters that are scored
            at = (part[:, None] + torch.arange(-half, half)).clamp(max=len(text) - 1)
            logits = self.model(text[at[:, :-1]])[:, half - 1 :].transpose(1, 2)
            costs = F.cross_entropy(logits, text[at[:, half:]], reduction="none")
            total += costs[part[:, None] + torch.arange(half) < len(text)].sum().item()
        self.model.train()
        return exp(total / (len(ids) - 1))

    def run(self, budget: float, is_final: bool) -> Row:
        """Train for CPU seconds, and keep the best of VALIDATIONS equally spaced looks at the validation text."""
        steps, began, best, test, seconds = self._steps(budget), time.process_time(), inf, 0.0, 0.0
        looks = {round(steps * look / VALIDATIONS) for look in range(1, VALIDATIONS + 1)}
        for step in range(1, steps + 1):
            self.step((step - 1) / steps)
            if step in looks and (found := self.perplexity("val")) < best:
                best, paused = found, time.process_time()
                test = self.perplexity("test") if is_final else 0.0
                seconds += time.process_time() - paused
        return replace(
            self.row,
            cpu_seconds=round(time.process_time() - began - seconds, 1),
            chars_read=steps * CHARS_PER_STEP,
            parameters=sum(each.numel() for each in self.model.parameters()),
            macs_per_char=self.model.macs_per_char(self.row.context),
            val_perplexity=round(best, 5),
            test_perplexity=round(test, 5),
        )

    def _steps(self, budget: float) -> int:
        """The steps for which the budget suffices, by the speed of a copy of this training."""
        twin, times = deepcopy(self), []
        for steps in (5, 40):
            began = time.process_time()
            for _ in range(steps):
                twin.step(0.0)
            times.append((time.process_time() - began) / steps)
        began = time.process_time()
        twin.perplexity("val")
        return int((budget - VALIDATIONS * (time.process_time() - began)) / times[-1])


def default(corpus: Corpus, wanted: Row) -> Row:
    """The default network, whose CPU seconds are the budget of the others."""
    experiment = Experiment(corpus, *resolve({"seed": wanted.seed}, corpus.train_chars, len(corpus.vocabulary)))
    began = time.process_time()
    fit(experiment.training, experiment)
    seconds = time.process_time() - began
    figures = experiment.run().figures
    return replace(
        wanted,
        cpu_seconds=round(seconds, 1),
        chars_read=experiment.training.history[-1].train_chars,
        parameters=figures["parameters"],
        macs_per_char=figures["macs_per_char"],
        val_perplexity=round(figures["val_perplexity"], 5),
        test_perplexity=round(figures["test_perplexity"], 5),
    )


def made(make: Callable[[Row], Row], wanted: Row, is_final: bool) -> Row:
    """The row with these settings, which is made and appended to the table if it has none."""
    kinds: dict[str, Any] = {each.name: each.type for each in fields(Row)}
    kept = read_csv(TABLE.name) if TABLE.exists() else []
    for row in (Row(**{name: kinds[name](cell) for name, cell in cells.items()}) for cells in kept):
        if astuple(row)[:6] == astuple(wanted)[:6] and bool(row.test_perplexity) is is_final:
            return row
    row = make(wanted)
    with TABLE.open("a") as file:
        csv.writer(file, lineterminator="\n").writerows([astuple(row)] if kept else [[*kinds], astuple(row)])
    return row


def chosen(trial: Callable[[Row], Row], text: str, kind: str) -> Row:
    """The trial with the lowest validation perplexity, of all dropouts and contexts and the rates that each needs."""
    every = []
    for dropout, context in product((0.0, 0.2), CONTEXTS[kind]):
        rates = [*RATES]
        while True:
            found = [trial(Row(text, kind, 0, rate, dropout, context)) for rate in rates]
            best = min(range(len(found)), key=lambda at: found[at].val_perplexity)
            if best == 0:
                rates.insert(0, float(f"{rates[0] / FACTOR:.1g}"))
            elif best == len(rates) - 1:
                rates.append(float(f"{rates[-1] * FACTOR:.1g}"))
            else:
                break
        every += found
    return min(every, key=lambda row: row.val_perplexity)


def complete(text: str, folder: Path) -> None:
    """Make all rows of a text that the table lacks."""
    corpus = corpus_of(text, folder)
    budget = made(partial(default, corpus), Row(text, "default", 0), True).cpu_seconds

    def train(is_final: bool, row: Row) -> Row:
        return Training(corpus, row).run(budget, is_final)

    for kind in CONTEXTS:
        best = chosen(partial(made, partial(train, False), is_final=False), text, kind)
        for seed in range(SEEDS):
            made(partial(train, True), Row(text, kind, seed, *astuple(best)[3:6]), True)
    for seed in range(1, SEEDS):
        made(partial(default, corpus), Row(text, "default", seed), True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", nargs="+", default=["time-machine", "devref-fr"])
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    for text in options.texts:
        complete(text, options.folder)


if __name__ == "__main__":
    main()
