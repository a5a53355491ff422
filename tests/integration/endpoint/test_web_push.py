"""Web Push requests of Application Servers (RFC 8030, RFC 8291), with all workers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from aoi_events.contracts.content import ContentEncryption
from aoi_events.contracts.requests import MAX_TTL
from aoi_events.contracts.states import DeliveryState
from tests.integration.endpoint.server_under_test import AES128GCM, ServerUnderTest
from tests.integration.services.conftest import BOTH

MESSAGE = re.compile(r"/message/wp-[0-9a-f]{32}$")


@BOTH
async def test_a_push_is_accepted_and_arrives(server: ServerUnderTest) -> None:
    """201 with the message's URL and its TTL; the device gets the octets and how they were
    encrypted, under the urgency that the sender named.
    """
    node = await server.system.node()
    device = await server.system.device("websocket")
    await node.connect(device)
    reply = await server.push(device.token, b"\x00\xffsealed", Urgency="high")
    assert (reply.status, reply.headers["TTL"], reply.body) == (201, "60", b"")
    assert reply.headers["Location"].startswith(server.origin)
    assert MESSAGE.search(reply.headers["Location"])
    item = await node.next_delivery()
    assert item.content.octets() == b"\x00\xffsealed"
    assert item.content.encryption == ContentEncryption(coding="aes128gcm")
    assert item.urgency == "high"


@pytest.mark.parametrize("token, status", [("", 201), ("x", 404)])
async def test_a_response_has_its_date(server: ServerUnderTest, token: str, status: int) -> None:
    """RFC 9110, 6.6.1: a server with a clock sends Date; the version of the server is not sent."""
    device = await server.system.device()
    reply = await server.push(token or device.token)
    assert reply.status == status
    assert parsedate_to_datetime(reply.headers["Date"]).tzinfo is UTC
    assert "Server" not in reply.headers


@BOTH
async def test_201_means_that_it_was_committed(server: ServerUnderTest) -> None:
    """A message that was answered with 201 is stored."""
    device = await server.system.device()
    reply = await server.push(device.token)
    name = reply.headers["Location"].rpartition("/")[2]
    (row,) = await server.system.rows(name, sender="webpush")
    assert row.state is DeliveryState.STORED


async def test_the_older_encryption_travels_in_its_headers(server: ServerUnderTest) -> None:
    """draft-ietf-webpush-encryption-04: salt and key go to the device, without quotes and padding,
    and without the sender's own key (RFC 8292, 4.2).
    """
    node = await server.system.node()
    device = await server.system.device("websocket")
    await node.connect(device)
    reply = await server.push(
        device.token,
        Content_Encoding="aesgcm",
        Encryption='keyid="p256dh"; salt="MTIzNDU2Nzg5MDEyMzQ1Ng=="',
        Crypto_Key='keyid="p256dh";dh="BAAB", p256ecdsa=BBBB',
    )
    assert reply.status == 201
    item = await node.next_delivery()
    assert item.content.encryption == ContentEncryption(
        coding="aesgcm",
        encryption="keyid=p256dh;salt=MTIzNDU2Nzg5MDEyMzQ1Ng",
        crypto_key="keyid=p256dh;dh=BAAB",
    )


@pytest.mark.parametrize(
    "keyid,sent",
    [
        ('"http://example.org/bob/keys/123"', "http%3A//example.org/bob/keys/123"),
        ('"a key, and; \\"more\\""', "a%20key%2C%20and%3B%20%22more%22"),
        ('"100% ="', "100%25%20%3D"),
        ("http://example.org/1", "http%3A//example.org/1"),
    ],
)
async def test_a_keyid_is_any_text(server: ServerUnderTest, keyid: str, sent: str) -> None:
    """draft-ietf-httpbis-encryption-encoding: a quoted keyid may have any character; it reaches the
    device alike in both fields, in characters at which no device splits it.
    """
    node = await server.system.node()
    device = await server.system.device("websocket")
    await node.connect(device)
    reply = await server.push(
        device.token,
        Content_Encoding="aesgcm",
        Encryption=f"keyid={keyid}; salt=MTIzNDU2Nzg5MDEyMzQ1Ng",
        Crypto_Key=f"dh=BAAB; keyid={keyid}",
    )
    assert reply.status == 201, reply.body
    encryption = (await node.next_delivery()).content.encryption
    assert encryption is not None
    assert encryption.encryption == f"keyid={sent};salt=MTIzNDU2Nzg5MDEyMzQ1Ng"
    assert encryption.crypto_key == f"dh=BAAB;keyid={sent}"


async def test_salt_and_key_in_standard_base64(server: ServerUnderTest) -> None:
    """Devices read base64url, so the standard alphabet is rewritten for them."""
    node = await server.system.node()
    device = await server.system.device("websocket")
    await node.connect(device)
    reply = await server.push(
        device.token, Content_Encoding="aesgcm", Encryption="salt=A+/A==", Crypto_Key="dh=B+/B="
    )
    assert reply.status == 201, reply.body
    encryption = (await node.next_delivery()).content.encryption
    assert encryption is not None
    assert (encryption.encryption, encryption.crypto_key) == ("salt=A-_A", "dh=B-_B")


async def test_a_push_without_content(server: ServerUnderTest) -> None:
    """RFC 8030 asks for no content: a tickle needs no encryption."""
    node = await server.system.node()
    device = await server.system.device("websocket")
    await node.connect(device)
    assert (await server.push(device.token, b"")).status == 201
    item = await node.next_delivery()
    assert (item.content.octets(), item.content.encryption) == (b"", None)


@pytest.mark.parametrize(
    "ttl, said", [("0", "0"), (str(MAX_TTL), str(MAX_TTL)), ("99999999999", str(MAX_TTL))]
)
async def test_the_answer_says_how_long(server: ServerUnderTest, ttl: str, said: str) -> None:
    """RFC 8030, 5.2: a TTL that is too long is lowered, and the answer says to what."""
    device = await server.system.device()
    reply = await server.push(device.token, ttl=ttl)
    assert (reply.status, reply.headers["TTL"]) == (201, said)


@pytest.mark.parametrize(
    "headers, errno",
    [
        ({"ttl": None}, 111),
        ({"ttl": "-1"}, 112),
        ({"ttl": "soon"}, 112),
        ({"ttl": "1.5"}, 112),
        ({"ttl": "\u0661"}, 112),
        ({"ttl": ""}, 112),
        ({"Topic": "x" * 33}, 113),
        ({"Topic": "a b"}, 113),
        ({"Urgency": "immediately"}, None),
        ({"Content_Encoding": "gzip"}, 110),
        ({"Content_Encoding": "aesgcm"}, 101),
        ({"Content_Encoding": "aesgcm", "Encryption": "salt=AAAA"}, 101),
        ({"Content_Encoding": "aesgcm", "Encryption": "salt", "Crypto_Key": "dh=AA"}, 110),
        ({"Content_Encoding": "aesgcm", "Encryption": "salt=A A", "Crypto_Key": "dh=AA"}, 110),
        ({"Content_Encoding": "aesgcm", "Encryption": "rs=4096", "Crypto_Key": "dh=AA"}, 101),
        ({"Content_Encoding": "aesgcm", "Encryption": 'salt="AA', "Crypto_Key": "dh=AA"}, 110),
        ({"Content_Encoding": "aesgcm", "Encryption": "salt=", "Crypto_Key": "dh=AA"}, 110),
        ({"Content_Encoding": "aesgcm", "Encryption": "salt=A:A", "Crypto_Key": "dh=AA"}, 101),
    ],
)
async def test_wrong_headers_are_said(
    server: ServerUnderTest, headers: dict[str, str], errno: int | None
) -> None:
    """400 with the number that Mozilla's push service has for it, and nothing was accepted."""
    device = await server.system.device()
    reply = await server.push(device.token, **headers)
    assert (reply.status, reply.errno) == (400, errno)
    assert reply.json["code"] == 400
    assert reply.json["error"] == "Bad Request"
    assert not server.system.events.of("notification.accepted")


