"""Train, load, sample, evaluate and search from Python, in a script or a notebook.

>>> import tmlm  # which has all names of this module
>>> model = tmlm.train("python-docs", hidden_size=16, epochs=2)
>>> print(model.sample("it has", length=60, temperature=0.7, seed=1))
it has...

Each function does what the command of its name does, with the same options, defaults and presets, and records in the
same place (docs/usage.md), whatever the working directory is. Errors are ordinary exceptions: ConfigError (a
ValueError) for an option that is not allowed, InputError for a text or model that can't be used, DataUnavailableError
for a text that can't be downloaded, TypeError for a value of another type. Each says what was given and what is
allowed. Nothing here installs signal handlers or ends the process.

A ``reference`` names a run, a search or a model: by its id or name as in commands, or by a Model, a Search or an
Answer, as in ``tmlm.compare(model, "latest~1")``.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Union, overload

with warnings.catch_warnings():  # in a notebook without ipywidgets, which the bars here do not need
    warnings.filterwarnings("ignore", "IProgress not found")
    import tqdm.auto  # noqa: F401  # before another library imports it, with the warning

import pandas as pd
import torch

from models.cells import CELLS
from models.complexity import Complexity, measure
from models.config import DEFAULT_LENGTH, ConfigError, Decoding, ModelConfig, check_choice, check_range
from models.language_model import LanguageModel
from models.ngram import compared_label
from models.on_top_of_ngram import NgramLanguageModel
from models.recurrent import parts_of
from pipeline import earlier
from pipeline.answer import run as answer_stage
from pipeline.config import SIZES, AnswerConfig, CorpusConfig, SearchConfig, TrainConfig, quick_search, resolve
from pipeline.errors import DataUnavailableError, InputError, TmlmError
from pipeline.pages.export import export as export_stage
from pipeline.results import ROW, SEEDS, TRAIN, DeletionResult
from pipeline.runs import best as best_stage
from pipeline.runs import compare as compare_stage
from pipeline.runs import delete as delete_stage
from pipeline.runs import note as note_stage
from pipeline.runs import open_page, ui
from pipeline.search import run as search_stage
from pipeline.stages import evaluate as evaluate_stage
from pipeline.stages import sample as sample_stage
from pipeline.stages import train as train_stage
from pipeline.stages.bar import training_bar
from pipeline.stages.seeds import refuse_diverged, train_seeds
from pipeline.support.machine import tune_process
from pipeline.support.progress import write_line
from pipeline.tracking import artifacts, descriptions, queries, recorded
from pipeline.tracking.step import CURVES_PLOT
from pipeline.tracking.store import settings_kept
from pipeline.tracking.text_identity import text_to_train
from pipeline.training.memory import configurations_for
from pipeline.training.metrics import CURVES

__all__ = [
    "Answer",
    "ConfigError",
    "DataUnavailableError",
    "Evaluation",
    "InputError",
    "Model",
    "Picture",
    "Search",
    "answer",
    "best",
    "compare",
    "delete",
    "export",
    "load",
    "note",
    "open",
    "resume",
    "runs",
    "search",
    "train",
    "tune_process",
]

log = logging.getLogger(__name__)

WITH_BAR = train_stage.TrainingContext(progress=training_bar)

TextOrPath = str | os.PathLike[str]
Reference = Union[TextOrPath, "Model", "Search", "Answer"]

COMMAND_OR_OPTION = re.compile(r"(`[^`]*`|\b(?:tmlm|pipeline|mlflow) [^;]*)|--([a-z][a-z-]*)")


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore MLflow's settings and current store, and PyTorch's number of threads and random state afterwards.

    The messages of errors get the names that options have in Python: max_macs for --max-macs. Commands in them stay.
    """
    threads = torch.get_num_threads()
    try:
        with settings_kept(), torch.random.fork_rng(devices=[]):
            yield
    except TmlmError as error:
        message = COMMAND_OR_OPTION.sub(lambda found: found[1] or found[2].replace("-", "_"), str(error))
        error.args = (message,)
        raise
    finally:
        torch.set_num_threads(threads)


