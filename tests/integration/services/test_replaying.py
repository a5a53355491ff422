"""A parked request that comes again is handled as its sender's (``aoi dead replay``)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from aoi_events.contracts.requests import CLIENT_HEADER
from aoi_events.contracts.senders import SENDER_HEADER
from aoi_events.domain.parked import ParkedMessage
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound, Outbound
from aoi_events.services.messages.quarantine import REPLAYED_HEADER, to_quarantine, to_replay
from aoi_events.services.runtime.parking import Parked, Parking, replay
from aoi_events.topology import (
    DEAD,
    NOTIFICATION,
    REGISTRATION,
    REQUESTS,
    quarantine_of,
)
from tests.integration.services.conftest import OpenSystem
from tests.support.limits import WITHIN
from tests.support.system import GATEWAY, WORKERS, System

KEY = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
"""A point of P-256."""
HELLO = {"data": "hello"}
SENDERS = [
    ("shop", None, "shop"),
    ("aoi-endpoint", "key:shop", "key:shop"),
    ("aoi-endpoint", f"vapid:{KEY}", f"vapid:{KEY}"),
    ("aoi-endpoint", "webpush", "webpush"),
]
"""The broker user, for whom it speaks, and so the sender."""


def request(name: str, user: str, headers: dict[str, object], **body: Any) -> Inbound:
    """A valid request as a worker took it."""
    return Inbound(
        json.dumps({"version": 1} | body).encode(),
        name,
        REQUESTS,
        message_id="m1",
        correlation_id="c1",
        reply_to=f"aoi.reply.{user}.answers",
        user_id=user,
        headers=headers,
    )


async def park_at_once(system: System, queue: str, message: Inbound) -> ParkedMessage:
    """Set the message aside, as a worker that could not handle it does."""
    parking = Parking(system.installation.store, system.clock, quota=10)
    assert await parking.park(queue, [Parked(message, "internal", "a bug")]) == 1
    (row,) = await system.parked()
    return row


async def park_as_it_died(system: System, queue: str, message: Inbound) -> ParkedMessage:
    """The message ended worker after worker, in quarantine too, and was dead-lettered."""
    moved = to_quarantine(message, quarantine_of(queue))
    broker = await system.connect("aoi")
    died = {**moved.headers, "x-first-death-queue": quarantine_of(queue)}
    await broker.publish([Outbound("", DEAD, moved.body, headers=died)])
    await broker.close()
    (row,) = await system.until(system.parked, bool)
    return row


async def again(system: System, row: ParkedMessage) -> None:
    """Send it again."""
    broker = await system.connect("aoi")
    done = await replay(system.installation.store, broker, [row.id], within=WITHIN)
    assert done.done == (row.id,)
    await broker.close()


@pytest.mark.parametrize("park", [park_at_once, park_as_it_died])
@pytest.mark.parametrize("user, speaks_for, sender", SENDERS)
async def test_it_is_sent_by_who_sent_it_first(
    system: System, park: Any, user: str, speaks_for: str | None, sender: str
) -> None:
    """The validated sender stays with a request that is parked and replayed, and so does its
    authority: a token that is bound to a VAPID key takes it of that key only. The notification has
    the ID that its sender chose.
    """
    device = await system.device(apps=("free",))
    await device.register_app("bound", sender_key=KEY)
    headers: dict[str, object] = {} if speaks_for is None else {SENDER_HEADER: speaks_for}
    tokens = [device.tokens["free"], device.tokens["bound"]]
    message = request(
        "notification.send", user, headers, notification="n1", tokens=tokens, content={"data": "x"}
    )
    row = await park(system, NOTIFICATION, message)
    assert row.sender == user
    await again(system, row)
    await system.events.wait_for("notification.accepted", notification="n1")
    apps = {delivery.application for delivery in await system.rows("n1", sender=sender)}
    assert apps == ({"free", "bound"} if sender == f"vapid:{KEY}" else {"free"})
    assert await system.parked() == []


@pytest.mark.parametrize("park", [park_at_once, park_as_it_died])
async def test_it_is_asked_in_the_session_that_asked_first(system: System, park: Any) -> None:
    """What a device asked in its session, without its secret, is granted when it comes again: for
    that client, which the gateway named.
    """
    device = await system.client()
    message = request(
        "application.register",
        GATEWAY,
        {CLIENT_HEADER: device.client},
        client=device.client,
        application="org.mail",
        sequence=1,
    )
    await again(system, await park(system, REGISTRATION, message))
    await system.events.wait_for("application.registered", client=device.client)
    assert await system.parked() == []


async def test_one_that_fails_again_stays_parked(open_system: OpenSystem) -> None:
    """A replay that fails again stays parked under its ID with its sender, though the sender's
    quota is used up, and the result names the reason.
    """
    system = await open_system(policy={"parked_per_sender": 1})
    shop = await system.user()
    await shop.ask_bytes("notification.send", b"first")
    (row,) = await system.parked()
    store, broker = system.installation.store, await system.connect("aoi")
    for _ in range(2):
        system.clock.advance(1)
        done = await replay(store, broker, [row.id], within=WITHIN)
        assert (done.done, list(done.kept)) == ((), [row.id])
        assert done.kept[row.id].startswith("it failed again: malformed: ")
    (again,) = await system.parked()
    assert replace(again, parked_at=row.parked_at) == row
    await broker.close()


async def test_one_that_no_worker_takes_stays_parked(open_system: OpenSystem) -> None:
    """A replay reports success only when a worker handled it: before that the message is parked,
    afterwards it is not.
    """
    system = await open_system(workers=[name for name in WORKERS if name != "notification"])
    device = await system.device(apps=("free",))
    message = request(
        "notification.send", "shop", {}, notification="n1", tokens=[device.token], content=HELLO
    )
    row = await park_at_once(system, NOTIFICATION, message)
    store, broker = system.installation.store, await system.connect("aoi")
    done = await replay(store, broker, [row.id], within=0.0)
    assert done.done == ()
    assert "aoi.notification" in done.kept[row.id]
    assert await system.parked() == [row]
    await system.serve("notification")
    await system.events.wait_for("notification.accepted", notification="n1")
    assert await system.until(system.parked, lambda rows: not rows) == []
    await broker.close()


async def test_one_that_dies_again_is_parked_once(open_system: OpenSystem) -> None:
    """A replay that ends its workers in the quarantine, too, is parked in the place of the first
    message.
    """
    system = await open_system(workers=[name for name in WORKERS if name != "notification"])
    message = request("notification.send", "shop", {}, notification="n1", tokens=["x"])
    row = await park_at_once(system, NOTIFICATION, message)
    moved = to_replay(row)
    died = {**moved.headers, "x-first-death-queue": quarantine_of(NOTIFICATION)}
    broker = await system.connect("aoi")
    await broker.publish([Outbound("", DEAD, moved.body, headers=died)])
    rows = await system.until(system.parked, lambda rows: rows != [row])
    assert [(each.id, each.sender, each.reason) for each in rows] == [
        (row.id, "shop", "delivered too often without success")
    ]
    await broker.close()


async def test_a_dead_letter_of_a_sender_is_no_replay(system: System) -> None:
    """A sender's message that is marked as the replay of a parked one and becomes a dead letter is
    parked beside it and not in its place.
    """
    shop, eve = await system.user("shop"), await system.user("eve")
    await shop.ask_bytes("notification.send", b"first")
    before = await system.parked()
    died = {REPLAYED_HEADER: before[0].id, "x-first-death-queue": quarantine_of(NOTIFICATION)}
    await eve.broker.publish([Outbound("", DEAD, b"second", headers=died)])
    rows = await system.until(system.parked, lambda rows: rows != before)
    assert [row for row in rows if row.sender == "shop"] == before
    assert [row.body for row in rows if row.sender == "eve"] == [b"second"]


async def test_nothing_is_forgotten_that_the_broker_does_not_have(system: System) -> None:
    """Promise: a parked message never vanishes: it stays parked when its replay cannot be
    published.
    """
    shop = await system.user()
    await shop.ask_bytes("notification.send", b"nonsense")
    before = await system.parked()
    broker = await system.connect("aoi")
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await replay(system.installation.store, broker, [before[0].id], within=WITHIN)
    assert await system.parked() == before


async def test_messages_without_an_id_are_told_apart_by_who_asked_what(system: System) -> None:
    """Promise: bad input never vanishes: senders need not set a message ID, and the same octets of
    another sender, or under another routing key, are another message.
    """
    parking = Parking(system.installation.store, system.clock, quota=10)
    one = replace(request("notification.send", "shop", {}), message_id=None)
    others = [
        replace(one, user_id="bank"),
        replace(one, routing_key="notification.cancel"),
        replace(one, user_id=GATEWAY, headers={CLIENT_HEADER: "cli_a"}),
        replace(one, user_id=GATEWAY, headers={CLIENT_HEADER: "cli_b"}),
        replace(one, user_id="aoi-endpoint", headers={SENDER_HEADER: "key:shop"}),
        replace(one, user_id="aoi-endpoint", headers={SENDER_HEADER: "key:bank"}),
    ]
    for message in (one, *others):
        for stored in (1, 0):
            assert await parking.park(NOTIFICATION, [Parked(message, "internal", "")]) == stored
    assert len(await system.parked()) == 1 + len(others)


async def test_two_messages_of_one_id_are_two(system: System) -> None:
    """Senders choose message IDs: with the ID of another one a message is parked beside that, in
    whichever queue it was; the same one again changes nothing.
    """
    parking = Parking(system.installation.store, system.clock, quota=10)
    one = request("notification.send", "shop", {}, notification="n1")
    other = request("notification.send", "shop", {}, notification="n2")
    for queue, message in ((NOTIFICATION, one), (NOTIFICATION, other), (REGISTRATION, one)):
        for stored in (1, 0):
            assert await parking.park(queue, [Parked(message, "internal", "a bug")]) == stored
    assert len(await system.parked()) == 3
