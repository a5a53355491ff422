"""Whatever a device can put on a gateway's port."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from aoi_events.contracts.device import DEVICE_REQUESTS, MAX_FRAME, SUBPROTOCOL
from tests.support.limits import WITHIN
from tests.support.publishing_device import Device


@dataclass(slots=True)
class Talk:
    """Everything that the gateway said on one connection, and how it ended it."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    closed: int | None = None

    @property
    def answers(self) -> dict[int, dict[str, Any]]:
        """The answers by the request's ID."""
        return {each["id"]: each["body"] for each in self.frames if each["type"] == "answer"}


async def say(
    url: str, frames: Sequence[str | bytes], *, device: Device | None = None, answers: int = 0
) -> Talk:
    """Say all that, ``device`` after its welcome; listen until the gateway closes the connection,
    or has answered so often.
    """
    talk = Talk()
    async with (
        asyncio.timeout(WITHIN),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=(SUBPROTOCOL,), max_msg_size=0) as web,
    ):
        if device is not None:
            hello = {"type": "hello", "client": device.client, "secret": device.secret}
            await web.send_json(hello)
            talk.frames.append(await web.receive_json())
            assert talk.frames[0]["type"] == "welcome", talk
        try:
            for frame in frames:
                await (web.send_str(frame) if isinstance(frame, str) else web.send_bytes(frame))
        except ConnectionError:
            pass  # it has closed already, and said why
        async for message in web:
            talk.frames.append(json.loads(message.data))
            if answers and len(talk.answers) >= answers:
                return talk
        talk.closed = web.close_code
    return talk


def bad_frames(rng: random.Random) -> list[str | bytes]:
    """Frames of which each ends its connection."""
    texts = [
        "",
        "{",
        "null",
        "[]",
        "[" * 10_000,
        '{"a":' * 5_000,
        "\x00",
        '{"type": "hello"}',
        '{"type": "hello", "client": 1, "secret": []}',
        '{"type": "welcome"}',
        '{"type": "request", "id": -1, "name": "client.register", "body": {}}',
        '{"type": "ack", "delivery": "dlv_x"}',
        "x" * (MAX_FRAME + 1),
        "x" * 10_000_000,
    ]
    by_chance: list[str | bytes] = [rng.randbytes(rng.randrange(1, 500)) for _ in range(10)]
    return [*texts, *by_chance]


def forbidden(victim: Device, attacker: Device, foreign: str) -> list[tuple[str, str]]:
    """What a welcomed device may not ask, numbered from 0, and the code of each answer; ``foreign``
    is a delivery to the victim.
    """
    mine = {"version": 1, "client": attacker.client}
    theirs = {"version": 1, "client": victim.client}
    offers = {"sequence": 50, "offers": [{"type": "websocket"}]}
    asked: list[tuple[str, dict[str, object], str]] = [
        ("client.connected", {**mine, "node": "x", "session": "y"}, "unknown_request"),
        ("notification.send", mine, "unknown_request"),
        ("bogus", {}, "unknown_request"),
        ("channel.activate", {**theirs, **offers}, "not_allowed"),
        ("notification.fetch", {**theirs, "delivery": foreign}, "not_allowed"),
        ("notification.fetch", {**mine, "delivery": foreign}, "not_found"),
        ("application.register", {**mine, "secret": victim.secret}, "invalid"),
        ("channel.confirm", {**mine, "channel": "sms", "code": "000000"}, "challenge_expired"),
        *((name, {**mine, "surprise": 1}, "invalid") for name in sorted(DEVICE_REQUESTS)),
    ]
    return [
        (json.dumps({"type": "request", "id": number, "name": name, "body": body}), code)
        for number, (name, body, code) in enumerate(asked)
    ]


async def throw(port: int, rng: random.Random, count: int) -> None:
    """Octets by chance, and beginnings of HTTP, on connections that are then dropped."""

    async def one() -> None:
        try:
            async with asyncio.timeout(WITHIN):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                head = rng.choice(
                    [b"", b"GET /aoi HTTP/1.1\r\n", b"GET " + b"/" * 5_000, b"\x16\x03"]
                )
                writer.write(head + rng.randbytes(rng.randrange(3_000)))
                await writer.drain()
                writer.transport.abort()
        except ConnectionError:
            return  # it was quicker

    await asyncio.gather(*(one() for _ in range(count)))
