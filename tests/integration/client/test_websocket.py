"""The transport: aoi.v1 over a real WebSocket, also with a server that breaks its rules."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from aoi_events.client.shell.websocket import WebSocketConnection, WebSocketTransport
from aoi_events.contracts.device import (
    MAX_FRAME,
    AnswerFrame,
    GoodbyeFrame,
    RequestFrame,
    WelcomeFrame,
)
from aoi_events.errors import ConfigurationError, ConnectionLost
from tests.support.limits import WITHIN
from tests.support.scripted_server import ScriptedServer

REGISTER = RequestFrame(id=1, name="client.register", body={"secret_hash": "0" * 64})


@pytest.fixture
async def connection(server: ScriptedServer) -> AsyncIterator[WebSocketConnection]:
    """An open connection."""
    transport = WebSocketTransport(server.url, answer_within=5.0)
    connection = await transport.connect()
    yield connection
    await connection.close()


async def test_carries_frames_in_both_directions(connection: WebSocketConnection) -> None:
    """A request goes out, its answer comes back."""
    await connection.send(REGISTER)
    answer = await connection.receive()
    assert isinstance(answer, AnswerFrame)
    assert (answer.id, answer.name) == (1, "client.registered.v1")


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"type": "welcome"}',
        '{"type": 7}',
        "[" * 10_000,
        '{"type": "notification", "delivery": "dlv_x"}',
        '"' + "\\ud800" * 10 + '"',
    ],
)
async def test_frame_that_cannot_be_read_ends_the_connection(
    server: ScriptedServer, connection: WebSocketConnection, text: str
) -> None:
    """An unreadable frame raises ConnectionLost."""
    await server.until(lambda: server.connections)
    await server.send_text(text)
    with pytest.raises(ConnectionLost, match="cannot be read"):
        await connection.receive()


async def test_frame_of_a_newer_server_is_passed_over(
    server: ScriptedServer, connection: WebSocketConnection
) -> None:
    """A frame of an unknown type does not end the connection: servers are upgraded first."""
    await server.until(lambda: server.connections)
    await server.send_text('{"type": "weather", "sunny": true}')
    await server.send_text('{"type": "goodbye", "code": 4410, "message": "bye", "new": 1}')
    assert await connection.receive() == GoodbyeFrame(code=4410, message="bye")


async def test_frame_that_is_too_large_ends_the_connection(
    server: ScriptedServer, connection: WebSocketConnection
) -> None:
    """A frame above the limit is not read; one at the limit is."""
    await server.until(lambda: server.connections)
    start, end = '{"type": "goodbye", "code": 1, "message": "', '"}'
    fits = start + "x" * (MAX_FRAME - len(start) - len(end)) + end
    await server.send_text(fits)
    assert isinstance(await connection.receive(), GoodbyeFrame)
    await server.send_text(start + "x" * MAX_FRAME + end)
    with pytest.raises(ConnectionLost, match="broke the protocol"):
        await connection.receive()


async def test_binary_frame_ends_the_connection(
    server: ScriptedServer, connection: WebSocketConnection
) -> None:
    """The protocol has no binary frames."""
    await server.until(lambda: server.connections)
    await server.send_octets(b"\x00\x01")
    with pytest.raises(ConnectionLost, match="binary"):
        await connection.receive()


async def test_close_code_reaches_the_client(
    server: ScriptedServer, connection: WebSocketConnection
) -> None:
    """ConnectionLost has the close code of the server."""
    await server.until(lambda: server.connections)
    closing = asyncio.create_task(server.close(4409))
    with pytest.raises(ConnectionLost) as caught:
        await connection.receive()
    assert caught.value.code == 4409
    await connection.close()
    await closing


async def test_silent_server_is_given_up(server: ScriptedServer) -> None:
    """Without a welcome, the connection counts as lost."""
    server.silent = True
    connection = await WebSocketTransport(server.url, answer_within=0.05).connect()
    with pytest.raises(ConnectionLost, match="silent"):
        await connection.receive()
    await connection.close()


@pytest.mark.parametrize("ping_every", ["0.02", "-1", "1e308", "0"])
async def test_strange_ping_interval_is_bounded(server: ScriptedServer, ping_every: str) -> None:
    """For any ping interval the allowed silence stays within bounds."""
    connection = await WebSocketTransport(server.url, answer_within=1.0).connect()
    await welcome(server, connection, ping_every)
    assert connection._silence is not None
    assert 1.0 <= connection._silence <= 3_600.0
    await connection.close()


async def welcome(server: ScriptedServer, connection: WebSocketConnection, every: str) -> None:
    """The server says welcome, and how often it pings."""
    await server.until(lambda: server.connections)
    await server.send_text(
        '{"type": "welcome", "client": "cli_' + "a" * 26 + '", "session": "s", "epoch": 1, '
        f'"sequence": 0, "ping_every": {every}}}'
    )
    assert isinstance(await connection.receive(), WelcomeFrame)


async def test_silent_server_that_answers_pings_is_not_given_up(server: ScriptedServer) -> None:
    """A server that has nothing to send, and does not ping, stays connected."""
    connection = await WebSocketTransport(server.url, answer_within=1.0).connect()
    await welcome(server, connection, "0.02")
    receiving = asyncio.create_task(connection.receive())
    await server.until(lambda: server.pings >= 2)
    await server.send_text('{"type": "goodbye", "code": 1001, "message": "bye"}')
    async with asyncio.timeout(WITHIN):
        assert isinstance(await receiving, GoodbyeFrame)
    await connection.close()


async def test_server_that_does_not_answer_a_ping_is_given_up(server: ScriptedServer) -> None:
    """After the welcome, silence and an unanswered ping end the connection."""
    connection = await WebSocketTransport(server.url, answer_within=0.5).connect()
    await welcome(server, connection, "0.02")
    server.silent = True
    with pytest.raises(ConnectionLost, match="silent for 1 s"):
        await connection.receive()
    await connection.close()


async def test_pings_are_answered_and_count_as_life(server: ScriptedServer) -> None:
    """A server's ping gets its pong from the reader, and ends the silence."""
    connection = await WebSocketTransport(server.url, answer_within=5.0).connect()
    await server.until(lambda: server.connections)
    receiving = asyncio.create_task(connection.receive())
    await server.ping()
    await server.send_text('{"type": "goodbye", "code": 1001, "message": "bye"}')
    async with asyncio.timeout(WITHIN):
        assert isinstance(await receiving, GoodbyeFrame)
        await server.ponged.wait()
    await connection.close()


async def test_server_without_the_subprotocol_is_refused(server: ScriptedServer) -> None:
    """A WebSocket server without the subprotocol aoi.v1 is refused."""
    server.protocols = ()
    with pytest.raises(ConnectionLost, match=r"aoi\.v1"):
        await WebSocketTransport(server.url).connect()


async def test_server_that_is_not_there() -> None:
    """A refused TCP connection raises ConnectionLost."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionLost, match="cannot connect"):
        await WebSocketTransport(f"ws://127.0.0.1:{port}/").connect()


async def test_handshake_that_never_ends() -> None:
    """A server that accepts the connection and does not answer is given up in time."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(ConnectionLost, match="within"):
            await WebSocketTransport(url, connect_within=0.1).connect()


def test_other_schemes_are_refused() -> None:
    """Only WebSocket URLs are taken, and the error says which."""
    with pytest.raises(ConfigurationError, match="wss://"):
        WebSocketTransport("https://example.org")


async def test_sending_after_the_end_says_so(
    server: ScriptedServer, connection: WebSocketConnection
) -> None:
    """What cannot be sent any more is a lost connection."""
    await connection.close()
    with pytest.raises(ConnectionLost):
        await connection.send(REGISTER)
