"""The in-process server that memory brokers connect to: exchanges, routing, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from aoi_events.broker.memory.queue import MemoryQueue, Stored
from aoi_events.broker.memory.topics import matches
from aoi_events.errors import DOCUMENTATION, ConfigurationError, PublishRefused
from aoi_events.ports.broker import Inbound, Outbound, Published
from aoi_events.topology import Binding, Exchange, ExchangeType, Queue, Topology

if TYPE_CHECKING:
    from aoi_events.broker.memory.broker import MemoryBroker

NOT_DURABLE = (
    "memory:// keeps every message in this process only and promises nothing across a kill; "
    "use it for trying, testing and simulating, and RabbitMQ for everything else "
    f"({DOCUMENTATION}/explanation/guarantees.md#memory)"
)
"""The warning that is logged when a server starts."""

REPLY_PREFIX = "amq.rabbitmq.reply-to."
"""Routing keys of the default exchange that lead to a waiting requester, as in RabbitMQ."""


class MemoryServer:
    """One broker for any number of connections and users in one process and event loop."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.started.set()
        self._exchanges: dict[str, Exchange] = {}
        self._bindings: dict[str, list[tuple[str, str]]] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._replies: dict[str, Callable[[Inbound], None]] = {}
        self._connections: list[MemoryBroker] = []
        self._dead_waiting: list[tuple[Queue, Stored]] = []
        self._numbers = count(1)

    @property
    def running(self) -> bool:
        """Whether connections are accepted."""
        return self.started.is_set()

    # -- controls for tests ---------------------------------------------------------------------

    def drop_connection(self, user: str) -> None:
        """Cut every connection of ``user``; each comes back at once, as a new connection."""
        dropped = [connection for connection in self._connections if connection.user == user]
        for connection in dropped:
            connection.lose()
        for connection in dropped:
            if self.running:
                connection.regain()

    def stop(self) -> None:
        """Cut every connection and accept none, until :meth:`start`."""
        self.started.clear()
        for connection in list(self._connections):
            connection.lose()

    def start(self) -> None:
        """Accept connections again and restore those that were cut; quorum queues lost nothing."""
        self.started.set()
        for connection in list(self._connections):
            connection.regain()

    def delete(self, queue: str) -> None:
        """Delete an exclusive queue under its consumer, which is notified."""
        deleted = self.queue(queue)
        self.delete_queue(deleted)
        deleted.end()

    def waiting(self, queue: str) -> int:
        """How many messages of ``queue`` are at no consumer; 0 if there is no such queue."""
        return len(self._queues[queue]) if queue in self._queues else 0

    # -- connections ----------------------------------------------------------------------------

    def connect(self, connection: MemoryBroker) -> None:
        """Register a connection for the controls above."""
        self._connections.append(connection)

    def disconnect(self, connection: MemoryBroker) -> None:
        """Remove a connection that was closed."""
        self._connections.remove(connection)

    def open_reply(self, deliver: Callable[[Inbound], None]) -> str:
        """Make a direct reply-to address, whose messages go to ``deliver``."""
        address = f"{REPLY_PREFIX}{next(self._numbers)}"
        self._replies[address] = deliver
        return address

    def close_reply(self, address: str) -> None:
        """Remove a direct reply-to address."""
        self._replies.pop(address, None)

    # -- declarations ---------------------------------------------------------------------------

    def declare(self, topology: Topology) -> None:
        """Declare exchanges and queues. Raises ConfigurationError when one exists differently."""
        for exchange in topology.exchanges:
            known = self._exchanges.setdefault(exchange.name, exchange)
            if known != exchange:
                raise ConfigurationError(
                    f"exchange {exchange.name!r} exists with other arguments; "
                    "give the changed one a new name"
                )
        for queue in topology.queues:
            self.declare_queue(queue, owner=None)

    def declare_queue(self, definition: Queue, *, owner: object | None) -> MemoryQueue:
        """Declare one queue with its bindings; ``owner`` is the connection of an exclusive one."""
        dead_letters = definition.dead_letter_exchange
        if dead_letters is not None and dead_letters not in self._exchanges:
            raise ConfigurationError(
                f"queue {definition.name!r} dead-letters to {dead_letters!r}, which was never "
                "declared"
            )
        queue = self._queues.get(definition.name)
        if queue is None:
            queue = MemoryQueue(definition, owner=owner, dead_letter=self._dead_letter)
            self._queues[definition.name] = queue
        elif queue.owner is not owner:
            raise ConfigurationError(
                f"queue {definition.name!r} is exclusive to another connection; "
                "give every connection a queue name of its own"
            )
        elif replace(queue.definition, bindings=()) != replace(definition, bindings=()):
            raise ConfigurationError(
                f"queue {definition.name!r} exists with other arguments; "
                "give the changed one a new name"
            )
        for binding in definition.bindings:
            self._bind(definition.name, binding)
        return queue

    def queue(self, name: str) -> MemoryQueue:
        """The queue of that name. Raises ConfigurationError where there is none."""
        try:
            return self._queues[name]
        except KeyError:
            raise ConfigurationError(
                f"there is no queue {name!r}; declare the topology before consuming"
            ) from None

    def drop_queues_of(self, owner: object) -> None:
        """Delete the exclusive queues of a connection, with their messages."""
        for queue in [queue for queue in self._queues.values() if queue.owner is owner]:
            self.delete_queue(queue)

    def delete_queue(self, queue: MemoryQueue) -> None:
        """Delete a queue with its messages. Idempotent."""
        name = queue.definition.name
        if self._queues.get(name) is not queue:
            return
        del self._queues[name]
        for bindings in self._bindings.values():
            bindings[:] = [binding for binding in bindings if binding[1] != name]

    def _bind(self, queue: str, binding: Binding) -> None:
        if binding.exchange not in self._exchanges:
            raise ConfigurationError(
                f"queue {queue!r} is bound to {binding.exchange!r}, which was never declared"
            )
        bindings = self._bindings.setdefault(binding.exchange, [])
        if (binding.pattern, queue) not in bindings:
            bindings.append((binding.pattern, queue))
            waiting, self._dead_waiting = self._dead_waiting, []
            for source, stored in waiting:
                self._dead_letter(source, stored)

    # -- routing --------------------------------------------------------------------------------

    def publish(self, message: Outbound, *, user: str, message_id: str) -> Published:
        """Route one message, and return what RabbitMQ would answer."""
        inbound = Inbound(
            body=message.body,
            routing_key=message.routing_key,
            exchange=message.exchange,
            message_id=message_id,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            user_id=user,
            content_type=message.content_type,
            type=message.type,
            headers=dict(message.headers),
        )
        if message.exchange == "" and message.routing_key.startswith(REPLY_PREFIX):
            deliver = self._replies.get(message.routing_key)
            if deliver is not None:
                deliver(inbound)
            # No queue took it, live requester or not: RabbitMQ reports a mandatory answer as
            # returned even where it delivers it, which is why answers are not mandatory.
            return Published.RETURNED if message.mandatory else Published.CONFIRMED
        queues = [self._queues[name] for name in self._route(message.exchange, inbound.routing_key)]
        if not queues:
            return Published.RETURNED if message.mandatory else Published.CONFIRMED
        refused = False
        for queue in queues:
            if queue.full():
                refused = True
            else:
                queue.push(inbound)
        return Published.NACKED if refused else Published.CONFIRMED

    def _route(self, exchange_name: str, routing_key: str) -> list[str]:
        if exchange_name == "":
            return [routing_key] if routing_key in self._queues else []
        exchange = self._exchanges.get(exchange_name)
        if exchange is None:
            raise PublishRefused(f"there is no exchange {exchange_name!r}; declare the topology")
        found: dict[str, None] = {}
        for pattern, queue in self._bindings.get(exchange_name, ()):
            match exchange.type:
                case ExchangeType.TOPIC:
                    taken = matches(pattern, routing_key)
                case ExchangeType.FANOUT:
                    taken = True
            if taken:
                found[queue] = None
        if not found and exchange.alternate is not None and exchange.alternate in self._exchanges:
            return self._route(exchange.alternate, routing_key)
        return list(found)

    def _dead_letter(self, queue: Queue, stored: Stored) -> None:
        """Route a message past its delivery limit, with the headers that RabbitMQ adds.

        At least once: while no queue is bound, the dead letter waits for one.
        """
        if queue.dead_letter_exchange is None:
            return
        message = stored.message
        reason = {
            "x-first-death-exchange": message.exchange,
            "x-first-death-queue": queue.name,
            "x-first-death-reason": "delivery_limit",
        }
        dead = replace(
            message,
            exchange=queue.dead_letter_exchange,
            headers={**reason, **message.headers},
        )
        names = self._route(queue.dead_letter_exchange, message.routing_key)
        if not names:
            self._dead_waiting.append((queue, stored))
        for name in names:
            self._queues[name].push(dead)