def _text(name: str, value: object, taken: str = "a text or a path") -> str:
    """A text, or a path as a text. Raises TypeError, which says what the parameter takes, for anything else."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {taken}, not {type(value).__name__}")
    return value


def _reference(value: Reference) -> str:
    """The name of what is meant, as commands take it. Raises TypeError for what names nothing."""
    if isinstance(value, Model):
        return value._reference
    if isinstance(value, Search | Answer):
        return value.run_id
    taken = "the id or name of a run, the name of a study, a Model, a Search, an Answer, or the path of a checkpoint"
    return _text("reference", value, taken)


def _options(what: str, given: Mapping[str, Any], *configs: type) -> dict[str, Any]:
    """The options of ``what`` that are not None, by the names of the dataclasses' fields, which check the values.

    NumPy's numbers, paths and lists of choices become what the fields hold. Raises ConfigError for an unknown name, and
    TypeError for a value that no option takes.
    """
    types = {f.name: f.type for config in configs for f in fields(config)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in types:
            near = get_close_matches(name, types, 1, 0.75)
            meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(types)}"
            raise ConfigError(name, f"is not an option of {what}{meant}")
        if value is None:
            continue
        if getattr(value, "ndim", None) == 0:  # a number of NumPy or PyTorch
            value = value.item()
        if not isinstance(value, str | int | float | os.PathLike | list | tuple):
            raise TypeError(f"{name} must be a text, a number, a path or a list of choices, not {type(value).__name__}")
        if types[name] is str:
            values[name] = ",".join(map(str, value if isinstance(value, list | tuple) else [value]))
        else:
            values[name] = float(value) if types[name] is float and type(value) is int else value
    return values


def _corpus_config(given: dict[str, Any]) -> CorpusConfig:
    """Take the options of the text out of ``given``."""
    return CorpusConfig(**{f.name: given.pop(f.name) for f in fields(CorpusConfig) if f.name in given})


@overload
def train(corpus: TextOrPath = "auto", *, seeds: None = None, **options: Any) -> "Model": ...
@overload
def train(corpus: TextOrPath = "auto", *, seeds: int, **options: Any) -> list["Model"]: ...
@_settings_kept()
def train(
    corpus: TextOrPath = "auto",
    *,
    cell: str | None = None,
    num_layers: int | None = None,
    hidden_size: int | None = None,
    epochs: int | None = None,
    like: Reference | None = None,
    seeds: int | None = None,
    note: str | None = None,
    **options: Any,
) -> "Model | list[Model]":
    """Train a model and record the run, as ``tmlm train`` does.

    Args:
        corpus: A text: the path of a UTF-8 file, an https address, "time-machine", "tiny-shakespeare" or "python-docs".
            "auto" is The Time Machine, or python-docs if that can't be downloaded.
        cell, num_layers, hidden_size, epochs, **options: The fields of CorpusConfig, ModelConfig and TrainConfig, such
            as alphabet="raw", preset="best" or seed=1. None stands for the preset's value, which depends on the text,
            the shape and the budget.
        like: A run, a study, a pick ("@knee") or a Model, whose shape and recipe are taken where no option is given.
        seeds: Train with the seeds 0 to ``seeds`` - 1, from 2 to 100, in worker processes.
        note: Why, in 1 to 1,000 characters; the run has it as a tag.

    Returns the model of the best epoch, by validation perplexity; with ``seeds``, a list of them in the order of the
    seeds. If one of them diverges, the others go on, and ``models`` of the TrainingDivergedError has theirs. Raises
    ConfigError for an option that is not allowed, InputError for a text that is too short or a training that does not
    fit into memory, DataUnavailableError for a text that can't be downloaded, and TrainingDivergedError if the loss
    became NaN or infinite.

    Example:
        >>> tmlm.train("python-docs", cell="gru", hidden_size=8, epochs=1)
        Model gru-1x8 on python-docs: test perplexity ..., ... MACs per character (run ...)
    """
    shape = {"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size, "epochs": epochs}
    given = _options("train", {"corpus": corpus, **shape, **options}, CorpusConfig, ModelConfig, TrainConfig)
    corpus_config = _corpus_config(given)
    resolve(given)  # only to check: the defaults depend on the length of the text, which is not loaded yet
    tags = {}
    if note is not None:
        tags[descriptions.NOTE] = descriptions.checked_note(_text("note", note, "a text"), "note")
    stage = ""
    if seeds is not None:
        stage = SEEDS
    elif like is not None:
        stage = TRAIN
    text = text_to_train(corpus_config, stage)
    if like is not None:
        given, of_like = train_stage.options_like(
            _reference(like), given, None if corpus_config.corpus == "auto" else text
        )
        tags |= of_like
    configs = configurations_for(text, given)
    if seeds is None:
        return load(train_stage.train(text, *configs, context=replace(WITH_BAR, tags=tags)).run_id)
    done = train_seeds(text, *configs, seeds, write_line, tags=tags)
    models = [load(training["run_id"]) for training in done.result["trainings"]]
    refuse_diverged(done.result, models)
    return models


@_settings_kept()
def resume(reference: Reference, **changes: Any) -> "Model":
    """Resume an interrupted training in its own run, as ``tmlm train --resume`` does; returns its best model.

    ``reference`` is a Model, or the run's id or at least its first four characters. ``changes`` are new values of
    epochs (if the learning rate is constant), max_seconds or sample_every. Raises ConfigError for an option that does
    not exist, and InputError for a run that can't be resumed or another option with a new value.

    Example:
        >>> model = tmlm.train("python-docs", hidden_size=8, epochs=1, schedule="constant")
        >>> len(tmlm.resume(model, epochs=2).history)
        2
    """
    given = _options("resume", changes, CorpusConfig, ModelConfig, TrainConfig)
    return load(train_stage.resume(_reference(reference), given, WITH_BAR).run_id)


@_settings_kept()
def load(reference: Reference = "latest") -> "Model":
    """Load a trained model, on the CPU and in evaluation mode.

    ``reference`` is a run id or at least its first four characters; "latest", the training of yours that finished last,
    or "latest~1", the one before; a run's name; "@knee" or "@STUDY-knee", a search's pick; a study's name or a Search,
    which stand for its knee; the path of a checkpoint; or a models:/ or runs:/ address. Raises InputError for a model
    that does not exist or can't be read, and for a name that several runs bear.

    Example:
        >>> tmlm.load(tmlm.load("latest").run_id[:8])
        Model lstm-1x16 on python-docs: test perplexity ..., ... MACs per character (run ...)
    """
    name = _reference(reference)
    return Model(evaluate_stage.TrainedModel.find(name), name)


class Model:
    """A trained model, and what its run has recorded. Returned by ``train``, ``resume`` and ``load``.

    Attributes:
        network: The PyTorch module: ids (B, T) -> logits (B, T, V) and the state.
        vocabulary: The symbols in the order of their ids; ``encode(text)`` gives ids, ``decode(ids)`` a text.
        run_id: Id of the training's run; None for a model that was loaded from a file or by a models:/ address.
        corpus: Name of the text that the model was trained on.
    """

    def __init__(self, trained: evaluate_stage.TrainedModel, reference: str) -> None:
        self._trained = trained
        self._reference = trained.run_id or reference
        self.network: LanguageModel = trained.network
        self.vocabulary = trained.vocabulary
        self.run_id = trained.run_id
        self.corpus: str = trained.corpus_label

    def __repr__(self) -> str:
        perplexities = {"test": self.test_perplexity, "validation": self.val_perplexity}
        known = [f"{name} perplexity {value:.2f}" for name, value in perplexities.items() if value is not None]
        where = f"run {self.run_id[:8]}" if self.run_id else self._reference
        facts = ", ".join([*known[:1], f"{self.macs_per_char:,} MACs per character"])
        return f"Model {self.network.config.shape} on {self.corpus}: {facts} ({where})"

    @cached_property
    @_settings_kept()
    def result(self) -> dict[str, Any]:
        """All figures of the training, by their names in ``tmlm train --json``; {} without a run."""
        return artifacts.read_result(self.run_id, TRAIN) if self.run_id else {}

    @property
    def val_perplexity(self) -> float | None:
        """Perplexity per character of the validation text, at the best epoch."""
        return {**self._trained.facts, **self.result}.get("val_perplexity")

    @property
    def test_perplexity(self) -> float | None:
        """Perplexity per character of the test text; None without a finished run."""
        return self.result.get("test_perplexity")

    @property
    def parameters(self) -> int:
        """Number of parameters, as ``tmlm complexity`` counts them."""
        return self._complexity.parameters

    @property
    def macs_per_char(self) -> int:
        """Multiply-accumulate operations to generate one character, output layer included."""
        return self._complexity.macs_per_char

    @cached_property
    def _complexity(self) -> Complexity:
        layers = self.network.order_gate.layers if isinstance(self.network, NgramLanguageModel) else None
        return measure(self.network.config, len(self.vocabulary), layers)

    @property
    @_settings_kept()
    def history(self) -> pd.DataFrame:
        """The training curves, a row for each epoch: perplexities, learning rate, gradient norm, seconds, characters.

        Raises InputError for a model that was not loaded by its run.
        """
        run = recorded.run_of(self._own_run("history"))
        return pd.DataFrame({column: dict(run.curve(metric)) for metric, column in CURVES.items()}).rename_axis("epoch")

    def plot(self) -> "Picture":
        """The recorded picture of the perplexity curves. Raises InputError as ``history`` does."""
        return _picture(self._own_run("plot"), CURVES_PLOT)

    def _own_run(self, what: str) -> str:
        if self.run_id is None:
            raise InputError(
                f"{self._reference} is not a run, so it has no {what}; load the model by the id of its run"
            )
        return self.run_id

    def sample(self, prompt: str | None = None, length: int = DEFAULT_LENGTH, **options: Any) -> str:
        """Generate text: the prompt, normalised to the model's alphabet, and ``length`` characters. Records nothing.

        The prompt None is the first one of the samples that the training recorded: the first two words of its text, or
        "it has" for The Time Machine. ``options`` are the fields of Decoding: temperature, seed, method ("sample",
        "greedy" or "beam"), top_k, top_p, beam_width. Raises ConfigError for an option or a value that is not allowed,
        and for characters that the alphabet lacks.

        Example:
            >>> len(tmlm.load().sample("it has", length=20, method="greedy"))
            26
        """
        return "".join(self.stream(prompt, length, **options))

    def stream(self, prompt: str | None = None, length: int = DEFAULT_LENGTH, **options: Any) -> Iterator[str]:
        """Generate text as ``sample`` does, piece by piece: the prompt, then each character once it is generated."""
        return sample_stage.stream(self._trained, prompt, length, Decoding(**_options("sample", options, Decoding)))

    def logits(self, text: str) -> torch.Tensor:
        """Logits (T, V) of what follows each of the T characters of a text; the columns are ``vocabulary.symbols``.

        The text is normalised as ``evaluate`` does it, so T may differ from its length, and characters outside of the
        vocabulary are <unk>. Row 0 predicts the second character, the last row the one after the text; the first
        character is not predicted. The model reads from its zero state, without gradients. Raises ConfigError for an
        empty text.

        Example:
            >>> tmlm.load().logits("The time").shape
            torch.Size([8, 28])
        """
        with torch.no_grad():
            return self.network(self._ids(text))[0][0]  # type: ignore[no-any-return]

    def states(self, text: str) -> tuple[torch.Tensor, ...]:
        """States (T, L, H) of all L layers after each of the T characters of a text, which is read as by ``logits``.

        They are the hidden states, and for an LSTM the cell states: the tensors of ``network``'s state, time first.
        ``network.logits(hidden[:, -1])`` are the logits of a network that is not on top of n-grams.

        Example:
            >>> hidden, cell = tmlm.load().states("The time")
            >>> hidden.shape
            torch.Size([8, 1, 16])
        """
        state, read = None, []
        with torch.no_grad():
            for character in self._ids(text).split(1, dim=1):
                _, state = self.network(character, state)
                read.append(parts_of(state)[: CELLS[self.network.config.cell].state_parts])
        return tuple(torch.cat(steps, dim=1).transpose(0, 1) for steps in zip(*read, strict=True))

    def _ids(self, text: str) -> torch.Tensor:
        """A text as ids (1, T)."""
        ids = self.vocabulary.encode(_text("text", text, "a text"))
        if not len(ids):
            raise ConfigError("text", "is empty; give at least one character")
        return torch.from_numpy(ids)[None]

    @_settings_kept()
    def evaluate(
        self, split: Literal["val", "test"] = "test", *, text: TextOrPath | None = None, adapt: bool = False
    ) -> "Evaluation":
        """Measure and record the perplexity on a split of the training's text, "val" or "test", or on another text.

        With ``adapt``, also the adaptive perplexity, for which network and n-grams learn from what they have scored.
        The model itself stays as it is. Raises ConfigError for another split, and InputError for a text that can't be
        read, or has changed since the training, and for ``adapt`` without the training's text.

        Example:
            >>> tmlm.load().evaluate("val")
            Evaluation of lstm-1x16-s0 on the val split of python-docs: perplexity ... (n-grams ..., ...), ...
        """
        check_choice("split", split, ("val", "test"))
        path = None if text is None else _text("text", text)
        result: Mapping[str, Any] = evaluate_stage.evaluate(self._reference, split, path, adapt).result
        own = {f.name: result[f.name] for f in fields(Evaluation) if f.name in result}
        on = f"the {split} split of {self.corpus}" if path is None else Path(path).name
        return Evaluation(model=self._trained.name, on=on, **own)


@dataclass(frozen=True)
class Evaluation:
    """A model's perplexity on a text, with that of the n-gram model and that of the mixture of both."""

    model: str  # its name, such as lstm-1x192-s0
    on: str  # the split, or the name of the text file
    perplexity: float  # per character
    bits_per_char: float
    characters: int  # that were predicted
    run_id: str  # of the evaluation's run
    unknown_characters: int = 0  # of the text file, which are not in the model's alphabet
    ngram_order: int | None = None  # of the longest n-grams; None if the training's text can't be read
    single_ngram_order: int | None = None  # of the best single order on validation
    ngram_perplexity: float | None = None
    mixture_perplexity: float | None = None  # None if the training's run is not known
    adaptive_perplexity: float | None = None  # of the model that learns from what it has scored; only with ``adapt``
    adaptive_bits_per_char: float | None = None
    adaptive_ms_per_char: float | None = None  # CPU milliseconds
    refits: int | None = None  # of the n-grams, on the training's text and the text so far

    def __repr__(self) -> str:
        beside = [f"{compared_label(self.ngram_order)} {self.ngram_perplexity:.2f}"] if self.ngram_order else []
        beside += [f"both {self.mixture_perplexity:.2f}"] if self.mixture_perplexity else []
        compared = f" ({', '.join(beside)})" if beside else ""
        adaptive = f", adaptive perplexity {self.adaptive_perplexity:.2f}" if self.adaptive_perplexity else ""
        return (
            f"Evaluation of {self.model} on {self.on}: {'static ' if adaptive else ''}perplexity {self.perplexity:.2f}"
            f"{compared}{adaptive}, {self.characters:,} characters"
        )


