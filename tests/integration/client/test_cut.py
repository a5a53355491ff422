"""A data connection that is cut without a word, and what still reaches the device."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client.shell.websocket import WebSocketTransport
from aoi_events.contracts.content import Content
from aoi_events.errors import ConnectionLost
from aoi_events.oma_push.payload import ContentPush, encode
from aoi_events.testing.scripted_client import CuttableTransport, ScriptedSms
from tests.integration.client.apps import BOTH, MAIL, Inbox
from tests.integration.client.conftest import StartDevice
from tests.support.device_frames import delivery_id
from tests.support.scripted_server import ScriptedServer


async def test_sms_bridges_a_cut_and_no_activation_is_needed(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """Neither end notices the cut; SMS delivers; after the return the acknowledgement is there."""
    sms = ScriptedSms()
    transport = CuttableTransport(WebSocketTransport(server.url))
    client = await start_device(transport=transport, sms=sms, offers=BOTH)
    inbox = Inbox()
    app = await client.register_application(MAIL, inbox)
    await client.until_channels({"websocket", "sms"})

    transport.cut()
    await server.notify(1, app.token)
    assert client.connected
    push = ContentPush(delivery_id(2), app.fingerprint, Content(data="by radio"))
    sms.receive(*encode(push, transaction_id=1))
    assert (await inbox.next()).content.data == "by radio"
    assert inbox.taken.empty()

    await transport.restore()
    assert await server.acks(1) == [(delivery_id(2), "delivered", "sms")]
    assert len(server.requests("channel.activate")) == 1


async def test_cut_that_a_request_runs_into_is_noticed(
    server: ScriptedServer, start_device: StartDevice
) -> None:
    """A request without an answer shows that the connection is dead; a new one is made."""
    transport = CuttableTransport(WebSocketTransport(server.url))
    client = await start_device(transport=transport, answer_within=1.0)
    await client.register_application(MAIL, Inbox())
    await client.until_connected()
    transport.cut()
    asking = asyncio.create_task(client.register_application("org.example.chat", Inbox()))
    await client.until_disconnected()
    await transport.restore()
    await asking


async def test_no_new_connections_while_it_is_cut(server: ScriptedServer) -> None:
    """What is cut stays cut, for what is open and for what is new, until it is restored."""
    transport = CuttableTransport(WebSocketTransport(server.url))
    connection = await transport.connect()
    receiving = asyncio.create_task(connection.receive())
    transport.cut()
    with pytest.raises(ConnectionLost, match="cut"):
        await transport.connect()
    await transport.restore()
    with pytest.raises(ConnectionLost, match="cut"):
        await receiving
    await (await transport.connect()).close()
