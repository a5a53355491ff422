"""VAPID: who sends, proved to the endpoint and kept to by the workers (RFC 8292)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import jwt
import pytest

from tests.integration.endpoint.server_under_test import AES128GCM, Reply, Sender, ServerUnderTest
from tests.integration.services.conftest import BOTH
from tests.support.actors import Device

HOUR = 3600
LEEWAY = 60


async def bound(server: ServerUnderTest, sender: Sender) -> Device:
    """A device with a subscription that was made for this sender."""
    device = await server.system.client()
    await device.register_app("webpush", sender_key=sender.key)
    return device


@BOTH
async def test_a_bound_subscription_takes_its_sender_only(server: ServerUnderTest) -> None:
    """RFC 8292, 4.2: 201 for the key that it was made for, 401 without credentials, 403 for another
    key, whose owner learns nothing more.
    """
    mine, other = Sender(), Sender()
    device = await bound(server, mine)
    token = device.token
    reply = await server.push(token, **server.vapid(mine))
    assert reply.status == 201
    name = reply.headers["Location"].rpartition("/")[2].partition(".")[0]
    (row,) = await server.system.rows(name, sender=f"vapid:{mine.key}")
    assert row.client == device.client
    bare = await server.push(token)
    assert (bare.status, bare.errno) == (401, 109)
    assert bare.headers["WWW-Authenticate"] == "vapid"
    foreign = await server.push(token, **server.vapid(other))
    assert (foreign.status, foreign.errno) == (403, 109)


@BOTH
async def test_the_url_withdraws_what_a_proved_sender_sent(server: ServerUnderTest) -> None:
    """The message's URL is the capability: it needs no credentials, and names its sender."""
    sender = Sender()
    device = await bound(server, sender)
    location = (await server.push(device.token, **server.vapid(sender))).headers["Location"]
    assert location.endswith(sender.key)
    assert (await server.ask("DELETE", location)).status == 204
    foreign = location.replace(sender.key, Sender().key)
    assert (await server.ask("DELETE", foreign)).status == 404


async def test_a_free_subscription_still_checks_what_is_said(server: ServerUnderTest) -> None:
    """RFC 8292, 4.2: who says who it is, and is not, is refused wherever it sends."""
    device = await server.system.device()
    assert (await server.push(device.token, **server.vapid(Sender()))).status == 201
    wrong = server.vapid(Sender(), aud="https://push.example.net")
    assert (await server.push(device.token, **wrong)).status == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": "https://push.example.net"},
        {"aud": ["https://push.example.net", "http://localhost"]},
        {"aud": [1]},
        {"aud": 7},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": -1},
        {"exp": 10**400},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": float("-inf")},
    ],
)
async def test_claims_that_are_not_valid(server: ServerUnderTest, claims: dict[str, Any]) -> None:
    """A token for another audience, or with an impossible expiry, is refused with 403."""
    device = await server.system.device()
    reply = await server.push(device.token, **server.vapid(Sender(), **claims))
    assert (reply.status, reply.errno) == (403, 109)


@pytest.mark.parametrize("other", [7, None, {"origin": "x"}])
async def test_every_audience_is_a_text(server: ServerUnderTest, other: Any) -> None:
    """An audience list with an entry that is no text is refused with 403 (RFC 7519, 4.1.3)."""
    device = await server.system.device()
    reply = await server.push(device.token, **server.vapid(Sender(), aud=[server.origin, other]))
    assert (reply.status, reply.errno) == (403, 109)


@pytest.mark.parametrize(
    "offset, status",
    [
        (-LEEWAY - 1, 403),
        (-LEEWAY, 403),
        (-LEEWAY + 1, 201),
        (24 * HOUR + LEEWAY, 201),
        (24 * HOUR + LEEWAY + 1, 403),
    ],
)
async def test_a_token_holds_until_it_ends_and_24_hours_at_most(
    server: ServerUnderTest, offset: int, status: int
) -> None:
    """RFC 8292, 2: exp lies ahead, and no more than 24 hours; clocks may differ by a minute."""
    sender = Sender()
    device = await bound(server, sender)
    now = int(server.system.clock.now().timestamp())
    server.system.clock.advance(now - server.system.clock.now().timestamp() + 1)
    reply = await server.push(device.token, **server.vapid(sender, exp=now + 1 + offset))
    assert reply.status == status, reply.body


