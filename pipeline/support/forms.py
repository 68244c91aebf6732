"""Check the form of what was read: JSON may hold anything, and come from another version, program or person."""

from collections.abc import Callable
from typing import Any

# a test of a value, [the form of each item] or {name: the form of its value}, where ... stands for all other names
Form = Callable[[Any], bool] | list[Any] | dict[Any, Any]

LARGEST_COUNT, LARGEST_NUMBER = 10**18, 1e300


def has_form(value: Any, form: Form) -> bool:
    """Whether a value has a form; a mapping may have other names as well."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        names = {*form, *value} - {...} if ... in form else form
        return all(has_form(value.get(name), form[name if name in form else ...]) for name in names)
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(item, form[0]) for item in value)
    return form(value)


def text(value: Any) -> bool:
    """A text that can be written as UTF-8, which one with half of a surrogate pair can't."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def count(value: Any) -> bool:
    """A whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_COUNT


def natural(value: Any) -> bool:
    """A whole number from 0 on."""
    return (value == 0 and isinstance(value, int) and not isinstance(value, bool)) or count(value)


def number(value: Any) -> bool:
    """A finite number from 0 on."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER


def positive(value: Any) -> bool:
    """A finite number above 0."""
    return number(value) and value > 0


def maybe(form: Form) -> Callable[[Any], bool]:
    """None, or of a form; in a mapping, the name may be missing."""
    return lambda value: value is None or has_form(value, form)
