"""Accepting, repeating, cancelling and reporting notifications (8.2.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aoi_events.contracts.answers import (
    ANSWERS,
    MAX_STORIES,
    NotificationAcceptedV1,
    NotificationCancelledV1,
    NotificationStatusV1,
)
from aoi_events.contracts.base import MAX_BODY
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.contracts.requests import SendNotificationV1
from aoi_events.contracts.states import DeliveryState
from aoi_events.ports.broker import Inbound
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.handler import NotificationHandler
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import User
from tests.support.system import System


async def cancel(user: User, notification: str) -> NotificationCancelledV1:
    """``notification.cancel``."""
    answer = await user.ask("notification.cancel", notification=notification)
    assert isinstance(answer, NotificationCancelledV1), answer
    return answer


@BOTH
async def test_each_token_is_accepted_or_rejected(system: System) -> None:
    """The answer tells of each token whether it was accepted, or why it was not."""
    shop = await system.user()
    good, gone = await system.device("scripted:a1"), await system.device()
    await gone.ask("client.deregister")
    forged = good.token[:-1] + ("A" if good.token[-1] != "A" else "B")
    answer = await shop.send("n1", gone.token, good.token, forged, "k9.xyz")
    assert [accepted.index for accepted in answer.deliveries] == [1]
    assert [(rejected.index, rejected.code) for rejected in answer.rejected] == [
        (0, "token_revoked"),
        (2, "token_forged"),
        (3, "token_forged"),
    ]
    event = await system.events.wait_for("notification.accepted", notification="n1")
    assert (event.data.accepted, event.data.rejected) == (1, 3)  # type: ignore[union-attr]


@BOTH
async def test_a_send_without_an_accepted_token_keeps_nothing(system: System) -> None:
    """A send of which every token was rejected stores nothing and announces nothing, and its ID is
    free: a repeat is judged anew, and another body with a valid token is no conflict.
    """
    shop = await system.user()
    device, gone = await system.device("scripted:a1"), await system.device()
    await gone.ask("client.deregister")
    for _ in range(2):
        answer = await shop.send("n1", gone.token, "k9.xyz")
        assert (answer.deliveries, answer.expires_at) == ((), None)
        codes = [(each.index, each.code) for each in answer.rejected]
        assert codes == [(0, "token_revoked"), (1, "token_forged")]
    assert (await shop.refused("notification.status", notification="n1")).code == "not_found"
    async with system.installation.store.transaction(read_only=True) as tx:
        assert await tx.notifications({("shop", "n1")}) == {}
    accepted = await shop.send("n1", device.token)
    assert [each.index for each in accepted.deliveries] == [0]
    await system.provider.next_delivery()
    event = await system.events.wait_for("notification.accepted", notification="n1")
    assert system.events.of("notification.accepted") == [event]
    assert (event.data.accepted, event.data.rejected) == (1, 0)  # type: ignore[union-attr]


async def test_a_send_without_an_accepted_token_does_not_spoil_its_twin(system: System) -> None:
    """Requests with one ID in one batch: those of which every token is rejected are answered so,
    and the first one with a valid token is accepted.
    """
    device = await system.device("scripted:a1")
    tokens = ("k9.xyz", device.token, "k9.xyz", device.token)
    message = Inbound(b"", "notification.send", reply_to="replies", user_id="shop")
    body: dict[str, Any] = {"version": 1, "notification": "n1", "content": {"data": "x"}}
    requests = [SendNotificationV1.model_validate(body | {"tokens": [each]}) for each in tokens]
    found = system.installation
    handler = NotificationHandler(found.store, found.services, system.clock, system.dice)
    outputs = await handler.handle(
        [IncomingRequest(request, "shop", None, message) for request in requests]
    )
    bad, good, late, again = (
        ANSWERS[output.type or ""].decode(output.body)
        for output in outputs
        if output.routing_key == "replies"
    )
    assert isinstance(bad, NotificationAcceptedV1)
    assert (bad.deliveries, [each.code for each in bad.rejected]) == ((), ["token_forged"])
    assert isinstance(good, NotificationAcceptedV1)
    assert [each.index for each in good.deliveries] == [0]
    assert again == good
    assert getattr(late, "code", None) == "conflict"
    assert [row.notification for row in await system.rows("n1")] == ["n1"]


@BOTH
async def test_a_send_needs_no_answer(system: System) -> None:
    """A send without ``reply_to`` is delivered and announced like any other, a repeat too, and
    nothing is parked.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    body: dict[str, Any] = {
        "notification": "n1",
        "tokens": [device.token, "k9.xyz"],
        "content": {"data": "hello"},
    }
    await shop.tell("notification.send", **body)
    event = await system.events.wait_for("notification.accepted", notification="n1")
    assert (event.data.accepted, event.data.rejected) == (1, 1)  # type: ignore[union-attr]
    await system.provider.next_delivery()
    await shop.tell("notification.send", **body)
    repeated = await shop.send("n1", device.token, "k9.xyz")
    assert [each.index for each in repeated.deliveries] == [0]
    assert len(system.provider.deliveries) == 1
    assert await system.parked() == []


