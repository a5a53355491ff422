"""Every contract: round trips, what it tolerates, what it hides, and its JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import aoi_events.contracts
from aoi_events.contracts.answers import ANSWER_TYPES, ANSWERS
from aoi_events.contracts.apps import APP_REQUESTS, client_frames
from aoi_events.contracts.base import Contract, Tolerant
from aoi_events.contracts.content import MAX_CONTENT, Content
from aoi_events.contracts.device import DEVICE_REQUESTS, device_frames, server_frames
from aoi_events.contracts.envelopes import OutcomeBatchV1
from aoi_events.contracts.events import CloudEvent, event_routing_key
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import GATEWAY_ONLY, REQUESTS, RegisterClientV1
from aoi_events.contracts.schema import schema_text, schemas
from aoi_events.errors import Refusal
from tests.support.pages import blocks, pages
from tests.support.strategies_of_contracts import MODELS, values_of

FORBIDDING = {model.__name__ for model in (*REQUESTS.values(), *APP_REQUESTS.values())} | {
    "HelloFrame",
    "RequestFrame",
    "AckFrame",
}
"""What others send to us: a field that we do not know is a mistake of theirs, told at once."""

every_contract = pytest.mark.parametrize("name", sorted(MODELS))


def as_contract(model: type[BaseModel], value: dict[str, Any]) -> Contract:
    """The contract's value, read from JSON as it would come."""
    read = model.model_validate_json(json.dumps(value))
    assert isinstance(read, Contract)
    return read


@every_contract
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    """What is encoded is read back the same, by whatever its schema allows; and it is frozen."""
    model = MODELS[name]
    value = as_contract(model, data.draw(values_of(model)))
    assert as_contract(model, json.loads(value.encode())) == value
    with pytest.raises(ValidationError):
        value.__setattr__(next(iter(model.model_fields)), None)


@every_contract
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_unknown_fields(name: str, data: st.DataObject) -> None:
    """Requests and device frames refuse them; answers, events and envelopes ignore them."""
    model = MODELS[name]
    value = data.draw(values_of(model))
    extended = {**value, "from_the_future": {"a": [1]}}
    if name in FORBIDDING:
        with pytest.raises(ValidationError) as refused:
            as_contract(model, extended)
        assert [fault["type"] for fault in refused.value.errors()] == ["extra_forbidden"]
    else:
        assert as_contract(model, extended) == as_contract(model, value)


def test_values_inside_answers_tolerate_and_values_inside_requests_do_not() -> None:
    """The rule holds at every depth: content goes both ways, and is strict."""
    definitions = schemas()["$defs"]
    inside_requests = {"ChannelOffer", "Circumstances", "PreviousClient", "Content"}
    inside_requests |= {"ContentEncryption", "OpenSession"}
    for name, definition in definitions.items():
        if definition.get("type") == "object":
            strict = definition.get("additionalProperties") is False
            assert strict == (name in FORBIDDING | inside_requests), name


SECRETS: dict[str, dict[str, Any]] = {
    "client.register": {
        "device": "phone",
        "identity": "tel:+49151",
        "secret_hash": "5ec7e7" + "0" * 58,
        "previous": {"client": "cli_" + "a" * 26, "secret": "5ec7e7" + "A" * 37},
    },
    "application.register": {
        "client": "cli_" + "a" * 26,
        "secret": "5ec7e7" + "A" * 37,
        "application": "shop",
        "sequence": 1,
    },
    "channel.activate": {
        "client": "cli_" + "a" * 26,
        "sequence": 1,
        "offers": [{"type": "sms", "parameters": {"number": "5ec7e7"}}],
    },
    "channel.confirm": {"client": "cli_" + "a" * 26, "channel": "sms", "code": "5ec7e7"},
    "notification.send": {
        "notification": "n1",
        "tokens": ["k1.5ec7e7"],
        "content": {"data": "5ec7e7"},
    },
}


@pytest.mark.parametrize("routing_key", SECRETS)
def test_a_repr_hides_secrets(routing_key: str) -> None:
    """Secrets, tokens, codes, addresses and content show neither in logs nor in tracebacks."""
    body = json.dumps({"version": 1, **SECRETS[routing_key]}).encode()
    request = parse_request(routing_key, body)
    assert b"5ec7e7" in body
    for text in (repr(request), str(request), f"{request!r:>10}"):
        assert "5ec7e7" not in text


