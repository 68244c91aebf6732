"""The report's errors: as reported, as found in the recorded runs, and what we conclude instead.

All numbers come from the record, the table, the statements or the formulas of models.complexity. Sizes, times and
captions follow from the report itself; what depends on trainings is left open without them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.complexity import REPORT_CHARS
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.learning import (
    BASELINE_ORDER,
    better_than_counting,
    course,
    learnt,
    learnt_to_fit,
    stream_learnt,
    streams,
)
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, LAST_VAL, Evidence
from pipeline.report.statements.sizes import as_printed, printed_shape, size_of, sized
from pipeline.report.statements.times import seconds
from pipeline.report.statements.verdicts import FAILS, HOLDS, Verdict
from pipeline.report.wording import counted, listed

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

DEEP_GRU, DEEP_LSTM = "gru-torch-2x32", "lstm-torch-2x32"

EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")

LATER = 0.05  # relative loss from the best to the last epoch from which it matters which one is quoted

Parts = tuple[str, str, str]  # reported, found, instead


@dataclass(frozen=True)
class Correction:
    """An error of the report: as reported, as found (with recorded figures), and our conclusion instead."""

    number: int
    title: str
    reported: str
    found: str
    instead: str


def corrections(evidence: Evidence) -> tuple[Correction, ...]:
    """The report's groups of errors, corrected; empty for another table or other statements."""
    if not evidence.is_of_the_report:
        return ()
    return tuple(
        Correction(number, title, *write(evidence)) for number, (title, write) in enumerate(CORRECTIONS.items(), 1)
    )


def _wrong(evidence: Evidence, kind: str) -> list[Verdict]:
    """The verdicts on statements of a kind that are not reproduced."""
    verdicts = (evidence.verdict(id) for id, statement in evidence.statements.items() if statement.kind == kind)
    return [verdict for verdict in verdicts if verdict.word == FAILS]


def _because(verdicts: Sequence[Verdict]) -> str:
    return " ".join(dict.fromkeys(verdict.because for verdict in verdicts))


def _open(because: str) -> str:
    return f"Our runs leave it open. {because}"


# --- what the report itself decides ----------------------------------------------------------------------------------


def _figure_15(evidence: Evidence) -> Parts:
    said, own, shape = evidence.row(GRU), evidence.complexity(GRU), printed_shape(GRU, evidence)
    shown = size_of(shape, evidence)
    return (
        f"Figure 15 gives {said.params} parameters and {said.mmac:g} MMac for rnn.GRU with {said.hidden_size} units.",
        f"The print-out itself says {as_printed(shape)}: {shown.report_parameters:,} parameters and "
        f"{shown.report_macs:,} MACs. With {said.hidden_size} units it has {own.report_parameters:,} parameters and "
        f"{own.report_macs:,} MACs.",
        f"Read the figure as that of {as_printed(shape)}; what it should have shown is "
        f"{own.report_parameters / shown.report_parameters:.1f} times as large.",
    )


def _order_of_cells(evidence: Evidence) -> Parts:
    gru = evidence.complexity(GRU)
    others = ((evidence.complexity(RNN), "RNN"), (evidence.complexity(LSTM), "LSTM"))
    ratios = [
        f"{gru.report_parameters / other.report_parameters:.2f} times the {name}'s parameters and "
        f"{gru.report_macs / other.report_macs:.2f} times its MACs"
        for other, name in others
    ]
    return (
        "By computational complexity and parameters the GRU is best of the three cells, being considerably lower.",
        f"At equal width the GRU has {ratios[0]}, and {ratios[1]}.",
        "The RNN is the cheapest cell, then the GRU, then the LSTM.",
    )


def _wrong_captions(evidence: Evidence) -> Parts:
    wrong = _wrong(evidence, "caption")
    return (
        " ".join(verdict.statement.statement for verdict in wrong),
        _because(wrong),
        "Such a figure is to be read by its print-out, which names the layers, and not by its caption.",
    )


def _prose(evidence: Evidence) -> Parts:
    sizes, times = _wrong(evidence, "size"), _wrong(evidence, "seconds")
    stated = [verdict for verdict in sizes if verdict.statement.relation != "units"]
    return (
        " ".join(verdict.statement.statement for verdict in [*stated, *times]),
        f"{counted(len(stated), 'size')} and {counted(len(times), 'time')} differ from what the report itself shows. "
        f"{_because([*stated, *times])}",
        "A number is copied from its print-out, with its digits, or better written by the program that measured it.",
    )


