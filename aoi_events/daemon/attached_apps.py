"""Attached apps: connections that get notifications of an app instance and acknowledge them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from aoi_events.contracts.apps import AppNotification, Attached, ClientFrame, Detached, TokenChanged
from aoi_events.errors import CouldNotWake

Reason = Literal["replaced", "too_slow", "unregistered", "stopping"]
Code = Literal["delivered", "could_not_wake"]


class AttachedApp:
    """One attached app instance. ``send`` writes a frame without blocking; ``close`` disconnects.

    An app that disconnects, or does not acknowledge ``ack_within`` seconds, counts as not running.
    """

    def __init__(
        self,
        key: str,
        *,
        ack_within: float,
        send: Callable[[ClientFrame], None],
        close: Callable[[], None],
    ) -> None:
        self.key: Final = key
        self._ack_within = ack_within
        self._send = send
        self._close = close
        self._token: str | None = None
        self._waiting: dict[str, asyncio.Future[Code]] = {}
        self._ended = False

    def welcome(self, application: str, instance: str, token: str | None) -> None:
        """Confirm the attachment; notifications follow."""
        self._token = token
        self._send(Attached(application=application, instance=instance, token=token))

    def send_token(self, token: str | None) -> None:
        """Send the token, if it changed."""
        if token is not None and token != self._token:
            self._token = token
            self.send(TokenChanged(token=token))

    def send(self, frame: ClientFrame) -> None:
        """Send a frame, unless the connection has ended."""
        if not self._ended:
            self._send(frame)

    def send_last(self, frame: ClientFrame) -> None:
        """Send a frame, and disconnect."""
        if not self._ended:
            self._send(frame)
            self.end()
            self._close()

    def detach(self, reason: Reason) -> None:
        """Send the app the reason why it is detached, and disconnect."""
        self.send_last(Detached(reason=reason))

    def end(self) -> None:
        """The connection has ended: notifications without acknowledgement were not delivered."""
        self._ended = True
        for future in self._waiting.values():
            if not future.done():
                future.cancel()

    def acknowledge(self, delivery: str, code: Code) -> bool:
        """The app acknowledges a delivery; False: no acknowledgement is awaited."""
        future = self._waiting.get(delivery)
        if future is None or future.done():
            return False
        future.set_result(code)
        return True

    async def deliver(self, notification: AppNotification) -> bool:
        """Send a notification and wait for its acknowledgement; False: the app does not run.

        Raises CouldNotWake if the app acknowledges with *could not wake*.
        """
        if self._ended:
            return False
        future: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        self._waiting[notification.delivery] = future
        try:
            self._send(notification)
            await asyncio.wait({future}, timeout=self._ack_within)
        finally:
            del self._waiting[notification.delivery]
        if not future.done():
            self.detach("too_slow")
            return False
        if future.cancelled():
            return False
        if future.result() == "could_not_wake":
            raise CouldNotWake("the app could not take it now")
        return True


class AttachedApps:
    """Every attached app instance, one connection each."""

    def __init__(self) -> None:
        self._apps: dict[str, AttachedApp] = {}

    def __len__(self) -> int:
        return len(self._apps)

    def get(self, key: str) -> AttachedApp | None:
        """The connection of an app instance, if it is attached."""
        return self._apps.get(key)

    def add(self, app: AttachedApp) -> None:
        """Add a connection; an earlier one of the same app instance is detached."""
        before = self._apps.get(app.key)
        self._apps[app.key] = app
        if before is not None:
            before.detach("replaced")

    def remove(self, app: AttachedApp) -> bool:
        """Remove a connection that ended; False: another one has replaced it."""
        app.end()
        if self._apps.get(app.key) is not app:
            return False
        del self._apps[app.key]
        return True

    def detach_all(self, reason: Reason) -> None:
        """Detach every app instance."""
        for app in self.all():
            app.detach(reason)
            self.remove(app)

    def all(self) -> tuple[AttachedApp, ...]:
        """Every attached app instance."""
        return tuple(self._apps.values())
