"""Who plays: devices with the AOI Client library, and the telephones' radio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aoi_events.cli.demo.timeline import Timeline
from aoi_events.client import AoiClient, Application, Backoff, MemoryStorage, Notification
from aoi_events.client.scripted import CuttableTransport, ScriptedSms
from aoi_events.client.websocket import WebSocketTransport
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.testing.smsc import LoopbackSmsc

__all__ = ["Device", "device"]

WITHIN: Final = 8.0
"""Seconds that anything in the story may take."""


@dataclass(slots=True)
class Device:
    """A device with its AOI Client, its radio, and the inbox of its app."""

    name: str
    number: str
    client: AoiClient
    transport: CuttableTransport
    timeline: Timeline
    inbox: asyncio.Queue[Notification] = field(default_factory=asyncio.Queue)

    @property
    def offers(self) -> tuple[ChannelOffer, ...]:
        """Both channels that the device has."""
        return (
            ChannelOffer(type="websocket"),
            ChannelOffer(type="sms", parameters={"msisdn": self.number}),
        )

    async def install(self, application: str) -> Application:
        """The app starts, and registers with the AOI Client."""
        return await self.client.register_application(application, self.inbox.put, timeout=WITHIN)

    async def read(self, count: int = 1) -> list[Notification]:
        """The next notifications that the app gets. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN):
            return [await self.inbox.get() for _ in range(count)]


@asynccontextmanager
async def device(
    name: str, number: str, *, url: str, smsc: LoopbackSmsc, timeline: Timeline
) -> AsyncIterator[Device]:
    """A device that is switched on."""
    radio = ScriptedSms()
    transport = CuttableTransport(WebSocketTransport(url))
    offers = (
        ChannelOffer(type="websocket"),
        ChannelOffer(type="sms", parameters={"msisdn": number}),
    )
    client = AoiClient(
        transport=transport,
        storage=MemoryStorage(),
        device=name,
        identity=f"tel:{number}",
        offers=offers,
        sms=radio,
        register_on="install",
        backoff=Backoff(first=0.1, most=0.5),
    )

    async def listen() -> None:
        while True:
            message = await smsc.mailbox(number).get()
            timeline.say("SMSC", f"{len(message.user_data)} octets to {number}")
            radio.receive(message.user_data)

    listening = asyncio.create_task(listen())
    try:
        async with client:
            yield Device(name, number, client, transport, timeline)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
