"""Every query is for a batch: what a batch costs does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import CacheStats

from aoi_events.contracts.content import Content
from aoi_events.contracts.requests import (
    MAX_SESSIONS,
    ActivateChannelsV1,
    AnyRequest,
    ChannelOffer,
    ConfirmSessionsV1,
    ConnectClientV1,
    DisconnectClientV1,
    OpenSession,
    RegisterApplicationV1,
    RegisterClientV1,
    SendNotificationV1,
)
from aoi_events.domain.clients.client import client_id_of
from aoi_events.ports.broker import Inbound, Published
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.messages.slow_confirms import postpone_slow_steps
from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.registration.handler import RegistrationHandler
from aoi_events.store.store import SqlStore
from tests.integration.services.conftest import BOTH
from tests.support.actors import secret_and_hash
from tests.support.system import System

AT_MOST = 12
"""Statements for a batch of any size."""

Secrets = Sequence[tuple[str, str]]
"""Secret and hash of each client."""


def engine_of(system: System) -> Engine:
    """The engine of the system's store."""
    store = system.installation.store
    assert isinstance(store, SqlStore)
    return store._database.engine.sync_engine


@contextmanager
def statements(system: System) -> Iterator[list[str]]:
    """The statements that the store is given meanwhile."""
    engine = engine_of(system)
    seen: list[str] = []

    def see(*given: Any) -> None:
        seen.append(str(given[2]))

    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)


def asked(request: AnyRequest) -> IncomingRequest:
    """The request as a gateway asks it."""
    message = Inbound(body=b"", routing_key="", exchange="", tag=1, reply_to="replies")
    return IncomingRequest(request, "aoi-gateway", None, message)


def connecting(secrets: Secrets) -> list[IncomingRequest]:
    """``client.connected`` of each client."""
    return [
        asked(
            ConnectClientV1(
                version=1, client=client_id_of(hashed), secret=secret, node="gw-1", session="s1"
            )
        )
        for secret, hashed in secrets
    ]


def disconnecting(secrets: Secrets) -> list[IncomingRequest]:
    """``client.disconnected`` of each client."""
    return [
        asked(DisconnectClientV1(version=1, client=client_id_of(hashed), epoch=1))
        for _, hashed in secrets
    ]


def confirming(clients: Sequence[str], *, epoch: int) -> IncomingRequest:
    """``client.present`` of the session of every client."""
    sessions = tuple(OpenSession(client=each, session="s1", epoch=epoch) for each in clients)
    return asked(ConfirmSessionsV1(version=1, node="gw-1", sessions=sessions))


def activating(secrets: Secrets) -> list[IncomingRequest]:
    """``channel.activate`` of each client."""
    return [
        asked(
            ActivateChannelsV1(
                version=1,
                client=client_id_of(hashed),
                secret=secret,
                sequence=1,
                offers=(ChannelOffer(type="websocket"),),
            )
        )
        for secret, hashed in secrets
    ]


@pytest.mark.parametrize("ask", [connecting, disconnecting, activating])
@pytest.mark.parametrize("size", [1, 100])
async def test_a_batch_of_session_and_channel_requests(system: System, size: int, ask: Any) -> None:
    """One hundred clients come (back) with as few statements as one."""
    secrets = [secret_and_hash() for _ in range(size)]
    for secret, hashed in secrets:
        await system.user("devices")
        answer = await system.users["devices"].ask(
            "client.register", device="phone", identity=hashed, secret_hash=hashed
        )
        assert getattr(answer, "client", None) == client_id_of(hashed), secret
    found = system.installation
    handler = ActivationHandler(found.store, found.services, system.clock)
    with statements(system) as seen:
        outputs = await handler.handle(ask(secrets))
    assert len(outputs) >= size
    assert len(seen) <= AT_MOST, seen


