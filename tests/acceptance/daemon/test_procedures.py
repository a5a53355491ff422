"""The procedures of 8.1 that show in the requests: the daemon against a server that writes down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aoi_events.contracts.device import HelloFrame, RequestFrame
from tests.acceptance.daemon.machine import IDENTITY, MAIL, Machine
from tests.support.limits import WITHIN
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """An AOI Server that writes down what it is asked."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def machine(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Machine]:
    """A device on that server."""
    async with Machine(tmp_path, server.url) as machine:
        yield machine


async def test_it_registers_upon_installation(machine: Machine, server: ScriptedServer) -> None:
    """8.1.1: "Upon installation/activation of the AOI Client", where the policy says so."""
    await machine.start(register_on="install")
    await server.until(lambda: server.requests("client.register"))
    (request,) = server.requests("client.register")
    assert request.body["identity"] == IDENTITY
    assert request.body["device"] == "kitchen-display"
    assert not server.requests("application.register")


async def test_it_registers_when_the_first_app_asks(
    machine: Machine, server: ScriptedServer
) -> None:
    """8.1.1: an app's registration request whilst it is not registered; none before."""
    await machine.start()
    assert (await machine.status()).client is None
    assert server.connections == 0
    await machine.register(MAIL)
    names = [frame.name for frame in server.sent(RequestFrame)]
    assert names[:2] == ["client.register", "application.register"]
    assert (await machine.status()).client is not None


async def test_it_keeps_its_id_for_future_requests(
    machine: Machine, server: ScriptedServer
) -> None:
    """8.1.1: the assigned AOI Client ID is stored, and used in requests after a kill -9."""
    daemon = await machine.start()
    await machine.register(MAIL)
    client = (await machine.status()).client
    assert str(client) in (machine.state / "client.json").read_text()
    daemon.kill()
    await daemon.ended(within=WITHIN)
    await machine.start()
    await machine.register("org.example.other")
    assert len(server.requests("client.register")) == 1
    assert {frame.client for frame in server.sent(HelloFrame)} == {client}
    assert {r.body["client"] for r in server.requests("application.register")} == {client}


async def test_it_does_what_the_selected_channel_needs(
    machine: Machine, server: ScriptedServer
) -> None:
    """8.1.2: the confirmation selects the WebSocket: it is kept open, made again when it ends, and
    notifications come over it with no new activation.
    """
    daemon = await machine.start()
    app = await machine.attach()
    await server.until(lambda: server.requests("channel.activate"))
    await daemon.until_logged("connected", within=WITHIN)
    await server.drop()
    await daemon.until_logged("connected", times=2, within=WITHIN)
    status = await machine.status()
    assert [(each.type, each.state) for each in status.channels] == [("websocket", "active")]
    await server.notify(1, str(app.token))
    assert await app.read() == "hello"
    assert len(server.requests("channel.activate")) == 1


async def test_an_app_that_asks_while_no_channel_is_active(
    machine: Machine, server: ScriptedServer
) -> None:
    """8.1.2: it may activate then, and does: the offer goes out with the first registration."""
    await machine.start()
    assert not server.requests("channel.activate")
    await machine.register(MAIL)
    await server.until(lambda: server.requests("channel.activate"))
    (request,) = server.requests("channel.activate")
    assert [offer["type"] for offer in request.body["offers"]] == ["websocket"]


async def test_a_refusal_is_told(machine: Machine, server: ScriptedServer) -> None:
    """The refusal of an app by the server is sent to the attached app."""
    await machine.start()
    await machine.register(MAIL)
    server.answers["application.register"] = (
        "refused.v1",
        {"code": "quota_exceeded", "message": "no more apps"},
    )
    app = await machine.app()
    app.say({"version": 1, "type": "attach", "application": MAIL})
    await app.any()
    assert await app.failed() == "quota_exceeded"
