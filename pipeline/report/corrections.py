"""The report's errors: as reported, as found in the recorded runs, and what we conclude instead.

All numbers come from the record, the table or the formulas of models.complexity, and the sentences depend on them; what
the runs do not decide is left open. The rules are those of ``evidence``.
"""

from collections.abc import Callable

from models.complexity import REPORT_CHARS
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.claims.evidence import (
    BASELINE_ORDER,
    BEST_POOLED,
    BEST_VAL,
    HALF_DIGIT,
    LAST_GAP,
    LAST_VAL,
    SECONDS_TOLERANCE,
    better_than_counting,
    complexity_of,
    course,
    learnt,
    learnt_to_fit,
    level,
    lower,
    missing,
    row,
    seed_mean,
    seeds,
    stream_learnt,
    streams,
    trainings,
)
from pipeline.report.claims.findings import FAILS, HOLDS, OPEN, all_of
from pipeline.report.claims.sizes import faster, seconds, size, sized, width_of
from pipeline.report.claims.verdicts import STATED_SIZES, Correction, captions, same_numbers
from pipeline.report.reproduction import Reproduction
from pipeline.report.table import claims, report_table
from pipeline.report.wording import counted, listed

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

DEEP_GRU, DEEP_LSTM = "gru-torch-2x32", "lstm-torch-2x32"

EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")

SLIGHTLY_BETTER = (  # pairs (first, second): the report calls the first's time slightly better
    ("gru-torch-2x128", DEEP_GRU),
    (EIGHT[0], DEEP_GRU),
    (EIGHT[0], "gru-torch-2x128"),
    ("lstm-torch-2x128", DEEP_GRU),
    ("lstm-torch-2x128", "gru-torch-2x128"),
)

LATER = 0.05  # relative loss from the best to the last epoch from which it matters which one is quoted

Parts = tuple[str, str, str]  # reported, found, instead


def corrections(reproduction: Reproduction) -> tuple[Correction, ...]:
    """The report's twelve groups of errors, corrected; empty for another table."""
    if reproduction.table.digest != report_table().digest:
        return ()
    return tuple(
        Correction(number, title, *write(reproduction)) for number, (title, write) in enumerate(CORRECTIONS.items(), 1)
    )


def _claim(id: str) -> str:
    return next(claim.claim for claim in claims() if claim.id == id)


def _sentence(words: str) -> str:
    """Capitalise the first letter."""
    return words[:1].upper() + words[1:]


def _open(because: str) -> str:
    return f"Our runs leave it open. {because}"


# --- sizes and captions ----------------------------------------------------------------------------------------------


def _figure_15(reproduction: Reproduction) -> Parts:
    said, own, width = row(reproduction, GRU), complexity_of(reproduction, GRU), width_of(row(reproduction, GRU))
    mmac = "" if said.mmac is None else f" and {said.mmac:g} MMac"
    reported = f"Figure 15 gives {said.params} parameters{mmac} for rnn.GRU with {said.hidden_size} units."
    sizes = f"{own.report_parameters:,} parameters and {own.report_macs:,} MACs"
    if width == said.hidden_size:
        return reported, f"That is its size: {sizes}.", "The figure stands."
    if width is None:
        return reported, f"No GRU of one layer has that size; this one has {sizes}.", f"It has {sizes}."
    shown = sized(width)
    return (
        reported,
        f"That is a GRU of {width} units, with {shown.report_parameters:,} parameters and {shown.report_macs:,} MACs. "
        f"With {said.hidden_size} units it has {sizes}.",
        f"Read the figure as GRU 1x{width}; what it should have shown is "
        f"{own.report_parameters / shown.report_parameters:.1f} times as large.",
    )


def _order_of_cells(reproduction: Reproduction) -> Parts:
    gru, rnn, lstm = (complexity_of(reproduction, id) for id in (GRU, RNN, LSTM))
    ranked = sorted((complexity_of(reproduction, id).report_parameters, id) for id in (GRU, RNN, LSTM))
    order = listed([f"{id} ({parameters:,})" for parameters, id in ranked])
    ratios = [
        f"{gru.report_parameters / other.report_parameters:.2f} times the {name}'s parameters and "
        f"{gru.report_macs / other.report_macs:.2f} times its MACs"
        for other, name in ((rnn, "RNN"), (lstm, "LSTM"))
    ]
    return (
        f"The report says that {_claim('gru-cheapest')}.",
        f"At equal width the GRU has {ratios[0]}, and {ratios[1]}.",
        f"From small to large by parameters: {order}."
        + (" The GRU is the cheapest." if ranked[0][1] == GRU else " The GRU is not the cheapest."),
    )


