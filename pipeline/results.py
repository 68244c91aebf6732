"""What comes out, declared once: the result of each stage, and what tables, CSV files, pages and `tmlm compare` show.

A result is a flat dict, which ``--json`` prints and result.json keeps. A recorded one is read if it has the form of its
stage: what is Required must be there, and the rest, such as a figure that a new version adds, may be missing.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, get_type_hints

from typing_extensions import TypedDict

from pipeline.config import COST_NAMES, StoppedBy
from pipeline.support.records import Count, ListOf, Natural, Number, Positive, Signed, String, maybe, record


class Figure(NamedTuple):
    """A figure of a result, or another column of a table.

    A training's is a column of runs.csv; with a section, a metric; with a label, a row of `tmlm compare`; with a
    ``short`` name, a column there; with a ``head``, a column of the table of several seeds. In other results, ``head``
    is the head of its column, and ``short`` that in a terminal. ``form`` is how tables show it, as a format
    specification ("": of words, or of a yes or no); its unit is in its name.
    """

    section: str = ""
    label: str = ""
    head: str = ""
    short: str | None = None
    form: str = ",.3f"

    def shown(self, value: Any) -> str:
        """A value as in tables; "" for one that is missing."""
        return "" if value is None else format(value, self.form)

    @property
    def narrow(self) -> str:
        """The head of its column in a terminal."""
        return self.head if self.short is None else self.short


def columns_of(result: Any) -> dict[str, Figure]:
    """The figures and other columns that a type of result declares, in order."""
    hints = get_type_hints(result, include_extras=True).items()
    found = ((name, each) for name, hint in hints for each in getattr(hint, "__metadata__", ()))
    return {name: each for name, each in found if isinstance(each, Figure)}


class TrainingResult(TypedDict, total=False):
    """The flat result of a training; runs.csv has its figures in this order.

    ``test_difference`` is how far the test perplexity is above that of the n-grams, in percent, with the ends of its
    95 % interval: "seeds and text", or of the "text" alone where no spread of seeds was measured on such trainings;
    then one seed has no ``test_verdict``. Results of earlier versions lack both. ``equal_ngram_order`` is the lowest
    single order of n-grams that is at least as good on validation, 0 if none is, and missing in earlier versions.
    ``shipped_bytes`` are those with weights of ``weight_bits``; earlier versions had other bits, and did not record
    them.
    """

    val_perplexity: Annotated[Required[Positive], Figure("result", "validation perplexity, best", "validation", "val")]
    val_perplexity_pooled: Annotated[Required[Positive], Figure()]
    test_perplexity: Annotated[Required[Positive], Figure("result", "test perplexity", "test", "test")]
    test_bits_per_char: Annotated[Required[Number], Figure("result")]
    ngram_order: Annotated[Required[Count], Figure(form=",.0f")]
    ngram_entries: Required[Count]
    ngram_val_perplexity: Annotated[Required[Positive], Figure("result")]
    ngram_test_perplexity: Annotated[Required[Positive], Figure("result")]
    single_ngram_order: Annotated[Required[Count], Figure(form=",.0f")]
    single_ngram_val_perplexity: Annotated[Required[Positive], Figure("result")]
    single_ngram_test_perplexity: Annotated[Required[Positive], Figure("result")]
    equal_ngram_order: Annotated[Natural, Figure(form=",.0f")]
    test_difference: Annotated[Signed, Figure("result")]
    test_difference_low: Annotated[Signed | None, Figure("result")]
    test_difference_high: Annotated[Signed | None, Figure("result")]
    test_interval: Literal["", "seeds and text", "text"]
    test_verdict: Literal["ahead", "behind", "open", "none"]
    mixture_val_perplexity: Annotated[Required[Positive], Figure("result", head="with n-grams")]
    mixture_test_perplexity: Annotated[
        Required[Positive], Figure("result", "test perplexity with n-gram", "test", "both")
    ]
    mixture_kind: Annotated[Required[String], Figure()]
    mixture_weight: Annotated[Required[Number], Figure()]
    best_epoch: Annotated[Required[Count], Figure("result", "best epoch", form=",.0f")]
    epochs: Annotated[Required[Count], Figure(form=",.0f")]
    stopped: Annotated[Required[String], Figure()]
    stopped_by: StoppedBy
    fell_over: Annotated[bool, Figure("result", form="")]
    train_seconds: Annotated[Required[Number], Figure("speed", "seconds of training", "seconds", form=",.1f")]
    chars_per_second: Annotated[Required[Number], Figure("speed", "characters per second", form=",.0f")]
    parameters: Annotated[Required[Count], Figure("size", "parameters", form=",.0f")]
    stored_numbers: Annotated[Required[Count], Figure("size", "stored numbers", form=",.0f")]
    weight_bits: Annotated[Count, Figure("size", form=",.0f")]
    shipped_bytes: Annotated[Count, Figure("size", "bytes to ship", form=",.0f")]
    macs_per_char: Annotated[Required[Count], Figure("size", "MACs per character", form=",.0f", short="MACs")]
    trained_parameters: Annotated[Count | None, Figure("size", form=",.0f")]
    precision: Annotated[String | None, Figure()]
    device: Annotated[Required[String], Figure()]
    checkpoint: Required[String | None]
    val_perplexities: Required[list[Positive]]
    texts: Required[list[String]]
    last_texts: dict[str, String] | None
    val_perplexity_windowed: Positive | None
    on_top_of_order: Count
    run_id: String
    corpus: String
    corpus_sha256: String
    source_sha256: String


FIGURES = columns_of(TrainingResult)
METRICS = {  # metric -> name in the result; by section, as in MLflow's UI
    f"{figure.section}/{name}": name
    for name, figure in sorted(FIGURES.items(), key=lambda entry: entry[1].section)
    if figure.section
}
OVER_SEEDS = {name: figure for name, figure in FIGURES.items() if figure.head}


def measured_in(result: Any) -> list[str]:
    """The figures of a training, its metrics, that a type of result has too, in its order."""
    return [name for name in get_type_hints(result) if FIGURES.get(name, Figure()).section]


ROW = {  # column of `tmlm runs --json` -> its head in the table; "" if that lacks it
    "run_id": "run", "name": "name", "corpus": "text", "corpus_sha256": "", "cell": "", "on_top_of": "", "preset": "",
    "learning_rate": "", "num_layers": "", "hidden_size": "", "seed": "", "epochs": "", "batch_size": "",
    "val_perplexity": "val", "test_perplexity": "test", "mixture_val_perplexity": "", "mixture_test_perplexity": "",
    "macs_per_char": "MACs", "parameters": "", "train_seconds": "seconds", "state": "state", "weights_deleted": "",
    "study": "",
    "note": "", "like": "", "config_id": "", "fell_over": "", "started_ms": "", "ended_ms": "",
}  # fmt: skip

# What a training records beside its result, which is read if it has this form

CONFIGURATION = record(  # a tag
    corpus=record(corpus=String, alphabet=String),
    model=record(cell=String, implementation=String, num_layers=Count, hidden_size=Count, on_top_of=String),
    train=record(preset=String, seed=Natural, epochs=maybe(Count), precision=String, train_chars=Natural),
    recipe=Natural,
    text=record(name=String, source=String, corpus_sha256=String, train_chars=Count, symbols=NotRequired[Count]),
)
ENVIRONMENT = record(packages=maybe(dict[str, String]))
SAMPLES = record(samples=ListOf[record(prompt=String, text=String)])


class Member(TypedDict, total=False):
    """A member of a front, by its means over seeds; front.csv has the columns in this order.

    A figure of a training in it is also an attribute of the study's trials, from which the front is made.
    """

    name: Annotated[Required[String], Figure(head="configuration", short="", form="")]
    cell: String
    num_layers: Count
    hidden_size: Count
    macs_per_char: Annotated[Required[Count], Figure(head="MACs per character", short="MACs/char", form=",")]
    parameters: Annotated[Required[Count], Figure(head="parameters", form=",")]
    stored_numbers: Required[Count]
    val_perplexity: Annotated[Required[Positive], Figure(head="validation perplexity", short="validation")]
    val_perplexity_low: Positive | None
    val_perplexity_high: Positive | None
    run_ids: Annotated[Required[list[String]], Figure(head="seeds", form="")]
    test_perplexity: Annotated[Positive | None, Figure(head="test perplexity", short="test")]


class Rival(TypedDict, total=False):
    """A pick of a search, your own best training, or the n-gram model, each also mixed with that model."""

    label: Annotated[Required[String], Figure(head="pick or rival", short="", form="")]
    kind: Literal["pick", "yours", "ngram"] | None
    name: Annotated[Required[String], Figure(head="model", short="", form="")]
    run_id: String
    macs_per_char: Annotated[Natural | None, Figure(head="MACs per character", short="MACs/char", form=",")]
    stored_numbers: Annotated[Natural | None, Figure(head="stored numbers", short="stored", form=",")]
    val_perplexity: Annotated[Positive | None, Figure(head="validation")]
    test_perplexity: Annotated[Positive | None, Figure(head="test")]
    mixture_val_perplexity: Annotated[Positive | None, Figure(head="with n-grams: validation", short="with n-grams")]
    mixture_test_perplexity: Annotated[Positive | None, Figure(head="test")]


PickResult = TypedDict("PickResult", {
    "run_id": Required[String], "sentence": Required[String], "aliases": list[String],
}, total=False)  # fmt: skip
SearchResult = TypedDict("SearchResult", {  # of which ``compared`` are the picks and their rivals
    "run_id": String, "study_name": Required[String], "storage": String, "sampler": String,
    "cost": Required[Literal["macs", "stored-numbers"]], "corpus": Required[String], "corpus_sha256": Required[String],
    "trials": Natural, "cut_short": Natural, "failed": Natural, "repeated": Natural, "confirmations": Natural,
    "minutes": float, "hypervolume": float, "max_perplexity": float, "front": Required[list[Member]],
    "picks": Required[dict[str, PickResult]], "compared": list[Rival],
}, total=False)  # fmt: skip

MEMBER_COLUMNS, RIVAL_COLUMNS = columns_of(Member), columns_of(Rival)
PERPLEXITIES = tuple(name for name in measured_in(Rival) if name not in COST_NAMES)
RIVAL_HEADS = [column.head for column in RIVAL_COLUMNS.values()]
OF_TRIALS = (*(name for name in measured_in(Member) if name not in COST_NAMES), "train_seconds")


def picks_and_rivals(rows: Iterable[Rival]) -> list[tuple[str, ...]]:
    """Rows, for RIVAL_HEADS, of what a search's result has under "compared"."""
    return [tuple(column.shown(row.get(name)) for name, column in RIVAL_COLUMNS.items()) for row in rows]


