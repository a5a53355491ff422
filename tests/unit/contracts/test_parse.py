"""Any bytes at all are a request, or a refusal with a stable code that helps and leaks nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aoi_events.contracts.base import MAX_BODY
from aoi_events.contracts.json_bodies import MAX_DEPTH
from aoi_events.contracts.parse import parse_request
from aoi_events.contracts.requests import REQUESTS
from aoi_events.errors import ErrorCode, Refusal
from tests.support.strategies_of_contracts import json_values, values_of

CLIENT = "cli_" + "a" * 26
SEND = {
    "version": 1,
    "notification": "order-1",
    "tokens": ["k1." + "A" * 70],
    "content": {"data": "hello"},
}
ACTIVATE = {"version": 1, "client": CLIENT, "sequence": 1, "offers": [{"type": "sms"}]}


def refused(routing_key: str, body: bytes | dict[str, Any]) -> Refusal:
    """The refusal of a body."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refusal) as raised:
        parse_request(routing_key, octets)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__
    return raised.value


@pytest.mark.parametrize("routing_key", sorted(REQUESTS))
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_every_request_is_read(routing_key: str, data: st.DataObject) -> None:
    """What the schema allows is read as the contract of its routing key."""
    body = data.draw(values_of(REQUESTS[routing_key]))
    request = parse_request(routing_key, json.dumps(body).encode())
    assert type(request) is REQUESTS[routing_key]


def test_a_byte_order_mark_is_ignored() -> None:
    """A body may begin with a byte order mark, as some writers of UTF-8 add it (RFC 8259, 8.1)."""
    body = json.dumps(SEND)
    plain = parse_request("notification.send", body.encode())
    assert parse_request("notification.send", body.encode("utf-8-sig")) == plain


MALFORMED = {
    "nothing": b"",
    "spaces": b"  \n",
    "words": b"hello",
    "half": b'{"version": 1, "notification": "x"',
    "two": b'{"version":1}{"version":1}',
    "comment": b'{"version":1, /* no */ "notification": "x"}',
    "trailing comma": b'{"version":1,}',
    "single quotes": b"{'version': 1}",
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"version":1,"notification":"x"}',
    "utf-16": json.dumps(SEND).encode("utf-16"),
    "latin-1": '{"version":1,"notification":"ä"}'.encode("latin-1"),
    "overlong": b'{"version":1,"notification":"\xc0\xaf"}',
    "surrogate octets": b'{"version":1,"notification":"\xed\xa0\x80"}',
    "lone surrogate": b'{"version":1,"notification":"\\ud800"}',
    "control character": b'{"version":1,"notification":"a\nb"}',
    "NaN": b'{"version":1,"notification":NaN}',
    "Infinity": b'{"version":1,"notification":-Infinity}',
    "endless number": b'{"version":1' + b"0" * 100_000 + b"}",
    "deep arrays": b"[" * 200_000,
    "deep objects": b'{"a":' * 80_000,
    "deep and closed": b'{"version":1,"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "just too deep": b'{"version":1,"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "quotes": b'"' * 400_000,
    "escapes": b'\\"' * 200_000,
    "zeros": bytes(10_000),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_json(name: str) -> None:
    """No JSON, no UTF-8, or too deep: malformed, whatever else is wrong with it."""
    error = refused("notification.cancel", MALFORMED[name])
    assert error.code is ErrorCode.MALFORMED
    assert error.field is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"notification": "x"},
        {"version": 2, "notification": "x"},
        {"version": 0},
        {"version": "1", "notification": "x"},
        {"version": None},
        {"version": [1]},
        {"version": 10**400, "notification": "x"},
        {"version": 1.5},
        {"version": True, "notification": "x"},
        {"version": 1.0, "notification": "x"},
    ],
)
def test_other_versions(body: dict[str, Any]) -> None:
    """A missing or other version is reported before any other error: its fields may mean
    anything.
    """
    error = refused("notification.cancel", body)
    assert (error.code, error.field) == (ErrorCode.VERSION_UNSUPPORTED, "version")


