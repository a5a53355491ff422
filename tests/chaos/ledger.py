"""Every notification that was sent: when it was confirmed, and when its app was shown it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tests.acceptance.device_pool import APPS, Device

LASTING: Final = 24 * 3_600
BRIEF: Final = 20
_ONE_IN: Final = 25


@dataclass(slots=True)
class Notification:
    """One notification; times are of the monotonic clock, in seconds.

    ``ttl`` is :data:`BRIEF` for one in 25, each app in turn: those may expire.
    """

    name: str
    device: Device
    application: str
    ttl: int
    asked: float
    confirmed: float | None = None
    shown: list[float] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The Application Client Token."""
        return self.device.tokens[self.application]


class Ledger:
    """Devices get a notification in turn; the content of each is its name."""

    def __init__(self) -> None:
        self._numbers = count()
        self._changed = asyncio.Event()
        self._turns: list[tuple[str, Device]] = []
        self._newest: dict[str, float] = {}
        self.devices: list[Device] = []
        self.notifications: dict[str, Notification] = {}
        self.strange: list[tuple[str, str, str]] = []
        """Device, application and content of what an app was shown that is not its own."""

    def address(self, devices: Iterable[Device]) -> None:
        """Send to these from now on."""
        self.devices = list(devices)
        self._turns = [(app, device) for app in APPS for device in self.devices]

    def next(self) -> Notification:
        """A new notification, for the device whose turn it is."""
        number = next(self._numbers)
        turns, turn = divmod(number, len(self._turns))
        application, device = self._turns[turn]
        # Each time round it is another's turn, however many devices there are.
        ttl = BRIEF if (turns + turn) % _ONE_IN == 0 else LASTING
        notification = Notification(f"n{number}", device, application, ttl, time.monotonic())
        self.notifications[notification.name] = notification
        return notification

    def show(self, device: str, application: str, content: str) -> None:
        """Note that an app was shown this content."""
        found = self.notifications.get(content)
        if found is None or (found.device.name, found.application) != (device, application):
            self.strange.append((device, application, content))
        else:
            found.shown.append(time.monotonic())
            self._newest[device] = max(found.asked, self._newest.get(device, 0.0))
        self._changed.set()

    @property
    def confirmed(self) -> int:
        """How many the broker confirmed."""
        return sum(each.confirmed is not None for each in self.notifications.values())

    def dark(self, since: float) -> list[Device]:
        """Devices that were shown nothing that was sent after ``since``."""
        return [each for each in self.devices if self._newest.get(each.name, 0.0) < since]

    def arrivals(self) -> dict[str, list[float]]:
        """When each device was shown something, in order."""
        times: defaultdict[str, list[float]] = defaultdict(list)
        for each in self.notifications.values():
            times[each.device.name] += each.shown
        return {device.name: sorted(times[device.name]) for device in self.devices}

    async def until(self, done: Callable[[], bool], *, within: float) -> bool:
        """Return once ``done``, which is asked whenever an app is shown something; or False."""
        try:
            async with asyncio.timeout(within):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
