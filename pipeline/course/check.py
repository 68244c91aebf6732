"""Check what students hand in, folders that `tmlm export` has written: they are read as data, and nothing is recorded.

A hand-in may be anything: all that is read of it are files of a limited size in its folders, and no link is followed.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Literal

import torch

from models.gated_ngrams import one_thread
from models.language_model import LanguageModel
from pipeline.config import TrainConfig
from pipeline.course.bands import METRICS, QUICK, Band, Course
from pipeline.errors import InputError, reason_of
from pipeline.pages.card import read_card
from pipeline.pages.model_files import CARD, WEIGHTS
from pipeline.support.markdown import text_table
from pipeline.support.wording import listed
from pipeline.text.batches import WindowData, data_of
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of
from pipeline.training.checkpoints import digest_of
from pipeline.training.evaluation import perplexity, score_windows, text_costs
from pipeline.training.loading import load_model

MOST_BYTES, MOST_MODELS = 50_000_000, 20  # of a file, and in a folder
MOST_LINES = 30  # of which each is a folder; more are a table
TOLERANCE = 0.001  # by which a figure of a card may differ from the same recomputed
NGRAM = "ngram_test_perplexity"
LAST = "last_train_perplexity", "last_val_perplexity"
OF_QUICK = "As handed in: --quick recomputes nothing, and so can't see figures that were altered."


@dataclass(frozen=True)
class Figure:
    """A figure of a hand-in, recomputed or as it was handed in."""

    band: Band
    value: float
    as_handed_in: bool

    @property
    def is_right(self) -> bool:
        return self.band.low <= self.value <= self.band.high

    def __str__(self) -> str:
        band = "" if self.is_right else f", not {self.band.low:.2f} to {self.band.high:.2f}"
        return f"{self.band.label}: {self.value:.3f}{band}{', as handed in' * self.as_handed_in}"


@dataclass
class HandIn:
    """What a folder holds. ``weights`` are digests of its networks' parameters alone, whatever is said of them."""

    folder: str
    verdict: Literal["right", "out of its band", "incomplete", "altered", "can't be read"] = "can't be read"
    remarks: list[str] = field(default_factory=list)
    exercise: str = ""
    seeds: list[int] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)

    @property
    def row(self) -> tuple[str, ...]:
        """Its cells in a table: folder, exercise, seeds, commits, figures, verdict and remarks."""
        seeds, commits = (listed([*dict.fromkeys(map(str, each))]) for each in (self.seeds, self.commits))
        values, said = " ".join(f"{figure.value:.2f}" for figure in self.figures), [self.verdict, *self.remarks]
        cells = self.folder, self.exercise, seeds, commits, values, "; ".join(said)
        return tuple(cell.replace("\n", "\\n") for cell in cells)  # a name must not write a line of its own

    def __str__(self) -> str:
        folder, exercise, seeds, commits, _, said = self.row
        known = f"; exercise {exercise}, seed {seeds}, commit {commits}; {'; '.join(map(str, self.figures))}"
        return f"{folder}: {said}{known if exercise else ''}"


def summary(found: Sequence[HandIn], quick: bool) -> str:
    """A line for each folder, or a table of more than MOST_LINES."""
    heads = ("folder", "exercise", "seed", "commit", "perplexities", "verdict")
    is_table = len(found) > MOST_LINES
    text = text_table(heads, [each.row for each in found], (0, 3, 4, 5)) if is_table else "\n".join(map(str, found))
    return f"{text}\n{OF_QUICK}" if quick else text


@one_thread()
def check(folders: Sequence[str], course: Course, corpus: Corpus | None) -> list[HandIn]:
    """Judge each folder by the bands of a course; without its text, by the figures that were handed in."""
    found = [_judged(Path(folder), course, corpus) for folder in dict.fromkeys(map(os.path.normpath, folders))]
    for each in found:
        others = (other for other in found if other is not each and {*other.weights} & {*each.weights})
        each.remarks += [f"same weights as {other.folder}" for other in islice(others, 1)]
    return found


def _judged(folder: Path, course: Course, corpus: Corpus | None) -> HandIn:
    found = HandIn(str(folder))
    try:
        for each in _model_folders(folder):
            _add_model(found, each, course, corpus)
    except (InputError, OSError) as error:
        found.remarks.append(reason_of(error) if isinstance(error, OSError) else str(error))
        return found
    if searched := [figure for figure in found.figures if figure.band.options == QUICK]:
        found.figures = [min(searched, key=lambda figure: figure.value)]
    found.exercise = Counter(figure.band.exercise for figure in found.figures).most_common(1)[0][0]
    done, wanted = {figure.band.options for figure in found.figures}, course.bands
    lacking = [band.network for band in wanted if band.exercise == found.exercise and band.options not in done]
    if found.remarks:
        found.verdict = "altered"
    elif not all(figure.is_right for figure in found.figures):
        found.verdict = "out of its band"
    else:
        found.verdict = "incomplete" if lacking else "right"
    found.remarks += [f"it lacks {listed(lacking)}"] * bool(lacking)
    return found