def pick_sentences(picks: Mapping[str, PickResult]) -> list[tuple[list[str], str]]:
    """The names of each picked model, and why it was picked; what a sentence begins with is said once."""
    models: dict[str, list[str]] = {}
    for name, pick in picks.items():
        models.setdefault(pick["run_id"], []).append(name)
    found = []
    for names in models.values():
        first, *others = (picks[name]["sentence"] for name in names)
        model = f"{first.partition(') ')[0]}) "  # with its figures
        others = [f"It {each.removeprefix(model)}" if each.startswith(model) else each for each in others]
        found.append((names, " ".join([first, *others])))
    return found


def member_cells(member: Member) -> dict[str, str]:
    """The cells of a front's table, by the names of MEMBER_COLUMNS."""
    shown = {**member, "run_ids": str(len(member["run_ids"]))}
    cells = {name: column.shown(shown.get(name)) for name, column in MEMBER_COLUMNS.items()}
    if ngrams := member["stored_numbers"] - member["parameters"]:
        cells["parameters"] += f" + {ngrams:,} of n-grams"
    return cells


Preparation = TypedDict("Preparation", {  # a text, its splits and its baselines
    "run_id": String, "corpus": String, "corpus_sha256": String, "source_sha256": String, "source": String,
    "alphabet": String, "preset": String, "characters": int, "vocabulary_size": int, "train_characters": int,
    "val_characters": int, "test_characters": int, "baseline_characters": int,
    "uniform_val_perplexity": float, "uniform_test_perplexity": float,
    "unigram_val_perplexity": float, "unigram_test_perplexity": float,
    "ngram_val_perplexity": float, "ngram_test_perplexity": float, "ngram_order": int, "ngram_entries": int,
    "single_ngram_val_perplexity": float, "single_ngram_test_perplexity": float, "single_ngram_order": int,
    "ngrams": list[dict[str, Any]],
}, total=False)  # fmt: skip
Complexity = TypedDict("Complexity", {  # the size of a shape
    "run_id": String, "parameters": int, "macs_per_char": int, "matmul_macs_per_char": int,
    "report_parameters": int, "report_macs": int,
}, total=False)  # fmt: skip
Evaluation = TypedDict("Evaluation", {  # scores of a text: a network's, those of n-grams and of both, and adaptive ones
    "run_id": String, "corpus": String, "corpus_sha256": String, "source_sha256": String,
    "trained_run": String | None, "split": String | None, "text": String | None,
    "characters": int, "unknown_characters": int, "is_training_text": bool, "ngram_order": int,
    "single_ngram_order": int, "perplexity": float, "bits_per_char": float, "ngram_perplexity": float,
    "ngram_bits_per_char": float, "mixture_perplexity": float, "mixture_bits_per_char": float, "refits": int,
    "adaptive_perplexity": float, "adaptive_bits_per_char": float, "adaptive_ms_per_char": float,
}, total=False)  # fmt: skip
Sample = TypedDict("Sample", {"run_id": String, "trained_run": String | None, "texts": list[String]}, total=False)


