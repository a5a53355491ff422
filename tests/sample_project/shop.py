"""The backend of a shop: tells phones what becomes of their orders."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aoi_events import DeliveryState, Publisher


class Shop:
    """Knows the Application Client Token of each customer's app, and who was told what."""

    def __init__(self, broker: str) -> None:
        self._publisher = Publisher(broker)
        self._tokens: dict[str, str] = {}
        self.told: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._publisher.open()
        events = self._publisher.events("notification.delivered")
        await events.__aenter__()

        async def watch() -> None:
            async for event in events:
                if event.data.about == "delivery":
                    self.told.add(event.data.notification)

        self._watching = asyncio.create_task(watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._publisher.close()
        if self._watching is not None:
            await self._watching

    def know(self, customer: str, token: str) -> None:
        """The customer's app has registered, and told us its token."""
        self._tokens[customer] = token

    async def ship(self, order: str, customer: str, *, ttl: int = 3_600) -> bool:
        """Tell the customer; returns whether the app can be told at all."""
        answer = await self._publisher.send(
            self._tokens[customer], f"Order {order} is on its way", notification=order, ttl=ttl
        )
        return bool(answer.deliveries)

    async def state(self, order: str) -> DeliveryState:
        """What became of the news about an order."""
        status = await self._publisher.status(order)
        return status.deliveries[0].state
