"""JSON from outside: what a reader may ignore, how deep it may nest, and what is wrong with it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Any, Final, overload

from pydantic import ValidationError
from pydantic_core import from_json

from aoi_events.contracts.faults import in_words, not_json
from aoi_events.errors import ErrorCode, Refusal

MAX_DEPTH: Final = 32
"""How deep arrays and objects of a body may nest; requests need five levels."""

_MAX_FAULTS: Final = 256
"""With more faults than this, none is described: listing them would cost more than it helps."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


@overload
def without_bom(text: bytes) -> bytes: ...
@overload
def without_bom(text: str | bytes) -> str | bytes: ...
def without_bom(text: str | bytes) -> str | bytes:
    """JSON or TOML without the byte order mark before it, which a reader may ignore (RFC 8259)."""
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    return text.removeprefix(codecs.BOM_UTF8)


def diagnose(body: bytes, error: ValidationError) -> Refusal:
    """Which of the stable error codes describes an invalid body."""
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings=False)
    except ValueError as fault:
        return Refusal(ErrorCode.MALFORMED, _not_json(body, str(fault)))
    if isinstance(value, dict | list) and deeper_than(value, MAX_DEPTH):
        return Refusal(
            ErrorCode.MALFORMED, f"arrays and objects nest deeper than {MAX_DEPTH} levels"
        )
    if not isinstance(value, dict):
        return Refusal(ErrorCode.INVALID, "the body must be a JSON object")
    if "version" not in value:
        return Refusal(
            ErrorCode.VERSION_UNSUPPORTED,
            'the body names no version; add "version": 1',
            field="version",
        )
    # True and 1.0 equal 1, and are other JSON.
    if type(value["version"]) is not int or value["version"] != 1:
        return Refusal(
            ErrorCode.VERSION_UNSUPPORTED,
            'this server speaks version 1 of this request; send "version": 1',
            field="version",
        )
    return _invalid(value, error)


def _not_json(body: bytes, fault: str) -> str:
    if not body:
        return "the body is empty; send a JSON object"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"the body is not UTF-8 (octet {broken.start}); send UTF-8"
    if "recursion limit" in fault:
        return f"arrays and objects nest deeper than {MAX_DEPTH} levels"
    return f"the body {not_json(fault)}"


def deeper_than(value: Any, limit: int) -> bool:
    """Whether arrays and objects nest deeper than ``limit`` levels."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _invalid(value: dict[str, Any], error: ValidationError) -> Refusal:
    count = error.error_count()
    if count > _MAX_FAULTS:
        return Refusal(
            ErrorCode.INVALID,
            f"{count} fields are wrong; compare the body with this request's JSON Schema",
        )
    faults = error.errors(include_url=False, include_input=False)
    # What is missing or unknown comes first: it often explains the others.
    first = min(faults, key=lambda fault: fault["type"] not in ("missing", "extra_forbidden"))
    field = _path(value, first["loc"])
    # A field that may be of several types has one fault for each of them.
    here = [fault for fault in faults if _path(value, fault["loc"]) == field]
    message = ", or ".join(dict.fromkeys(map(in_words, here)))
    if count > len(here):
        message += f" (and {count - len(here)} more)"
    return Refusal(ErrorCode.INVALID, message, field=field)


def _path(value: Any, location: Sequence[str | int]) -> str | None:
    """The dotted path of an error, as far as it is a path of the body and not of pydantic's model.

    Names that cannot be a field's are shown as ``?``: they may be a misplaced secret.
    """
    names: list[str] = []
    for part in location:
        if isinstance(part, int):
            names.append(str(part))
            value = value[part] if isinstance(value, list) else None
        elif isinstance(value, dict):
            names.append(part if _NAME.fullmatch(part) else "?")
            value = value.get(part)
        else:
            break
    return ".".join(names) or None