def _one_time_thrice(evidence: Evidence) -> Parts:
    twin, id = EIGHT
    said = evidence.row(id).train_seconds_prose
    group = [row for row in evidence.reproduction.table.rows if row.train_seconds_prose == said]
    shown = [f"{row.train_seconds_transcript:g} s of {row.id}" for row in group if row.train_seconds_transcript]
    unknown = evidence.missing(id)
    return (
        f"{said:g} s stands for {listed([row.id for row in group])}.",
        f"The transcripts among these are {listed(shown)}. All that is said of the curve and time of {id} is what is "
        f"said of {twin}. {_open(unknown) if unknown else f'In our runs {course(evidence, id)}'}",
        f"Nothing shows that {id} was trained, so its curve and time are no evidence.",
    )


def _slightly_better(evidence: Evidence) -> Parts:
    called = [
        evidence.verdict(id)
        for id, statement in evidence.statements.items()
        if statement.relation == "slightly-shorter" and "torch" in id
    ]
    longer = [verdict.statement.configurations for verdict in called if verdict.word == FAILS]
    told = [
        f"{seconds(evidence.row(one)):g} s of {one} against {seconds(evidence.row(other)):g} s of {other}"
        for one, other in longer
    ]
    firsts = dict.fromkeys(verdict.statement.configurations[0] for verdict in called)
    return (
        f"The times of {listed(list(firsts))} are called slightly better than those of the deep GRUs before them.",
        f"By its own numbers {len(longer)} of {len(called)} such comparisons go the wrong way round: "
        f"{'; '.join(told)}.",
        "More seconds are worse, not better; and from one run each a difference of a few per cent shows neither.",
    )


def _unit_of_work(evidence: Evidence) -> Parts:
    own = evidence.complexity(RNN)
    shares = [
        f"{100 * (1 - one.report_macs / REPORT_CHARS / one.macs_per_char):.0f} % of {name}"
        for name, one in (("RNN 1x128", own), ("RNN 1x8", sized(8, "rnn")))
    ]
    return (
        "MACs are given without saying for how much work, and of the recurrent layers alone.",
        f"The figures are for {REPORT_CHARS:,} characters and leave out the output layer, by MACs {listed(shares)}.",
        f"Say MACs per character, all layers counted: {own.macs_per_char:,} for RNN 1x128, where the report's "
        f"{own.report_macs / 1e6:.2f} MMac come to {own.report_macs // REPORT_CHARS:,}.",
    )


# --- perplexities ----------------------------------------------------------------------------------------------------


def _eight_layers(evidence: Evidence) -> Parts:
    findings = [learnt(evidence, id) for id in EIGHT]
    fitted = [learnt_to_fit(evidence, id) for id in EIGHT]
    elsewhere = [stream_learnt(evidence, id) for id in EIGHT if streams(evidence, id)]
    if any(finding.word == HOLDS for finding in findings):
        instead = "The same recipe trains such a network here, so the level says nothing of depth."
    else:
        instead = (
            f"At the letters' frequencies ({evidence.reproduction.text.unigram:.2f}) a network has not trained, and "
            "can't write sentences."
        )
        if all(finding.word == FAILS for finding in fitted):
            instead += " It did not even fit its training text, so that is no overfitting."
        if any(finding.word == HOLDS for finding in elsewhere):
            instead += " It is the optimisation that fails with this recipe, not a property of depth."
    ends = [f"{evidence.row(id).perplexity_end:g}" for id in EIGHT]
    return (
        f"{listed(EIGHT)} fall only to {listed(ends)}, and yet the output looks like sentences.",
        " ".join(dict.fromkeys(finding.because for finding in [*findings, *fitted, *elsewhere])),
        instead,
    )


def _about_one(evidence: Evidence) -> Parts:
    ids = (RNN, LSTM, GRU)
    falls = listed([f"{id} to {evidence.row(id).perplexity_end:g}" for id in ids])
    reported = f"The training and validation perplexity falls, {falls}, and the LSTM's gap is the smallest."
    if unknown := evidence.missing(*ids):
        return reported, _open(unknown), "Such a level can only be training perplexity."
    gap = evidence.verdict("torch-1x128-best-gap")
    return (
        reported,
        f"{' '.join(course(evidence, id) for id in ids)} {gap.because}",
        "Levels so low are reached, if at all, in training only, which must be said."
        + (" The LSTM's gap is not the smallest of the three." if gap.word == FAILS else ""),
    )


