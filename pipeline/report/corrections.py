"""The report's errors, corrected and explained: the texts of data/corrections.csv with figures of the recorded runs.

A row is part of a correction (reported, found, instead) or an explanation. Its text names figures in braces; with a
figure in the column ``needs``, it is said only if that figure is known (not ""). What follows from the report itself,
by its table and the formulas of models.complexity, is written out there.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.report.counting import BASELINE_ORDER, Reading, same_text_against_counting, whole
from pipeline.report.reproduction import RecordedTraining
from pipeline.report.statements.evaluators.texts import equal_prompts
from pipeline.report.statements.evidence import (
    BEST_POOLED,
    BEST_VAL,
    FIRST_HALF,
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    Evidence,
    Measure,
)
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Word
from pipeline.report.table import DATA
from pipeline.support.statistics import Estimate, estimate
from pipeline.support.wording import counted, listed, span

LEARNT = 0.9  # share of the perplexity of letter frequencies below which a network has learnt more than these

LATER = 0.05  # the last epoch's perplexity matters if it is above the best by more than this share

GRU, RNN, LSTM = "gru-torch-1x128", "rnn-torch-1x128", "lstm-torch-1x128"

DEEP = ("lstm-torch-2x32", "gru-torch-2x32")

EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")


@dataclass(frozen=True)
class Correction:
    """An error of the report: what is reported, what our runs show, and what we conclude instead."""

    number: int
    title: str
    reported: str
    found: str
    instead: str


@dataclass(frozen=True)
class Explanation:
    """A paragraph that explains an error of the report to students."""

    title: str
    text: str


def corrections(evidence: Evidence) -> tuple[tuple[Correction, ...], tuple[Explanation, ...]]:
    """The corrections, numbered, and the explanations; none for other statements than the report's."""
    if not evidence.is_of_the_report:
        return (), ()
    known = figures(evidence)
    texts: dict[str, dict[str, str]] = {}  # title -> part -> sentences
    with (DATA / "corrections.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            said = texts.setdefault(row["title"], {}).setdefault(row["part"], "")
            if not row["needs"] or known[row["needs"]]:
                texts[row["title"]][row["part"]] = f"{said} {row['text'].format_map(known)}".strip()
    explained = {title: parts["explanation"] for title, parts in texts.items() if "explanation" in parts}
    corrected = [(title, parts) for title, parts in texts.items() if title not in explained]
    return (
        tuple(Correction(number, title, **parts) for number, (title, parts) in enumerate(corrected, 1)),
        tuple(Explanation(title, text) for title, text in explained.items()),
    )


# --- figures ---------------------------------------------------------------------------------------------------------


def figures(evidence: Evidence) -> dict[str, str]:
    """The figures that the sentences name; "" for those that the runs do not have."""
    text = evidence.reproduction.text
    orders = [order for order in text.windowed if order >= BASELINE_ORDER]
    sizes, times = (_wrong(evidence, kind) for kind in ("size", "seconds"))
    return {
        "letters": f"{text.unigram:.2f}",
        "n-grams": listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders]),
        "places": listed([f"'{each.prompt}' ({each.split}, {each.position:,})" for each in text.prompts]),
        "captions": " ".join(_wrong(evidence, "caption")),
        "prose": " ".join([f"{counted(len(sizes), 'size')} and {counted(len(times), 'time')} differ.", *sizes, *times]),
        "course of the eighth": _courses(evidence, EIGHT[1]),
        "courses of the deep": _courses(evidence, *DEEP),
        "levels of the deep": listed([f"{evidence.verdict(f'{id}-end').word} for {id}" for id in DEEP]),
        "last epochs": _last_epochs(evidence),
        **_eight_layers(evidence),
        **_three_cells(evidence),
        **_networks_and_ngrams(evidence),
        **_texts_and_starts(evidence),
    }


def _wrong(evidence: Evidence, kind: str) -> list[str]:
    """The reasons why statements of a kind are not reproduced, but for those on the number of units."""
    statements = (each for each in evidence.statements.values() if each.kind == kind and each.relation != "units")
    verdicts = (evidence.verdict(statement.id) for statement in statements)
    return list(dict.fromkeys(verdict.because for verdict in verdicts if verdict.word == FAILS))


def _open(evidence: Evidence, ids: Iterable[str]) -> str:
    missing = evidence.missing(*ids)
    return f"Our runs leave it open. {missing}" if missing else ""


