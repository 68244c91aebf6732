"""Verdicts on the report's claims, from the recorded runs by the rules of ``evidence``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from re import findall, search
from statistics import fmean

from scipy.stats import spearmanr

from pipeline.report.claims.evidence import (
    BEST_VAL,
    HALF_DIGIT,
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    LEARNT,
    MORE_SEEDS,
    OPEN_GAPS,
    complexity_of,
    curve_of_level,
    distance_to_text,
    distinct_trigrams,
    found_at,
    gap_from,
    learnt,
    learnt_to_fit,
    level,
    lower,
    missing,
    row,
    row_of_figure,
    seeds,
    side,
    stream_learnt,
    trainings,
    values,
)
from pipeline.report.claims.findings import (
    FAILS,
    HOLDS,
    OPEN,
    Finding,
    Outcome,
    Unit,
    all_of,
    each_of,
    reasoned,
    settled,
)
from pipeline.report.claims.sizes import cheaper, faster, pace, prose_is_transcript, seconds, size, time_and_size
from pipeline.report.reproduction import RecordedTraining, Reproduction
from pipeline.report.table import Claim, Reported, claims, report_table
from pipeline.report.wording import counted, listed
from pipeline.support.statistics import Estimate, estimate, welch

TIME_FOLLOWS = 0.9  # least rank correlation (Spearman) of seconds and MACs at which time follows width

ALIKE = 0.15  # largest difference of the shares of distinct trigrams in texts that are alike

CLOSE = 0.25  # edits per character, at most, for a text very close to the book

Judge = Callable[[Reproduction], Finding]


@dataclass(frozen=True)
class Verdict:
    """A claim, whether the runs confirm it, and a sentence with the figures that decide it."""

    claim: Claim
    outcome: Outcome
    because: str


@dataclass(frozen=True)
class Correction:
    """An error of the report: as reported, as found (with recorded figures), and our conclusion instead."""

    number: int
    title: str
    reported: str
    found: str
    instead: str


@dataclass(frozen=True)
class Explanation:
    """A paragraph for students on an error of the report."""

    title: str
    text: str


def judge_claims(reproduction: Reproduction) -> tuple[Verdict, ...]:
    """Judge each claim of the report, in order; empty for another table.

    ``reproduction`` needs a configuration for each row of its table, with or without trainings.
    """
    if reproduction.table.digest != report_table().digest:
        return ()
    findings = [(claim, JUDGES[claim.id](reproduction)) for claim in claims()]
    return tuple(Verdict(claim, finding.outcome, finding.because) for claim, finding in findings)


# --- from scratch ----------------------------------------------------------------------------------------------------


def _best_of_widths(cell: str, reproduction: Reproduction) -> Finding:
    others = (f"{cell}-scratch-1x{size}" for size in (8, 32, 1024))
    return all_of(*(lower(reproduction, f"{cell}-scratch-1x128", other, BEST_VAL) for other in others))


def _lstm_128_best(reproduction: Reproduction) -> Finding:
    """Read "one of the fastest" as among the faster half."""
    ids = [f"lstm-scratch-1x{size}" for size in (8, 32, 128, 1024)]
    times = {id: seconds(row(reproduction, id)) for id in ids}
    known = sorted((time, id) for id, time in times.items() if time is not None)
    own = times["lstm-scratch-1x128"]
    if own is None or len(known) < len(ids):
        fast = Finding(OPEN, "The report lacks a time of one of the four.")
    else:
        rank = 1 + sum(time < own for time, _ in known)
        text = ", ".join(f"{time:g} s ({id})" for time, id in known)
        fast = settled(rank <= len(ids) / 2, f"By the report's own times it is number {rank} of 4 in speed: {text}.")
    return all_of(_best_of_widths("lstm", reproduction), fast)


def _small_is_underfitting(reproduction: Reproduction) -> Finding:
    small, large = "gru-scratch-1x8", "gru-scratch-1x32"
    better, smaller_gap = lower(reproduction, small, large, BEST_VAL), lower(reproduction, small, large, LAST_GAP)
    if (better.outcome, smaller_gap.outcome) == (FAILS, HOLDS):
        told = f"{better.because} {smaller_gap.because} A small gap at a worse validation perplexity is underfitting."
        return Finding(FAILS, told)
    return reasoned(better, smaller_gap)


def _wide_is_worse(cell: str, reproduction: Reproduction) -> Finding:
    """Judge by validation perplexity at the last epoch; the report's ends have one digit only."""
    wide, narrow = f"{cell}-scratch-1x1024", f"{cell}-scratch-1x128"
    finding = lower(reproduction, narrow, wide, LAST_VAL)
    ends = [row(reproduction, id).perplexity_end for id in (wide, narrow)]
    if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return finding
    own = f"The report itself ends them at {ends[0]:g} and {ends[1]:g}, which shows no increase."
    return finding._replace(because=f"{finding.because} {own}")


