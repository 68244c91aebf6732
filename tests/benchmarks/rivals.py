"""A small transformer and a minGRU in the CPU seconds of the default network: docs/data/rivals.csv.

    python -m tests.benchmarks.rivals FOLDER

FOLDER has the texts of texts.py. A row is one training, and none is repeated: the program may be stopped and started
again. The CPU seconds of the default network with seed 0 are the budget of all; the settings with the best validation
perplexity have three seeds, and test perplexities.

The transformer is that of nanoGPT (pre-norm blocks, learned positions, tied embedding, no biases), the minGRU (Feng et
al. 2024, arXiv:2410.01201) has a recurrence in place of attention, computed by a parallel scan. Both read windows of a
fixed length from their start; each character that is scored has at least half a window before it.

Shapes: B batch, T time steps, D width, V vocabulary.
"""

import argparse
import csv
import time
from copy import deepcopy
from itertools import accumulate, pairwise, product
from math import cos, exp, inf, pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import resolve
from pipeline.support.machine import keep_freed_memory, tune_process
from pipeline.text.corpus import Corpus
from pipeline.training.experiment import Experiment
from pipeline.training.hardware import has_bf16
from pipeline.training.loop import fit
from tests.benchmarks.tune_recipe import corpus_of
from tests.figures import DOCS, read_csv

TABLE = DOCS / "data" / "rivals.csv"
FIGURES = "cpu_seconds", "chars_read", "parameters", "macs_per_char", "val_perplexity", "test_perplexity"
SPLITS = "train", "val", "test"
TEXTS = "time-machine", "devref-fr"
LAYERS, WIDTH, HEADS = 4, 128, 4
SEEDS, CHARS_PER_STEP = 3, 256
WARM_UP, FINAL_RATE_SHARE, VALIDATIONS = 0.05, 0.1, 10
CONTEXTS = {"transformer": (64, 128), "minGRU": (128,)}
RATES, FACTOR = (0.0003, 0.001, 0.003), 3  # tried first, and between neighbouring rates


class Attention(nn.Module):
    """Causal self-attention with HEADS heads: (B, T, D) -> (B, T, D)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.inputs, self.output = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.inputs(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout * self.training, is_causal=True)
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


class Settings(NamedTuple):
    """The first columns of a training's row, before FIGURES. The default network has a text and a seed alone."""

    text: str
    model: str
    seed: int = 0
    learning_rate: float = 0.0
    dropout: float = 0.0
    context: int = 0


