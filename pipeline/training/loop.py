"""The training loop: ``fit`` trains, validates and calls back, independent of files and of MLflow.

Everything random in an epoch (order of the batches, offsets of the streams, dropout masks) is derived from the seed and
the number of the epoch. The state between two epochs is therefore the weights, their EMA, the optimizer's moments and
the history; between two steps of an epoch, a ``PartialEpoch`` as well. ``Training`` holds, saves and restores it.

Shapes: B batch, T time steps, N characters, V vocabulary.
"""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import cos, isfinite, pi
from operator import attrgetter
from typing import Any, NotRequired, get_type_hints

import torch
from torch import Tensor
from torch.nn import functional as F

from models.language_model import LanguageModel, detach
from models.optimizers import OPTIMIZERS, check_state
from models.recurrent import State, parts_of, state_of
from pipeline import earlier
from pipeline.config import StoppedBy, TrainConfig
from pipeline.errors import TrainingDivergedError
from pipeline.support.machine import keep_freed_memory
from pipeline.support.records import Count, ListOf, Natural, Number, String, maybe, record
from pipeline.support.signals import defer_signals
from pipeline.text.batches import SoftTargets, StreamData, WindowData, number_of_epochs
from pipeline.training.checkpoints import flatten, group
from pipeline.training.evaluation import autocast, calibrate_logits, perplexity, score_windows, text_costs
from pipeline.training.hardware import choose_device, choose_kernel, choose_precision

WARM_UP_STEPS = 50
STEPS_PER_WARM_UP_STEP = 10  # a training of fewer than 10 * WARM_UP_STEPS steps warms up for a tenth of them
FINAL_RATE_SHARE = 0.05  # of the peak learning rate, in the last step of a cosine schedule without ``counting_loss``
FINAL_COUNTING_SHARE = 1 / 6  # of ``counting_loss``, after the last step
DIVERGED_TIMES = 100  # a validation perplexity of so many times the uniform distribution's counts as divergence


