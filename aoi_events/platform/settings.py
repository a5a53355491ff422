"""The base class of settings, and the types of settings that occur in several sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Any, Final, get_args

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from aoi_events.contracts.base import BUILT_WHEN_USED

_NAME: Final = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_LONGEST_NAME: Final = 254
"""Characters of a host name, with a dot at the end (RFC 1035, section 2.3.4)."""


def without_booleans(model: type[BaseModel], values: Any) -> Any:
    """The same, with other objects for the booleans where ``model`` has numbers.

    Pydantic takes ``true``, as TOML and JSON write it, for the number 1, and refuses any object.
    """
    if not isinstance(values, dict):
        return values
    numbers = {
        name
        for name, field in model.model_fields.items()
        if any(each in (int, float) for each in _types(field.annotation))
    }
    return {name: _no_boolean(each) if name in numbers else each for name, each in values.items()}


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for each in get_args(annotation):
        yield from _types(each)


def _no_boolean(value: Any) -> Any:
    if isinstance(value, list):
        return [_no_boolean(each) for each in value]
    return object() if isinstance(value, bool) else value


class Section(BaseModel):
    """A section of the settings: immutable, without unknown names, and every number is finite."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        **BUILT_WHEN_USED,
    )

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, values: Any) -> Any:
        return without_booleans(cls, values)


def host(text: str) -> str:
    """``text``, which is a host name or an IP address. Raises ValueError."""
    try:
        ip_address(text)
    except ValueError:
        try:
            name = text.encode("idna")
        except UnicodeError:
            name = b""
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise ValueError("must be a host name or an IP address without brackets") from None
    return text


def form(pattern: str, words: str) -> AfterValidator:
    """A check that a text has a form as a whole; ``words`` say which, after "must be"."""
    whole = re.compile(pattern)

    def check(text: str) -> str:
        if not whole.fullmatch(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


def from_json(value: Any) -> Any:
    """Read the form that a list or a map has in an environment variable; no list has booleans."""
    try:
        # Other than `json` it refuses what nests too deep for what reads it then.
        found = pydantic_core.from_json(value) if isinstance(value, str) else value
        return _no_boolean(found) if isinstance(found, list) else found
    except (ValueError, TypeError):  # the latter for text that is not UTF-8
        return value  # whose type is refused then


Host = Annotated[str, AfterValidator(host)]
"""A host name or an IP address."""
LEAST: Final = 0.001
"""The least seconds of a time, and the least of a rate per second: as short as makes sense."""
Seconds = Annotated[float, Field(ge=LEAST, le=3_600)]
"""Seconds, up to an hour."""
Span = Annotated[float, Field(ge=LEAST, le=1e9)]
"""Seconds, up to about 30 years: a time that is so far away can still be written as a date."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""A number of things that a column of the store can have."""
Cost = Annotated[float, Field(ge=0, le=1e9)]
"""The cost of a message, as in a policy file."""
