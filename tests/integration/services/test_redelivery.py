"""Never lost, harmless twice: workers that die between commit and publish."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker
from aoi_events.contracts.answers import ANSWERS, AnyAnswer, RefusedV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.errors import BrokerUnavailable
from aoi_events.ports.broker import Inbound, Outbound, Published, Subscription
from aoi_events.services.activation.handler import ActivationHandler
from aoi_events.services.channel.handler import ProviderHandler
from aoi_events.services.channel.submissions import Submissions
from aoi_events.services.messages.quarantine import to_quarantine, unwrap
from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.outcome.handler import OutcomeHandler
from aoi_events.services.registration.handler import RegistrationHandler
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import replay
from aoi_events.topology import (
    NOTIFICATION,
    QUARANTINE_DELIVERY_LIMIT,
    REGISTRATION,
    WORKER_DELIVERY_LIMIT,
    Queue,
    QueueKind,
    delivery_queue,
    worker_queue,
)
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import User, secret_and_hash
from tests.support.failed_deliveries import fail_deliveries
from tests.support.limits import WITHIN
from tests.support.system import WORKERS, System


def handler(system: System, name: str) -> Handler[Any]:
    """A handler of its own, as another process has it."""
    found = system.installation
    given = (found.store, found.services, system.clock)
    match name:
        case "registration":
            return RegistrationHandler(*given)
        case "activation":
            return ActivationHandler(*given)
        case "notification":
            return NotificationHandler(*given, system.dice)
        case _:
            return OutcomeHandler(*given, system.dice)


async def die_after_commit(system: System, name: str) -> None:
    """A worker takes one message, commits, and dies before it publishes anything."""
    broker = await system.connect("aoi")
    doomed = handler(system, name)
    subscription = await broker.subscribe(worker_queue(doomed.queue)[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await subscription.take(1)
    await doomed.handle([doomed.read(message)])
    await broker.close()


class Replies:
    """A reply queue of a user's own, for answers to requests that outlive a worker."""

    def __init__(self, user: User, subscription: Subscription, queue: str) -> None:
        self.user = user
        self.queue = queue
        self._subscription = subscription

    @classmethod
    async def of(cls, user: User) -> Replies:
        """A new one."""
        name = f"aoi.reply.{user.broker.user}.replies"
        return cls(
            user, await user.broker.subscribe(Queue(name, QueueKind.EXCLUSIVE), prefetch=9), name
        )

    async def ask(self, routing_key: str, **body: Any) -> None:
        """Publish a request; its answer comes here."""
        await self.user.tell(routing_key, reply_to=self.queue, **body)

    async def next(self) -> AnyAnswer:
        """The next answer."""
        async with asyncio.timeout(WITHIN):
            (message,) = await self._subscription.take(1)
        await self._subscription.ack([message])
        return ANSWERS[message.type or ""].decode(message.body)


async def system_without(open_system: OpenSystem, *names: str) -> System:
    """An installation in which these workers do not run yet."""
    return await open_system(workers=[name for name in WORKERS if name not in names])


@BOTH
async def test_a_registration_is_answered_by_the_next_run(open_system: OpenSystem) -> None:
    """Promise: a crash between commit and publish costs a repeat, not a loss: the same answer and
    events, and nothing is changed twice.
    """
    system = await system_without(open_system, "registration")
    replies = await Replies.of(await system.user("devices"))
    _, hashed = secret_and_hash()
    body = {"device": "d", "identity": "i", "secret_hash": hashed}
    await replies.ask("client.register", **body)
    await die_after_commit(system, "registration")
    assert system.events.seen == []
    await system.serve("registration")
    answer = await replies.next()
    client = getattr(answer, "client", None)
    await system.events.wait_for("client.registered", client=client)
    await replies.ask("client.register", **body)
    assert await replies.next() == answer


@BOTH
async def test_a_notification_goes_out_with_the_next_run(open_system: OpenSystem) -> None:
    """Promise: outputs are a function of message and rows: the first steps and the events of an
    accepted notification are published again, and the device sees it once.
    """
    system = await system_without(open_system, "notification")
    replies = await Replies.of(await system.user())
    near, far = await system.device("scripted:a1"), await system.device()
    content = {"data": "x"}
    tokens = [near.token, far.token]
    await replies.ask("notification.send", notification="n1", tokens=tokens, content=content)
    await die_after_commit(system, "notification")
    assert system.provider.taken == []
    before = await system.rows("n1")
    await system.serve("notification")
    await system.provider.next_delivery()
    await system.events.wait_for("notification.accepted", notification="n1")
    await system.events.wait_for("notification.stored", notification="n1")
    assert len(getattr(await replies.next(), "deliveries", ())) == 2
    assert [row.attempts for row in await system.rows("n1")] == [row.attempts for row in before]


