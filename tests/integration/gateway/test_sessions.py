"""Devices connect, ask, receive and acknowledge, over real sockets."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from aoi_events.broker.memory import MemoryServer
from aoi_events.contracts.content import Content
from aoi_events.contracts.device import SUBPROTOCOL
from aoi_events.contracts.envelopes import CloseItem, OutcomeKind
from aoi_events.contracts.webpush import WEBPUSH_SUBPROTOCOL
from tests.integration.gateway.conftest import Running, Start
from tests.support.browser_frames import UAID
from tests.support.browser_frames import hello as hello_of_browser
from tests.support.device_frames import (
    CLIENT,
    OTHER_CLIENT,
    SECRET,
    ack,
    deliver,
    delivery_id,
    hello,
)
from tests.support.gateway_workers import refusal, values


async def test_hello_and_welcome(running: Running) -> None:
    """The workers are asked with secret, node and session; their answer becomes the welcome."""
    device = await running.devices.connect()
    assert device.web.protocol == "aoi.v1"
    welcome = await device.welcome()
    (asked,) = running.workers.connects
    assert (asked.client, asked.secret, asked.epoch) == (CLIENT, SECRET, None)
    assert asked.node == running.node
    assert (welcome["session"], welcome["epoch"], welcome["sequence"]) == (asked.session, 1, 3)
    health = await running.gateway.health()
    assert (health.ready, health.connections, health.sessions) == (True, 1, 1)


async def test_a_hello_says_until_when_its_answer_is_awaited(start: Start) -> None:
    """A worker that takes it up later must leave the client's sessions alone."""
    running = await start(request_within=7)
    before = datetime.now(UTC)
    await running.devices.open()
    (asked,) = running.workers.connects
    assert asked.answer_by is not None
    within = timedelta(seconds=7)
    assert before + within <= asked.answer_by <= datetime.now(UTC) + within


async def test_a_wrong_secret_is_turned_away(running: Running) -> None:
    """A wrong secret ends with goodbye and 4401, and opens no presence."""
    device = await running.devices.connect()
    await device.send(hello(secret="w" * 43))
    code, goodbye = await device.closed()
    assert code == 4401
    assert goodbye is not None
    assert (goodbye["type"], goodbye["code"]) == ("goodbye", 4401)
    assert running.workers.left == []


async def test_workers_that_do_not_answer_send_the_device_away_for_now(start: Start) -> None:
    """Nobody can say whether the secret is right: try later, not "wrong secret"."""
    running = await start(request_within=0.1)
    running.workers.replies["client.connected"] = lambda message: None
    device = await running.devices.connect()
    await device.send(hello())
    assert (await device.closed())[0] == 1013


