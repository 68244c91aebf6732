"""All tolerances by which statements are judged, each with the sentence that the page prints for it.

The report does not define its words "about", "slightly", "considerably" or a visible gap. ``judging.sensitivity``
counts the verdicts that depend on a bound, by judging again at half and at twice each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


def bound(value: float, sentence: str) -> Any:
    """A dataclass field with this default and a sentence, in which ``{}`` stands for the value."""
    return field(default=value, metadata={"sentence": sentence})


@dataclass(frozen=True)
class Bounds:
    """The tolerances; all are above 0 and may be scaled."""

    level_units: float = bound(0.5, "A perplexity is “about” a number if it is within {} of it.")
    level_share: float = bound(0.1, "It is about a number too if it is within this share of it: {}.")
    visible_gap: float = bound(
        0.5,
        "A generalisation gap (validation minus training perplexity) is visible from {} on: about three line widths "
        "of the book's plot.",
    )
    considerable_gap: float = bound(1.0, "A gap is considerable from {} on.")
    early_share: float = bound(0.1, "“At first” is this share of the epochs: {}.")
    stretch_share: float = bound(
        0.1, "A gap grows or shrinks if its means over stretches of this share of the epochs do: {}."
    )
    onset_epochs: float = bound(5, "An epoch is “about” the named one if it is within {} epochs of it.")
    onset_share: float = bound(0.5, "It is about the named one too if it is within this share of its number: {}.")
    slightly: float = bound(0.1, "“Slightly” more or less is a difference of at most this share: {}.")
    considerably: float = bound(
        0.25, "“Considerably” more or less is a difference of at least this share of the smaller: {}."
    )
    far: float = bound(0.5, "“Far” higher is a difference of at least this share: {}.")
    rise: float = bound(
        0.05,
        "A network overfits if its validation perplexity ends this share above its lowest while training perplexity "
        "goes on falling: {}.",
    )
    close_edits: float = bound(
        0.25,
        "A text is very near to the book if it has at most this many edits per character from how the book goes on: "
        "{}.",
    )
    sense_share: float = bound(
        0.75,
        "Texts make some sense if at least this share of their words are words of the book, and at least this share "
        "of each text's words are distinct: {}.",
    )
    sentence_share: float = bound(0.9, "Texts look like sentences if both of these shares are at least {}.")
    seconds: float = bound(1.0, "A time in prose agrees with its transcript if it is within {} s of it.")
    last_digit: float = bound(0.5, "A size agrees if it is within this part of the last digit that is given: {}.")

    def scaled(self, name: str, factor: float) -> "Bounds":
        """Copy these bounds with one of them multiplied by ``factor``."""
        return replace(self, **{name: factor * getattr(self, name)})

    def about(self, target: float) -> tuple[float, float]:
        """The range [low, high] of perplexities that are about the target."""
        tolerance = max(self.level_units, self.level_share * target)
        return target - tolerance, target + tolerance

    def near_epoch(self, epoch: float) -> tuple[float, float]:
        """The range [low, high] of epochs that are about the given one."""
        tolerance = max(self.onset_epochs, self.onset_share * epoch)
        return epoch - tolerance, epoch + tolerance


def names() -> tuple[str, ...]:
    """The names of the bounds."""
    return tuple(each.name for each in fields(Bounds))


def sentences(bounds: Bounds | None = None) -> Mapping[str, str]:
    """The sentence of each bound, by name, with its value."""
    chosen = bounds or Bounds()
    return {each.name: each.metadata["sentence"].format(f"{getattr(chosen, each.name):g}") for each in fields(Bounds)}
