"""Summarise a reproduction: the text that commands print, and the description of its run."""

from collections.abc import Sequence

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.verdicts import Verdict, words_counted
from pipeline.support.markdown import markdown_table, plain, text_table
from pipeline.support.wording import counted

REPRODUCED_HEADS = ("configuration", "reported", "train, last", "validation, last", "validation, best", "")


def _seeds_and_epochs(configuration: Configuration) -> str:
    """Format as "2 seeds, 100 epochs", with the epochs of the least advanced training."""
    if not configuration.runs:
        return "not trained"
    least = min(configuration.runs, key=lambda run: run.epochs)
    planned = "" if least.is_whole else f"of {least.epochs_planned} "
    return f"{counted(len(configuration.runs), 'seed')}, {least.epochs} {planned}epochs"


def _reproduced_row(configuration: Configuration) -> tuple[str, ...]:
    reported = "" if configuration.reported.perplexity_end is None else f"{configuration.reported.perplexity_end:g}"
    if not configuration.runs:
        return configuration.id, reported, "", "", "", _seeds_and_epochs(configuration)
    last = [f"{configuration.mean_curve(curve)[-1]:.2f}" for curve in ("train", "val")]
    best = f"{configuration.mean_best_val:.2f}"
    return configuration.id, reported, *last, best, _seeds_and_epochs(configuration)


def _counted_verdicts(verdicts: Sequence[Verdict]) -> str:
    words = "; ".join(f"{number} {word}" for word, number in words_counted(verdicts).items())
    return f"{counted(len(verdicts), 'statement')}: {words}." if verdicts else ""


def _is_quick_text(reproduction: Reproduction) -> str:
    return "A quick check of a few epochs: no reproduction." if reproduction.quick else ""


def reproduction_note(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> str:
    """The Markdown description of a reproduction's run: its configurations, verdicts and checks."""
    table = markdown_table(
        REPRODUCED_HEADS,
        (list(map(plain, _reproduced_row(configuration))) for configuration in reproduction.configurations),
    )
    sentences = [_is_quick_text(reproduction), _counted_verdicts(verdicts), *map(plain, counts_in_words(checks))]
    where = "The report: `report/report.html` among the artifacts. Perplexities are averaged as the book does it."
    return "\n\n".join(filter(None, [*sentences, table, where]))


def reproduction_table(
    reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check], page: str, link: str
) -> str:
    """The text that `tmlm reproduce` and `tmlm report` print at the end."""
    last = len(REPRODUCED_HEADS) - 1
    table = text_table(REPRODUCED_HEADS, map(_reproduced_row, reproduction.configurations), left=(0, last))
    failed = [f"  {check.said}" for check in checks if check.is_met is False]
    sentences = [_is_quick_text(reproduction), _counted_verdicts(verdicts), *counts_in_words(checks), *failed]
    tail = f"report  {page}\n{link}"
    return "\n".join(
        [
            "the coursework report, perplexity as reported and as reproduced",
            "",
            table,
            "",
            *filter(None, sentences),
            "",
            tail,
        ]
    )
