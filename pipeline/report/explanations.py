"""Three errors of the report, each explained in a self-contained paragraph.

All numbers come from the record, the table or the formulas of models.complexity, and the sentences depend on them. The
rules are those of ``evidence``.
"""

from collections.abc import Callable, Mapping

from models.complexity import REPORT_CHARS
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.claims.evidence import (
    BEST_VAL,
    HALF_DIGIT,
    LAST_TRAIN,
    LAST_VAL,
    complexity_of,
    learnt,
    learnt_to_fit,
    missing,
    protocol_epochs,
    row,
    seed_mean,
    seeds,
    sides_of,
    stream_learnt,
    streams,
)
from pipeline.report.claims.findings import FAILS, HOLDS, OPEN
from pipeline.report.claims.sizes import sized, width_of
from pipeline.report.claims.verdicts import Explanation
from pipeline.report.reproduction import Reproduction
from pipeline.report.table import REPORT_SYMBOLS, report_table
from pipeline.support.statistics import estimate

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

EIGHT_LAYERS = "gru-torch-8x32"

CHECK = (
    "Such a check takes a minute, and it is worth it for each size that a program prints: one that does not follow "
    "from the shape belongs to another network."
)


def explanations(reproduction: Reproduction) -> tuple[Explanation, ...]:
    """A paragraph for each of three errors; empty for another table."""
    if reproduction.table.digest != report_table().digest:
        return ()
    return tuple(Explanation(title, " ".join(write(reproduction))) for title, write in EXPLANATIONS.items())


def _figure_15(reproduction: Reproduction) -> list[str]:
    said, own, rnn = row(reproduction, GRU), complexity_of(reproduction, GRU), complexity_of(reproduction, RNN)
    width, hidden = width_of(said), said.hidden_size
    text = [
        "The size of a network can be worked out by hand. A GRU computes two gates and a candidate for each of its h "
        f"units, and each of the three takes a weight from every one of the {REPORT_SYMBOLS} input symbols, a weight "
        f"from every unit and two biases: 3 h ({REPORT_SYMBOLS} + h + 2) parameters in all, without the output layer.",
        f"With {hidden} units that is {own.report_parameters:,}.",
        f"Figure 15, which speaks of {hidden} units, prints {said.params or 'nothing'}.",
    ]
    if width == hidden:
        return [*text, "So the figure shows the network that it speaks of, and nothing is to be corrected.", CHECK]
    if width is None:
        return [*text, "No number of units gives that, so it can't be a GRU with one layer at all.", CHECK]
    shown = sized(width)
    looks = "looks smaller" if shown.report_parameters < rnn.report_parameters else "is larger"
    return [
        *text,
        f"Try other widths: 3 x {width} x ({REPORT_SYMBOLS} + {width} + 2) = {shown.report_parameters:,}. That fits to "
        f"the last digit, so the network that was measured has {width} units.",
        f"The figure should have said {own.report_parameters / 1e3:.2f} k parameters and {own.report_macs / 1e6:.2f} "
        f"MMac for {REPORT_CHARS:,} characters.",
        f"It matters: beside the RNN with its {rnn.report_parameters:,} parameters the GRU of the figure {looks}, "
        f"while at the same width it has {own.report_parameters / rnn.report_parameters:.2f} times as many.",
    ]