def _same_texts(reproduction: Reproduction) -> Finding:
    """HOLDS if the texts are identical to earlier ones; three strings can't show more."""
    texts = row(reproduction, "lstm-scratch-1x128").samples
    earlier = [row(reproduction, id) for id in ("lstm-scratch-1x8", "lstm-scratch-1x32", "gru-scratch-1x32")]
    if same := [other.id for other in earlier if texts and other.samples == texts]:
        return Finding(
            HOLDS,
            f"They are identical to those of {listed(same)}, letter for letter: greedy texts tell nothing about "
            "which of these networks is better.",
        )
    return Finding(OPEN, f"They equal none of the earlier ones, and {counted(len(texts), 'string')} are no measure.")


def _time_follows_width(reproduction: Reproduction) -> Finding:
    """Rank correlation of time and MACs over the from-scratch networks, with the report's seconds and ours.

    Pairs of the report in the wrong order are named but decide nothing: each is a single run.
    """
    scratch = [each.id for each in reproduction.table.rows if each.implementation == "scratch"]
    theirs = {id: time for id in scratch if (time := seconds(row(reproduction, id))) is not None}
    macs = {id: complexity_of(reproduction, id).report_macs for id in theirs}
    inverted = [
        f"{small} took {theirs[small]:g} s and {large} {theirs[large]:g} s, with "
        f"{macs[small] / macs[large]:.2f} times its MACs"
        for small, large in permutations(theirs, 2)
        if row(reproduction, small).cell == row(reproduction, large).cell
        and macs[small] < macs[large]
        and theirs[small] > theirs[large]
    ]
    own = _time_ranks(reproduction, theirs, "The report's seconds")
    if inverted:
        own = own._replace(because=f"{own.because} Against it, {listed(inverted)}.")
    finding = each_of(own, _time_ranks(reproduction, pace(reproduction, scratch), "Our seconds per epoch"))
    return finding._replace(because=f"{finding.because} {time_and_size(reproduction)}".rstrip())


def _time_ranks(reproduction: Reproduction, times: Mapping[str, float], whose: str) -> Finding:
    """Whether times (id -> seconds) rank like MACs."""
    if len(set(times.values())) < 3:
        return Finding(OPEN, f"{whose}, of {counted(len(times), 'model')} from scratch, rank nothing yet.")
    points = [(complexity_of(reproduction, id).report_macs, time) for id, time in times.items()]
    correlation = float(spearmanr(*zip(*points, strict=True)).statistic)
    text = f"have a rank correlation (Spearman) of {correlation:.2f} with MACs over {len(points)} models from scratch"
    return settled(correlation >= TIME_FOLLOWS, f"{whose} {text}.")


# --- one layer of torch.nn -------------------------------------------------------------------------------------------


def _falls_to(id: str, reproduction: Reproduction) -> Finding:
    return level(reproduction, id, row(reproduction, id).perplexity_end)


def _overfits_from(reproduction: Reproduction) -> Finding:
    return all_of(*(gap_from(reproduction, f"{cell}-torch-1x128") for cell in ("rnn", "gru", "lstm")))