@dataclass(frozen=True)
class Picture:
    """A PNG picture that a notebook displays."""

    png: bytes

    def __repr__(self) -> str:
        return f"Picture of {len(self.png):,} bytes"

    def save(self, path: TextOrPath) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png


@_settings_kept()
def _picture(run_id: str, path: str) -> Picture:
    return Picture(artifacts.artifact_path(run_id, path).read_bytes())


@_settings_kept()
def search(corpus: TextOrPath = "auto", *, trials: int | None = None, quick: bool = False, **options: Any) -> "Search":
    """Search cell, layers and hidden size for low perplexity at low cost, as ``tmlm search`` does.

    Trains in worker processes. The same call again searches on, until as many ``trials`` are complete or for its
    ``minutes``.

    Args:
        corpus: A text, as for ``train``.
        trials: Complete trials in total, including those of earlier calls; by default, trials are started for 10
            minutes, or for as many as ``minutes`` says.
        quick: Take a first look at small models, in about a minute on two cores: every option that is left out has the
            value that ``tmlm search --quick`` gives it.
        **options: The fields of SearchConfig and CorpusConfig. A range is "8..64"; a choice is "8,16" or [8, 16].

    Raises ConfigError for an option that is not allowed, and InputError for a search that is not possible with these
    options, or a study that was started with others.

    Example:
        >>> found = tmlm.search(
        ...     "python-docs", trials=2, study_name="example", cell="gru", num_layers=1, hidden_size=[4, 8],
        ...     epochs=1, confirm_seeds=1, workers=1,
        ... )
        >>> found
        Search example on python-docs: 2 trials, front of ...: gru-1x...
        >>> found.load("best")
        Model gru-1x...
    """
    given = _options("search", {"corpus": corpus, "trials": trials, **options}, SearchConfig, CorpusConfig)
    corpus_config = _corpus_config(given)
    if quick:
        given |= quick_search(given)
    config = SearchConfig(**given)
    search_stage.check(config)
    return Search(search_stage.search(text_to_train(corpus_config, "search"), config, quick, write_line).result)