def _add_model(found: HandIn, folder: Path, course: Course, corpus: Corpus | None) -> None:
    """Read a model; with the text, compute its figures and remark on those of its card that differ."""
    commit, handed_in = read_card(_seen(folder / CARD).read_text("utf-8", "replace"))
    if not all(handed_in.values()):
        raise InputError(f"{folder / CARD} lacks figures that `tmlm export` writes")
    model, _, facts = load_model(_seen(folder / WEIGHTS))
    found.weights.append(digest_of(model.state_dict(), ""))
    bands, train = course.bands_of(model.config, facts)
    figures, seed = {name: values[0] for name, values in handed_in.items()}, facts["train"]["seed"]
    if bands[0].options == QUICK:
        _seen(Path(found.folder, "front.csv"))  # which only a search has
    if any(band.metric in LAST for band in bands):
        figures |= _last_epoch(_seen(Path(found.folder, "curves.csv")), seed, train.epochs)
    if corpus is not None:
        computed = _computed(model, corpus, train, with_ngrams=any(band.metric == NGRAM for band in bands))
        if not all(map(isfinite, computed.values())):
            raise InputError(f"{folder / WEIGHTS} has weights that give no finite perplexity")
        for name, value in computed.items():
            if others := [each for each in handed_in[name] if abs(each / value - 1) > TOLERANCE]:
                found.remarks.append(f"{METRICS[name]}: {others[0]:.4f} in {folder / CARD}, {value:.4f} recomputed")
        figures |= computed
    found.seeds.append(seed)
    found.commits.append(commit)
    known = () if corpus is None else computed
    found.figures += [Figure(band, figures[band.metric], band.metric not in known) for band in bands]


def _computed(model: LanguageModel, corpus: Corpus, train: TrainConfig, with_ngrams: bool) -> dict[str, float]:
    """The perplexities of a card, as they are computed when a model is trained."""
    data, test = data_of(corpus, train), torch.from_numpy(corpus.split(train.preset, "test"))
    if isinstance(data, WindowData):
        val = score_windows(model, *data.val, train.batch_size)[0]
    else:
        val = perplexity(float(text_costs(model, data.val).mean()))
    figures = {"val_perplexity": val, "test_perplexity": perplexity(float(text_costs(model, test).mean()))}
    if with_ngrams:
        figures[NGRAM] = 2 ** baselines_of(corpus, train.preset)["test"].ngram.bits_per_char
    return figures


def _last_epoch(curves: Path, seed: int, epoch: int | None) -> dict[str, float]:
    """The perplexities of a training's last epoch, as handed in."""
    row = rf"^\w+,{seed},{epoch},(\d{{1,9}}\.\d+),(\d{{1,9}}\.\d+)$"
    found = re.findall(row, curves.read_text("utf-8", "replace"), re.MULTILINE)
    if len(found) != 1:
        raise InputError(f"{curves} has {len(found)} rows of epoch {epoch} with seed {seed}; `tmlm export` writes one")
    return dict(zip(LAST, map(float, found[0]), strict=True))


def _model_folders(folder: Path) -> list[Path]:
    """The folders of its models: those in ``models``, or ``model``."""
    _seen(folder, stat.S_ISDIR)
    if not os.path.lexists(folder / "models"):
        return [_seen(folder / "model", stat.S_ISDIR)]
    found = [*islice(_seen(folder / "models", stat.S_ISDIR).iterdir(), MOST_MODELS + 1)]
    if not 0 < len(found) <= MOST_MODELS:
        raise InputError(f"{folder / 'models'} has no model, or more than {MOST_MODELS}")
    return [_seen(each, stat.S_ISDIR) for each in sorted(found)]


def _seen(path: Path, is_kind: Callable[[int], bool] = stat.S_ISREG) -> Path:
    """The path of a file, or a folder, that may be read. Raises InputError for anything else, and OSError."""
    status = path.lstat()  # which follows no link
    if not is_kind(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not what `tmlm export` writes"
        raise InputError(f"{path} is {kind}, and is not read")
    if stat.S_ISREG(status.st_mode) and status.st_size > MOST_BYTES:
        raise InputError(f"{path} has {status.st_size / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read")
    return path
