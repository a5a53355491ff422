from __future__ import annotations

import asyncio

import pytest

from aoi_events.errors import PublishRefused
from aoi_events.ports.broker import Assurance, Broker, Outbound, Published
from aoi_events.topology import Binding, Exchange, ExchangeType, Queue
from tests.conformance.broker.conftest import ALICE, BOB, Installation
from tests.conformance.broker.messages import WORK, bodies, declare, send, take, to
from tests.support.limits import WITHIN

CONFIRMED, RETURNED, NACKED = Published.CONFIRMED, Published.RETURNED, Published.NACKED


async def test_every_message_has_a_result_in_order(broker: Broker) -> None:
    """Results stand in the order of the messages, whatever became of each."""
    await declare(broker, WORK)
    messages = [to("work", "a"), to("nowhere"), to("work", "b"), to("nowhere"), to("work", "c")]
    results = await broker.publish(messages)
    assert list(results) == [CONFIRMED, RETURNED, CONFIRMED, RETURNED, CONFIRMED]
    subscription = await broker.subscribe(WORK, prefetch=10)
    assert await bodies(subscription, 3) == ["a", "b", "c"]


async def test_publishing_nothing_is_nothing(broker: Broker) -> None:
    """An empty batch has an empty result."""
    assert list(await broker.publish([])) == []


async def test_not_mandatory_is_confirmed_without_a_queue(broker: Broker) -> None:
    """What nobody needs to take counts as published."""
    results = await broker.publish([Outbound("", "nowhere", b"", mandatory=False)])
    assert list(results) == [CONFIRMED]


async def test_what_was_published_arrives_as_it_was(broker: Broker) -> None:
    """Body, properties and headers cross the broker unchanged; the user is the validated one."""
    await declare(broker, WORK)
    await broker.publish(
        [
            Outbound(
                "",
                "work",
                bytes(range(256)),
                correlation_id="c-1",
                reply_to="aoi.reply.alice.x",
                content_type="application/x-test",
                type="aoi.Test",
                headers={"traceparent": "00-abc", "empty": ""},
            )
        ]
    )
    subscription = await broker.subscribe(WORK, prefetch=10)
    (message,) = await take(subscription, 1)
    assert message.body == bytes(range(256))
    assert (message.exchange, message.routing_key) == ("", "work")
    assert message.correlation_id == "c-1"
    assert message.reply_to == "aoi.reply.alice.x"
    assert message.content_type == "application/x-test"
    assert message.type == "aoi.Test"
    assert dict(message.headers) == {"traceparent": "00-abc", "empty": ""}
    assert message.user_id == ALICE
    assert (message.delivery_count, message.redelivered) == (0, False)


async def test_each_publish_has_a_message_id_of_its_own(installation: Installation) -> None:
    """Message IDs are unique over messages, batches and connections."""
    alice, bob = await installation.connect(ALICE), await installation.connect(BOB)
    await declare(alice, WORK)
    for sender in (alice, bob, alice, bob):
        await send(sender, "work", *"abcde")
    taken = await take(await alice.subscribe(WORK, prefetch=50), 20)
    assert len({message.message_id for message in taken}) == 20
    assert all(message.message_id for message in taken)
    assert {message.user_id for message in taken} == {ALICE, BOB}


async def test_the_same_message_twice_in_one_batch(broker: Broker) -> None:
    """Equal messages are told apart: each has its own result, and both arrive."""
    await declare(broker, WORK)
    results = await broker.publish([to("nowhere"), to("work", "x"), to("nowhere"), to("work", "x")])
    assert list(results) == [RETURNED, CONFIRMED, RETURNED, CONFIRMED]
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 2) == ["x", "x"]


async def test_alternate_exchange_takes_what_no_binding_takes(broker: Broker) -> None:
    """An unknown routing key is not returned but lands in the alternate exchange's queue."""
    known = Queue("known", bindings=(Binding("requests", "client.register"),))
    unknown = Queue("unknown", bindings=(Binding("rest"),))
    exchanges = (
        Exchange("rest", ExchangeType.FANOUT),
        Exchange("requests", ExchangeType.TOPIC, alternate="rest"),
    )
    await declare(broker, known, unknown, exchanges=exchanges)
    results = await broker.publish(
        [
            Outbound("requests", "client.register", b"known"),
            Outbound("requests", "client.exterminate", b"unknown"),
        ]
    )
    assert list(results) == [CONFIRMED, CONFIRMED]
    assert await bodies(await broker.subscribe(known, prefetch=5), 1) == ["known"]
    (message,) = await take(await broker.subscribe(unknown, prefetch=5), 1)
    assert (message.exchange, message.routing_key) == ("requests", "client.exterminate")


async def test_a_fanout_exchange_ignores_routing_keys(broker: Broker) -> None:
    """Every queue that is bound to a fanout exchange takes every message."""
    left = Queue("left", bindings=(Binding("all", "ignored"),))
    right = Queue("right", bindings=(Binding("all"),))
    await declare(broker, left, right, exchanges=[Exchange("all", ExchangeType.FANOUT)])
    assert list(await broker.publish([Outbound("all", "whatever", b"both")])) == [CONFIRMED]
    assert await bodies(await broker.subscribe(left, prefetch=5), 1) == ["both"]
    assert await bodies(await broker.subscribe(right, prefetch=5), 1) == ["both"]