def _courses(evidence: Evidence, *ids: str) -> str:
    """Sentences on the last and the best epoch of configurations."""

    def course(id: str) -> str:
        best = span([run.best_epoch for run in evidence.trainings(id)])
        train, val, lowest = (evidence.mean(id, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
        return (
            f"{id} ends at {train} in training and {val} in validation, {lowest} at best (epoch {best}; "
            f"{evidence.seeds(id, LAST_VAL)})."
        )

    return _open(evidence, ids) or " ".join(map(course, ids))


def _last_epochs(evidence: Evidence) -> str:
    """A sentence on how many configurations are notably better before the last epoch."""
    done = [row.id for row in evidence.rows if evidence.trainings(row.id)]
    if not done:
        return _open(evidence, [row.id for row in evidence.rows])
    loss = {id: evidence.mean(id, LAST_VAL).mean / evidence.mean(id, BEST_VAL).mean - 1 for id in done}
    worst = max(done, key=loss.__getitem__)
    later = sum(share > LATER for share in loss.values())
    return (
        f"The last epoch's validation perplexity is over {100 * LATER:.0f} % above the best for {later} of our "
        f"{len(done)} configurations, by {100 * loss[worst]:.0f} % for {worst}."
    )


# --- eight layers ----------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """Whether a network has learnt more than letter frequencies, and a sentence with the numbers that decide it."""

    word: Word
    because: str


def learnt(evidence: Evidence, id: str, measure: Measure, letters: float) -> Finding:
    """Whether a configuration's measure is clearly below the perplexity of letter frequencies on the same text."""
    if unknown := evidence.missing(id):
        return Finding(OPEN, unknown)
    mean = evidence.mean(id, measure)
    because = (
        f"The {measure.name} of {id} is {mean} ({evidence.seeds(id, measure)}), where the letters' frequencies give "
        f"{letters:.2f}."
    )
    return Finding(HOLDS if mean.mean < LEARNT * letters else FAILS, because)


def own_recipe_learnt(evidence: Evidence, id: str) -> Finding:
    """Whether the shape learns more than letter frequencies by our recipe.

    It is judged on the report's characters or, if it was not trained on them, on nine tenths of the text.
    """
    text = evidence.reproduction.text
    runs, letters, where = _same_text(evidence, id), text.unigram, "the same characters"
    if not runs:
        runs, letters, where = (
            whole(evidence.reproduction[id].stream),
            text.stream_val_unigram,
            "nine tenths of the text",
        )
    if not runs or evidence.reproduction.quick:
        return Finding(OPEN, f"Whether our recipe trains the shape of {id}, `tmlm reproduce` would show.")
    best = estimate([run.best_val for run in runs])
    how = "our recipe, with residual connections," if any(run.residual for run in runs) else "our recipe"
    because = (
        f"By {how} on {where} the shape of {id} gets to {best} in validation ({counted(len(runs), 'seed')}), where the "
        f"letters' frequencies give {letters:.2f}."
    )
    return Finding(HOLDS if best.mean < LEARNT * letters else FAILS, because)


def _same_text(evidence: Evidence, id: str) -> tuple[RecordedTraining, ...]:
    """Our recipe's complete trainings of the shape on the report's characters; none in a quick reproduction."""
    runs = () if evidence.reproduction.quick else whole(evidence.reproduction[id].same_text)
    return tuple(run for run in runs if run.windowed is not None)


def _eight_layers(evidence: Evidence) -> dict[str, str]:
    text = evidence.reproduction.text
    own = [learnt(evidence, id, BEST_VAL, text.unigram) for id in EIGHT]
    fitted = [learnt(evidence, id, LAST_TRAIN, text.train_unigram) for id in EIGHT]
    elsewhere = own_recipe_learnt(evidence, EIGHT[0])
    learn = any(finding.word == HOLDS for finding in own)
    opening = {
        FAILS: "Our runs show the same.",
        HOLDS: "In our runs, though, the recipe trains it.",
        OPEN: "Our runs leave open whether it always ends so.",
    }[own[0].word]
    return {
        "eight layers": " ".join(dict.fromkeys(finding.because for finding in [*own, fitted[0], elsewhere])),
        "eight GRUs": f"{opening} {own[0].because}",
        "eight learn": "yes" * learn,
        "eight do not": "yes" * (not learn),
        "eight do not fit": "yes" * (not learn and all(finding.word == FAILS for finding in fitted)),
        "own recipe of eight": elsewhere.because,
        "own recipe alone learns": "yes" * (not learn and elsewhere.word == HOLDS),
        "own recipe fails": "yes" * (elsewhere.word == FAILS),
    }


# --- the three cells of 128 units ------------------------------------------------------------------------------------


def _three_cells(evidence: Evidence) -> dict[str, str]:
    ids = (RNN, LSTM, GRU)
    names = ("gaps", "lowest", "larger gap", "untrained three", "reached")
    known = {**dict.fromkeys(names, ""), "courses of the three": _courses(evidence, *ids)}
    if missing := evidence.missing(*ids):
        lstm = f"So a curve that falls to about 1 can only be the training curve. {missing}"
        return {**known, "untrained three": "yes", "curves of the LSTM": lstm}
    gaps = {id: evidence.mean(id, LAST_GAP).mean for id in ids}
    train, val, best = (evidence.mean(LSTM, measure) for measure in (LAST_TRAIN, LAST_VAL, BEST_VAL))
    low, high = evidence.bounds.about(1.0)
    return {
        **known,
        "gaps": listed([f"{gap:.1f} ({id})" for id, gap in gaps.items()]),
        "lowest": f"{min(evidence.mean(id, BEST_VAL).mean for id in ids):.1f}",
        "larger gap": "yes" * (evidence.verdict("torch-1x128-best-gap").word == FAILS),
        "curves of the LSTM": (
            f"In our runs training ends at {train}. Validation is {best} at best and {val} at the end "
            f"({evidence.seeds(LSTM, LAST_VAL)})."
        ),
        "reached": "only" if low <= train.mean <= high else "not even",
    }


# --- n-grams ---------------------------------------------------------------------------------------------------------


def _networks_and_ngrams(evidence: Evidence) -> dict[str, str]:
    """The best networks of either recipe beside n-grams; perplexities are pooled, each window without context."""
    text, all_ids = evidence.reproduction.text, [row.id for row in evidence.rows]
    trained = [id for id in all_ids if evidence.values(id, BEST_POOLED)]
    known = {"best network": _open(evidence, all_ids), "winners": "", "untrained": "yes", "own recipe": ""}
    lowest: Estimate | None = None
    if trained:
        means = {id: evidence.mean(id, BEST_POOLED) for id in trained}
        best = min(trained, key=lambda id: means[id].mean)
        lowest, bar = means[best], text.windowed.get(BASELINE_ORDER, 0.0)
        ahead = sum(mean.mean < bar for mean in means.values())
        known = {
            "best network": f"The best of {counted(len(trained), 'trained configuration')}, {best}, has {lowest} "
            f"(pooled, best epoch, {evidence.seeds(best, BEST_POOLED)}).",
            "winners": f"{ahead or 'None'} of the {len(trained)} {'beats' if ahead < 2 else 'beat'} a "
            f"{BASELINE_ORDER}-gram ({bar:.2f})",
            "untrained": "",
            "own recipe": "",
        }
    wins = False
    if runs := _same_text(evidence, LSTM):
        windowed = estimate([run.windowed or 0.0 for run in runs]).mean
        read_on = estimate([run.best_val for run in runs]).mean
        wins = lowest is not None and windowed < lowest.mean
        in_windows = _beside(evidence, "windowed", BASELINE_ORDER, text.best_windowed_order)
        known["own recipe"] = (
            f"{windowed:.2f}{in_windows} in windows and {read_on:.2f}{_beside(evidence, 'val', text.best_order)} "
            f"reading on ({counted(len(runs), 'seed')})"
        )
    return {**known, "own recipe wins": "yes" * wins}


def _beside(evidence: Evidence, reading: Reading, *orders: int) -> str:
    """The LSTM by our recipe on the report's characters beside n-grams, in brackets, if costs are recorded."""
    compared = [same_text_against_counting(evidence.reproduction, LSTM, reading, order) for order in orders]
    known = "; ".join(str(each) for each in compared if each is not None)
    return f" ({known})" if known else ""


# --- the protocol ----------------------------------------------------------------------------------------------------


def _texts_and_starts(evidence: Evidence) -> dict[str, str]:
    shown = {row.id: row.samples for row in evidence.rows if row.samples and evidence.trainings(row.id)}
    equal = {
        id: max(len(equal_prompts(run.texts, samples)) for run in evidence.trainings(id))
        for id, samples in shown.items()
    }
    best_first = sorted((id for id in equal if equal[id]), key=lambda id: -equal[id])
    counts = listed([f"{equal[id]} of {len(shown[id])} of {id}" for id in best_first]) or "none"
    said = f"By the book's protocol, texts are equal to the report's letter for letter: {counts}."
    starts = [evidence.mean(row.id, FIRST_HALF).mean for row in evidence.rows if evidence.values(row.id, FIRST_HALF)]
    return {
        "equal texts": said if shown else _open(evidence, [row.id for row in evidence.rows]),
        "an equal transcript": "yes" * any(equal[id] == len(shown[id]) for id in equal),
        "starts": f"{min(starts):.1f} to {max(starts):.1f}" if starts else "",
    }
