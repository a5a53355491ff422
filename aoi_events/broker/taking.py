"""Taking from a subscription, as its state allows; both brokers use it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from aoi_events.broker.subscription_state import Input, SubscriptionState, next_state
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound
from aoi_events.topology import Queue, QueueKind


class TakingSubscription(ABC):
    """Base of the subscriptions: their state, and the wait for messages."""

    def __init__(self, queue: Queue) -> None:
        self._name = queue.name
        self._exclusive = queue.kind is QueueKind.EXCLUSIVE
        self._state = SubscriptionState.CONSUMING
        self._changed = asyncio.Event()

    @abstractmethod
    def _take_waiting(self, limit: int) -> Sequence[Inbound]:
        """Remove, and return, up to ``limit`` messages that wait to be taken."""

    async def take(self, limit: int) -> Sequence[Inbound]:
        """Wait for at least one message; return what waits, up to ``limit``."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        while True:
            if self._state.may_take and (taken := self._take_waiting(limit)):
                return taken
            if self._state is SubscriptionState.ENDED:
                return ()
            if self._state is SubscriptionState.LOST:
                raise BrokerUnavailable(
                    f"the exclusive queue {self._name!r} is gone; subscribe to a new one"
                )
            self._changed.clear()
            await self._changed.wait()

    @property
    def over(self) -> bool:
        """Whether the queue was exclusive and is gone, so that nothing is left to close."""
        return self._exclusive and self._state in (SubscriptionState.ENDED, SubscriptionState.LOST)

    def _enter(self, happened: Input) -> None:
        self._state = next_state(self._state, happened)
        self._changed.set()
