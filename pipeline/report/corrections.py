"""The report's errors, corrected and explained: the texts of data/corrections.csv with figures of the recorded runs.

A row is part of a correction (reported, found by our runs, instead) or an explanation. Its text names figures in
braces: those of ``_figures``, or what justifies a verdict, by the id of its statement. It is left out if one of them is
unknown. With a figure in the column ``needs``, it is said only if that is known too; with ID=WORD, only if that is the
verdict. What follows from the report itself, by its table and the formulas of models.complexity, is written out there.
"""

from collections import defaultdict
from string import Formatter

from pipeline.report.counting import BASELINE_ORDER, READINGS, against_counting, explained_by_recipe
from pipeline.report.reproduction import whole
from pipeline.report.statements.evidence import BEST_VAL, LAST_TRAIN, LAST_VAL, Evidence
from pipeline.report.statements.verdicts import Word, words_counted
from pipeline.report.table import read_csv
from pipeline.support.statistics import estimate
from pipeline.support.wording import counted, listed

LEARNT = 0.9  # share of the perplexity of letter frequencies below which a network has learnt more than these
LATER = 0.05  # the last epoch's perplexity matters if it is above the best by more than this share
EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")
DEEP = ("lstm-torch-2x32", "gru-torch-2x32")
THREE = ("rnn-torch-1x128", "lstm-torch-1x128", "gru-torch-1x128")


def corrections(evidence: Evidence) -> dict[str, dict[str, str]]:
    """The sentences of each correction and explanation, by title and part."""
    known = defaultdict(str, {each.statement.id: each.because for each in evidence.verdicts} | _figures(evidence))
    true = {"", *(key for key in known if known[key])}
    true |= {f"{verdict.statement.id}={verdict.word}" for verdict in evidence.verdicts}
    texts: dict[str, dict[str, str]] = {}
    for row in read_csv("corrections.csv"):
        parts = texts.setdefault(row["title"], {})
        said, text = parts.setdefault(row["part"], ""), row["text"].format_map(known)
        if {row["needs"], *(name or "" for _, name, _, _ in Formatter().parse(row["text"]))} <= true:
            parts[row["part"]] = f"{said} {text}".strip()
    ids = [configuration.id for configuration in evidence.reproduction.configurations]
    missing = f"Our runs leave it open. {evidence.missing(*ids)}".rstrip()
    return {title: {part: said or missing for part, said in parts.items()} for title, parts in texts.items()}


def _figures(evidence: Evidence) -> dict[str, str]:
    """The figures that the sentences name, if the runs have them; "yes" for what is the case."""
    reproduction, text, verdicts = evidence.reproduction, evidence.reproduction.text, evidence.verdicts
    transcripts = [verdict for verdict in verdicts if verdict.statement.relation == "transcript"]
    counts = words_counted(transcripts)
    failed = [verdict for verdict in verdicts if verdict.word == Word.FAILS and verdict.statement.relation != "units"]
    captions, sizes, seconds = (
        [each.because for each in failed if each.statement.kind == kind] for kind in ("caption", "size", "seconds")
    )
    orders = [order for order in text.windowed if order >= BASELINE_ORDER]
    known = {
        "letters": f"{text.unigram:.2f}",
        "letters in training": f"{text.train_unigram:.2f}",
        "n-grams": listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders]),
        "places": listed([f"'{prompt.prompt}' ({prompt.split}, {prompt.position:,})" for prompt in text.prompts]),
        "captions": " ".join(dict.fromkeys(captions)),
        "prose": " ".join([*sizes, *seconds]),
        "transcripts": f"of {len(transcripts)} transcripts "
        f"{listed([f'{number} are {word}' for word, number in counts.items() if number])}",
        "an equal transcript": "yes" * (counts[Word.HOLDS] > 0),
        "levels of the deep": listed([f"{evidence.verdict(f'{id}-end').word} for {id}" for id in DEEP]),
    }

    ids = [configuration.id for configuration in reproduction.configurations]
    if evidence.missing(*ids):
        return known
    best_vals = {id: evidence.mean(id, BEST_VAL).mean for id in ids}
    loss = {id: evidence.mean(id, LAST_VAL).mean / best_vals[id] - 1 for id in ids}
    worst, later = max(loss, key=loss.__getitem__), sum(share > LATER for share in loss.values())
    known["last epochs"] = (
        f"over {100 * LATER:.0f} % above the best for {later} of our {len(loss)} configurations, by "
        f"{100 * loss[worst]:.0f} % for {worst}"
    )
    known["lowest"] = f"{min(best_vals[id] for id in THREE):.1f}"

    # what networks of eight layers learn beyond letter frequencies, by the report's recipe and by ours
    learn = any(
        best_vals[id] < LEARNT * text.unigram or evidence.mean(id, LAST_TRAIN).mean < LEARNT * text.train_unigram
        for id in EIGHT
    )
    known["eight do not learn"] = "yes" * (not learn)
    if own := whole(reproduction[EIGHT[0]].same_text):
        best = estimate([run.best() for run in own])
        known["own recipe of eight"] = f"{best} in validation ({counted(len(own), 'seed')})"
        known["own recipe alone learns"] = "yes" * (not learn and best.mean < LEARNT * text.unigram)

    # the best networks of either recipe beside n-grams; perplexities are pooled
    _, (name, bar) = text.levels.items()
    ahead = sum(reproduction[id].best("val_pooled") < bar for id in ids)
    known["winners"] = f"{ahead or 'None'} of the {len(ids)} {'beats' if ahead < 2 else 'beat'} the {name} ({bar:.2f})"
    if winner := against_counting(reproduction, "report", "windowed"):
        known["best network"] = f"Of {len(ids)} trained configurations, the best: {winner}."
        by_ours, read_on = (against_counting(reproduction, "same-text", reading) for reading in READINGS)
        if by_ours and read_on:
            known["own recipe"] = f"in windows {by_ours}; reading on {read_on}"
            known["explained"] = explained_by_recipe(winner, by_ours)
            known["still behind"] = "yes" * (by_ours.comparison.verdict == "behind")
    return known