@BOTH
async def test_an_outcome_is_merged_once_and_told_again(open_system: OpenSystem) -> None:
    """Promise: duplicates of outcomes change nothing; what they imply is published again."""
    system = await system_without(open_system, "outcome")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.acknowledge(await node.next_delivery())
    await die_after_commit(system, "outcome")
    before = await system.rows("n1")
    assert before[0].state == "delivered"
    system.clock.advance(1)
    await system.serve("outcome")
    await system.events.wait_for("notification.delivered", notification="n1")
    assert await system.rows("n1") == before


async def test_a_refusal_survives_its_worker(open_system: OpenSystem) -> None:
    """Promise: the next step that an outcome led to is started by the run after the crash."""
    system = await system_without(open_system, "outcome")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    welcome = await node.connect(device)
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    await node.report(item, OutcomeKind.ROUTE_LOST, epoch=welcome.epoch)
    await die_after_commit(system, "outcome")
    await system.serve("outcome")
    assert (await system.provider.next_delivery()).attempt == 2


async def test_what_was_submitted_is_told_again_and_not_submitted_again(
    open_system: OpenSystem,
) -> None:
    """A step is submitted once; when only its outcome could not be published, the next run submits
    nothing, nor does a copy of the worker; its outcome is published once.
    """
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    broker = await system.connect("aoi")
    source = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=1)
    async with asyncio.timeout(WITHIN):
        (message,) = await source.take(1)
    channel = await system.plugin.connect(None)
    found = system.installation
    given = ("scripted", channel, found.store, broker, system.clock)
    one, copy = Submissions(*given), Submissions(*given)
    for submissions in (one, one, copy):
        handler = ProviderHandler("scripted", submissions, found.store, system.clock)
        assert await handler.handle([handler.read(message)]) == []
        await submissions.drain()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    assert len(system.provider.taken) == 1
    await broker.close()


async def test_an_outcome_waits_for_the_broker(open_system: OpenSystem) -> None:
    """A step was submitted and the broker is unavailable: its outcome is published when the broker
    is back, though its message was acknowledged; a worker that must stop meanwhile leaves it to the
    deadline.
    """
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    for name in ("n1", "n2"):
        await shop.send(name, device.token)
    broker = await system.connect("aoi")
    source = await broker.subscribe(worker_queue(delivery_queue("scripted"))[0], prefetch=2)
    messages: list[Inbound] = []
    async with asyncio.timeout(WITHIN):
        while len(messages) < 2:
            messages += await source.take(1)
    found = system.installation
    assert isinstance(broker, MemoryBroker)
    away = _Away(broker.server, user="aoi")
    channel = await system.plugin.connect(None)
    one = Submissions("scripted", channel, found.store, away, system.clock)
    handler = ProviderHandler("scripted", one, found.store, system.clock)
    await handler.handle([handler.read(messages[0])])
    await system.clock.somebody_sleeps()
    away.back = True
    system.clock.advance(1)
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    away.back = False
    await handler.handle([handler.read(messages[1])])
    async with asyncio.timeout(WITHIN):
        await one.drain()
    assert len(system.provider.taken) == 2
    assert await shop.story("n2") == ["sent"]
    await away.close()
    await broker.close()


class _Away(MemoryBroker):
    """A connection over which nothing goes out while it is away."""

    back = False

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """As the one below, once it is back."""
        if not self.back:
            raise BrokerUnavailable("the test took it away")
        return await super().publish(messages)


async def test_an_activation_is_answered_by_the_next_run(open_system: OpenSystem) -> None:
    """Promise: the answer, the events and the challenge of an activation come with the repeat."""
    system = await open_system(
        plugin={"needs_proof": True}, workers=[w for w in WORKERS if w != "activation"]
    )
    device = await system.device()
    replies = await Replies.of(device.user)
    offers = [{"type": "scripted", "parameters": {"address": "a1"}}, {"type": "websocket"}]
    await replies.ask("channel.activate", **device.proof, sequence=1, offers=offers)
    await die_after_commit(system, "activation")
    await system.serve("activation")
    answer = await replies.next()
    assert len(getattr(answer, "selected", ())) == 2
    await system.events.wait_for("channel.pending", client=device.client)
    await system.provider.next_challenge()
    assert len(system.provider.challenges) == 1


@BOTH
async def test_a_session_that_was_taken_over_is_closed_by_the_next_run(
    open_system: OpenSystem,
) -> None:
    """Promise: a worker dies after it noted the newer session: the run after it closes the older
    one, and so does any repeat, also when the newer one has gone meanwhile.
    """
    system = await open_system()
    node, device = await system.node(), await system.device()
    replies = await Replies.of(node.user)
    await node.connect(device, "s1")
    given = {"client": device.client, "secret": device.secret, "node": node.name}
    await replies.ask("client.connected", **given, session="s2")
    first = await replies.next()
    assert (await node.next_close()).session == "s1"
    await replies.ask("client.connected", **given, session="s2")
    assert await replies.next() == first
    assert (await node.next_close()).session == "s1"
    await node.disconnect(device, getattr(first, "epoch", 0))
    await replies.ask("client.connected", **given, session="s2")
    await replies.next()
    assert (await node.next_close()).session == "s1"
    await node.disconnect(device, getattr(first, "epoch", 0) + 1)
    await node.connect(device, "s3")
    assert node.items.empty(), "nothing was taken over"