async def test_content_needs_its_encryption(server: ServerUnderTest) -> None:
    """RFC 8291: what is not encrypted would be read by everybody in between."""
    device = await server.system.device()
    reply = await server.ask(
        "POST", f"/wpush/v1/{device.token}", headers={"TTL": "1"}, data=b"plain text"
    )
    assert (reply.status, reply.errno) == (400, 101)


@BOTH
async def test_subscriptions_that_are_none(server: ServerUnderTest) -> None:
    """An unknown URL is answered with 404, one of a revoked token with 410."""
    device = await server.system.device()
    for token in ("k1.forged", "x" * 300, "k1.a%20b", device.token[:-2] + "AA"):
        reply = await server.push(token)
        assert (reply.status, reply.errno) == (404, 102), token
    await device.ask("application.deregister", application="org.mail", sequence=9)
    reply = await server.push(device.token)
    assert (reply.status, reply.errno, reply.json["error"]) == (410, 106, "Gone")


@BOTH
async def test_a_topic_replaces(server: ServerUnderTest) -> None:
    """RFC 8030, 5.4: the older one of a topic is never delivered."""
    device = await server.system.device()
    replies = [await server.push(device.token, Topic="score") for _ in range(2)]
    names = [reply.headers["Location"].rpartition("/")[2] for reply in replies]
    states = [row.state for row in await server.system.rows(*names, sender="webpush")]
    assert states == [DeliveryState.REPLACED, DeliveryState.STORED]


