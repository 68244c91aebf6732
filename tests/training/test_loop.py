"""Training: it learns, it can be repeated and gone on with bit for bit, and it stops when it should."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import cos, exp, log, pi
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import pipeline.training.loop
from models.config import ModelConfig
from models.language_model import LanguageModel, detach
from models.optimizers import OPTIMIZERS
from pipeline.config import TrainConfig, resolve
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.text.batches import Prior, SoftTargets, StreamData, data_for
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.evaluation import text_costs
from pipeline.training.hardware import choose_device, choose_kernel, choose_precision
from pipeline.training.loop import WARM_UP_STEPS, Callback, EpochPoint, PartialEpoch, Training, fit

VOCAB = 12
SMALL: dict[str, Any] = {"hidden_size": 10, "device": "cpu", "precision": "fp32"}
STREAM: dict[str, Any] = {"preset": "stream", "batch_size": 8, "sequence_length": 16, "epochs": 3}
REPORT: dict[str, Any] = {"preset": "report", "batch_size": 64, "sequence_length": 16, "learning_rate": 1.0}
FEW_STEPS = {"stream": STREAM | {"batch_size": 3}, "report": REPORT | {"batch_size": 60}}  # a few of 200 characters


def a_text(length: int, seed: int = 0) -> Tensor:
    """Words of an invented language in random order: much to learn, little to know by heart."""
    words = [[0, 1, 2], [0, 3, 4, 5, 1], [0, 6, 7], [0, 8, 2, 9, 10, 11], [0, 5, 5]]
    random = torch.Generator().manual_seed(seed)
    text: list[int] = []
    while len(text) < length:
        text += words[int(torch.randint(len(words), (), generator=random))]
    return torch.tensor(text[:length], dtype=torch.uint8)


def start(
    options: dict[str, Any],
    *,
    first_weights: int = 0,
    train: Tensor | None = None,
    val: Tensor | None = None,
    prior: Prior | None = None,
) -> Training:
    """A training of a small model; ``first_weights`` is the seed of what it starts with."""
    model_config, train_config = resolve(SMALL | options)
    torch.manual_seed(first_weights)
    model = LanguageModel(model_config, VOCAB)
    train = a_text(1000) if train is None else train
    data = data_for(train, a_text(300, seed=1) if val is None else val, train_config, prior)
    return Training(model, data, train_config)


class Calls(Callback):
    """Calls a function after each step, and keeps the points."""

    def __init__(self, on_step: Callable[[Training], None] = lambda training: None) -> None:
        self.after_step, self.points, self.steps = on_step, list[EpochPoint](), 0

    def on_step(self, training: Training) -> None:
        self.steps += 1
        self.after_step(training)

    def on_epoch(self, training: Training, point: EpochPoint) -> None:
        self.points.append(point)


def perplexity_of(model: LanguageModel, ids: Tensor) -> float:
    costs = text_costs(model, ids)
    return exp(float(costs.sum()) / len(costs))


def weights(training: Training) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in training.model.parameters()]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def equal_by_name(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def without_seconds(history: list[EpochPoint]) -> list[EpochPoint]:
    return [replace(point, train_seconds=0.0) for point in history]


# --- the report's protocol, written out once more --------------------------------------------------------------------


def plain_report_epoch(
    model: LanguageModel, batches: list[tuple[Tensor, ...]], learning_rate: float
) -> tuple[float, float, float]:
    """d2l's Trainer with SGD and gradients clipped at 1.

    Returns the book's training perplexity, the first of the two points that it draws of an epoch, and the pooled one.
    """
    losses, sizes = [], []
    for inputs, targets in batches:
        logits = model(inputs.long())[0]
        loss = -logits.log_softmax(-1).gather(-1, targets.long()[..., None]).mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(learning_rate * gradient * min(1.0, 1.0 / norm))
        losses.append(loss.item())
        sizes.append(inputs.numel())
    pooled = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
    half = len(losses) // 2
    return sum(map(exp, losses)) / len(losses), sum(map(exp, losses[:half])) / half, exp(pooled)


@torch.no_grad()
def plain_report_validation(model: LanguageModel, ids: Tensor, length: int, batch_size: int) -> float:
    examples = torch.stack([ids[i : i + length + 1] for i in range(len(ids) - length)]).long()
    perplexities = []
    for batch in examples.split(batch_size):
        logits = model(batch[:, :-1])[0]
        perplexities.append(exp(F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).item()))
    return sum(perplexities) / len(perplexities)


def test_an_epoch_under_the_reports_preset_equals_a_plain_loop():
    recipe, val = REPORT | {"cell": "lstm", "epochs": 2}, a_text(150, seed=1)
    training = start(recipe, val=val)
    plain = start(recipe, val=val).model
    read: list[tuple[Tensor, ...]] = []
    batches = training.data.batches

    def recorded(epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        for batch in batches(epoch, generator):
            read.append(batch)
            yield batch

    training.data.batches = recorded  # type: ignore[method-assign]
    for _ in range(2):
        read.clear()
        point = training.run_epoch()
        assert len(read) == 16
        assert sum(len(inputs) for inputs, _ in read) == 1000 - 16
        book, first_half, pooled = plain_report_epoch(plain, read, learning_rate=1.0)
        assert point.train_perplexity == pytest.approx(book, rel=1e-5)
        assert point.train_perplexity_first_half == pytest.approx(first_half, rel=1e-5)
        assert point.train_perplexity_pooled == pytest.approx(pooled, rel=1e-5)
        assert point.val_perplexity == pytest.approx(plain_report_validation(plain, val, 16, 64), rel=1e-5)
    for ours, theirs in zip(training.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


# --- step size, clipping, averaging ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("counting_loss", "last"), [(0.0, 0.05), (0.3, 0.0)])
def test_the_learning_rate_follows_its_closed_form(counting_loss, last):
    options = {"counting_loss": counting_loss, "epochs": 100, "schedule": "cosine", "learning_rate": 0.016}
    training = start(STREAM | options)
    total = training.epochs * training.data.steps_per_epoch
    assert total > 10 * WARM_UP_STEPS
    for step in range(WARM_UP_STEPS):
        assert training.learning_rate_at(step) == pytest.approx(0.016 * (step + 1) / WARM_UP_STEPS)
    for step in range(WARM_UP_STEPS, total):
        cosine = (1 + cos(pi * (step + 1 - WARM_UP_STEPS) / (total - WARM_UP_STEPS))) / 2
        assert training.learning_rate_at(step) == pytest.approx(0.016 * (last + (1 - last) * cosine))


def test_the_optimizer_uses_the_rate_of_its_step():
    training = start(STREAM | {"schedule": "cosine"})
    used: list[float] = []
    training.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    fit(training)
    assert used == [training.learning_rate_at(step) for step in range(training.step)]
    last_steps = range(training.data.steps_per_epoch - 1, training.step, training.data.steps_per_epoch)
    assert [point.learning_rate for point in training.history] == [used[step] for step in last_steps]


@pytest.mark.parametrize("clip", [0.01, 1e6, 0.0])
def test_a_step_is_no_longer_than_the_clipped_gradient(clip):
    options: dict[str, Any] = {"batch_size": 2000, "epochs": 1, "learning_rate": 0.5, "clip": clip}
    training = start(REPORT | options)  # one step an epoch
    with torch.no_grad():
        training.model.output.weight.mul_(20)  # for a gradient that d2l would clip
    before = weights(training)
    point = training.run_epoch()
    length = math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in zip(before, weights(training), strict=True)))
    assert training.step == 1
    assert point.gradient_norm > 1.5
    assert length == pytest.approx(0.5 * (clip if clip == 0.01 else point.gradient_norm), rel=1e-3)


def test_a_part_of_the_loss_that_falls_to_a_sixth_is_against_soft_targets():
    """An epoch of SGD, written out once more; what is recorded is the loss against the text alone."""
    text, rate, known = a_text(300), 0.5, torch.rand(300, VOCAB).softmax(-1).half()
    wanted = known.float()
    wanted[100:150] = F.one_hot(text[100:150].long(), VOCAB)  # where no distribution is known
    soft = SoftTargets(300, [(0, 100), (150, 300)], torch.cat([known[:100], known[150:]]))
    plain = {"optimizer": "sgd", "schedule": "constant", "learning_rate": rate, "clip": 0.0, "weight_decay": 0.0}
    plain |= {"epochs": 1, "recurrent_dropout": 0.0, "output_dropout": 0.0}
    training = start(STREAM | plain | {"counting_loss": 0.6}, train=text, prior=soft)
    model, state, part, steps = deepcopy(training.model), None, PartialEpoch(), training.data.steps_per_epoch
    assert isinstance(training.data, StreamData)
    positions = StreamData(torch.arange(300), text, training.config).batches(1, torch.Generator())
    for step, (batch, (_, at)) in enumerate(zip(training.data.batches(1, torch.Generator()), positions, strict=True)):
        logits, state = model(batch[0], detach(state) if state else None)
        logs = logits.log_softmax(-1)
        hard = -logs.gather(-1, batch[1].long()[..., None]).mean()
        taught = -(wanted[at] * logs).sum(-1).mean()
        share = 0.6 - 0.5 * step / steps
        gradients = torch.autograd.grad((1 - share) * hard + share * taught, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(rate * gradient)
        training.train_step(part, *batch)
        assert float(part.losses[-1]) == pytest.approx(hard.item(), rel=1e-5)
    for ours, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert step == steps - 1 > 1


def test_the_running_average_follows_its_ramp_up_to_its_decay():
    decay = 0.5
    training = start(STREAM | {"average": decay, "epochs": 2})
    assert training.average is not None
    expected = weights(training)
    decays: list[float] = []

    def average(training: Training) -> None:
        decays.append(min(decay, (1 + training.step) / (10 + training.step)))
        for mean, parameter in zip(expected, training.model.parameters(), strict=True):
            mean.mul_(decays[-1]).add_(parameter.detach(), alpha=1 - decays[-1])

    fit(training, Calls(average))
    assert decays[0] == 2 / 11
    assert decays[-1] == decay
    for ours, theirs in zip(training.average.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs)
    assert not equal(weights(training), expected)


def test_validation_judges_the_average_and_calibrates_its_logits():
    val = a_text(300, seed=1)
    plain, scaled = (start(STREAM | {"average": 0.9, "calibrate": calibrate}) for calibrate in (False, True))
    as_it_is, calibrated = plain.run_epoch(), scaled.run_epoch()
    assert plain.eval_model is plain.average
    assert as_it_is.val_perplexity == perplexity_of(plain.eval_model, val) != perplexity_of(plain.model, val)
    assert calibrated.val_perplexity < as_it_is.val_perplexity
    scaled.eval_model.scale_logits(calibrated.logit_scale)
    assert perplexity_of(scaled.eval_model, val) == pytest.approx(calibrated.val_perplexity, rel=1e-6)


# --- when it ends ----------------------------------------------------------------------------------------------------


def scripted(training: Training, values: list[float]) -> Training:
    """The validation says these numbers, whatever was learnt."""
    said = iter(values)
    training.validate = lambda: (*(next(said),) * 2, 1.0)  # type: ignore[method-assign]
    return training


def test_patience_counts_the_epochs_since_the_best():
    training = scripted(start(STREAM | {"epochs": 9, "patience": 2}), [5.0, 4.0, 4.5, 3.9, 4.1, 3.9, 1.0])
    fit(training)
    assert training.best is not None
    assert (training.best.epoch, len(training.history), training.stopped) == (4, 6, "patience 2")
    tensors, facts = training.state_dict()
    del facts["stopped_by"]
    training.load_state_dict(tensors, facts | {"stopped": "patience 3"})  # of an earlier version's checkpoint
    assert (training.done, training.stopped_by) == (True, "patience")


def test_time_that_is_up_ends_an_epoch_in_its_middle_and_still_validates(monkeypatch):
    looks = iter(range(10**6))  # a clock that moves at every look
    monkeypatch.setattr(pipeline.training.loop, "time", SimpleNamespace(perf_counter=lambda: float(next(looks))))
    training = start(STREAM | {"batch_size": 2, "max_seconds": 8.0})
    calls = Calls()
    fit(training, calls)
    points = calls.points
    assert training.stopped == "--max-seconds 8"
    assert training.history == points
    assert training.best is points[0]
    assert 1 < points[0].val_perplexity < VOCAB + 1
    assert calls.steps == training.step == 8 < training.data.steps_per_epoch
    assert points[0].train_chars == 8 * 2 * 16
    whole = start(STREAM | {"batch_size": 64, "epochs": 1, "max_seconds": 1.0})
    fit(whole)
    assert whole.stopped == ""  # after the last epoch there was nothing to stop


def test_a_loss_that_is_no_number_ends_with_the_reason_and_the_history_before_it():
    training = start(STREAM | {"epochs": 5, "average": 0.9})

    def poison(training: Training) -> None:
        if training.step == 2 * training.data.steps_per_epoch + 1:
            nn.init.constant_(training.model.output.bias, float("nan"))

    with pytest.raises(TrainingDivergedError, match=r"the loss is nan in epoch 3; lower --learning-rate \(the check"):
        fit(training, Calls(poison))
    assert [point.epoch for point in training.history] == [1, 2]
    assert training.best in training.history
    training = scripted(start(STREAM | {"epochs": 5}), [5.0, float("nan")])
    with pytest.raises(TrainingDivergedError, match="the validation perplexity is nan after epoch 2; lower --learning"):
        fit(training)
    assert len(training.history) == 1


@pytest.mark.parametrize("recipe", FEW_STEPS.values(), ids=FEW_STEPS)
def test_a_step_reads_no_number_which_would_wait_for_a_gpu(recipe):
    read: list[str] = []

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            read.extend([str(func)] if "_local_scalar_dense" in str(func) else [])
            return func(*args, **(kwargs or {}))

    training, part = start(recipe | {"average": 0.9}), PartialEpoch()
    for batch in training.data.batches(1, torch.Generator()):
        with Reads():
            training.train_step(part, *batch)
    assert read == []
    assert len(part.losses) > 1


# --- it can be gone on with ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "cell"), [("stream", "gru"), ("report", "lstm")])
def test_a_training_stopped_between_any_two_steps_is_gone_on_with_bit_for_bit(tmp_path, preset, cell):
    """With all that is drawn at random or averaged, which is more to keep than without."""
    recipe = FEW_STEPS[preset] | {"cell": cell, "epochs": 2, "num_layers": 2}
    recipe |= {"dropout": 0.3, "output_dropout": 0.3, "recurrent_dropout": 0.3, "average": 0.9}
    text = a_text(200)
    whole = start(recipe, train=text)
    fit(whole)
    assert whole.step >= 6

    per_epoch = whole.step // 2
    for stop_at in (1, per_epoch, per_epoch + 1, whole.step):
        first = start(recipe, train=text)

        def stop(training: Training, at: int = stop_at) -> None:
            if training.step == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(first, Calls(stop))
        assert first.is_whole
        save_checkpoint(tmp_path / "last", *first.state_dict())
        second = start(recipe, first_weights=7, train=text)
        second.load_state_dict(*load_checkpoint(tmp_path / "last"))
        torch.manual_seed(99)
        again, facts = second.state_dict()  # saved before it has gone on: the same state
        assert equal_by_name(again, load_checkpoint(tmp_path / "last")[0])
        assert facts["step"] == stop_at
        calls = Calls()
        fit(second, calls)

        assert equal_by_name(second.state_dict()[0], whole.state_dict()[0])
        assert without_seconds(second.history) == without_seconds(whole.history)
        assert calls.steps == whole.step - stop_at


def test_an_optimizer_with_a_state_of_its_own_is_one_entry_in_the_table(monkeypatch):
    def rmsprop(parameters, learning_rate, weight_decay):
        return torch.optim.RMSprop(parameters, lr=learning_rate, momentum=0.9)

    monkeypatch.setitem(OPTIMIZERS, "rmsprop", rmsprop)
    recipe = {**STREAM, "optimizer": "rmsprop", "learning_rate": 0.001}
    whole, first, second = start(recipe), start(recipe), start(recipe, first_weights=7)
    fit(whole)
    first.run_epoch()
    second.load_state_dict(*first.state_dict())
    fit(second)
    assert equal_by_name(second.state_dict()[0], whole.state_dict()[0])


def test_a_state_that_does_not_fit_is_refused():
    training = start(STREAM)
    fit(training)
    tensors, facts = training.state_dict()
    without = {name: tensor for name, tensor in tensors.items() if name != "optimizer.0.exp_avg"}
    longer = {**tensors, "optimizer.0.exp_avg": tensors["optimizer.0.exp_avg"].repeat(2, 1)}
    for damaged in ((without, facts), (longer, facts), (tensors, facts | {"train_seconds": 0.0})):
        with pytest.raises(ValueError, match=r"moments of its optimizer|in no time"):
            start(STREAM).load_state_dict(*damaged)


def test_a_step_that_is_broken_off_leaves_a_training_that_says_so(monkeypatch):
    training = start(STREAM)

    def break_off() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.optimizer, "step", break_off)
    with pytest.raises(KeyboardInterrupt):
        fit(training)
    assert not training.is_whole


# --- how much is read ------------------------------------------------------------------------------------------------


def test_epochs_are_what_the_budget_pays_for():
    training = start(STREAM | {"epochs": None, "budget_chars": 10_000})
    assert training.epochs == 10
    short = start(STREAM | {"epochs": None, "budget_chars": 300})
    assert (short.epochs, short.data.chars_per_epoch) == (1, 296)  # of 1,000
    assert start(STREAM | {"epochs": None, "budget_chars": 1}).epochs == 1
    assert start(STREAM | {"epochs": 7, "budget_chars": 1}).epochs == 7


def test_a_text_too_short_for_its_streams_is_refused_naming_the_options():
    with pytest.raises(InputError, match=r"8 training characters .* lower --batch-size"):
        start(STREAM, train=a_text(8))


def test_a_long_text_is_walked_through_a_pass_an_epoch():
    config = TrainConfig(batch_size=4, sequence_length=8)
    ids = torch.arange(3000)  # which say where in the text they stand
    data = StreamData(ids, a_text(300), config, pass_chars=2000)
    assert data.chars_per_epoch == 1996  # (2000 - 1) // 4 rows of 4
    all_read = [
        torch.cat([inputs.flatten() for inputs, _ in data.batches(epoch, torch.Generator().manual_seed(epoch))])
        for epoch in range(1, 9)
    ]
    assert len(torch.cat(all_read).unique()) > 0.98 * 3000  # up to the offsets, and the ends that fill no row
    for read in all_read:
        assert 2000 - 8 - 4 <= len(read) <= 2000
        assert len(read.unique()) == len(read)
        assert read.max() - read.min() < 2000  # one piece of the text


# --- device, threads and precision -----------------------------------------------------------------------------------


def test_bf16_learns_like_fp32():
    single, half = (start(STREAM | {"epochs": 3, "precision": each}) for each in ("fp32", "bf16"))
    fit(single)
    fit(half)
    assert half.precision == "bf16"
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())
    assert not equal(weights(single), weights(half))
    for ours, theirs in zip(half.history, single.history, strict=True):
        assert log(ours.train_perplexity) == pytest.approx(log(theirs.train_perplexity), abs=0.02)
        assert log(ours.val_perplexity) == pytest.approx(log(theirs.val_perplexity), abs=0.02)


@pytest.mark.parametrize("recipe", FEW_STEPS.values(), ids=FEW_STEPS)
def test_what_a_caller_left_switched_on_changes_no_figure(recipe):
    plain, disturbed = (start(recipe | {"epochs": 1}) for _ in range(2))
    fit(plain)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        fit(disturbed)
    assert without_seconds(disturbed.history) == without_seconds(plain.history)
    assert equal(weights(disturbed), weights(plain))


@pytest.mark.parametrize("supported", [True, False])
def test_automatic_precision_is_bf16_only_where_it_pays(supported):
    choose = partial(choose_precision, in_hardware=supported)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    lstm, gru, scratch = ModelConfig(), ModelConfig("gru"), ModelConfig(implementation="scratch")
    where_it_pays = "bf16" if supported else "fp32"
    assert choose("auto", cpu, lstm, 16) == where_it_pays
    assert choose("auto", cpu, gru, 16) == "fp32"
    assert choose("auto", cpu, gru, 1024) == where_it_pays
    assert choose("auto", cpu, scratch, 16) == "fp32"
    assert choose("auto", cuda, scratch, 16) == where_it_pays
    assert choose("auto", cuda, gru, 16) == where_it_pays
    assert choose("bf16", cpu, scratch, 16) == "bf16"
    assert choose("fp32", cuda, lstm, 16) == "fp32"


def test_gru_and_rnn_train_by_hand_but_under_the_reports_preset():
    cpu, gru = torch.device("cpu"), ModelConfig("gru")
    assert choose_kernel(cpu, "fp32", gru, "stream") == choose_kernel(cpu, "bf16", gru, "report") == "by-hand"
    assert choose_kernel(cpu, "fp32", gru, "report") == "torch"  # as the report's own trainings
    for other in (ModelConfig("gru", implementation="scratch"), ModelConfig("lstm")):
        assert choose_kernel(cpu, "fp32", other, "stream") == "torch"


def test_a_device_that_is_not_there_is_refused_and_mps_is_taken_only_by_name(caplog):
    with pytest.raises(InputError, match="--device cuda is not available; this machine has cpu"):
        choose_device("cuda", ["cpu"])
    assert choose_device("auto", ["cpu"]) == choose_device("cpu", ["cpu"]) == torch.device("cpu")
    assert choose_device("auto", ["cuda", "cpu"]) == torch.device("cuda")
    assert (choose_device("auto", ["mps", "cpu"]).type, choose_device("mps", ["mps", "cpu"]).type) == ("cpu", "mps")
    assert "ignores dropout" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_does_without_torchs_compiler_which_takes_a_second_to_import(optimizer):
    code = (
        "import sys\n"
        "from tests.training.test_loop import STREAM, fit, start\n"
        f"training = start(STREAM | {{'optimizer': '{optimizer}'}})\n"
        "fit(training)\n"
        "training.load_state_dict(*training.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