class Search:
    """The result of a search: ``result`` has all figures, by their names in ``tmlm search --json``."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = dict(result)
        self.run_id: str = result["run_id"]
        self.study_name: str = result["study_name"]

    def __repr__(self) -> str:
        front = self.result["front"]
        ends = [f"{row['name']} {row['val_perplexity']:.2f}" for row in (front[:1] + front[1:][-1:])]
        found = f"front of {len(front)}: {' to '.join(ends)}" if front else "no finished trial"
        return f"Search {self.study_name} on {self.result['corpus']}: {self.result['trials']} trials, {found}"

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front, cheapest first: shape, MACs per character, mean perplexities with 95 % intervals, picks."""
        runs = {name: pick["run_id"] for name, pick in self.result["picks"].items()}
        names = (", ".join(name for name in runs if runs[name] in row["run_ids"]) for row in self.result["front"])
        return pd.DataFrame(self.result["front"]).assign(picks=list(names))

    @property
    def picks(self) -> pd.DataFrame:
        """The named members of the front, lean, knee and best: the run, the reason in a sentence, and its alias."""
        return pd.DataFrame.from_dict(self.result["picks"], orient="index")

    def load(self, pick: Literal["lean", "knee", "best"] = "knee") -> Model:
        """Load the model of a pick: lean, knee or best."""
        name = earlier.pick(_text("pick", pick, "a text"), self.result["picks"])
        check_choice("pick", name, tuple(self.result["picks"]))
        if name != pick:
            log.warning("the pick %s is called %s", pick, name)
        return load(self.result["picks"][name]["run_id"])

    def plot(self) -> Picture:
        """The recorded picture of the front: perplexity against MACs per character."""
        return _picture(self.run_id, "plots/pareto.png")