def test_a_validation_error_hides_its_input() -> None:
    """Even an error that nobody caught does not show what was sent."""
    with pytest.raises(ValidationError) as refused:
        Content.decode('{"data": "c2VjcmV0!", "encoding": "base64"}')
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize("version", ["true", "1.0", "1e0", '"1"', "2"])
@pytest.mark.parametrize("model", [*REQUESTS.values(), *ANSWERS.values(), OutcomeBatchV1])
def test_only_the_integer_1_is_version_1(model: type[Contract], version: str) -> None:
    """Python takes true and 1.0 for 1; a contract does not, whoever reads it."""
    with pytest.raises(ValidationError) as refused:
        model.decode(f'{{"version": {version}}}')
    assert ("version",) in [fault["loc"] for fault in refused.value.errors()]


def test_every_request_needs_its_version() -> None:
    """A body without a version is refused by the contract itself."""
    for model in REQUESTS.values():
        assert model.model_fields["version"].is_required()


def test_names_and_contracts_belong_together() -> None:
    """Each answer has one name; what devices and gateways may ask exists."""
    assert {ANSWERS[name] for name in ANSWERS} == set(ANSWER_TYPES)
    assert all(ANSWERS[name] is model for model, name in ANSWER_TYPES.items())
    assert set(REQUESTS) >= DEVICE_REQUESTS | GATEWAY_ONLY
    assert not DEVICE_REQUESTS & GATEWAY_ONLY


@pytest.mark.parametrize("text", ["", "häßlich", "x" * MAX_CONTENT])
def test_content_of_text(text: str) -> None:
    """Text is its UTF-8 octets, up to the bound."""
    content = Content.of(text)
    assert (content.octets(), content.encoding) == (text.encode(), "utf-8")


@given(st.binary(max_size=MAX_CONTENT))
def test_content_of_octets(octets: bytes) -> None:
    """Octets come back as they were."""
    content = Content.decode(Content.of(octets).encode())
    assert (content.octets(), content.type) == (octets, "application/octet-stream")