@dataclass(frozen=True)
class EpochPoint:
    """One point of the curves. Perplexities are per character; seconds and characters are totals so far.

    ``train_perplexity`` is measured during training, on weights that still change and with dropout. Under the report's
    preset, both perplexities are the book's (mean over batches of exp of the batch's loss) and the pooled ones are exp
    of the mean loss; under any other preset, the two are equal. ``val_perplexity`` is that of the model with its logits
    multiplied by ``logit_scale``. ``train_perplexity_first_half`` is the book's over the first half of the epoch's
    batches, since the book plots two points per epoch; None under other presets. ``gradient_norm`` and
    ``learning_rate`` are those of the last step.
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
    logit_scale: float = 1.0
    train_perplexity_first_half: float | None = None


STATE = record(  # of the facts of ``Training.state_dict``
    step=Natural,
    epochs=Count,
    precision=String,
    train_seconds=Number,
    history=ListOf[record(**get_type_hints(EpochPoint) | {"train_perplexity_first_half": maybe(float)})],
    stopped_by=NotRequired[StoppedBy],
    under_way=maybe(record(sizes=list[Count])),
)


@dataclass
class PartialEpoch:
    """The state of an epoch between two of its steps.

    ``losses`` (mean nats per character) and ``sizes`` (characters) are those of the steps done. ``state`` is the
    recurrent state carried to the next step. ``dropout_rng`` is the state of the dropout masks' random generator read
    from a checkpoint, to be restored before the next step, else None.
    """

    losses: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    gradient_norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    state: State | None = None
    dropout_rng: Tensor | None = None


class Callback:
    """What a training, and the experiment around it, call while it runs; here, each method does nothing."""

    def on_start(self, training: "Training") -> None:
        """Before the first step, also of a resumed training."""

    def on_step(self, training: "Training") -> None:
        """After each step, when the state is whole and may be saved."""

    def before_checkpoint(self, training: "Training") -> None:
        """Before a checkpoint is written; raises if it must not be."""

    def on_epoch(self, training: "Training", point: EpochPoint) -> None:
        """After each epoch, when its checkpoint is written."""


class Training:
    """The state of a training: ``run_epoch`` advances it, ``state_dict`` and ``load_state_dict`` save and restore it.

    One thread is the default: layers of this size gain nothing from a second, whose core another program may occupy.
    Raises InputError for a device that this machine lacks.
    """

    def __init__(self, model: LanguageModel, data: WindowData | StreamData, config: TrainConfig) -> None:
        self.config, self.data = config, data
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device, model.config, config.batch_size)
        self.threads = config.threads or 1
        self.model = model.to(self.device)
        self.model.use_kernel(choose_kernel(self.device, self.precision, model.config, config.preset))
        self.average = deepcopy(self.model) if config.average else None
        self.epochs = number_of_epochs(config, data)
        build = OPTIMIZERS[config.optimizer]
        self.optimizer = build(self.model.parameters(), config.learning_rate, config.weight_decay)
        self.step = 0
        self.train_seconds = 0.0
        self.partial_epoch: PartialEpoch | None = None  # None between two epochs
        self.is_whole = True  # False in the middle of a step
        self.history: list[EpochPoint] = []
        self.stopped_by: StoppedBy = ""
        self._started: float | None = None  # time.perf_counter() from which on seconds are not yet in train_seconds

    @property
    def eval_model(self) -> LanguageModel:
        """The model that is validated: the EMA of the weights if there is one."""
        return self.average or self.model

    @property
    def best(self) -> EpochPoint | None:
        """The epoch of the lowest validation perplexity, the first of several."""
        return min(self.history, key=attrgetter("val_perplexity"), default=None)

    @property
    def stopped(self) -> str:
        """The option that stopped it before its last epoch, and its value; "" if none did."""
        limits = {"time": f"--max-seconds {self.config.max_seconds:g}", "patience": f"patience {self.config.patience}"}
        return limits.get(self.stopped_by, "")

    @property
    def done(self) -> bool:
        return bool(self.stopped_by) or len(self.history) >= self.epochs

    @property
    def seconds(self) -> float:
        """Seconds of training and validation until now."""
        return self.train_seconds + (0 if self._started is None else time.perf_counter() - self._started)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step (from 0) under the configuration's schedule.

        The schedule cosine is a linear warm-up to the peak, then half a period of a cosine; the last step has
        FINAL_RATE_SHARE of the peak, and with ``counting_loss`` nothing.
        """
        peak, total_steps, done = self.config.learning_rate, self.epochs * self.data.steps_per_epoch, step + 1
        warm_up = min(WARM_UP_STEPS, max(1, total_steps // STEPS_PER_WARM_UP_STEP))
        if self.config.schedule == "constant":
            return peak
        if done <= warm_up:
            return peak * (done / warm_up)
        fallen = min(1.0, (done - warm_up) / (total_steps - warm_up))
        lowest = 0.0 if self.config.counting_loss else FINAL_RATE_SHARE
        return peak * (lowest + (1 - lowest) * 0.5 * (1 + cos(pi * fallen)))

    def counting_loss_at(self, step: int) -> float:
        """The share of a step's loss (from 0) that is against the soft targets; it falls linearly."""
        fallen = min(1.0, step / (self.epochs * self.data.steps_per_epoch))
        return self.config.counting_loss * (1 - (1 - FINAL_COUNTING_SHARE) * fallen)

    def run_epoch(self, *callbacks: Callback) -> EpochPoint:
        """Train for an epoch (or the rest of it, or until the time limit), validate, and append a point to the history.

        Raises TrainingDivergedError if the loss is not finite or the validation perplexity exceeds DIVERGED_TIMES V;
        the history then ends with the previous epoch.
        """
        epoch = len(self.history) + 1
        seed = (self.config.seed * 1_000_003 + epoch) % 2**63
        if self.partial_epoch is None:
            self.partial_epoch = PartialEpoch()
            torch.manual_seed(seed)  # of torch's default generator, which draws the dropout masks
        part = self.partial_epoch
        if part.dropout_rng is not None:
            self._rng_module().set_rng_state(part.dropout_rng)
            part.dropout_rng = None
        batches = self.data.batches(epoch, torch.Generator().manual_seed(seed))
        cut_short = False
        self.model.train()
        self._started = time.perf_counter()
        try:
            for batch in islice(batches, len(part.losses), None):
                if cut_short := bool(part.losses) and self._time_is_up():
                    break
                with defer_signals():
                    self.is_whole = False
                    self.train_step(part, *batch)
                    self.is_whole = True
                for callback in callbacks:
                    callback.on_step(self)
            losses = self.checked_losses()
            val_perplexity, val_pooled, logit_scale = self.validate()
        finally:
            self.train_seconds, self._started = self.seconds, None
        learns = val_perplexity < DIVERGED_TIMES * self.model.vocab_size  # not if it is NaN
        self._check(learns, f"the validation perplexity is {val_perplexity:.6g} after epoch {epoch}")

        pooled = perplexity(sum(v * n for v, n in zip(losses, part.sizes, strict=True)) / sum(part.sizes))
        book = [perplexity(loss) for loss in losses] if self.config.preset == "report" else []
        first_half = book[: max(1, self.data.steps_per_epoch // 2)]
        with defer_signals():
            if cut_short or (self._time_is_up() and epoch < self.epochs):
                self.stopped_by = "time"
            point = EpochPoint(
                epoch=epoch,
                train_perplexity=sum(book) / len(book) if book else pooled,
                val_perplexity=val_perplexity,
                train_perplexity_pooled=pooled,
                val_perplexity_pooled=val_pooled,
                learning_rate=self.learning_rate_at(self.step - 1),  # of the last step done
                gradient_norm=float(part.gradient_norm),
                train_seconds=self.train_seconds,
                train_chars=sum(part.sizes) + (self.history[-1].train_chars if self.history else 0),
                logit_scale=logit_scale,
                train_perplexity_first_half=sum(first_half) / len(first_half) if book else None,
            )
            self.partial_epoch = None
            self.history.append(point)
            assert self.best is not None
            if self.config.patience and epoch - self.best.epoch >= self.config.patience:
                self.stopped_by = self.stopped_by or "patience"
        return point

    def train_step(self, part: PartialEpoch, inputs: Tensor, targets: Tensor, *prior: Tensor) -> None:
        """One optimizer step on a batch (B, T), which continues ``part`` of an epoch.

        The recorded loss is the mean cross-entropy (nats) of the model's prediction, although ``own_loss`` may add the
        network's own to what is optimized, and ``counting_loss`` that against soft targets. The recorded norm of the
        gradient is that before clipping.
        """
        inputs, targets = inputs.long().to(self.device), targets.long().to(self.device)
        with autocast(self.device, self.precision):
            own, logits, state = self.model.network_and_model_logits(
                inputs, part.state, *(each.to(self.device) for each in prior)
            )
        logs = logits.float().flatten(0, 1).log_softmax(-1)
        loss = optimized = F.nll_loss(logs, targets.flatten())
        if share := self.config.own_loss:
            optimized = (1 - share) * loss + share * F.cross_entropy(own.float().flatten(0, 1), targets.flatten())
        if isinstance(soft := self.data.prior, SoftTargets):
            taught = soft.cost(logs, targets.flatten(), prior[0].flatten())
            optimized = loss.lerp(taught, self.counting_loss_at(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        optimized.backward()
        parameters = list(self.model.parameters())
        part.gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or float("inf"))
        for parameter_group in self.optimizer.param_groups:
            parameter_group["lr"] = self.learning_rate_at(self.step)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            # ramps up, so that the first weights fade fast, as in tf.train.ExponentialMovingAverage with num_updates
            decay = min(self.config.average, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, parameter in zip(self.average.parameters(), parameters, strict=True):
                    mean.lerp_(parameter, 1 - decay)
        part.state = detach(state) if self.data.carries_state else None  # truncated backpropagation through time
        part.losses.append(loss.detach())
        part.sizes.append(inputs.numel())

    def validate(self) -> tuple[float, float, float]:
        """Score the validation text: windows in the training's precision, as the book does, streams in fp32.

        Returns the perplexity as the book averages it and pooled (equal for streams), and the factor of the logits.
        """
        if isinstance(self.data, StreamData):
            if self.config.calibrate:
                scale, costs = calibrate_logits(self.eval_model, self.data.val)
            else:
                scale, costs = 1.0, text_costs(self.eval_model, self.data.val)
            value = perplexity(float(costs.sum()) / len(costs))
            return value, value, scale
        book, pooled, _ = score_windows(self.eval_model, *self.data.val, self.config.batch_size, self.precision)
        return book, pooled, 1.0

    def checked_losses(self) -> list[float]:
        """The losses of this epoch so far; waits for a GPU. Raises TrainingDivergedError unless all are finite."""
        assert self.partial_epoch is not None
        losses: list[float] = torch.stack(self.partial_epoch.losses).tolist()
        for loss in losses:
            self._check(isfinite(loss), f"the loss is {loss} in epoch {len(self.history) + 1}")
        return losses

    def _check(self, is_fine: bool, problem: str) -> None:
        """Raise TrainingDivergedError unless ``is_fine``."""
        if not is_fine:
            kept = f" (the checkpoint of epoch {self.best.epoch} is kept)" if self.best else ""
            raise TrainingDivergedError(f"{problem}; lower --learning-rate{kept}")

    def _time_is_up(self) -> bool:
        return bool(self.config.max_seconds) and self.seconds >= self.config.max_seconds

    def _rng_module(self) -> Any:
        """The module whose get_rng_state and set_rng_state act on the device's default generator."""
        return torch if self.device.type == "cpu" else torch.get_device_module(self.device)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on: tensors, and facts that JSON can encode.

        Valid only if ``is_whole``: an interrupted step leaves some tensors updated and others not.
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
            "history": [asdict(point) for point in self.history],
            "stopped_by": self.stopped_by,
            "under_way": None,
        }
        if (part := self.partial_epoch) is not None and part.losses:
            rng = self._rng_module().get_rng_state() if part.dropout_rng is None else part.dropout_rng
            parts = {"losses": torch.stack(part.losses), "gradient_norm": part.gradient_norm, "masks_rng": rng}
            if part.state is not None:
                parts |= {f"state.{index}": each for index, each in enumerate(parts_of(part.state))}
            tensors |= flatten("under_way", parts)
            facts["under_way"] = {"sizes": part.sizes}
        return tensors, facts

    def load_state_dict(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned.

        The configuration must be the same except for the number of epochs and the time limit, which this training
        keeps. ``facts`` must have the form STATE. Raises ValueError for a training that has ended without a best epoch
        or in no time, and for moments of an optimizer that do not fit the weights.
        """
        self.model.load_state_dict(group("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(group("average", tensors))
        parameters = list(self.model.parameters())
        moments = {index: each for index in range(len(parameters)) if (each := group(f"optimizer.{index}", tensors))}
        check_state(OPTIMIZERS[self.config.optimizer], ((parameters[index], each) for index, each in moments.items()))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.step = facts["step"]
        self.precision = facts["precision"]
        self.train_seconds = facts["train_seconds"]
        self.history = [EpochPoint(**point) for point in facts["history"]]
        self.stopped_by = earlier.facts(facts)["stopped_by"]
        if self.stopped_by == "time" and not self._time_is_up():
            self.stopped_by = ""  # the limit was raised
        if self.done and not (self.best and self.train_seconds):
            raise ValueError("it has ended without a best epoch or in no time")
        if facts["under_way"] is not None:
            parts = group("under_way", tensors)
            states = [tensor.to(self.device) for _, tensor in sorted(group("state", parts).items())]
            self.partial_epoch = PartialEpoch(
                losses=list(parts["losses"].to(self.device)),
                sizes=list(facts["under_way"]["sizes"]),
                gradient_norm=parts["gradient_norm"].to(self.device),
                state=state_of(tuple(states)) if states else None,
                dropout_rng=parts["masks_rng"],
            )


def fit(training: Training, *callbacks: Callback) -> None:
    """Train all remaining epochs, with calls of ``callbacks``, one after the other.

    Changes torch's threads for the whole process, and its allocator after ``tune_process``. Raises as
    ``Training.run_epoch``.
    """
    keep_freed_memory()
    torch.set_num_threads(training.threads)
    for callback in callbacks:
        callback.on_start(training)
    with torch.enable_grad(), autocast(training.device, "fp32"):  # whatever the caller has set
        while not training.done:
            point = training.run_epoch(*callbacks)
            for callback in callbacks:
                callback.on_epoch(training, point)
