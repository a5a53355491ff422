"""Which app instances are attached, and what they are being given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from aoi_events.contracts.apps import AppNotification, Attached, ClientFrame, Detached, TokenChanged
from aoi_events.errors import CouldNotWake

__all__ = ["Seat", "Seats"]

Reason = Literal["replaced", "too_slow", "unregistered", "stopping"]
Code = Literal["delivered", "could_not_wake"]


class Seat:
    """One attached app instance. ``send`` writes to it, and never blocks; ``end`` closes it.

    An app that does not acknowledge ``within`` seconds, or leaves, counts as not running.
    """

    def __init__(
        self,
        key: str,
        *,
        user: int,
        within: float,
        send: Callable[[ClientFrame], None],
        end: Callable[[], None],
    ) -> None:
        self.key: Final = key
        self.user: Final = user
        self._within = within
        self._send = send
        self._end = end
        self._token: str | None = None
        self._waiting: dict[str, asyncio.Future[Code]] = {}
        self._left = False

    def welcome(self, application: str, instance: str, token: str | None) -> None:
        """Say that notifications come from now on."""
        self._token = token
        self._send(Attached(application=application, instance=instance, token=token))

    def tell_token(self, token: str | None) -> None:
        """Tell it of its token, if that is another one than it knows."""
        if token is not None and token != self._token:
            self._token = token
            self.tell(TokenChanged(token=token))

    def tell(self, frame: ClientFrame) -> None:
        """Tell it something."""
        if not self._left:
            self._send(frame)

    def say(self, frame: ClientFrame) -> None:
        """Say this as the last thing, and end."""
        if not self._left:
            self._send(frame)
            self.left()
            self._end()

    def leave(self, reason: Reason) -> None:
        """Detach it."""
        self.say(Detached(reason=reason))

    def left(self) -> None:
        """It is gone; what it had not acknowledged it does not have."""
        self._left = True
        for future in self._waiting.values():
            if not future.done():
                future.cancel()

    def acknowledge(self, delivery: str, code: Code) -> bool:
        """What the app says of a delivery; False: it is not waited for."""
        future = self._waiting.get(delivery)
        if future is None or future.done():
            return False
        future.set_result(code)
        return True

    async def give(self, notification: AppNotification) -> bool:
        """Give it a notification; False: it does not run (any more).

        Raises CouldNotWake when the app says that it cannot take it.
        """
        if self._left:
            return False
        future: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        self._waiting[notification.delivery] = future
        try:
            self._send(notification)
            await asyncio.wait({future}, timeout=self._within)
        finally:
            del self._waiting[notification.delivery]
        if not future.done():
            self.leave("too_slow")
            return False
        if future.cancelled():
            return False
        if future.result() == "could_not_wake":
            raise CouldNotWake("the app could not take it now")
        return True


class Seats:
    """Every attached app instance, one connection each."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def get(self, key: str) -> Seat | None:
        """The one that is attached for this app instance."""
        return self._seats.get(key)

    def take(self, seat: Seat) -> None:
        """This connection is the app instance now; an earlier one is detached."""
        before = self._seats.get(seat.key)
        self._seats[seat.key] = seat
        if before is not None:
            before.leave("replaced")

    def free(self, seat: Seat) -> bool:
        """This connection ended; False: another one had taken its place."""
        seat.left()
        if self._seats.get(seat.key) is not seat:
            return False
        del self._seats[seat.key]
        return True

    def leave_all(self, reason: Reason) -> None:
        """Detach everybody."""
        for seat in list(self._seats.values()):
            seat.leave(reason)
            self.free(seat)

    def all(self) -> tuple[Seat, ...]:
        """Every one of them."""
        return tuple(self._seats.values())
