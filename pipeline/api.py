"""Train, load, sample, evaluate and search from Python, in a script or a notebook.

>>> from pipeline import api
>>> model = api.train("python-docs", hidden_size=16, epochs=2)
>>> print(model.sample("it has", length=60, temperature=0.7, seed=1))
it has...

Each function does what the command of its name does, with the same options, defaults and presets, and records in the
same place (docs/usage.md), whatever the working directory is. Errors are ordinary exceptions: ConfigError (a
ValueError) for an option that is not allowed, InputError for a text or model that can't be used, DataUnavailableError
for a text that can't be downloaded. Each says what was given and what is allowed. Nothing here installs signal handlers
or ends the process.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

with warnings.catch_warnings():  # in a notebook without ipywidgets, which the bars here do not need
    warnings.filterwarnings("ignore", "IProgress not found")
    import tqdm.auto  # noqa: F401  # before another library imports it, with the warning

import pandas as pd
import torch

from models.complexity import Complexity, measure
from models.config import ConfigError, ModelConfig, check_choice
from models.decoding import DEFAULT_LENGTH, Decoding
from models.language_model import LanguageModel
from pipeline.config import CorpusConfig, SearchConfig, TrainConfig, quick_search, resolve
from pipeline.errors import InputError
from pipeline.stages import evaluate as evaluate_stage
from pipeline.stages import sample as sample_stage
from pipeline.stages import search as search_stage
from pipeline.stages import train as train_stage
from pipeline.stages.evaluate import TrainedModel
from pipeline.support.progress import write_line
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded
from pipeline.tracking.step import CURVES_PLOT
from pipeline.training.timing import configurations_for

__all__ = ["Evaluation", "Model", "Picture", "Search", "load", "resume", "runs", "search", "train"]

CURVES = {  # columns of a model's history -> the metrics of its run
    "train_perplexity": "perplexity/train",
    "val_perplexity": "perplexity/val",
    "learning_rate": "training/learning_rate",
    "gradient_norm": "training/gradient_norm",
    "train_seconds": "training/seconds",
}

Text = str | os.PathLike[str]


@contextmanager
def _torch_settings_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads and random state afterwards: training and loading change them."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


# --- training and loading --------------------------------------------------------------------------------------------


@_torch_settings_kept()
def train(
    corpus: Text = "auto",
    *,
    cell: str | None = None,
    num_layers: int | None = None,
    hidden_size: int | None = None,
    epochs: int | None = None,
    **options: Any,
) -> "Model":
    """Train a model and record the run, as ``tmlm train`` does.

    None stands for the preset's value, which depends on the text, the shape and the budget.

    Args:
        corpus: A text: the path of a UTF-8 file, an https address, "time-machine", "tiny-shakespeare" or "python-docs".
            "auto" is The Time Machine, or python-docs if that can't be downloaded.
        cell: Recurrent cell: "rnn", "gru" or "lstm".
        num_layers: Recurrent layers.
        hidden_size: Units of each layer.
        epochs: Passes over the training text.
        **options: Any other option of ``tmlm train``, with ``_`` for ``-``: the fields of CorpusConfig, ModelConfig and
            TrainConfig, such as alphabet="raw", preset="best", budget_seconds=60 or seed=1.

    Returns:
        The model of the best epoch, by validation perplexity.

    Raises:
        ConfigError: An option does not exist, or has a value that is not allowed.
        InputError: The text is too short, or the training does not fit into memory.
        DataUnavailableError: The text can't be downloaded.
        TrainingDivergedError: The loss became NaN or infinite.

    Example:
        >>> api.train("python-docs", cell="gru", hidden_size=8, epochs=1)
        Model gru-1x8 on python-docs: test perplexity ..., ... MACs per character (run ...)
    """
    shape = {"cell": cell, "num_layers": num_layers, "hidden_size": hidden_size, "epochs": epochs}
    given = _checked("train", {"corpus": corpus, **shape, **options}, CorpusConfig, ModelConfig, TrainConfig)
    corpus_config = CorpusConfig(**{f.name: given.pop(f.name, f.default) for f in fields(CorpusConfig)})
    resolve(given)  # only to check: the defaults depend on the length of the text, which is not loaded yet
    text = load_corpus(corpus_config)
    step = train_stage.train(text, corpus_config, *configurations_for(text, given))
    return load(step.run_id)


@_torch_settings_kept()
def resume(reference: str, **changes: Any) -> "Model":
    """Resume an interrupted training in its own run, as ``tmlm train --resume`` does.

    Args:
        reference: The run: its id, or at least the first four characters of it.
        **changes: New values of epochs (if the learning rate is constant), max_seconds or sample_every.

    Returns:
        The model of the best epoch, by validation perplexity.

    Raises:
        ConfigError: An option does not exist.
        InputError: The run can't be resumed, or another option has a new value.

    Example:
        >>> model = api.train("python-docs", hidden_size=8, epochs=1, schedule="constant")
        >>> len(api.resume(model.run_id, epochs=2).history)
        2
    """
    given = _checked("resume", changes, CorpusConfig, ModelConfig, TrainConfig)
    return load(train_stage.resume(reference, given).run_id)


@_torch_settings_kept()
def load(reference: Text = "latest") -> "Model":
    """Load a trained model.

    Args:
        reference: A run id or at least its first four characters; "latest", the training that finished last, or
            "latest~1", the one before; the path of a checkpoint; or a models:/ or runs:/ address.

    Returns:
        The model, on the CPU and in evaluation mode.

    Raises:
        InputError: There is no such model, or it can't be read.

    Example:
        >>> api.load("latest").run_id == api.runs().index[0]
        True
    """
    name = os.fspath(reference)
    return Model(TrainedModel.find(name), name)


class Model:
    """A trained model, and what its run has recorded.

    Returned by ``train``, ``resume`` and ``load``.

    Attributes:
        network: The PyTorch module: ids (B, T) -> logits (B, T, V) and the state.
        vocabulary: The symbols in the order of their ids.
        run_id: Id of the training's run; None for a model that was loaded from a file or by a models:/ address.
        corpus: Name of the text that the model was trained on.

    Example:
        >>> model = api.load("latest")
        >>> model.sample("it has", length=0)
        'it has'
    """

    def __init__(self, trained: TrainedModel, reference: str) -> None:
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
    def result(self) -> dict[str, Any]:
        """All figures of the training, by their names in ``tmlm train --json``; {} without a run."""
        return recorded.read_json(self.run_id, recorded.RESULT_FILE) if self.run_id else {}

    @property
    def val_perplexity(self) -> float | None:
        """Perplexity per character of the validation text, at the best epoch."""
        perplexity: float | None = self.result.get("val_perplexity", self._trained.facts.get("val_perplexity"))
        return perplexity

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
        return measure(self.network.config, len(self.vocabulary))

    @property
    def history(self) -> pd.DataFrame:
        """The training curves: a row for each epoch, with perplexities, learning rate, gradient norm and seconds.

        Raises InputError for a model that was not loaded by its run.
        """
        curves = recorded.run_of(self._own_run("history")).curves
        columns = {column: dict(curves[metric]) for column, metric in CURVES.items()}
        return pd.DataFrame(columns).rename_axis(index="epoch")

    def plot(self) -> "Picture":
        """The recorded picture of the perplexity curves. Raises InputError as ``history`` does."""
        return _picture(self._own_run("plot"), CURVES_PLOT)

    def _own_run(self, what: str) -> str:
        if self.run_id is None:
            raise InputError(
                f"{self._reference} is not a run, so it has no {what}; load the model by the id of its run"
            )
        return self.run_id

    def sample(
        self,
        prompt: str | None = None,
        length: int = DEFAULT_LENGTH,
        *,
        temperature: float = Decoding.temperature,
        seed: int = Decoding.seed,
        **options: Any,
    ) -> str:
        """Generate text. Nothing is recorded.

        Args:
            prompt: The text to continue; None: "it has", or one character of the alphabet if it lacks these letters.
            length: Characters to generate.
            temperature: Divides the logits before a character is drawn: below 1 safer, above 1 wilder.
            seed: Random seed; the same seed gives the same text.
            **options: The other fields of Decoding: method ("sample", "greedy" or "beam"), top_k, top_p, beam_width.

        Returns:
            The prompt, normalised to the model's alphabet, and the generated characters.

        Raises:
            ConfigError: An option does not exist or has a value that is not allowed, or the prompt has characters that
                are not in the model's alphabet; the message names them.

        Example:
            >>> text = api.load().sample("it has", length=20, method="greedy")
            >>> len(text)
            26
        """
        return "".join(self.stream(prompt, length, temperature=temperature, seed=seed, **options))

    def stream(
        self,
        prompt: str | None = None,
        length: int = DEFAULT_LENGTH,
        *,
        temperature: float = Decoding.temperature,
        seed: int = Decoding.seed,
        **options: Any,
    ) -> Iterator[str]:
        """Generate text piece by piece: the prompt first, then each character as soon as it is generated.

        Arguments and exceptions are those of ``sample``.

        Example:
            >>> for piece in api.load().stream("it has", length=3):
            ...     print(piece, end="", flush=True)
            it has...
        """
        given = _checked("sample", {"temperature": temperature, "seed": seed, **options}, Decoding)
        return sample_stage.stream(self._trained, prompt, length, Decoding(**given))

    @_torch_settings_kept()
    def evaluate(self, split: Literal["val", "test"] = "test", *, text: Text | None = None) -> "Evaluation":
        """Measure the perplexity on a split of the training's text, or on another text, and record it.

        Args:
            split: "val" or "test".
            text: Path of another UTF-8 text file, instead of the split.

        Returns:
            The figures, and those of the best n-gram if the training's text can be read.

        Raises:
            ConfigError: There is no such split.
            InputError: The text can't be read, or has changed since the training.

        Example:
            >>> api.load().evaluate("val")
            Evaluation of lstm-1x16-s0 on the val split of python-docs: perplexity ... (8-gram ..., both ...), ...
        """
        check_choice("split", split, ("val", "test"))
        path = None if text is None else os.fspath(text)
        result = evaluate_stage.evaluate(self._reference, split, path).result
        own = {f.name: result[f.name] for f in fields(Evaluation) if f.name in result}
        on = f"the {split} split of {self.corpus}" if path is None else Path(path).name
        return Evaluation(model=self._trained.name, on=on, **own)


@dataclass(frozen=True)
class Evaluation:
    """A model's perplexity on a text, with that of the best n-gram and that of the mixture of both.

    Attributes:
        model: Name of the model, such as lstm-1x192-s0.
        on: What it was evaluated on: the split, or the name of the text file.
        perplexity: Perplexity per character.
        bits_per_char: Its logarithm to base 2.
        characters: Number of characters that were predicted.
        run_id: Id of the evaluation's run.
        unknown_characters: Number of characters of the text file that are not in the model's alphabet.
        ngram_order, ngram_perplexity: Those of the n-gram that is best on validation; None if the training's text can't
            be read.
        mixture_perplexity: That of the mixture; None if the training's run is not known.
    """

    model: str
    on: str
    perplexity: float
    bits_per_char: float
    characters: int
    run_id: str
    unknown_characters: int = 0
    ngram_order: int | None = None
    ngram_perplexity: float | None = None
    mixture_perplexity: float | None = None

    def __repr__(self) -> str:
        beside = [f"{self.ngram_order}-gram {self.ngram_perplexity:.2f}"] if self.ngram_perplexity else []
        beside += [f"both {self.mixture_perplexity:.2f}"] if self.mixture_perplexity else []
        compared = f" ({', '.join(beside)})" if beside else ""
        return (
            f"Evaluation of {self.model} on {self.on}: perplexity {self.perplexity:.2f}{compared}, "
            f"{self.characters:,} characters"
        )


@dataclass(frozen=True)
class Picture:
    """A picture that a notebook displays.

    Attributes:
        png: The bytes of the PNG file.
    """

    png: bytes

    def __repr__(self) -> str:
        return f"Picture of {len(self.png):,} bytes"

    def save(self, path: Text) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png


def _picture(run_id: str, path: str) -> Picture:
    return Picture(recorded.artifact_path(run_id, path).read_bytes())


# --- searching -------------------------------------------------------------------------------------------------------


@_torch_settings_kept()
def search(
    corpus: Text = "auto",
    *,
    trials: int = SearchConfig.trials,
    quick: bool = False,
    take_aliases: bool = False,
    **options: Any,
) -> "Search":
    """Search cell, layers and hidden size for low perplexity at low cost, as ``tmlm search`` does.

    Trains in worker processes. The same call again resumes a study that was interrupted, or returns its result.

    Args:
        corpus: A text, as for ``train``.
        trials: Complete trials in total, including those of earlier calls.
        quick: Take a first look at small models, in about a minute on two cores: every option that is left out has the
            value that ``tmlm search --quick`` gives it.
        take_aliases: Move the aliases best, knee and small of the registered model to this study's picks even if
            another study has them.
        **options: Any other option of ``tmlm search``, with ``_`` for ``-``: the fields of SearchConfig and
            CorpusConfig. A range is "8..64"; a choice is "8,16" or a list, [8, 16].

    Returns:
        The study's Pareto front and picks.

    Raises:
        ConfigError: An option does not exist, or has a value that is not allowed.
        InputError: The search is not possible with these options, or the study was started with others.

    Example:
        >>> found = api.search(
        ...     "python-docs", trials=2, study_name="example", cell="gru", num_layers=1, hidden_size=[4, 8],
        ...     epochs=1, confirm_seeds=1, workers=1,
        ... )
        >>> found
        Search example on python-docs: 2 trials, front of ...: gru-1x...
        >>> found.load("best")
        Model gru-1x...
    """
    given = _checked("search", {"corpus": corpus, "trials": trials, **options}, SearchConfig, CorpusConfig)
    corpus_config = CorpusConfig(**{f.name: given.pop(f.name, f.default) for f in fields(CorpusConfig)})
    config = quick_search(SearchConfig(**given)) if quick else SearchConfig(**given)
    claim: Literal["own", "free", "all"] = "all" if take_aliases else "own" if quick else "free"
    return Search(search_stage.search(config, corpus_config, write_line, claim=claim).result)


class Search:
    """The result of a search.

    Attributes:
        run_id: Id of the search's run, in which its trainings are nested.
        study_name: Name of the Optuna study.
        result: All figures, by their names in ``tmlm search --json``.
    """

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
        names: dict[str, list[str]] = {}
        for name, pick in self.result["picks"].items():
            names.setdefault(pick["run_id"], []).append(name)
        rows = [
            {**row, "picks": ", ".join(name for run_id in row["run_ids"] for name in names.get(run_id, []))}
            for row in self.result["front"]
        ]
        return pd.DataFrame(rows)

    @property
    def picks(self) -> pd.DataFrame:
        """The named members of the front, small, knee and best: the run, the reason in a sentence, and the aliases."""
        return pd.DataFrame.from_dict(self.result["picks"], orient="index")

    def load(self, pick: Literal["small", "knee", "best"] = "knee") -> Model:
        """Load the model of a pick: small, knee or best."""
        check_choice("pick", pick, tuple(self.result["picks"]))
        return load(self.result["picks"][pick]["run_id"])

    def plot(self) -> Picture:
        """The recorded picture of the front: perplexity against MACs per character."""
        return _picture(self.run_id, "plots/pareto.png")


# --- runs ------------------------------------------------------------------------------------------------------------


def runs(search: str = "", corpus: str = "") -> pd.DataFrame:
    """The recorded trainings, newest first, one row each, by run id.

    Args:
        search: Only trainings with all of these words in their name, id, text or study.
        corpus: Only trainings on the text with this name or sha256.

    Example:
        >>> table = api.runs(corpus="python-docs")
        >>> bool((table.test_perplexity > 1).all())
        True
    """
    found = [training.row() for training in recorded.listed_trainings(search, corpus)]
    rows = pd.DataFrame(found, columns=list(recorded.ROW)).set_index("run_id")
    for name in ("started", "ended"):
        rows[name] = pd.to_datetime(rows.pop(f"{name}_ms"), unit="ms", utc=True)
    return rows.astype(dict.fromkeys(("num_layers", "hidden_size", "seed", "macs_per_char", "parameters"), "Int64"))


# --- options ---------------------------------------------------------------------------------------------------------


def _checked(what: str, options: Mapping[str, Any], *configs: type) -> dict[str, Any]:
    """Check and convert the options of ``what`` for the fields of these dataclasses; leave out those that are None.

    Raises ConfigError for an unknown option or a value of another type.
    """
    types = {f.name: get_type_hints(config)[f.name] for config in configs for f in fields(config) if f.metadata}
    for name in options:
        if name not in types:
            near = get_close_matches(name, types, 1, 0.75)
            meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(types)}"
            raise ConfigError(name, f"is not an option of {what}{meant}")
    return {name: _converted(name, value, types[name]) for name, value in options.items() if value is not None}


def _converted(name: str, value: Any, annotation: Any) -> Any:
    """Convert a value, NumPy numbers and lists of choices included, to a field's annotation. Raises ConfigError."""
    kind = next((each for each in get_args(annotation) if each in (int, float)), annotation)  # int for int | None
    if kind is str:
        values = value if isinstance(value, list | tuple) else [value]
        return ",".join(os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in values)
    numbers: dict[Any, tuple[type, str]] = {int: (Integral, "a whole number"), float: (Real, "a number")}
    if kind in numbers:
        number, what = numbers[kind]
        if not isinstance(value, number) or isinstance(value, bool):
            raise ConfigError(name, f"is {value!r}; it must be {what}")
        return kind(value)
    return value
