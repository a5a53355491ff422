"""WebDriver BiDi, as far as the tests need it: one JSON message per command over a WebSocket.

Firefox speaks it by itself (``--remote-debugging-port``), so neither a driver program, which Debian
does not package, nor a library around one is needed. https://www.w3.org/TR/webdriver-bidi/
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import aiohttp

from tests.support.limits import WITHIN

_LARGEST: Final = 64 * 2**20


class Refused(AssertionError):
    """The browser refused a command, or a script in the page failed."""


class Page:
    """The only tab of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._context = ""

    async def begin(self) -> None:
        """Take the browser over."""
        await self.command("session.new", capabilities={})
        tree = await self.command("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def open(self, url: str) -> None:
        """Load a page; returns when it is complete."""
        await self.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def call(self, function: str, *arguments: Any) -> Any:
        """What a function of the page returns, awaited: a text, a number, a truth or None."""
        answer = await self.command(
            "script.callFunction",
            functionDeclaration=f"(...values) => {function}(...values)",
            arguments=[_local(each) for each in arguments],
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] != "success":
            raise Refused(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    async def screenshot(self) -> bytes:
        """What the page looks like: a PNG."""
        answer = await self.command("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(answer["data"])

    async def quit(self) -> None:
        """The browser ends as if its window were closed, and keeps its profile."""
        await self.command("browser.close")

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers. Raises Refused, TimeoutError."""
        number = next(self._numbers)
        async with asyncio.timeout(WITHIN):
            await self._socket.send_json({"id": number, "method": method, "params": params})
            while True:
                answer: dict[str, Any] = json.loads(await self._socket.receive_str())
                if answer.get("id") != number:
                    continue  # an event, or the end of what was given up
                if answer["type"] != "success":
                    raise Refused(f"{method}: {answer['error']}: {answer['message']}")
                result: dict[str, Any] = answer["result"]
                return result


def _local(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"type": "null"}
        case str():
            return {"type": "string", "value": value}
        case int():
            return {"type": "number", "value": value}
        case _:
            raise TypeError(f"a page is given texts and numbers, no {type(value).__name__}")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Page]:
    """The page of the browser that listens at ``url``."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=_LARGEST) as socket,
    ):
        page = Page(socket)
        await page.begin()
        yield page