class MainResult(TrainingResult, total=False):
    """The result of a main job: that of its training, and what its other steps add."""

    trained_run: String
    perplexity: float
    bits_per_char: float
    reused: list[String]
    fallback: bool


SeedsResult = TypedDict("SeedsResult", {  # the figures that all seeds of a configuration share; beside ``over_seeds``
    "run_id": String, "name": String, "corpus": String, "corpus_sha256": String, "seeds": int, "diverged": list[int],
    "trained_run": String, "ngram_val_perplexity": float, "ngram_test_perplexity": float, "macs_per_char": int,
    "parameters": int, "stored_numbers": int, "trainings": list[dict[str, Any]],
}, total=False)  # fmt: skip
AnswerResult = TypedDict("AnswerResult", {  # beside the fields of ``Findings``; for people: no command reads it back
    "run_id": String, "corpus": String, "corpus_sha256": String, "train_characters": int, "seeds": int,
    "minutes": float, "sentences": dict[str, String], "test_perplexity": dict[str, Any], "segments": dict[str, Any],
    "trainings": list[dict[str, Any]],
}, total=False)  # fmt: skip
ReproductionResult = TypedDict("ReproductionResult", {  # what a command has trained of a reproduction; beside open data
    "run_id": String, "report": String, "trainings": int, "whole": int, "failed": list[String], "minutes": float,
}, total=False)  # fmt: skip

