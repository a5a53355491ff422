from __future__ import annotations

import asyncio

import pytest

from aoi_events.ports.broker import Broker, Inbound
from aoi_events.topology import Binding, Queue, QueueKind
from tests.conformance.broker.conftest import BOB, Installation
from tests.conformance.broker.messages import DEAD_EXCHANGE, WORK, bodies, declare, send, take
from tests.support.failed_deliveries import fail_deliveries
from tests.support.limits import WITHIN


async def test_take_returns_what_waits_in_order_up_to_the_limit(broker: Broker) -> None:
    """A batch is at most as large as asked for, and batches continue each other."""
    await declare(broker, WORK)
    await send(broker, "work", *"abcdefg")
    subscription = await broker.subscribe(WORK, prefetch=10)
    assert await bodies(subscription, 2) == ["a", "b"]
    assert len(await subscription.take(1)) == 1
    assert await bodies(subscription, 4) == ["d", "e", "f", "g"]


async def test_take_waits_for_the_first_message_only(broker: Broker) -> None:
    """With nothing there it waits; with one there it does not wait for more."""
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    taking = asyncio.create_task(bodies(subscription, 1))
    await send(broker, "work", "a")
    assert await taking == ["a"]


@pytest.mark.parametrize("limit", [0, -1])
async def test_take_refuses_a_limit_below_one(broker: Broker, limit: int) -> None:
    """A limit that could never return anything is a bug of the caller."""
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    with pytest.raises(ValueError, match="limit"):
        await subscription.take(limit)


