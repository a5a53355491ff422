"""The workers' side of a gateway, small enough to be told what to answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from aoi_events.contracts.answers import (
    ClientConnectedV1,
    ConfirmedSession,
    RefusedV1,
    SessionsConfirmedV1,
)
from aoi_events.contracts.base import Answer
from aoi_events.contracts.envelopes import (
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeBatchV1,
    OutcomeItem,
)
from aoi_events.contracts.requests import ConfirmSessionsV1, ConnectClientV1
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Broker, Inbound, Outbound, Published, Subscription
from aoi_events.topology import (
    ACTIVATION,
    NOTIFICATION,
    OUTCOME,
    REGISTRATION,
    Queue,
    gateway_queue,
    topology,
)
from tests.support.device_frames import SECRET
from tests.support.observable import Observable

Reply = tuple[str, bytes] | None


class Workers(Observable):
    """Answers whatever devices ask, and remembers it.

    ``replies`` by routing key overrides the answers: a function of the message that returns type
    and body, or None for silence. Every client with :data:`SECRET` is admitted.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self.broker = broker
        self.replies: dict[str, Callable[[Inbound], Reply]] = {}
        self.requests: list[Inbound] = []
        self.outcomes: list[OutcomeItem] = []
        self.connects: list[ConnectClientV1] = []
        self.confirms: list[ConfirmSessionsV1] = []
        self.nodes: dict[str, str] = {}
        self.left: list[tuple[str, int]] = []
        self.epoch = 0
        self.epochs: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Consume every queue that a gateway writes to."""
        await self.broker.declare(topology())
        for name in (REGISTRATION, ACTIVATION, NOTIFICATION, OUTCOME):
            subscription = await self.broker.subscribe(Queue(name), prefetch=1_000)
            self._tasks.append(asyncio.create_task(self._work(subscription)))

    async def stop(self) -> None:
        """Consume no more."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def outcome(self, count: int = 1) -> list[OutcomeItem]:
        """All outcomes, as soon as there are so many."""
        await self.until(lambda: len(self.outcomes) >= count)
        return self.outcomes

    async def send(self, node: str, *items: DeliverItem | CloseItem) -> Published:
        """Put items into the queue of a node."""
        return await self.send_raw(node, DeliveryBatchV1(items=items).encode())

    async def send_raw(self, node: str, body: bytes) -> Published:
        """Put octets into the queue of a node."""
        message = Outbound(exchange="", routing_key=gateway_queue(node), body=body)
        return (await self.broker.publish([message]))[0]

    def requests_named(self, name: str) -> Sequence[Inbound]:
        """What was asked under a routing key."""
        return [message for message in self.requests if message.routing_key == name]

    async def _work(self, subscription: Subscription) -> None:
        while messages := await subscription.take(100):
            for message in messages:
                await self._handle(message)
            await subscription.ack(messages)
            await self.wake()

    async def _handle(self, message: Inbound) -> None:
        if message.routing_key == OUTCOME:
            self.outcomes += OutcomeBatchV1.decode(message.body).items
            return
        self.requests.append(message)
        await self.answer(message, self.replies.get(message.routing_key, self._usual)(message))

    async def answer(self, message: Inbound, reply: Reply) -> None:
        """Answer a request, now or later."""
        if reply is not None and message.reply_to is not None:
            answer = Outbound(
                exchange="",
                routing_key=message.reply_to,
                body=reply[1],
                type=reply[0],
                mandatory=False,
                correlation_id=message.correlation_id,
            )
            try:
                await self.broker.publish([answer])
            except BrokerUnavailable:
                return  # the test cut the broker; the gateway asks again or gives up

    def _usual(self, message: Inbound) -> Reply:
        match message.routing_key:
            case "client.connected":
                return self.admit(message)
            case "client.present":
                return self.confirm(message)
            case "client.disconnected":
                body = json.loads(message.body)
                self.left.append((body["client"], body["epoch"]))
                return "client.disconnected.v1", b"{}"
            case _:
                return "echoed.v1", message.body

    def admit(self, message: Inbound) -> Reply:
        """Open a session under the next epoch, or refuse a wrong secret."""
        request = ConnectClientV1.decode(message.body)
        self.connects.append(request)
        if request.secret not in (SECRET, None):
            return refusal("unauthenticated")
        self.epoch += 1
        self.epochs[request.client] = self.epoch
        self.nodes[request.session] = request.node
        answer = ClientConnectedV1(client=request.client, epoch=self.epoch, sequence=3)
        return reply("client.connected.v1", answer)

    def confirm(self, message: Inbound) -> Reply:
        """Let sessions go on under the next epoch, where they are not at that node; each of these
        counts as a connect without a secret.
        """
        request = ConfirmSessionsV1.decode(message.body)
        self.confirms.append(request)
        changed: list[ConfirmedSession] = []
        for each in request.sessions:
            if self.nodes.get(each.session) == request.node:
                continue
            self.nodes[each.session] = request.node
            self.epoch += 1
            self.epochs[each.client] = self.epoch
            changed.append(ConfirmedSession(session=each.session, epoch=self.epoch))
            self.connects.append(
                ConnectClientV1(
                    version=1,
                    client=each.client,
                    node=request.node,
                    session=each.session,
                    epoch=each.epoch,
                )
            )
        return reply("client.present.v1", SessionsConfirmedV1(changed=tuple(changed)))


def refuse_sessions(message: Inbound, code: str) -> Reply:
    """Refuse every session of a request with this code."""
    sessions = ConfirmSessionsV1.decode(message.body).sessions
    changed = tuple(ConfirmedSession(session=each.session, code=code) for each in sessions)
    return reply("client.present.v1", SessionsConfirmedV1(changed=changed))


def reply(name: str, answer: Answer) -> Reply:
    """An answer of that contract."""
    return name, answer.encode()


def refusal(code: str) -> Reply:
    """A refusal with that code."""
    return reply("refused.v1", RefusedV1(code=code, message="no"))


def values(message: Inbound) -> dict[str, Any]:
    """The body of a request."""
    body: dict[str, Any] = json.loads(message.body)
    return body
