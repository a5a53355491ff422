"""A consumer of exclusive queues that subscribes again when its queue is deleted.

The broker deletes an exclusive queue when the connection that declared it is lost. Each
subscription declares a new one, under a new name: the broker may still have the old one of a
connection whose loss it has not noticed yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import FailedAttempt, RetryPolicy, retry
from aoi_events.platform.tasks import unless_set
from aoi_events.ports.broker import Broker, Inbound, Subscription
from aoi_events.topology import Queue


class ResubscribingConsumer:
    """Takes messages of one exclusive queue after another, until it is stopped."""

    def __init__(
        self,
        broker: Broker,
        new_queue: Callable[[], Queue],
        *,
        prefetch: int,
        policy: RetryPolicy,
        on: type[Exception] | tuple[type[Exception], ...] = BrokerUnavailable,
        failed: Callable[[FailedAttempt], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``new_queue`` is called for each subscription; the rest is as in :func:`retry`."""
        self._broker = broker
        self._new_queue = new_queue
        self._prefetch = prefetch
        self._policy = policy
        self._on = on
        self._failed = failed
        self._sleep = sleep
        self._subscription: Subscription | None = None
        self._stopped = asyncio.Event()

    async def subscribe_once(self) -> None:
        """Subscribe to a new queue. Raises what :meth:`Broker.subscribe` raises."""
        if self._stopped.is_set():
            return
        self._subscription = await self._broker.subscribe(
            self._new_queue(), prefetch=self._prefetch
        )
        if self._stopped.is_set():  # meanwhile
            await self._subscription.stop()

    async def subscribe(
        self, *, on: type[Exception] | tuple[type[Exception], ...] | None = None
    ) -> None:
        """Subscribe to a new queue, as often as it takes; ``on``: after these errors only."""
        await retry(
            self.subscribe_once,
            policy=self._policy,
            on=on or self._on,
            failed=self._failed,
            sleep=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        await self._sleep(seconds)
        await unless_set(self._stopped, self._broker.connected())

    async def take(self) -> Sequence[Inbound] | None:
        """Wait for messages and return them, at most the prefetch; None once it is stopped.

        Subscribe first. Returns no messages when the queue was lost, with everything in it, and a
        new one took its place.
        """
        if self._subscription is None:
            return None
        try:
            return await self._subscription.take(self._prefetch) or None
        except BrokerUnavailable:
            await self.subscribe()
            return None if self._stopped.is_set() else ()

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge messages."""
        if self._subscription is not None:
            await self._subscription.ack(messages)

    async def stop(self) -> None:
        """Take no more. Idempotent."""
        self._stopped.set()
        if self._subscription is not None:
            await self._subscription.stop()
