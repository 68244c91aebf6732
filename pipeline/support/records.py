"""Check the form of what was read: JSON may hold anything, and come from another version, program or person.

A form is a type: one of those below, a ``record``, or what Python makes of them, as ``list[Count]``.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NotRequired, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

String = Annotated[str, AfterValidator(lambda text: text.encode().decode())]  # no half of a surrogate pair
Count = Annotated[int, Field(ge=1, le=10**18)]
Natural = Annotated[int, Field(ge=0, le=10**18)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=0, lt=1e300, allow_inf_nan=False)]
Signed = Annotated[float, Field(gt=-1e300, lt=1e300, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, lt=1e300, allow_inf_nan=False)]
ListOf = cast(Any, list)  # of what mypy takes for no type, as ListOf[record(name=String)]

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def record(**forms: Any) -> Any:
    """The form of a mapping that has these names, and may have others."""
    return TypedDict("record", forms)  # type: ignore[operator]


def maybe(form: Any) -> Any:
    """In a ``record``, what has this form, is None, or is missing."""
    return NotRequired[form | None]


def has_form(value: Any, form: Any) -> bool:
    """Whether a value has a form as it is: nothing is converted, but a whole number is a float."""
    try:
        _adapter(form).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def read_as(value: Any, form: type[T]) -> T | None:
    """What JSON describes, whose keys are texts and whose sequences are lists, as a type; None if it is not of it."""
    try:
        return cast(T, _adapter(form).validate_python(value))
    except ValidationError:
        return None