def test_too_large_is_told_before_it_is_read() -> None:
    """One octet more than the bound is refused, whatever it holds; the bound itself is not."""
    padding = b" " * (MAX_BODY - 40)
    fits = b'{"version":1,"notification":"x"}' + padding
    assert len(fits) <= MAX_BODY
    parse_request("notification.cancel", fits)
    error = refused("notification.cancel", b"\xff" * (MAX_BODY + 1))
    assert error.code is ErrorCode.TOO_LARGE
    assert refused("no.such", b"x" * 10_000_000).code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize(
    "routing_key", ["", "notification", "notification.send.", "NOTIFICATION.SEND"]
)
def test_unknown_requests(routing_key: str) -> None:
    """For an unknown routing key the error lists the known ones."""
    error = refused(routing_key, b"not even looked at")
    assert error.code is ErrorCode.UNKNOWN_REQUEST
    assert "notification.send" in error.message


INVALID: list[tuple[str, Any, str | None, str]] = [
    ("notification.cancel", [], None, "JSON object"),
    ("notification.cancel", 1, None, "JSON object"),
    ("notification.cancel", {"version": 1}, "notification", "required"),
    ("notification.cancel", {"version": 1, "notification": 7}, "notification", "must be text"),
    ("notification.send", {**SEND, "time_to_live": 5}, "time_to_live", "does not exist"),
    ("notification.send", {**SEND, "ttl": -1}, "ttl", "must be 0 or more"),
    ("notification.send", {**SEND, "ttl": 10**30}, "ttl", "must be 2419200 or less"),
    ("notification.send", {**SEND, "ttl": "60"}, "ttl", "must be a whole number"),
    ("notification.send", {**SEND, "ttl": 1.5}, "ttl", "must be a whole number"),
    ("notification.send", {**SEND, "ttl": True}, "ttl", "must be a whole number"),
    ("notification.send", {**SEND, "tokens": []}, "tokens", "1 or more entries"),
    ("notification.send", {**SEND, "tokens": ["x" * 8] * 1001}, "tokens", "1000"),
    ("notification.send", {**SEND, "tokens": {"0": "x"}}, "tokens", "must be a list"),
    ("notification.send", {**SEND, "urgency": "now"}, "urgency", "'high'"),
    ("notification.send", {**SEND, "mode": "twice"}, "mode", "'parallel'"),
    ("notification.send", {**SEND, "mode": "hedged", "hedge_after": 0}, "hedge_after", "0.1"),
    ("notification.send", {**SEND, "mode": "hedged", "hedge_after": 1e5}, "hedge_after", "86400"),
    ("notification.send", {**SEND, "mode": "hedged", "hedge_after": "2"}, "hedge_after", "number"),
    ("notification.send", {**SEND, "mode": "parallel", "hedge_after": 2}, None, "mode hedged"),
    ("notification.send", {**SEND, "hedge_after": 2}, None, "mode hedged"),
    ("notification.send", {**SEND, "content": {"data": 1}}, "content.data", "must be text"),
    ("notification.send", {**SEND, "content": {"text": "x"}}, "content.data", "required"),
    ("notification.send", {**SEND, "content": {"data": "x" * 4097}}, "content", "4096"),
    (
        "channel.activate",
        {**ACTIVATE, "offers": [{"type": "sms", "parameters": {"number": 1.5}}]},
        "offers.0.parameters.number",
        "must be text, or must be a whole number, or must be true or false",
    ),
    (
        "channel.activate",
        {**ACTIVATE, "offers": [{"type": "sms"}, {"type": "sms"}]},
        None,
        "each channel type once",
    ),
    (
        "client.connected",
        {"version": 1, "client": CLIENT, "node": "n", "session": "s"},
        None,
        "epoch",
    ),
]