@pytest.mark.parametrize(
    "text", ["", "dXyz:APA91b", "k1." + "A" * 300, "\u00e4\x00 \U0001f600", "a" * 100_000, "."]
)
async def test_what_is_no_token_is_rejected_alone(system: System, text: str) -> None:
    """A text that is no token is rejected, and the token beside it is sent to."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    answer = await shop.send("n1", text, device.token)
    assert [each.index for each in answer.deliveries] == [1]
    assert [(each.index, each.code) for each in answer.rejected] == [(0, "token_forged")]
    await system.provider.next_delivery()


@pytest.mark.parametrize("other", [7, None, True, {"token": "k1.x"}, ["k1.x"]])
async def test_what_is_no_text_is_rejected_alone(system: System, other: object) -> None:
    """A token of another JSON type is rejected, and the token beside it is sent to."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    answer = await shop.send("n1", other, device.token)  # type: ignore[arg-type]
    assert [each.index for each in answer.deliveries] == [1]
    assert [(each.index, each.code) for each in answer.rejected] == [(0, "token_forged")]
    await system.provider.next_delivery()


async def test_a_repeat_is_answered_from_the_rows(system: System) -> None:
    """A repeated ``notification.send`` is answered from the existing rows before any token check,
    and delivers nothing twice.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    first = await shop.send("n1", device.token, "k9.xyz")
    await system.provider.next_delivery()
    await device.ask("client.deregister")
    assert await shop.send("n1", device.token, "k9.xyz") == first
    await system.events.wait_for("notification.accepted")
    assert len(system.events.of("notification.accepted")) == 1
    assert len(system.provider.deliveries) == 1


async def test_the_same_id_with_another_body_is_a_conflict(system: System) -> None:
    """The same ID with another body is a conflict, for the same sender only."""
    shop, bank = await system.user("shop"), await system.user("bank")
    device = await system.device("scripted:a1")
    await shop.send("n1", device.token)
    body = {"notification": "n1", "tokens": [device.token], "content": {"data": "other"}}
    assert (await shop.refused("notification.send", **body)).code == "conflict"
    theirs = await bank.send("n1", device.token, data="other")
    assert theirs.deliveries[0].delivery != (await shop.status("n1"))[0].delivery


async def test_twins_in_one_batch_are_one_notification(system: System) -> None:
    """The same request twice in one batch is accepted once and answered twice alike; a conflicting
    one beside them is refused.
    """
    shop = await system.user()
    device = await system.device("scripted:a1")
    body: dict[str, Any] = {"notification": "n1", "tokens": [device.token, device.token]}
    answers = await asyncio.gather(
        *(
            shop.ask("notification.send", content={"data": data}, **body)
            for data in ("a", "a", "b", "a")
        )
    )
    assert answers[0] == answers[1] == answers[3]
    assert getattr(answers[2], "code", None) == "conflict"
    first = answers[0]
    assert isinstance(first, NotificationAcceptedV1)
    assert [accepted.index for accepted in first.deliveries] == [0, 1]
    assert len({accepted.delivery for accepted in first.deliveries}) == 1
    await system.provider.next_delivery()
    assert len(system.provider.deliveries) == 1


@BOTH
async def test_a_thousand_tokens_are_accepted_at_once(system: System) -> None:
    """Point 3: up to 1,000 tokens in one request, accepted in one transaction."""
    shop = await system.user()
    apps = [f"app{number}" for number in range(50)]
    device = await system.device("scripted:a1", apps=apps)
    tokens = list(device.tokens.values())
    answer = await shop.send("n1", *(tokens * 20))
    assert len(answer.deliveries) == 1_000
    for _ in apps:
        await system.provider.next_delivery()
    assert {item.application for item in system.provider.deliveries} == set(apps)
    many = [f"k1.{number}" for number in range(1_001)]
    refused = await shop.refused(
        "notification.send", notification="n2", tokens=many, content={"data": "x"}
    )
    assert (refused.code, refused.field) == ("invalid", "tokens")


@BOTH
async def test_a_cancelled_notification_is_withdrawn(system: System) -> None:
    """What is not delivered yet is withdrawn; a repeat is answered the same."""
    shop, node = await system.user(), await system.node()
    stored, done = await system.device(), await system.device("websocket")
    await node.connect(done)
    await shop.send("n1", stored.token, done.token)
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    first = await cancel(shop, "n1")
    assert (first.cancelled, first.settled) == (1, 1)
    assert await cancel(shop, "n1") == first
    await system.events.wait_for("notification.cancelled", notification="n1")


async def test_only_its_sender_cancels(system: System) -> None:
    """IDs are scoped by sender."""
    shop, bank = await system.user("shop"), await system.user("bank")
    device = await system.device()
    await shop.send("n1", device.token)
    assert (await cancel(bank, "n1")).cancelled == 0
    assert (await shop.status("n1"))[0].state is DeliveryState.STORED
    assert (await bank.refused("notification.status", notification="n2")).code == "not_found"


async def test_only_its_sender_asks_about_a_delivery(system: System) -> None:
    """The ID of another sender's delivery tells nothing, though its notification has the same ID as
    one's own.
    """
    shop, bank = await system.user("shop"), await system.user("bank")
    device = await system.device()
    theirs = (await shop.send("n1", device.token)).deliveries[0].delivery
    mine = (await bank.send("n1", device.token)).deliveries[0].delivery
    refused = await bank.refused("notification.status", notification="n1", delivery=theirs)
    assert (refused.code, refused.field) == ("not_found", "delivery")
    answer = await bank.ask("notification.status", notification="n1", delivery=mine)
    assert isinstance(answer, NotificationStatusV1)
    assert [each.delivery for each in answer.deliveries] == [mine]


async def test_cancelling_what_is_still_on_its_way_leaves_a_tombstone(system: System) -> None:
    """Cancelling an unknown ID leaves a tombstone; what comes later is not sent."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    answer = await cancel(shop, "n1")
    assert (answer.cancelled, answer.settled) == (0, 0)
    body = {"notification": "n1", "tokens": [device.token], "content": {"data": "x"}}
    assert (await shop.refused("notification.send", **body)).code == "cancelled"
    assert system.provider.taken == []