async def test_a_replayed_token_ends_with_its_time(server: ServerUnderTest) -> None:
    """A token may be used again while it holds, as senders do; caught and replayed later, it is
    refused, though it was good a moment before.
    """
    sender = Sender()
    device = await bound(server, sender)
    credentials = server.vapid(sender)
    for _ in range(2):
        assert (await server.push(device.token, **credentials)).status == 201
    server.system.clock.advance(HOUR + LEEWAY)
    assert (await server.push(device.token, **credentials)).status == 403


async def test_a_token_is_good_for_the_key_that_signed_it(server: ServerUnderTest) -> None:
    """A token of one's own beside another's key, a key of one's own beside another's token, and a
    token that was changed on the way: 403.
    """
    mine, thief = Sender(), Sender()
    device = await bound(server, mine)
    token = server.vapid(mine)["Authorization"].split("t=")[1].split(",")[0]
    stolen = server.vapid(thief)["Authorization"].split("t=")[1].split(",")[0]
    head, body, signature = token.split(".")
    changed = f"{head}.{body}.{signature[:-4]}AAAA"
    for said in (
        f"vapid t={stolen}, k={mine.key}",
        f"vapid t={token}, k={thief.key}",
        f"vapid t={changed}, k={mine.key}",
        f"vapid t={head}.{body}., k={mine.key}",
        f"vapid t={token}",
        f"vapid k={mine.key}",
        f"vapid t={token}, k={mine.key[:-1]}",
        f"vapid t={token}, k=B{'A' * 86}",
        f"vapid t={token}, k=",
        "vapid",
        "Basic c2hvcDpzZWNyZXQ=",
        f"Bearer {token}",
        "vapid " + "t=" + "a" * 5_000,
    ):
        reply = await server.push(device.token, Authorization=said)
        assert (reply.status, reply.errno) == (403, 109), said


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES384"])
async def test_no_other_algorithm_counts(server: ServerUnderTest, algorithm: str) -> None:
    """RFC 8292, 2: ES256 and nothing else; above all no secret that is the public key."""
    sender = Sender()
    device = await bound(server, sender)
    now = int(server.system.clock.now().timestamp())
    claims = {"aud": server.origin, "exp": now + HOUR}
    if algorithm == "ES384":
        head = jwt.encode(claims, sender.private, algorithm="ES256").split(".")
        head[0] = jwt.encode({}, "x" * 48, algorithm="HS384").split(".")[0]
        forged = ".".join(head)
    else:
        secret = sender.key if algorithm == "HS256" else None
        forged = jwt.encode(claims, secret, algorithm=algorithm)  # type: ignore[arg-type]
    said = f"vapid t={forged}, k={sender.key}"
    assert (await server.push(device.token, Authorization=said)).status == 403


@pytest.mark.parametrize("scheme", ["WebPush", "webpush"])
async def test_the_draft_of_vapid(server: ServerUnderTest, scheme: str) -> None:
    """draft-ietf-webpush-vapid-01: the token alone, and the key in Crypto-Key; which does not reach
    the device.
    """
    sender = Sender()
    node = await server.system.node()
    device = await bound(server, sender)
    await device.activate("websocket")
    await node.connect(device)
    token = server.vapid(sender)["Authorization"].split("t=")[1].split(",")[0]
    reply: Reply = await server.push(
        device.token,
        Authorization=f"{scheme} {token}",
        Content_Encoding="aesgcm",
        Encryption="salt=AAAA",
        Crypto_Key=f"dh=BBBB;p256ecdsa={sender.key}",
    )
    assert reply.status == 201, reply.body
    encryption = (await node.next_delivery()).content.encryption
    assert encryption is not None
    assert encryption.crypto_key == "dh=BBBB"


