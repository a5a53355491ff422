"""What tests of the client have in common: an app, its events, and names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aoi_events.client import (
    ChannelOffer,
    Notification,
)
from aoi_events.client.core.events import (
    ClientEvent,
)
from tests.support.limits import WITHIN

MAIL = "org.example.mail"
BOTH = (
    ChannelOffer(type="websocket"),
    ChannelOffer(type="sms", parameters={"address": "+15550100"}),
)


class Inbox:
    """An app that stores its notifications."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[Notification] = asyncio.Queue()

    async def __call__(self, notification: Notification) -> None:
        """Take a notification."""
        self.taken.put_nowait(notification)

    async def next(self) -> Notification:
        """The next notification."""
        async with asyncio.timeout(WITHIN):
            return await self.taken.get()


async def next_event(events: AsyncIterator[ClientEvent], kind: type[ClientEvent]) -> ClientEvent:
    """The next event of that kind."""
    async with asyncio.timeout(WITHIN):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")
