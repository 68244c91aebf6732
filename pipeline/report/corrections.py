"""The report's errors, corrected and explained: the texts of data/corrections.csv with figures of the recorded runs.

A row is part of a correction (reported, found, instead) or an explanation. Its text names figures in braces: those of
``_figures``, or what justifies a verdict, by the id of its statement. With a figure in the column ``needs``, it is said
only if that figure is known (not ""); with ID=WORD, only if that is the verdict. What follows from the report itself,
by its table and the formulas of models.complexity, is written out there.
"""

import csv
from collections.abc import Mapping

from pipeline.report.counting import BASELINE_ORDER, Reading, same_text_against_counting, whole
from pipeline.report.reproduction import JudgedTraining
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, LAST_TRAIN, LAST_VAL, Evidence
from pipeline.report.statements.table import KINDS
from pipeline.report.statements.verdicts import FAILS, HOLDS, words_counted
from pipeline.report.table import DATA
from pipeline.support.statistics import estimate
from pipeline.support.wording import counted, listed

LEARNT = 0.9  # share of the perplexity of letter frequencies below which a network has learnt more than these

LATER = 0.05  # the last epoch's perplexity matters if it is above the best by more than this share

EIGHT = ("gru-torch-8x32", "lstm-torch-8x32")

DEEP = ("lstm-torch-2x32", "gru-torch-2x32")

THREE = ("rnn-torch-1x128", "lstm-torch-1x128", "gru-torch-1x128")