async def test_ttl_zero_is_now_or_never(system: System) -> None:
    """``ttl=0`` is never stored; it expires at acceptance plus the first ack_within."""
    shop, node = await system.user(), await system.node()
    away, here = await system.device("websocket"), await system.device("websocket")
    await node.connect(here)
    await shop.send("n0", away.token, ttl=0)
    await system.events.wait_for("notification.expired", notification="n0")
    answer = await shop.send("n1", here.token, ttl=0)
    assert answer.expires_at is not None
    assert (answer.expires_at - system.clock.now()).total_seconds() == 30
    await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", notification="n1")
    await shop.send("n2", here.token, ttl=0)
    await node.next_delivery()
    await system.advance(31)
    await system.events.wait_for("notification.expired", notification="n2")
    assert system.events.of("notification.stored") == []


async def test_what_is_stored_expires(system: System) -> None:
    """Expiry is absolute, for what is stored as for what is under way."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await shop.send("n1", device.token, ttl=60)
    await system.advance(61)
    await system.events.wait_for("notification.expired", notification="n1")
    await node.connect(device)
    await system.process_due()
    assert node.items.empty()


async def test_the_backlog_of_a_client_is_bounded(open_system: OpenSystem) -> None:
    """Overflow of the backlog is a failure with a reason; no other client suffers."""
    system = await open_system(policy={"backlog": 2})
    shop = await system.user()
    full, other = await system.device(apps=("a", "b", "c")), await system.device()
    await shop.send("n1", *full.tokens.values(), other.token)
    event = await system.events.wait_for("notification.failed", notification="n1")
    assert event.data.reason == "backlog_full"  # type: ignore[union-attr]
    states = sorted(row.state for row in await system.rows("n1"))
    assert states == ["failed", "stored", "stored", "stored"]
    await shop.send("n2", full.tokens["a"])
    await system.events.wait_for("notification.failed", notification="n2")


async def test_what_could_not_be_delivered_fills_the_backlog_too(open_system: OpenSystem) -> None:
    """The bound holds wherever a delivery becomes stored: when the time of a silent device is over,
    and by an outcome; the newest fail.
    """
    system = await open_system(policy={"backlog": 3})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device)
    names = [f"n{number:02}" for number in range(10)]
    for name in names:
        await shop.send(name, device.token)
    for _ in range(4):
        await node.report(await node.next_delivery(), OutcomeKind.COULD_NOT_WAKE)
    await system.events.wait_for("notification.failed", notification=names[3])
    await system.advance(31)
    rows = await system.rows(*names)
    assert [row.state for row in rows] == ["stored"] * 3 + ["failed"] * 7
    assert {row.reason for row in rows[3:]} == {"backlog_full"}
    assert all(row.deadline is None for row in rows[3:])
    told = await system.events.wait_for("notification.failed", notification=names[-1])
    assert told.data.reason == "backlog_full"  # type: ignore[union-attr]
    assert not system.events.of("notification.stored", notification=names[-1])


@BOTH
async def test_a_status_is_bounded(system: System) -> None:
    """An answer with 1,000 stories would have megabytes: for many deliveries it contains the states
    only, and a request for one of them returns its story.
    """
    shop, apps = await system.user(), [f"app.a{n}" for n in range(MAX_STORIES + 1)]
    device = await system.device(apps=apps)
    tokens = list(device.tokens.values())
    await shop.send("few", *tokens[1:])
    accepted = await shop.send("many", *tokens)
    few = await shop.ask("notification.status", notification="few")
    assert isinstance(few, NotificationStatusV1)
    assert few.stories
    assert all(each.story for each in few.deliveries)
    many = await shop.ask("notification.status", notification="many")
    assert isinstance(many, NotificationStatusV1)
    assert not many.stories
    assert {(each.state, each.story) for each in many.deliveries} == {("stored", ())}
    assert len(many.encode()) / len(many.deliveries) * 1_000 < MAX_BODY
    asked: dict[str, Any] = {"notification": "many", "delivery": accepted.deliveries[7].delivery}
    one = await shop.ask("notification.status", **asked)
    assert isinstance(one, NotificationStatusV1)
    (told,) = one.deliveries
    assert (told.delivery, bool(told.story), one.stories) == (asked["delivery"], True, True)
    for other in ({**asked, "notification": "few"}, {**asked, "delivery": "dlv_" + "a" * 26}):
        refused = await shop.refused("notification.status", **other)
        assert (refused.code, refused.field) == ("not_found", "delivery")


async def test_the_status_tells_the_story(system: System) -> None:
    """Promise: the status tells hop by hop what became of each delivery."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    await node.connect(device)
    await shop.send("n1", device.token)
    await node.next_delivery()
    await system.advance(31)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "accepted" in story)
    await system.advance(31)
    await system.events.wait_for("notification.delivered", notification="n1")
    (delivery,) = await shop.status("n1")
    assert (delivery.state, delivery.by) == ("delivered", "provider")
    assert [(hop.what, hop.channel, hop.attempt) for hop in delivery.story] == [
        ("sent", "websocket", 1),
        ("not acknowledged", "websocket", 1),
        ("sent", "scripted", 2),
        ("accepted", "scripted", 2),
        ("not acknowledged", "scripted", 2),
        ("delivered", "scripted", None),
    ]
