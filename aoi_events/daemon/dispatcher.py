"""Dispatches a notification to its app instance: to its connection, or else to its command."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aoi_events.client import Notification
from aoi_events.client.core.state import application_key
from aoi_events.contracts.apps import AppNotification
from aoi_events.daemon.attached_apps import AttachedApps
from aoi_events.daemon.launcher import Launcher
from aoi_events.daemon.redelivery import Redelivery
from aoi_events.errors import CouldNotWake


class AppDispatcher:
    """The handler and the wake function of the library, for every app instance (8.1.4).

    ``command`` returns the command of an app instance.
    """

    def __init__(
        self,
        attached: AttachedApps,
        launcher: Launcher,
        redelivery: Redelivery,
        command: Callable[[str], Sequence[str]],
    ) -> None:
        self._attached = attached
        self._launcher = launcher
        self._redelivery = redelivery
        self._command = command
        self._closed = False

    def close(self) -> None:
        """Refuse further notifications: the AOI Server stores them for the next connection."""
        self._closed = True
        self._redelivery.stop()

    async def dispatch(self, notification: Notification) -> None:
        """Deliver a notification; on return the app has it. Raises CouldNotWake."""
        if self._closed:
            raise CouldNotWake("the AOI Client is stopping")
        key = application_key(notification.application, notification.instance)
        frame = AppNotification.model_validate(notification, from_attributes=True)
        while (app := self._attached.get(key)) is not None:
            if await app.deliver(frame):
                return
            # The connection ended; meanwhile another process may have attached.
            self._attached.remove(app)
        await self._launch(key, frame)

    async def _launch(self, key: str, notification: AppNotification) -> None:
        command = self._command(key)
        try:
            await self._launcher.launch(notification, command)
        except BaseException:
            if command:
                self._redelivery.failed(key)
            raise
        self._redelivery.succeeded(key)