def _lstm_lowest_gap(reproduction: Reproduction) -> Finding:
    others = ("rnn-torch-1x128", "gru-torch-1x128")
    gaps = [lower(reproduction, "lstm-torch-1x128", other, LAST_GAP) for other in others]
    return all_of(*gaps, *(lower(reproduction, "lstm-torch-1x128", other, BEST_VAL) for other in others))


def _gru_cheapest(reproduction: Reproduction) -> Finding:
    return each_of(*(cheaper(reproduction, "gru-torch-1x128", f"{cell}-torch-1x128") for cell in ("rnn", "lstm")))


def _texts_alike(reproduction: Reproduction) -> Finding:
    """Compare repetition, the mean share of distinct trigrams in the texts of each training."""
    ids = ("gru-torch-1x128", "rnn-torch-1x128")
    if unknown := missing(reproduction, *ids):
        return unknown

    def share(run: RecordedTraining) -> float:
        return fmean(distinct_trigrams(text.removeprefix(prompt)) for prompt, text in run.texts)

    samples = [[share(run) for run in trainings(reproduction, id) if run.texts] for id in ids]
    if min(map(len, samples)) < 2:
        return Finding(OPEN, f"It takes texts of 2 seeds of each; there are {len(samples[0])} and {len(samples[1])}.")
    difference, low, high = welch(*samples)
    gru, rnn = (f"{100 * fmean(sample):.0f} %" for sample in samples)
    text = (
        f"Sense is for the eye; what can be counted is repetition. Of our texts' runs of three letters {gru} (GRU) and "
        f"{rnn} (RNN) are different: {difference:+.2f}, 95 % interval {low:+.2f} to {high:+.2f} "
        f"({len(samples[0])} and {len(samples[1])} seeds), where less than {ALIKE} either way is alike."
    )
    return found_at(side(Estimate(difference, low, high), -ALIKE, ALIKE), text)


# --- deep networks ---------------------------------------------------------------------------------------------------


def _deep_levels(reproduction: Reproduction) -> Finding:
    return all_of(_falls_to("gru-torch-2x32", reproduction), _falls_to("lstm-torch-2x32", reproduction))


def _deep_gru_generalises(reproduction: Reproduction) -> Finding:
    gru, lstm = "gru-torch-2x32", "lstm-torch-2x32"
    return reasoned(
        lower(reproduction, gru, lstm, BEST_VAL), lower(reproduction, gru, lstm, LAST_GAP), gap_from(reproduction, lstm)
    )


def _close_to_the_book(reproduction: Reproduction) -> Finding:
    id = "gru-torch-2x32"
    distance = distance_to_text(reproduction, row(reproduction, id).samples)
    if distance is None:
        return Finding(OPEN, "There is no text of it to compare with how the book goes on.")
    ours = distance_to_text(reproduction, [text for run in trainings(reproduction, id) for text in run.texts])
    text = (
        f"It takes {distance:.2f} edits for each letter to make the report's texts of {id} what stands in the book "
        f"(0 is the book, very close is {CLOSE} or less)"
    )
    return settled(distance <= CLOSE, f"{text}." if ours is None else f"{text}, and {ours:.2f} for ours.")


def _deep_gru_128_lower(reproduction: Reproduction) -> Finding:
    """Judge level and comparison by the same curve; if that is training, validation is reported too."""
    wide, narrow = "gru-torch-2x128", "gru-torch-2x32"
    if unknown := missing(reproduction, wide, narrow):
        return unknown
    end = row(reproduction, wide).perplexity_end
    curve = LAST_TRAIN if end is None else curve_of_level(reproduction, wide, end)
    finding = all_of(lower(reproduction, wide, narrow, curve), _falls_to(wide, reproduction))
    if curve is not LAST_TRAIN:
        return finding
    return finding._replace(because=f"{finding.because} {lower(reproduction, wide, narrow, LAST_VAL).because}")