@_settings_kept()
def runs(search: str = "", corpus: TextOrPath = "") -> pd.DataFrame:
    """The recorded trainings, newest first, one row each, by run id: options, perplexities, costs, state and times.

    ``search`` keeps trainings with all of these words in their name, id, text, study or note; ``corpus`` keeps those on
    the text with this recorded name, path, address or sha256. Raises InputError if only other texts have trainings.

    Example:
        >>> table = tmlm.runs(corpus="python-docs")
        >>> bool((table.test_perplexity > 1).all())
        True
    """
    found = [
        training.row()
        for training in queries.listed_trainings(_text("search", search, "a text"), _text("corpus", corpus))
    ]
    rows = pd.DataFrame(found, columns=list(ROW)).set_index("run_id")
    for name in ("started", "ended"):
        rows[name] = pd.to_datetime(rows.pop(f"{name}_ms"), unit="ms", utc=True)
    counts = ("num_layers", "hidden_size", "seed", "epochs", "batch_size", *(name for name in ROW if name in SIZES))
    return rows.astype(dict.fromkeys(counts, "Int64"))


@_settings_kept()
def compare(*references: Reference) -> pd.DataFrame:
    """Compare 2 to 20 trainings, or 2 to 20 searches, as ``tmlm compare`` does.

    Of trainings, a row each, by run id: name, text, number of seeds, note, figures, and the options that differ; of
    several seeds the means. Of searches, a row for each member of their fronts, cheapest first, with the search's run
    id and the members that dominate it; ``attrs["hypervolumes"]`` has those of the fronts by study, within one
    reference point. Raises InputError for what can't be compared.

    Example:
        >>> models = [tmlm.train("python-docs", hidden_size=size, epochs=1) for size in (8, 16)]
        >>> tmlm.compare(*models).hidden_size.to_list()
        ['8', '16']
    """
    result = compare_stage.compare(*map(_reference, references))
    if "members" in result:
        members = pd.DataFrame(result["members"])
        members.attrs["hypervolumes"] = dict(zip(result["names"], result["hypervolumes"], strict=True))
        return members
    if result["warning"]:
        log.warning("%s", result["warning"])
    about = {"name": result["names"], "corpus": result["corpora"], "seeds": result["seeds"]}
    about |= {"note": result["notes"], "like": result["like"]}
    figures = {metric.partition("/")[2]: values for metric, values in result["figures"].items()}
    index = pd.Index(result["run_ids"], name="run_id")
    columns = {**about, **figures, **result["options"]}
    return pd.DataFrame({**columns, **about}, index)  # the name of the text, in place of the option ``corpus``


