"""Deliveries on their way to one device: a window under way, and a bounded backlog behind it.

A device that does not acknowledge gets no more than the window; what does not fit the backlog goes
back at once, so that the delivery's own retries, or another channel, take over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from aoi_events.contracts.envelopes import DeliverItem
from aoi_events.contracts.identifiers import ChannelType, DeliveryId

__all__ = ["UnderWay", "Window"]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A step's attempt that was sent to the device at ``since`` (seconds)."""

    step: int
    attempt: int
    channel: ChannelType
    since: float


class Window:
    """Deliveries under way and waiting behind them, each known by its ID, in order."""

    __slots__ = ("_under_way", "_waiting")

    def __init__(self) -> None:
        # Dictionaries keep the order of insertion, so the first under way is the oldest.
        self._under_way: dict[DeliveryId, UnderWay] = {}
        self._waiting: dict[DeliveryId, DeliverItem] = {}

    def push(self, item: DeliverItem, *, room: int) -> bool:
        """Take one more; False when ``room`` deliveries are here already.

        The same step and attempt once more changes nothing; another one takes the place of what
        waits.
        """
        known = self._waiting.get(item.delivery) or self._under_way.get(item.delivery)
        if known is not None and (known.step, known.attempt) == (item.step, item.attempt):
            return True
        if known is None and len(self._waiting) + len(self._under_way) >= room:
            return False
        self._waiting[item.delivery] = item
        return True

    def pull(self, elapsed: float, now: datetime, *, size: int) -> list[DeliverItem]:
        """Move what fits into a window of ``size``, and return it; what has expired is dropped."""
        pulled: list[DeliverItem] = []
        while self._waiting and len(self._under_way) < size:
            delivery = next(iter(self._waiting))
            item = self._waiting.pop(delivery)
            if now < item.expires_at:
                # Out and in again, so that a later attempt stands at the end.
                self._under_way.pop(delivery, None)
                self._under_way[delivery] = UnderWay(item.step, item.attempt, item.channel, elapsed)
                pulled.append(item)
        return pulled

    def under_way(self, delivery: DeliveryId) -> UnderWay | None:
        """What was sent of a delivery and not acknowledged, if anything."""
        return self._under_way.get(delivery)

    def acknowledged(self, delivery: DeliveryId) -> UnderWay | None:
        """The device has spoken for a delivery: what was under way of it, if anything."""
        self._waiting.pop(delivery, None)
        return self._under_way.pop(delivery, None)

    def forget(self, elapsed: float, *, after: float) -> None:
        """Give up the places of what was sent ``after`` seconds ago and never acknowledged."""
        while self._under_way:
            delivery, oldest = next(iter(self._under_way.items()))
            if elapsed < oldest.since + after:
                break
            del self._under_way[delivery]

    def oldest(self) -> float | None:
        """When the oldest one under way was sent."""
        for under_way in islice(self._under_way.values(), 1):
            return under_way.since
        return None

    def keep(self, epoch: int) -> list[DeliverItem]:
        """Return, and forget, those waiting that are meant for another epoch."""
        strangers = [item for item in self._waiting.values() if item.epoch != epoch]
        for item in strangers:
            del self._waiting[item.delivery]
        return strangers

    def clear(self) -> tuple[dict[DeliveryId, UnderWay], list[DeliverItem]]:
        """Give everything up: what was under way, and what waited."""
        under_way, waiting = self._under_way, list(self._waiting.values())
        self._under_way, self._waiting = {}, {}
        return under_way, waiting
