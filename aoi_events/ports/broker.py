"""The broker port: take messages in batches, publish them all, settle them.

Two implementations pass one conformance suite (``tests/conformance/broker``): RabbitMQ and
``memory://``. The words are AMQP 0-9-1's; queue and exchange *values* say what must exist, and
declaring them twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aoi_events.domain.delivery.state import Delivery
from aoi_events.topology import Queue, Topology


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that was taken and is not yet acknowledged.

    ``delivery_count`` is how often earlier deliveries of it failed (0 at first, and always 0 on
    queues without such a counter; of a dead letter it may still be the count in the queue that it
    left); ``user_id`` was validated by the broker; ``tag`` belongs to
    the subscription that it came from. Everything else is what the sender wrote: octets that are
    no UTF-8 stand as ``?``, and headers that are too large or unreadable are replaced by one that
    says so.
    """

    body: bytes
    routing_key: str
    exchange: str = ""
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    user_id: str | None = None
    content_type: str | None = None
    type: str | None = None
    headers: Mapping[str, object] = field(default_factory=dict)
    delivery_count: int = 0
    redelivered: bool = False
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """A note that the message answers a request of that routing key with this code, or ``ok``."""

    request: str
    code: str


@dataclass(frozen=True, slots=True)
class StartedSteps:
    """A note that the message starts these attempts: delivery, as it was committed, step and
    attempt.
    """

    attempts: tuple[tuple[Delivery, int, int], ...]


Note = Answered | StartedSteps


class Assurance(Enum):
    """How a lost message is made up for, which decides how long its confirm is awaited."""

    CONFIRM = "confirm"
    """Nothing does: the broker must take it."""
    DEADLINE = "deadline"
    """A deadline in the store sends it again, or goes on without it."""
    BEST_EFFORT = "best_effort"
    """Its loss is counted and does no harm: facts that anyone may listen to, answers, hints."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message to publish. The adapter gives each publish a ``message_id`` of its own.

    ``mandatory``: if no queue takes it, it counts as :attr:`Published.RETURNED`.
    ``if_returned`` is published in its place then. ``persistent`` is for durable queues. ``note``
    is for the publisher, and is not sent.
    """

    exchange: str
    routing_key: str
    body: bytes
    mandatory: bool = True
    persistent: bool = True
    assurance: Assurance = Assurance.CONFIRM
    correlation_id: str | None = None
    reply_to: str | None = None
    content_type: str = "application/json"
    type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    if_returned: Outbound | None = None
    note: Note | None = field(default=None, compare=False)


class Published(Enum):
    """How the broker answered a publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"
    """Not answered in time, and not awaited any more, or not even sent: only where its assurance is
    no confirm."""


class Subscription(Protocol):
    """One consumer on one queue."""

    async def take(self, limit: int) -> Sequence[Inbound]:
        """Wait for at least one message; return all that wait, up to ``limit``, in queue order.

        After a lost connection it goes on with the new one; messages that were taken before and not
        settled come again. Returns an empty sequence once the subscription was stopped and all that
        had arrived was taken. Raises BrokerUnavailable when the queue was exclusive and is gone,
        with its connection or by itself: subscribe to a new one, under a new name. A broker whose
        nodes were apart may delete it and report that to nobody.
        """

    async def ack(self, messages: Sequence[Inbound]) -> None:
        """Acknowledge messages; unknown or stale tags are ignored (those messages come again)."""

    async def pause(self) -> None:
        """Let no more messages arrive; :meth:`take` waits until :meth:`resume`.

        Messages that arrived and were not taken, at most the prefetch, stay here, and other
        consumers do not get them meanwhile: so no message is counted as failed, however often a
        consumer pauses (RabbitMQ up to 4.2 counts what is given back). For the same reason
        messages may still arrive for a second, within the prefetch; after that new ones go to
        others, and those of an exclusive queue, which has no others, wait. They are given back
        when the connection is lost or by :meth:`stop`. Idempotent.
        """

    async def resume(self) -> None:
        """Take messages again after :meth:`pause`, first those that arrived before."""

    async def stop(self) -> None:
        """Drain: no more messages arrive; those that arrived may still be taken and acknowledged.

        Take until there is nothing, which is a prefetch at most: RabbitMQ up to 4.2 would count as
        failed what is given back, and a few quick restarts would send innocent messages to
        quarantine. A subscription that is paused, now or later, gives back what was not taken. An
        exclusive queue is deleted with its messages: publishes to it are returned from then on.
        Idempotent.
        """


class Requester(Protocol):
    """Requests with answers, over direct reply-to."""

    async def call(self, request: Outbound, *, timeout: float) -> Inbound:
        """Publish ``request`` with a fresh ``correlation_id`` and return its answer.

        ``timeout`` in seconds. Raises RequestTimeout when no answer came in time, PublishRefused
        when no queue took the request, BrokerUnavailable when the connection was lost.
        """

    async def close(self) -> None:
        """Stop waiting; calls under way raise BrokerUnavailable."""


class Broker(Protocol):
    """A connection to the broker, as one user."""

    @property
    def user(self) -> str:
        """The user whose name the broker validates in ``user_id``."""

    async def declare(self, topology: Topology) -> None:
        """Declare exchanges, queues and bindings. Idempotent.

        Raises ConfigurationError for a declaration that differs from an earlier one.
        """

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """Publish all, pipelined, with confirms; one result per message, in order.

        ``user_id`` is set to :attr:`user`. In place of a returned message its ``if_returned`` is
        published: the result stays RETURNED once that fallback was confirmed (or was best-effort),
        and is NACKED where no queue took the fallback either.

        While the broker answers others, a message whose assurance is no confirm is awaited for two
        seconds, and not at all if its destination is silent already. What is UNCONFIRMED may be
        answered later: its ``if_returned`` is published then, after a nack too.

        Raises BrokerUnavailable when any confirm is missing because the connection was lost, or did
        not come in time (a broker that is short of memory or disk stops reading): then all of them
        may or may not have arrived. Raises PublishRefused when the broker refuses it (no such
        exchange, no permission; batches in flight at that moment share the error), ValueError for
        what AMQP cannot carry.
        A publish may be cancelled at any moment; the next ones are not affected.
        """

    async def subscribe(self, queue: Queue, *, prefetch: int) -> Subscription:
        """Declare ``queue`` if it is exclusive, and consume it with manual acknowledgement.

        Raises ConfigurationError when there is no such queue, or it is exclusive to another
        connection, and BrokerUnavailable when there is no connection now.
        """

    async def requester(self) -> Requester:
        """A new requester with a reply address of its own."""

    async def healthy(self) -> bool:
        """Whether a connection is up now."""

    async def connected(self) -> None:
        """Wait until a connection is up. Who tries again after :class:`BrokerUnavailable` waits for
        this, so that no back-off of its own follows that of the connection.
        """

    async def blocked(self) -> bool:
        """Whether the broker blocks the publishes of this user now (a memory or disk alarm)."""

    async def reconnect(self) -> None:
        """Drop the connection as if it were lost, and connect again; for one that is up and does
        not do its work. No effect while there is none.
        """

    async def close(self) -> None:
        """Close everything. Idempotent; waits briefly so that sent acks are not ignored."""