@_settings_kept()
def best(
    text: TextOrPath = "auto",
    *,
    max_macs: int | None = None,
    max_kb: float | None = None,
    max_perplexity: float | None = None,
) -> pd.DataFrame:
    """The best models on a text, as ``tmlm best`` shows them: a row for each line, with its run, figures and shape.

    The rows are ``alone``, ``within`` and ``mixed``, or with ``max_perplexity`` only ``cheapest``; one that no model
    fits is left out. ``text`` is a recorded name, a path or an address. Raises InputError if nothing fits.

    Example:
        >>> tmlm.best("python-docs", max_macs=100_000).index.to_list()
        ['alone', 'within', 'mixed']
    """
    limits = {"max_macs": max_macs, "max_kb": max_kb, "max_perplexity": max_perplexity}
    for name, limit in limits.items():
        if limit is not None:
            check_range(name, limit, above=0)
    found = best_stage.best(_text("text", text), max_macs, max_kb, max_perplexity)
    lines = {name: found[name] for name in best_stage.LINES if found[name]}
    return pd.DataFrame.from_dict(lines, orient="index")


@_settings_kept()
def export(*references: Reference, output: TextOrPath, with_ngrams: bool = False) -> Path:
    """Write a page that runs the models of recorded runs, with their data, as ``tmlm export`` does.

    Args:
        references: A training, a study or an experiment, or 2 to 20 trainings on one text.
        output: The folder, a new or an empty one.
        with_ngrams: Include n-grams of a text that the lab doesn't know, which nearly contain it, and passages of it.

    Returns the path of the page. Raises InputError for what can't be exported, and for a file that exists.

    Example:
        >>> models = [tmlm.train("python-docs", hidden_size=size, epochs=1) for size in (8, 16)]
        >>> tmlm.export(*models, output="two-networks").name
        'index.html'
    """
    folder = Path(_text("output", output))
    try:
        folder.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"output can't be a folder: {error.args[-1]}; give another one") from None
    return Path(export_stage(*map(_reference, references), folder=folder, with_ngrams=with_ngrams)["page"])


