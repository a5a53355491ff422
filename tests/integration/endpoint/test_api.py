"""The JSON API with API keys, against every worker."""

from __future__ import annotations

from typing import Any

import pytest

from aoi_events.contracts.answers import (
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from tests.integration.endpoint.conftest import BOTH
from tests.integration.endpoint.senders import Place, Sender

HELLO: dict[str, Any] = {"content": {"data": "hello"}}


@BOTH
async def test_a_notification_is_sent_reported_and_withdrawn(place: Place) -> None:
    """202 with what the workers accepted, then its status, then its withdrawal: the contracts are
    those of the broker.
    """
    device = await place.system.device()
    sent = await place.api("POST", json={"tokens": [device.token, "k1.forged"], **HELLO})
    assert sent.status == 202
    accepted = NotificationAcceptedV1.decode(sent.body)
    assert [(each.index, each.code) for each in accepted.rejected] == [(1, "token_forged")]
    name = accepted.notification
    asked = await place.api("GET", f"/{name}")
    assert asked.status == 200
    (delivery,) = NotificationStatusV1.decode(asked.body).deliveries
    assert (delivery.delivery, delivery.state) == (accepted.deliveries[0].delivery, "stored")
    gone = await place.api("DELETE", f"/{name}")
    assert NotificationCancelledV1.decode(gone.body).cancelled == 1
    assert [row.state for row in await place.system.rows(name, sender="key:shop")] == ["cancelled"]


async def test_a_repeat_with_its_id_is_harmless(place: Place) -> None:
    """The same ID and body: the same answer; another body: 409, like over the broker."""
    device = await place.system.device()
    body = {"notification": "n1", "tokens": [device.token], "ttl": 60, "topic": "t"} | HELLO
    first = await place.api("POST", json=body)
    assert (await place.api("POST", json=body)).body == first.body
    other = await place.api("POST", json=body | {"ttl": 61})
    assert (other.status, other.json["code"]) == (409, "conflict")
    assert (await place.api("POST", json=body, key="bank")).status == 202, "IDs are the sender's"


@BOTH
async def test_how_channels_follow_each_other_goes_to_the_workers(place: Place) -> None:
    """``mode`` and ``hedge_after`` over HTTP are those of the broker, bounds included."""
    device = await place.system.device()
    body = {"notification": "n1", "tokens": [device.token], "mode": "hedged", **HELLO}
    assert (await place.api("POST", json=body | {"hedge_after": 1.5})).status == 202
    async with place.system.installation.store.transaction(read_only=True) as tx:
        (kept,) = (await tx.notifications([("key:shop", "n1")])).values()
    assert (kept.mode, kept.hedge_after) == ("hedged", 1.5)
    wrong = await place.api("POST", json=body | {"mode": "parallel", "hedge_after": 1.5})
    assert (wrong.status, wrong.json["code"]) == (400, "invalid")


async def test_keys_see_their_own_only(place: Place) -> None:
    """What another key sent is not found, and cannot be withdrawn."""
    device = await place.system.device()
    await place.api("POST", json={"notification": "n1", "tokens": [device.token], **HELLO})
    theirs = await place.api("GET", "/n1", key="bank")
    assert (theirs.status, theirs.json["code"]) == (404, "not_found")
    await place.api("DELETE", "/n1", key="bank")
    assert [row.state for row in await place.system.rows("n1", sender="key:shop")] == ["stored"]


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
async def test_without_a_known_key_nothing_is_said(place: Place, said: str | None) -> None:
    """401, whatever was asked, and which scheme would be right."""
    headers = {"Authorization": said} if said is not None else {}
    for method, path in (("POST", ""), ("GET", "/n1"), ("DELETE", "/n1")):
        reply = await place.ask(method, f"/v1/notifications{path}", headers=headers, data=b"{")
        assert (reply.status, reply.json["code"]) == (401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_two_keys_are_none(place: Place) -> None:
    """Two Authorization headers could be read as either, so neither counts: 401."""
    said = f"Authorization: Bearer {place.api_key()}\r\n"
    for headers, status in ((said, b"404"), (said * 2, b"401")):
        head = f"GET /v1/notifications/n1 HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
        assert (await place.raw(head.encode())).split()[1] == status


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
    place: Place, body: bytes, status: int, code: str, field: str | None
) -> None:
    """The codes and fields of the broker, and the status that fits; nothing is parked."""
    reply = await place.api("POST", data=body)
    assert (reply.status, reply.json["code"], reply.json.get("field")) == (status, code, field)
    assert await place.system.parked() == []


@pytest.mark.parametrize("name", ["-x", "a%20b", "x" * 65, "%00", "a%0Ab", "%F0%9F%98%80"])
async def test_names_that_no_notification_can_have(place: Place, name: str) -> None:
    """404, and no worker is bothered."""
    for method in ("GET", "DELETE"):
        reply = await place.api(method, f"/{name}")
        assert (reply.status, reply.json["code"]) == (404, "not_found")


async def test_a_bound_token_is_not_for_api_keys(place: Place) -> None:
    """A token that is bound to a VAPID key takes nothing of an API key: rejected in the answer."""
    device = await place.system.client()
    await device.register_app("webpush", sender_key=Sender().key)
    reply = await place.api("POST", json={"tokens": [device.token], **HELLO})
    assert reply.status == 202
    assert [each["code"] for each in reply.json["rejected"]] == ["not_allowed"]
