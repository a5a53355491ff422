"""Devices of the benchmark: the AOI Client library, many in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aoi_events.client import AoiClient, MemoryStorage, Notification


@dataclass(slots=True)
class DevicePool:
    """Tokens to send to, and when each notification reached its app (monotonic seconds)."""

    tokens: list[str] = field(default_factory=list)
    arrived: dict[str, float] = field(default_factory=dict)

    async def take(self, notification: Notification) -> None:
        """The app has it."""
        if notification.notification is not None:
            self.arrived[notification.notification] = time.monotonic()


@asynccontextmanager
async def device_pool(url: str, size: int) -> AsyncIterator[DevicePool]:
    """``size`` connected devices with one app each."""
    made = DevicePool()
    async with AsyncExitStack() as stack:
        for start in range(0, size, 20):
            clients = [
                await stack.enter_async_context(
                    AoiClient(
                        url,
                        storage=MemoryStorage(),
                        device=f"bench-{number}",
                        identity=f"bench:{number}",
                        register_on="install",
                    )
                )
                for number in range(start, min(start + 20, size))
            ]
            apps = await asyncio.gather(
                *(client.register_application("org.example.bench", made.take) for client in clients)
            )
            await asyncio.gather(*(client.until_channels({"websocket"}) for client in clients))
            made.tokens.extend(app.token for app in apps)
        yield made