async def test_quarantine_tells_everything_again(open_system: OpenSystem) -> None:
    """A message that was committed by workers that died is, in quarantine, published again like any
    repeat, though it is new there.
    """
    system = await system_without(open_system, "notification")
    replies = await Replies.of(await system.user())
    device = await system.device("scripted:a1")
    await replies.ask(
        "notification.send", notification="n1", tokens=[device.token], content={"data": "x"}
    )
    for _ in range(2):
        await die_after_commit(system, "notification")
    await system.serve("notification")
    await system.provider.next_delivery()
    assert getattr(await replies.next(), "notification", None) == "n1"


@BOTH
@pytest.mark.parametrize("quarantined", [False, True])
async def test_a_dead_letter_is_parked_answered_and_replayed(
    open_system: OpenSystem, *, quarantined: bool
) -> None:
    """Past the delivery limit it arrives in ``aoi.dead`` and is parked under the queue it died in;
    its sender gets an answer; a replay goes through quarantine, from the same sender, with the same
    business IDs, and the parked row is deleted.
    """
    system = await system_without(open_system, "notification")
    shop = await system.user()
    replies = await Replies.of(shop)
    device = await system.device("scripted:a1")
    body = {"notification": "n1", "tokens": [device.token], "content": {"data": "x"}}
    await replies.ask("notification.send", **body)
    main, quarantine = worker_queue(NOTIFICATION)
    broker = await system.connect("aoi")
    limit, queue = WORKER_DELIVERY_LIMIT, main
    if quarantined:
        source = await broker.subscribe(main, prefetch=1)
        (message,) = await source.take(1)
        await broker.publish([to_quarantine(message, quarantine.name)])
        await source.ack([message])
        await source.stop()
        limit, queue = QUARANTINE_DELIVERY_LIMIT, quarantine
    await broker.close()
    await fail_deliveries(partial(system.connect, "aoi"), queue, limit + 1)

    refused = await replies.next()
    assert isinstance(refused, RefusedV1)
    assert refused.code == "internal"
    (parked,) = await system.parked()
    assert (parked.queue, parked.sender) == (NOTIFICATION, "shop")
    assert parked.routing_key == "notification.send"

    found = system.installation
    await system.serve("notification")
    done = await replay(found.store, found.broker, [parked.id, "prk_unknown"], within=WITHIN)
    assert (done.done, list(done.kept)) == ((parked.id,), ["prk_unknown"])
    item = await system.provider.next_delivery()
    assert item.notification == "n1"
    (delivery,) = await shop.status("n1")
    assert delivery.delivery == item.delivery
    assert await system.parked() == []


async def test_a_dead_envelope_fails_its_steps(open_system: OpenSystem) -> None:
    """A parked step fails that step only; the delivery goes on."""
    system = await system_without(open_system, "scripted")
    shop = await system.user()
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    queue = worker_queue(delivery_queue("scripted"))[0]
    await fail_deliveries(partial(system.connect, "aoi"), queue, WORKER_DELIVERY_LIMIT + 1)
    stored = await system.events.wait_for("notification.stored", notification="n1")
    assert stored.data.reason == "parked"  # type: ignore[union-attr]


async def test_what_was_redacted_cannot_be_replayed(system: System) -> None:
    """Promise: what was redacted or truncated cannot be replayed, and says so; it stays parked."""
    device = await system.client()
    await device.refused("application.register", application="a b", sequence=1)
    (parked,) = await system.parked()
    found = system.installation
    done = await replay(found.store, found.broker, [parked.id], within=WITHIN)
    assert (done.done, done.kept) == ((), {parked.id: "a secret was redacted"})
    assert len(await system.parked()) == 1


async def test_a_replayed_session_request_keeps_its_session(open_system: OpenSystem) -> None:
    """What a gateway asked for a session is still that session's when it is replayed."""
    system = await system_without(open_system, "registration")
    node = await system.node()
    body = {"version": 1, "client": "cli_" + "a" * 26, "application": "x", "sequence": 1}
    headers = {"aoi-client": "cli_" + "a" * 26}
    request = Outbound(
        "aoi.requests",
        "application.register",
        json.dumps(body).encode(),
        reply_to="aoi.reply.aoi-gateway.none",
        headers=headers,
    )
    await node.user.broker.publish([request])
    broker = await system.connect("aoi")
    main, quarantine = worker_queue(REGISTRATION)
    await fail_deliveries(partial(system.connect, "aoi"), main, WORKER_DELIVERY_LIMIT + 1)
    (parked,) = await system.until(system.parked, lambda rows: len(rows) == 1)
    found = system.installation
    await replay(found.store, found.broker, [parked.id], within=0.0)
    held = await broker.subscribe(quarantine, prefetch=1)
    (message,) = await held.take(1)
    asked = handler(system, "registration").read(unwrap(message, {"aoi"}))
    assert (asked.sender, asked.session) == ("aoi-gateway", "cli_" + "a" * 26)
    await broker.close()
