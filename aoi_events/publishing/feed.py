"""A queue of a sender's own on ``aoi.events``, opened again when it went with its connection."""

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
"""How much waits in the broker for a slow reader; beyond it the broker refuses further events."""

_PREFETCH: Final = 200
_AGAIN: Final = Patience(first=0.1, most=2.0, jitter=0.2)


@dataclass(frozen=True, slots=True)
class Taken:
    """What arrived. ``interrupted``: the queue was lost before it, with whatever was in it."""

    messages: Sequence[Inbound] = ()
    interrupted: bool = False


class EventFeed:
    """The events of some kinds that concern what the broker's user sent, from :meth:`open` on."""

    def __init__(self, broker: Broker, kinds: Iterable[str]) -> None:
        self._broker = broker
        self._bindings = tuple(
            Binding(EVENTS, event_routing_key(kind, broker.user)) for kind in kinds
        )
        self._subscription: Subscription | None = None
        self._closed = False

    async def open(self) -> None:
        """Make the queue. Raises BrokerUnavailable, and ConfigurationError where it may not be."""
        self._subscription = await self._subscribe()

    async def take(self) -> Taken | None:
        """Wait for what comes next; None once the feed or its broker was closed."""
        while self._subscription is not None and not self._closed:
            try:
                messages = await self._subscription.take(_PREFETCH)
            except BrokerUnavailable:
                log.warning("events_queue_lost")
                self._subscription = await patiently(
                    self._subscribe, patience=_AGAIN, on=BrokerUnavailable, failed=self._failed
                )
                return Taken(interrupted=True)
            await self._subscription.ack(messages)
            return Taken(messages) if messages else None
        return None

    async def close(self) -> None:
        """Take no more. Idempotent."""
        self._closed = True
        if self._subscription is not None:
            await self._subscription.stop()

    async def _subscribe(self) -> Subscription | None:
        if self._closed:
            return None
        queue = Queue(
            # The prefix of queues that a user may have for itself, and a name never used before:
            # the broker may still hold the queue of a connection that it has not missed yet.
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
    """The event in ``message``; None, and a line in the log, for one that we cannot read.

    A newer AOI Server may know kinds of events that this version does not.
    """
    try:
        return CloudEvent.decode(message.body)
    except ValidationError:
        log.warning("event_skipped", type=message.type, hint="this version cannot read it")
        return None
