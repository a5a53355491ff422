from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aoi_events.broker.memory import MemoryServer
from aoi_events.contracts.answers import AnyAnswer, NotificationStatusV1
from aoi_events.contracts.requests import AnyRequest, QueryNotificationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.errors import BrokerUnavailable, EndedOtherwise, RequestRefused, WaitTimeout
from aoi_events.publishing import Publisher, waiting
from tests.support.limits import WITHIN
from tests.unit.publishing.responder import Responder, TellingBroker, delivery_id

TOKEN = "token-of-an-app"
SOON = 0.05
DELIVERED, FAILED, STORED = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.STORED

Waiting = asyncio.Task[NotificationStatusV1]
Wait = Callable[..., Awaitable[Waiting]]


@pytest.fixture
def wait(publisher: Publisher, responder: Responder) -> Wait:
    """Start waiting for a notification, and return when its first status was asked."""

    async def start(notification: str, *arguments: object, **more: object) -> Waiting:
        before = sum(isinstance(request, QueryNotificationV1) for request, _ in responder.asked)
        task = asyncio.create_task(
            publisher.wait(notification, *arguments, **more)  # type: ignore[arg-type]
        )
        await responder.until_asked(QueryNotificationV1, before + 1)
        return task

    return start


async def test_what_is_reached_already_is_returned_at_once(
    publisher: Publisher, responder: Responder
) -> None:
    """A notification that was delivered before is not waited for."""
    await responder.become("n1", DELIVERED)
    status = await publisher.wait("n1")
    assert [each.state for each in status.deliveries] == [DELIVERED]


async def test_an_event_ends_the_wait(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """The event of the delivery ends the wait, with the status of that moment."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1")
    await responder.become("n1", DELIVERED)
    assert (await waiter).deliveries[0].state is DELIVERED


async def test_an_event_between_queue_and_status_is_not_missed(
    publisher: Publisher, responder: Responder
) -> None:
    """What happens after the status was made and before it arrives is seen all the same."""
    await publisher.send(TOKEN, "hello", notification="n1")
    happened: list[asyncio.Task[None]] = []

    def status_then_event(_request: AnyRequest) -> AnyAnswer:
        old = responder.status("n1")
        happened.append(asyncio.create_task(responder.become("n1", DELIVERED)))
        return old

    responder.script.append(status_then_event)
    assert (await publisher.wait("n1", timeout=2)).deliveries[0].state is DELIVERED
    assert len(happened) == 1


async def test_every_delivery_must_come_to_the_state(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """With two tokens, the first delivery alone does not end the wait, nor ask again."""
    await publisher.send([TOKEN, f"{TOKEN}-2"], "hello", notification="n1")
    waiter = await wait("n1")
    await responder.become("n1", DELIVERED, index=0)
    await responder.become("n1", DELIVERED, index=1)
    assert {each.state for each in (await waiter).deliveries} == {DELIVERED}
    asked = [request for request, _ in responder.asked if isinstance(request, QueryNotificationV1)]
    assert len(asked) == 2


async def test_waiting_for_any_end(publisher: Publisher, responder: Responder, wait: Wait) -> None:
    """``terminal`` is reached by deliveries that ended in different ways."""
    await publisher.send([TOKEN, f"{TOKEN}-2"], "hello", notification="n1")
    waiter = await wait("n1", "terminal")
    await responder.become("n1", FAILED, index=0)
    await responder.become("n1", DELIVERED, index=1)
    assert {each.state for each in (await waiter).deliveries} == {FAILED, DELIVERED}


async def test_waiting_for_a_state_on_the_way(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """A state that is no end, such as stored, can be waited for."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1", STORED)
    await responder.become("n1", STORED)
    assert (await waiter).deliveries[0].state is STORED


