"""Explain three errors of the report, each in a self-contained paragraph.

All numbers are from the record, the table or the formulas of models.complexity, and the sentences depend on them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.complexity import REPORT_CHARS
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.counting import learnt, learnt_to_fit, own_recipe_learnt
from pipeline.report.statements.evaluators.sizes import as_printed, printed_shape, size_of
from pipeline.report.statements.evidence import BEST_VAL, LAST_TRAIN, LAST_VAL, Evidence, protocol_epochs
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Word
from pipeline.report.table import REPORT_SYMBOLS

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

EIGHT_LAYERS = "gru-torch-8x32"


@dataclass(frozen=True)
class Explanation:
    """A paragraph that explains an error of the report to students."""

    title: str
    text: str


def explanations(evidence: Evidence) -> tuple[Explanation, ...]:
    """The paragraphs; empty for other statements."""
    if not evidence.is_of_the_report:
        return ()
    return tuple(Explanation(title, " ".join(write(evidence))) for title, write in EXPLANATIONS.items())


def _figure_15(evidence: Evidence) -> list[str]:
    said, own, rnn = evidence.row(GRU), evidence.complexity(GRU), evidence.complexity(RNN)
    shape = printed_shape(GRU, evidence)
    shown, width = size_of(shape, evidence), shape.rpartition("x")[2]
    return [
        f"Figure 15 speaks of a GRU with {said.hidden_size} units, and its print-out says {as_printed(shape)}: read "
        "that before the number. The number can be worked out by hand too.",
        "A GRU computes two gates and a candidate for each of its h units, and each of the three takes a weight from "
        f"every one of the {REPORT_SYMBOLS} input symbols, a weight from every unit and two biases: "
        f"3 h ({REPORT_SYMBOLS} + h + 2) parameters in all, without the output layer.",
        f"3 x {width} x ({REPORT_SYMBOLS} + {width} + 2) = {shown.report_parameters:,}, which is what is printed; with "
        f"{said.hidden_size} units it is {own.report_parameters:,}.",
        f"The figure should have said {own.report_parameters / 1e3:.2f} k parameters and {own.report_macs / 1e6:.2f} "
        f"MMac for {REPORT_CHARS:,} characters.",
        f"It matters: beside the RNN with its {rnn.report_parameters:,} parameters the GRU of the figure looks "
        f"smaller, while at the same width it has {own.report_parameters / rnn.report_parameters:.2f} times as many.",
    ]


def _perplexity_1(evidence: Evidence) -> list[str]:
    said, parameters = evidence.row(LSTM).perplexity_end or 1, evidence.complexity(LSTM).parameters
    facts = evidence.reproduction.text
    epochs = protocol_epochs(evidence.row(LSTM))
    text = [
        f"Perplexity says among how many equally likely letters a model is still in doubt: {facts.vocab_size} is blind "
        f"guessing, {facts.unigram:.1f} is to know how often each letter occurs, and 1 is to be certain of every next "
        "letter. No model can be certain of text that it has not read.",
        f"Of text that it has read it can, by heart: the protocol trains on {WINDOW_TRAIN + WINDOW_LENGTH:,} "
        f"characters only, each of which is a target {WINDOW_LENGTH} times an epoch, {WINDOW_LENGTH * epochs:,} times "
        f"in all, and this LSTM has {parameters:,} parameters to keep them in.",
    ]
    if unknown := evidence.missing(LSTM):
        return [
            *text,
            f"So a curve that falls to about {said:g}, as the report has it, can only be the training curve. How far "
            f"the two curves are apart, our runs can't say yet. {unknown}",
            "To judge a model, look at validation, on text not trained on, at the epoch where that is best.",
        ]
    train, val, best = (evidence.mean(LSTM, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
    low, high = evidence.bounds.about(said)
    reached = "only" if low <= train.mean <= high else "not even"
    return [
        *text,
        f"In our runs training ends at {train}. Validation, on text that was not trained on, is {best} at best and "
        f"{val} at the end ({evidence.seeds(LSTM, LAST_VAL)}).",
        f"So about {said:g} is reached in {reached} the training curve.",
        "The gap between the two curves is what was learnt by heart; a model is judged by validation, at the epoch "
        "where that is best.",
    ]


def _eight_layers(evidence: Evidence) -> list[str]:
    own, said = learnt(evidence, EIGHT_LAYERS), evidence.row(EIGHT_LAYERS).perplexity_end or 0
    ours: Mapping[Word, str] = {
        FAILS: f"Our runs show the same: {own.because}",
        HOLDS: f"In our runs, though, the recipe trains it: {own.because}",
        OPEN: f"Our runs leave open whether it always ends so. {own.because}",
    }
    facts = evidence.reproduction.text
    text = [
        "Whoever guesses each letter by how often it occurs, and looks at nothing that came before, has a perplexity "
        f"of {facts.unigram:.2f} on the validation text. The report's networks of 8 layers, with "
        f"{evidence.complexity(EIGHT_LAYERS).report_parameters:,} parameters and more, end at {said:g}.",
        "Added layers could just pass on what the first ones found; the hard part is to train them.",
        ours[own.word],
    ]
    if facts.train_unigram is not None and learnt_to_fit(evidence, EIGHT_LAYERS).word == FAILS:
        text.append(
            f"Training ends no better, at {evidence.mean(EIGHT_LAYERS, LAST_TRAIN)}, where the training text's own "
            f"frequencies give {facts.train_unigram:.2f}: nothing was learnt by heart, the optimisation failed."
        )
    elsewhere = own_recipe_learnt(evidence, EIGHT_LAYERS)
    ending: Mapping[Word, str] = {
        HOLDS: " So it is the recipe that failed, not the depth.",
        FAILS: " So that recipe fails too; as AdamW rescales gradients, their size alone is not the cause.",
        OPEN: "",
    }
    return [*text, f"{elsewhere.because}{ending[elsewhere.word]}"]


EXPLANATIONS: dict[str, Callable[[Evidence], list[str]]] = {
    "How to see that Figure 15 is of another network": _figure_15,
    "What a perplexity of 1 would mean": _perplexity_1,
    "Why eight layers end at the letters' frequencies": _eight_layers,
}
