"""The gateway's own queue, which exists as long as one connection to the broker.

The queue gets a new name with each connection. Every open session is then announced under the new
name. Messages to the old name are returned to the worker that published them, or the deadlines of
their deliveries pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import (
    ChallengeItem,
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
)
from aoi_events.errors import ConfigurationError, InfrastructureError
from aoi_events.gateway.protocol.outcomes import route_lost
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.device_connection import DeviceConnection, GatewayContext
from aoi_events.gateway.workers.announcer import Announcer
from aoi_events.gateway.workers.queue_prober import QueueProber
from aoi_events.platform.logs import get_logger
from aoi_events.platform.resubscribing_consumer import ResubscribingConsumer
from aoi_events.platform.retry import FailedAttempt, RetryPolicy
from aoi_events.ports.broker import Broker, Inbound
from aoi_events.ports.clock import Clock, Dice
from aoi_events.topology import Queue, node_queue

_log = get_logger(__name__)
_ANY_NODE = "aoi.gateway"
"""The name in metrics for the queues of all gateways, whose own names change."""
_RETRY_POLICY = RetryPolicy(first=0.1, most=5.0, jitter=0.5)
_LATER = (InfrastructureError, ConfigurationError)
_Item = DeliverItem | ChallengeItem | CloseItem
_ITEM: TypeAdapter[_Item] = TypeAdapter(Annotated[_Item, Field(discriminator="kind")])


class NodeQueue:
    """Consumes the gateway's queue; ``connections`` are those of the gateway, by session ID."""

    def __init__(
        self,
        broker: Broker,
        gateway: GatewayContext,
        connections: Mapping[str, DeviceConnection],
        *,
        prober: QueueProber,
        announcer: Announcer,
        clock: Clock,
        dice: Dice,
        settings: GatewaySettings,
    ) -> None:
        self.name = self._next = ""
        self.ready = asyncio.Event()
        self._gateway = gateway
        self._connections = connections
        self._prober = prober
        self._announcer = announcer
        self._dice = dice
        self._consumer = ResubscribingConsumer(
            broker,
            self._new_queue,
            prefetch=settings.prefetch,
            policy=_RETRY_POLICY,
            on=_LATER,
            failed=_log_unavailable,
            sleep=clock.sleep,
        )

    # -- the queue ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume the queue, under a new name for each broker connection, until :meth:`stop`."""
        # After a first success a refusal passes: for example, the broker restarts.
        await self._consumer.subscribe(on=InfrastructureError)
        await self._rename()
        while (messages := await self._consumer.take()) is not None:
            if messages:
                await self._handle(messages)
            else:
                _log.warning("gateway_queue_lost", node=self.name)
                await self._rename()

    async def stop(self) -> None:
        """Stop consuming; :meth:`run` returns when the messages that arrived are processed."""
        await self._consumer.stop()

    def _new_queue(self) -> Queue:
        # Each attempt uses a new name: a failed one may have declared its queue.
        self._next = f"gw-{self._dice.token_hex(8)}"
        return node_queue(self._next)

    async def _rename(self) -> None:
        self.name = self._next
        _log.info("gateway_queue_named", node=self.name, sessions=len(self._connections))
        for connection in self._connections.values():
            connection.session.node_renamed()
        self._announcer.announce(self._connections.values())
        await self._prober.opened()
        self.ready.set()

    async def _handle(self, messages: Sequence[Inbound]) -> None:
        sent = [message for message in messages if not self._prober.arrived(message)]
        if sent:
            ids = [message.message_id for message in sent]
            with self._gateway.metrics.batch(_ANY_NODE, ids):
                for message in sent:
                    for item in _items(message):
                        await self._deliver(item)
        await self._consumer.ack(messages)

    async def _deliver(self, item: _Item) -> None:
        now = self._gateway.now()
        match item:
            case DeliverItem():
                connection = self._connections.get(item.session or "")
                if connection is None:
                    self._gateway.report(route_lost(item, now))
                    return
                elapsed = self._gateway.elapsed
                await connection.perform(connection.session.deliver(item, elapsed=elapsed, now=now))
            case CloseItem():
                connection = self._connections.get(item.session)
                if connection is not None and connection.session.client == item.client:
                    code = _close_code(item.code)
                    await connection.perform(connection.session.close(code, item.message, now=now))
            case ChallengeItem():
                _log.error("unexpected_challenge", client=item.client)


def _log_unavailable(attempt: FailedAttempt) -> None:
    _log.warning("gateway_queue_unavailable", error=str(attempt.error), seconds=attempt.pause)


def _close_code(code: int) -> CloseCode:
    try:
        return CloseCode(code)
    except ValueError:
        return CloseCode.SERVICE_RESTART


def _items(message: Inbound) -> Sequence[_Item]:
    """Decode the items of a message; unreadable ones are logged and left to their deadlines."""
    try:
        return DeliveryBatchV1.decode(message.body).items
    except ValidationError:
        _log.error("message_unreadable", message=message.message_id)
    items: list[_Item] = []
    try:
        envelope = from_json(message.body)
    except ValueError:
        return items
    values = envelope.get("items") if isinstance(envelope, dict) else None
    for value in values if isinstance(values, list) else ():
        try:
            items.append(_ITEM.validate_json(to_json(value)))
        except ValidationError:
            _log.error("item_unreadable", message=message.message_id)
    return items
