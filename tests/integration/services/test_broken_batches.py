"""A batch that breaks after its commit: each of its items is handled and published again, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aoi_events.broker.memory import MemoryBroker
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.ports.broker import Outbound, Published
from aoi_events.services.messages.requests import IncomingRequest
from aoi_events.services.notification.handler import NotificationHandler
from aoi_events.services.runtime.batch_worker import BatchWorker
from aoi_events.services.runtime.handler import Handler
from aoi_events.services.runtime.parking import Parking
from tests.integration.services.conftest import OpenSystem
from tests.integration.services.crashes import Replies, handler, system_without
from tests.support.system import System


class BreaksOnce(MemoryBroker):
    """A connection whose first publish breaks on a bug, with all that is to be published."""

    broken = False

    async def publish(self, messages: Sequence[Outbound]) -> Sequence[Published]:
        """As usual, but for the first."""
        if not self.broken:
            self.broken = True
            raise ZeroDivisionError("a bug in publishing")
        return await super().publish(messages)


class BreaksAt(NotificationHandler):
    """Commits what it is asked for, and then breaks on the notification ``n2``."""

    async def handle(self, items: Sequence[IncomingRequest]) -> Sequence[Outbound]:
        """As usual, and then break."""
        outputs = await super().handle(items)
        if any(getattr(item.request, "notification", None) == "n2" for item in items):
            raise ZeroDivisionError("a bug in what follows the commit")
        return outputs


async def run(
    system: System, doomed: Handler[Any], *, broker: Callable[..., MemoryBroker], **more: Any
) -> None:
    """Run a worker of this handler on such a connection until the test ends."""
    known = await system.connect("aoi")
    assert isinstance(known, MemoryBroker)
    connection = broker(known.server, user="aoi")
    system.stack.push_async_callback(connection.close)
    await known.close()
    worker = BatchWorker(
        doomed,
        broker=connection,
        parking=Parking(system.installation.store, system.clock, quota=10),
        clock=system.clock,
        give_up=lambda: None,
        **more,
    )
    await system.run(worker.run)


async def test_first_steps_of_a_committed_batch_start_when_publishing_breaks(
    open_system: OpenSystem,
) -> None:
    """The batch is committed and nothing of it is published: handled again one by one, each
    notification is answered, announced and started, though its rows are known already.
    """
    system = await system_without(open_system, "notification")
    device = await system.device("scripted:a1")
    replies = await Replies.of(await system.user())
    for name in ("n1", "n2"):
        await replies.ask(
            "notification.send", notification=name, tokens=[device.token], content={"data": "x"}
        )
    await run(system, handler(system, "notification"), broker=BreaksOnce)
    started = [await system.provider.next_delivery() for _ in range(2)]
    assert {item.notification for item in started} == {"n1", "n2"}
    assert {item.attempt for item in started} == {1}
    answers = [await replies.next(), await replies.next()]
    assert {getattr(answer, "notification", None) for answer in answers} == {"n1", "n2"}
    for name in ("n1", "n2"):
        await system.events.wait_for("notification.accepted", notification=name)
    assert await system.parked() == []


async def test_first_steps_of_a_committed_batch_start_when_one_item_breaks(
    open_system: OpenSystem,
) -> None:
    """The batch is committed and one item of it breaks: the others are answered, announced and
    started; that one is parked.
    """
    system = await system_without(open_system, "notification")
    device = await system.device("scripted:a1")
    replies = await Replies.of(await system.user())
    for name in ("n1", "n2", "n3"):
        await replies.ask(
            "notification.send", notification=name, tokens=[device.token], content={"data": "x"}
        )
    found = system.installation
    doomed = BreaksAt(found.store, found.services, system.clock, system.dice)
    await run(system, doomed, broker=MemoryBroker)
    started = [await system.provider.next_delivery() for _ in range(2)]
    assert [item.notification for item in started] == ["n1", "n3"]
    answers = [await replies.next() for _ in range(3)]
    assert [getattr(answer, "code", "ok") for answer in answers] == ["ok", "internal", "ok"]
    assert [row.code for row in await system.parked()] == ["internal"]


async def test_next_steps_of_a_committed_batch_start_when_publishing_breaks(
    open_system: OpenSystem,
) -> None:
    """Outcomes are merged and nothing of it is published: handled again one by one, the next step
    of one delivery is started, and the end of the other is announced.
    """
    system = await system_without(open_system, "outcome")
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    welcome = await node.connect(device)
    for name in ("n1", "n2"):
        await shop.send(name, device.token)
    first, second = await node.next_delivery(), await node.next_delivery()
    await node.report(first, OutcomeKind.ROUTE_LOST, epoch=welcome.epoch)
    await node.acknowledge(second)
    await run(system, handler(system, "outcome"), broker=BreaksOnce)
    assert (await system.provider.next_delivery()).notification == first.notification
    await system.events.wait_for("notification.delivered", notification=second.notification)
    assert await system.parked() == []


@pytest.mark.parametrize("name", ["registration", "activation"])
async def test_requests_of_a_committed_batch_are_answered_when_publishing_breaks(
    open_system: OpenSystem, name: str
) -> None:
    """The batch is committed and nothing of it is published: handled again one by one, each request
    gets the answer of its first run.
    """
    system = await system_without(open_system, name)
    replies = await Replies.of(await system.user("devices"))
    if name == "registration":
        for number in range(2):
            hashed = f"{number}" * 64
            await replies.ask(
                "client.register", device="d", identity=f"i{number}", secret_hash=hashed
            )
    else:
        for number in range(2):
            device = await system.client(f"tel:+1555010{number}", device=f"d{number}")
            offers = [{"type": "scripted", "parameters": {"address": f"a{number}"}}]
            await replies.ask("channel.activate", **device.proof, sequence=1, offers=offers)
    await run(system, handler(system, name), broker=BreaksOnce)
    answers = [await replies.next(), await replies.next()]
    assert [getattr(answer, "code", "ok") for answer in answers] == ["ok", "ok"]
    assert await system.parked() == []
