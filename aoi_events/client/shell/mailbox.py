"""Passes a notification to an app instance, and returns its acknowledgement."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aoi_events.client.core.effects import Notification
from aoi_events.client.core.state import AckCode
from aoi_events.errors import CouldNotWake
from aoi_events.platform.logs import get_logger

_log = get_logger(__name__)

Handler: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Handles a notification in a running app instance; on return it counts as delivered."""
Wake: TypeAlias = Callable[[Notification], Awaitable[None]]
"""Starts an app instance with a notification; on return it counts as delivered.

Raises CouldNotWake."""


async def handle(notification: Notification, handler: Handler | None, within: float) -> AckCode:
    """Call ``handler``, which may take ``within`` seconds; returns the acknowledgement."""
    if handler is None:
        return "could_not_wake"
    delivery = notification.delivery
    try:
        async with asyncio.timeout(within):
            await handler(notification)
    except CouldNotWake as error:
        _log.info("could_not_wake", delivery=delivery, reason=str(error))
    except TimeoutError:
        _log.warning("application_too_slow", delivery=delivery, seconds=within)
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
