"""Hypothesis strategies of hostile input: valid values with odd parts, and damaged bytes."""

import json
from collections.abc import Iterator
from copy import deepcopy
from math import inf, nan
from typing import Any

from hypothesis import strategies as st

NESTED: list[Any] = []
for _ in range(200):
    NESTED = [NESTED]
ODD_TEXTS = (
    *("", " ", "0", "-1", "nan", "1e999", "9" * 5000, "١٢", "auto", "..", "../../../x", "/dev/zero", "~", "a\0b", "\n"),
    *("\ud800", "\u202ex\u2066", "é" * 300, "<script>", "=1+1", "%s{0}", "https://[", "models:/x/1", "\U0001f600"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63, 10**400, 0.5, -0.5, 1e308, 1e-308, nan, inf, -inf),
    *([], [None], [[]], [0], [-1, "x"], {}, {"": None}, {"0": {}}, {"name": 1}, [{}], [[1.0], [2]], NESTED),
    *ODD_TEXTS,
)
odd_texts = st.sampled_from(ODD_TEXTS) | st.text(st.characters(codec=None), max_size=20)
odd_values = st.sampled_from(ODD) | odd_texts | st.floats() | st.integers(-300, 300)
CHANGES = ("replace", "replace", "exchange", "repeat", "leave out", "rename", "empty")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indices."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(each)


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value of which up to three parts are replaced by odd ones or by each other, repeated or left out."""
    value = deepcopy(value)
    for _ in range(draw(st.integers(0, 3))):
        if not (places := list(_places(value))):
            return draw(odd_values)
        container, key = draw(st.sampled_from(places))
        part, how = container[key], draw(st.sampled_from(CHANGES))
        if how == "replace":
            container[key] = deepcopy(draw(odd_values))
        elif how == "exchange":
            other, its = draw(st.sampled_from(places))
            container[key] = deepcopy(other[its])
        elif how == "empty" and isinstance(part, list | dict):
            container[key] = type(part)()
        elif how in ("leave out", "rename"):
            del container[key]
        if how in ("repeat", "rename") and isinstance(container, list):
            container.append(deepcopy(part))
        elif how in ("repeat", "rename"):
            container[draw(odd_texts)] = deepcopy(part)
    return value


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that are cut, changed, repeated or replaced at up to four places."""
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        parts = (b"", data[at:end] * 2, b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b'"', b"[" * 3000, b"NaN")
        part = draw(st.sampled_from(parts) | st.binary(max_size=2))
        data = draw(st.sampled_from((data[:at], data[:at] + part + data[end:], data[at:] + part)))
    return data


@st.composite
def json_texts(draw: st.DrawFn, value: Any) -> str:
    """A JSON value as a text: altered, now and then with names twice, too deep, or damaged."""
    text = json.dumps(draw(altered(value)))
    how = draw(st.sampled_from(("as it is",) * 6 + ("twice", "deep", "damaged")))
    if how == "twice":
        return f"{text[:-1]}, {json.dumps(draw(altered(value)))[1:]}"
    if how == "deep":
        return "[" * 20_000 + text
    return draw(damaged(text.encode())).decode(errors="replace") if how == "damaged" else text