@_settings_kept()
def note(reference: Reference, text: str | None = None) -> str:
    """Say why a run was made, as ``tmlm note`` does; returns its note, which without a ``text`` is only read.

    The text "" removes the note. Raises InputError for a text that is too long, and for a run that does not exist.

    Example:
        >>> tmlm.note("latest", "a first look")
        'a first look'
        >>> tmlm.note("latest")
        'a first look'
    """
    said = None if text is None else _text("text", text, "a text")
    return note_stage.note(_reference(reference), said)["note"]


@_settings_kept()
def open(reference: Reference = "latest") -> Path:
    """Open the page of a run in the browser, as ``tmlm open`` does; returns its path.

    ``reference`` is a training, a run of several seeds, a main job or a search. Without a terminal or a browser, as in
    most notebooks, the page is only made. Raises InputError for anything else.

    Example:
        >>> tmlm.open().suffix
        '.html'
    """
    return Path(open_page.open_page(_reference(reference), ui.has_browser()))


@_settings_kept()
def answer(corpus: TextOrPath = "auto", *, seeds: int = 3, scale: float = 1.0, **options: Any) -> "Answer":
    """Say whether networks are worth their cost on a text, as ``tmlm answer`` does.

    Trains in worker processes; the same call again trains only what is missing.

    Args:
        corpus: A text, as for ``train``.
        seeds: Trainings of each network, with the seeds 0, 1, ...
        scale: Scales what each network reads; 1 takes as long as eight or nine default trainings on 2 cores.
        **options: alphabet and workers.

    Raises ConfigError for an option that is not allowed, and InputError for a text that can't be trained on.

    Example:
        >>> found = tmlm.answer("python-docs", seeds=1, scale=0.001, workers=1)
        >>> found
        Answer on python-docs: Not worth it...: counting ..., network ..., both ... (lower is better)
        >>> list(found.sentences)
        ['line', 'alone', 'together', 'small', 'adaptive']
    """
    given = _options(
        "answer", {"corpus": corpus, "seeds": seeds, "scale": scale, **options}, AnswerConfig, CorpusConfig
    )
    text = text_to_train(_corpus_config(given), "answer")
    return Answer(answer_stage.answer(text, AnswerConfig(**given), write_line).result)


