"""Summarise a reproduction: the text that commands print, and the description of its run."""

from collections.abc import Sequence

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.verdicts import Verdict, words_counted
from pipeline.support.markdown import markdown_table, plain, text_table
from pipeline.support.wording import counted, span

HEADS = ("configuration", "reported", "train, last", "validation, last", "validation, best", "")


def _rows(reproduction: Reproduction) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in reproduction.configurations:
        reported = "" if each.reported.perplexity_end is None else f"{each.reported.perplexity_end:g}"
        if not each.whole:
            rows.append((each.id, reported, "", "", "", each.progress))
            continue
        means = (each.last("train"), each.last("val"), each.mean_best_val)
        trained = f"{counted(len(each.whole), 'seed')}, {span([run.epochs for run in each.whole])} epochs"
        rows.append((each.id, reported, *(f"{mean:.2f}" for mean in means), trained))
    return rows


def _sentences(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> list[str]:
    quick = ["A quick check of a few epochs: no reproduction."] if reproduction.quick else []
    words = "; ".join(f"{number} {word}" for word, number in words_counted(verdicts).items())
    judged = [f"{counted(len(verdicts), 'statement')}: {words}."] if verdicts else []
    return [*quick, *judged, *counts_in_words(checks)]


def reproduction_note(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> str:
    """The Markdown description of a reproduction's run: its configurations, verdicts and checks."""
    table = markdown_table(HEADS, ([plain(cell) for cell in row] for row in _rows(reproduction)))
    where = "The report: `report/report.html` among the artifacts. Perplexities are averaged as the book does it."
    return "\n\n".join([*map(plain, _sentences(reproduction, verdicts, checks)), table, where])


def reproduction_table(
    reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check], page: str, link: str
) -> str:
    """The text that `tmlm reproduce` and `tmlm report` print at the end."""
    table = text_table(HEADS, _rows(reproduction), left=(0, len(HEADS) - 1))
    failed = [f"  {check.said}" for check in checks if check.is_met is False]
    said = "\n".join([*_sentences(reproduction, verdicts, checks), *failed])
    title = "the coursework report, perplexity as reported and as reproduced"
    return f"{title}\n\n{table}\n\n{said}\n\nreport  {page}\n{link}"
