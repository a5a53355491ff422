"""Delivers notifications to one app instance, one at a time and in order."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aoi_events.client.core.effects import Deliver, Notification
from aoi_events.client.core.inputs import NotificationHandled
from aoi_events.client.core.state import AckCode
from aoi_events.errors import CouldNotWake
from aoi_events.platform.logs import get_logger

_log = get_logger(__name__)

Handler: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Handles a notification in a running app instance; on return it counts as delivered."""
Wake: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Starts an app instance with a notification; on return it counts as delivered.

Raises CouldNotWake."""


class Mailbox:
    """The queue of notifications for one app instance.

    ``handler`` is called for each notification: it returns None if the app has stopped while the
    notification was queued, and then the app is woken with it. The app may take ``within`` seconds
    for each.
    """

    def __init__(
        self,
        handler: Callable[[], Handler | None],
        wake: Wake | None,
        within: float,
        put: Callable[[NotificationHandled], Awaitable[None]],
    ) -> None:
        self._handler = handler
        self._wake = wake
        self._within = within
        self._put = put
        self._waiting: asyncio.Queue[Deliver] = asyncio.Queue()

    def put(self, deliver: Deliver) -> None:
        """Queue a notification; HANDLING_LIMIT bounds how many wait."""
        self._waiting.put_nowait(deliver)

    async def run(self) -> None:
        """Deliver queued notifications, until cancelled."""
        while True:
            deliver = await self._waiting.get()
            code = await self._deliver(deliver)
            await self._put(NotificationHandled(deliver.notification.delivery, code))

    async def _deliver(self, deliver: Deliver) -> AckCode:
        handle = (None if deliver.wake else self._handler()) or self._wake
        if handle is None:
            return "could_not_wake"
        delivery = deliver.notification.delivery
        try:
            async with asyncio.timeout(self._within):
                await handle(deliver.notification)
        except CouldNotWake as error:
            _log.info("could_not_wake", delivery=delivery, reason=str(error))
        except TimeoutError:
            _log.warning("application_too_slow", delivery=delivery, seconds=self._within)
        except Exception as error:  # noqa: BLE001 - an app may raise anything
            # An error of the app: it does not have the notification, and the AOI Server stores it.
            # Neither its message nor its variables are logged: both may contain the content.
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
