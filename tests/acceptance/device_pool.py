"""Many devices with the AOI Client library, which count what their apps were given."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Self

from aoi_events.client import (
    AoiClient,
    ChannelOffer,
    MemoryStorage,
    Notification,
    ReconnectPolicy,
    WebSocketTransport,
)
from aoi_events.client.ports import Connection
from aoi_events.testing.smsc import LoopbackSmsc
from tests.support.limits import WITHIN

APPS: Final = ("org.example.mail", "org.example.news")
_BACKOFF: Final = ReconnectPolicy(first=0.1, most=1.0)


class _Roaming:
    """A transport that tries one gateway after the other, as behind a name with two addresses."""

    def __init__(self, urls: Sequence[str], first: int) -> None:
        ways = [WebSocketTransport(url, connect_within=3, answer_within=4) for url in urls]
        self._ways = itertools.cycle(ways[first % len(ways) :] + ways[: first % len(ways)])

    async def connect(self) -> Connection:
        """An open connection to the next one. Raises ConnectionLost."""
        return await next(self._ways).connect()


@dataclass(slots=True)
class Device:
    """``seen`` counts, by app and content, what the apps were given; ``hear`` gets each."""

    name: str
    client: AoiClient
    channels: frozenset[str]
    hear: Callable[[Device, str, str], None]
    tokens: dict[str, str] = field(default_factory=dict)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def install(self, application: str) -> None:
        """An app starts, and registers."""

        async def take(notification: Notification) -> None:
            self.seen[application, notification.content.data] += 1
            self.hear(self, application, notification.content.data)

        app = await self.client.register_application(application, take, timeout=WITHIN)
        self.tokens[application] = app.token


class DevicePool:
    """Devices come as they are asked for, and stay to the end of the block.

    Every fourth one has a telephone number, too, and offers SMS, unless told otherwise. ``hear``
    gets the device, the app and the content whenever an app was given something.
    """

    def __init__(
        self,
        gateways: Sequence[str],
        smsc: LoopbackSmsc,
        *,
        hear: Callable[[Device, str, str], None] = lambda device, application, content: None,
    ) -> None:
        self._gateways = gateways
        self._smsc = smsc
        self._hear = hear
        self._stack = AsyncExitStack()
        self._numbers = itertools.count()
        self._arrived = asyncio.Event()
        self.devices: list[Device] = []
        """Those that are ready."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def join(self, count: int, *, sms: bool = True) -> None:
        """So many more, registered, with both apps, and with every channel active."""
        await asyncio.gather(*(self._join(next(self._numbers), sms) for _ in range(count)))

    async def until(self, done: Callable[[], bool], what: str, *, within: float) -> None:
        """Return once ``done``, which is asked whenever an app was given something."""
        try:
            async with asyncio.timeout(within):
                while not done():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within:g} s: {what}") from None

    def _arrive(self, device: Device, application: str, content: str) -> None:
        self._hear(device, application, content)
        self._arrived.set()

    async def _join(self, number: int, sms: bool) -> None:
        offers = [ChannelOffer(type="websocket")]
        msisdn = f"+1555{number:07d}"
        if sms and number % 4 == 0:
            offers.append(ChannelOffer(type="sms", parameters={"msisdn": msisdn}))
        client = AoiClient(
            transport=_Roaming(self._gateways, number),
            storage=MemoryStorage(),
            device=f"device-{number}",
            identity=f"user:{number}",
            offers=offers,
            sms=self._smsc.telephone(msisdn),
            register_on="install",
            reconnect_policy=_BACKOFF,
            answer_within=5,
        )
        await self._stack.enter_async_context(client)
        channels = frozenset(offer.type for offer in offers)
        device = Device(f"device-{number}", client, channels, self._arrive)
        for application in APPS:
            await device.install(application)
        await client.until_channels(channels, timeout=WITHIN)
        self.devices.append(device)
