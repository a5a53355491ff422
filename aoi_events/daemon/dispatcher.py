"""Hands a notification to its app instance: the one that is attached, else its command."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aoi_events.client import Notification
from aoi_events.client.core.state import application_key
from aoi_events.contracts.apps import AppNotification
from aoi_events.daemon.attached_apps import Seats
from aoi_events.daemon.launcher import Waker
from aoi_events.daemon.redelivery import Again
from aoi_events.errors import CouldNotWake

__all__ = ["Hands"]


class Hands:
    """The library's handler and its wake, for every app instance (8.1.4).

    ``command`` is asked for the command of an app instance.
    """

    def __init__(
        self,
        seats: Seats,
        waker: Waker,
        again: Again,
        command: Callable[[str], Sequence[str]],
    ) -> None:
        self._seats = seats
        self._waker = waker
        self._again = again
        self._command = command
        self._closed = False

    def close(self) -> None:
        """Take nothing more: the AOI Server keeps it for the next connection."""
        self._closed = True
        self._again.stop()

    async def give(self, notification: Notification) -> None:
        """On return the app has it. Raises CouldNotWake."""
        if self._closed:
            raise CouldNotWake("the AOI Client is stopping")
        key = application_key(notification.application, notification.instance)
        shown = AppNotification(
            delivery=notification.delivery,
            application=notification.application,
            instance=notification.instance,
            content=notification.content,
            channel=notification.channel,
            notification=notification.notification,
            urgency=notification.urgency,
            expires_at=notification.expires_at,
        )
        while (seat := self._seats.get(key)) is not None:
            if await seat.give(shown):
                return
            # It left, or was detached; meanwhile another process may have attached in its place.
            self._seats.free(seat)
        await self._wake(key, shown)

    async def _wake(self, key: str, notification: AppNotification) -> None:
        command = self._command(key)
        woken = False
        try:
            await self._waker.wake(notification, command)
            woken = True
        finally:
            if woken:
                self._again.woken(key)
            elif command:
                self._again.failed(key)
