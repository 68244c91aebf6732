"""Put the answer into three sentences, which follow from the numbers, and a table."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import indent
from typing import get_args

from pipeline.answer.findings import BLOCK_CHARS, Findings, Kind, Network, crossings, percent
from pipeline.support.markdown import markdown_table, plain, text_table
from pipeline.support.statistics import PairedComparison
from pipeline.support.terminal import wrapped
from pipeline.support.wording import counted

HEADS = ("", "stored numbers", "characters", "seconds", "ms/character", "test perplexity", "mixed")


def three_sentences(findings: Findings) -> dict[str, str]:
    """The three sentences of the answer: the network alone, with counting, and at equal numbers stored."""
    return {"alone": alone(findings), "with_counting": with_counting(findings), "below": below(findings)}


def alone(findings: Findings) -> str:
    """Compare the default network with the n-gram model of all orders."""
    network, ngram = findings.default, findings.ngram
    conclusion = {
        "ahead": "the network is better than counting",
        "behind": "counting is better than the network",
        "open": f"which of the two is better is open{_why_open(findings.alone)}",
    }[findings.alone.verdict]
    return (
        f"Alone: the {network.name}, trained for {_seconds(network.train_seconds)}, has a test perplexity of "
        f"{_mean(findings, network)}; the {ngram.name}, fitted in {_seconds(ngram.fit_seconds)}, have "
        f"{ngram.test_perplexity:.2f}. The network's is {_difference(findings.alone)}: {conclusion}."
    )


def with_counting(findings: Findings) -> str:
    """Compare the mixture, and the largest network on top of n-grams, with the n-gram model of all orders."""
    mixed, on_top = findings.default, findings.largest_on_top
    return (
        f"With counting: mixed with the {findings.ngram.name}, the network reaches {_mean(findings, mixed, True)}, "
        f"{_difference(findings.mixed)} than these alone{_unless_ahead(findings.mixed)}; the {on_top.name}, "
        f"trained on top of n-grams for {_seconds(on_top.train_seconds)}, reaches {_mean(findings, on_top)}, "
        f"{_difference(findings.on_top)}{_unless_ahead(findings.on_top)}."
    )


def below(findings: Findings) -> str:
    """Compare networks alone with n-grams that store equally many numbers."""
    networks, counted = findings.by_size, findings.counted
    found = crossings(
        [(each.stored_numbers, findings.mean(each).mean) for each in networks],
        [(each.entries, each.test_perplexity) for each in counted],
    )
    if found is None:
        return (
            f"Below {_size(networks[0].stored_numbers)} stored numbers: no network was trained, and every n-gram "
            "stores less; the two can't be compared at one size."
        )
    networks_first, (low, *limits) = found
    names = ("networks", "n-grams") if networks_first else ("n-grams", "networks")
    sentence = (
        f"Below {_size(limits[0])} stored numbers (down to {_size(low)}, the least that both have): {names[0]} "
        f"are better than {names[1]} of the same size"
    )
    for number, (start, end) in enumerate(pairwise(limits), start=1):
        where = f"above {_size(start)}" if end == limits[-1] else f"from {_size(start)} to {_size(end)}"
        sentence += f"; {where}, {names[number % 2]} are"
    return f"{sentence}.{_example(findings, networks, limits[0])}"


def _example(findings: Findings, networks: Sequence[Network], limit: float) -> str:
    """Compare the largest network up to a limit with the best n-gram that is not larger; "" without both."""
    smaller = [each for each in networks if each.stored_numbers <= limit]
    ngrams = [each for each in findings.counted if smaller and each.entries <= smaller[-1].stored_numbers]
    if not ngrams:
        return ""
    network, ngram = smaller[-1], min(ngrams, key=lambda each: each.val_perplexity)
    ends, bar = findings.mean(network).ends, ngram.test_perplexity
    is_close = ends is not None and ends[0] <= bar <= ends[1]
    return (
        f" The {network.name} has {_mean(findings, network)} with {network.stored_numbers:,} numbers, the "
        f"{ngram.name} {bar:.2f} with {ngram.entries:,}{': too close to call' if is_close else ''}."
    )


# --- parts of sentences ----------------------------------------------------------------------------------------------


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2g} s"


def _size(numbers: float) -> str:
    """Format a size with two significant digits, such as 21,000."""
    return f"{float(f'{numbers:.2g}'):,.0f}"


def _mean(findings: Findings, network: Network, mixed: bool = False) -> str:
    """Format a mean test perplexity with half of its interval, such as 3.66 ± 0.02 (3 seeds)."""
    return f"{findings.mean(network, mixed)} ({counted(len(network.test), 'seed')})"


def _intervals(comparison: PairedComparison) -> dict[str, tuple[float, float]]:
    """The known 95 % intervals of a difference in bits per character, by their source."""
    named = {"the seeds": comparison.over_seeds, "the text": comparison.over_text}
    return {name: each.ends for name, each in named.items() if each.ends}


def _difference(comparison: PairedComparison) -> str:
    """Format how much lower or higher a perplexity is, with the intervals by the seeds and by the text."""
    change = percent(comparison.over_seeds.mean)
    intervals = [
        f"{percent(low):+.1f} to {percent(high):+.1f} % by {name}"
        for name, (low, high) in _intervals(comparison).items()
    ]
    side = "lower" if change < 0 else "higher"
    return f"{abs(change):.1f} % {side}" + (f" ({'; '.join(intervals)})" if intervals else "")


def _why_open(comparison: PairedComparison) -> str:
    """Say which intervals include zero."""
    with_zero = [name for name, (low, high) in _intervals(comparison).items() if low <= 0 <= high]
    return f", as the interval by {' and that by '.join(with_zero)} includes zero" if with_zero else ""


def _unless_ahead(comparison: PairedComparison) -> str:
    return {"ahead": "", "behind": ", so it is behind", "open": f" (open{_why_open(comparison)})"}[comparison.verdict]


# --- the table, the note and what is printed -------------------------------------------------------------------------


def _rows(findings: Findings) -> list[tuple[str, ...]]:
    """The rows of the table: the n-grams by order, then the networks."""
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            f"{each.entries:,}",
            "",
            f"{each.fit_seconds:.2f}",
            f"{each.ms_per_char:.3f}",
            f"{each.test_perplexity:.3f}",
            "",
        )
        for each in findings.counted
    ]
    for each in findings.trained:
        part = f" on {each.text_chars:,}" if each.family == "text" and each is not findings.default else ""
        on_top = " on top" if each.family == "on top" else ""
        rows.append(
            (
                f"{each.name}{on_top}{part}",
                f"{each.stored_numbers:,}",
                f"{each.read_chars:,}",
                f"{each.train_seconds:.1f}",
                "" if each.ms_per_char is None else f"{each.ms_per_char:.3f}",
                str(findings.mean(each)),
                "" if each.family == "on top" else str(findings.mean(each, mixed=True)),
            )
        )
    return rows


def how_measured(findings: Findings) -> str:
    """Explain the intervals of the sentences and the columns of the table."""
    spreads = {kind: findings.spread(kind) for kind in get_args(Kind)}
    known = [f"{100 * each.deviation:.2g} % {kind}" for kind, each in spreads.items() if each.deviation is not None]
    seeds = (
        f"± is half of the 95 % interval of the mean, from the spread among seeds, pooled over all networks of a kind "
        f"(of perplexity: {', '.join(known)})."
        if known
        else "No seed was repeated, so perplexities have no interval."
    )
    return (
        f"{seeds} In the sentences, the interval by the seeds is Student's t of these seeds, that by the text is of a "
        f"paired bootstrap over blocks of {BLOCK_CHARS} characters of the test text. Characters are those that a "
        "network is trained on in all; seconds are of its training, on one thread, and of fitting n-grams; "
        "milliseconds are those to write one character. Sizes between those measured are interpolated."
    )


def answer_note(findings: Findings, sentences: Mapping[str, str]) -> str:
    """The Markdown description of the answer's run."""
    said = "\n".join(f"- {plain(sentence)}" for sentence in sentences.values())
    return f"{said}\n\n{markdown_table(HEADS, _rows(findings))}\n\n{how_measured(findings)}"


def answer_table(findings: Findings, sentences: Mapping[str, str], link: str) -> str:
    """The text that `tmlm answer` prints at its end."""
    table = indent(text_table(HEADS, _rows(findings)), "  ")
    words = "\n\n".join(wrapped(line, "  ") for line in sentences.values())
    measured = wrapped(how_measured(findings), "  ")
    return f"The answer on {findings.text}\n\n{words}\n\n{table}\n\n{measured}\n\n{indent(link, '  ')}"