def _two_by_32(evidence: Evidence) -> Parts:
    ids = (DEEP_LSTM, DEEP_GRU)
    reported = " ".join(
        f"{id} falls to about {evidence.row(id).perplexity_end:g}, gap {evidence.row(id).gap}." for id in ids
    )
    if unknown := evidence.missing(*ids):
        return reported, _open(unknown), "These levels are taken for unconfirmed until then."
    levels = {id: evidence.verdict(f"{id}-end") for id in ids}
    words = [f"{verdict.word} for {id}{verdict.part and f' ({verdict.part})'}" for id, verdict in levels.items()]
    return reported, " ".join(course(evidence, id) for id in ids), f"The levels are {listed(words)}."


def _by_eye(evidence: Evidence) -> Parts:
    rows, prompts = evidence.reproduction.table.rows, evidence.reproduction.text.prompts
    texts = [row.samples for row in rows if row.samples]
    places = [f"'{each.prompt}' ({each.split}, character {each.position:,})" for each in prompts]
    small, large = evidence.row("gru-scratch-1x8"), evidence.row("gru-scratch-1x32")
    done = [row.id for row in rows if evidence.trainings(row.id)]
    loss = {id: evidence.mean(id, LAST_VAL).mean / evidence.mean(id, BEST_VAL).mean - 1 for id in done}
    later = [id for id in done if loss[id] > LATER]
    said = [
        f"{len(set(texts))} different sets of texts are shown for {len(texts)} networks.",
        f"The prompts stand in the book's text itself: {listed(places)}.",
        f"As a measure of size, time misleads: {small.id} took {seconds(small):g} s, {large.id} {seconds(large):g} s.",
    ]
    if not done:
        said.append(_open(evidence.missing(*(row.id for row in rows))))
    elif later:
        worst = max(later, key=loss.__getitem__)
        said.append(
            f"In our runs the validation perplexity of the last epoch is more than {100 * LATER:.0f} % above that of "
            f"the best for {len(later)} of {len(done)} configurations, by {100 * loss[worst]:.0f} % for {worst}."
        )
    return (
        "The best model is chosen by eye on three prompts, from one run of each without a seed, without a test text, "
        "at the last epoch; time stands for complexity.",
        " ".join(said),
        "Choose by the mean validation perplexity over several seeds, at the best epoch; give the perplexity of a test "
        "text that chose nothing once, and count MACs for cost.",
    )


def _n_grams(evidence: Evidence) -> Parts:
    reported = "The networks are compared with each other only."
    text = evidence.reproduction.text
    orders = [order for order in text.windowed if order >= BASELINE_ORDER]
    windows = listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders])
    bar = (
        f"Modified Kneser-Ney n-grams reach {windows} on the same validation characters where each window of "
        f"{WINDOW_LENGTH} starts without context, as the networks' do."
    )
    trained = [each.id for each in evidence.reproduction.configurations if evidence.values(each.id, BEST_POOLED)]
    if not trained:
        unknown = evidence.missing(*(each.id for each in evidence.reproduction.configurations))
        return reported, f"{bar} {_open(unknown)}", "A network is worth its cost where it beats counting letters."
    best = min(trained, key=lambda id: evidence.mean(id, BEST_POOLED).mean)
    ahead = better_than_counting(evidence, trained)
    fair = f"{BASELINE_ORDER}-gram ({text.windowed[BASELINE_ORDER]:.2f})"
    return (
        reported,
        f"{bar} The best of our {counted(len(trained), 'trained configuration')} is {best} with "
        f"{evidence.mean(best, BEST_POOLED)} (pooled, best epoch, {evidence.seeds(best, BEST_POOLED)}).",
        f"{len(ahead) or 'None'} of the {len(trained)} {'beats' if len(ahead) < 2 else 'beat'} a {fair}: a comparison "
        f"of networks on {WINDOW_TRAIN + WINDOW_LENGTH:,} characters must show such a bar.",
    )


CORRECTIONS: dict[str, Callable[[Evidence], Parts]] = {
    "Figure 15 measures another network": _figure_15,
    "The GRU as the cheapest cell": _order_of_cells,
    "Captions": _wrong_captions,
    "Prose against its own figures": _prose,
    "One time for three networks": _one_time_thrice,
    "Longer times called better": _slightly_better,
    "Eight layers": _eight_layers,
    "Perplexities of 1 and 2": _about_one,
    "The deep networks of 32 units": _two_by_32,
    "How the best model was chosen": _by_eye,
    "MACs without their unit of work": _unit_of_work,
    "No bar to clear": _n_grams,
}
