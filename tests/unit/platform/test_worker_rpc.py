"""Requests to the workers: how they are published, bounded, and how answers are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aoi_events.broker.memory import MemoryBroker, MemoryServer
from aoi_events.contracts.answers import (
    ANSWER_TYPES,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    RefusedV1,
)
from aoi_events.contracts.requests import CancelNotificationV1
from aoi_events.errors import (
    BrokerUnavailable,
    RequestRefused,
    RequestTimeout,
    UnexpectedAnswer,
)
from aoi_events.platform.worker_rpc import RequestSlots, TooManyRequests, WorkerRpc, read_answer
from aoi_events.ports.broker import Broker, Inbound, Outbound
from aoi_events.topology import NOTIFICATION, topology, worker_queue
from tests.support.limits import WITHIN

CANCELLED = NotificationCancelledV1(notification="n1", cancelled=1, settled=0)


def answered(body: bytes, type: str | None) -> Inbound:
    """An answer as it arrives."""
    return Inbound(body=body, routing_key="amq.rabbitmq.reply-to.1", type=type)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A broker in memory with the exchanges and queues of an AOI Server."""
    broker = MemoryBroker(MemoryServer(), user="gateway")
    await broker.declare(topology())
    yield broker
    await broker.close()


async def test_a_request_goes_out_under_its_routing_key(broker: Broker) -> None:
    """Routing key, body and headers are those of the request, and the answer is decoded."""
    rpc = WorkerRpc(await broker.requester(), timeout=WITHIN)
    request = CancelNotificationV1(version=1, notification="n1")
    subscription = await broker.subscribe(worker_queue(NOTIFICATION)[0], prefetch=1)
    async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        asking = group.create_task(
            rpc.ask(request, NotificationCancelledV1, headers={"aoi-sender": "somebody"})
        )
        (inbound,) = await subscription.take(1)
        assert inbound.routing_key == "notification.cancel"
        assert inbound.body == request.encode()
        assert inbound.headers == {"aoi-sender": "somebody"}
        assert inbound.reply_to is not None
        answer = Outbound(
            exchange="",
            routing_key=inbound.reply_to,
            body=CANCELLED.encode(),
            mandatory=False,
            persistent=False,
            correlation_id=inbound.correlation_id,
            type=ANSWER_TYPES[NotificationCancelledV1],
        )
        await broker.publish([answer])
    assert asking.result() == CANCELLED
    await rpc.close()
    with pytest.raises(BrokerUnavailable):
        await rpc.ask(request, NotificationCancelledV1)


async def test_a_call_may_have_a_time_limit_of_its_own(broker: Broker) -> None:
    """The time limit of a call replaces that of the client."""
    rpc = WorkerRpc(await broker.requester(), timeout=3_600)
    request = CancelNotificationV1(version=1, notification="n1")
    with pytest.raises(RequestTimeout):
        await rpc.ask(request, NotificationCancelledV1, timeout=0.01)


async def test_slots_bound_what_runs_and_what_waits() -> None:
    """Waiting requests get slots in order, and one above both bounds is refused at once."""
    slots, order = RequestSlots(at_once=1, waiting=2), list[int]()
    running, release = asyncio.Event(), asyncio.Event()

    async def use(number: int) -> None:
        async with slots:
            order.append(number)
            running.set()
            await release.wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(use(number)) for number in range(3)]
        await running.wait()
        assert len(slots) == 3
        with pytest.raises(TooManyRequests):
            await use(3)
        tasks[1].cancel()
        release.set()
    assert order == [0, 2], "a cancelled request leaves its place in the queue"
    assert len(slots) == 0
    await use(4)


def test_the_amqp_type_names_the_answers_contract() -> None:
    """An answer is read by its ``type``, unknown fields ignored."""
    body = CANCELLED.encode().replace(b"{", b'{"later":true,', 1)
    assert read_answer(answered(body, ANSWER_TYPES[type(CANCELLED)]), type(CANCELLED)) == CANCELLED


def test_a_refusal_becomes_a_typed_error() -> None:
    """RefusedV1 is raised with its code, message and field."""
    refused = RefusedV1(code="conflict", message="another body", field="notification")
    with pytest.raises(RequestRefused) as raised:
        read_answer(answered(refused.encode(), ANSWER_TYPES[RefusedV1]), type(CANCELLED))
    assert (raised.value.code, raised.value.message, raised.value.field) == (
        "conflict",
        "another body",
        "notification",
    )


@pytest.mark.parametrize("type", [None, "", "notification.cancelled.v9"])
def test_an_answer_of_unknown_type_is_named(type: str | None) -> None:
    """An answer that no contract describes is a clear error with its type in it."""
    with pytest.raises(UnexpectedAnswer, match=repr(type).strip("'") or "''"):
        read_answer(answered(CANCELLED.encode(), type), NotificationCancelledV1)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"notification":"n1"}', b"{" * 10_000])
def test_an_answer_that_breaks_its_contract_is_an_error(body: bytes) -> None:
    """Bytes that are no answer of their type raise one typed error and show nothing of them."""
    name = ANSWER_TYPES[NotificationCancelledV1]
    with pytest.raises(UnexpectedAnswer, match=name):
        read_answer(answered(body, name), NotificationCancelledV1)


def test_an_answer_to_something_else_is_an_error() -> None:
    """A well-formed answer of another kind than what was asked for is not taken for it."""
    name = ANSWER_TYPES[NotificationCancelledV1]
    with pytest.raises(UnexpectedAnswer, match="NotificationAcceptedV1 was due"):
        read_answer(answered(CANCELLED.encode(), name), NotificationAcceptedV1)
