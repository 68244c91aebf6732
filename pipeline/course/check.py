"""Check what students hand in, folders that `tmlm export` has written: they are read as data, and nothing is recorded.

A hand-in may be anything: all that is read of it are files of a limited size in its folders, and no link is followed.
"""

import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

import torch

from models.gated_ngrams import one_thread
from models.language_model import LanguageModel
from pipeline.config import TrainConfig
from pipeline.course.bands import LAST, NGRAM, READ_BY_TEACHER, Band, Course
from pipeline.errors import InputError, reason_of
from pipeline.pages.card import read_card
from pipeline.pages.model_files import CARD, WEIGHTS
from pipeline.support.markdown import text_table
from pipeline.support.wording import listed
from pipeline.text.batches import WindowData, data_of
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import baselines_of
from pipeline.training.checkpoints import digest_of, load_checkpoint
from pipeline.training.evaluation import perplexity, score_windows, text_costs
from pipeline.training.loading import built_model, claimed

log = logging.getLogger(__name__)

MOST_BYTES = 50_000_000  # of a file of weights
MOST_TEXT_BYTES = 1_000_000  # of any other
MOST_MODELS = 10  # in a folder
MOST_LINES = 30  # of which each is a folder; more are a table
TOLERANCE = 0.001  # by which a figure of a card may differ from the same computed from the weights
OF_QUICK = "As handed in: --quick computes nothing, and so can't see figures that were altered."
Verdict = Literal["right", "incomplete", "out of its band", "altered", "can't be read"]  # the worst is last


@dataclass(frozen=True)
class Figure:
    """A figure of a hand-in: its value is computed from the weights, or as handed in, as its text says."""

    band: Band
    value: float
    verdict: Verdict
    text: str


@dataclass
class HandIn:
    """What a folder holds. ``weights`` are digests of its networks' parameters alone, whatever is said of them."""

    folder: str
    verdict: Verdict = "can't be read"
    remarks: list[str] = field(default_factory=list)
    exercise: str = ""
    seeds: list[int] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)

    @property
    def cells(self) -> list[str]:
        """Folder and verdict, exercise, seeds, commits, and remarks with figures."""
        seeds, commits = (listed([*dict.fromkeys(map(str, each))]) for each in (self.seeds, self.commits))
        found = [f"exercise {self.exercise}", f"seed {seeds}", f"commit {commits}"] if self.exercise else ["", "", ""]
        said = "; ".join([*self.remarks, *(figure.text for figure in self.figures)])
        cells = [f"{self.folder}: {self.verdict}", *found, said]
        return [cell.replace("\n", "\\n") for cell in cells]  # a name must not write a line of its own


def summary(found: Sequence[HandIn], quick: bool) -> str:
    """A line for each folder, or a table of more than MOST_LINES."""
    rows = [each.cells for each in found]
    is_table = len(rows) > MOST_LINES
    text = text_table((), rows, range(5)) if is_table else "\n".join("; ".join(filter(None, row)) for row in rows)
    return f"{text}\n{OF_QUICK}" if quick else text


@one_thread()
def check(folders: Sequence[str], course: Course, corpus: Corpus | None) -> list[HandIn]:
    """Judge each folder by the bands of a course; without its text, by the figures that were handed in."""
    found = []
    for folder in dict.fromkeys(map(os.path.normpath, folders)):
        judged = _judged(Path(folder), course, corpus)
        log.info("%s: %s", folder, judged.verdict)
        found.append(judged)
    for each in found:
        if others := [it.folder for it in found if it is not each and {*it.weights} & {*each.weights}]:
            each.remarks.append(f"same weights as {listed(others)}")
    return found


def _judged(folder: Path, course: Course, corpus: Corpus | None) -> HandIn:
    found = HandIn(str(folder))
    try:
        for each in _model_folders(folder):
            _add_network(found, each, course, corpus)
    except (InputError, OSError) as error:
        found.remarks.append(reason_of(error) if isinstance(error, OSError) else str(error))
        return found
    verdicts = [figure.verdict for figure in found.figures]
    found.exercise = max(figure.band.exercise for figure in found.figures)  # 3 also hands in a network of 2
    wanted = {band.network for band in course.bands if band.exercise == found.exercise}
    if lacking := sorted(wanted - {figure.band.network for figure in found.figures}):
        verdicts.append("incomplete")
        found.remarks.append(f"it lacks {listed(lacking)}")
    found.verdict = max(verdicts, key=get_args(Verdict).index)
    return found


