"""The claims of statements that have parts, parsed once, when a statement is read, from the word in its ``relation``.

All other words are claims by themselves; the judges of their kinds say what they mean.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from models.config import ModelConfig


class GapSize(NamedTuple):
    """A generalisation gap that reaches a size at the last epoch, or does not at the first ones, or at any."""

    size: Literal["visible", "considerable"]
    when: Literal["last", "not at first", "never"]


class Ratio(NamedTuple):
    """A number that is larger or smaller than others, by how much, and whether than one of them is enough."""

    word: Literal["more", "less", "longer", "shorter"]
    degree: Literal["", "slightly", "considerably", "not considerably"] = ""
    than_some: bool = False


Claim = str | GapSize | Ratio | ModelConfig | Mapping[str, str]
"""Of a print-out the model that it names, of a caption what it says of a figure: its number, or cell, layers, units."""

GAPS: Mapping[str, GapSize] = {
    "visible-at-last": GapSize("visible", "last"),
    "considerable-at-last": GapSize("considerable", "last"),
    "not-visible-at-first": GapSize("visible", "not at first"),
    "not-considerable-at-first": GapSize("considerable", "not at first"),
    "never-visible": GapSize("visible", "never"),
    "never-considerable": GapSize("considerable", "never"),
}
RATIOS: Mapping[str, Ratio] = {
    "more": Ratio("more"),
    "less": Ratio("less"),
    "considerably-more": Ratio("more", "considerably"),
    "considerably-less": Ratio("less", "considerably"),
    "slightly-longer": Ratio("longer", "slightly"),
    "slightly-shorter": Ratio("shorter", "slightly"),
    "considerably-longer": Ratio("longer", "considerably"),
    "not-considerably-longer": Ratio("longer", "not considerably"),
    "shorter-than-some": Ratio("shorter", than_some=True),
}


def _shape(relation: str) -> ModelConfig:
    """The model of a shape such as gru-2x32."""
    cell, _, size = relation.partition("-")
    layers, _, units = size.partition("x")
    return ModelConfig(cell=cell, num_layers=int(layers), hidden_size=int(units))


def _caption(relation: str) -> Claim:
    """A word, or what is said of a figure, such as figure=5 or "cell=gru layers=2"."""
    return dict(each.split("=") for each in relation.split()) if "=" in relation else relation


PARSED: Mapping[str, Callable[[str], Claim]] = {  # by kind of statement
    "gap": lambda relation: GAPS.get(relation, relation),
    "size-order": RATIOS.__getitem__,
    "time-order": RATIOS.__getitem__,
    "print-out": _shape,
    "caption": _caption,
}


def claim_of(kind: str, relation: str) -> Claim:
    """What a statement of this kind claims."""
    return PARSED[kind](relation) if kind in PARSED else relation
