"""Compose the sentences of the report's page, the text that commands print, and the description of the run."""

from collections.abc import Iterator, Sequence
from math import log

from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.checks import Check, counts_in_words
from pipeline.report.counting import against_counting, explained_by_recipe
from pipeline.report.reproduction import Curve, Reproduction
from pipeline.report.statements.kinds import BASES
from pipeline.report.statements.verdicts import Verdict, tally
from pipeline.support.markdown import markdown_table, plain, text_table
from pipeline.support.wording import counted, listed, rounded, span

PROTOCOL = (
    f"Protocol, that of the d2l.ai book: {WINDOW_TRAIN:,} windows of {WINDOW_LENGTH} characters train, the next "
    f"{WINDOW_VAL:,} validate; batches of 1,024, shuffled; the state starts at zero in every window; SGD without "
    "momentum, gradient norm clipped at 1. From scratch: normal weights of standard deviation 0.01, learning rate 4, "
    "50 epochs. torch.nn: its default weights, learning rate 4 (RNN 1, several layers 2), 100 epochs. Text is "
    "generated greedily, 20 characters after the prompt."
)

ENDS: tuple[Curve, Curve] = ("train", "val")

SOURCES = (
    "A. Zhang, Z. C. Lipton, M. Li, A. J. Smola: Dive into Deep Learning. Cambridge University Press, 2023 (d2l.ai), "
    "chapters 9 and 10: the protocol.",
    "H. G. Wells: The Time Machine. Heinemann, 1895: the text.",
    "R. Kneser, H. Ney: Improved backing-off for m-gram language modeling. ICASSP 1995, pages 181-184.",
    "S. F. Chen, J. Goodman: An empirical study of smoothing techniques for language modeling. Technical report "
    "TR-10-98, Harvard University, 1998; Computer Speech and Language 13 (1999), pages 359-394.",
)

HEADS = ("configuration", "reported", "train, last", "validation, last", "validation, best", "")


def warning(reproduction: Reproduction) -> str:
    """The warning at the beginning of the title of a quick check; "" for a reproduction."""
    planned = sorted({run.epochs_planned for each in reproduction.configurations for run in each.whole}) or [0]
    return f"A quick check of {span(planned)} epochs: no reproduction." if reproduction.quick else ""


def answer_sentences(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> list[str]:
    """What is decided how, by what decides it, then the furthest level, and n-grams."""
    sentences = verdicts_counted(verdicts)
    whole = [configuration for configuration in reproduction.configurations if configuration.whole]
    if whole:
        worst = max(whole, key=lambda each: abs(log(each.last("val") / each.reported.perplexity_end)))
        train, val = (rounded(worst.last(curve)) for curve in ENDS)
        epochs = span([run.best_epoch for run in worst.whole])
        sentences.append(
            f"Furthest from what is reported is the perplexity of {worst.id}: about "
            f"{worst.reported.perplexity_end:g}, where it ends at {train} in training and {val} in validation (at best "
            f"{rounded(worst.best())}, epoch {epochs})."
        )
    if best := against_counting(reproduction, "report", "windowed"):
        networks = counted(len(whole), "network")
        opening = {
            "ahead": f"The best of {networks} beats",
            "behind": f"All {networks} lose to" if len(whole) > 1 else "The network loses to",
            "open": f"The best of {networks} is level with",
        }[best.comparison.verdict]
        said = [f"{opening} n-grams that count the same characters: {best}."]
        if best.comparison.verdict == "behind" and (ours := against_counting(reproduction, "same-text", "windowed")):
            said.append(f"By our own recipe, {'; '.join(filter(None, [str(ours), explained_by_recipe(best, ours)]))}.")
        sentences.append(" ".join(said))
    return sentences


def verdicts_counted(verdicts: Sequence[Verdict]) -> list[str]:
    """For each basis of a verdict, the number of statements and of each word."""
    sentences, by_basis = [], tally(verdicts, "basis")
    for basis, name in BASES.items():
        if counts := by_basis.get(basis):
            words = "; ".join(f"{number} {word}" for word, number in counts.items())
            sentences.append(f"{sum(counts.values())} statements, {name}: {words}.")
    return sentences


def limitations(reproduction: Reproduction) -> list[str]:
    """Sentences on what is missing, and on what the figures can't show."""
    missing: dict[str, list[str]] = {}
    for configuration in reproduction.configurations:
        if not configuration.whole:
            missing.setdefault(configuration.progress, []).append(configuration.id)
    return [
        "The report states no protocol: the book's is assumed, with the numbers of epochs that its times fit.",
        "Its perplexities are read off prose, to one digit; how an ambiguous word is read stands with the statement.",
        "One short text: a validation perplexity is that of one passage of it, whatever the number of seeds.",
        "Seconds were taken on another machine than the report's: only their order and ratios can be compared.",
        *(f"Not trained to the end ({progress}): {listed(which)}." for progress, which in missing.items()),
    ]


# --- what commands print, and the run's description ------------------------------------------------------------------


def _rows(reproduction: Reproduction) -> Iterator[tuple[str, ...]]:
    for each in reproduction.configurations:
        means, trained = ["", "", ""], each.progress
        if each.whole:
            means = [f"{mean:.2f}" for mean in (each.last("train"), each.last("val"), each.best())]
            trained = f"{counted(len(each.whole), 'seed')}, {span([run.epochs for run in each.whole])} epochs"
        yield each.id, f"{each.reported.perplexity_end:g}", *means, trained


def _counts(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> list[str]:
    return [*filter(None, [warning(reproduction)]), *verdicts_counted(verdicts), *counts_in_words(checks)]


def reproduction_note(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> str:
    """The Markdown description of a reproduction's run: its configurations, verdicts and checks."""
    table = markdown_table(HEADS, ([plain(cell) for cell in row] for row in _rows(reproduction)))
    where = "The report: `report/report.html` among the artifacts. Perplexities are averaged as the book does it."
    return "\n\n".join([*map(plain, _counts(reproduction, verdicts, checks)), table, where])


def reproduction_table(
    reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check], page: str, link: str
) -> str:
    """The text that `tmlm reproduce` and `tmlm report` print at the end."""
    table = text_table(HEADS, _rows(reproduction), left=(0, len(HEADS) - 1))
    failed = [f"  {check.said}" for check in checks if check.is_met is False]
    said = "\n".join([*_counts(reproduction, verdicts, checks), *failed])
    title = "the coursework report, perplexity as reported and as reproduced"
    return f"{title}\n\n{table}\n\n{said}\n\nreport  {page}\n{link}"
