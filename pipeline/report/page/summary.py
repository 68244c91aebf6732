"""A reproduction in words: what the commands print, and the note that its run carries."""

from collections import Counter
from collections.abc import Sequence

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.claims.findings import Outcome
from pipeline.report.claims.verdicts import Verdict
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.support.markdown import markdown_table, plain, text_table
from pipeline.support.statistics import estimate

REPRODUCED_HEADS = ("configuration", "reported", "train, last", "validation, last", "validation, best", "")

OUTCOME_WORDS: dict[Outcome, str] = {"holds": "hold", "does not hold": "do not", "can't be judged": "can't be judged"}


def _seeds_and_epochs(each: Configuration) -> str:
    """2 seeds, 100 epochs; or how far the one has come that has come least."""
    if not each.runs:
        return "not trained"
    least = min(each.runs, key=lambda run: run.epochs)
    count = f"{len(each.runs)} seed{'s' if len(each.runs) > 1 else ''}"
    planned = "" if least.is_whole else f"of {least.epochs_planned} "
    return f"{count}, {least.epochs} {planned}epochs"


def _reproduced_row(each: Configuration) -> tuple[str, ...]:
    reported = "" if each.reported.perplexity_end is None else f"{each.reported.perplexity_end:g}"
    if not each.runs:
        return each.id, reported, "", "", "", _seeds_and_epochs(each)
    train, val = each.mean_curve("train"), each.mean_curve("val")
    best = estimate([run.best_val for run in each.furthest]).mean
    return each.id, reported, f"{train[-1]:.2f}", f"{val[-1]:.2f}", f"{best:.2f}", _seeds_and_epochs(each)


def _counted_verdicts(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    said = ", ".join(f"{counts[outcome]} {words}" for outcome, words in OUTCOME_WORDS.items())
    return f"Of {len(verdicts)} claims of the report {said}." if verdicts else ""


def _is_quick_text(found: Reproduction) -> str:
    return "A quick check of a few epochs: no reproduction." if found.quick else ""


def reproduction_note(found: Reproduction, verdicts: Sequence[Verdict], made: Sequence[Check]) -> str:
    """The reproduction's page: what became of each configuration, and where the report is."""
    table = markdown_table(REPRODUCED_HEADS, (list(map(plain, _reproduced_row(each))) for each in found.configurations))
    said = [_is_quick_text(found), _counted_verdicts(verdicts), *map(plain, counts_in_words(made))]
    where = "The report: `report/report.html` among the artifacts. Perplexities are averaged as the book does it."
    return "\n\n".join(filter(None, [*said, table, where]))


def reproduction_table(
    found: Reproduction, verdicts: Sequence[Verdict], made: Sequence[Check], page: str, how_to_start: str
) -> str:
    """What `tmlm reproduce` and `tmlm report` print."""
    last = len(REPRODUCED_HEADS) - 1
    table = text_table(REPRODUCED_HEADS, map(_reproduced_row, found.configurations), left=(0, last))
    failed = [f"  {check.said}" for check in made if check.is_met is False]
    said = [_is_quick_text(found), _counted_verdicts(verdicts), *counts_in_words(made), *failed]
    tail = f"report  {page}\nrun     {found.link}\n({how_to_start})"
    return "\n".join(
        [f"{found.table.name}, perplexity as reported and as reproduced", "", table, "", *filter(None, said), "", tail]
    )