def _add_network(found: HandIn, folder: Path, course: Course, corpus: Corpus | None) -> None:
    commit, handed_in = read_card(_seen(folder / CARD).read_text("utf-8", "replace"))
    path = _seen(folder / WEIGHTS, most_bytes=MOST_BYTES)
    checkpoint = load_checkpoint(path)
    bands, train = course.bands_of(*claimed(checkpoint, path))
    model, _, facts = built_model(checkpoint, path)
    found.weights.append(digest_of(model.state_dict(), ""))
    found.commits.append(commit)
    found.seeds.append(facts["train"]["seed"])
    if any(band.metric in LAST for band in bands):
        handed_in |= _last_epoch(_seen(Path(found.folder, "curves.csv")), found.seeds[-1], train.epochs)
    for band in bands:
        if not handed_in[band.metric]:
            raise InputError(f"{folder / CARD} lacks figures that `tmlm export` writes")
        computed = None if corpus is None or band.metric in LAST else _computed(band.metric, model, corpus, train)
        if not isfinite(computed or 0):
            raise InputError(f"{folder / WEIGHTS} has weights that give no finite perplexity")
        found.figures.append(_figure(band, handed_in[band.metric], computed))


def _figure(band: Band, handed_in: Sequence[float], computed: float | None) -> Figure:
    """Judge a figure by its band. A card has it twice, and each is compared with what was computed."""
    value = handed_in[0] if computed is None else computed
    text = f"{band.label}: {value:.3f}" + ", as handed in" * (computed is None)
    if altered := [each for each in handed_in if computed and abs(each / computed - 1) > TOLERANCE]:
        return Figure(band, value, "altered", f"{text}, but {altered[0]:.3f} in its card")
    if band.low <= value <= band.high:
        return Figure(band, value, "right", text)
    return Figure(band, value, "out of its band", f"{text}, not {band.low:.2f} to {band.high:.2f}")


def _computed(metric: str, model: LanguageModel, corpus: Corpus, train: TrainConfig) -> float:
    """A perplexity as a training computes it."""
    if metric == NGRAM:
        return float(2 ** baselines_of(corpus, train.preset)["test"].ngram.bits_per_char)
    if metric == "test_perplexity":
        text = torch.from_numpy(corpus.split(train.preset, "test"))
    elif isinstance(data := data_of(corpus, train), WindowData):
        return score_windows(model, *data.val, train.batch_size)[0]
    else:
        text = data.val
    return perplexity(float(text_costs(model, text).mean()))


def _last_epoch(curves: Path, seed: int, epoch: int | None) -> dict[str, list[float]]:
    """The perplexities of a training's last epoch, as handed in."""
    row = rf"^\w+,{seed},{epoch},(\d{{1,9}}\.\d+),(\d{{1,9}}\.\d+)$"
    found = re.findall(row, curves.read_text("utf-8", "replace"), re.MULTILINE)
    if len(found) != 1:
        raise InputError(f"{curves} has {len(found)} rows of epoch {epoch} with seed {seed}; `tmlm export` writes one")
    return {name: [float(value)] for name, value in zip(LAST, found[0], strict=True)}


def _model_folders(folder: Path) -> list[Path]:
    """The folders of its models: those in ``models``, of a search only the best; or ``model``."""
    _seen(folder, stat.S_ISDIR)
    if not any(os.path.lexists(folder / name) for name in ("model", "models")):
        raise InputError(f"{folder} has no model; {READ_BY_TEACHER}")
    if not os.path.lexists(folder / "models"):
        return [_seen(folder / "model", stat.S_ISDIR)]
    found = [*islice(_seen(folder / "models", stat.S_ISDIR).glob("[!.]*"), MOST_MODELS + 1)]  # no .DS_Store
    if not 0 < len(found) <= MOST_MODELS:
        raise InputError(f"{folder / 'models'} has no model, or more than {MOST_MODELS}")
    best = [each for each in found if each.name == "best"]
    return [_seen(each, stat.S_ISDIR) for each in best or sorted(found)]


def _seen(path: Path, is_kind: Callable[[int], bool] = stat.S_ISREG, most_bytes: int = MOST_TEXT_BYTES) -> Path:
    """The path of a file, or a folder, that may be read. Raises InputError for anything else, and OSError."""
    status = path.lstat()  # which follows no link
    if not is_kind(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not what `tmlm export` writes"
        raise InputError(f"{path} is {kind}, and is not read")
    if stat.S_ISREG(status.st_mode) and status.st_size > most_bytes:
        raise InputError(f"{path} has {status.st_size:,} bytes; at most {most_bytes:,} are read")
    return path