def _deep_gru_beats_lstm(reproduction: Reproduction) -> Finding:
    gru = "gru-torch-2x128"
    return reasoned(
        lower(reproduction, gru, "lstm-torch-2x32", BEST_VAL),
        lower(reproduction, gru, "lstm-torch-2x128", BEST_VAL),
        lower(reproduction, gru, "lstm-torch-2x32", LAST_GAP),
    )


def _deeper_is_worse(reproduction: Reproduction) -> Finding:
    """Judge the level by our trainings; depth as its cause is refuted if the shape trains with another recipe.

    Another recipe that fails too proves nothing.
    """
    id = "gru-torch-8x32"
    falls = _falls_to(id, reproduction)
    if falls.outcome == FAILS or missing(reproduction, id):
        return falls
    fitted, elsewhere = learnt_to_fit(reproduction, id), stream_learnt(reproduction, id)
    told = f"{falls.because} The letters' frequencies alone give {reproduction.text.unigram:.2f}. {fitted.because}"
    if fitted.outcome == FAILS:
        told += " So the optimisation failed; this is no overfitting, and says nothing of what depth can do."
    told += f" {elsewhere.because}"
    if elsewhere.outcome == FAILS:
        told += " That two recipes do not train it is no proof that it can't be trained."
    return Finding(FAILS if elsewhere.outcome == HOLDS else OPEN, told)


def _like_sentences(reproduction: Reproduction) -> Finding:
    """FAILS for a network that knows only letter frequencies; any other text is left to the eye."""
    id = "gru-torch-8x32"
    end, unigram = row(reproduction, id).perplexity_end, reproduction.text.unigram
    if end is not None and end >= LEARNT * unigram:
        told = f"At the perplexity of {end:g} that the report gives, a network knows only the letters' frequencies "
        ours = trainings(reproduction, id)[0].texts if learnt(reproduction, id).outcome == FAILS else ()
        shown = "".join(f" {_written(prompt, text)}" for prompt, text in ours[:1])
        return Finding(FAILS, f"{told}({unigram:.2f}): it has no words to make sentences of.{shown}")
    finding = learnt(reproduction, id)
    return finding if finding.outcome == FAILS else finding._replace(outcome=OPEN)


def _written(prompt: str, text: str) -> str:
    """A sentence that quotes the generated text, or says that it is only spaces."""
    written = text.removeprefix(prompt).strip()
    return f'Ours writes "{text}".' if written else f'After "{prompt}" ours writes spaces alone.'


def _eight_layers_time(reproduction: Reproduction) -> Finding:
    return each_of(*(faster(reproduction, "gru-torch-8x32", other) for other in ("gru-torch-2x32", "gru-torch-2x128")))


def _eight_layers_cost(reproduction: Reproduction) -> Finding:
    """The report does not say which deep LSTM it means, so both have to be cheaper."""
    lstms = ("lstm-torch-2x32", "lstm-torch-8x32")
    parts = {other: cheaper(reproduction, other, "gru-torch-8x32") for other in lstms}
    true, false = (listed([id for id, part in parts.items() if part.outcome == wanted]) for wanted in (HOLDS, FAILS))
    told = [words for ids, words in ((true, f"true against {true}"), (false, f"false against {false}")) if ids]
    finding = each_of(*parts.values())
    return finding._replace(because=f"{finding.because} So it is {listed(told)}.")


def _lstm_128_higher(reproduction: Reproduction) -> Finding:
    lstm, grus = "lstm-torch-2x128", ("gru-torch-2x32", "gru-torch-2x128")
    end, ends = row(reproduction, lstm).perplexity_end, [row(reproduction, id).perplexity_end for id in grus]
    parts = [lower(reproduction, gru, lstm, LAST_VAL) for gru in grus]
    if end is not None and any(other is not None and other >= end for other in ends):
        said = listed([f"{other:g}" for other in ends if other is not None])
        parts.insert(0, settled(False, f"The report itself ends {lstm} at {end:g} and the GRUs at {said}."))
    return all_of(*parts, _no_visible_gap(reproduction, lstm))


