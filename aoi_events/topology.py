"""The exchanges and queues of an installation, as values, and their names.

Every upper floor takes names from here; adapters turn the values into declarations. Queue
arguments can never be changed in place (RabbitMQ answers 406 to a declaration that differs), so a
change of arguments needs a new queue name; the time-out for consumers is the exception.

How a message that cannot be processed leaves a worker queue:

* after two failed deliveries the runtime moves it, unparsed, to the queue's *quarantine* sibling,
  which is consumed with a prefetch of one, so that it takes nothing innocent down with it;
* past the delivery limit of either queue RabbitMQ dead-letters it, at least once, to
  :data:`DEAD_LETTERS`, and :data:`DEAD` keeps it until it is parked in the store.

:data:`DEAD` is bound by the same declaration that names the exchange, has no dead-letter exchange
itself and a limit that is never reached: nothing can be dropped behind it. Were its binding ever
removed by hand, RabbitMQ would keep the dead letters in their queues until the next declaration
binds it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum


class ExchangeType(StrEnum):
    """How an exchange routes (AMQP 0-9-1, section 3.1.3)."""

    TOPIC = "topic"
    FANOUT = "fanout"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange. ``alternate`` gets what no binding matches."""

    name: str
    type: ExchangeType = ExchangeType.TOPIC
    alternate: str | None = None


class QueueKind(Enum):
    """Whether a queue survives the broker and its consumers."""

    QUORUM = "quorum"
    """Durable and replicated, for messages that must not be lost."""
    EXCLUSIVE = "exclusive"
    """Belongs to one subscription of one connection and dies with either."""


@dataclass(frozen=True, slots=True)
class Binding:
    """``pattern`` is a topic pattern (``*`` one word, ``#`` any number), or ignored by fanout."""

    exchange: str
    pattern: str = "#"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with everything that its declaration needs.

    ``delivery_limit`` counts failed deliveries of one message; past it the message goes to
    ``dead_letter_exchange`` (at least once), never nowhere. ``max_length_bytes`` makes a full queue
    refuse publishers (``reject-publish``) and never drop.
    """

    name: str
    kind: QueueKind = QueueKind.QUORUM
    bindings: tuple[Binding, ...] = ()
    delivery_limit: int | None = None
    dead_letter_exchange: str | None = None
    max_length_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchanges and durable queues of an installation."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]


REQUESTS = "aoi.requests"
"""Topic exchange: requests are published here."""
EVENTS = "aoi.events"
"""Topic exchange: every fact; anyone may bind a queue of their own."""
DEAD_LETTERS = "aoi.dlx"
"""Fanout exchange that every queue dead-letters to."""
HINTS = "aoi.hints"
"""Fanout exchange: wakes the deadlines workers before their next poll."""
OUTCOMES = "aoi.outcomes"
"""Fanout exchange to :data:`OUTCOME`: to report outcomes, no user needs to write to a queue."""
QUARANTINES = "aoi.quarantine"
"""Topic exchange to the quarantines, each by its name, so that permissions can say which."""

PROBES = "aoi.probes"
"""Topic exchange: each gateway publishes probes to its own queue, by the queue's name, so that it
needs no permission to write to queues."""

REGISTRATION = "aoi.registration"
ACTIVATION = "aoi.activation"
NOTIFICATION = "aoi.notification"
OUTCOME = "aoi.outcome"
UNROUTABLE = "aoi.unroutable"
"""Exchange and queue of requests with a routing key that nothing binds: they get an answer too."""
DEAD = "aoi.dead"

WORKER_DELIVERY_LIMIT = 20
"""Failed deliveries of one message before a worker queue dead-letters it."""
QUARANTINE_DELIVERY_LIMIT = 5
"""Failed deliveries of one message before its quarantine dead-letters it."""
QUARANTINE_PREFETCH = 1
"""How many messages a consumer of a quarantine holds at a time."""
QUARANTINE_AFTER = 2
"""The delivery count at which a message is moved to quarantine, unparsed."""

_NEVER = 1_000_000_000
"""A delivery limit out of reach; explicit because RabbitMQ 4 drops after 20 where none is set."""

_QUARANTINE_SUFFIX = ".quarantine"

_REQUEST_PATTERNS: dict[str, tuple[str, ...]] = {
    REGISTRATION: ("client.register", "client.deregister", "application.#"),
    ACTIVATION: ("channel.#", "client.connected", "client.present", "client.disconnected"),
    NOTIFICATION: ("notification.#",),
}


def delivery_queue(channel_type: str) -> str:
    """The queue of the workers of one connectionless channel type, such as ``sms``."""
    return f"aoi.delivery.{channel_type}"


def gateway_queue(node: str) -> str:
    """The name of the exclusive queue of one gateway node; it dies with the node's connection."""
    return f"aoi.gateway.{node}"


def is_gateway_queue(name: str) -> bool:
    """Whether a queue is that of a gateway node."""
    return name.startswith(gateway_queue(""))


def node_queue(node: str) -> Queue:
    """The exclusive queue of one gateway node, bound to the gateway's own probes."""
    name = gateway_queue(node)
    return Queue(name, QueueKind.EXCLUSIVE, bindings=(Binding(PROBES, name),))


def hints_queue(node: str) -> Queue:
    """The exclusive queue through which one deadlines worker receives hints."""
    return Queue(f"{HINTS}.{node}", QueueKind.EXCLUSIVE, bindings=(Binding(HINTS),))


def quarantine_of(queue: str) -> str:
    """The name of the quarantine beside a worker queue."""
    return queue + _QUARANTINE_SUFFIX


def worker_queue(name: str) -> tuple[Queue, Queue]:
    """A worker queue and its quarantine."""
    patterns = _REQUEST_PATTERNS.get(name, ())
    bindings = tuple(Binding(REQUESTS, pattern) for pattern in patterns)
    if name == UNROUTABLE:
        bindings = (Binding(UNROUTABLE),)
    elif name == OUTCOME:
        bindings = (Binding(OUTCOMES),)
    return (
        Queue(
            name,
            bindings=bindings,
            delivery_limit=WORKER_DELIVERY_LIMIT,
            dead_letter_exchange=DEAD_LETTERS,
        ),
        Queue(
            quarantine_of(name),
            bindings=(Binding(QUARANTINES, quarantine_of(name)),),
            delivery_limit=QUARANTINE_DELIVERY_LIMIT,
            dead_letter_exchange=DEAD_LETTERS,
        ),
    )


def topology(channel_types: Iterable[str] = ()) -> Topology:
    """All exchanges and durable queues of an installation with these connectionless channels."""
    workers = [REGISTRATION, ACTIVATION, NOTIFICATION, OUTCOME, UNROUTABLE]
    workers += [delivery_queue(channel_type) for channel_type in sorted(set(channel_types))]
    return Topology(
        exchanges=(
            Exchange(UNROUTABLE, ExchangeType.FANOUT),
            Exchange(REQUESTS, ExchangeType.TOPIC, alternate=UNROUTABLE),
            Exchange(EVENTS, ExchangeType.TOPIC),
            Exchange(DEAD_LETTERS, ExchangeType.FANOUT),
            Exchange(HINTS, ExchangeType.FANOUT),
            Exchange(OUTCOMES, ExchangeType.FANOUT),
            Exchange(QUARANTINES, ExchangeType.TOPIC),
            Exchange(PROBES, ExchangeType.TOPIC),
        ),
        queues=(
            Queue(DEAD, bindings=(Binding(DEAD_LETTERS),), delivery_limit=_NEVER),
            *(queue for name in workers for queue in worker_queue(name)),
        ),
    )
