"""The JSON API with API keys, against every worker."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from aoi_events.contracts.answers import (
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from tests.integration.endpoint.server_under_test import Sender, ServerUnderTest
from tests.integration.services.conftest import BOTH

HELLO: dict[str, Any] = {"content": {"data": "hello"}}


@BOTH
async def test_a_notification_is_sent_reported_and_withdrawn(server: ServerUnderTest) -> None:
    """202 with what the workers accepted, then its status, then its withdrawal: the contracts are
    those of the broker.
    """
    device = await server.system.device()
    sent = await server.api("POST", json={"tokens": [device.token, "k1.forged", 7], **HELLO})
    assert sent.status == 202
    accepted = NotificationAcceptedV1.decode(sent.body)
    rejected = [(each.index, each.code) for each in accepted.rejected]
    assert rejected == [(1, "token_forged"), (2, "token_forged")]
    name = accepted.notification
    asked = await server.api("GET", f"/{name}")
    assert asked.status == 200
    (delivery,) = NotificationStatusV1.decode(asked.body).deliveries
    assert (delivery.delivery, delivery.state) == (accepted.deliveries[0].delivery, "stored")
    gone = await server.api("DELETE", f"/{name}")
    assert NotificationCancelledV1.decode(gone.body).cancelled == 1
    assert [row.state for row in await server.system.rows(name, sender="key:shop")] == ["cancelled"]


async def test_a_send_without_an_accepted_token_is_refused(server: ServerUnderTest) -> None:
    """422 names every token with its code, nothing is stored, and the ID can be used again."""
    device = await server.system.device()
    body = {"notification": "n1", "tokens": ["k1.forged", "k9.xyz"], **HELLO}
    for _ in range(2):
        refused = await server.api("POST", json=body)
        assert (refused.status, refused.json["code"]) == (422, "invalid")
        assert (refused.json["field"], refused.json["notification"]) == ("tokens", "n1")
        rejected = [(each["index"], each["code"]) for each in refused.json["rejected"]]
        assert rejected == [(0, "token_forged"), (1, "token_forged")]
    assert (await server.api("GET", "/n1")).status == 404
    assert (await server.api("POST", json=body | {"tokens": [device.token]})).status == 202


async def test_a_send_whose_tokens_cannot_be_judged_yet_is_to_be_repeated(
    server: ServerUnderTest,
) -> None:
    """503 with Retry-After, and the code of each token, where a key may be on its way; a token that
    is forged changes nothing, and beside an accepted token it is 202.
    """
    device = await server.system.device()
    unknown = f"zz.{device.token.partition('.')[2]}"
    body = {"notification": "n1", "tokens": [unknown, "k1.forged"], **HELLO}
    refused = await server.api("POST", json=body)
    assert (refused.status, refused.json["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert [each["code"] for each in refused.json["rejected"]] == ["unavailable", "token_forged"]
    accepted = await server.api("POST", json=body | {"tokens": [unknown, device.token]})
    assert accepted.status == 202


async def test_a_repeat_with_its_id_is_harmless(server: ServerUnderTest) -> None:
    """The same ID and body: the same answer; another body: 409, like over the broker."""
    device = await server.system.device()
    body = {"notification": "n1", "tokens": [device.token], "ttl": 60, "topic": "t"} | HELLO
    first = await server.api("POST", json=body)
    assert (await server.api("POST", json=body)).body == first.body
    other = await server.api("POST", json=body | {"ttl": 61})
    assert (other.status, other.json["code"]) == (409, "conflict")
    assert (await server.api("POST", json=body, key="bank")).status == 202, "IDs are the sender's"


@BOTH
async def test_how_channels_follow_each_other_goes_to_the_workers(server: ServerUnderTest) -> None:
    """``mode`` and ``hedge_after`` over HTTP are those of the broker, bounds included."""
    device = await server.system.device()
    body = {"notification": "n1", "tokens": [device.token], "mode": "hedged", **HELLO}
    assert (await server.api("POST", json=body | {"hedge_after": 1.5})).status == 202
    async with server.system.installation.store.transaction(read_only=True) as tx:
        (kept,) = (await tx.notifications([("key:shop", "n1")])).values()
    assert (kept.mode, kept.hedge_after) == ("hedged", 1.5)
    wrong = await server.api("POST", json=body | {"mode": "parallel", "hedge_after": 1.5})
    assert (wrong.status, wrong.json["code"]) == (400, "invalid")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "utf-8", "identity, gzip"])
async def test_a_compressed_body_is_refused(server: ServerUnderTest, encoding: str) -> None:
    """A body with a Content-Encoding is refused with 415, whatever it holds."""
    device = await server.system.device()
    for body in (gzip.compress(b"{}"), json.dumps({"tokens": [device.token], **HELLO}).encode()):
        reply = await server.api("POST", data=body, headers={"Content-Encoding": encoding})
        assert (reply.status, reply.json["code"]) == (415, "invalid")
        assert reply.json["field"] == "Content-Encoding"
    assert not server.system.events.of("notification.accepted")


@pytest.mark.parametrize("encoding", ["identity", ""])
async def test_an_encoding_that_changes_nothing_is_taken(
    server: ServerUnderTest, encoding: str
) -> None:
    """``identity`` names no encoding (RFC 9110, 8.4.1), and an empty field none, too."""
    device = await server.system.device()
    body = {"tokens": [device.token], **HELLO}
    reply = await server.api("POST", json=body, headers={"Content-Encoding": encoding})
    assert reply.status == 202, reply.body


async def test_a_byte_order_mark_is_ignored(server: ServerUnderTest) -> None:
    """A body may begin with a byte order mark, as some writers of UTF-8 add it (RFC 8259, 8.1)."""
    device = await server.system.device()
    body = json.dumps({"notification": "n1", "tokens": [device.token], **HELLO})
    reply = await server.api("POST", data=body.encode("utf-8-sig"))
    assert (reply.status, reply.json.get("notification")) == (202, "n1")


async def test_keys_see_their_own_only(server: ServerUnderTest) -> None:
    """A notification of another key is not found, and cannot be withdrawn."""
    device = await server.system.device()
    await server.api("POST", json={"notification": "n1", "tokens": [device.token], **HELLO})
    theirs = await server.api("GET", "/n1", key="bank")
    assert (theirs.status, theirs.json["code"]) == (404, "not_found")
    await server.api("DELETE", "/n1", key="bank")
    assert [row.state for row in await server.system.rows("n1", sender="key:shop")] == ["stored"]


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "Bearer",
        "Bearer aoi_" + "0" * 64,
        "Bearer short",
        "Basic c2hvcDp4",
        "Bearer \u00e4" + "0" * 64,
        "Bearer " + "0" * 5_000,
    ],
)
async def test_without_a_known_key_nothing_is_said(
    server: ServerUnderTest, said: str | None
) -> None:
    """Requests without a known key are refused with 401 and the right scheme."""
    headers = {"Authorization": said} if said is not None else {}
    for method, path in (("POST", ""), ("GET", "/n1"), ("DELETE", "/n1")):
        reply = await server.ask(method, f"/v1/notifications{path}", headers=headers, data=b"{")
        assert (reply.status, reply.json["code"]) == (401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_two_keys_are_none(server: ServerUnderTest) -> None:
    """Two Authorization headers could be read as either, so neither counts: 401."""
    said = f"Authorization: Bearer {server.api_key()}\r\n"
    for headers, status in ((said, b"404"), (said * 2, b"401")):
        head = f"GET /v1/notifications/n1 HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
        assert (await server.raw(head.encode())).split()[1] == status


@pytest.mark.parametrize(
    "body, status, code, field",
    [
        (b"", 400, "malformed", None),
        (b"{", 400, "malformed", None),
        (b"[" * 100_000, 400, "malformed", None),
        (b"\xff", 400, "malformed", None),
        (b"[]", 400, "invalid", None),
        (b"{}", 400, "invalid", "tokens"),
        (b'{"tokens": [], "content": {"data": ""}}', 400, "invalid", "tokens"),
        (b'{"version": 2, "tokens": ["k1.x"]}', 400, "version_unsupported", "version"),
        (b'{"tokens": ["k1.x"], "content": {"data": "x"}, "ttl": NaN}', 400, "malformed", None),
        (b'{"tokens": ["k1.x"], "content": {"data": "x"}, "ttl": -1}', 400, "invalid", "ttl"),
        (b'{"tokens": ["k1.x"], "content": {"data": "x"}, "x": 1}', 400, "invalid", "x"),
        (b" " * 600_000, 413, "too_large", None),
    ],
)
async def test_wrong_bodies_are_said(
    server: ServerUnderTest, body: bytes, status: int, code: str, field: str | None
) -> None:
    """The codes and fields of the broker, and the status that fits; nothing is parked."""
    reply = await server.api("POST", data=body)
    assert (reply.status, reply.json["code"], reply.json.get("field")) == (status, code, field)
    assert await server.system.parked() == []


@pytest.mark.parametrize("name", ["-x", "a%20b", "x" * 65, "%00", "a%0Ab", "%F0%9F%98%80"])
async def test_names_that_no_notification_can_have(server: ServerUnderTest, name: str) -> None:
    """404, and no worker is bothered."""
    for method in ("GET", "DELETE"):
        reply = await server.api(method, f"/{name}")
        assert (reply.status, reply.json["code"]) == (404, "not_found")


async def test_a_bound_token_is_not_for_api_keys(server: ServerUnderTest) -> None:
    """A token that is bound to a VAPID key takes nothing of an API key: rejected in the answer."""
    device = await server.system.client()
    await device.register_app("webpush", sender_key=Sender().key)
    reply = await server.api("POST", json={"tokens": [device.token], **HELLO})
    assert reply.status == 422
    assert [each["code"] for each in reply.json["rejected"]] == ["not_allowed"]
