"""Descriptions of wrong values, in words that need no knowledge of the validation library."""

from __future__ import annotations

import re
from typing import Final

from pydantic_core import ErrorDetails

_POSITION: Final = re.compile(r"at line \d+ column \d+$")
_LIST: Final = "must be a list"
_OBJECT: Final = "must be an object"
_TIME: Final = "must be a time with its offset, for example 2026-11-23T12:00:00Z"
_WHOLE: Final = "must be a whole number"

WORDS: Final = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "datetime_from_date_parsing": _TIME,
    "datetime_parsing": _TIME,
    "datetime_type": _TIME,
    "dict_type": _OBJECT,
    "enum": "must be {expected}",
    "extra_forbidden": "does not exist; leave it out",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than_equal": "must be {ge} or more",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE + " of fewer digits",
    "int_type": _WHOLE,
    "invalid_key": "must have names that are text",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "path_type": "must be the path of a file",
    "string_pattern_mismatch": "must have the form {pattern} (a regular expression)",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_too_short": "must have {min_length} or more characters",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "too_long": "must have {max_length} or fewer entries",
    "too_short": "must have {min_length} or more entries",
    "tuple_type": _LIST,
    "union_tag_invalid": "must have {discriminator}, one of {expected_tags}",
    "union_tag_not_found": "must have {discriminator}",
}
"""The words for each type of error of pydantic that models of ours can raise."""


def in_words(fault: ErrorDetails) -> str:
    """The words for a fault of a ``ValidationError``, to stand after the name of what is wrong.

    They never repeat the wrong value.
    """
    kind = fault["type"]
    if kind == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    if kind == "json_invalid":
        return not_json(fault["msg"])
    bounds = {name: _plain(value) for name, value in fault.get("ctx", {}).items()}
    if bounds.get("field_type") == "Value":  # a secret text, whose length is another type of error
        kind = f"string_{kind}"
    if kind not in WORDS:  # the settings of a plug-in of others may have other types
        return fault["msg"][:1].lower() + fault["msg"][1:]
    return WORDS[kind].format_map(bounds)


def not_json(message: str) -> str:
    """The words for text that is no JSON: where the parser stopped, for it may quote the text."""
    where = _POSITION.search(message)
    return "is not JSON (RFC 8259)" + (f": look {where.group()}" if where else "")


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
