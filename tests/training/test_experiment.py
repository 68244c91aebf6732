"""One experiment: what it reports is what its checkpoints hold, and the test text is read with the best epoch."""

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.mixture import Mixture
from models.packing import packed, rounded
from pipeline.config import CorpusConfig, resolve
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.results import TrainingResult
from pipeline.support.records import has_form
from pipeline.text.batches import windows
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.ngrams import baselines_of, fitted_ngrams, soft_targets
from pipeline.training import experiment as experiment_module
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.evaluation import score_windows, text_costs
from pipeline.training.experiment import SMALL_CHANGE, Experiment, Result, cross_fitted, weight_bits
from pipeline.training.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from pipeline.training.loading import load_model
from pipeline.training.loop import Callback, EpochPoint, Training
from pipeline.training.mixing import costs_with_ngram
from tests.training.test_loop import Calls, perplexity_of, scripted

OPTIONS: dict[str, Any] = {"hidden_size": 12, "device": "cpu", "precision": "fp32", "epochs": 3, "batch_size": 8}
REPORT: dict[str, Any] = {"preset": "report", "hidden_size": 4, "device": "cpu", "epochs": 1}


def write_text(folder: Path, characters: int) -> Corpus:
    """A corpus of made-up sentences, prepared."""
    words, draw = ["the", "traveller", "held", "a", "glittering", "metallic", "framework"], random.Random(0)
    text = ""
    while len(text) < characters:
        text += " ".join(draw.choices(words, k=draw.randint(3, 9))) + ". "
    (folder / "story.txt").write_text(text[:characters])
    return load_corpus(CorpusConfig(str(folder / "story.txt"), "letters"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_text(tmp_path_factory.mktemp("text"), 5000)


class Heard(Calls):
    """Keeps what it was called with, too, and what the folder held at that moment."""

    def __init__(self, folder: Path | None = None, script: Callable[[Training], Any] = lambda training: None) -> None:
        super().__init__()
        self.folder, self.script = folder, script
        self.started, self.best_epochs, self.last_epochs = list[Training](), list[int](), list[int]()

    def on_start(self, training: Training) -> None:
        self.started.append(training)
        self.script(training)

    def on_epoch(self, training: Training, point: EpochPoint) -> None:
        super().on_epoch(training, point)
        if self.folder is not None:
            facts = load_checkpoint(self.folder / LAST_CHECKPOINT)[1]
            self.last_epochs.append(facts["state"]["history"][-1]["epoch"])
            self.best_epochs.append(load_checkpoint(self.folder / BEST_CHECKPOINT)[1]["epoch"])


def interrupt(training: Training) -> None:
    """Ctrl-C after ten steps."""
    if training.step == 10:
        raise KeyboardInterrupt


def experiment(corpus: Corpus, heard: Heard | None = None, folder: Path | None = None, **options: Any) -> Result:
    model_config, train_config = resolve(OPTIONS | options)
    return Experiment(corpus, model_config, train_config, folder).run(heard or Callback())


def ids_of(corpus: Corpus, split: str, preset: Any = "stream") -> Tensor:
    return torch.from_numpy(corpus.split(preset, split))


@pytest.fixture(scope="module")
def done(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Heard, Path]:
    """One experiment with checkpoints, and what its observer heard."""
    folder = tmp_path_factory.mktemp("checkpoints")
    heard = Heard(folder)
    return experiment(corpus, heard, folder), heard, folder


@pytest.fixture(scope="module")
def on_top(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One experiment on top of an n-gram, with checkpoints."""
    return experiment(corpus, folder=tmp_path_factory.mktemp("on-top"), on_top_of="ngram", epochs=1)


# --- figures and checkpoints -----------------------------------------------------------------------------------------


def test_the_figures_are_the_flat_summary(done):
    result, _, folder = done
    figures = result.figures
    assert json.loads(json.dumps(figures)) == figures
    assert has_form({**figures, "test_difference": -1.0, "test_difference_low": -2.0}, TrainingResult)
    assert figures["test_perplexity"] == pytest.approx(2 ** figures["test_bits_per_char"])
    assert figures["val_perplexity"] == min(point.val_perplexity for point in result.history)
    assert figures["checkpoint"] == str(folder / BEST_CHECKPOINT)
    assert figures["chars_per_second"] == pytest.approx(result.history[-1].train_chars / figures["train_seconds"])


def test_the_mixture_is_at_least_as_good_as_both_on_validation_and_scored_alike_on_test(corpus, done):
    result, _, folder = done
    figures = result.figures
    best = min(figures["ngram_val_perplexity"], figures["val_perplexity"])
    assert figures["mixture_val_perplexity"] <= best * (1 + 1e-6)
    model = load_model(folder / BEST_CHECKPOINT)[0]
    costs, by_ngram, nats = costs_with_ngram(model, fitted_ngrams(corpus, "stream"), ids_of(corpus, "test"))
    higher = 100 * (exp(float((costs - by_ngram).mean())) - 1)
    assert figures["test_difference"] == pytest.approx(higher)
    assert figures["test_difference_low"] < higher < figures["test_difference_high"]
    mixture = Mixture(figures["mixture_kind"], figures["mixture_weight"])
    assert figures["mixture_test_perplexity"] == exp(float(mixture.of(nats)) / len(costs))


def test_the_best_checkpoint_gives_exactly_the_perplexities_that_are_reported(corpus, done):
    figures, folder = done[0].figures, done[2]
    model, vocabulary, facts = load_model(folder / BEST_CHECKPOINT)
    assert not model.training
    assert perplexity_of(model, ids_of(corpus, "val")) == pytest.approx(figures["val_perplexity"], rel=1e-6)
    assert perplexity_of(model, ids_of(corpus, "test")) == figures["test_perplexity"]
    assert vocabulary == corpus.vocabulary
    assert (facts["epoch"], facts["val_perplexity"]) == (figures["best_epoch"], figures["val_perplexity"])


def test_under_the_reports_preset_the_best_checkpoint_gives_the_books_validation(tmp_path):
    long = write_text(tmp_path, 17_000)
    result = Experiment(long, *resolve(REPORT), tmp_path).run()
    model, _, _ = load_model(tmp_path / BEST_CHECKPOINT)
    val = ids_of(long, "val", "report")
    assert len(val) == 5032
    book, pooled, _ = score_windows(model, *windows(val, 32), 1024)
    assert book == result.figures["val_perplexity"]
    assert pooled == result.figures["val_perplexity_pooled"]
    # the same last 5 % as under the other preset
    assert perplexity_of(model, ids_of(long, "test")) == result.figures["test_perplexity"]
    assert [point.train_chars for point in result.history] == [320_000]
    assert result.figures["val_perplexity_windowed"] == pytest.approx(pooled)
    blocks = {text: len(means) for text, means in result.block_costs.items()}
    assert blocks == {"val": 100, "test": 16, "windowed": 100}


# --- what an observer hears, and when --------------------------------------------------------------------------------


def test_an_observer_hears_one_start_every_step_and_every_epoch_whose_checkpoints_are_on_disk(done):
    result, heard, _ = done
    assert len(heard.started) == 1
    assert heard.steps == heard.started[0].step > 0
    assert heard.points == result.history
    assert len(heard.points) == result.figures["epochs"] == 3
    assert heard.last_epochs == [1, 2, 3]
    for so_far, best_epoch in zip(range(1, 4), heard.best_epochs, strict=True):
        assert best_epoch == min(heard.points[:so_far], key=lambda point: point.val_perplexity).epoch


# --- the best epoch, not the last one --------------------------------------------------------------------------------


@pytest.mark.parametrize(("average", "best_epoch"), [(0.0, 1), (0.9, 2)])
def test_the_test_text_is_read_with_the_best_epochs_weights(corpus, tmp_path, average, best_epoch):
    values = [5.0, 5.0, 5.0]
    values[best_epoch - 1] = 4.0
    after: list[float] = []

    class Scores(Heard):
        def on_epoch(self, training: Training, point: EpochPoint) -> None:
            after.append(perplexity_of(training.eval_model, ids_of(corpus, "test")))

    scores = Scores(script=partial(scripted, values=values))
    figures = experiment(corpus, scores, tmp_path, average=average).figures
    test = figures["test_perplexity"]
    assert figures["best_epoch"] == best_epoch
    assert test == after[best_epoch - 1]
    assert all(test != score for epoch, score in enumerate(after, 1) if epoch != best_epoch)
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        assert perplexity_of(load_model(tmp_path / name)[0], ids_of(corpus, "test")) == test


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_training_is_refused(corpus, tmp_path, done):
    shutil.copy(done[2] / LAST_CHECKPOINT, tmp_path)
    other = write_text(tmp_path, 4900)
    for text, options in ((corpus, {"learning_rate": 0.5}), (corpus, {"seed": 1}), (other, {})):
        with pytest.raises(InputError, match=r"last\.safetensors is of another training"):
            Experiment(text, *resolve(OPTIONS | options), tmp_path)


def test_a_long_epoch_is_saved_now_and_then(corpus, tmp_path, monkeypatch, done):
    saved: list[int] = []

    def save(path: Path, tensors: Any, facts: dict[str, Any]) -> str:
        if path.name == LAST_CHECKPOINT and facts["state"]["under_way"]:
            saved.append(facts["state"]["step"])
        return save_checkpoint(path, tensors, facts)

    monkeypatch.setattr(experiment_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(experiment_module, "save_checkpoint", save)
    result = experiment(corpus, folder=tmp_path)
    assert len(saved) > 20
    assert result.figures["test_perplexity"] == done[0].figures["test_perplexity"]


def test_a_loss_that_is_no_number_reaches_no_checkpoint(corpus, tmp_path, monkeypatch):
    def poison(training: Training) -> None:
        if training.step == 3:
            torch.nn.init.constant_(training.model.output.bias, float("nan"))

    monkeypatch.setattr(experiment_module, "SAVE_SECONDS", 0.0)
    with pytest.raises(TrainingDivergedError):
        Experiment(corpus, *resolve(OPTIONS), tmp_path).run(Calls(poison))
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)[0]["under_way.losses"].isfinite().tolist() == [True] * 3


def test_a_training_on_top_of_an_ngram_is_gone_on_with_in_the_middle_of_an_epoch(corpus, tmp_path, on_top):
    options: dict[str, Any] = {"on_top_of": "ngram", "epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        Experiment(corpus, *resolve(OPTIONS | options), tmp_path).run(Calls(interrupt))
    heard = Heard(tmp_path)
    again = experiment(corpus, heard, tmp_path, **options)
    assert heard.started[0].step > 10  # at the end; it was interrupted after 10
    assert [point.train_perplexity for point in again.history] == [point.train_perplexity for point in on_top.history]
    assert again.figures["test_perplexity"] == on_top.figures["test_perplexity"]


def test_soft_targets_are_what_cross_fitted_ngrams_predict_and_their_share_falls_over_the_planned_epochs(
    corpus, tmp_path
):
    soft, model = soft_targets(corpus, "stream"), fitted_ngrams(corpus, "stream")
    with torch.no_grad():
        expected = model.combine(cross_fitted(corpus, "stream", 0)(0, corpus.train_chars).float()).exp()
    torch.testing.assert_close(soft.table[soft(0, corpus.train_chars)], expected, atol=1e-3, rtol=1e-3)
    options: dict[str, Any] = {"counting_loss": 0.5, "schedule": "constant", "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        Experiment(corpus, *resolve(OPTIONS | options), tmp_path).run(Calls(interrupt))
    with pytest.raises(InputError, match=r"--epochs 3 is not possible: .* planned for 2 epochs"):
        Experiment(corpus, *resolve(OPTIONS | options | {"epochs": 3}), tmp_path)
    assert len(experiment(corpus, folder=tmp_path, **options).history) == 2


def test_stored_ngrams_are_counted_beside_parameters(done, on_top, corpus):
    plain, figures = done[0].figures, on_top.figures
    assert plain["stored_numbers"] == plain["parameters"]
    assert figures["stored_numbers"] == figures["parameters"] + fitted_ngrams(corpus, "stream").tables.stored_numbers
    with pytest.raises(InputError, match=r"its n-grams are in best\.safetensors beside it"):
        load_model(Path(figures["checkpoint"]).parent / LAST_CHECKPOINT)
    assert figures["parameters"] == figures["trained_parameters"] > plain["parameters"]
    assert figures["on_top_of_order"] == figures["ngram_order"]


def test_weights_are_shipped_in_the_fewest_bits_that_change_little(done, corpus):
    model, val, figures = load_model(done[2] / BEST_CHECKPOINT)[0], ids_of(corpus, "val"), done[0].figures
    cost = float(text_costs(model, val).mean())
    bits = weight_bits(model, val, cost)
    by_bits = [abs(float(text_costs(rounded(model, each), val).mean()) - cost) for each in range(4, bits + 1)]
    assert by_bits[-1] < SMALL_CHANGE <= min(by_bits[:-1], default=1)
    assert (figures["weight_bits"], figures["shipped_bytes"]) == (bits, len(packed(model, bits)))
    assert weight_bits(model, val, cost + 1) == 32


def test_a_part_of_the_text_and_of_its_ngrams_is_all_that_a_network_on_top_of_them_sees(corpus, tmp_path):
    heard = Heard()
    result = experiment(corpus, heard, tmp_path, train_chars=2000, on_top_of="ngram", ngrams=300, epochs=1)
    figures, last = result.figures, corpus.limited(2000)
    assert heard.started[0].data.chars_per_epoch < 2000
    assert result.baselines == baselines_of(last, "stream")
    assert figures["stored_numbers"] - figures["parameters"] == fitted_ngrams(last, "stream", 300).tables.stored_numbers
    model = load_model(Path(str(figures["checkpoint"])))[0]
    assert perplexity_of(model, ids_of(corpus, "test")) == figures["test_perplexity"]
