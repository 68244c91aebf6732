"""Put the answer into a line and four sentences, which follow from the numbers, and tables."""

from collections.abc import Mapping
from textwrap import indent

from pipeline.answer.findings import COMPARED, COVERAGE, UNITS, Findings, MeasuredModel, Unit, segments
from pipeline.support.markdown import plain, text_table
from pipeline.support.statistics import POWER, Estimate, PairedComparison, Side
from pipeline.support.terminal import wrapped
from pipeline.support.wording import counted, listed
from pipeline.training.differences import BOOTSTRAP_CHARS, percent

HEADS = ("", "stored numbers", "kB", "MACs", "ms", "seconds", "test perplexity")
DIFFERENCE_HEADS = ("", "against", "difference", "by seeds", "by the text", "by both", "")
VERDICTS: dict[Side, str] = {"ahead": "lower", "behind": "higher", "open": "level"}


def sentences_of(findings: Findings) -> dict[str, str]:
    """The answer in one line, and its four sentences: each side alone, both together, small models, adaptive ones."""
    return {
        "line": in_one_line(findings),
        "alone": alone(findings),
        "together": together(findings),
        "small": small(findings),
        "adaptive": adaptive(findings),
    }


def in_one_line(findings: Findings) -> str:
    """A network is worth its cost if it is better than counting; not alone, if only both together are."""
    network, both = (findings.compared[f"{each} against n-grams"].verdict == "ahead" for each in ("network", "mixed"))
    worth = "Worth it" if network else "Not worth it alone" if both else "Not worth it"
    shown = {"counting": "n-grams", "network": "network", "both": "mixed"}
    told = (f"{name} {findings.mean(findings.systems[system]).mean:.2f}" for name, system in shown.items())
    return f"{worth}: {', '.join(told)} (lower is better)"


def alone(findings: Findings) -> str:
    """Compare the default network with the n-gram model of all orders."""
    network, ngrams = findings.systems["network"], findings.systems["n-grams"]
    return (
        f"Alone: the {network.name}, trained for {_seconds(network)}, has a test perplexity of "
        f"{_told(findings, network)}; the {ngrams.name}, fitted in {_seconds(ngrams)}, have {_told(findings, ngrams)}. "
        f"{_judged(findings.compared['network against n-grams'])}."
    )


def together(findings: Findings) -> str:
    """Compare the mixture, and the largest network on top of n-grams, with the n-grams, each other and the control."""
    words = {"ahead": "better than", "open": "level with", "behind": "worse than"}
    controls = {"two networks": "two networks mixed", "mixed": "the mixture"}

    def told(system: str, name: str) -> str:
        gain = _difference(findings.compared[f"{system} against n-grams"])
        others = [
            f"{words[comparison.verdict]} {control} ({_change(comparison)}{_detectable(comparison)})"
            for other, control in controls.items()
            if (comparison := findings.compared.get(f"{system} against {other}"))
        ]
        said = [f"{gain} than the n-grams alone", *others]
        return f"{name} {_told(findings, findings.systems[system])}, {listed(said)}"

    on_top = findings.systems["on top"].name
    parts = [told("mixed", "the two mixed have"), told("on top", f"the {on_top} has")]
    if comparison := findings.compared.get("two networks against network"):
        control = findings.mean(findings.systems["two networks"])
        parts.append(f"two networks mixed, the control, have {control}, {_difference(comparison)} than one")
    return f"Together: {'; '.join(parts)}."


def small(findings: Findings) -> str:
    """Compare networks alone with n-grams that are pruned to their sizes."""
    by_numbers, by_bytes = (_by_size(findings, unit) for unit in UNITS)
    return f"Small: by stored numbers, {by_numbers}. By bytes when shipped, {by_bytes}."


def adaptive(findings: Findings) -> str:
    """Compare the network, the n-grams and both, which learn from what they have scored."""
    systems, compared = findings.systems, findings.compared
    network, ngrams, both = (_told(findings, systems[f"adaptive {side}"]) for side in ("network", "n-grams", "both"))
    return (
        f"Adaptive, learning from the text that they have scored: the {systems['network'].name} has {network}; the "
        f"n-grams have {ngrams}. {_judged(compared['adaptive network against adaptive n-grams'])}. Both together have "
        f"{both}, {_difference(compared['adaptive both against adaptive n-grams'])} than the n-grams."
    )


# --- parts of sentences ----------------------------------------------------------------------------------------------


def _seconds(model: MeasuredModel) -> str:
    seconds = model.fit_seconds or 0.0
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2g} s"


def _told(findings: Findings, model: MeasuredModel) -> str:
    """A test perplexity and what a character costs, such as 3.66 ± 0.02 (3 seeds; 177,820 MACs, 0.19 ms)."""
    seeds = f"{counted(len(model.test), 'seed')}; " if model.family or len(model.test) > 1 else ""
    return f"{findings.mean(model)} ({seeds}{model.macs_per_char:,} MACs, {model.ms_per_char:.2f} ms a character)"


def _change(comparison: PairedComparison) -> str:
    return f"{percent(comparison.over_both.mean):+.1f} %".replace("-0.0", "0.0")


def _interval(estimate: Estimate, unit: str = " %") -> str:
    """Format an interval in bits per character in percent of perplexity; "" without one."""
    return f"{percent(estimate.ends[0]):+.1f} to {percent(estimate.ends[1]):+.1f}{unit}" if estimate.ends else ""