@pytest.mark.parametrize(
    "form",
    [
        "vapid t={t},k={k}",
        "vapid k={k}, t={t}",
        'Vapid t="{t}", k="{k}"',
        "vapid  t={t} , k={k}=",
    ],
)
async def test_credentials_in_every_spelling(server: ServerUnderTest, form: str) -> None:
    """RFC 9110, 11.4: parameters in any order, quoted or not, with or without spaces."""
    sender = Sender()
    device = await bound(server, sender)
    token = server.vapid(sender)["Authorization"].split("t=")[1].split(",")[0]
    said = form.format(t=token, k=sender.key)
    assert (await server.push(device.token, Authorization=said)).status == 201


@pytest.mark.parametrize(
    "credentials,crypto_key", [("vapid t={t}, k={k}", ""), ("WebPush {t}", ";p256ecdsa={k}")]
)
async def test_the_key_in_standard_base64(
    server: ServerUnderTest, credentials: str, crypto_key: str
) -> None:
    """A library that writes ``+``, ``/`` and padding names the same key (RFC 4648, section 4)."""
    sender = next(each for each in iter(Sender, None) if {"-", "_"} <= set(each.key))
    device = await bound(server, sender)
    token = server.vapid(sender)["Authorization"].split("t=")[1].split(",")[0]
    key = sender.key.replace("-", "+").replace("_", "/") + "="
    reply = await server.push(
        device.token,
        Authorization=credentials.format(t=token, k=key),
        Content_Encoding="aesgcm",
        Encryption="salt=AAAA",
        Crypto_Key="dh=BBBB" + crypto_key.format(k=key),
    )
    assert reply.status == 201, reply.body
    assert reply.headers["Location"].endswith(sender.key)


@pytest.mark.parametrize("form", ["{k}", "{k}=", '"{k}"'])
async def test_the_older_encryption_with_the_key_of_the_credentials(
    server: ServerUnderTest, form: str
) -> None:
    """A key pair that signs must not encrypt, too (RFC 8292): 400, as autopush answers."""
    sender = Sender()
    device = await bound(server, sender)
    for dh, status in ((sender.key, 400), (Sender().key, 201)):
        reply = await server.push(
            device.token,
            **server.vapid(sender),
            Content_Encoding="aesgcm",
            Encryption="salt=AAAA",
            Crypto_Key=f"keyid=a;dh={form.format(k=dh)}",
        )
        assert reply.status == status, reply.body
        assert status == 201 or reply.errno == 110


async def test_encryption_with_the_key_of_the_credentials(server: ServerUnderTest) -> None:
    """The header of aes128gcm (RFC 8188, 2.1) names the key: that of the credentials is 400."""
    sender = Sender()
    device = await bound(server, sender)
    for named, status in ((sender.key, 400), (Sender().key, 201)):
        head = b"s" * 16 + (4096).to_bytes(4) + bytes([65]) + urlsafe_b64decode(named + "=")
        reply = await server.push(device.token, head + b"sealed", **server.vapid(sender))
        assert reply.status == status, reply.body
        assert status == 201 or reply.errno == 110


async def test_two_claims_of_who_sends_are_none(server: ServerUnderTest) -> None:
    """Two Authorization headers could be read as either: 403."""
    device = await server.system.device()
    said = server.vapid(Sender())["Authorization"]
    head = "".join(
        f"{name}: {value}\r\n"
        for name, value in (
            ("Host", "x"),
            ("TTL", "1"),
            ("Authorization", said),
            ("Authorization", said),
            *AES128GCM.items(),
            ("Content-Length", "1"),
            ("Connection", "close"),
        )
    )
    answer = await server.raw(f"POST /wpush/v1/{device.token} HTTP/1.1\r\n{head}\r\nx".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