def _wrong_captions(reproduction: Reproduction) -> Parts:
    wrong = [text for right, text in captions(reproduction) if not right]
    if not wrong:
        return f"{_sentence(_claim('captions'))}.", "All three say what they show.", "The captions stand."
    return (
        f"{_sentence(_claim('captions'))}.",
        f"Wrong are {counted(len(wrong), 'caption')}: {listed(wrong)}.",
        "Such a figure is to be read by its print-out, which names the layers, and not by its caption.",
    )


def _prose(reproduction: Reproduction) -> Parts:
    stated = [size(reproduction, id, network, unit) for id, (network, units) in STATED_SIZES.items() for unit in units]
    wrong = [finding.because.rstrip(".") for finding in stated if finding.outcome == FAILS]
    times = [
        f"{each.train_seconds_prose:g} s is said of {each.id}, whose transcript has {each.train_seconds_transcript:g} s"
        for each in reproduction.table.rows
        if each.train_seconds_prose is not None
        and each.train_seconds_transcript is not None
        and abs(each.train_seconds_prose - each.train_seconds_transcript) > SECONDS_TOLERANCE
    ]
    return (
        f"In prose: {'; '.join(_claim(id) for id in STATED_SIZES)}; and the seconds of each training.",
        f"{counted(len(wrong), 'size')} and {counted(len(times), 'time')} differ from what the report itself shows"
        + (f": {'; '.join(wrong + times)}." if wrong + times else "."),
        "A number is copied from its print-out, with its digits, or better written by the program that measured it."
        if wrong + times
        else "The prose stands.",
    )


def _one_time_thrice(reproduction: Reproduction) -> Parts:
    said, twin = row(reproduction, EIGHT[1]), row(reproduction, EIGHT[0])
    group = [each for each in reproduction.table.rows if each.train_seconds_prose == said.train_seconds_prose]
    shown = [f"{each.train_seconds_transcript:g} s of {each.id}" for each in group if each.train_seconds_transcript]
    copied = said.train_seconds_transcript is None and same_numbers(said, twin)
    unknown = missing(reproduction, said.id)
    return (
        f"{said.train_seconds_prose or 0:g} s stands for {listed([each.id for each in group])}.",
        f"The transcripts among these are {listed(shown) or 'none'}. "
        + (f"All that is said of the curve and time of {said.id} is what is said of {twin.id}. " if copied else "")
        + (_open(unknown.because) if unknown else f"In our runs {course(reproduction, said.id)}"),
        f"Nothing shows that {said.id} was trained, so its curve and time are no evidence."
        if copied
        else f"{said.id} has numbers of its own, which can be compared with ours.",
    )


def _slightly_better(reproduction: Reproduction) -> Parts:
    findings = [faster(reproduction, *pair) for pair in SLIGHTLY_BETTER]
    longer = [
        f"{seconds(row(reproduction, one)):g} s of {one} against {seconds(row(reproduction, other)):g} s of {other}"
        for (one, other), finding in zip(SLIGHTLY_BETTER, findings, strict=True)
        if finding.outcome == FAILS
    ]
    return (
        f"The times of {listed(list(dict.fromkeys(one for one, _ in SLIGHTLY_BETTER)))} are called slightly better "
        "than those of the deep GRUs before them.",
        f"By its own numbers {len(longer)} of {len(findings)} such comparisons go the wrong way round"
        + (f": {'; '.join(longer)}." if longer else "."),
        "More seconds are worse, not better; and from one run each a difference of a few per cent shows neither."
        if longer
        else "The comparisons stand, as far as one run each can show a difference.",
    )


# --- perplexities ----------------------------------------------------------------------------------------------------


