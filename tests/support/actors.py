"""Who talks to the installation under test: users, devices, and a gateway's node."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aoi_events.contracts.answers import (
    ANSWERS,
    AnyAnswer,
    ApplicationRegisteredV1,
    ChannelsActivatedV1,
    ClientConnectedV1,
    DeliveryStatus,
    NotificationAcceptedV1,
    NotificationStatusV1,
    RefusedV1,
    SessionsConfirmedV1,
)
from aoi_events.contracts.envelopes import (
    CloseItem,
    DeliverItem,
    DeliveryBatchV1,
    OutcomeBatchV1,
    OutcomeItem,
    OutcomeKind,
)
from aoi_events.ports.broker import Broker, Outbound, Requester, Subscription
from aoi_events.topology import OUTCOME, REQUESTS
from tests.support.limits import WITHIN


def secret_and_hash() -> tuple[str, str]:
    """A new client secret, and what the server sees of it."""
    octets = secrets.token_bytes(32)
    text = urlsafe_b64encode(octets).decode().rstrip("=")
    return text, hashlib.sha256(octets).hexdigest()


@dataclass
class User:
    """A broker user who asks."""

    broker: Broker
    requester: Requester

    async def ask(
        self, name: str, *, headers: dict[str, str] | None = None, **body: Any
    ) -> AnyAnswer:
        """Ask, and return the answer."""
        return await self.ask_bytes(name, _encode(body), headers=headers)

    async def ask_bytes(
        self, name: str, body: bytes, *, headers: dict[str, str] | None = None
    ) -> AnyAnswer:
        """Ask with any octets for a body."""
        request = Outbound(REQUESTS, name, body, headers=headers or {})
        answer = await self.requester.call(request, timeout=WITHIN)
        return ANSWERS[answer.type or ""].decode(answer.body)

    async def refused(self, name: str, **body: Any) -> RefusedV1:
        """Ask, and return why not."""
        return _refusal(name, await self.ask(name, **body))

    async def tell(self, name: str, *, reply_to: str | None = None, **body: Any) -> None:
        """Publish a request and wait for no answer."""
        await self.broker.publish([Outbound(REQUESTS, name, _encode(body), reply_to=reply_to)])

    async def send(
        self, notification: str, *tokens: str, data: str = "hello", **more: Any
    ) -> NotificationAcceptedV1:
        """``notification.send``."""
        content = {"data": data}
        answer = await self.ask(
            "notification.send",
            notification=notification,
            tokens=list(tokens),
            content=content,
            **more,
        )
        assert isinstance(answer, NotificationAcceptedV1), answer
        return answer

    async def status(self, notification: str) -> Sequence[DeliveryStatus]:
        """``notification.status``: its deliveries."""
        answer = await self.ask("notification.status", notification=notification)
        assert isinstance(answer, NotificationStatusV1), answer
        return answer.deliveries

    async def story(self, notification: str) -> list[str]:
        """What happened to the notification's only delivery, in words."""
        (delivery,) = await self.status(notification)
        return [hop.what for hop in delivery.story]