def _no_visible_gap(reproduction: Reproduction, id: str) -> Finding:
    if unknown := missing(reproduction, id):
        return unknown
    ratio = estimate([run.val[-1] / run.train[-1] for run in trainings(reproduction, id)])
    sides = {side(ratio, 0, 1 + share) for share in OPEN_GAPS}
    gap = f"a gap of {100 * (ratio.mean - 1):.0f} % of its training perplexity"
    text = f"{id} ends with {gap} ({seeds(reproduction, id)})."
    return found_at(sides.pop() if len(sides) == 1 else "between", text)


def _lstm_128_time(reproduction: Reproduction) -> Finding:
    lstm = "lstm-torch-2x128"
    grus = [faster(reproduction, lstm, other) for other in ("gru-torch-2x32", "gru-torch-2x128")]
    return all_of(prose_is_transcript(reproduction, lstm), *grus)


def _lower_than_itself(reproduction: Reproduction) -> Finding:
    lstm = row(reproduction, "lstm-torch-2x128")
    others = [
        other.id
        for other in reproduction.table.rows
        if (other.cell, other.hidden_size) == (lstm.cell, lstm.hidden_size) and other.num_layers > 1 and other != lstm
    ]
    if others:
        return all_of(*(cheaper(reproduction, lstm.id, other) for other in others))
    parameters = complexity_of(reproduction, lstm.id).report_parameters
    text = f"The only deep LSTM with {lstm.hidden_size} units is {lstm.id} itself, with {parameters:,} parameters."
    return Finding(FAILS, text)


def _eight_lstm_layers(reproduction: Reproduction) -> Finding:
    """Judge level, gap and time; adds that another row has the same curve and time and there is no transcript."""
    id = "lstm-torch-8x32"
    own, twin = row(reproduction, id), row(reproduction, "gru-torch-8x32")
    finding = all_of(
        _falls_to(id, reproduction), _constant_gap(reproduction, id), prose_is_transcript(reproduction, id)
    )
    if own.train_seconds_transcript is None and same_numbers(own, twin):
        told = (
            f"The report gives {id} the curve and time of {twin.id}, and no transcript: nothing shows that it was "
            "trained."
        )
        return finding._replace(because=f"{finding.because} {told}")
    return finding


def same_numbers(one: Reported, other: Reported) -> bool:
    """Whether the report gives two configurations the same curve and time."""
    names = ("perplexity_start", "perplexity_end", "gap", "train_seconds_prose")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _constant_gap(reproduction: Reproduction, id: str) -> Finding:
    """Whether the gap at the last epoch has the size in the table, within half a digit; needs two seeds."""
    if unknown := missing(reproduction, id):
        return unknown
    named = search(r"about ([\d.]+)", row(reproduction, id).gap)
    gap = estimate(values(reproduction, id, LAST_GAP), logarithmic=False)
    text = f"The gap of {id} at the last epoch is {gap} ({seeds(reproduction, id)})"
    if not named:
        return Finding(OPEN, f"{text}; the table names no size to compare it with.")
    text += f", where the report says about {named[1]}"
    if (own := reproduction.text.train_unigram) is not None and learnt_to_fit(reproduction, id).outcome == FAILS:
        text += (
            f"; between the letters' frequencies of the two texts it is {reproduction.text.unigram:.2f} - {own:.2f} = "
            f"{reproduction.text.unigram - own:.2f}"
        )
    if gap.low is None:
        return Finding(OPEN, f"{text}. One seed gives the gap no interval: at least 2 are needed ({MORE_SEEDS}).")
    where = side(gap, float(named[1]) - HALF_DIGIT, float(named[1]) + HALF_DIGIT)
    return found_at(where, f"{text}.")


