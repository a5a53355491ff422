"""A browser without a page: speaks to a gateway as Firefox does."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import aiohttp

from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL, service_messages
from tests.support.limits import WITHIN


class Browser:
    """What it remembers, its ``uaid``, survives its connections."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.uaid: str | None = None
        self._url = url
        self._stack = stack
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    @property
    def socket(self) -> aiohttp.ClientWebSocketResponse:
        """The connection."""
        assert self._socket is not None, "open it first"
        return self._socket

    async def open(self, *channels: str) -> bool:
        """Connect, say hello and register channels at once; whether the uaid stayed the same."""
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._socket = await session.ws_connect(self._url, protocols=(WEBPUSH_SUBPROTOCOL,))
        self._stack.push_async_callback(self._socket.close)
        known = {} if self.uaid is None else {"uaid": self.uaid}
        await self.say("hello", use_webpush=True, broadcasts={}, **known)
        for channel in channels:
            await self.say("register", channelID=channel)
        reply = await self.hear("hello")
        assert (reply["status"], reply["use_webpush"]) == (200, True)
        before, self.uaid = self.uaid, reply["uaid"]
        return before == self.uaid

    async def close(self) -> None:
        """The browser ends."""
        await self.socket.close()

    async def say(self, kind: str, **more: Any) -> None:
        """Send a message."""
        await self.socket.send_json({"messageType": kind, **more})

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, which must be of that kind and one that Firefox reads."""
        message: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=WITHIN))
        assert kind is None or message.get("messageType") == kind, message
        if message:
            service_messages.validate_python(message)
        return message

    async def ping(self) -> None:
        """Ask for a sign of life; whatever was said before has been read when it comes."""
        await self.socket.send_str("{}")
        assert await self.hear() == {}

    async def register(self, channel: str | None = None, key: str | None = None) -> dict[str, Any]:
        """Subscribe; the reply."""
        more = {} if key is None else {"key": key}
        await self.say("register", channelID=channel or str(uuid4()), **more)
        return await self.hear("register")

    async def subscribe(self, channel: str | None = None, key: str | None = None) -> str:
        """Subscribe; the token in the endpoint that was given out."""
        reply = await self.register(channel, key)
        assert reply["status"] == 200, reply
        endpoint: str = reply["pushEndpoint"]
        return endpoint.rpartition("/wpush/v1/")[2]

    async def unsubscribe(self, channel: str) -> int:
        """End a subscription; the status."""
        await self.say("unregister", channelID=channel, code=200)
        status: int = (await self.hear("unregister"))["status"]
        return status

    async def pushed(self, *, code: int | None = 100) -> str:
        """The text of the next notification, acknowledged with ``code`` (None: not at all)."""
        message = await self.hear("notification")
        if code is not None:
            await self.acknowledge(message, code)
        return text_of(message)

    async def acknowledge(self, message: dict[str, Any], code: int = 100) -> None:
        """Say what became of a notification."""
        update = {"channelID": message["channelID"], "version": message["version"], "code": code}
        await self.say("ack", updates=[update])

    async def closed(self) -> int | None:
        """The close code, whatever comes before it."""
        async with asyncio.timeout(WITHIN):
            async for _ in self.socket:
                pass
        return self.socket.close_code


def text_of(message: dict[str, Any]) -> str:
    """What the tests push: they leave encryption to the tests with a real browser."""
    data: str = message["data"]
    return urlsafe_b64decode(data + "=" * (-len(data) % 4)).decode()
