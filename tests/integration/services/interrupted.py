"""A broker on which something happens before a publish."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.ports.broker import Outbound, Published


class Interrupted(MemoryBroker):
    """A connection on which something happens before each of the next publishes."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.before: list[Callable[[], Awaitable[None]]] = []

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish, after what shall happen before."""
        if self.before:
            await self.before.pop(0)()
        return await super().publish(messages)