def captions(reproduction: Reproduction) -> list[tuple[bool, str]]:
    """For each caption in the claims: whether it is right, and what it says and shows."""
    claim = next(claim.claim for claim in claims() if claim.id == "captions")
    told = []
    for figure, said, what in findall(r"(\d+) says (\w+)(?: hidden (layers|states))?", claim):
        shown = row_of_figure(reproduction, figure)
        actual = {"layers": shown.num_layers, "states": shown.hidden_size}.get(what, shown.cell.upper())
        words = f"{said} hidden {what}" if what else said
        told.append((said == str(actual), f"figure {figure} says {words} and shows {shown.id}"))
    return told


def _captions(reproduction: Reproduction) -> Finding:
    told = captions(reproduction)
    sentence = listed([text for _, text in told])
    return settled(all(right for right, _ in told), f"{sentence[0].upper()}{sentence[1:]}.")


STATED_SIZES: Mapping[str, tuple[str, tuple[Unit, ...]]] = {  # claim -> network, units of the stated sizes
    "rnn-22k": ("rnn-torch-1x128", ("k",)),
    "deep-gru-13k": ("gru-torch-2x32", ("k",)),
    "deep-lstm-18m": ("lstm-torch-2x32", ("MMac", "k")),
    "lstm-8-layers-68k": ("lstm-torch-8x32", ("k",)),
}


def _sizes(claim_id: str, reproduction: Reproduction) -> Finding:
    id, units = STATED_SIZES[claim_id]
    return each_of(*(size(reproduction, claim_id, id, unit) for unit in units))


JUDGES: Mapping[str, Judge] = {
    "gru-128-best": partial(_best_of_widths, "gru"),
    "gru-8-generalises": _small_is_underfitting,
    "gru-128-smaller-gap": lambda reproduction: lower(reproduction, "gru-scratch-1x128", "gru-scratch-1x32", LAST_GAP),
    "gru-1024-worse": partial(_wide_is_worse, "gru"),
    "lstm-128-best": _lstm_128_best,
    "lstm-1024-worse": partial(_wide_is_worse, "lstm"),
    "lstm-1024-169s": lambda reproduction: prose_is_transcript(reproduction, "lstm-scratch-1x1024"),
    "lstm-128-same-text": _same_texts,
    "time-follows-width": _time_follows_width,
    "rnn-2": partial(_falls_to, "rnn-torch-1x128"),
    "lstm-1": partial(_falls_to, "lstm-torch-1x128"),
    "gru-2": partial(_falls_to, "gru-torch-1x128"),
    "overfit-from": _overfits_from,
    "lstm-lowest-gap": _lstm_lowest_gap,
    "gru-cheapest": _gru_cheapest,
    "rnn-22k": partial(_sizes, "rnn-22k"),
    "gru-text-close": _texts_alike,
    "deep-gru-5-lstm-2": _deep_levels,
    "deep-gru-generalises": _deep_gru_generalises,
    "deep-gru-close-text": _close_to_the_book,
    "deep-gru-13k": partial(_sizes, "deep-gru-13k"),
    "deep-lstm-18m": partial(_sizes, "deep-lstm-18m"),
    "deep-gru-lighter": lambda reproduction: cheaper(reproduction, "gru-torch-2x32", "lstm-torch-2x32"),
    "deep-gru-128-lower": _deep_gru_128_lower,
    "deep-gru-128-time": lambda reproduction: faster(reproduction, "gru-torch-2x128", "gru-torch-2x32"),
    "deep-gru-beats-lstm": _deep_gru_beats_lstm,
    "gru-8-layers-16": _deeper_is_worse,
    "gru-8-layers-sentences": _like_sentences,
    "gru-8-layers-time": _eight_layers_time,
    "gru-8-layers-cost": _eight_layers_cost,
    "lstm-128-higher": _lstm_128_higher,
    "lstm-128-201s": _lstm_128_time,
    "lstm-128-lower-than-itself": _lower_than_itself,
    "lstm-8-layers-16": _eight_lstm_layers,
    "lstm-8-layers-68k": partial(_sizes, "lstm-8-layers-68k"),
    "captions": _captions,
}
