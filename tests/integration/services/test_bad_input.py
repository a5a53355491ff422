"""Bad input never stops a worker and never vanishes."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.base import MAX_BODY
from aoi_events.domain.parked import MAX_PARKED
from aoi_events.ports.broker import Outbound
from aoi_events.services.runtime.parking import replay
from aoi_events.topology import (
    DEAD,
    NOTIFICATION,
    OUTCOME,
    QUARANTINES,
    REQUESTS,
    Queue,
    QueueKind,
    delivery_queue,
    quarantine_of,
    worker_queue,
)
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import secret_and_hash
from tests.support.limits import WITHIN
from tests.support.system import System

SEND = {"version": 1, "notification": "n1", "tokens": ["k1.x"], "content": {"data": "x"}}

BAD = {
    "no JSON": (b"nonsense", "malformed"),
    "nothing": (b"", "malformed"),
    "no UTF-8": (b'{"version": 1, "notification": "\xff\xfe"}', "malformed"),
    "random octets": (bytes(range(256)), "malformed"),
    "deep nesting": (b"[" * 100_000, "malformed"),
    "no object": (b"[1]", "invalid"),
    "no version": (json.dumps(SEND | {"version": None}).encode(), "version_unsupported"),
    "another version": (json.dumps(SEND | {"version": 2}).encode(), "version_unsupported"),
    "an unknown field": (json.dumps(SEND | {"extra": 1}).encode(), "invalid"),
    "a wrong type": (json.dumps(SEND | {"ttl": "soon"}).encode(), "invalid"),
    "too large": (b" " * (MAX_BODY + 1), "too_large"),
}


@pytest.mark.parametrize("what", BAD)
async def test_it_is_answered_and_parked(system: System, what: str) -> None:
    """Promise: a clear error with a stable code goes to reply_to, the message is parked before the
    ack, bounded, and the worker goes on.
    """
    body, code = BAD[what]
    shop = await system.user()
    answer = await shop.ask_bytes("notification.send", body)
    assert isinstance(answer, RefusedV1)
    assert answer.code == code
    (parked,) = await system.parked()
    assert (parked.code, parked.sender, parked.queue) == (code, "shop", "aoi.notification")
    assert parked.body == body[:MAX_PARKED]
    assert parked.replayable == (len(body) <= MAX_PARKED)
    await system.device()


@BOTH
async def test_ten_megabytes_stop_nothing(system: System) -> None:
    """Point "Bad input": a body of 10 MB is refused, and stored only in part."""
    shop = await system.user()
    answer = await shop.ask_bytes("notification.send", b"x" * 10_000_000)
    assert isinstance(answer, RefusedV1)
    assert answer.code == "too_large"
    (parked,) = await system.parked()
    assert len(parked.body) == MAX_PARKED
    assert parked.obstacle == f"the body was cut at {MAX_PARKED} octets"


@BOTH
async def test_unknown_requests_are_answered(system: System) -> None:
    """A routing key that nothing binds is answered, too, and parked; so is one that a worker's
    pattern binds and no contract has. Any octets may stand in it.
    """
    shop = await system.user()
    for name in ("bogus.thing", "notification.explode", "client", "a.\x00.b", "ü.ß"):
        answer = await shop.ask(name)
        assert isinstance(answer, RefusedV1)
        assert answer.code == "unknown_request", name
    assert len(await system.parked()) == 5


async def test_each_unknown_request_of_a_batch_is_parked(system: System) -> None:
    """Of unknown requests that are handled together, none is lost, and none when it is replayed."""
    shop = await system.user()
    names = {f"bogus.{n}" for n in range(3)}
    await shop.broker.publish([Outbound(REQUESTS, name, b"x") for name in names])
    rows = await system.until(system.parked, lambda rows: len(rows) == 3)
    found = system.installation
    system.clock.advance(1)
    done = await replay(found.store, found.broker, [row.id for row in rows], within=WITHIN)
    assert done.done == ()
    assert {row.routing_key for row in await system.parked()} == names


async def test_secrets_are_redacted(system: System) -> None:
    """Promise: what is parked holds no client's secret; it then cannot be replayed, and says so."""
    device = await system.client()
    answer = await device.ask("application.register", application="a b", sequence=1)
    assert isinstance(answer, RefusedV1)
    assert device.secret not in answer.message
    (parked,) = await system.parked()
    assert device.secret.encode() not in parked.body
    assert (parked.replayable, parked.obstacle) == (False, "a secret was redacted")


