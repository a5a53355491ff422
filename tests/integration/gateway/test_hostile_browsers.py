"""Hostile and clumsy browsers: bounded, closed with a code they know, nobody else's problem."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL
from tests.integration.gateway.conftest import Running, Start
from tests.integration.gateway.devices import Device
from tests.integration.gateway.test_limits import UPGRADE, ended
from tests.support.browser_frames import UAID, ack, hello, push, register
from tests.support.device_frames import CLIENT, OTHER_CLIENT, delivery_id
from tests.support.gateway_workers import refusal
from tests.support.limits import WITHIN


async def opened(running: Running, **options: Any) -> Device:
    """A browser that is connected as :data:`CLIENT`."""
    device = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,), **options)
    await device.send(hello())
    assert json.loads(await device.web.receive_str(timeout=WITHIN))["uaid"] == UAID
    return device


async def healthy(running: Running) -> None:
    """A browser is served as ever."""
    device = await opened(running)
    await device.send("{}")
    assert await device.web.receive_str(timeout=WITHIN) == "{}"
    await device.web.close()


async def test_the_protocol_is_chosen_at_the_handshake(running: Running) -> None:
    """The first subprotocol of the browser's list that we speak."""
    device = await running.devices.connect(protocols=("x", WEBPUSH_SUBPROTOCOL, "aoi.v1"))
    assert device.web.protocol == WEBPUSH_SUBPROTOCOL


@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Protocol": ""}])
async def test_no_subprotocol_means_push_notification(
    running: Running, headers: dict[str, str]
) -> None:
    """KDE's push client offers no subprotocol, and is served as a browser."""
    device = await running.devices.connect(protocols=(), headers=headers)
    assert device.web.protocol is None
    await device.send(hello())
    assert json.loads(await device.web.receive_str(timeout=WITHIN))["uaid"] == UAID


@pytest.mark.parametrize(
    "frame,code",
    [("no JSON", 1008), ("[]", 1008), (register(), 1008), ("{}", 1008), ("x" * 40_000, 1009)],
)
async def test_bad_messages_before_the_hello(running: Running, frame: str, code: int) -> None:
    """A first message that is no hello ends the connection without a request to a worker."""
    device = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
    await device.send(frame)
    assert (await device.closed())[0] == code
    assert not running.workers.requests
    await healthy(running)


@pytest.mark.parametrize(
    "frame,code", [("[" * 10_000, 1008), (hello(), 1008), ("x" * 40_000, 1009)]
)
async def test_bad_messages_after_it(running: Running, frame: str, code: int) -> None:
    """They end the connection, and its presence with it."""
    device = await opened(running)
    await device.send(frame)
    assert (await device.closed())[0] == code
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])
    await healthy(running)


async def test_binary_closes_1003(running: Running) -> None:
    """The protocol has text only."""
    device = await opened(running)
    await device.web.send_bytes(b"{}")
    assert (await device.closed())[0] == 1003


async def test_no_hello_in_time(start: Start) -> None:
    """A connection without a hello ends with 1008."""
    running = await start(hello_within=0.1)
    device = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
    assert (await device.closed())[0] == 1008


async def test_a_hello_that_no_worker_answers(start: Start) -> None:
    """It is told to come again later, as soon as the time of a request is over; a page of a browser
    that is no client yet hears that it cannot subscribe now.
    """
    running = await start(request_within=0.1)
    running.workers.replies["client.register"] = lambda message: None
    running.workers.replies["client.connected"] = lambda message: None
    device = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
    await device.send(hello())
    assert (await device.closed())[0] == 1013
    device = await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
    for message, answer in ((hello(None), "hello"), (register(), "register")):
        await device.send(message)
        said = json.loads(await device.web.receive_str(timeout=WITHIN))
        assert (said["messageType"], said["status"]) == (answer, 200 if answer == "hello" else 503)


async def test_a_slow_handshake_is_cut(start: Start) -> None:
    """A request that drips in is not waited for."""
    running = await start(handshake_within=0.2)
    dripping, writer = await running.devices.raw()
    writer.write(UPGRADE.replace(b"aoi.v1", WEBPUSH_SUBPROTOCOL.encode())[:150])
    await ended(dripping)
    await healthy(running)


async def test_a_flood_is_told_to_stay_away(start: Start) -> None:
    """Subscriptions beyond the queue are refused with 429, then the connection ends with 4774."""
    running = await start(
        frames_burst=20, frames_per_second=0.1, commands_burst=5, commands_octets=32_768
    )
    running.workers.replies["application.register"] = lambda message: refusal("internal")
    device = await opened(running)
    for _ in range(60 + 32_768 // len(register())):
        await device.send(register())
    code, last = await device.closed()
    assert (code, last and last["status"]) == (4774, 429)
    assert len(running.workers.requests_named("application.register")) < 20
    await healthy(running)


async def test_half_open(start: Start) -> None:
    """No pong in time: presence ends, and what was under way goes back to come again."""
    running = await start(ping_every=0.1, pong_within=0.1)
    await opened(running, answers_pings=False)
    await running.workers.send(running.node, push(1, session=running.workers.connects[0].session))
    (outcome,) = await running.workers.outcome()
    assert (outcome.kind, outcome.epoch) == (OutcomeKind.ROUTE_LOST, 1)
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_a_browser_that_does_not_read_is_sent_away(start: Start) -> None:
    """Beyond the write buffer the session ends, everything unread goes back, and another device is
    served meanwhile.
    """
    running = await start(window=10_000, write_buffer=65_536, close_within=5)
    slow = await opened(running, receive_buffer=4_096)
    quick = await running.devices.connect()
    await quick.welcome(OTHER_CLIENT)
    session = running.workers.connects[0].session
    lost = 0
    for first in range(0, 10_000, 100):
        items = [push(n, b"x" * 4_096, session=session) for n in range(first, first + 100)]
        await running.workers.send(running.node, *items)
        assert (await quick.ask("channel.activate"))["name"] == "echoed.v1"
        lost += 100
        if running.workers.left:
            break
    await running.workers.until(
        lambda: (
            sum(each.kind is OutcomeKind.ROUTE_LOST for each in running.workers.outcomes) == lost
        )
    )
    assert (await slow.closed())[0] == 1008


async def test_a_reset_connection_is_noticed_at_once(running: Running) -> None:
    """A reset needs no ping: presence ends as soon as the socket says so."""
    device = await opened(running)
    connection = device.web._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])


async def test_sessions_survive_a_lost_broker(running: Running) -> None:
    """A session is announced under the queue's new name, and gets deliveries of its new epoch."""
    device = await opened(running)
    session = running.workers.connects[0].session
    await running.drop_broker()
    await running.workers.until(lambda: len(running.workers.connects) == 2)
    await running.workers.until(lambda: running.workers.epochs[CLIENT] == 2)
    item = push(7, session=session, epoch=2)
    await running.workers.send(running.node, item)
    message = json.loads(await device.web.receive_str(timeout=WITHIN))
    assert message["version"] == delivery_id(7)
    await device.send(ack(7))
    outcome = (await running.workers.outcome())[-1]
    assert outcome.kind is OutcomeKind.ACKNOWLEDGED


async def test_stopping_tells_browsers_to_come_again(running: Running) -> None:
    """1012 when the gateway drains: Firefox connects again after its pause."""
    device = await opened(running)
    closing = asyncio.create_task(device.closed())
    await running.drained()
    assert (await closing)[0] == 1012
    with pytest.raises(aiohttp.ClientError):
        await running.devices.connect(protocols=(WEBPUSH_SUBPROTOCOL,))
