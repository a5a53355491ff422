"""A queue on ``aoi.events`` for one reader, declared again after a lost connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from aoi_events.contracts.events import CloudEvent, user_word
from aoi_events.platform.logs import get_logger
from aoi_events.platform.resubscribing_consumer import ResubscribingConsumer
from aoi_events.platform.retry import FailedAttempt, RetryPolicy
from aoi_events.ports.broker import Broker, Inbound
from aoi_events.topology import EVENTS, Binding, Queue, QueueKind

log = get_logger(__name__)

MAX_OCTETS: Final = 16 * 1024 * 1024
"""The size of the queue of a slow reader; beyond it the broker refuses further events."""

_PREFETCH: Final = 200
_RESUBSCRIBING: Final = RetryPolicy(first=0.1, most=2.0, jitter=0.2)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Messages that arrived. ``interrupted``: the queue was lost before, with its content."""

    messages: Sequence[Inbound] = ()
    interrupted: bool = False


class EventFeed:
    """The events with these routing keys, or patterns of them, from :meth:`open` on."""

    def __init__(self, broker: Broker, keys: Iterable[str]) -> None:
        bindings = tuple(Binding(EVENTS, key) for key in keys)

        def new_queue() -> Queue:
            return Queue(
                # Users may declare queues with this prefix.
                f"aoi.reply.{user_word(broker.user)}.events-{uuid4().hex}",
                QueueKind.EXCLUSIVE,
                bindings=bindings,
                max_length_bytes=MAX_OCTETS,
            )

        self._consumer = ResubscribingConsumer(
            broker, new_queue, prefetch=_PREFETCH, policy=_RESUBSCRIBING, failed=_log_failure
        )

    async def open(self) -> None:
        """Declare the queue. Raises BrokerUnavailable, ConfigurationError if it is not allowed."""
        await self._consumer.subscribe_once()

    async def take(self) -> EventBatch | None:
        """Wait for the next batch; None once the feed or its broker was closed."""
        messages = await self._consumer.take()
        if messages is None:
            return None
        if not messages:
            log.warning("events_queue_lost")
            return EventBatch(interrupted=True)
        await self._consumer.ack(messages)
        return EventBatch(messages)

    async def close(self) -> None:
        """End the feed. Idempotent."""
        await self._consumer.stop()


def _log_failure(attempt: FailedAttempt) -> None:
    log.info(
        "no_events_yet", attempt=attempt.number, seconds=attempt.pause, error=str(attempt.error)
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