async def test_a_refusal_that_no_device_can_mend_is_logged_once(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that workers do not take for one sends every device away: its log says why, and
    what to set, but not once for each device.
    """
    running.workers.replies["client.connected"] = lambda message: refusal("gateway_unknown")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            device = await running.devices.connect()
            await device.send(hello())
            assert (await device.closed())[0] == 1013
    (line,) = [record for record in caplog.records if "session_refused" in record.getMessage()]
    assert vars(line)["code"] == "gateway_unknown"


async def test_requests_carry_the_proved_client(running: Running) -> None:
    """A request is forwarded with the session's client, and its answer is returned."""
    device = await running.devices.open()
    answer = await device.ask("channel.activate", version=1, sequence=4, offers=[])
    body = {"version": 1, "sequence": 4, "offers": [], "client": CLIENT}
    assert answer == {"type": "answer", "id": 5, "name": "echoed.v1", "body": body}
    (asked,) = running.workers.requests_named("channel.activate")
    assert asked.headers == {"aoi-client": CLIENT}
    assert asked.user_id == "aoi-gateway"
    assert values(asked) == body


async def test_an_unregistered_device_registers_and_says_hello(running: Running) -> None:
    """One connection is enough for registration and the session after it."""
    device = await running.devices.connect()
    answer = await device.ask("client.register", version=1, device="d", identity="tel:+1")
    assert answer["name"] == "echoed.v1"
    (asked,) = running.workers.requests_named("client.register")
    assert asked.headers == {}
    assert (await device.welcome())["client"] == CLIENT


async def test_a_request_that_nobody_answers_is_answered_unavailable(start: Start) -> None:
    """A request without an answer is refused in time, and the session continues."""
    running = await start(request_within=3)
    running.workers.replies["channel.activate"] = lambda message: None
    device = await running.devices.open()
    answer = await device.ask("channel.activate")
    assert (answer["name"], answer["body"]["code"]) == ("refused.v1", "unavailable")
    assert (await device.ask("channel.confirm"))["name"] == "echoed.v1"


async def test_a_delivery_is_acknowledged_to_the_outcome_worker(running: Running) -> None:
    """Notification, acknowledgement, outcome: with step, attempt and channel."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session, attempt=3))
    frame = await device.receive("notification")
    assert (frame["delivery"], frame["attempt"]) == (delivery_id(1), 3)
    await device.send(ack(1, attempt=3))
    (outcome,) = await running.workers.outcome()
    assert outcome.kind is OutcomeKind.ACKNOWLEDGED
    assert (outcome.client, outcome.channel) == (CLIENT, "websocket")
    assert (outcome.step, outcome.attempt) == (0, 3)


async def test_a_thousand_deliveries_over_two_devices(running: Running) -> None:
    """Each device gets its own, in order, and every acknowledgement is reported once."""
    devices = [await running.devices.open(client) for client in (CLIENT, OTHER_CLIENT)]
    sessions = [request.session for request in running.workers.connects]
    items = [
        deliver(
            number,
            client=(CLIENT, OTHER_CLIENT)[number % 2],
            session=sessions[number % 2],
            epoch=number % 2 + 1,
        )
        for number in range(1_000)
    ]
    for first in range(0, 1_000, 50):
        await running.workers.send(running.node, *items[first : first + 50])
        for number in range(first, first + 50):
            frame = await devices[number % 2].receive("notification")
            assert frame["delivery"] == delivery_id(number)
            await devices[number % 2].send(ack(number))
    outcomes = await running.workers.outcome(1_000)
    assert {outcome.delivery for outcome in outcomes} == {item.delivery for item in items}
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACKNOWLEDGED}
    assert len(outcomes) == 1_000


async def test_what_nobody_can_take_is_route_lost_at_once(running: Running) -> None:
    """An unknown session, and an earlier epoch of a known one, are reported with their epoch."""
    await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(
        running.node,
        deliver(1, session="f" * 16, epoch=8),
        deliver(2, session=session, epoch=0),
    )
    outcomes = await running.workers.outcome(2)
    assert [(each.kind, each.delivery, each.epoch) for each in outcomes] == [
        (OutcomeKind.ROUTE_LOST, delivery_id(1), 8),
        (OutcomeKind.ROUTE_LOST, delivery_id(2), 0),
    ]


@pytest.mark.parametrize("code", [4409, 4410])
async def test_workers_end_a_session(running: Running, code: int) -> None:
    """A replaced or retired session gets its close code, and its presence is not ended again."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    item = CloseItem(client=CLIENT, session=session, epoch=1, code=code, message="because")
    await running.workers.send(running.node, item)
    assert await device.closed() == (
        code,
        {"type": "goodbye", "code": code, "message": "because"},
    )
    await running.drained()
    assert running.workers.left == []


async def test_a_close_for_another_client_ends_nothing(running: Running) -> None:
    """The session's client must be the one that is meant."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    item = CloseItem(client=OTHER_CLIENT, session=session, epoch=1, code=4409, message="no")
    await running.workers.send(running.node, item)
    assert (await device.ask("channel.activate"))["name"] == "echoed.v1"


async def test_a_device_that_leaves_is_absent(running: Running) -> None:
    """A closed connection ends the presence, and deliveries in flight are route lost."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    await running.workers.send(running.node, deliver(1, session=session))
    await device.receive("notification")
    await device.web.close()
    (outcome,) = await running.workers.outcome()
    assert (outcome.kind, outcome.attempt, outcome.epoch) == (OutcomeKind.ROUTE_LOST, 1, 1)
    await running.workers.until(lambda: running.workers.left == [(CLIENT, 1)])
    assert (await running.gateway.health()).connections == 0


async def test_messages_that_nobody_can_read_stop_nothing(running: Running) -> None:
    """Octets, unknown items and wrong ones are skipped; the good item beside them is delivered."""
    device = await running.devices.open()
    session = running.workers.connects[0].session
    good = deliver(1, session=session).encode().decode()
    for body in (b"\xff\xfe", b"[]", b'{"items":7}', b'{"version":2,"items":[]}'):
        await running.workers.send_raw(running.node, body)
    mixed = f'{{"version":1,"items":[{{"kind":"later"}},7,{good},{{"kind":"close"}}]}}'
    await running.workers.send_raw(running.node, mixed.encode())
    assert (await device.receive("notification"))["delivery"] == delivery_id(1)


async def test_logs_have_ids_and_no_secrets(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Log lines about a session name the client, and contain neither secret nor content."""
    caplog.set_level(logging.DEBUG)
    device = await running.devices.open()
    session = running.workers.connects[0].session
    item = deliver(1, session=session, content=Content.of("private words"))
    await running.workers.send(running.node, item)
    await device.receive("notification")
    running.workers.replies["channel.confirm"] = lambda message: refusal("challenge_wrong")
    await device.ask("channel.confirm", code="CODE1234")
    await device.send(hello())
    assert (await device.closed())[0] == 4400
    await running.drained()
    told = repr([vars(record) for record in caplog.records])
    assert CLIENT in told
    for hidden in (SECRET, item.token, "private words", "CODE1234"):
        assert hidden not in told


async def test_silent_workers_are_logged_without_secrets(
    start: Start, server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When nobody answers what devices ask, or the broker is gone, the log names the request, and
    nothing of what it carries: whatever a device or a browser sent.
    """
    caplog.set_level(logging.DEBUG)
    running = await start(request_within=2)
    silent = ("client.register", "channel.confirm", "application.register")
    for name in silent:
        running.workers.replies[name] = lambda message: None
    device = await running.devices.connect()
    previous = {"client": CLIENT, "secret": "p" * 43}
    given = {"device": "d", "identity": "tel:+15550100", "secret_hash": "5ec7e7" * 10 + "0000"}
    hidden = [SECRET, UAID, "p" * 43, "+15550100", "5ec7e7", "CODE1234", "private-app"]
    await device.ask("client.register", **given, previous=previous, assertion="private-app")
    await device.welcome()
    await device.ask("channel.confirm", channel="sms", code="CODE1234")
    await device.ask("application.register", application="private-app", sequence=1)
    server.stop()
    await device.ask("channel.confirm", channel="sms", code="CODE1234")
    hellos = {SUBPROTOCOL: hello(OTHER_CLIENT), WEBPUSH_SUBPROTOCOL: hello_of_browser()}
    for protocol, frame in hellos.items():
        late = await running.devices.connect(protocols=(protocol,))
        await late.send(frame)
        await late.closed()
    # Nor do frames that cannot be read.
    for protocol in hellos:
        wrong = await running.devices.connect(protocols=(protocol,))
        await wrong.send({"type": "hello", "secret": SECRET, "uaid": UAID, "code": ["CODE1234"]})
        await wrong.closed()
    server.start()
    told = caplog.text + repr([vars(record) for record in caplog.records])
    requests = {vars(record).get("request") for record in caplog.records}
    assert {*silent, "client.connected"} <= requests
    assert [each for each in hidden if each in told] == []