Kind = Literal["study", "model version", "logged model", "run", "view", "text", "weights", "page"]  # of what is deleted
LeftFiles = TypedDict("LeftFiles", {"kind": Kind, "name": str, "id": str, "path": str})
DeletedThing = TypedDict("DeletedThing", {"kind": Kind, "name": str, "id": str, "path": str, "megabytes": float})
StayingStep = TypedDict("StayingStep", {"name": str, "id": str, "job": str, "reason": str})  # of the job that reused it
DeletionResult = TypedDict("DeletionResult", {  # completed: an earlier one, which was cut off
    "stayed": list[StayingStep], "deleted": list[DeletedThing], "left": list[LeftFiles], "notes": list[str],
    "megabytes": float, "dry_run": bool, "completed": bool,
}, total=False)  # fmt: skip

PIPELINE, PREPARE, TRAIN, EVALUATE, SAMPLE = "pipeline", "prepare", "train", "evaluate", "sample"
COMPLEXITY, SEEDS, SEARCH, ANSWER, REPRODUCE = "complexity", "seeds", "search", "answer", "reproduce"
REPORT, RESUME = "report", "resume"


class Stage(NamedTuple):
    """What a run of a stage has: the form of its result; ``command``, if its name stands for one of its trainings."""

    result: Any = dict
    command: str = ""
    has_picks: bool = False
    is_about_a_run: bool = False  # and goes with it


STAGES = {
    PIPELINE: Stage(MainResult),
    PREPARE: Stage(Preparation),
    TRAIN: Stage(TrainingResult),
    EVALUATE: Stage(Evaluation, is_about_a_run=True),
    SAMPLE: Stage(Sample, is_about_a_run=True),
    COMPLEXITY: Stage(Complexity),
    SEEDS: Stage(SeedsResult, "train --seeds"),
    SEARCH: Stage(SearchResult, SEARCH, has_picks=True),
    ANSWER: Stage(AnswerResult),
    REPRODUCE: Stage(ReproductionResult),
    RESUME: Stage(is_about_a_run=True),
}