async def test_what_is_parked_is_logged_without_secrets(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """Unreadable requests are parked and logged, and their secrets are in no log: wrong JSON, a
    wrong field, another version, a body that is too large, and an unknown key.
    """
    caplog.set_level(logging.DEBUG)
    device = await system.device()
    known = {"client": device.client, "secret": device.secret, "token": device.token}
    wrong = [
        ("application.register", json.dumps(known | {"version": 1, "more": "K3Y9AB"})[:-1]),
        ("application.register", json.dumps(known | {"version": 1, "more": "K3Y9AB"})),
        ("channel.confirm", json.dumps(known | {"version": 1, "code": ["K3Y9AB"]})),
        ("client.connected", json.dumps(known | {"version": 7})),
        ("notification.send", json.dumps(known | {"content": "K3Y9AB" * 100_000})),
        ("bogus.thing", json.dumps(known | {"code": "K3Y9AB"})),
    ]
    for name, body in wrong:
        assert isinstance(await device.user.ask_bytes(name, body.encode()), RefusedV1)
    told = caplog.text + repr([vars(record) for record in caplog.records])
    assert told.count("parked") >= len(wrong)
    assert [each for each in (device.secret, device.token, "K3Y9AB") if each in told] == []


async def test_a_quota_per_sender_bounds_it(open_system: OpenSystem) -> None:
    """Promise: over-quota messages are counted only, and answered all the same."""
    system = await open_system(policy={"parked_per_sender": 2})
    shop, bank = await system.user("shop"), await system.user("bank")
    for user in (shop, shop, shop, bank):
        await user.ask_bytes("notification.send", b"nonsense")
    assert sorted(row.sender for row in await system.parked()) == ["bank", "shop", "shop"]
    async with system.installation.store.transaction(read_only=True) as tx:
        counts = await tx.parked_counts()
    assert counts == {("shop", "malformed"): (2, 1), ("bank", "malformed"): (1, 0)}


@BOTH
async def test_answers_go_to_the_senders_own_queues_only(system: System) -> None:
    """A sender cannot write into any queue with our permissions: another reply_to is refused, not
    answered, and parked; an own reply queue is fine.
    """
    shop, watch = await system.user(), await system.user("eve")
    theirs = await watch.broker.subscribe(
        Queue("aoi.reply.eve.q", QueueKind.EXCLUSIVE), prefetch=10
    )
    own = await shop.broker.subscribe(Queue("aoi.reply.shop.q", QueueKind.EXCLUSIVE), prefetch=10)
    body = {"notification": "n1", "tokens": ["k1.x"], "content": {"data": "x"}}
    for queue in ("aoi.outcome", "aoi.reply.eve.q", "aoi.reply.shopkeeper.q", "aoi.dead"):
        await shop.tell("notification.send", reply_to=queue, **body)
    await shop.tell("notification.send", reply_to="aoi.reply.shop.q", **body)
    async with asyncio.timeout(WITHIN):
        (answer,) = await own.take(10)
    assert answer.type == "notification.accepted.v1"
    assert {row.code for row in await system.parked()} == {"reply_to_refused"}
    await shop.broker.publish([Outbound("", "aoi.reply.eve.q", b"last")])
    async with asyncio.timeout(WITHIN):
        assert [message.body for message in await theirs.take(10)] == [b"last"]


async def test_what_assigns_something_wants_to_answer(system: System) -> None:
    """Requests that assign something are refused without a usable reply_to, whatever header claims
    that no answer is needed.
    """
    shop = await system.user()
    _, hashed = secret_and_hash()
    body = {"device": "phone", "identity": "tel:+15550100", "secret_hash": hashed}
    await shop.tell("client.register", **body)
    octets = json.dumps({"version": 1} | body).encode()
    forged = {"aoi-replayed": "prk_x", "aoi-origin-user-id": "bank"}
    bare = Outbound(REQUESTS, "client.register", octets)
    await shop.broker.publish([bare, replace(bare, headers=forged)])
    rows = await system.until(system.parked, lambda rows: len(rows) == 3)
    assert {(row.code, row.sender) for row in rows} == {("reply_to_missing", "shop")}
    assert system.events.of("client.registered") == []


@BOTH
async def test_envelopes_that_nobody_can_read_stop_nothing(system: System) -> None:
    """The workers' own queues survive garbage as well."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    garbage = [b"", b"\xff", b"{}", b'{"items": [{"kind": "deliver"}]}', b"[" * 10_000]
    for queue in (OUTCOME, delivery_queue("scripted")):
        await shop.broker.publish([Outbound("", queue, body) for body in garbage])
    await shop.send("n1", device.token)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    rows = await system.until(system.parked, lambda rows: len(rows) == 10)
    assert {row.code for row in rows} == {"malformed"}


@BOTH
async def test_nobody_speaks_for_another_in_quarantine(system: System) -> None:
    """The sender is the user that the broker validated: a sender who can write to a quarantine, or
    to the dead letters, cannot act for another one; the message is parked under its own name.
    """
    shop, eve = await system.user("shop"), await system.user("eve")
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    forged = {"aoi-origin-user-id": "shop", "aoi-origin-routing-key": "notification.cancel"}
    body = json.dumps({"version": 1, "notification": "n1"}).encode()
    quarantine = worker_queue(NOTIFICATION)[1].name
    await eve.broker.publish(
        [
            Outbound("", quarantine, body, headers=forged),
            Outbound("", DEAD, body, headers=forged | {"x-first-death-queue": quarantine}),
        ]
    )
    rows = await system.until(system.parked, lambda rows: len(rows) == 2)
    assert {(row.code, row.sender) for row in rows} == {("not_allowed", "eve")}
    (delivery,) = await shop.status("n1")
    assert delivery.state == "sending"


async def test_an_operator_may_replay_as_a_user_of_its_own(open_system: OpenSystem) -> None:
    """A broker user of AOI_OPERATOR_USERS is believed who had sent what it replays."""
    system = await open_system(operator_users=["operator"])
    shop, operator = await system.user("shop"), await system.user("operator")
    await shop.ask_bytes("notification.send", b"nonsense")
    (first,) = await system.parked()
    system.clock.advance(1)
    done = await replay(system.installation.store, operator.broker, [first.id], within=WITHIN)
    assert (done.done, list(done.kept)) == ((), [first.id])
    assert "failed again: malformed" in done.kept[first.id]
    (again,) = await system.parked()
    assert replace(again, parked_at=first.parked_at) == first


async def test_a_replay_of_another_user_destroys_nothing(system: System) -> None:
    """A replay by a broker user that workers do not trust is refused: the message stays parked as
    it was, with its sender and its routing key, and the error names the setting.
    """
    shop, eve = await system.user("shop"), await system.user("eve")
    await shop.ask_bytes("notification.send", b"nonsense")
    before = await system.parked()
    (first,) = before
    for _ in range(2):
        done = await replay(system.installation.store, eve.broker, [first.id], within=0.0)
        assert done.done == ()
        assert "AOI_OPERATOR_USERS" in done.kept[first.id]
    # The quarantine is handled in order: behind these, another message of that user is parked.
    await eve.broker.publish([Outbound(QUARANTINES, quarantine_of(NOTIFICATION), b"junk")])
    rows = await system.until(system.parked, lambda rows: len(rows) > 1)
    assert [row for row in rows if row.sender == "shop"] == before
    assert [row.body for row in rows if row.sender == "eve"] == [b"junk"]
