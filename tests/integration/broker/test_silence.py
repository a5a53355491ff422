"""Nodes and queues that go silent, without a word and without closing anything."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from aoi_events.broker.let_go import OCTETS, OF_ONE_DESTINATION
from aoi_events.broker.rabbitmq import RabbitBroker
from aoi_events.errors import BrokerUnavailable, RequestTimeout
from aoi_events.platform.retry import RetryPolicy, retry
from aoi_events.ports.broker import Assurance, Outbound, Published
from aoi_events.testing.containers import RabbitServer
from aoi_events.topology import Binding, Exchange, ExchangeType, Queue, QueueKind, Topology
from tests.support.limits import WITHIN
from tests.support.silent_queues import kill, silent, stop_channels

OWN = Queue("silence.own", QueueKind.EXCLUSIVE)
WORK = Queue("silence.work")
GATEWAY = Queue("silence.gateway", QueueKind.EXCLUSIVE)
FACTS = Exchange("silence.facts", ExchangeType.TOPIC)
TAKEN = [Published.CONFIRMED]
LET_GO = [Published.UNCONFIRMED]


@pytest.fixture(scope="session")
def rabbit_server(own_rabbit_server: RabbitServer) -> RabbitServer:
    """One that may be broken."""
    return own_rabbit_server


def envelope(body: bytes = b"") -> Outbound:
    """Steps for a gateway: deadlines make up for their loss."""
    return Outbound(
        "",
        GATEWAY.name,
        body,
        persistent=False,
        assurance=Assurance.DEADLINE,
        if_returned=Outbound("", WORK.name, b"route lost " + body),
    )


def work(body: bytes = b"") -> Outbound:
    """A message that must not be lost."""
    return Outbound("", WORK.name, body)


async def test_requests_leave_a_channel_that_stopped(
    rabbit_server: RabbitServer, rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A node hangs on another one and confirms nothing on the channel of requests, though its
    connection shows life: after a request without an answer the next go over another connection.
    """
    broker = await RabbitBroker.connect(rabbit_url)
    await broker.declare(Topology((), (WORK,)))
    requester = await broker.requester()
    await asyncio.to_thread(stop_channels, rabbit_server)
    worker = await RabbitBroker.connect(rabbit_url)
    asked = await worker.subscribe(WORK, prefetch=10)

    async def answer() -> None:
        while messages := await asked.take(10):
            await worker.publish(
                [
                    Outbound("", each.reply_to or "", b"yes", correlation_id=each.correlation_id)
                    for each in messages
                ]
            )

    answering = asyncio.create_task(answer())
    with pytest.raises(RequestTimeout):
        await requester.call(work(), timeout=0.1)
    answered = await retry(
        lambda: requester.call(work(), timeout=1.0),
        policy=RetryPolicy(attempts=30),
        on=(RequestTimeout, BrokerUnavailable),
    )
    assert answered.body == b"yes"
    assert [each for each in caplog.records if each.getMessage() == "amqp_channel_silent"]
    answering.cancel()
    for each in (worker, broker):
        await each.close()


