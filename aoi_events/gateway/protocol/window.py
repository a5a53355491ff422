"""Deliveries to one device: a window of them in flight, and a bounded backlog that waits.

A device that does not acknowledge gets no more than the window. A delivery that does not fit the
backlog is refused at once, so that its own retries, or another channel, continue with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import ChannelType, DeliveryId


@dataclass(frozen=True, slots=True)
class InFlight:
    """An attempt that was sent to the device at ``since`` (seconds), and not acknowledged yet."""

    step: int
    attempt: int
    channel: ChannelType
    since: float


class Window:
    """The deliveries in flight, and those that wait, by ID and in order."""

    __slots__ = ("_in_flight", "_waiting")

    def __init__(self) -> None:
        # Dictionaries keep the order of insertion, so the first in flight is the oldest.
        self._in_flight: dict[DeliveryId, InFlight] = {}
        self._waiting: dict[DeliveryId, DeliverItem] = {}

    def push(self, item: DeliverItem, *, room: int) -> bool:
        """Add a step to those that wait; False when there are ``room`` deliveries already.

        A repeat of the same step and attempt changes nothing; another one replaces the one that
        waits.
        """
        known = self._waiting.get(item.delivery) or self._in_flight.get(item.delivery)
        if known is not None and (known.step, known.attempt) == (item.step, item.attempt):
            return True
        if known is None and len(self._waiting) + len(self._in_flight) >= room:
            return False
        self._waiting[item.delivery] = item
        return True

    def pull(self, elapsed: float, now: datetime, *, size: int) -> list[DeliverItem]:
        """Move steps into a window of ``size``, and return them; expired ones are dropped."""
        pulled: list[DeliverItem] = []
        while self._waiting and len(self._in_flight) < size:
            delivery = next(iter(self._waiting))
            item = self._waiting.pop(delivery)
            if now < item.expires_at:
                # Removed and added again, so that a later attempt is the last one.
                self._in_flight.pop(delivery, None)
                self._in_flight[delivery] = InFlight(item.step, item.attempt, item.channel, elapsed)
                pulled.append(item)
        return pulled

    def in_flight(self, delivery: DeliveryId) -> InFlight | None:
        """The attempt of a delivery that was sent and not acknowledged, if any."""
        return self._in_flight.get(delivery)

    def acknowledged(self, delivery: DeliveryId) -> InFlight | None:
        """Remove a delivery that the device acknowledged; return its attempt in flight, if any."""
        self._waiting.pop(delivery, None)
        return self._in_flight.pop(delivery, None)

    def expire(self, elapsed: float, *, after: float) -> None:
        """Remove attempts that were sent ``after`` seconds ago and not acknowledged."""
        while self._in_flight:
            delivery, oldest = next(iter(self._in_flight.items()))
            if elapsed < oldest.since + after:
                break
            del self._in_flight[delivery]

    def oldest(self) -> float | None:
        """When the oldest attempt in flight was sent."""
        for in_flight in islice(self._in_flight.values(), 1):
            return in_flight.since
        return None

    def drop_other_epochs(self, epoch: int) -> list[DeliverItem]:
        """Remove, and return, the waiting steps that are addressed to another epoch."""
        stale = [item for item in self._waiting.values() if item.epoch != epoch]
        for item in stale:
            del self._waiting[item.delivery]
        return stale

    def clear(self) -> tuple[dict[DeliveryId, InFlight], list[DeliverItem]]:
        """Remove, and return, all attempts in flight and all waiting steps."""
        in_flight, waiting = self._in_flight, list(self._waiting.values())
        self._in_flight, self._waiting = {}, {}
        return in_flight, waiting
