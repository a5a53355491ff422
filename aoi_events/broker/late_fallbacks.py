"""Publishes the fallbacks of messages that no queue took, as was found out late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aoi_events.errors import AoiError
from aoi_events.platform.logs import get_logger
from aoi_events.ports.broker import Outbound, Published

log = get_logger(__name__)


class LateFallbacks:
    """Fallbacks of messages whose confirms were not awaited any more, published together.

    They are as many as messages may be let go. One that cannot be published is left to the
    deadline of the message's row.
    """

    def __init__(
        self, publish: Callable[[Sequence[Outbound]], Awaitable[Sequence[Published]]]
    ) -> None:
        self._publish = publish
        self._waiting: list[Outbound] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, message: Outbound, result: Published) -> None:
        """The broker answered ``message`` late."""
        if result is Published.CONFIRMED or message.if_returned is None:
            return
        self._waiting.append(message.if_returned)
        if self._task is None:
            self._task = asyncio.create_task(self._publish_all(), name="late fallbacks")

    async def close(self) -> None:
        """Give up what is not published yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _publish_all(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting, []
                try:
                    results = await self._publish(together)
                except AoiError as error:
                    log.warning("fallbacks_lost", messages=len(together), error=str(error))
                    continue
                taken = results.count(Published.CONFIRMED)
                log.info("fallbacks_published", messages=taken)
                if lost := len(together) - taken:
                    log.warning("fallbacks_lost", messages=lost, error="the broker refused them")
        finally:
            self._task = None
