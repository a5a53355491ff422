"""A wrong value is described in our words: those of the validation library never show."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails, PydanticKnownError

from aoi_events.bootstrap.policy_format import parse_policy
from aoi_events.bootstrap.settings import Settings
from aoi_events.channels.sms import SmsSettings
from aoi_events.channels.webhook import WebhookSettings
from aoi_events.channels.webpush import WebPushSettings
from aoi_events.channels.websocket import WebSocketSettings
from aoi_events.contracts.base import Contract
from aoi_events.contracts.faults import WORDS, in_words
from aoi_events.contracts.schema import schemas
from aoi_events.errors import PolicyRefused

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    10**5000,
    1.5,
    1e30,
    float("inf"),
    "",
    "x",
    "x" * 10_000,
    "24:99:99",
    "\ud800",
    b"\xff",
    [],
    {},
    {1: 2},
    {"kind": "unknown"},
    {f"k{number}": "x" for number in range(50)},
    [{}] * 70,
    object(),
]
"""Values of every type, too small, too large and of wrong form."""

OF_NODES: dict[str, set[str]] = {
    "any": set(),
    "bool": {"bool_type", "bool_parsing"},
    "datetime": {"datetime_type", "datetime_parsing", "datetime_from_date_parsing"},
    "default": set(),
    "definition-ref": set(),
    "definitions": set(),
    "dict": {"dict_type", "invalid_key"},
    "enum": {"enum"},
    "float": {"float_type", "float_parsing", "finite_number"},
    "function-after": set(),
    "function-before": set(),
    "function-plain": {"path_type"},
    "function-wrap": set(),
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float"},
    "is-instance": set(),
    "json-or-python": set(),
    "lax-or-strict": set(),
    "literal": {"literal_error"},
    "model": {"model_type", "model_attributes_type"},
    "model-field": {"missing"},
    "model-fields": {"extra_forbidden"},
    "no-info": set(),
    "nullable": set(),
    "str": {"string_type", "string_unicode"},
    "tagged-union": {"union_tag_invalid", "union_tag_not_found"},
    "tuple": {"tuple_type"},
    "union": set(),
    "with-info": set(),
}
"""The types of errors of each kind of node in a schema of pydantic, but for its bounds."""
OF_BOUNDS = {
    "ge": "greater_than_equal",
    "gt": "greater_than",
    "le": "less_than_equal",
    "lt": "less_than",
    "max_length": "too_long",
    "min_length": "too_short",
    "pattern": "pattern_mismatch",
}


def subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all that derive from it."""
    yield model
    for each in model.__subclasses__():
        yield from subclasses(each)


def models() -> list[type[BaseModel]]:
    """Every contract, and every section of the settings."""
    assert schemas()  # every module of contracts is imported
    sections = [field.annotation for field in Settings.model_fields.values()]
    return [
        *(each for each in subclasses(Contract) if each.__module__.startswith("aoi_events")),
        *(each for each in sections if isinstance(each, type) and issubclass(each, BaseModel)),
        *(SmsSettings, WebhookSettings, WebPushSettings, WebSocketSettings),
    ]


def types_in(node: Any) -> Iterator[str]:
    """The types of errors that a node of a schema, or one below it, can raise."""
    if isinstance(node, list | tuple):
        for each in node:
            yield from types_in(each)
    elif isinstance(node, dict):
        kind = node.get("type")
        if isinstance(kind, str):
            yield from OF_NODES[kind]
            prefix = "string_" if kind == "str" else ""
            yield from (prefix + name for bound, name in OF_BOUNDS.items() if bound in node)
        for name, value in node.items():
            if name not in ("metadata", "default"):
                yield from types_in(value)


def faults_of(model: type[BaseModel]) -> Iterator[ErrorDetails]:
    """The faults of wrong values of each field, as Python's values and as JSON."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    bodies: list[Any] = [{}, [], "x", {"unknown": 1}]
    for name, value in itertools.product(names, VALUES):
        bodies += [{name: value}, {name: [value]}, {name: {"x": value}}]
    for body in bodies:
        try:
            model.model_validate(body)
        except ValidationError as error:
            yield from error.errors(include_url=False, include_input=False)
        try:
            model.model_validate_json(json.dumps(body))
        except ValidationError as error:
            yield from error.errors(include_url=False, include_input=False)
        except (TypeError, ValueError):  # no JSON has this value
            continue


def phrases(fault: ErrorDetails) -> list[str]:
    """The words of pydantic's template for this type of error, between its placeholders."""
    kind: Any = fault["type"]
    try:
        template = PydanticKnownError(kind, fault.get("ctx")).message_template
    except KeyError:  # pydantic's validator of paths is written in Python
        template = fault["msg"]
    parts = [part.strip() for part in re.split(r"\{\w+\}", template)]
    return [part for part in parts if len(part) > len("character")]


def test_each_type_of_error_has_words() -> None:
    """There are words for the types of error that a constraint of our models has, and no others."""
    every: list[type[BaseModel]] = [Settings, *models()]
    possible = {kind for model in every for kind in types_in(model.__pydantic_core_schema__)}
    assert possible == WORDS.keys()


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_no_words_of_the_library_show(model: type[BaseModel]) -> None:
    """No description of a wrong value has a phrase of pydantic's template for its error."""
    found = {}
    for fault in faults_of(model):
        words = in_words(fault)
        found[fault["type"]] = words
        assert words
        for phrase in phrases(fault):
            assert phrase.lower() not in words.lower(), fault
        assert not re.search(r"[Ii]nput|should|unable|valid (str|int|num|dict|tup)", words), fault
    assert found


def test_a_policy_file_has_the_same_words() -> None:
    """The rules of a policy file are described like any other setting."""
    with pytest.raises(PolicyRefused) as raised:
        parse_policy(
            b"hedge_after = 0\n[channels.sms]\nlargest = 'x'", ("sms",), file="policy.toml"
        )
    assert dict(raised.value.faults) == {
        "hedge_after": "must be 0.1 or more",
        "channels.sms.largest": "must be a whole number",
    }


class _WithSecret(BaseModel):
    password: Annotated[SecretStr, Field(max_length=8)]


def test_a_secret_text_has_characters() -> None:
    """The length of a password is described as that of text."""
    with pytest.raises(ValidationError) as raised:
        _WithSecret.model_validate({"password": "x" * 9})
    (fault,) = raised.value.errors()
    assert in_words(fault) == "must have 8 or fewer characters"
