"""Compose the sentences of the report's page, the text that commands print, and the description of the run."""

from collections.abc import Sequence
from math import log

from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.checks import Check, counts_in_words
from pipeline.report.counting import BASELINE_ORDER, against_counting
from pipeline.report.reproduction import Configuration, Curve, Reproduction
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON, Verdict, words_counted
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


def banner(reproduction: Reproduction) -> str:
    """The warning at the top of the page of a quick check; "" for a reproduction."""
    planned = sorted({run.epochs_planned for each in reproduction.configurations for run in each.whole}) or [0]
    return f"A quick check of {span(planned)} epochs: no reproduction." if reproduction.quick else ""


def answer(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> list[str]:
    """Up to three sentences: how many statements hold, which level is furthest off, and the comparison with n-grams."""
    counts = words_counted(verdicts)
    equal = [
        each.id for each in reproduction.configurations if 0 < len(each.reported.samples) == len(equal_texts(each))
    ]
    returned = f"; the texts of {listed(equal)} are the same letter for letter" if equal else ""
    sentences = [
        f"Of the report's {counted(len(verdicts), 'statement')}, {counts[HOLDS]} "
        f"{'is' if counts[HOLDS] == 1 else 'are'} reproduced and {counts[IN_PART]} in part, "
        f"{counts[WRONG_REASON]} right for a wrong reason, {counts[FAILS]} not reproduced and {counts[OPEN]} "
        f"open{returned}."
    ]
    whole = [each for each in reproduction.configurations if each.whole]
    if levels := [each for each in whole if each.reported.perplexity_end]:
        worst = max(levels, key=lambda each: abs(log(each.last("val") / (each.reported.perplexity_end or 1))))
        train, val = (rounded(worst.last(curve)) for curve in ENDS)
        epochs = span([run.best_epoch for run in worst.whole])
        sentences.append(
            f"Furthest from what is reported is the perplexity of {worst.id}: about "
            f"{worst.reported.perplexity_end:g}, where it ends at {train} in training and {val} in validation (at best "
            f"{rounded(worst.mean_best_val)}, epoch {epochs})."
        )
    if whole:
        sentences += _counting_sentence(reproduction, min(whole, key=lambda each: each.mean_best_pooled), len(whole))
    return sentences


def _counting_sentence(reproduction: Reproduction, best: Configuration, count: int) -> list[str]:
    """Compare the best of so many networks with an n-gram; if it loses, name the best shape by another recipe."""
    compared = against_counting(reproduction, best.id, "report", "windowed", BASELINE_ORDER)
    if compared is None:
        return []
    networks = counted(count, "network")
    opening = {
        "ahead": f"The best of {networks} beats a {BASELINE_ORDER}-gram",
        "behind": f"{f'All {networks} lose' if count > 1 else 'The network loses'} to a {BASELINE_ORDER}-gram",
        "open": f"The best of {networks} is level with a {BASELINE_ORDER}-gram",
    }[compared.comparison.verdict]
    bar = rounded(reproduction.text.windowed[BASELINE_ORDER])
    sentence = f"{opening} that counts the same characters ({rounded(best.mean_best_pooled)} against {bar})"
    others = [
        (other.perplexity, other.comparison.verdict, configuration.id)
        for configuration in reproduction.configurations
        if (other := against_counting(reproduction, configuration.id, "same-text", "windowed", BASELINE_ORDER))
    ]
    if compared.comparison.verdict == "behind" and others:
        value, side, id = min(others)
        sentence += f"; by another recipe the shape of {id} reaches {rounded(value)} on them"
        sentence += "" if side == "behind" else ", so it is the recipe that loses and not the network"
    return [f"{sentence}."]


def equal_texts(configuration: Configuration) -> list[str]:
    """The prompts whose reported text at least one seed generates letter for letter."""
    ours = [dict(run.texts) for run in configuration.whole]
    return [prompt for prompt, text in configuration.reported.samples if any(t.get(prompt) == text for t in ours)]


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


def _counts(reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]) -> list[str]:
    quick = ["A quick check of a few epochs: no reproduction."] if reproduction.quick else []
    words = "; ".join(f"{number} {word}" for word, number in words_counted(verdicts).items())
    judged = [f"{counted(len(verdicts), 'statement')}: {words}."] if verdicts else []
    return [*quick, *judged, *counts_in_words(checks)]


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
