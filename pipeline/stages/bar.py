"""The progress of one training: a Callback that passes on the share of its steps that are done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.support.progress import Progress
from pipeline.training.loop import Callback, EpochPoint, Training

STEPS_SHOWN = 20  # between two calls


class Share(Callback):
    """Calls ``show`` with the share that is done, from 0 to 1, and ``tell`` with figures after each epoch."""

    def __init__(self, show: Callable[[float], None], tell: Callable[..., None] = lambda **figures: None) -> None:
        self.show, self.tell = show, tell

    def on_start(self, training: Training) -> None:
        self._show(training)

    def on_step(self, training: Training) -> None:
        if training.step % STEPS_SHOWN == 0:
            self._show(training)

    def on_epoch(self, training: Training, point: EpochPoint) -> None:
        perplexities = {"train": f"{point.train_perplexity:.2f}", "val": f"{point.val_perplexity:.2f}"}
        self.tell(epoch=f"{point.epoch}/{training.epochs}", **perplexities)
        self._show(training)

    def _show(self, training: Training) -> None:
        self.show(1.0 if training.done else training.step / (training.epochs * training.data.steps_per_epoch))


@contextmanager
def training_bar(name: str) -> Iterator[Callback]:
    """Show the training of this name for as long as the block runs."""
    with Progress(name) as bar:

        def show(share: float) -> None:
            bar.show(share)
            if share == 1:
                bar.phase("evaluating")

        yield Share(show, bar.show_values)