class Training:
    """A rival while it learns a text: random windows, AdamW, warm-up and a cosine."""

    def __init__(self, corpus: Corpus, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        splits = [torch.from_numpy(corpus.split("stream", name)).long() for name in SPLITS]
        self.ids, spans = torch.cat(splits), pairwise([0, *accumulate(map(len, splits))])
        self.spans, self.settings = dict(zip(SPLITS, spans, strict=True)), settings
        self.model = Rival(settings.model, len(corpus.vocabulary), settings.context, settings.dropout)
        parameters = [*self.model.parameters()]
        decayed = {"params": [each for each in parameters if each.dim() > 1], "weight_decay": 0.1}
        others = {"params": [each for each in parameters if each.dim() == 1], "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([decayed, others], betas=(0.9, 0.99), fused=True)

    def step(self, done: float) -> None:
        """One step; ``done`` is the share of the budget that is spent."""
        context = self.settings.context
        start = torch.randint(self.spans["train"][1] - context, (CHARS_PER_STEP // context, 1))
        windows = self.ids[start + torch.arange(context + 1)]
        loss = F.cross_entropy(self.model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        falling = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + cos(pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(falling, (done + 1e-4) / WARM_UP)
        self.optimizer.step()

    @torch.no_grad()
    def perplexity(self, split: str) -> float:
        """The perplexity of all characters of a split but the first, each after half a window or more."""
        (start, end), half, total = self.spans[split], self.settings.context // 2, 0.0
        self.model.eval()
        for part in torch.arange(start + 1, end, half).split(64):  # of the characters that are scored
            at = (part[:, None] + torch.arange(-half, half)).clamp(max=end - 1)
            logits = self.model(self.ids[at[:, :-1]])[:, half - 1 :].transpose(1, 2)
            costs = F.cross_entropy(logits, self.ids[at[:, half:]], reduction="none")
            total += costs[part[:, None] + torch.arange(half) < end].sum().item()
        self.model.train()
        return exp(total / (end - start - 1))

    def run(self, budget: float, is_final: bool) -> tuple[float, ...]:
        """Train for CPU seconds, keep the best of VALIDATIONS equally spaced looks, and return FIGURES."""
        began, best, weights, steps = time.process_time(), inf, self.model.state_dict(), 0
        for look in range(1, VALIDATIONS + 1):
            while (done := (time.process_time() - began) / budget) < look / VALIDATIONS:
                self.step(done)
                steps += 1
            if (value := self.perplexity("val")) < best:
                best, weights = value, deepcopy(self.model.state_dict())
        seconds = time.process_time() - began
        self.model.load_state_dict(weights)
        parameters = sum(each.numel() for each in self.model.parameters())
        macs, test = self.model.macs_per_char(self.settings.context), self.perplexity("test") if is_final else 0.0
        return round(seconds, 1), steps * CHARS_PER_STEP, parameters, macs, round(best, 5), round(test, 5)


def default(corpus: Corpus, seed: int) -> tuple[float, ...]:
    """FIGURES of the default network, whose CPU seconds are the budget of the others."""
    experiment = Experiment(corpus, *resolve({"seed": seed}, corpus.train_chars, len(corpus.vocabulary)))
    began = time.process_time()
    fit(experiment.training, experiment)
    seconds, chars = time.process_time() - began, experiment.training.history[-1].train_chars
    figures: dict[str, Any] = {**experiment.run().figures, "cpu_seconds": seconds, "chars_read": chars}
    return tuple(round(figures[name], 1 if name == "cpu_seconds" else 5) for name in FIGURES)


def found(corpus: Corpus, settings: Settings, budget: float = 0.0, is_final: bool = True) -> dict[str, float]:
    """What the row of a training says, which is made and appended to the table if there is none."""
    for row in read_csv(TABLE.name):
        key = tuple(row[name] for name in Settings._fields)
        if key == tuple(map(str, settings)) and (float(row["test_perplexity"]) > 0) is is_final:
            return {name: float(row[name]) for name in FIGURES}
    made = Training(corpus, settings).run(budget, is_final) if settings.context else default(corpus, settings.seed)
    with TABLE.open("a") as file:
        csv.writer(file, lineterminator="\n").writerow([*settings, *made])
    return dict(zip(FIGURES, made, strict=True))


def chosen(corpus: Corpus, text: str, kind: str, budget: float) -> Settings:
    """The settings with the lowest validation perplexity: all dropouts and contexts, and the rates that each needs."""
    trials: dict[Settings, float] = {}
    for dropout, context in product((0.0, 0.2), CONTEXTS[kind]):
        rates = [*RATES]
        while True:
            every = [Settings(text, kind, 0, rate, dropout, context) for rate in rates]
            trials |= {each: found(corpus, each, budget, is_final=False)["val_perplexity"] for each in every}
            best = min(every, key=trials.__getitem__).learning_rate
            if rates[0] < best < rates[-1]:
                break
            rates = sorted([*rates, float(f"{best / FACTOR if best == rates[0] else best * FACTOR:.1g}")])
    return min(trials, key=trials.__getitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    tune_process()
    keep_freed_memory()
    torch.set_num_threads(1)
    for text in TEXTS:
        corpus = corpus_of(text, folder)
        defaults = [found(corpus, Settings(text, "default", seed)) for seed in range(SEEDS)]
        budget = defaults[0]["cpu_seconds"]
        for kind in CONTEXTS:
            best = chosen(corpus, text, kind, budget)
            for seed in range(SEEDS):
                found(corpus, best._replace(seed=seed), budget)


if __name__ == "__main__":
    main()