class Answer:
    """The result of an answer: ``result`` has all figures, by their names in ``tmlm answer --json``."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = dict(result)
        self.run_id: str = result["run_id"]

    def __repr__(self) -> str:
        return f"Answer on {self.result['corpus']}: {self.sentences['line']}"

    @property
    def sentences(self) -> dict[str, str]:
        """The answer in a line, and the four sentences: alone, together, small and adaptive."""
        return dict(self.result["sentences"])

    def plot(self) -> Picture:
        """The recorded picture: a panel for each sentence."""
        return _picture(self.run_id, "plots/answer.png")


@_settings_kept()
def delete(
    *references: Reference, text: str = "", dry_run: bool = False, weights: bool = False, cache: bool = False
) -> DeletionResult:
    """Delete runs and studies, or only their ``weights``, and the copies of a ``text``, as ``tmlm delete --yes`` does.

    With ``cache``, the copies of all texts go but for those that a process uses, this one or another.
    Returns what went ("deleted"), what stayed ("stayed"), the files that are left ("left") and the MB ("megabytes");
    with ``dry_run``, nothing goes. Raises InputError for what can't be deleted, such as a run that is RUNNING or a part
    of a search.

    Example:
        >>> model = tmlm.train("python-docs", hidden_size=8, epochs=1)
        >>> [each["kind"] for each in tmlm.delete(model)["deleted"]]
        ['logged model', 'run']
    """
    return delete_stage.delete([*map(_reference, references)], _text("text", text, "a text"), dry_run, weights, cache)