def _difference(comparison: PairedComparison) -> str:
    """Format how much lower or higher a perplexity is, with the interval by seeds and text."""
    change = percent(comparison.over_both.mean)
    known = [_interval(comparison.over_both), *["level"] * (comparison.verdict == "open")]
    if not known[0]:
        known = ["no interval"]
    told = f"{'; '.join(known)}{_detectable(comparison)}"
    return f"{abs(change):.1f} % {'lower' if change < 0 else 'higher'} ({told})"


def _detectable(comparison: PairedComparison) -> str:
    """Format the smallest difference that would have been found, of two that are level."""
    bits = comparison.detectable(COVERAGE)
    return f"; detectable: {percent(bits):.1f} %" if bits else ""


def _judged(comparison: PairedComparison) -> str:
    """Say whether network or n-grams are better."""
    verdict = {"ahead": "The network is better", "behind": "Counting is better", "open": "They are level"}
    return f"{verdict[comparison.verdict]}: the network's is {_difference(comparison).replace('; level', '')}"


def _by_size(findings: Findings, unit: Unit) -> str:
    """Say at which of the measured sizes which side is better, and by how much."""
    parts, words = [], {"ahead": "networks are better", "behind": "pruned n-grams are better", "open": "both are level"}
    for each in segments(findings, unit):
        changes = sorted(each.changes if each.side == "open" else map(abs, each.changes), key=abs)
        told = [f"{change:{'+' if each.side == 'open' else ''}.1f}" for change in (changes[0], changes[-1])]
        sizes = [_size(each.low, unit), _size(each.high, unit)]
        between = f"at {sizes[0]}" if each.low == each.high else f"from {sizes[0]} to {sizes[1]}"
        detectable = f"; detectable: {each.detectable:.1f} %" if each.detectable else ""
        parts.append(f"{between} {words[each.side]} ({' to '.join(dict.fromkeys(told))} %{detectable})")
    return listed(parts)


def _size(size: float, unit: Unit) -> str:
    """Format a size with two significant digits, such as 21,000 or 21 kB."""
    rounded = float(f"{size:.2g}")
    return f"{rounded:,.0f}" if unit == "numbers" else f"{rounded / 1000:,.10g} kB"


# --- the tables, the note and what is printed ------------------------------------------------------------------------


def _rows(findings: Findings) -> list[tuple[str, ...]]:
    """A row for each model."""

    def number(value: float | None, form: str) -> str:
        return format(value, form) if value else ""

    return [
        (
            each.name,
            number(each.stored_numbers, ",d"),
            number(each.shipped_bytes / 1000, ",.1f"),
            f"{each.macs_per_char:,}",
            f"{each.ms_per_char:.3f}",
            number(each.fit_seconds, ".2f"),
            f"{mean.mean:.3f} ± {mean.half:.3f}" if mean.ends else f"{mean.mean:.3f}",
        )
        for each, mean in ((model, findings.mean(model)) for model in findings.models)
    ]


def _differences(findings: Findings) -> list[tuple[str, ...]]:
    """A row for each comparison: of what the sentences compare, and of networks with pruned n-grams."""
    compared = []
    for key, comparison in findings.compared.items():
        first, second = (findings.systems[system].name for system in COMPARED[key])
        compared.append((first, second, comparison))
    compared += [(f"{each.network.name}, by {each.unit}", each.ngram.name, each.comparison) for each in findings.rivals]
    return [
        (
            first,
            second,
            _change(each),
            *(_interval(source, "") for source in (each.over_seeds, each.over_text, each.over_both)),
            VERDICTS[each.verdict],
        )
        for first, second, each in compared
    ]


def how_measured(findings: Findings) -> str:
    """Explain the intervals of the sentences and the columns of the tables."""
    comparisons = len(findings.compared) + len(findings.rivals)
    return (
        f"Intervals are of {COVERAGE:.0%}, as these are {comparisons} comparisons. ± is half of that of a mean by "
        "seeds, whose spread is pooled over texts or, from three seeds on and where that is wider, their own. "
        "Differences have three: by seeds (of two networks mixed by a jackknife, from three seeds on), by the text (a "
        f"paired bootstrap over blocks of {BOOTSTRAP_CHARS} characters), and by both: level if it contains zero or is "
        f"not known. A detectable difference would have been found in {POWER:.0%} of cases. kB are those of the "
        "packed model, the mean of its seeds. MACs and milliseconds are those to write a character or, adaptive, to "
        "read it and learn, with refits; look-ups of n-grams count nothing, a network's product with a one-hot vector "
        f"does. {findings.python_ms:.3f} ms of a network's are Python's (LSTM 1x1). Seconds are of one thread. Pruned "
        "n-grams have the network's size, in bytes that of each seed: shown are those of the first."
    )


def answer_note(sentences: Mapping[str, str]) -> str:
    """The Markdown description of the answer's run, of which MLflow keeps 8,000 characters: without the tables."""
    line, *others = map(plain, sentences.values())
    return "\n\n".join([f"**{line}**", "\n".join(f"- {sentence}" for sentence in others)])


def answer_table(findings: Findings, sentences: Mapping[str, str], link: str = "") -> str:
    """The text that `tmlm answer` prints at its end."""
    words = [wrapped(line, "  ") for line in sentences.values()]
    tables = [
        indent(text_table(HEADS, _rows(findings), left=(0,)), "  "),
        indent(text_table(DIFFERENCE_HEADS, _differences(findings), left=(0, 1)), "  "),
    ]
    measured = wrapped(how_measured(findings), "  ")
    return "\n\n".join([f"The answer on {findings.corpus}", *words, *tables, measured, indent(link, "  ")])
