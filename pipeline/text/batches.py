"""Training batches of a text: the report's sliding windows, or parallel streams.

Shapes: B batch (rows), T time steps, N windows.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import PASS_CHARS, TrainConfig
from pipeline.errors import InputError
from pipeline.text.corpus import Corpus

PRIOR_NUMBERS = 1_000_000_000  # of a prior at most are in memory, two bytes each: an epoch reads fewer characters


class Prior(Protocol):
    """What n-grams say about the training text: (start, end) -> a tensor (end - start, ...) for these positions."""

    numbers_per_char: int

    def __call__(self, start: int, end: int) -> Tensor: ...


class SoftTargets:
    """Distributions of the next character by cross-fitted n-grams, the soft targets of knowledge distillation.

    They are known for the positions of ``spans`` (start, end), in order, of a text of so many characters:
    ``distributions`` (n, V). As a Prior, it gives rows of ``table`` (n + 1, V), the last of which is for all other
    positions and 0. It is in float32, whose rows are looked up three times as fast as those in float16.
    """

    numbers_per_char = 1

    def __init__(self, characters: int, spans: Sequence[tuple[int, int]], distributions: Tensor) -> None:
        self.table = F.pad(distributions.float(), (0, 0, 0, 1))
        self.unknown = len(distributions)
        self.rows = torch.full((characters,), self.unknown, dtype=torch.int32)
        done = 0
        for start, end in spans:
            self.rows[start:end] = torch.arange(done, done := done + end - start, dtype=torch.int32)

    def __call__(self, start: int, end: int) -> Tensor:
        return self.rows[start:end]

    def cost(self, logs: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Mean cross-entropy (nats) of log-probabilities (n, V) against the rows (n,) of the table.

        Where there is none, it is that against the text's own character in ``targets`` (n,).
        """
        known = torch.dot(F.embedding(rows, self.table).to(logs.device).flatten(), logs.flatten())
        unknown = F.nll_loss(logs, targets, reduction="none").dot((rows == self.unknown).to(logs))
        return (unknown - known) / len(logs)


def windows(ids: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The report's examples: every window of ``length`` characters, at stride 1.

    Returns inputs and targets, each (N, length) with N = len(ids) - length, as views of ``ids``; target t is the
    character after input t. Raises InputError for a text shorter than a window and its last target.
    """
    if len(ids) <= length:
        raise InputError(f"{len(ids):,} characters hold no window of {length}; lower sequence_length")
    view = ids.unfold(0, length + 1, 1)
    return view[:, :-1], view[:, 1:]


def stream_batches(
    ids: Tensor, batch_size: int, sequence_length: int, offset: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, targets), each (B, <= T), walking the text in order in B parallel streams.

        text    a b c d e f g h i j k l m
        row 0   a b | c d | e f       row b of every batch continues row b of the one before,
        row 1   g h | i j | k l       so the state may be carried across (truncated BPTT)

    ``offset`` characters at the start are skipped, so that each pass may cut the text at other places; up to B - 1
    characters at the end are dropped. ``ids`` (N, ...), long enough to fill the rows, may hold anything else per
    character, such as a prior.
    """
    length = (len(ids) - 1 - offset) // batch_size
    inputs = ids[offset : offset + batch_size * length].unflatten(0, (batch_size, length))
    targets = ids[offset + 1 : offset + 1 + batch_size * length].unflatten(0, (batch_size, length))
    for start in range(0, length, sequence_length):
        yield inputs[:, start : start + sequence_length], targets[:, start : start + sequence_length]


class WindowData:
    """The report's protocol: shuffled overlapping windows, each read from a zero state.

    Raises InputError for a text that is shorter than a window.
    """

    carries_state = False
    prior: Prior | None = None

    def __init__(self, train: Tensor, val: Tensor, config: TrainConfig) -> None:
        self.config = config
        self.train = windows(train, config.sequence_length)
        self.val = windows(val, config.sequence_length)
        self.steps_per_epoch = -(-len(self.train[0]) // config.batch_size)
        self.chars_per_epoch = self.train[0].numel()
        self.val_chars = self.val[0].numel()

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        """Yield (inputs, targets), each (<= B, T), of all windows in random order."""
        inputs, targets = self.train
        for rows in torch.randperm(len(inputs), generator=generator).split(self.config.batch_size):
            yield inputs[rows], targets[rows]


class StreamData:
    """The project's protocol: parallel streams through the text, along each of which the state is carried.

    An epoch reads the whole text, or the next ``pass_chars`` of a longer one, and no more than the budget of characters
    if that decides on the number of epochs. With a ``prior``, batches also hold what it says about the targets, and an
    epoch reads at most as many characters as PRIOR_NUMBERS suffice for. Raises InputError for a text that is too short
    to fill the rows.
    """

    carries_state = True

    def __init__(
        self, train: Tensor, val: Tensor, config: TrainConfig, prior: Prior | None = None, pass_chars: int = PASS_CHARS
    ) -> None:
        self.config = config
        self.train, self.val, self.prior = train, val, prior
        most = PRIOR_NUMBERS // prior.numbers_per_char if prior else pass_chars
        self.pass_chars = min(len(train), most, pass_chars)
        least = config.batch_size + config.sequence_length + 1
        if config.epochs is None:
            self.pass_chars = min(self.pass_chars, max(config.budget_chars, least))
        if self.pass_chars < least:
            raise InputError(
                f"{len(train):,} training characters cannot fill {config.batch_size} rows of "
                f"{config.sequence_length}; lower --batch-size, or use a longer text"
            )
        row_chars = (self.pass_chars - 1) // config.batch_size
        self.steps_per_epoch = -(-row_chars // config.sequence_length)
        self.chars_per_epoch = row_chars * config.batch_size
        self.val_chars = len(self.val) - 1

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        """Yield (inputs, targets), each (B, <= T), and a prior (B, <= T, ...) if there is one, from a random offset."""
        passes = -(-len(self.train) // self.pass_chars)  # evenly spaced; the last one ends with the text
        start = (epoch - 1) % passes * (len(self.train) - self.pass_chars) // max(1, passes - 1)
        offset = int(torch.randint(self.config.sequence_length, (), generator=generator))
        end = start + self.pass_chars
        cut = (self.config.batch_size, self.config.sequence_length, offset)
        characters = stream_batches(self.train[start:end], *cut)
        if self.prior is None:
            return characters
        priors = (of_targets for _, of_targets in stream_batches(self.prior(start, end), *cut))
        return ((*batch, prior) for batch, prior in zip(characters, priors, strict=True))


def data_for(train: Tensor, val: Tensor, config: TrainConfig, prior: Prior | None = None) -> WindowData | StreamData:
    """Training and validation ids (N,) as the preset reads them. Raises InputError for a text that is too short."""
    return WindowData(train, val, config) if config.preset == "report" else StreamData(train, val, config, prior)


def data_of(corpus: Corpus, config: TrainConfig, prior: Prior | None = None) -> WindowData | StreamData:
    """The training and validation data of a configuration. Raises InputError for a text that is too short."""
    corpus = corpus.limited(config.train_chars)
    train, val = (torch.from_numpy(corpus.split(config.preset, split)) for split in ("train", "val"))
    return data_for(train, val, config, prior)


def number_of_epochs(config: TrainConfig, data: WindowData | StreamData) -> int:
    """``config.epochs``, or the number of epochs in the budget of characters, rounded; at least 1."""
    return config.epochs or max(1, round(config.budget_chars / data.chars_per_epoch))