@dataclass
class Device:
    """An AOI Client, as the server sees it."""

    user: User
    client: str
    secret: str
    identity: str
    sequence: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token of its only app."""
        (token,) = self.tokens.values()
        return token

    @property
    def proof(self) -> dict[str, str]:
        """What a later registration adds, to prove this one."""
        return {"client": self.client, "secret": self.secret}

    async def ask(self, name: str, **body: Any) -> AnyAnswer:
        """Ask as this client."""
        return await self.user.ask(name, **({"client": self.client, "secret": self.secret} | body))

    async def refused(self, name: str, **body: Any) -> RefusedV1:
        """Ask as this client, and return why not."""
        return _refusal(name, await self.ask(name, **body))

    def next(self) -> int:
        """The next sequence number."""
        self.sequence += 1
        return self.sequence

    async def register_app(self, name: str = "org.mail", **more: Any) -> ApplicationRegisteredV1:
        """``application.register``; keeps the token."""
        body = {"application": name, "sequence": self.next()} | more
        answer = await self.ask("application.register", **body)
        assert isinstance(answer, ApplicationRegisteredV1), answer
        if answer.token is not None:
            self.tokens[name] = answer.token
        return answer

    async def activate(self, *types: str, **more: Any) -> ChannelsActivatedV1:
        """``channel.activate`` with an offer of each type (``type:address`` for connectionless)."""
        body = {"sequence": self.next(), "offers": [_offer(kind) for kind in types]} | more
        answer = await self.ask("channel.activate", **body)
        assert isinstance(answer, ChannelsActivatedV1), answer
        return answer


@dataclass
class Node:
    """A gateway node: its queue, and what devices say over it."""

    name: str
    user: User
    subscription: Subscription
    items: asyncio.Queue[DeliverItem | CloseItem] = field(default_factory=asyncio.Queue)

    async def consume(self) -> None:
        """For ever."""
        while messages := await self.subscription.take(100):
            for message in messages:
                for item in DeliveryBatchV1.decode(message.body).items:
                    assert isinstance(item, DeliverItem | CloseItem)
                    self.items.put_nowait(item)
            await self.subscription.ack(messages)

    async def connect(self, device: Device, session: str = "s1", **more: Any) -> ClientConnectedV1:
        """A session of the device opens here."""
        return await self._enter(device, session, secret=device.secret, **more)

    async def announce(self, device: Device, session: str, epoch: int) -> ClientConnectedV1:
        """A session that was opened under another name goes on here."""
        return await self._enter(device, session, epoch=epoch)

    async def confirm(
        self, *sessions: tuple[Device, str, int], **more: Any
    ) -> dict[str, int | str | None]:
        """``client.present`` of sessions, each with its epoch: the new epoch, or the code of the
        refusal, of those that changed.
        """
        named = [
            {"client": device.client, "session": session, "epoch": epoch}
            for device, session, epoch in sessions
        ]
        answer = await self.user.ask("client.present", node=self.name, sessions=named, **more)
        assert isinstance(answer, SessionsConfirmedV1), answer
        return {each.session: each.code or each.epoch for each in answer.changed}

    async def _enter(self, device: Device, session: str, **how: Any) -> ClientConnectedV1:
        answer = await self.user.ask(
            "client.connected", client=device.client, node=self.name, session=session, **how
        )
        assert isinstance(answer, ClientConnectedV1), answer
        return answer

    async def disconnect(self, device: Device, epoch: int) -> None:
        """The session of that epoch ended."""
        await self.user.ask("client.disconnected", client=device.client, epoch=epoch)

    async def next_delivery(self) -> DeliverItem:
        """What is to be sent to a device next."""
        async with asyncio.timeout(WITHIN):
            item = await self.items.get()
        assert isinstance(item, DeliverItem), item
        return item

    async def next_close(self) -> CloseItem:
        """Which session is to be closed next."""
        async with asyncio.timeout(WITHIN):
            item = await self.items.get()
        assert isinstance(item, CloseItem), item
        return item

    async def report(self, item: DeliverItem, kind: OutcomeKind, **more: Any) -> None:
        """Say what became of a step."""
        outcome = OutcomeItem(
            delivery=item.delivery,
            kind=kind,
            at=item.accepted_at,
            client=item.client,
            channel=item.channel,
            step=item.step,
            attempt=item.attempt,
        ).model_copy(update=more)
        body = OutcomeBatchV1(items=(outcome,)).encode()
        await self.user.broker.publish([Outbound("", OUTCOME, body)])

    async def acknowledge(self, item: DeliverItem, **more: Any) -> None:
        """The device has it."""
        await self.report(item, OutcomeKind.ACKNOWLEDGED, **more)

    async def die(self) -> None:
        """The node's connection is gone, and its queue with it."""
        await self.user.broker.close()


def _refusal(name: str, answer: AnyAnswer) -> RefusedV1:
    assert isinstance(answer, RefusedV1), f"{name} was not refused: {answer!r}"
    return answer


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1} | body).encode()


def _offer(kind: str) -> dict[str, Any]:
    name, _, address = kind.partition(":")
    return {"type": name, "parameters": {"address": address}} if address else {"type": name}
