"""Hands notifications to one app instance, one at a time and in order."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aoi_events.client.core.effects import Deliver, Notification
from aoi_events.client.core.inputs import Handled
from aoi_events.client.core.state import AckCode
from aoi_events.errors import CouldNotWake
from aoi_events.platform.logs import get_logger

__all__ = ["Handler", "Mailbox", "Wake"]

_log = get_logger(__name__)

Handler: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Takes a notification for a running app instance; on return the app has it."""
Wake: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Starts an app instance with a notification; on return the app has it. Raises CouldNotWake."""


class Mailbox:
    """What waits for one app instance.

    ``handler`` is asked for each time, as the app may stop while a notification waits for its turn:
    then it is woken with it. ``within`` seconds it may take for one.
    """

    def __init__(
        self,
        handler: Callable[[], Handler | None],
        wake: Wake | None,
        within: float,
        put: Callable[[Handled], Awaitable[None]],
    ) -> None:
        self._handler = handler
        self._wake = wake
        self._within = within
        self._put = put
        self._waiting: asyncio.Queue[Deliver] = asyncio.Queue()

    def put(self, deliver: Deliver) -> None:
        """Hand this on in its turn; the decisions bound how many wait."""
        self._waiting.put_nowait(deliver)

    async def run(self) -> None:
        """Hand on whatever comes, until cancelled."""
        while True:
            deliver = await self._waiting.get()
            code = await self._hand_on(deliver)
            await self._put(Handled(deliver.notification.delivery, code))

    async def _hand_on(self, deliver: Deliver) -> AckCode:
        take = (None if deliver.wake else self._handler()) or self._wake
        if take is None:
            return "could_not_wake"
        delivery = deliver.notification.delivery
        try:
            async with asyncio.timeout(self._within):
                await take(deliver.notification)
        except CouldNotWake as error:
            _log.info("could_not_wake", delivery=delivery, reason=str(error))
        except TimeoutError:
            _log.warning("application_too_slow", delivery=delivery, seconds=self._within)
        except Exception as error:  # noqa: BLE001 - whatever the app raises is its own
            # The app's own fault: it does not have the notification, and the AOI Server keeps it.
            # Neither its message nor its variables are logged: both may hold the content.
            _log.error(
                "application_failed",
                delivery=delivery,
                error=type(error).__name__,
                where=_where(error),
            )
        else:
            return "delivered"
        return "could_not_wake"


def _where(error: Exception) -> str:
    """File, line and function that raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno} in {frame.name}"
