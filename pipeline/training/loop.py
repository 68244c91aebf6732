"""fit(): the training loop. It reports to callbacks and knows neither tracker nor files.

Everything random in an epoch (order, cuts, masks) is drawn from the seed and the epoch's number, so the state between
two epochs is: weights, their average, the optimizer's moments, and the history. Between two steps of an epoch there is
besides what the epoch has come to (``UnderWay``). ``Training`` owns that state.

Shapes: B batch, T time steps.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import cos, isfinite, pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.language_model import LanguageModel, State, detach
from pipeline.config import FIRST_RECIPE, PASS_CHARS, STOPPED_BY_TIME, TrainConfig
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.support.signals import defer_signals
from pipeline.text.batches import stream_batches, windows
from pipeline.training.checkpoints import flatten, group
from pipeline.training.evaluation import perplexity, score_text, score_windows
from pipeline.training.hardware import choose_device, choose_precision, choose_threads, keep_freed_memory

WARM_UP_STEPS = 50

STEPS_PER_WARM_UP_STEP = 10  # at least so many in a training: a short one has a shorter warm-up

FINAL_RATE_SHARE = 0.05

STEPS_BETWEEN_CHECKS = 20  # of the loss being a number, and of the clock

DIVERGED_TIMES = 100  # the perplexity of guessing: a validation perplexity from there on is that of no model


@dataclass(frozen=True)
class EpochPoint:
    """One point of the curves. Perplexities are per character; seconds and characters count from the start.

    ``train_perplexity`` is measured while training, on weights that still move and with dropout on. Under the report's
    preset, both perplexities are the book's (mean over batches of exp of the batch's loss), and the pooled ones
    (exp of the mean loss) stand beside them; otherwise the pairs are equal.
    """

    epoch: int
    train_perplexity: float
    val_perplexity: float
    train_perplexity_pooled: float
    val_perplexity_pooled: float
    learning_rate: float
    gradient_norm: float
    train_seconds: float
    train_chars: int


@dataclass
class PartialEpoch:
    """What an epoch has come to between two of its steps.

    ``state`` is the carried one. ``masks_rng`` is the state of the generator that the masks are drawn from, where the
    epoch is gone on with in another process; None where that generator itself is at hand.
    """

    losses: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    gradient_norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    state: State | None = None
    dropout_rng: Tensor | None = None


# --- the data, as each preset reads it -------------------------------------------------------------------------------


class WindowData:
    """The report's protocol: shuffled windows, the state at zero in each."""

    carries_state = False

    def __init__(self, train: Tensor, val: Tensor, config: TrainConfig) -> None:
        self.config = config
        self.train = windows(train, config.sequence_length)
        self.val = windows(val, config.sequence_length)
        self.steps_per_epoch = -(-len(self.train[0]) // config.batch_size)
        self.chars_per_epoch = self.train[0].numel()
        self.val_chars = self.val[0].numel()

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) of an epoch, each (<= B, T)."""
        inputs, targets = self.train
        for rows in torch.randperm(len(inputs), generator=generator).split(self.config.batch_size):
            yield inputs[rows], targets[rows]

    def validate(self, model: LanguageModel) -> tuple[float, float]:
        """Perplexity as the book averages it, and pooled."""
        book, pooled = score_windows(model, *self.val, self.config.batch_size)
        return book, pooled.perplexity


class StreamData:
    """The project's protocol: parallel streams through the text, the state carried from cut to cut.

    Of a text longer than PASS_CHARS, each epoch reads the next PASS_CHARS.
    """

    carries_state = True

    def __init__(self, train: Tensor, val: Tensor, config: TrainConfig) -> None:
        self.config = config
        self.train, self.val = train, val
        self.pass_chars = min(len(train), PASS_CHARS)
        if self.pass_chars <= config.batch_size + config.sequence_length:
            raise InputError(
                f"{len(train):,} training characters cannot fill {config.batch_size} rows of "
                f"{config.sequence_length}; lower --batch-size or --sequence-length, or use a longer text"
            )
        row_chars = (self.pass_chars - 1) // config.batch_size
        self.steps_per_epoch = -(-row_chars // config.sequence_length)
        self.chars_per_epoch = row_chars * config.batch_size
        self.val_chars = len(self.val) - 1

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) of an epoch, each (B, <= T); the cuts fall elsewhere in each epoch."""
        passes = -(-len(self.train) // self.pass_chars)  # their starts evenly spaced, the last one at the text's end
        start = (epoch - 1) % passes * (len(self.train) - self.pass_chars) // max(1, passes - 1)
        offset = int(torch.randint(self.config.sequence_length, (), generator=generator))
        part = self.train[start : start + self.pass_chars]
        return stream_batches(part, self.config.batch_size, self.config.sequence_length, offset)

    def validate(self, model: LanguageModel) -> tuple[float, float]:
        """Perplexity, twice: there is no other average than the pooled one."""
        value = score_text(model, self.val).perplexity
        return value, value


# --- the learning rate ---------------------------------------------------------------------------------------------


def cosine_share(step: int, total_steps: int) -> float:
    """Share of the peak learning rate in a step (from 0): linear warm-up to 1, then half a cosine.

    The cosine falls to FINAL_RATE_SHARE in the last of ``total_steps``.
    """
    warm_up = min(WARM_UP_STEPS, max(1, total_steps // STEPS_PER_WARM_UP_STEP))
    done = step + 1
    if done <= warm_up:
        return done / warm_up
    fallen = min(1.0, (done - warm_up) / (total_steps - warm_up))
    return FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + cos(pi * fallen))


def first_cosine_share(step: int, total_steps: int) -> float:
    """Share of the peak learning rate under the first recipe: the warm-up times a cosine from the first step on.

    FINAL_RATE_SHARE would be reached one step after the last.
    """
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    fall = 0.5 * (1 + cos(pi * min(1.0, step / total_steps)))
    return warm_up * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * fall)


# --- the state of a training, and the step that moves it on ----------------------------------------------------------


class Training:
    """A training at one moment. ``run_epoch`` moves it on; ``state_dict`` and ``load_state_dict`` carry it over."""

    def __init__(self, model: LanguageModel, train: Tensor, val: Tensor, config: TrainConfig) -> None:
        self.config = config
        self.device = choose_device(config.device)
        precision = "fp32" if (config.preset, config.precision) == ("report", "auto") else config.precision
        self.precision = choose_precision(precision, self.device, model.config, config.batch_size)
        self.threads = choose_threads(config.threads)
        self.model = model.to(self.device)
        self.average = deepcopy(self.model) if config.average else None
        data = WindowData if config.preset == "report" else StreamData
        try:
            self.data: WindowData | StreamData = data(train, val, config)
        except ValueError as error:  # too few characters for the batches that are asked for
            raise InputError(str(error)) from error
        self.epochs = config.epochs or max(1, round(config.budget_chars / self.data.chars_per_epoch))
        if config.optimizer == "adamw":
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                self.model.parameters(),
                lr=config.learning_rate,
                betas=(0.9, 0.99),
                weight_decay=config.weight_decay,
                fused=self.device.type in ("cpu", "cuda"),
            )
        else:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.learning_rate)
        self.step = 0
        self.train_seconds = 0.0
        self.train_chars = 0
        self.partial_epoch: PartialEpoch | None = None  # None between two epochs
        self.is_whole = True  # False in the middle of a step
        self.history: list[EpochPoint] = []
        self.best: EpochPoint | None = None
        self.stopped = ""  # why it ended before its last epoch
        self._started: float | None = None  # when the seconds that are not yet in train_seconds began

    @property
    def eval_model(self) -> LanguageModel:
        """The weights that validation judges now: the running average where there is one."""
        return self.average or self.model

    @property
    def done(self) -> bool:
        return bool(self.stopped) or len(self.history) >= self.epochs

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step (from 0) under the schedule and the recipe of the configuration."""
        peak = self.config.learning_rate
        if self.config.schedule == "constant":
            return peak
        share = cosine_share if self.config.recipe > FIRST_RECIPE else first_cosine_share
        return peak * share(step, self.epochs * self.data.steps_per_epoch)

    def run_epoch(
        self,
        on_step: Callable[[int], None] = lambda steps: None,
        at_rest: Callable[[], None] = lambda: None,
    ) -> EpochPoint:
        """Train for an epoch (or the rest of one, or until the time is up), validate, and add the point to the history.

        ``on_step`` is told how many steps were made since the last call; ``at_rest`` is called between any two steps,
        where the state is whole. Raises TrainingDivergedError when the loss or the validation is not a number; the
        history then ends with the epoch before.
        """
        epoch = len(self.history) + 1
        seed = (self.config.seed * 1_000_003 + epoch) % 2**63
        generator = torch.Generator().manual_seed(seed)  # the order
        if self.partial_epoch is None:
            self.partial_epoch = PartialEpoch()
            torch.manual_seed(seed)  # the masks
        part = self.partial_epoch
        if part.dropout_rng is not None:
            self._dropout_generator().set_rng_state(part.dropout_rng)
            part.dropout_rng = None
        cut_short, told = False, len(part.losses)
        self.model.train()
        with self._timed():
            for inputs, targets in islice(self.data.batches(epoch, generator), len(part.losses), None):
                with defer_signals():
                    self.is_whole = False
                    loss, part.gradient_norm, state = self._train_step(inputs, targets, part.state)
                    part.state = state if self.data.carries_state else None
                    part.losses.append(loss)
                    part.sizes.append(inputs.numel())
                    self.is_whole = True
                at_rest()
                if len(part.losses) % STEPS_BETWEEN_CHECKS == 0:
                    on_step(len(part.losses) - told)
                    told = len(part.losses)
                    self._check_finite(loss, epoch)
                    if cut_short := self._time_is_up():
                        break
            on_step(len(part.losses) - told)
            for loss in part.losses:
                self._check_finite(loss, epoch)
            val_perplexity, val_perplexity_pooled = self.data.validate(self.eval_model)
        if not val_perplexity < DIVERGED_TIMES * self.model.vocab_size:  # also what is not a number
            raise self._diverged(f"the validation perplexity is {val_perplexity:.6g} after epoch {epoch}")
        book, pooled = self._train_perplexities(part.losses, part.sizes)
        with defer_signals():
            self.train_chars += sum(part.sizes)
            if cut_short or (self._time_is_up() and epoch < self.epochs):
                self.stopped = f"{STOPPED_BY_TIME} {self.config.max_seconds:g}"
            point = EpochPoint(
                epoch=epoch,
                train_perplexity=book,
                val_perplexity=val_perplexity,
                train_perplexity_pooled=pooled,
                val_perplexity_pooled=val_perplexity_pooled,
                learning_rate=self.learning_rate_at(self.step - 1),  # of the last step that was made
                gradient_norm=float(part.gradient_norm),
                train_seconds=self.train_seconds,
                train_chars=self.train_chars,
            )
            self.partial_epoch = None
            self._remember(point)
        return point

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the seconds inside, also while they pass (``seconds``)."""
        self._started = time.perf_counter()
        try:
            yield
        finally:
            self.train_seconds, self._started = self.seconds, None

    def leave_out(self, seconds: float) -> None:
        """Called at rest: so many of the seconds that have just passed were no training."""
        if self._started is not None:
            self._started += seconds

    @property
    def seconds(self) -> float:
        """Seconds of training and validation until now."""
        return self.train_seconds + (0 if self._started is None else time.perf_counter() - self._started)

    def _dropout_generator(self) -> Any:
        """The module of torch that keeps the generator of the device (get_rng_state, set_rng_state)."""
        return torch if self.device.type == "cpu" else torch.get_device_module(self.device)

    def _train_step(self, inputs: Tensor, targets: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        inputs, targets = inputs.long().to(self.device), targets.long().to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits, state = self.model(inputs, state)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or float("inf"))
        for parameter_group in self.optimizer.param_groups:
            parameter_group["lr"] = self.learning_rate_at(self.step)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            decay = min(self.config.average, (1 + self.step) / (10 + self.step))  # the first weights fade fast
            with torch.no_grad():
                for mean, parameter in zip(self.average.parameters(), parameters, strict=True):
                    mean.lerp_(parameter, 1 - decay)
        return loss.detach(), norm, detach(state)

    def _check_finite(self, loss: Tensor, epoch: int) -> None:
        if not isfinite(value := float(loss)):
            raise self._diverged(f"the loss is {value} in epoch {epoch}")

    def _diverged(self, what: str) -> TrainingDivergedError:
        kept = f" (the checkpoint of epoch {self.best.epoch} is kept)" if self.best else ""
        return TrainingDivergedError(f"{what}; lower --learning-rate, or set --clip{kept}")

    def _time_is_up(self) -> bool:
        return bool(self.config.max_seconds) and self.seconds >= self.config.max_seconds

    def _train_perplexities(self, losses: list[Tensor], sizes: list[int]) -> tuple[float, float]:
        values = [float(loss) for loss in losses]
        pooled = perplexity(sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes))
        if self.config.preset == "report":
            return sum(perplexity(value) for value in values) / len(values), pooled
        return pooled, pooled

    def _remember(self, point: EpochPoint) -> None:
        self.history.append(point)
        if self.best is None or point.val_perplexity < self.best.val_perplexity:
            self.best = point
        elif self.config.patience and point.epoch - self.best.epoch >= self.config.patience:
            self.stopped = self.stopped or f"--patience {self.config.patience}"

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on: tensors, and facts that JSON can hold.

        Only while ``is_whole``: what a step that was broken off leaves behind is nobody's state.
        """
        tensors = flatten("model", self.model.state_dict())
        if self.average is not None:
            tensors |= flatten("average", self.average.state_dict())
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= flatten(f"optimizer.{index}", moments)
        facts = {
            "step": self.step,
            "epochs": self.epochs,
            "precision": self.precision,
            "train_seconds": self.seconds,
            "train_chars": self.train_chars,
            "history": [asdict(point) for point in self.history],
            "best_epoch": self.best.epoch if self.best else None,
            "stopped": self.stopped,
            "under_way": None,
        }
        if self.partial_epoch is not None and self.partial_epoch.losses:
            part = self.partial_epoch
            parts = {
                "losses": torch.stack(part.losses),
                "gradient_norm": part.gradient_norm,
                "masks_rng": self._dropout_generator().get_rng_state()
                if part.dropout_rng is None
                else part.dropout_rng,
            }
            if part.state is not None:
                states = part.state if isinstance(part.state, tuple) else (part.state,)
                parts |= {f"state.{index}": each for index, each in enumerate(states)}
            tensors |= flatten("under_way", parts)
            facts["under_way"] = {"sizes": part.sizes}
        return tensors, facts

    def load_state_dict(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Become the training that ``state_dict`` was taken of; its configuration must be the same.

        But for the number of epochs and the limit of seconds, which are as they are here.
        """
        self.model.load_state_dict(group("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(group("average", tensors))
        optimizer = self.optimizer.state_dict()
        count = sum(1 for _ in self.model.parameters())
        moments = {index: group(f"optimizer.{index}", tensors) for index in range(count)}
        optimizer["state"] = {index: values for index, values in moments.items() if values}
        self.optimizer.load_state_dict(optimizer)
        self.step = facts["step"]
        self.precision = facts["precision"]
        self.train_seconds = facts["train_seconds"]
        self.train_chars = facts["train_chars"]
        self.history = [EpochPoint(**point) for point in facts["history"]]
        self.best = next((point for point in self.history if point.epoch == facts["best_epoch"]), None)
        self.stopped = facts["stopped"]
        if self.stopped.startswith(STOPPED_BY_TIME) and not self._time_is_up():
            self.stopped = ""  # it has been given more
        self.partial_epoch = None
        if facts["under_way"] is not None:
            self.partial_epoch = self._partial_epoch(group("under_way", tensors), facts["under_way"])

    def _dropout_rng(self, part: PartialEpoch) -> Tensor:
        """The state of the generator of the dropout masks between two steps."""
        return self._dropout_generator().get_rng_state() if part.dropout_rng is None else part.dropout_rng

    def _partial_epoch(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> PartialEpoch:
        states = [tensor.to(self.device) for _, tensor in sorted(group("state", tensors).items())]
        state: State | None = states[0] if len(states) == 1 else (states[0], states[1]) if states else None
        return PartialEpoch(
            losses=list(tensors["losses"].to(self.device)),
            sizes=list(facts["sizes"]),
            gradient_norm=tensors["gradient_norm"].to(self.device),
            state=state,
            dropout_rng=tensors["masks_rng"],
        )


def fit(
    training: Training,
    on_epoch: Callable[[Training, EpochPoint], None] = lambda training, point: None,
    on_step: Callable[[int], None] = lambda steps: None,
    at_rest: Callable[[Training], None] = lambda training: None,
) -> list[EpochPoint]:
    """Train to the end, telling ``on_epoch`` after each epoch; returns the history.

    ``at_rest`` is called between any two steps, where the state may be saved. Sets the number of threads and the
    allocator of the whole process, and leaves them so.
    """
    keep_freed_memory()
    torch.set_num_threads(training.threads)
    while not training.done:
        point = training.run_epoch(on_step, lambda: at_rest(training))
        on_epoch(training, point)
    return training.history