async def test_a_silent_node_is_noticed_within_two_heartbeats(
    rabbit_server: RabbitServer, rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that hangs closes no connection: after two heartbeats consumers know that their queue
    is lost, and when the node continues everything works again.
    """
    heartbeat, loop = 2, asyncio.get_running_loop()
    broker = await RabbitBroker.connect(rabbit_url, heartbeat=heartbeat)
    await broker.declare(Topology((), (WORK,)))
    own = await broker.subscribe(OWN, prefetch=1)
    node = rabbit_server.container.get_wrapped_container()
    await asyncio.to_thread(node.pause)
    paused_at = loop.time()
    try:
        with pytest.raises(BrokerUnavailable, match=OWN.name):
            async with asyncio.timeout(WITHIN):
                await own.take(1)
        # aiormq by itself takes three heartbeats of one second more each, and looks once in each.
        assert loop.time() - paused_at < 3 * heartbeat
    finally:
        await asyncio.to_thread(node.unpause)
    async with asyncio.timeout(WITHIN):
        await broker.connected()
    assert list(await broker.publish([Outbound("", WORK.name, b"x")])) == [Published.CONFIRMED]
    silent = [each for each in caplog.records if each.getMessage() == "broker_silent"]
    assert {each.levelno for each in silent} == {logging.WARNING}
    await broker.close()


async def test_a_silent_queue_holds_back_nothing_but_what_must_be_confirmed(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """A gateway's queue goes silent: its envelopes are awaited once and for two seconds, later ones
    not at all, everything else is confirmed; a message that must not be lost is awaited.
    """
    loop = asyncio.get_running_loop()
    broker, gateway = [await RabbitBroker.connect(rabbit_url) for _ in range(2)]
    await broker.declare(Topology((), (WORK,)))
    own = await gateway.subscribe(GATEWAY, prefetch=10_000)
    with silent(rabbit_server, GATEWAY.name):
        async with asyncio.timeout(WITHIN):
            first = await broker.publish([work(), envelope(b"1"), work()])
            assert list(first) == [*TAKEN, *LET_GO, *TAKEN]
            since = loop.time()
            assert list(await broker.publish([envelope(b"2"), work()])) == [*LET_GO, *TAKEN]
            assert list(await broker.publish([envelope(b"3")])) == LET_GO
            assert loop.time() - since < 1.0
        must = Outbound("", GATEWAY.name, b"4", persistent=False)
        awaited = asyncio.ensure_future(broker.publish([must, envelope(b"5")]))
        assert list(await broker.publish([work()])) == TAKEN
        assert not awaited.done()
    async with asyncio.timeout(WITHIN):
        assert (await awaited)[0] is Published.CONFIRMED
        arrived: list[bytes] = []
        while len(arrived) < 5:
            arrived += [message.body for message in await own.take(10)]
        assert arrived == [b"1", b"2", b"3", b"4", b"5"]
        # Late confirms show that it is not silent any more: an envelope is awaited again.
        assert list(await broker.publish([envelope()])) == TAKEN
    await broker.close()
    await gateway.close()


async def test_what_was_let_go_has_a_limit_and_stops_no_other(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """However much goes to a silent queue, no more is sent to it than RabbitMQ takes before it
    stops reading from the publisher: other messages are confirmed, and the queue gets what was
    sent.
    """
    broker, gateway = [await RabbitBroker.connect(rabbit_url) for _ in range(2)]
    await broker.declare(Topology((), (WORK,)))
    own = await gateway.subscribe(GATEWAY, prefetch=10_000)
    with silent(rabbit_server, GATEWAY.name):
        async with asyncio.timeout(WITHIN):
            for _ in range(3 * OF_ONE_DESTINATION // 10):
                results = await broker.publish([work(), *[envelope()] * 10])
                assert list(results) == [*TAKEN, *LET_GO * 10]
    async with asyncio.timeout(WITHIN):
        arrived = 0
        while arrived < OF_ONE_DESTINATION:
            arrived += len(await own.take(10_000))
        # The next one is awaited as soon as the last of those is confirmed.
        while list(await broker.publish([envelope(b"end")])) != TAKEN:
            pass
        last = b""
        while last != b"end":
            (*more, end) = await own.take(10_000)
            arrived, last = arrived + len(more), end.body
    assert arrived == OF_ONE_DESTINATION
    await broker.close()
    await gateway.close()


@pytest.mark.parametrize("kind", [QueueKind.EXCLUSIVE, QueueKind.QUORUM])
async def test_a_silent_listener_of_events_stops_no_other(
    rabbit_server: RabbitServer, rabbit_url: str, kind: QueueKind
) -> None:
    """A queue that is bound to all events goes silent: however many routing keys they have, they
    are awaited once, and other messages are confirmed.
    """
    loop = asyncio.get_running_loop()
    broker, auditor = [await RabbitBroker.connect(rabbit_url) for _ in range(2)]
    audit = Queue(f"silence.{kind.value}", kind, bindings=(Binding(FACTS.name, "#"),))
    declared = (WORK,) if kind is QueueKind.EXCLUSIVE else (WORK, audit)
    await broker.declare(Topology((FACTS,), declared))
    await auditor.subscribe(audit, prefetch=10_000)
    numbers = range(3 * OF_ONE_DESTINATION)
    facts = [
        Outbound(FACTS.name, f"{number}", b"", mandatory=False, assurance=Assurance.BEST_EFFORT)
        for number in numbers
    ]
    # The first publish of a channel to a quorum queue waits for its leader.
    assert list(await broker.publish(facts[:1])) == TAKEN
    with silent(rabbit_server, audit.name):
        async with asyncio.timeout(WITHIN):
            assert list(await broker.publish([work(), facts[0]])) == [*TAKEN, *LET_GO]
            since = loop.time()
            for start in numbers[::10]:
                results = await broker.publish([work(), *facts[start : start + 10]])
                assert list(results) == [*TAKEN, *LET_GO * 10]
                assert start or loop.time() - since < 1.0
    await broker.close()
    await auditor.close()


async def test_past_the_bounds_a_destination_that_goes_silent_is_still_let_go(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Another queue holds all that may be remembered: this one is awaited for two seconds, too."""
    broker, gateway = [await RabbitBroker.connect(rabbit_url) for _ in range(2)]
    await broker.declare(Topology((), (WORK,)))
    for queue in (GATEWAY, OWN):
        await gateway.subscribe(queue, prefetch=10)
    large = replace(envelope(), if_returned=work(bytes(OCTETS)))
    with silent(rabbit_server, GATEWAY.name), silent(rabbit_server, OWN.name):
        async with asyncio.timeout(WITHIN):
            assert list(await broker.publish([large])) == LET_GO
            other = replace(envelope(), routing_key=OWN.name)
            assert list(await broker.publish([work(), other])) == [*TAKEN, *LET_GO]
    await broker.close()
    await gateway.close()


async def test_a_late_return_or_nack_is_handled(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """The silent queue turns out to be gone: its envelopes are refused late, and what is published
    in their place then says so.
    """
    broker, gateway = [await RabbitBroker.connect(rabbit_url) for _ in range(2)]
    await broker.declare(Topology((), (WORK,)))
    await gateway.subscribe(GATEWAY, prefetch=10)
    outcomes = await broker.subscribe(WORK, prefetch=10)
    with silent(rabbit_server, GATEWAY.name):
        async with asyncio.timeout(WITHIN):
            assert list(await broker.publish([envelope(b"1")])) == LET_GO
            await asyncio.to_thread(kill, rabbit_server, GATEWAY.name)
            (outcome,) = await outcomes.take(10)
    assert outcome.body == b"route lost 1"
    await broker.close()
    await gateway.close()


async def test_a_blocked_broker_lets_nothing_go(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """Under a memory alarm nothing is confirmed, so nothing shows that the broker has read what may
    be lost: it is awaited like the rest.
    """
    broker = await RabbitBroker.connect(rabbit_url, publish_within=4.0)
    await broker.declare(Topology((), (WORK,)))
    await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        async with asyncio.timeout(WITHIN):
            with pytest.raises(BrokerUnavailable, match="did not confirm"):
                await broker.publish([envelope()])
    finally:
        await asyncio.to_thread(rabbit_server.ctl, "set_vm_memory_high_watermark", "0.6")
    await broker.close()
