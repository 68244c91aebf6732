"""Correct the report's errors: what it reports, what the recorded runs show, and what we conclude instead.

All numbers are from the record, the table, the statements or the formulas of models.complexity. Corrections of sizes,
times and captions follow from the report itself; those that need trainings are open without them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.complexity import REPORT_CHARS
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.counting import (
    BASELINE_ORDER,
    Reading,
    better_than_counting,
    course,
    learnt,
    learnt_to_fit,
    own_recipe_learnt,
    same_text,
    same_text_against_counting,
)
from pipeline.report.statements.evaluators.sizes import as_printed, printed_shape, size_of, sized
from pipeline.report.statements.evaluators.texts import equal_prompts
from pipeline.report.statements.evaluators.times import seconds
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, FIRST_HALF, LAST_GAP, LAST_VAL, Evidence
from pipeline.report.statements.verdicts import FAILS, HOLDS, Verdict
from pipeline.support.statistics import estimate
from pipeline.support.wording import counted, listed

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

DEEP_GRU, DEEP_LSTM = "gru-torch-2x32", "lstm-torch-2x32"

EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")

LATER = 0.05  # the last epoch's perplexity matters if it is above the best by more than this share

Parts = tuple[str, str, str]  # texts of a Correction: reported, found, instead


@dataclass(frozen=True)
class Correction:
    """An error of the report: what is reported, what our runs show, and what we conclude instead."""

    number: int
    title: str
    reported: str
    found: str
    instead: str


def corrections(evidence: Evidence) -> tuple[Correction, ...]:
    """The corrections, numbered; empty for other statements."""
    if not evidence.is_of_the_report:
        return ()
    return tuple(
        Correction(number, title, *write(evidence)) for number, (title, write) in enumerate(CORRECTIONS.items(), 1)
    )


def _wrong(evidence: Evidence, kind: str) -> list[Verdict]:
    """The verdicts of a kind by which a statement is not reproduced."""
    verdicts = (evidence.verdict(id) for id, statement in evidence.statements.items() if statement.kind == kind)
    return [verdict for verdict in verdicts if verdict.word == FAILS]


def _because(verdicts: Sequence[Verdict]) -> str:
    """The reasons of the verdicts, each once."""
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
        "Captions and references name other networks than the figures show.",
        _because(wrong),
        "Such a figure is to be read by its print-out, which names the layers, and not by its caption.",
    )


def _prose(evidence: Evidence) -> Parts:
    sizes, times = _wrong(evidence, "size"), _wrong(evidence, "seconds")
    stated = [verdict for verdict in sizes if verdict.statement.relation != "units"]
    return (
        "The prose repeats the numbers of print-outs and transcripts.",
        f"{counted(len(stated), 'size')} and {counted(len(times), 'time')} differ from these. "
        f"{_because([*stated, *times])}",
        "A number is copied from its print-out, with its digits, or better written by the program that measured it.",
    )


def _one_time_thrice(evidence: Evidence) -> Parts:
    twin, id = EIGHT
    said = evidence.row(id).train_seconds_prose
    group = [row for row in evidence.rows if row.train_seconds_prose == said]
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
    compared = [
        f"{seconds(evidence.row(one)):g} s of {one} against {seconds(evidence.row(other)):g} s of {other}"
        for one, other in longer
    ]
    firsts = dict.fromkeys(verdict.statement.configurations[0] for verdict in called)
    return (
        f"The times of {listed(list(firsts))} are called slightly better than those of the deep GRUs before them.",
        f"By its own numbers {len(longer)} of {len(called)} such comparisons go the wrong way round: "
        f"{'; '.join(compared)}.",
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
    findings, fitted = ([judge(evidence, id) for id in EIGHT] for judge in (learnt, learnt_to_fit))
    elsewhere = own_recipe_learnt(evidence, EIGHT[0])
    if any(finding.word == HOLDS for finding in findings):
        instead = "The same recipe trains such a network here, so the level says nothing of depth."
    else:
        instead = "A network at the letters' frequencies has not trained, and can't write sentences."
        if all(finding.word == FAILS for finding in fitted):
            instead += " It did not even fit its training text, so that is no overfitting."
        if elsewhere.word == HOLDS:
            instead += " It is the optimisation that fails with this recipe, not a property of depth."
    ends = dict.fromkeys(f"{evidence.row(id).perplexity_end:g}" for id in EIGHT)
    return (
        f"{listed(EIGHT)} fall only to {listed(list(ends))}, and yet the output looks like sentences.",
        " ".join(dict.fromkeys(finding.because for finding in [*findings, fitted[0], elsewhere])),
        instead,
    )


def _about_one(evidence: Evidence) -> Parts:
    ids = (RNN, LSTM, GRU)
    falls = listed([f"{id} to {evidence.row(id).perplexity_end:g}" for id in ids])
    reported = f"The training and validation perplexity falls, {falls}, and the LSTM's gap is the smallest."
    if unknown := evidence.missing(*ids):
        return reported, _open(unknown), "Such a level can only be training perplexity."
    gaps = {id: evidence.mean(id, LAST_GAP).mean for id in ids}
    lowest = min(evidence.mean(id, BEST_VAL).mean for id in ids)
    smallest = evidence.verdict("torch-1x128-best-gap").word != FAILS
    return (
        reported,
        f"{' '.join(course(evidence, id) for id in ids)} The gaps at the end are "
        f"{listed([f'{gap:.1f} ({id})' for id, gap in gaps.items()])}.",
        f"No validation perplexity comes below {lowest:.1f}: such levels are of training, if at all, which must be "
        f"said.{'' if smallest else ' The gap of the LSTM is not the smallest.'}",
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
    rows = evidence.rows
    places = [f"'{each.prompt}' ({each.split}, {each.position:,})" for each in evidence.reproduction.text.prompts]
    small, large = evidence.row("gru-scratch-1x8"), evidence.row("gru-scratch-1x32")
    done = [row.id for row in rows if evidence.trainings(row.id)]
    loss = {id: evidence.mean(id, LAST_VAL).mean / evidence.mean(id, BEST_VAL).mean - 1 for id in done}
    said = [
        f"The prompts stand in the book itself, by character: {listed(places)}.",
        f"As a measure of size, time misleads: {small.id} took {seconds(small):g} s, {large.id} {seconds(large):g} s.",
    ]
    if not done:
        said.append(_open(evidence.missing(*(row.id for row in rows))))
    elif later := [id for id in done if loss[id] > LATER]:
        worst = max(later, key=loss.__getitem__)
        said.append(
            f"The last epoch's validation perplexity is over {100 * LATER:.0f} % above the best for {len(later)} of "
            f"our {len(done)} configurations, by {100 * loss[worst]:.0f} % for {worst}."
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
    text, configurations = evidence.reproduction.text, evidence.reproduction.configurations
    orders = [order for order in text.windowed if order >= BASELINE_ORDER]
    bars = listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders])
    found = [
        f"Modified Kneser-Ney n-grams of the same {WINDOW_TRAIN + WINDOW_LENGTH:,} characters have {bars} in windows "
        f"of {WINDOW_LENGTH}, which begin without context as the networks' do."
    ]
    trained = [each.id for each in configurations if evidence.values(each.id, BEST_POOLED)]
    if not trained:
        found.append(_open(evidence.missing(*(each.id for each in configurations))))
        return reported, " ".join(found), "A network is worth its cost where it beats counting letters."
    best = min(trained, key=lambda id: evidence.mean(id, BEST_POOLED).mean)
    lowest, ahead = evidence.mean(best, BEST_POOLED), better_than_counting(evidence, trained)
    found.append(
        f"The best of {counted(len(trained), 'trained configuration')}, {best}, has {lowest} (pooled, best epoch, "
        f"{evidence.seeds(best, BEST_POOLED)})."
    )
    instead = (
        f"{len(ahead) or 'None'} of the {len(trained)} {'beats' if len(ahead) < 2 else 'beat'} a {BASELINE_ORDER}-gram "
        f"({text.windowed[BASELINE_ORDER]:.2f}), the bar that such a comparison must show."
    )
    if windowed := [run.windowed for run in same_text(evidence, LSTM) if run.windowed is not None]:
        found.append(
            f"Trained by our recipe on the same characters (preset report-text, {counted(len(windowed), 'seed')}) the "
            f"shape of {LSTM} has {_against(evidence, 'windowed', BASELINE_ORDER, text.best_windowed_order)} in "
            f"windows and {_against(evidence, 'val', text.best_order)} reading on."
        )
        if estimate(windowed).mean < lowest.mean:
            instead += " It is the recipe that loses, not the network."
    return reported, " ".join(found), instead


def _against(evidence: Evidence, reading: Reading, *orders: int) -> str:
    """The LSTM's perplexity by our recipe on the report's characters, with its comparisons if costs are recorded."""
    compared = [same_text_against_counting(evidence.reproduction, LSTM, reading, order) for order in orders]
    runs = same_text(evidence, LSTM)
    perplexity = estimate([run.best_val if reading == "val" else run.windowed or 0.0 for run in runs]).mean
    beside = "; ".join(str(each) for each in compared if each is not None)
    return f"{perplexity:.2f} ({beside})" if beside else f"{perplexity:.2f}"


def _letter_for_letter(evidence: Evidence) -> Parts:
    rows = evidence.rows
    reported = "No protocol is stated: neither the text's split nor rates, epochs, windows or seeds."
    instead = "State the protocol, so that others can repeat the experiment."
    shown = {row.id: row.samples for row in rows if row.samples and evidence.trainings(row.id)}
    if not shown:
        return reported, _open(evidence.missing(*(row.id for row in rows))), instead
    equal = {
        id: max(len(equal_prompts(run.texts, samples)) for run in evidence.trainings(id))
        for id, samples in shown.items()
    }
    best_first = sorted((id for id in equal if equal[id]), key=lambda id: -equal[id])
    counts = [f"{equal[id]} of {len(shown[id])} of {id}" for id in best_first]
    found = f"By the book's protocol, texts are equal to the report's letter for letter: {listed(counts) or 'none'}."
    started = [row for row in rows if evidence.values(row.id, FIRST_HALF)]
    if starts := [evidence.mean(row.id, FIRST_HALF).mean for row in started]:
        said = sorted(row.perplexity_start or 0 for row in started)
        found += (
            f" The first point that the book draws, of half an epoch, is {min(starts):.1f} to {max(starts):.1f} here, "
            f"where curves are said to start at {said[0]:g} to {said[-1]:g}."
        )
    if any(equal[id] == len(shown[id]) for id in equal):
        instead = f"So it is the book's own, as far as texts and curves can show. {instead}"
    return reported, found, instead


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
    "The protocol": _letter_for_letter,
}