@BOTH
async def test_a_message_is_withdrawn_by_its_url(server: ServerUnderTest) -> None:
    """204 as often as one asks; then it never arrives. 410 for one that was delivered, 404 for one
    that never was, which nobody remembers.
    """
    node = await server.system.node()
    device = await server.system.device("websocket")
    location = (await server.push(device.token)).headers["Location"]
    for _ in range(2):
        assert (await server.ask("DELETE", location)).status == 204
    await node.connect(device)
    assert node.items.empty()
    location = (await server.push(device.token)).headers["Location"]
    await node.acknowledge(await node.next_delivery())
    await server.system.events.wait_for("notification.delivered")
    assert (await server.ask("DELETE", location)).status == 410
    for path in (f"wp-{'0' * 32}", f"wp-{'0' * 32}.B{'A' * 86}", "x", "wp-1", f"wp-{'0' * 32}.x"):
        reply = await server.ask("DELETE", f"/message/{path}")
        assert (reply.status, reply.errno) == (404, 102), path
    assert not await server.system.rows(f"wp-{'0' * 32}", sender="webpush")


@pytest.mark.parametrize("size", [4095, 4096, 4097, 200_000, 1_000_000])
async def test_content_is_bounded(server: ServerUnderTest, size: int) -> None:
    """RFC 8030, 7.2: 4,096 octets are taken; more is 413, which the sender can read, and the
    connection serves on if the body was read to its end.
    """
    device = await server.system.device()
    reply = await server.push(device.token, b"x" * size)
    assert reply.status == (201 if size <= 4096 else 413)
    if size > 4096:
        assert reply.errno == 104
    assert (await server.push(device.token)).status == 201


@pytest.mark.parametrize("chunks", [4, 5, 60, 1_000])
async def test_chunked_content_is_bounded(server: ServerUnderTest, chunks: int) -> None:
    """A body without a declared length has the same limit."""
    device = await server.system.device()

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b"x" * 1024

    reply = await server.ask(
        "POST", f"/wpush/v1/{device.token}", headers={"TTL": "9"} | AES128GCM, data=parts()
    )
    assert reply.status == (201 if chunks <= 4 else 413)
    assert (await server.push(device.token)).status == 201


async def test_content_without_end_is_cut_off(server: ServerUnderTest) -> None:
    """Past the octets that are read to be thrown away, the connection is closed under whoever goes
    on, with or without having read why; nobody else notices.
    """
    device = await server.system.device()
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100_000:
            sent += 1
            yield b"x" * 1024

    with suppress(aiohttp.ClientConnectionError):
        reply = await server.ask(
            "POST", f"/wpush/v1/{device.token}", headers={"TTL": "9"} | AES128GCM, data=parts()
        )
        assert reply.status == 413
    assert sent < 50_000
    assert (await server.push(device.token)).status == 201


@pytest.mark.parametrize(
    "method, path, status, allowed",
    [
        ("GET", "/wpush/v1/k1.x", 405, "POST"),
        ("PUT", "/message/x", 405, "DELETE"),
        ("GET", "/", 404, None),
        ("POST", "/wpush/v2/k1.x", 404, None),
        ("POST", "/wpush/v1/a/b", 404, None),
        ("POST", "/wpush/v1/", 404, None),
        ("OPTIONS", "/v1/notifications", 405, "POST"),
        ("PATCH", "/v1/notifications", 405, "POST"),
        ("GET", "/v1/notifications/", 404, None),
        ("BREW", "/wpush/v1/k1.x", 400, None),
    ],
)
async def test_what_is_not_here_is_said_in_json(
    server: ServerUnderTest, method: str, path: str, status: int, allowed: str | None
) -> None:
    """Every error response explains itself to programs and to people."""
    reply = await server.ask(method, path)
    assert reply.status == status
    assert reply.json["message"]
    assert reply.headers["Content-Type"] == "application/json"
    if allowed is not None:
        assert allowed in reply.headers["Allow"].split(", ")