@pytest.mark.parametrize("routing_key, body, field, words", INVALID)
def test_what_is_invalid(routing_key: str, body: Any, field: str | None, words: str) -> None:
    """The refusal says where, by a dotted path, and what would be right."""
    error = refused(routing_key, json.dumps(body).encode())
    assert error.code is ErrorCode.INVALID
    assert error.field == field
    assert words in error.message


def test_several_faults_are_counted() -> None:
    """One is described and the others are counted; of very many none is listed."""
    assert "(and 3 more)" in refused("client.register", {"version": 1, "x": 1}).message
    many = {"version": 1, **{f"field{n}": n for n in range(20_000)}}
    error = refused("notification.cancel", many)
    assert (error.code, error.field) == (ErrorCode.INVALID, None)
    assert "20001 fields" in error.message


def test_a_name_that_stands_twice_counts_with_its_last_value() -> None:
    """So every reader of the body agrees, also when the first value would be wrong."""
    body = b'{"version":1,"notification":"first","notification":"last"}'
    request = parse_request("notification.cancel", body)
    assert request.encode() == b'{"version":1,"notification":"last"}'


def test_no_value_is_repeated() -> None:
    """Secrets in the wrong field, as a field's name, or beside a fault stay with the sender."""
    secret = "5ec7e7-" + "Zx9" * 13
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("client.deregister", {"version": 1, "client": secret}),
        ("client.deregister", {"version": 1, "client": CLIENT, "secret": secret}),
        ("client.deregister", {"version": 1, "client": CLIENT, secret: 1}),
        ("client.deregister", {"version": secret}),
        ("notification.send", {**SEND, "tokens": secret}),
        ("notification.send", {**SEND, "urgency": secret}),
        ("notification.send", {**SEND, "content": {"data": secret, "encoding": "base64"}}),
        ("notification.send", {**SEND, "content": secret}),
        ("channel.confirm", {"version": 1, "client": CLIENT, "channel": "sms", "code": secret}),
        ("channel.activate", {**ACTIVATE, "offers": [{"type": "sms", "parameters": {secret: 1}}]}),
    ]
    for routing_key, body in bodies:
        octets = json.dumps(body).encode()
        for whole in (octets, octets[:-1], octets + b"\xff"):
            error = refused(routing_key, whole)
            assert "5ec7e7" not in str(error)
            assert "5ec7e7" not in repr(error)


keys = st.sampled_from([*sorted(REQUESTS), "no.such"])


def total(routing_key: str, body: bytes) -> None:
    """A request, or a refusal with a short message."""
    try:
        request = parse_request(routing_key, body)
    except Refusal as error:
        told = error
    else:
        assert type(request) is REQUESTS[routing_key]
        assert parse_request(routing_key, request.encode()) == request
        return
    assert isinstance(told.code, ErrorCode)
    assert 0 < len(told.message) < 600
    assert told.field is None or len(told.field) < 200
    assert (told.message + (told.field or "")).isprintable()


@given(keys, st.binary(max_size=300))
def test_any_bytes(routing_key: str, body: bytes) -> None:
    """Random octets never do anything but that."""
    total(routing_key, body)


@given(keys, json_values())
def test_any_json(routing_key: str, value: Any) -> None:
    """Nor does random JSON."""
    total(routing_key, json.dumps(value).encode())


@pytest.mark.parametrize("routing_key", sorted(REQUESTS))
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_nearly_right_bodies(routing_key: str, data: st.DataObject) -> None:
    """Nor do valid requests with a field changed, dropped or added, cut, or with octets flipped."""
    body: Any = data.draw(values_of(REQUESTS[routing_key]))
    for _ in range(data.draw(st.integers(0, 2))):
        name = data.draw(st.sampled_from([*sorted(body), "unknown"]))
        if data.draw(st.booleans()):
            body[name] = data.draw(json_values())
        else:
            body.pop(name, None)
    octets = bytearray(json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(octets)) | st.integers(0, len(octets)))
    total(routing_key, bytes(octets[:cut]))