async def test_two_bindings_of_one_queue_deliver_once(broker: Broker) -> None:
    """A message that two patterns of a queue take is in it once."""
    queue = Queue("work", bindings=(Binding("topics", "a.#"), Binding("topics", "*.b")))
    await declare(broker, queue, exchanges=[Exchange("topics")])
    await broker.publish([Outbound("topics", "a.b", b"once"), Outbound("topics", "a", b"next")])
    assert await bodies(await broker.subscribe(queue, prefetch=5), 2) == ["once", "next"]


async def test_a_substitute_goes_where_the_original_could_not(broker: Broker) -> None:
    """A returned message keeps its result, and its substitute is published and confirmed."""
    await declare(broker, WORK)
    lost = Outbound("", "gateway", b"original", if_returned=to("work", "route lost"))
    found = Outbound("", "work", b"original", if_returned=to("work", "never"))
    assert list(await broker.publish([lost, found])) == [RETURNED, CONFIRMED]
    taken = await bodies(await broker.subscribe(WORK, prefetch=5), 2)
    assert sorted(taken) == ["original", "route lost"]


async def test_a_substitute_that_nobody_takes_is_not_confirmed(broker: Broker) -> None:
    """Where neither was taken the result says so; a best-effort substitute may get lost."""
    lost = Outbound("", "gateway", b"", if_returned=to("nowhere"))
    meant = to("nowhere")
    careless = Outbound("", "nowhere", b"", assurance=Assurance.BEST_EFFORT)
    hopeful = Outbound("", "gateway", b"", if_returned=careless)
    assert list(await broker.publish([lost, meant, hopeful])) == [NACKED, RETURNED, RETURNED]


async def test_a_substitute_of_a_substitute(broker: Broker) -> None:
    """Substitutes can have substitutes; the last one that was taken counts."""
    await declare(broker, WORK)
    second = Outbound("", "nowhere", b"", if_returned=to("work", "third"))
    first = Outbound("", "gateway", b"", if_returned=second)
    assert list(await broker.publish([first])) == [RETURNED]
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 1) == ["third"]


async def test_a_full_queue_refuses_and_never_drops(broker: Broker) -> None:
    """Past its length a queue nacks, keeps all that it confirmed, and takes again when emptied."""
    full = Queue("full", max_length_bytes=10_000)
    await declare(broker, full)
    confirmed = 0
    async with asyncio.timeout(WITHIN):
        while (await broker.publish([to("full", bytes(1000))]))[0] is CONFIRMED:
            confirmed += 1
    assert confirmed >= 10
    subscription = await broker.subscribe(full, prefetch=1000)
    await subscription.ack(await take(subscription, confirmed))
    async with asyncio.timeout(WITHIN):
        while (await broker.publish([to("full", b"again")]))[0] is NACKED:
            # A quorum queue tells its publishers a moment later that there is room again.
            pass
    assert await bodies(subscription, 1) == ["again"]


async def test_an_unknown_exchange_is_refused_and_harms_nobody_after(broker: Broker) -> None:
    """A publish to an exchange that does not exist raises, and the next ones work."""
    await declare(broker, WORK)
    with pytest.raises(PublishRefused, match="nope"):
        await broker.publish([Outbound("nope", "x", b"")])
    await send(broker, "work", "after")
    assert await bodies(await broker.subscribe(WORK, prefetch=5), 1) == ["after"]


async def test_cancelled_publishes_do_not_poison_the_next(broker: Broker) -> None:
    """Publishes cancelled at any moment leave results and order of the next ones right."""
    await declare(broker, WORK, Queue("other"))
    for turns in range(8):
        mixed = [to("other", bytes(2000)), to("nowhere")] * 50
        cancelled = asyncio.ensure_future(broker.publish(mixed))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        results = await broker.publish([to("work", f"{turns}"), to("nowhere")])
        assert list(results) == [CONFIRMED, RETURNED]
        await asyncio.gather(cancelled, return_exceptions=True)
    subscription = await broker.subscribe(WORK, prefetch=20)
    assert await bodies(subscription, 8) == [f"{turns}" for turns in range(8)]


async def test_many_publishers_at_once(broker: Broker) -> None:
    """Batches in flight at the same time keep their results apart."""
    await declare(broker, WORK)

    async def one(number: int) -> None:
        batch = [to("work" if (number + each) % 3 else "nowhere", "x") for each in range(30)]
        expected = [CONFIRMED if message.routing_key == "work" else RETURNED for message in batch]
        assert list(await broker.publish(batch)) == expected

    await asyncio.gather(*(one(number) for number in range(30)))
    subscription = await broker.subscribe(WORK, prefetch=1000)
    assert len(await bodies(subscription, 600)) == 600


async def test_large_bodies_cross(broker: Broker) -> None:
    """Ten mebibytes arrive whole, beside small ones, and an empty body arrives empty."""
    await declare(broker, WORK)
    large = bytes(range(256)) * 40 * 1024
    assert (
        list(await broker.publish([to("work"), to("work", large), to("work", "end")]))
        == [CONFIRMED] * 3
    )
    taken = await take(await broker.subscribe(WORK, prefetch=5), 3)
    assert [len(message.body) for message in taken] == [0, len(large), 3]
    assert taken[1].body == large