async def test_another_end_is_told_at_once(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """A delivery that failed will not be waited for until the timeout; the error says why."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1", timeout=WITHIN)
    await responder.become("n1", FAILED)
    with pytest.raises(EndedOtherwise, match=r"1 failed \(unreachable\)"):
        await waiter


@pytest.mark.parametrize("state", ["delivered", "terminal"])
async def test_no_accepted_token_is_no_notification(publisher: Publisher, state: str) -> None:
    """Where every token was rejected, the server stores nothing: a wait fails at once."""
    await publisher.send("forged-token", "hello", notification="n1")
    with pytest.raises(RequestRefused, match="not_found"):
        await publisher.wait("n1", state)


async def test_a_notification_that_was_withdrawn_before_is_no_delivery(
    publisher: Publisher, responder: Responder
) -> None:
    """Of an ID that was cancelled before it was sent, waiting for delivered fails, and for any end
    succeeds.
    """
    responder.states["n1"] = {}
    with pytest.raises(EndedOtherwise, match="cancelled before it was sent"):
        await publisher.wait("n1")
    assert (await publisher.wait("n1", "terminal")).deliveries == ()


async def test_the_wait_ends_in_time_and_says_where_things_stand(publisher: Publisher) -> None:
    """After the timeout the error names the present states."""
    await publisher.send([TOKEN, f"{TOKEN}-2"], "hello", notification="n1")
    with pytest.raises(WaitTimeout, match=r"n1 was not delivered within 0\.05 s: 2 sending"):
        await publisher.wait("n1", timeout=SOON)


async def test_an_unknown_notification_is_refused(publisher: Publisher) -> None:
    """Waiting for what was never sent is an error, not a long wait."""
    with pytest.raises(RequestRefused, match="not_found"):
        await publisher.wait("never-sent")


async def test_a_state_that_does_not_exist_is_an_error(publisher: Publisher) -> None:
    """A misspelt state is told with the ones there are."""
    with pytest.raises(ValueError, match="terminal, sending"):
        await publisher.wait("n1", "arrived")


async def test_an_event_that_is_not_true_changes_nothing(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """An event only causes a look at the status, which decides."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1")
    await responder.tell("n1", delivery_id("n1", 0), DELIVERED)
    await responder.until_asked(QueryNotificationV1, 2)
    assert not waiter.done()
    await responder.become("n1", DELIVERED)
    assert (await waiter).deliveries[0].state is DELIVERED


async def test_events_of_others_are_not_seen(
    publisher: Publisher, responder: Responder, wait: Wait
) -> None:
    """The same notification ID of another sender is another notification."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1", timeout=SOON)
    await responder.tell("n1", delivery_id("n1", 0), DELIVERED, sender="shop.other")
    with pytest.raises(WaitTimeout):
        await waiter
    assert sum(isinstance(request, QueryNotificationV1) for request, _ in responder.asked) == 1


async def test_a_lost_event_costs_time_only(
    publisher: Publisher, responder: Responder, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the event never comes, the status is asked again all the same."""
    monkeypatch.setattr(waiting, "_QUERY_EVERY", SOON)
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1")
    await responder.become("n1", DELIVERED, told=False)
    assert (await waiter).deliveries[0].state is DELIVERED


async def test_a_lost_connection_is_waited_for(
    publisher: Publisher, responder: Responder, server: MemoryServer, wait: Wait
) -> None:
    """What happened while the connection was lost is found out when it is back."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1")
    await responder.become("n1", DELIVERED, told=False)
    server.drop_connection("shop")
    assert (await waiter).deliveries[0].state is DELIVERED


async def test_many_waits_share_one_queue(
    publisher: Publisher, responder: Responder, broker: TellingBroker, wait: Wait
) -> None:
    """A hundred waits need no hundred queues, and each ends with its own notification."""
    names = [f"n{n}" for n in range(100)]
    for name in names:
        await publisher.send(TOKEN, "hello", notification=name)
    waiters = [await wait(name) for name in names]
    assert broker.subscribed == 1
    for name in names:
        await responder.become(name, DELIVERED)
    assert [status.notification for status in await asyncio.gather(*waiters)] == names


async def test_closing_ends_the_waits(publisher: Publisher, wait: Wait) -> None:
    """Whoever waits when the Publisher is closed is told so."""
    await publisher.send(TOKEN, "hello", notification="n1")
    waiter = await wait("n1", timeout=WITHIN)
    await publisher.close()
    with pytest.raises((BrokerUnavailable, RuntimeError), match="closed"):
        await waiter