def _eight_layers(reproduction: Reproduction) -> Parts:
    ends = dict.fromkeys(f"{row(reproduction, id).perplexity_end or 0:g}" for id in EIGHT)
    findings = [learnt(reproduction, id) for id in EIGHT]
    fitted = [learnt_to_fit(reproduction, id) for id in EIGHT]
    elsewhere = [stream_learnt(reproduction, id) for id in EIGHT if streams(reproduction, id)]
    if all(finding.outcome == FAILS for finding in findings):
        instead = "They did not train, and such a network can't write sentences."
        if all(finding.outcome == FAILS for finding in fitted):
            instead = (
                "They did not even fit their training text: that is no overfitting, and such a network can't write "
                "sentences."
            )
        if any(finding.outcome == HOLDS for finding in elsewhere):
            instead += " That is a failure of the optimisation with this recipe, not a property of depth."
        else:
            instead += " Whether depth or the recipe is the cause, a recipe that trains such a shape would tell."
    elif all_of(*findings).outcome == HOLDS:
        instead = "The same recipe trains both here, so neither the level nor the conclusion on depth stands."
    else:
        instead = (
            f"At the letters' frequencies ({reproduction.text.unigram:.2f}) a network has not trained, which says "
            "nothing of depth; how often the recipe fails so, our runs leave open."
        )
    return (
        f"{listed(EIGHT)} fall only to {listed(list(ends))}: deeper is worse, and yet the output looks like sentences.",
        " ".join(dict.fromkeys(finding.because for finding in [*findings, *fitted, *elsewhere])),
        instead,
    )


def _about_one(reproduction: Reproduction) -> Parts:
    ids = (RNN, LSTM, GRU)
    ends = {id: row(reproduction, id).perplexity_end or 0 for id in ids}
    falls = listed([f"{id} to {end:g}" for id, end in ends.items()])
    reported = f"The perplexity falls, {falls}, and the LSTM's gap is the smallest."
    if unknown := missing(reproduction, *ids):
        return reported, _open(unknown.because), "Such a level can only be training perplexity, which must be said."
    gaps = sorted((seed_mean(reproduction, id, LAST_GAP).mean, id) for id in ids)
    said = listed([f"{gap:.1f} ({id})" for gap, id in gaps])
    largest = all_of(*(lower(reproduction, other, LSTM, LAST_GAP) for other in (RNN, GRU)))
    smallest = all_of(*(lower(reproduction, LSTM, other, LAST_GAP) for other in (RNN, GRU)))
    low = [id for id in ids if seed_mean(reproduction, id, BEST_VAL).mean <= ends[id] + HALF_DIGIT]
    told = (
        f"In validation {listed(low)} gets there too."
        if low
        else "Levels so low are reached, if at all, in training only."
    )
    rank = {
        (HOLDS, FAILS): "The LSTM's gap is the largest of the three, not the smallest.",
        (FAILS, HOLDS): "The LSTM's gap is the smallest of the three, as reported.",
        (FAILS, FAILS): "The LSTM's gap is neither the smallest nor the largest of the three.",
        (OPEN, FAILS): "The LSTM's gap is not the smallest of the three; whether it is the largest, seeds do not tell "
        "yet.",
    }.get((largest.outcome, smallest.outcome), "Which gap is the largest, seeds do not tell yet.")
    return (
        reported,
        f"{' '.join(course(reproduction, id) for id in ids)} The gaps at the end are {said}.",
        f"{told} {rank}",
    )


def _two_by_32(reproduction: Reproduction) -> Parts:
    ids = (DEEP_LSTM, DEEP_GRU)
    reported = " ".join(
        f"{id} falls to about {row(reproduction, id).perplexity_end or 0:g}, gap {row(reproduction, id).gap}."
        for id in ids
    )
    if unknown := missing(reproduction, *ids):
        return reported, _open(unknown.because), "These levels are taken for unconfirmed until then."
    conclusions = {
        HOLDS: "The level of {} is reproduced.",
        FAILS: "The level of {} is not reproduced by the protocol.",
        OPEN: "Whether the level of {} is reproduced, more seeds would tell.",
    }
    levels = [
        (id, row(reproduction, id).perplexity_end, level(reproduction, id, row(reproduction, id).perplexity_end))
        for id in ids
    ]
    instead = " ".join(conclusions[one.outcome].format(f"about {end or 0:g} for {id}") for id, end, one in levels)
    gaps = listed([f"{seed_mean(reproduction, id, LAST_GAP).mean:.1f} for {id}" for id in ids])
    told = f"{' '.join(course(reproduction, id) for id in ids)} The gap at the end is {gaps}."
    return reported, told, instead