def corrections(evidence: Evidence) -> dict[str, dict[str, str]]:
    """The sentences of each correction and explanation by title and part; none for other statements than the report's.

    A correction has the parts reported, found (by our runs) and instead (what we conclude).
    """
    if not evidence.is_of_the_report:
        return {}
    known = {each.statement.id: each.because for each in evidence.verdicts} | _figures(evidence)
    true = {f"{each.statement.id}={each.word}" for each in evidence.verdicts} | {key for key in known if known[key]}
    texts: dict[str, dict[str, str]] = {}
    with (DATA / "corrections.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            parts = texts.setdefault(row["title"], {})
            said = parts.setdefault(row["part"], "")
            if not row["needs"] or row["needs"] in true:
                parts[row["part"]] = f"{said} {row['text'].format_map(known)}".strip()
    return texts


def _figures(evidence: Evidence) -> dict[str, str]:
    """The figures that the sentences name, "" for those that the runs do not have; "yes" for what is the case."""
    text, verdicts = evidence.reproduction.text, evidence.verdicts
    transcripts = [each for each in verdicts if each.statement.relation == "transcript"]
    counts = words_counted(transcripts)
    failed = [each for each in verdicts if each.word == FAILS and each.statement.relation != "units"]
    wrong = {kind: [each.because for each in failed if each.statement.kind == kind] for kind in KINDS}
    orders = [order for order in text.windowed if order >= BASELINE_ORDER]
    is_trained = not evidence.missing(*THREE)
    return {
        "letters": f"{text.unigram:.2f}",
        "letters in training": f"{text.train_unigram:.2f}",
        "n-grams": listed([f"{text.windowed[order]:.2f} (order {order})" for order in orders]),
        "places": listed([f"'{each.prompt}' ({each.split}, {each.position:,})" for each in text.prompts]),
        "captions": " ".join(dict.fromkeys(wrong["caption"])),
        "prose": " ".join([*wrong["size"], *wrong["seconds"]]),
        "transcripts": f"of {len(transcripts)} transcripts "
        f"{listed([f'{number} are {word}' for word, number in counts.items() if number])}",
        "an equal transcript": "yes" * (counts[HOLDS] > 0),
        "levels of the deep": listed([f"{evidence.verdict(f'{id}-end').word} for {id}" for id in DEEP]),
        "lowest": f"{min(evidence.mean(id, BEST_VAL).mean for id in THREE):.1f}" if is_trained else "",
        "untrained three": "yes" * (not is_trained),
        "last epochs": _last_epochs(evidence),
        **_eight_layers(evidence),
        **_networks_and_ngrams(evidence),
    }


def _open(evidence: Evidence) -> str:
    return f"Our runs leave it open. {evidence.missing(*(row.id for row in evidence.rows))}"


def _last_epochs(evidence: Evidence) -> str:
    """A sentence on how many configurations are notably better before the last epoch."""
    done = [row.id for row in evidence.rows if evidence.trainings(row.id)]
    if not done:
        return _open(evidence)
    loss = {id: evidence.mean(id, LAST_VAL).mean / evidence.mean(id, BEST_VAL).mean - 1 for id in done}
    worst, later = max(done, key=loss.__getitem__), sum(share > LATER for share in loss.values())
    return (
        f"The last epoch's validation perplexity is over {100 * LATER:.0f} % above the best for {later} of our "
        f"{len(done)} configurations, by {100 * loss[worst]:.0f} % for {worst}."
    )


def _eight_layers(evidence: Evidence) -> dict[str, str]:
    """What networks of eight layers learn beyond letter frequencies, by the report's recipe and by ours."""
    text, id = evidence.reproduction.text, EIGHT[0]
    learn = fit = wins = False
    if is_trained := not evidence.missing(*EIGHT):
        learn = any(evidence.mean(each, BEST_VAL).mean < LEARNT * text.unigram for each in EIGHT)
        fit = any(evidence.mean(each, LAST_TRAIN).mean < LEARNT * text.train_unigram for each in EIGHT)
    runs = _same_text(evidence, id)
    said = f"Whether our recipe trains the shape of {id}, `tmlm reproduce` would show."
    if runs:
        best = estimate([run.best_val for run in runs])
        wins = best.mean < LEARNT * text.unigram
        said = (
            f"By our recipe on the same characters the shape of {id} gets to {best} in validation "
            f"({counted(len(runs), 'seed')}), where the letters' frequencies give {text.unigram:.2f}."
        )
    return {
        "eight untrained": "yes" * (not is_trained),
        "eight learn": "yes" * learn,
        "eight do not learn": "yes" * (is_trained and not learn),
        "eight do not fit": "yes" * (is_trained and not learn and not fit),
        "own recipe of eight": said,
        "own recipe alone learns": "yes" * (is_trained and not learn and wins),
        "own recipe fails": "yes" * (bool(runs) and not wins),
    }


def _same_text(evidence: Evidence, id: str) -> tuple[JudgedTraining, ...]:
    """Our recipe's complete trainings of the shape on the report's characters; none in a quick reproduction."""
    runs = () if evidence.reproduction.quick else whole(evidence.reproduction[id].same_text)
    return tuple(run for run in runs if run.windowed is not None)


def _networks_and_ngrams(evidence: Evidence) -> dict[str, str]:
    """The best networks of either recipe beside n-grams; perplexities are pooled, each window without context."""
    text, lstm = evidence.reproduction.text, THREE[1]
    trained = [row.id for row in evidence.rows if evidence.values(row.id, BEST_POOLED)]
    means = {id: evidence.mean(id, BEST_POOLED) for id in trained}
    known = {"best network": _open(evidence), "winners": "", "untrained": "yes" * (not trained), "own recipe": ""}
    if trained:
        best, bar = min(trained, key=lambda id: means[id].mean), text.windowed.get(BASELINE_ORDER, 0.0)
        ahead = sum(mean.mean < bar for mean in means.values())
        known["best network"] = (
            f"The best of {counted(len(trained), 'trained configuration')}, {best}, has {means[best]} (pooled, best "
            f"epoch, {evidence.seeds(best, BEST_POOLED)})."
        )
        verb = "beats" if ahead < 2 else "beat"
        known["winners"] = f"{ahead or 'None'} of the {len(trained)} {verb} a {BASELINE_ORDER}-gram ({bar:.2f})"

    def beside(reading: Reading, bars: Mapping[int, float], *orders: int) -> str:
        orders = (*orders, min(bars, key=bars.__getitem__))
        compared = [same_text_against_counting(evidence.reproduction, lstm, reading, order) for order in orders]
        shown = "; ".join(str(each) for each in compared if each is not None)
        return f" ({shown})" if shown else ""

    wins = False
    if runs := _same_text(evidence, lstm):
        windowed = estimate([run.windowed or 0.0 for run in runs]).mean
        read_on = estimate([run.best_val for run in runs]).mean
        wins = bool(trained) and windowed < min(mean.mean for mean in means.values())
        known["own recipe"] = (
            f"{windowed:.2f}{beside('windowed', text.windowed, BASELINE_ORDER)} in windows and "
            f"{read_on:.2f}{beside('val', text.val_perplexities)} reading on ({counted(len(runs), 'seed')})"
        )
    return {**known, "own recipe wins": "yes" * wins}
