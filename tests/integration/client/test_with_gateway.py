"""The AOI Client and the gateway, with only the workers behind it scripted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.client import AoiClient, MemoryStorage, ReconnectPolicy
from aoi_events.client.core.events import Connected, Disconnected
from aoi_events.contracts.answers import ClientConnectedV1
from aoi_events.contracts.device import CloseCode
from aoi_events.contracts.envelopes import CloseItem, OutcomeKind
from aoi_events.contracts.requests import ConnectClientV1
from aoi_events.domain.clients.client import client_id_of, hash_secret
from aoi_events.gateway.gateway import Gateway
from aoi_events.gateway.settings import GatewaySettings
from aoi_events.gateway.sockets.server import PATH
from aoi_events.ports.broker import Inbound
from tests.integration.client.apps import MAIL, Inbox, next_event
from tests.support.device_frames import deliver
from tests.support.gateway_workers import Workers
from tests.support.limits import WITHIN

Reply = tuple[str, bytes] | None


class ScriptedWorkers:
    """The workers behind the gateway, which do their part for any client."""

    def __init__(self, server: MemoryServer) -> None:
        self.workers = Workers(MemoryBroker(server, user="worker"))
        self.sessions: list[ConnectClientV1] = []
        self.retired: set[str] = set()
        self.workers.replies = {
            "client.register": self._register,
            "client.connected": self._connected,
            "application.register": self._application,
            "channel.activate": self._activate,
        }

    @property
    def epoch(self) -> int:
        """The last session's."""
        return len(self.sessions)

    def _register(self, message: Inbound) -> Reply:
        client = client_id_of(json.loads(message.body)["secret_hash"])
        return "client.registered.v1", json.dumps({"version": 1, "client": client}).encode()

    def _connected(self, message: Inbound) -> Reply:
        request = ConnectClientV1.decode(message.body)
        secret = request.secret
        wrong = secret is None or client_id_of(hash_secret(secret)) != request.client
        if wrong or request.client in self.retired:
            code = "unauthenticated" if wrong else "client_retired"
            return "refused.v1", json.dumps({"code": code, "message": "no"}).encode()
        self.sessions.append(request)
        answer = ClientConnectedV1(client=request.client, epoch=self.epoch, sequence=0)
        return "client.connected.v1", answer.encode()

    def _application(self, message: Inbound) -> Reply:
        body = json.loads(message.body)
        name = f"{body['client']}/{body['application']}/{body['instance']}"
        token = "k." + hashlib.sha256(name.encode()).hexdigest()
        answer = {"token": token, "sequence": body["sequence"]}
        return "application.registered.v1", json.dumps(answer).encode()

    def _activate(self, message: Inbound) -> Reply:
        body = json.loads(message.body)
        selected = [{"type": offer["type"], "state": "active"} for offer in body["offers"]]
        answer = {"sequence": body["sequence"], "selected": selected}
        return "channels.activated.v1", json.dumps(answer).encode()


class Stack:
    """A gateway on loopback, the workers behind it, and one device."""

    def __init__(self, gateway: Gateway, scripted: ScriptedWorkers, client: AoiClient) -> None:
        self.gateway = gateway
        self.scripted = scripted
        self.client = client

    async def send(self, number: int, token: str, **changes: Any) -> str:
        """A delivery for the device's present session; its ID."""
        session = self.scripted.sessions[-1]
        item = deliver(
            number,
            client=self.client.client_id,
            token=token,
            session=session.session,
            epoch=self.scripted.epoch,
            **changes,
        )
        await self.scripted.workers.send(session.node, item)
        return item.delivery


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Everything, running."""
    async with AsyncExitStack() as exits:
        server = MemoryServer()
        scripted = ScriptedWorkers(server)
        await scripted.workers.start()
        exits.push_async_callback(scripted.workers.stop)
        broker = MemoryBroker(server, user="aoi-gateway")
        exits.push_async_callback(broker.close)
        settings = GatewaySettings(port=0, tick=0.02, close_within=0.5, ping_every=0.1)
        gateway = Gateway(broker, settings=settings)
        stop = asyncio.Event()
        running = asyncio.create_task(gateway.run(stop))

        async def end() -> None:
            stop.set()
            async with asyncio.timeout(WITHIN):
                await running

        exits.push_async_callback(end)
        async with asyncio.timeout(WITHIN):
            await gateway.started.wait()
        client = AoiClient(
            f"ws://127.0.0.1:{gateway.port}{PATH}",
            storage=MemoryStorage(),
            device="phone-1",
            identity="tel:+15550100",
            reconnect_policy=ReconnectPolicy(first=0.01, most=0.05),
        )
        yield Stack(gateway, scripted, await exits.enter_async_context(client))


async def test_a_notification_goes_through_the_gateway_and_its_acknowledgement_comes_back(
    stack: Stack,
) -> None:
    """Client and gateway understand each other, from registration to acknowledgement."""
    inbox = Inbox()
    app = await stack.client.register_application(MAIL, inbox)
    await stack.client.until_channels({"websocket"})
    delivery = await stack.send(1, app.token)
    assert (await inbox.next()).content.data == "content 1"
    [outcome] = await stack.scripted.workers.outcome()
    assert (outcome.delivery, outcome.kind) == (delivery, OutcomeKind.ACKNOWLEDGED)
    assert (outcome.client, outcome.channel) == (stack.client.client_id, "websocket")


async def test_unknown_token_goes_back_as_no_such_application(stack: Stack) -> None:
    """The acknowledgement for an unknown token reaches the workers."""
    await stack.client.register_application(MAIL, Inbox())
    await stack.send(2, "k.somebody-elses-token")
    [outcome] = await stack.scripted.workers.outcome()
    assert outcome.kind is OutcomeKind.NO_SUCH_APPLICATION


async def test_session_that_is_closed_for_retirement_leads_to_a_new_id(stack: Stack) -> None:
    """When the workers retire the client, it registers again and gets another ID and token."""
    app = await stack.client.register_application(MAIL, Inbox())
    await stack.client.until_connected()
    old, token, session = stack.client.client_id, app.token, stack.scripted.sessions[-1]
    assert old is not None
    stack.scripted.retired.add(old)
    close = CloseItem(
        client=old,
        session=session.session,
        epoch=stack.scripted.epoch,
        code=CloseCode.RETIRED,
        message="another user",
    )
    await stack.scripted.workers.send(session.node, close)
    assert await stack.client.until_registered(other_than=old) != old
    assert await app.until_token(other_than=token) != token
    [first, again] = stack.scripted.workers.requests_named("client.register")
    assert json.loads(again.body)["previous"]["client"] == old
    assert "previous" not in json.loads(first.body)


async def test_replaced_session_is_not_fought_for(stack: Stack) -> None:
    """After another connection took over the client waits for minutes."""
    await stack.client.register_application(MAIL, Inbox())
    await stack.client.until_connected()
    events = stack.client.events()
    session = stack.scripted.sessions[-1]
    close = CloseItem(
        client=stack.client.client_id or "",
        session=session.session,
        epoch=stack.scripted.epoch,
        code=CloseCode.REPLACED,
        message="another connection",
    )
    await stack.scripted.workers.send(session.node, close)
    ended = await next_event(events, Disconnected)
    assert isinstance(ended, Disconnected)
    assert ended.code == CloseCode.REPLACED
    await stack.client.reconnect()
    await next_event(events, Connected)
    assert stack.scripted.epoch == 2
