"""An AOI Server that says what a test tells it to say, in the real contracts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.broker.memory.subscription import MemorySubscription
from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    AcceptedDelivery,
    AnyAnswer,
    DeliveryStatus,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
    RefusedV1,
    RejectedToken,
)
from aoi_events.contracts.events import CloudEvent, DeliveryChanged, event_routing_key
from aoi_events.contracts.identifiers import base32_id
from aoi_events.contracts.requests import (
    REQUESTS,
    AnyRequest,
    CancelNotificationV1,
    QueryNotificationV1,
    SendNotificationV1,
)
from aoi_events.contracts.states import DeliveryState, Evidence
from aoi_events.ports.broker import Assurance, Inbound, Outbound, Subscription
from aoi_events.topology import ACTIVATION, EVENTS, NOTIFICATION, REGISTRATION, Queue, topology

FINGERPRINT = "fp_" + "a" * 13

Script = Callable[[AnyRequest], AnyAnswer | None]


def delivery_id(notification: str, index: int) -> str:
    """A delivery's ID as the server makes it: it follows from what it is of."""
    return base32_id("dlv_", f"{notification}/{index}".encode()[:16].ljust(16, b"."))


class TellingBroker(MemoryBroker):
    """A memory broker that counts the queues it opened, and tells when."""

    def __init__(self, server: MemoryServer, *, user: str) -> None:
        super().__init__(server, user=user)
        self.subscribed = 0
        self._again = asyncio.Event()

    async def subscribe(self, queue: Queue, *, prefetch: int) -> MemorySubscription:
        """Count after the queue is there."""
        subscription = await super().subscribe(queue, prefetch=prefetch)
        self.subscribed += 1
        self._again.set()
        return subscription

    async def until_subscribed(self, times: int) -> None:
        """Return when that many queues have been opened."""
        while self.subscribed < times:
            self._again.clear()
            await self._again.wait()


@dataclass
class Responder:
    """Answers requests of every kind; ``script`` answers first, unless it gives None."""

    server: MemoryServer
    script: deque[Script] = field(default_factory=deque)
    asked: list[tuple[AnyRequest, Inbound]] = field(default_factory=list)
    states: dict[str, dict[str, DeliveryState]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, started: asyncio.Event) -> None:
        """Take requests until cancelled."""
        self.broker = MemoryBroker(self.server, user="aoi")
        await self.broker.declare(topology())
        async with asyncio.TaskGroup() as group:
            for queue in topology().queues:
                if queue.name in (REGISTRATION, ACTIVATION, NOTIFICATION):
                    subscription = await self.broker.subscribe(queue, prefetch=100)
                    group.create_task(self._take(subscription))
            started.set()

    async def _take(self, subscription: Subscription) -> None:
        while messages := await subscription.take(100):
            for message in messages:
                await self._respond(message)
            await subscription.ack(messages)

    async def _respond(self, message: Inbound) -> None:
        request = REQUESTS[message.routing_key].decode(message.body)
        self.asked.append((request, message))
        self.arrived.set()
        said = self.script.popleft()(request) if self.script else self.answer(request)
        if said is None:
            return
        assert message.reply_to is not None
        await self.broker.publish(
            [
                Outbound(
                    exchange="",
                    routing_key=message.reply_to,
                    body=said.encode(),
                    type=ANSWER_TYPES[type(said)],
                    mandatory=False,
                    correlation_id=message.correlation_id,
                )
            ]
        )

    def answer(self, request: AnyRequest) -> AnyAnswer:
        """What is answered where no script says otherwise."""
        match request:
            case SendNotificationV1():
                return self.accept(request)
            case QueryNotificationV1():
                return self.status(request.notification)
            case CancelNotificationV1():
                count = len(self.states.get(request.notification, {}))
                return NotificationCancelledV1(
                    notification=request.notification, cancelled=count, settled=0
                )
            case _:
                raise AssertionError(f"script an answer to {request}")

    def accept(self, request: SendNotificationV1) -> NotificationAcceptedV1:
        """Take every token but those that start with ``forged``."""
        good = [i for i, token in enumerate(request.tokens) if not token.startswith("forged")]
        ids = {index: delivery_id(request.notification, index) for index in good}
        if ids:
            self.states.setdefault(
                request.notification, dict.fromkeys(ids.values(), DeliveryState.SENDING)
            )
        return NotificationAcceptedV1(
            notification=request.notification,
            expires_at=datetime.now(UTC) + timedelta(seconds=request.ttl) if ids else None,
            deliveries=tuple(AcceptedDelivery(index=i, delivery=d) for i, d in ids.items()),
            rejected=tuple(
                RejectedToken(index=i, fingerprint=FINGERPRINT, code="token_forged", message="no")
                for i in range(len(request.tokens))
                if i not in ids
            ),
        )

    def status(self, notification: str) -> AnyAnswer:
        """What the states are now."""
        if notification not in self.states:
            return RefusedV1(code="not_found", message="nothing", field="notification")
        now = datetime.now(UTC)
        return NotificationStatusV1(
            notification=notification,
            deliveries=tuple(
                DeliveryStatus(
                    delivery=delivery,
                    fingerprint=FINGERPRINT,
                    state=state,
                    by=Evidence.DEVICE if state is DeliveryState.DELIVERED else None,
                    reason="unreachable" if state is DeliveryState.FAILED else None,
                    accepted_at=now,
                    expires_at=now + timedelta(days=1),
                    settled_at=now if state.terminal else None,
                )
                for delivery, state in self.states[notification].items()
            ),
        )

    async def become(
        self,
        notification: str,
        state: DeliveryState,
        *,
        index: int = 0,
        sender: str = "shop",
        told: bool = True,
    ) -> None:
        """Change a delivery's state and, unless the event is lost, tell."""
        delivery = delivery_id(notification, index)
        self.states.setdefault(notification, {})[delivery] = state
        if told:
            await self.tell(notification, delivery, state, sender=sender)

    async def tell(
        self, notification: str, delivery: str, state: DeliveryState, *, sender: str = "shop"
    ) -> None:
        """Publish the event of a state, true or not."""
        kind = f"notification.{state}"
        event = CloudEvent(
            id=f"{delivery}-{state}",
            type=f"aoi.{kind}.v1",
            time=datetime.now(UTC),
            data=DeliveryChanged(
                notification=notification,
                delivery=delivery,
                fingerprint=FINGERPRINT,
                application="com.example.shop",
                state=state,
            ),
        )
        await self.publish_event(kind, event.encode(), sender=sender)

    async def publish_event(self, kind: str, body: bytes, *, sender: str = "shop") -> None:
        """Publish bytes where events go."""
        await self.broker.publish(
            [
                Outbound(
                    exchange=EVENTS,
                    routing_key=event_routing_key(kind, sender),
                    body=body,
                    mandatory=False,
                    assurance=Assurance.BEST_EFFORT,
                    type=f"aoi.{kind}.v1",
                )
            ]
        )

    async def until_asked(self, contract: type[AnyRequest], times: int = 1) -> None:
        """Return when requests of this contract have been taken that often."""
        while sum(isinstance(request, contract) for request, _ in self.asked) < times:
            self.arrived.clear()
            await self.arrived.wait()
