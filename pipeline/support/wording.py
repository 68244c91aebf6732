"""Format numbers, lists and durations for sentences and the tables of pages."""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

# compiled here, since a lack of memory is told with it
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Escape, as JSON does, characters that control a terminal or the direction in which a text is written."""
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(number: int, what: str) -> str:
    """A number with its noun: 1 file, 3 files."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(items: Sequence[str]) -> str:
    """The items in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def rounded(perplexity: float) -> str:
    """A perplexity with two decimals, without decimals from 1,000, and in words from a million."""
    if not isfinite(perplexity) or perplexity >= 1e6:
        return "over a million"
    return f"{perplexity:.2f}" if perplexity < 1000 else f"{perplexity:,.0f}"


def setting(value: Any) -> str:
    """The value of an option: auto for None, on or off, or a number with at most four significant digits."""
    if value is None or isinstance(value, bool):
        return {None: "auto", False: "off", True: "on"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def span(numbers: Sequence[int]) -> str:
    """The range of the numbers: 3 to 12, or 3 if all are equal."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def measured_duration(seconds: float) -> str:
    """How long a command took, in a sentence."""
    return f"The last command took {seconds / 60:.1f} minutes."
