"""A queue on ``aoi.events`` for one reader, declared again after a lost connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from aoi_events.contracts.events import CloudEvent, event_routing_key, user_word
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.logs import get_logger
from aoi_events.platform.retry import Attempt, Patience, patiently
from aoi_events.ports.broker import Broker, Inbound, Subscription
from aoi_events.topology import EVENTS, Binding, Queue, QueueKind

log = get_logger(__name__)

MAX_OCTETS: Final = 16 * 1024 * 1024
"""The size of the queue of a slow reader; beyond it the broker refuses further events."""

_PREFETCH: Final = 200
_RETRY: Final = Patience(first=0.1, most=2.0, jitter=0.2)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Messages that arrived. ``interrupted``: the queue was lost before, with its content."""

    messages: Sequence[Inbound] = ()
    interrupted: bool = False


class EventFeed:
    """The events of some kinds about notifications of the broker's user, from :meth:`open` on."""

    def __init__(self, broker: Broker, kinds: Iterable[str]) -> None:
        self._broker = broker
        self._bindings = tuple(
            Binding(EVENTS, event_routing_key(kind, broker.user)) for kind in kinds
        )
        self._subscription: Subscription | None = None
        self._closed = False

    async def open(self) -> None:
        """Declare the queue. Raises BrokerUnavailable, ConfigurationError if it is not allowed."""
        self._subscription = await self._subscribe()

    async def take(self) -> EventBatch | None:
        """Wait for the next batch; None once the feed or its broker was closed."""
        while self._subscription is not None and not self._closed:
            try:
                messages = await self._subscription.take(_PREFETCH)
            except BrokerUnavailable:
                log.warning("events_queue_lost")
                self._subscription = await patiently(
                    self._subscribe, patience=_RETRY, on=BrokerUnavailable, failed=self._failed
                )
                return EventBatch(interrupted=True)
            await self._subscription.ack(messages)
            return EventBatch(messages) if messages else None
        return None

    async def close(self) -> None:
        """End the feed. Idempotent."""
        self._closed = True
        if self._subscription is not None:
            await self._subscription.stop()

    async def _subscribe(self) -> Subscription | None:
        if self._closed:
            return None
        queue = Queue(
            # Users may declare queues with this prefix. The name is new, since the broker may not
            # have noticed yet that the connection of the earlier queue is lost.
            f"aoi.reply.{user_word(self._broker.user)}.events-{uuid4().hex}",
            QueueKind.EXCLUSIVE,
            bindings=self._bindings,
            max_length_bytes=MAX_OCTETS,
        )
        return await self._broker.subscribe(queue, prefetch=_PREFETCH)

    def _failed(self, attempt: Attempt) -> None:
        log.info(
            "no_events_yet",
            attempt=attempt.number,
            seconds=attempt.pause,
            error=str(attempt.error),
        )


def read_event(message: Inbound) -> CloudEvent | None:
    """The event in ``message``; None, with a warning in the log, for an unreadable one.

    A newer AOI Server may publish kinds of events that this version does not know.
    """
    try:
        return CloudEvent.decode(message.body)
    except ValidationError:
        log.warning("event_skipped", type=message.type, hint="this version cannot read it")
        return None