@pytest.mark.parametrize(
    "value",
    [
        {"data": "x" * (MAX_CONTENT + 1)},
        {"data": "ä" * (MAX_CONTENT // 2 + 1)},
        {"data": "AAAA" * (MAX_CONTENT // 3 + 1), "encoding": "base64"},
        {"data": "not base64!", "encoding": "base64"},
        {"data": "A", "encoding": "base64"},
        {"data": "ä", "encoding": "base64"},
        {"data": "a\0b"},
        {"data": "x", "type": ""},
        {"data": "x", "type": "text/plain\r\nX-Injected: 1"},
    ],
)
def test_content_is_bounded(value: dict[str, str]) -> None:
    """Too large, no base64, a NUL that no database keeps, or a type that would break a header."""
    with pytest.raises(ValidationError):
        Content.decode(json.dumps(value))


AESGCM = {"coding": "aesgcm", "encryption": "salt=MTIz", "crypto_key": "dh=BAAB"}


@pytest.mark.parametrize("how", [{"coding": "aes128gcm"}, AESGCM])
def test_encrypted_content_says_how(how: dict[str, str]) -> None:
    """RFC 8291 needs a name only, the draft before it two values; both come back as they were."""
    content = Content.decode(json.dumps({"data": "AAAA", "encoding": "base64", "encryption": how}))
    assert content.encryption is not None
    assert content.encryption.model_dump(exclude_none=True) == how
    assert Content.decode(content.encode()) == content
    plain = Content.of("x")
    assert b"encryption" not in plain.encode(), "what is not encrypted looks as it always did"


@pytest.mark.parametrize(
    "how",
    [
        {"coding": "aesgcm"},
        {**AESGCM, "crypto_key": None},
        {**AESGCM, "coding": "aes128gcm"},
        {**AESGCM, "encryption": ""},
        {**AESGCM, "encryption": "salt=x\r\nX-Injected: 1"},
        {**AESGCM, "encryption": "salt=ä"},
        {**AESGCM, "crypto_key": "x" * 513},
        {"coding": "gzip"},
    ],
)
def test_what_says_how_content_is_encrypted_is_bounded(how: dict[str, str | None]) -> None:
    """It becomes a header of a device's protocol: visible, short, and complete."""
    with pytest.raises(ValidationError):
        Content.decode(json.dumps({"data": "", "encryption": how}))


@pytest.mark.parametrize("topic", ["", "x" * 33, "a b", "a=", "ä", "a\n"])
def test_a_topic_is_of_32_safe_characters(topic: str) -> None:
    """RFC 8030, section 5.4: no more than 32 characters from the URL and filename safe alphabet."""
    body = {"version": 1, "notification": "n", "tokens": ["k1.x"], "content": {"data": ""}}
    model = REQUESTS["notification.send"]
    model.model_validate_json(json.dumps({**body, "topic": "Aa0-_" * 6}))
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps({**body, "topic": topic}))


@pytest.mark.parametrize("text", ["a\0b", "line\nbreak", "\x1b[31m", "tab\t", "\x7f"])
def test_names_hold_no_control_characters(text: str) -> None:
    """Free text of devices is kept and shown to people: no NUL, no line break, no escape codes."""
    body = {"version": 1, "device": "phone", "identity": "tel:+49151", "secret_hash": "0" * 64}
    for name in ("device", "identity"):
        with pytest.raises(ValidationError):
            RegisterClientV1.model_validate_json(json.dumps({**body, name: text}))


def test_a_sender_is_one_word_of_a_routing_key() -> None:
    """A dot in a sender's name would be a word of its own, and two senders must not meet."""
    keys = {event_routing_key("notification.stored", s) for s in ("a.b", "a%2Eb", "ab", "a")}
    assert len(keys) == 4
    assert all(key.count(".") == 2 for key in keys)


def test_the_schema_is_current() -> None:
    """The committed schema.json is what the contracts say now, and the same on every run."""
    committed = Path(aoi_events.contracts.__file__).with_name("schema.json")
    assert committed.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m aoi_events.contracts.schema > aoi_events/contracts/schema.json"
    )
    assert schema_text() == schema_text()


def test_the_schema_names_everything() -> None:
    """Every request, answer, event, envelope and frame is in it, and every reference resolves."""
    document = schemas()
    assert document["requests"].keys() == REQUESTS.keys()
    assert document["answers"].keys() == ANSWERS.keys()
    assert "aoi.notification.delivered.v1" in document["events"]
    assert document["device_frames"].keys() == {"hello", "request", "ack"}
    assert document["app_requests"].keys() == APP_REQUESTS.keys()
    assert document["client_frames"].keys() >= {"attached", "notification", "error"}
    assert document["server_frames"].keys() >= {"welcome", "answer", "notification", "goodbye"}
    references = set(re.findall(r'"#/\$defs/(\w+)"', schema_text()))
    assert references <= document["$defs"].keys()
    assert set(MODELS) <= references


def contract_of(value: Any) -> str | None:
    """The name of the contract that an example is one of, if any."""
    body = json.dumps(value).encode()
    for key in REQUESTS:
        try:
            return type(parse_request(key, body)).__name__
        except Refusal:
            continue
    readers: list[Callable[[bytes], Any]] = [
        device_frames.validate_json,
        server_frames.validate_json,
        CloudEvent.decode,
    ]
    readers += [model.decode for model in (*ANSWERS.values(), *APP_REQUESTS.values())]
    readers.append(client_frames.validate_json)
    for read in readers:
        try:
            return type(read(body)).__name__
        except ValidationError:
            continue
    return None


def test_documented_examples_are_true() -> None:
    """Every JSON example is a contract of ours, so whoever copies it gets what it promises."""
    examples = [each.code for page in pages() for each in blocks(page, "json")]
    assert examples
    for example in examples:
        text = example.replace("<Application Client Token>", "k1." + "A" * 70)
        text = re.sub(r"\b(cli|dlv)_…", r"\1_" + "a" * 26, text).replace("fp_…", "fp_" + "a" * 13)
        assert contract_of(json.loads(text)) is not None, f"no contract reads this example:\n{text}"
    wrong = {"version": 1, "notification": "n1", "tokenz": []}
    assert contract_of(wrong) is None, "a wrong example is noticed"


def test_tolerant_values_are_contracts() -> None:
    """Whatever we write is frozen and strict about types, tolerant or not."""
    assert Tolerant.model_config["frozen"]
    assert Tolerant.model_config["strict"]
    assert Contract.model_config["extra"] == "forbid"