def _perplexity_1(reproduction: Reproduction) -> list[str]:
    said, parameters = row(reproduction, LSTM).perplexity_end or 1, complexity_of(reproduction, LSTM).parameters
    text = [
        f"Perplexity says among how many equally likely letters a model is still in doubt: "
        f"{reproduction.text.vocab_size} is blind guessing, {reproduction.text.unigram:.1f} is to know "
        "how often each letter occurs, and 1 is to be certain of every next letter. "
        "No model can be certain of text that it has not read.",
        f"Of text that it has read it can, by heart: the protocol trains on {WINDOW_TRAIN + WINDOW_LENGTH:,} "
        f"characters only, {protocol_epochs(row(reproduction, LSTM))} times over, and this LSTM has {parameters:,} "
        "parameters to keep them in.",
    ]
    if unknown := missing(reproduction, LSTM):
        return [
            *text,
            f"So a curve that falls to about {said:g}, as the report has it, can only be the training curve. How far "
            f"the two curves are apart, our runs can't say yet. {unknown.because}",
            "To judge a model, look at validation, on text not trained on, at the epoch where that is best.",
        ]
    train, val, best = (seed_mean(reproduction, LSTM, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
    if best.mean <= said + HALF_DIGIT:
        return [
            *text,
            f"Yet our runs end at {train} in training and get to {best} in validation ({seeds(reproduction, LSTM)}), "
            f"so the report's {said:g} may be of either curve. Before such a number is believed, look for validation "
            "text that stands in the training text too.",
        ]
    return [
        *text,
        f"In our runs training ends at {train}. Validation, on text that was not trained on, is {best} at best and "
        f"{val} at the end ({seeds(reproduction, LSTM)}).",
        {
            "inside": f"So the report's {said:g} can only be read off the training curve.",
            "outside": f"Only the training curve could come as low as {said:g}, and ours does not, so not even that is "
            "reproduced.",
            "between": f"Only the training curve could come as low as {said:g}, and whether ours does is too near to "
            "tell.",
        }[sides_of(reproduction, LSTM, said)[LAST_TRAIN]],
        "The gap between the two curves is what was learnt by heart; a model is judged by validation, at the epoch "
        "where that is best.",
    ]


def _eight_layers(reproduction: Reproduction) -> list[str]:
    own, said = learnt(reproduction, EIGHT_LAYERS), row(reproduction, EIGHT_LAYERS).perplexity_end or 0
    ours: Mapping[str, str] = {
        FAILS: f"Our runs show the same: {own.because}",
        HOLDS: f"In our runs, though, the recipe trains it: {own.because}",
        OPEN: f"Our runs leave open whether it always ends so. {own.because}",
    }
    text = [
        "Whoever guesses each letter by how often it occurs, and looks at nothing that came before, has a perplexity "
        f"of {reproduction.text.unigram:.2f} on the validation text. The report's networks of 8 layers, with "
        f"{complexity_of(reproduction, EIGHT_LAYERS).report_parameters:,} parameters and more, end at {said:g}.",
        "The report concludes that deeper is worse. But added layers could just pass on what the first ones found; the "
        "hard part is to train them.",
        ours[own.outcome],
    ]
    own_baseline = reproduction.text.train_unigram
    if own_baseline is not None and learnt_to_fit(reproduction, EIGHT_LAYERS).outcome == FAILS:
        text.append(
            f"Training ends no better, at {seed_mean(reproduction, EIGHT_LAYERS, LAST_TRAIN)}, where the training "
            f"text's own frequencies give {own_baseline:.2f}: nothing was learnt by heart, the optimisation failed."
        )
    if not streams(reproduction, EIGHT_LAYERS):
        return [*text, "Whether another recipe trains this shape, a run under the stream preset would show."]
    baseline, outcome = reproduction.text.stream_val_unigram, stream_learnt(reproduction, EIGHT_LAYERS).outcome
    best = estimate([run.best_val for run in streams(reproduction, EIGHT_LAYERS)])
    there = "" if baseline is None else f" (letters' frequencies there: {baseline:.2f})"
    ending: Mapping[str, str] = {
        HOLDS: "so it is the recipe that failed, not the depth.",
        FAILS: "so that recipe fails too, which does not say that none could train it. One explanation is that each "
        "layer passes on only a fraction of the gradient; that AdamW, which rescales each gradient, fails too speaks "
        "for more than that.",
        OPEN: "too near those frequencies to tell."
        if baseline is not None
        else "but what those give there is not recorded.",
    }
    how = " and residual connections" if any(run.residual for run in streams(reproduction, EIGHT_LAYERS)) else ""
    told = f"With AdamW{how} on 90 % of the text (the stream preset) the shape gets to {best}{there},"
    return [*text, f"{told} {ending[outcome]}"]


EXPLANATIONS: dict[str, Callable[[Reproduction], list[str]]] = {
    "How to see that Figure 15 is of another network": _figure_15,
    "What a perplexity of 1 would mean": _perplexity_1,
    "Why eight layers end at the letters' frequencies": _eight_layers,
}
