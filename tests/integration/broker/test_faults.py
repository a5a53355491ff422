from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.errors import BrokerUnavailable
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Outbound, Published, Subscription
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import Queue, QueueKind, Topology
from tests.integration.broker.traffic import QUEUE, Ledger, consume_steadily, publish_steadily
from tests.support.limits import WITHIN

OWN = Queue("faults.own", QueueKind.EXCLUSIVE)


async def until_lost(own: Subscription) -> None:
    """Return when the connection of an exclusive queue is lost, and the queue with it."""
    async with asyncio.timeout(WITHIN):
        with pytest.raises(BrokerUnavailable, match=OWN.name):
            await own.take(1)


@pytest.fixture(scope="session")
def rabbit_server(own_rabbit_server: RabbitServer) -> RabbitServer:
    """One that may be broken."""
    return own_rabbit_server


def cut_connections(server: RabbitServer) -> None:
    """Every connection is closed by the broker."""
    server.ctl("close_all_connections", "--global", "a test")


def stop_application(server: RabbitServer) -> None:
    """The broker application stops and starts inside its runtime."""
    server.ctl("stop_app")
    server.ctl("start_app")
    server.wait_ready()


def restart_container(server: RabbitServer) -> None:
    """The node ends in good order and starts again."""
    server.restart()


def kill_container(server: RabbitServer) -> None:
    """The node ends as in a power cut, and starts again."""
    server.kill()
    server.come_back()


@pytest.mark.parametrize(
    "fault", [cut_connections, stop_application, restart_container, kill_container]
)
async def test_nothing_confirmed_is_lost(
    rabbit_server: RabbitServer, rabbit_url: str, fault: Callable[[RabbitServer], None]
) -> None:
    """Under traffic the broker breaks: confirmed messages arrive, refused ones were reported."""
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (QUEUE,)))
    subscription = await broker.subscribe(QUEUE, prefetch=100)
    ledger, stop = Ledger(), asyncio.Event()
    publishing = asyncio.create_task(publish_steadily(broker, ledger, stop))
    consuming = asyncio.create_task(consume_steadily(subscription, ledger))
    try:
        # RabbitMQ 4.0 forgets a quorum queue, and all that it confirmed for it, when its only node
        # is killed within half a second of the declaration; so there is traffic for longer first.
        await ledger.until_confirmed(8000)
        own = await broker.subscribe(OWN, prefetch=1)
        await asyncio.to_thread(fault, rabbit_server)
        await until_lost(own)
        await ledger.until_confirmed(1000)
        stop.set()
        await publishing
        # With the last one, what is still held back is acknowledged too.
        ledger.finishing = True
        await broker.publish([Outbound("", QUEUE.name, b"1000000000")])
        await ledger.until_all_acknowledged()
    finally:
        stop.set()
        await asyncio.gather(publishing)
        await subscription.stop()
        await consuming
        await broker.close()
    assert ledger.wrong_results == []
    assert ledger.lost_batches >= 1
    assert ledger.confirmed <= ledger.arrived
    assert ledger.arrived <= ledger.confirmed | ledger.uncertain | {1_000_000_000}


async def test_what_was_acknowledged_before_closing_stays_so(rabbit_url: str) -> None:
    """Closing right after a batch of acks brings none of them back (rabbitmq-server #10327)."""
    for _ in range(4):
        broker = await RabbitBroker.connect(rabbit_url)
        await broker.declare(Topology((), (QUEUE,)))
        await broker.publish([Outbound("", QUEUE.name, b"x")] * 200)
        subscription = await broker.subscribe(QUEUE, prefetch=200)
        taken = 0
        while taken < 200:
            batch = await subscription.take(200)
            await subscription.ack(batch)
            taken += len(batch)
        await broker.close()
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.publish([Outbound("", QUEUE.name, b"end")])
    (message,) = await (await broker.subscribe(QUEUE, prefetch=10)).take(10)
    assert message.body == b"end"
    await broker.close()


@pytest.mark.parametrize("paused", [False, True])
async def test_a_deleted_queue_is_declared_again(
    rabbit_server: RabbitServer, rabbit_url: str, rabbit_vhost: str, paused: bool
) -> None:
    """Somebody deletes a queue under its consumer: it is made anew, and the consumer goes on."""
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (QUEUE,)))
    subscription = await broker.subscribe(QUEUE, prefetch=10)
    if paused:
        await subscription.pause()
    taking = asyncio.create_task(subscription.take(1))
    await asyncio.to_thread(rabbit_server.api, "DELETE", f"/queues/{rabbit_vhost}/{QUEUE.name}")
    await subscription.resume()
    async with asyncio.timeout(WITHIN):
        while list(await broker.publish([Outbound("", QUEUE.name, b"x")])) != [Published.CONFIRMED]:
            pass
        (message,) = await taking
    assert message.body == b"x"
    await broker.close()


