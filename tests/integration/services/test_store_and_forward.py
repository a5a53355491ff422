"""Store-and-forward: what waits goes out when the device returns, in order and in batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from aoi_events.contracts.answers import ChannelsActivatedV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import Device
from tests.support.system import System


async def connects(system: System, device: Device) -> None:
    """Comes back over its connection, with nothing but that."""
    await (await system.node("gw-2")).connect(device, "s2")


async def activates(system: System, device: Device) -> None:
    """Comes back with a channel."""
    await device.activate("scripted:a1")


async def starts_an_app(system: System, device: Device) -> None:
    """An app starts."""
    await device.register_app()


@pytest.mark.parametrize("returns", [connects, activates, starts_an_app])
async def test_it_is_due_when_the_device_returns(
    system: System, returns: Callable[[System, Device], Awaitable[None]]
) -> None:
    """Stored is due at the next connection, activation, or ``application.register``."""
    shop = await system.user()
    device = await system.device("websocket")
    await shop.send("n1", device.token)
    await system.events.wait_for("notification.stored", notification="n1")
    await returns(system, device)
    (row,) = await system.rows("n1")
    assert row.released
    await system.process_due()
    (row,) = await system.rows("n1")
    assert (row.state, row.released) == (
        "stored" if returns is starts_an_app else "sending",
        False,
    )


async def confirms(system: System, device: Device) -> None:
    """Comes back with the proof of an address."""
    code = (await system.provider.next_challenge()).code
    answer = await device.ask("channel.confirm", channel="scripted", code=code)
    assert isinstance(answer, ChannelsActivatedV1), answer


async def deactivates(system: System, device: Device) -> None:
    """Gives its channels up."""
    await device.ask("channel.deactivate", sequence=device.next(), channels=[])


@pytest.mark.parametrize(
    "acts,counted",
    [
        (connects, True),
        (activates, True),
        (confirms, True),
        (starts_an_app, True),
        (deactivates, False),
    ],
)
async def test_returns_are_counted(
    open_system: OpenSystem,
    acts: Callable[[System, Device], Awaitable[None]],
    *,
    counted: bool,
) -> None:
    """Whatever may make a client reachable counts as a return, so that who stores one of its
    deliveries at that moment can tell; what makes it less reachable does not.
    """
    system = await open_system(plugin={"needs_proof": True})
    device = await system.device("websocket", "scripted:a1")
    store = system.installation.store
    async with store.transaction(read_only=True) as tx:
        before = (await tx.clients({device.client}))[device.client].returns
    await acts(system, device)
    async with store.transaction(read_only=True) as tx:
        after = (await tx.clients({device.client}))[device.client].returns
    assert after == before + int(counted)


@BOTH
async def test_order_holds_although_another_worker_had_begun(system: System) -> None:
    """Order holds within a batch, also where two deadlines workers share the work: one that claims
    less than all and is slow, or dies, leaves no later part for the other.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    sent = [f"n{number}" for number in range(6)]
    for name in sent:
        await shop.send(name, device.token)
    await node.connect(device)
    now = system.clock.now()
    async with system.installation.store.transaction() as tx:
        claimed = await tx.claim_due(now, 3, until=now + timedelta(seconds=5))
    assert len(claimed) == 6
    await system.process_due()
    assert {row.state for row in await system.rows(*sent)} == {"stored"}
    await system.advance(5)
    assert [(await node.next_delivery()).notification for _ in sent] == sent


@BOTH
async def test_batches_are_bounded_and_follow_each_other_in_order(open_system: OpenSystem) -> None:
    """Due in bounded batches; when the last of a batch settles or is stored again, the next becomes
    due; order holds within and between batches.
    """
    system = await open_system(policy={"release": 8})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    sent = [f"n{number}" for number in range(20)]
    for name in sent:
        await shop.send(name, device.token)
    await node.connect(device)

    for batch in (sent[:8], sent[8:16], sent[16:]):
        await system.process_due()
        items = [await node.next_delivery() for _ in batch]
        assert [item.notification for item in items] == batch
        assert node.items.empty()
        for item in items:
            await node.acknowledge(item)
        for item in items:
            await system.events.wait_for("notification.delivered", delivery=item.delivery)


async def test_a_batch_that_is_stored_again_lets_the_next_follow(open_system: OpenSystem) -> None:
    """Stored again counts as over, so one app that cannot be woken holds nothing up."""
    system = await open_system(policy={"release": 1})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    for name in ("n0", "n1"):
        await shop.send(name, device.token)
    await node.connect(device)
    await system.process_due()
    system.clock.advance(1)
    first = await node.next_delivery()
    await node.report(first, OutcomeKind.COULD_NOT_WAKE, at=system.clock.now())
    await system.until(lambda: system.rows("n1"), lambda rows: rows[0].released)
    await system.process_due()
    assert (await node.next_delivery()).notification == "n1"


async def test_cancelling_the_last_of_a_batch_lets_the_next_follow(
    open_system: OpenSystem,
) -> None:
    """A batch ends however its last delivery ends."""
    system = await open_system(policy={"release": 1})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    for name in ("n0", "n1"):
        await shop.send(name, device.token)
    await node.connect(device)
    await system.process_due()
    await node.next_delivery()
    await shop.ask("notification.cancel", notification="n0")
    await system.process_due()
    assert (await node.next_delivery()).notification == "n1"


async def test_what_waits_for_a_retry_is_tried_at_once_on_return(system: System) -> None:
    """A delivery that waits for its retry is released with the others."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket", "scripted:a1")
    system.provider.default = Say.refused(retry_after=600)
    await shop.send("n1", device.token)
    await system.provider.next_delivery()
    await system.until(lambda: shop.story("n1"), lambda story: "refused" in story)
    await node.connect(device)
    await system.process_due()
    item = await node.next_delivery()
    assert item.attempt == 2
    await node.acknowledge(item)
    await system.events.wait_for("notification.delivered", notification="n1")


async def test_a_return_with_nothing_to_reach_keeps_it_stored(system: System) -> None:
    """Without an active channel, an app's start releases in vain, and costs nothing: the event
    *stored* is published once.
    """
    shop = await system.user()
    device = await system.device()
    await shop.send("n1", device.token)
    await device.register_app()
    await system.process_due()
    await device.activate("scripted:a1")
    await system.process_due()
    await system.provider.next_delivery()
    await system.events.wait_for("notification.stored")
    assert len(system.events.of("notification.stored")) == 1