def _by_eye(reproduction: Reproduction) -> Parts:
    texts = [each.samples for each in reproduction.table.rows if each.samples]
    places = [f"'{each.prompt}' ({each.split}, character {each.position:,})" for each in reproduction.text.prompts]
    pairs = [
        (row(reproduction, f"{cell}-scratch-1x8"), row(reproduction, f"{cell}-scratch-1x32"))
        for cell in ("gru", "lstm")
    ]
    slow = [
        f"{small.id} took {seconds(small):g} s and {large.id} {seconds(large):g} s"
        for small, large in pairs
        if (seconds(small) or 0) > (seconds(large) or float("inf"))
    ]
    done = [each.id for each in reproduction.configurations if trainings(reproduction, each.id)]
    loss = {
        id: seed_mean(reproduction, id, LAST_VAL).mean / seed_mean(reproduction, id, BEST_VAL).mean - 1 for id in done
    }
    later = [id for id in done if loss[id] > LATER]
    said = [f"{len(set(texts))} different sets of texts are shown for {len(texts)} networks."]
    if places:
        said.append(f"The prompts stand in the book's text itself: {listed(places)}.")
    if slow:
        said.append(f"As a measure of size, time misleads: {listed(slow)}.")
    if not done:
        said.append(_open((missing(reproduction, *(each.id for each in reproduction.table.rows)) or all_of()).because))
    elif later:
        worst = max(later, key=loss.__getitem__)
        said.append(
            f"In our runs the validation perplexity of the last epoch is more than {100 * LATER:.0f} % above that of "
            f"the best for {len(later)} of {len(done)} configurations, by {100 * loss[worst]:.0f} % for {worst}."
        )
    else:
        said.append(f"In our runs the last epoch is within {100 * LATER:.0f} % of the best for all {len(done)}.")
    return (
        "The best model is chosen by eye on three prompts, from one run of each without a seed, without a test text, "
        "at the last epoch; time stands for complexity.",
        " ".join(said),
        "Choose by the mean validation perplexity over several seeds, at the best epoch; give the perplexity of a test "
        "text that chose nothing once, and count MACs for cost.",
    )


def _unit_of_work(reproduction: Reproduction) -> Parts:
    shares = [
        f"{100 * (1 - one.report_macs / REPORT_CHARS / one.macs_per_char):.0f} % of {name}"
        for name, one in (("RNN 1x128", complexity_of(reproduction, RNN)), ("RNN 1x8", sized(8, "rnn")))
    ]
    own = complexity_of(reproduction, RNN)
    return (
        "MACs are given without saying for how much work, and of the recurrent layers alone.",
        f"The figures are for {REPORT_CHARS:,} characters and leave out the output layer, by MACs {listed(shares)}.",
        f"Say MACs per character, all layers counted: {own.macs_per_char:,} for RNN 1x128, where the report's "
        f"{own.report_macs / 1e6:.2f} MMac come to {own.report_macs // REPORT_CHARS:,}.",
    )


def _n_grams(reproduction: Reproduction) -> Parts:
    reported = "The networks are compared with each other only."
    text = reproduction.text
    orders = [order for order in text.val_perplexities if order >= 4]
    whole = listed([f"{text.val_perplexities[order]:.2f} (order {order})" for order in orders])
    windows = listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders if order in text.windowed])
    baseline = (
        f"Modified Kneser-Ney n-grams reach {whole} on the same validation characters, and {windows} where each window "
        f"of {WINDOW_LENGTH} starts without context, as the networks' do."
    )
    trained = {each.id: runs for each in reproduction.configurations if (runs := trainings(reproduction, each.id))}
    done = {id: seed_mean(reproduction, id, BEST_POOLED).mean for id in trained}
    if not done:
        unknown = missing(reproduction, *(each.id for each in reproduction.configurations)) or all_of()
        return (
            reported,
            f"{baseline} {_open(unknown.because)}",
            "A network is worth its cost where it beats counting letters.",
        )
    best = min(done, key=done.__getitem__)
    ahead, fair = better_than_counting(text, trained), f"{BASELINE_ORDER}-gram ({text.windowed[BASELINE_ORDER]:.2f})"
    return (
        reported,
        f"{baseline} The best of our {counted(len(done), 'trained configuration')} is {best} with {done[best]:.2f} "
        f"(pooled, best epoch, {seeds(reproduction, best)}).",
        f"None of the {len(done)} beats a {fair}: on {WINDOW_TRAIN + WINDOW_LENGTH:,} characters counting is better, "
        "and a comparison of networks must show such a bar."
        if not ahead
        else f"{len(ahead)} of {len(done)} beat a {fair}, {listed(ahead)}; a comparison must show such a bar.",
    )


CORRECTIONS: dict[str, Callable[[Reproduction], Parts]] = {
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
