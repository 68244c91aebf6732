"""The result of a training: what is recorded of it, and the check on reading, follow from the types declared here."""

from typing import Annotated, NamedTuple, NotRequired, get_type_hints

from typing_extensions import TypedDict

from pipeline.config import StoppedBy
from pipeline.support.records import Count, Number, Positive, Signed, String

PERPLEXITIES = ("val_perplexity", "test_perplexity", "mixture_val_perplexity", "mixture_test_perplexity")


class Figure(NamedTuple):
    """A figure of a result: a column of runs.csv; with a section, a metric; with a label, a row of `tmlm compare`.

    ``form`` is how tables show it, as a format specification; its unit is in its name.
    """

    section: str = ""
    label: str = ""
    form: str = ",.3f"

    def shown(self, value: float | None) -> str:
        """A value as in tables; "" for one that is missing."""
        return "" if value is None else format(value, self.form)


class TrainingResult(TypedDict):
    """The flat result of a training, which ``--json`` prints; runs.csv has its figures in this order.

    ``test_difference`` is how far the test perplexity is above that of the n-grams, in percent, with the ends of its
    95 % interval. ``shipped_bytes`` are those with weights of ``weight_bits``; earlier versions had other bits, and did
    not record them.
    """

    val_perplexity: Annotated[Positive, Figure("result", "validation perplexity, best")]
    val_perplexity_pooled: Annotated[Positive, Figure()]
    test_perplexity: Annotated[Positive, Figure("result", "test perplexity")]
    test_bits_per_char: Annotated[Number, Figure("result")]
    ngram_order: Annotated[Count, Figure(form=",.0f")]
    ngram_entries: Count
    ngram_val_perplexity: Annotated[Positive, Figure("result")]
    ngram_test_perplexity: Annotated[Positive, Figure("result")]
    single_ngram_order: Annotated[Count, Figure(form=",.0f")]
    single_ngram_val_perplexity: Annotated[Positive, Figure("result")]
    single_ngram_test_perplexity: Annotated[Positive, Figure("result")]
    test_difference: Annotated[NotRequired[Signed], Figure("result")]
    test_difference_low: Annotated[NotRequired[Signed | None], Figure("result")]
    test_difference_high: Annotated[NotRequired[Signed | None], Figure("result")]
    mixture_val_perplexity: Annotated[Positive, Figure("result")]
    mixture_test_perplexity: Annotated[Positive, Figure("result", "test perplexity with n-gram")]
    mixture_kind: Annotated[String, Figure()]
    mixture_weight: Annotated[Number, Figure()]
    best_epoch: Annotated[Count, Figure("result", "best epoch", ",.0f")]
    epochs: Annotated[Count, Figure(form=",.0f")]
    stopped: Annotated[String, Figure()]
    stopped_by: NotRequired[StoppedBy]
    train_seconds: Annotated[Number, Figure("speed", "seconds of training", ",.1f")]
    chars_per_second: Annotated[Number, Figure("speed", "characters per second", ",.0f")]
    parameters: Annotated[Count, Figure("size", "parameters", ",.0f")]
    stored_numbers: Annotated[Count, Figure("size", "stored numbers", ",.0f")]
    weight_bits: Annotated[NotRequired[Count], Figure("size", form=",.0f")]
    shipped_bytes: Annotated[NotRequired[Count], Figure("size", "bytes to ship", ",.0f")]
    macs_per_char: Annotated[Count, Figure("size", "MACs per character", ",.0f")]
    trained_parameters: Annotated[NotRequired[Count | None], Figure("size", form=",.0f")]
    precision: Annotated[NotRequired[String | None], Figure()]
    device: Annotated[String, Figure()]
    checkpoint: String | None
    val_perplexities: list[Positive]
    texts: list[String]
    last_texts: NotRequired[dict[str, String] | None]
    val_perplexity_windowed: NotRequired[Positive | None]
    on_top_of_order: NotRequired[Count]


FIGURES = {
    name: figure
    for name, hint in get_type_hints(TrainingResult, include_extras=True).items()
    for figure in getattr(hint, "__metadata__", ())
    if isinstance(figure, Figure)
}
METRICS = {  # metric -> name in the result; by section, as in MLflow's UI
    f"{figure.section}/{name}": name
    for name, figure in sorted(FIGURES.items(), key=lambda each: each[1].section)
    if figure.section
}