async def test_while_the_broker_is_away(rabbit_server: RabbitServer, rabbit_url: str) -> None:
    """Without a connection everything says so at once, and health tells; then it is back."""
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (QUEUE,)))
    requester = await broker.requester()
    own = await broker.subscribe(OWN, prefetch=1)
    await asyncio.to_thread(rabbit_server.ctl, "stop_app")
    try:
        await until_lost(own)
        assert not await broker.healthy()
        for attempt in (
            lambda: broker.publish([Outbound("", QUEUE.name, b"x")]),
            lambda: broker.subscribe(QUEUE, prefetch=1),
            lambda: requester.call(Outbound("", QUEUE.name, b"x"), timeout=WITHIN),
            lambda: broker.declare(Topology((), (QUEUE,))),
        ):
            with pytest.raises(BrokerUnavailable):
                await attempt()
        with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{rabbit_server.port}"):
            await RabbitBroker.connect(rabbit_url, retry_policy=RetryPolicy(attempts=1))
    finally:
        await asyncio.to_thread(rabbit_server.ctl, "start_app")
        await asyncio.to_thread(rabbit_server.wait_ready)
    results = await retry(
        lambda: broker.publish([Outbound("", QUEUE.name, b"x")]),
        policy=RetryPolicy(),
        on=BrokerUnavailable,
    )
    assert list(results) == [Published.CONFIRMED]
    async with asyncio.timeout(WITHIN):
        await retry(
            lambda: broker.subscribe(QUEUE, prefetch=1), policy=RetryPolicy(), on=BrokerUnavailable
        )
    assert await broker.healthy()
    await broker.close()


async def test_a_blocked_broker_delays_and_nothing_else(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Under a short memory alarm publishes wait, may be given up, and the broker counts as blocked;
    consuming goes on; then all works.
    """
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (QUEUE, Queue("other"))))
    await broker.publish([Outbound("", QUEUE.name, b"before")])
    await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await broker.publish([Outbound("", "other", b"x")])
        assert await broker.blocked()
        subscription = await broker.subscribe(QUEUE, prefetch=10)
        (message,) = await subscription.take(10)
        await subscription.ack([message])
        waiting = asyncio.ensure_future(broker.publish([Outbound("", QUEUE.name, b"after")]))
    finally:
        await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "0.6")
    async with asyncio.timeout(WITHIN):
        assert list(await waiting) == [Published.CONFIRMED]
        (message,) = await subscription.take(10)
    assert message.body == b"after"
    assert not await broker.blocked()
    await broker.close()


async def test_whoever_stays_paused_leaves_new_messages_to_others(
    rabbit_server: RabbitServer, rabbit_url: str, rabbit_vhost: str
) -> None:
    """After a while a paused subscription consumes no more: others get what comes then, and what
    came before is still there for it, not counted as failed.
    """
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (QUEUE,)))
    await broker.publish([Outbound("", QUEUE.name, b"kept")] * 2)
    subscription = await broker.subscribe(QUEUE, prefetch=10)
    taken = list(await subscription.take(1))
    await subscription.pause()
    async with asyncio.timeout(WITHIN):
        # One call takes about a second.
        while QUEUE.name in await asyncio.to_thread(
            rabbit_server.ctl, "list_consumers", "-p", rabbit_vhost
        ):
            pass
    await broker.publish([Outbound("", QUEUE.name, b"new")])
    helping = await broker.subscribe(QUEUE, prefetch=1)
    async with asyncio.timeout(WITHIN):
        (new,) = await helping.take(1)
    assert new.body == b"new"
    await helping.ack([new])
    await helping.stop()
    await broker.publish([Outbound("", QUEUE.name, b"newer")])
    await subscription.resume()
    async with asyncio.timeout(WITHIN):
        while len(taken) < 3:
            taken += await subscription.take(10)
    assert [message.body for message in taken] == [b"kept", b"kept", b"newer"]
    assert [message.delivery_count for message in taken] == [0, 0, 0]
    await broker.close()


async def test_no_publish_waits_for_ever(rabbit_server: RabbitServer, rabbit_url: str) -> None:
    """Under a long memory alarm publishes fail in time, all those under way, again and again, and
    the connection is replaced; what is published afterwards has results of its own.
    """
    broker = await RabbitBroker.connect(rabbit_url, publish_within=2.0)
    await broker.declare(Topology((), (QUEUE,)))
    subscription = await broker.subscribe(QUEUE, prefetch=1000)
    large = [Outbound("", QUEUE.name, b"late" * 250_000)] * 12
    await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        for _ in range(3):
            async with asyncio.timeout(WITHIN):
                outcomes = await asyncio.gather(
                    *(broker.publish(large) for _ in range(3)),
                    broker.publish([Outbound("", QUEUE.name, b"late")]),
                    return_exceptions=True,
                )
            assert {type(outcome) for outcome in outcomes} == {BrokerUnavailable}
            assert any("alarm" in str(outcome) for outcome in outcomes)
            async with asyncio.timeout(WITHIN):
                # Its connection is the one that publishes.
                requester = await retry(
                    broker.requester, policy=RetryPolicy(), on=BrokerUnavailable
                )
                await requester.close()
    finally:
        await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "0.6")
    ends = [Outbound("", each, b"end") for each in (QUEUE.name, "nowhere", QUEUE.name)]
    async with asyncio.timeout(WITHIN):
        results = await retry(
            lambda: broker.publish(ends),
            policy=RetryPolicy(),
            on=BrokerUnavailable,
        )
        assert list(results) == [Published.CONFIRMED, Published.RETURNED, Published.CONFIRMED]
        heard = 0
        while heard < 2:
            messages = await subscription.take(100)
            heard += sum(message.body == b"end" for message in messages)
            await subscription.ack(messages)
    await broker.close()
