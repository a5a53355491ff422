"""Backlog overflow: the client learns that it lost notifications."""

from __future__ import annotations

import pytest

from aoi_events.contracts.answers import ClientDeregisteredV1
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem


@BOTH
async def test_a_client_that_lost_notifications_is_told_once(open_system: OpenSystem) -> None:
    """The hello after an overflow counts what was lost; a repeat of it says the same, the next
    session nothing, and what is lost later is counted anew.
    """
    system = await open_system(policy={"backlog": 2})
    shop, node = await system.user(), await system.node()
    device, other = await system.device(), await system.device()
    for number in range(5):
        await shop.send(f"n{number}", device.token)
    first = await node.connect(device, "s1")
    assert first.lost == 3
    assert await node.connect(device, "s1") == first
    assert (await node.connect(other, "o1")).lost == 0
    assert (await node.connect(device, "s2")).lost == 0
    assert (await node.connect(device, "s2")).lost == 0
    await shop.send("n5", device.token)
    assert (await node.connect(device, "s2")).lost == 0
    assert (await node.connect(device, "s3")).lost == 1


@BOTH
async def test_a_client_that_may_not_have_heard_is_told_again(open_system: OpenSystem) -> None:
    """A session may end before its device read the count of losses; a device that names the session
    in which it read the last count receives all losses since, and none twice.
    """
    system = await open_system(policy={"backlog": 1})
    shop, node = await system.user(), await system.node()
    device = await system.device()
    for number in range(3):
        await shop.send(f"n{number}", device.token)
    assert (await node.connect(device, "s1", heard="")).lost == 2
    await shop.send("n3", device.token)
    assert (await node.connect(device, "s2", heard="")).lost == 3
    assert (await node.connect(device, "s3", heard="s2")).lost == 0
    await shop.send("n4", device.token)
    assert (await node.connect(device, "s4", heard="s2")).lost == 1
    assert (await node.connect(device, "s5", heard="s2")).lost == 1
    assert (await node.connect(device, "s6", heard="s5")).lost == 0
    assert (await node.connect(device, "s7", heard="s5")).lost == 0


@BOTH
async def test_a_client_ends_after_what_is_stored_for_it(open_system: OpenSystem) -> None:
    """``client.deregister`` with ``drained`` is refused while notifications are stored, so that
    none of them fails; its repeat is answered as the first.
    """
    system = await open_system(policy={"backlog": 2})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    for number in range(3):
        await shop.send(f"n{number}", device.token)
    await node.connect(device, "s1")
    assert (await device.refused("client.deregister", drained=True)).code == "conflict"
    await system.process_due()
    for _ in range(2):
        await node.acknowledge(await node.next_delivery())
    await system.events.wait_for("notification.delivered", count=2)
    gone = await device.ask("client.deregister", drained=True)
    assert isinstance(gone, ClientDeregisteredV1)
    assert await device.ask("client.deregister", drained=True) == gone
    states = [row.state for row in await system.rows("n0", "n1", "n2")]
    assert states == ["delivered", "delivered", "failed"]


@pytest.mark.parametrize("backend", ["memory+postgresql"], indirect=True)
async def test_losses_count_wherever_the_backlog_overflows(open_system: OpenSystem) -> None:
    """At acceptance, and when a device stays silent until its time is over."""
    system = await open_system(policy={"backlog": 1})
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device, "s1")
    for number in range(4):
        await shop.send(f"n{number}", device.token)
    await system.advance(31)
    await system.events.wait_for("notification.failed", count=3, reason="backlog_full")
    assert (await node.connect(device, "s2")).lost == 3


@BOTH
async def test_what_waits_for_a_provider_is_bounded_too(open_system: OpenSystem) -> None:
    """A provider that says "not now" to everything: what was put off first stays and is tried
    again, the rest fails.
    """
    system = await open_system(policy={"backlog": 3})
    system.provider.script(*[Say.refused()] * 30)
    shop = await system.user()
    device = await system.device("scripted:a1")
    for number in range(10):
        await shop.send(f"n{number}", device.token)
    await system.events.wait_for("notification.failed", count=7, reason="backlog_full")
    names = [f"n{number}" for number in range(10)]
    waiting = [row.notification for row in await system.rows(*names) if not row.state.terminal]
    for _ in range(3):
        # Tried again and refused again, they keep their places before those that come later.
        system.provider.script(*[Say.refused()] * 30)
        await system.advance(300)
        await shop.send(f"late{_}", device.token)
        await system.events.wait_for("notification.failed", notification=f"late{_}")
    rows = await system.rows(*names)
    assert [row.notification for row in rows if not row.state.terminal] == waiting
