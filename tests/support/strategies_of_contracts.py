"""Hypothesis strategies for JSON values of every contract, made from the JSON Schema itself.

So a contract that changes is tested with its new values, and the schema is tested by them too: what
it allows, the contract must read, except where a validator says more than JSON Schema can.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, get_args

from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from aoi_events.contracts.answers import ANSWERS
from aoi_events.contracts.apps import AppRequest, ClientFrame
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import DeviceFrame, ServerFrame
from aoi_events.contracts.envelopes import DeliveryBatchV1, OutcomeBatchV1
from aoi_events.contracts.events import CloudEvent
from aoi_events.contracts.requests import REQUESTS
from aoi_events.contracts.schema import schemas

_DOCUMENT: Final = schemas()
_LETTERS: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)))

MODELS: Final[dict[str, type[BaseModel]]] = {
    model.__name__: model
    for model in (
        *REQUESTS.values(),
        *ANSWERS.values(),
        CloudEvent,
        DeliveryBatchV1,
        OutcomeBatchV1,
        *get_args(DeviceFrame),
        *get_args(ServerFrame),
        *get_args(AppRequest),
        *get_args(ClientFrame),
    )
}
"""Every contract that is a message of its own, by name."""


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value."""
    return st.recursive(
        _leaves(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text(), inner, max_size=4),
        max_leaves=8,
    )


def _leaves() -> st.SearchStrategy[Any]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.booleans() | numbers | _text()


def values_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that are this contract."""
    reads = TypeAdapter(model)

    def valid(value: Any) -> bool:
        try:
            reads.validate_json(TypeAdapter(Any).dump_json(value))
        except ValidationError as error:
            if all(fault["type"] == "value_error" for fault in error.errors()):
                return False
            # Anything but the word of a validator means that schema and contract disagree.
            raise
        return True

    return _of(_DOCUMENT["$defs"][model.__name__]).filter(valid)


def _of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get("$ref") == "#/$defs/Content":
        # What JSON Schema cannot say, that base64 is base64, chance would hardly ever meet.
        octets = st.binary(max_size=60) | st.text(_LETTERS, max_size=60)
        how = st.none() | st.deferred(lambda: _of(_DOCUMENT["$defs"]["ContentEncryption"]))
        return st.builds(
            lambda data, how: {**Content.of(data).model_dump(), "encryption": how}, octets, how
        )
    if "$ref" in schema:
        return st.deferred(lambda: _of(_DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return st.one_of([_of(branch) for branch in schema[either]])
    match schema.get("type"):
        case "string":
            return _string(schema)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(
                schema.get("minimum"),
                schema.get("maximum"),
                allow_nan=False,
                allow_infinity=False,
            )
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(
                _of(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(schema.get("maxItems", 3), 3),
            )
        case "object":
            return _object(schema)
        case other:
            raise AssertionError(f"no strategy for JSON Schema type {other!r}: {schema}")


def _string(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        # Away from the ends of what datetime knows: an offset must not push a time beyond them.
        seconds = st.integers(-2_000_000_000, 200_000_000_000)
        return st.builds(
            lambda offset, zone: datetime.fromtimestamp(offset, zone).isoformat(),
            seconds,
            st.sampled_from(_ZONES),
        )
    if "pattern" in schema:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
        return st.from_regex(re.compile(schema["pattern"], re.ASCII)).filter(
            lambda text: not text.endswith("\n") and least <= len(text) <= most
        )
    return _text(schema.get("minLength", 0), schema.get("maxLength"))


def _object(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" in schema:
        required = set(schema.get("required", ()))
        fields = {name: _of(field) for name, field in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: field for name, field in fields.items() if name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    names, values = _text(), json_values()
    for pattern, value in schema.get("patternProperties", {}).items():
        names, values = _string({"type": "string", "pattern": pattern}), _of(value)
    if isinstance(schema.get("additionalProperties"), dict) and "patternProperties" not in schema:
        values = _of(schema["additionalProperties"])
    return st.dictionaries(names, values, max_size=3)


def _text(least: int = 0, most: int | None = None) -> st.SearchStrategy[str]:
    longest = max(least, 40)
    return st.text(_LETTERS, min_size=least, max_size=min(most or longest, longest))