@BOTH
@pytest.mark.parametrize("size", [1, MAX_SESSIONS])
async def test_sessions_that_are_as_their_gateway_says_cost_one_read(
    system: System, size: int
) -> None:
    """Five hundred unchanged sessions cost one read that locks nothing, and no write; the ones that
    differ are written together.
    """
    secrets = [secret_and_hash() for _ in range(size)]
    found = system.installation
    registration = RegistrationHandler(found.store, found.services, system.clock)
    await registration.handle(registering(secrets))
    handler = ActivationHandler(found.store, found.services, system.clock)
    await handler.handle(connecting(secrets))
    clients = [client_id_of(hashed) for _, hashed in secrets]
    with statements(system) as seen:
        (answer,) = await handler.handle([confirming(clients, epoch=1)])
    assert answer.body == b'{"version":1,"changed":[]}'
    (read,) = [each for each in seen if not each.startswith(("BEGIN", "PRAGMA"))]
    assert read.startswith("SELECT")
    assert "FOR UPDATE" not in read
    await handler.handle(disconnecting(secrets[:2]))
    with statements(system) as seen:
        (answer, *_) = await handler.handle([confirming(clients, epoch=1)])
    assert answer.body.count(b'"epoch":2') == min(size, 2)
    assert len(seen) <= AT_MOST, seen


def registering(secrets: Secrets) -> list[IncomingRequest]:
    """``client.register`` of each client."""
    return [
        asked(RegisterClientV1(version=1, device="phone", identity=hashed, secret_hash=hashed))
        for _, hashed in secrets
    ]


def starting(secrets: Secrets) -> list[IncomingRequest]:
    """``application.register`` of one app of each client."""
    return [
        asked(
            RegisterApplicationV1(
                version=1,
                client=client_id_of(hashed),
                secret=secret,
                application="org.mail",
                sequence=1,
            )
        )
        for secret, hashed in secrets
    ]


@pytest.mark.parametrize("size", [1, 100])
async def test_a_batch_of_registrations(system: System, size: int) -> None:
    """One hundred clients, and then their apps, are registered with as few statements as one."""
    secrets = [secret_and_hash() for _ in range(size)]
    found = system.installation
    handler = RegistrationHandler(found.store, found.services, system.clock)
    for ask in (registering, registering, starting, starting):
        with statements(system) as seen:
            outputs = await handler.handle(ask(secrets))
        assert not any(output.type == "refused.v1" for output in outputs)
        assert len(seen) <= AT_MOST, seen


@pytest.mark.parametrize("size", [1, 100])
async def test_a_batch_whose_first_steps_were_confirmed_late(system: System, size: int) -> None:
    """Their deadlines move with one statement; after confirms in time there is none."""
    device, node = await system.device("websocket", "scripted:a1"), await system.node()
    await node.connect(device)
    found = system.installation
    handler = NotificationHandler(found.store, found.services, system.clock, system.dice)
    sends = [
        asked(
            SendNotificationV1(
                version=1,
                notification=f"n{number}",
                tokens=(device.token,),
                content=Content(data="x"),
            )
        )
        for number in range(size)
    ]
    outputs = await handler.handle([replace(send, sender="shop") for send in sends])
    results = [Published.CONFIRMED] * len(outputs)
    for seconds, count in ((1.0, 0), (0.1, 1)):
        system.clock.advance(seconds)
        with statements(system) as seen:
            await postpone_slow_steps(found.store, outputs, results, system.clock.now())
        assert len([each for each in seen if each != "BEGIN IMMEDIATE"]) == count, seen


async def test_a_batch_that_comes_again_compiles_nothing(system: System) -> None:
    """With a cache of its own, as in production, a store compiles no statement a second time.

    The caches that tests share would hide it.
    """
    engine, own_cache = engine_of(system), dict[Any, Any]()
    compiled: list[str] = []

    @event.listens_for(engine, "engine_connect")
    def share_nothing(connection: Connection) -> None:
        connection.execution_options(compiled_cache=own_cache)

    @event.listens_for(engine, "before_cursor_execute")
    def see(*given: Any) -> None:
        _, _, statement, _, context, _ = given
        if context.compiled is not None and context.cache_hit is not CacheStats.CACHE_HIT:
            compiled.append(statement)

    found, secrets = system.installation, [secret_and_hash() for _ in range(2)]
    registration = RegistrationHandler(found.store, found.services, system.clock)
    activation = ActivationHandler(found.store, found.services, system.clock)
    counts = []
    for _ in range(3):  # the second time finds rows, unlike the first, and the third is as it
        compiled.clear()
        for ask in (registering, starting):
            await registration.handle(ask(secrets))
        for ask in (connecting, activating, disconnecting):
            await activation.handle(ask(secrets))
        counts.append(len(compiled))
    assert counts[0] > 0
    assert compiled == []