async def test_a_cancelled_take_loses_nothing(broker: Broker) -> None:
    """What arrives while nobody waits any more is there for the next take."""
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    taken: list[Inbound] = []
    for each in "abcdef":
        taking = asyncio.create_task(subscription.take(5))
        await asyncio.sleep(0)
        sending = asyncio.create_task(send(broker, "work", each))
        await asyncio.sleep(0)
        taking.cancel()
        await sending
        (outcome,) = await asyncio.gather(taking, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            taken += outcome
    taken += await take(subscription, 6 - len(taken))
    assert [message.body for message in taken] == [b"%c" % each for each in b"abcdef"]


async def test_prefetch_bounds_what_one_consumer_holds(installation: Installation) -> None:
    """A consumer with a prefetch of two leaves the rest to others until it settles."""
    one, other = await installation.connect(), await installation.connect(BOB)
    await declare(one, WORK)
    slow = await one.subscribe(WORK, prefetch=2)
    await send(one, "work", *"abcdef")
    held = await take(slow, 2)
    fast = await other.subscribe(WORK, prefetch=4)
    assert [each.body for each in await take(fast, 4)] == [b"c", b"d", b"e", b"f"]
    # Nobody may have one more, until one of them has settled one.
    await send(one, "work", "g")
    await slow.ack(held[:1])
    assert await bodies(slow, 1) == ["g"]


async def test_acknowledged_messages_never_come_again(installation: Installation) -> None:
    """What was settled before a connection closed is gone, the rest comes to the next consumer."""
    first = await installation.connect()
    await declare(first, WORK)
    await send(first, "work", *"abcdefgh")
    subscription = await first.subscribe(WORK, prefetch=20)
    taken = await take(subscription, 8)
    await subscription.ack(taken[:2])
    await subscription.ack([taken[5], taken[3]])
    await first.close()
    second = await installation.connect()
    again = await take(await second.subscribe(WORK, prefetch=20), 4)
    assert [message.body for message in again] == [b"c", b"e", b"g", b"h"]
    assert [message.redelivered for message in again] == [True] * 4
    assert [message.delivery_count for message in again] == [1] * 4


async def test_settling_twice_or_a_stranger_changes_nothing(installation: Installation) -> None:
    """Acks of what is settled, or belongs to another subscription, are ignored."""
    broker = await installation.connect()
    await declare(broker, WORK, Queue("other"))
    await send(broker, "work", "a", "b")
    await send(broker, "other", "x")
    work = await broker.subscribe(WORK, prefetch=10)
    other = await broker.subscribe(Queue("other"), prefetch=10)
    taken = await take(work, 2)
    (stranger,) = await take(other, 1)
    await work.ack(taken[:1])
    await work.ack(taken[:1])
    await work.ack([])
    await other.ack([stranger])
    await send(broker, "work", "c")
    assert await bodies(work, 1) == ["c"]


async def test_unsettled_messages_come_again_in_order_and_are_counted(
    installation: Installation,
) -> None:
    """A connection that ends counts as a failed delivery of what was unsettled, and of no more."""
    broker = await installation.connect()
    await declare(broker, WORK)
    await send(broker, "work", *"abcd")
    again = await fail_deliveries(installation.connect, WORK, 3, messages=3)
    assert [(m.body, m.delivery_count, m.redelivered) for m in again] == [
        (body, 2, True) for body in (b"a", b"b", b"c")
    ]
    (last,) = (await take(await broker.subscribe(WORK, prefetch=10), 4))[3:]
    assert (last.body, last.delivery_count, last.redelivered) == (b"d", 0, False)


async def test_past_the_delivery_limit_messages_are_dead_lettered(
    installation: Installation,
) -> None:
    """A message that fails once more than allowed is in the dead-letter queue, with its story."""
    broker = await installation.connect()
    dead = Queue("dead-letters", bindings=(Binding("dead"),))
    work = Queue("work", delivery_limit=2, dead_letter_exchange="dead")
    await declare(broker, dead, work, exchanges=[DEAD_EXCHANGE])
    await send(broker, "work", "poison", "innocent")
    (last,) = await fail_deliveries(installation.connect, work, 3)
    assert (last.body, last.delivery_count) == (b"poison", 2)
    subscription = await broker.subscribe(work, prefetch=1)
    assert await bodies(subscription, 1) == ["innocent"]
    (message,) = await take(await broker.subscribe(dead, prefetch=1), 1)
    assert (message.body, message.exchange, message.routing_key) == (b"poison", "dead", "work")
    assert message.headers["x-first-death-queue"] == "work"
    assert message.headers["x-first-death-reason"] == "delivery_limit"


async def test_paused_it_keeps_what_it_has_and_others_get_the_rest(
    installation: Installation,
) -> None:
    """Past its prefetch nothing comes to a paused subscription, and it takes nothing; resumed it
    goes on with what it kept.
    """
    one, other = await installation.connect(), await installation.connect(BOB)
    await declare(one, WORK)
    await send(one, "work", *"abcde")
    pausing = await one.subscribe(WORK, prefetch=4)
    held = await take(pausing, 2)
    helping = await other.subscribe(WORK, prefetch=10)
    assert await bodies(helping, 1) == ["e"]
    await pausing.pause()
    waiting = asyncio.create_task(take(pausing, 2))
    await send(one, "work", "f", "g")
    assert await bodies(helping, 2) == ["f", "g"]
    await helping.stop()
    assert not waiting.done()
    await pausing.resume()
    await pausing.ack(held)
    async with asyncio.timeout(WITHIN):
        kept = await waiting
    assert [(m.body, m.delivery_count, m.redelivered) for m in kept] == [
        (b"c", 0, False),
        (b"d", 0, False),
    ]
    await pausing.ack(kept)
    await send(one, "work", "h")
    assert await bodies(pausing, 1) == ["h"]


async def test_pausing_is_no_failed_delivery(broker: Broker) -> None:
    """However often it pauses and resumes, no message is counted, and the prefetch bounds all."""
    await declare(broker, WORK)
    await send(broker, "work", *"abcdefgh")
    subscription = await broker.subscribe(WORK, prefetch=4)
    (first,) = await take(subscription, 1)
    for _ in range(5):
        await subscription.pause()
        await subscription.resume()
    other = await broker.subscribe(WORK, prefetch=10)
    rest = await take(other, 4)
    mine = [first, *await take(subscription, 3)]
    assert [message.body for message in mine + rest] == [b"%c" % each for each in b"abcdefgh"]
    assert [message.delivery_count for message in mine + rest] == [0] * 8
    assert [message.redelivered for message in mine + rest] == [False] * 8
    await subscription.ack(mine)
    await other.ack(rest)
    await other.stop()
    await send(broker, "work", *"ijkl")
    assert await bodies(subscription, 4) == list("ijkl")


async def test_stopped_while_paused_it_gives_back_what_it_kept_once(
    installation: Installation,
) -> None:
    """Whoever comes next gets each of them, once, and nothing was taken by the stopped one."""
    one, other = await installation.connect(), await installation.connect(BOB)
    await declare(one, WORK)
    await send(one, "work", *"abcde")
    stopping = await one.subscribe(WORK, prefetch=4)
    held = await take(stopping, 1)
    helping = await other.subscribe(WORK, prefetch=10)
    assert await bodies(helping, 1) == ["e"]
    await stopping.pause()
    waiting = asyncio.create_task(stopping.take(10))
    await stopping.stop()
    await stopping.stop()
    async with asyncio.timeout(WITHIN):
        assert list(await waiting) == []
    await stopping.resume()
    await stopping.ack(held)
    await send(one, "work", "f")
    assert sorted(await bodies(helping, 4)) == ["b", "c", "d", "f"]


async def test_pausing_and_resuming_twice_is_once(broker: Broker) -> None:
    """Neither is confused by being said again, and nothing is delivered twice."""
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    for _ in range(2):
        await subscription.pause()
        await subscription.pause()
        await subscription.resume()
        await subscription.resume()
    await send(broker, "work", *"abc")
    assert await bodies(subscription, 3) == list("abc")
    await subscription.pause()
    await send(broker, "work", "d")
    await subscription.resume()
    assert await bodies(subscription, 1) == ["d"]


async def test_stopping_drains(installation: Installation) -> None:
    """After stop nothing more comes; what is here is taken to the last and can be settled, so that
    nothing is given back; what is new goes to others.
    """
    one, other = await installation.connect(), await installation.connect(BOB)
    await declare(one, WORK)
    await send(one, "work", *"abcde")
    stopping = await one.subscribe(WORK, prefetch=4)
    held = await take(stopping, 2)
    helping = await other.subscribe(WORK, prefetch=10)
    assert await bodies(helping, 1) == ["e"]
    await stopping.stop()
    await stopping.stop()
    held += await stopping.take(1)
    held += await stopping.take(5)
    assert [message.body for message in held] == [b"a", b"b", b"c", b"d"]
    assert list(await stopping.take(5)) == []
    await stopping.ack(held[:3])
    await send(one, "work", "f")
    assert await bodies(helping, 1) == ["f"]
    await one.close()
    assert await bodies(helping, 1) == ["d"]


async def test_paused_after_it_was_stopped_it_gives_back_the_rest(
    installation: Installation,
) -> None:
    """Whoever meets a fault while draining leaves what they did not take to others, once."""
    one, other = await installation.connect(), await installation.connect(BOB)
    await declare(one, WORK)
    await send(one, "work", *"abc")
    stopping = await one.subscribe(WORK, prefetch=10)
    held = await take(stopping, 1)
    await stopping.stop()
    await stopping.pause()
    await stopping.pause()
    assert list(await stopping.take(5)) == []
    helping = await other.subscribe(WORK, prefetch=10)
    assert await bodies(helping, 2) == ["b", "c"]
    await stopping.ack(held)
    await one.close()
    await send(other, "work", "d")
    assert await bodies(helping, 1) == ["d"]


async def test_stopped_it_hands_out_what_came_of_its_own_queue(
    installation: Installation,
) -> None:
    """An exclusive queue goes when its consumer stops; what that got before is not lost by it."""
    broker = await installation.connect()
    own = Queue("aoi.own", QueueKind.EXCLUSIVE)
    subscription = await broker.subscribe(own, prefetch=10)
    await send(broker, "aoi.own", *"abc")
    held = await take(subscription, 1)
    await subscription.stop()
    held += await subscription.take(9)
    assert [message.body for message in held] == [b"a", b"b", b"c"]
    await subscription.ack(held)
    assert list(await subscription.take(5)) == []


async def test_stopping_wakes_whoever_waits(broker: Broker) -> None:
    """A take that waits returns empty when the subscription stops."""
    await declare(broker, WORK)
    subscription = await broker.subscribe(WORK, prefetch=10)
    taking = asyncio.create_task(subscription.take(5))
    await asyncio.sleep(0)
    await subscription.stop()
    async with asyncio.timeout(WITHIN):
        assert list(await taking) == []
