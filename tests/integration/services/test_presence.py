"""Whose session a client's is: what comes late, or comes again, takes nobody's place."""

from __future__ import annotations

from datetime import timedelta

from aoi_events.contracts.answers import RefusedV1
from aoi_events.domain.clients import Client
from tests.integration.services.conftest import BOTH
from tests.integration.services.harness import Device, Node, System


async def row_of(system: System, device: Device) -> Client:
    """The client as it stands in the store."""
    async with system.installation.store.transaction(read_only=True) as tx:
        return (await tx.clients({device.client}))[device.client]


async def refused(node: Node, device: Device, session: str, **more: object) -> RefusedV1:
    """A session of the device is refused here."""
    proof = {} if "epoch" in more else {"secret": device.secret}
    return await node.user.refused(
        "client.connected",
        client=device.client,
        node=node.name,
        session=session,
        **proof,
        **more,
    )


@BOTH
async def test_a_hello_that_nobody_waits_for_any_more_changes_nothing(system: System) -> None:
    """A worker that was frozen takes up a hello whose device has long come back elsewhere: it is
    told to come later, and the present session stays.
    """
    old, new = await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    answer_by = system.clock.now() + timedelta(seconds=10)
    system.clock.advance(10.001)
    await new.connect(device, "s2")
    late = await refused(old, device, "s1", answer_by=answer_by.isoformat())
    assert late.code == "unavailable"
    assert "clock" in late.message
    row = await row_of(system, device)
    assert (row.presence, row.epoch) == (row.presences[-1], 1)
    assert new.items.empty()


async def test_a_hello_in_time_opens_a_session(system: System) -> None:
    """Up to the very moment until which the gateway waits."""
    node, device = await system.node(), await system.device("websocket")
    answer_by = system.clock.now() + timedelta(seconds=10)
    system.clock.advance(10)
    welcome = await node.connect(device, "s1", answer_by=answer_by.isoformat())
    assert welcome.epoch == 1


async def test_a_late_repeat_of_the_present_session_tells_the_same(system: System) -> None:
    """A worker died between commit and publish: what the hello took over from is closed by the run
    after it, however late that comes.
    """
    node, device = await system.node(), await system.device("websocket")
    await node.connect(device, "s1")
    answer_by = (system.clock.now() + timedelta(seconds=10)).isoformat()
    welcome = await node.connect(device, "s2", answer_by=answer_by)
    assert (await node.next_close()).session == "s1"
    system.clock.advance(60)
    assert await node.connect(device, "s2", answer_by=answer_by) == welcome
    assert (await node.next_close()).session == "s1"


@BOTH
async def test_a_hello_that_comes_again_does_not_displace_a_newer_session(system: System) -> None:
    """A worker died between commit and ack, and the hello comes again when its session has gone and
    the device is connected elsewhere.
    """
    old, new = await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    await old.connect(device, "s1")
    await old.disconnect(device, 1)
    newer = await new.connect(device, "s2")
    assert newer.epoch == 2
    assert (await refused(old, device, "s1")).code == "conflict"
    row = await row_of(system, device)
    assert row.presence is not None
    assert (row.presence.session, row.epoch) == ("s2", 2)
    assert new.items.empty()


async def test_an_announcement_that_comes_again_does_not_lead_back(system: System) -> None:
    """A session went on under a second and a third name of its node: whatever was asked under the
    first two comes again, and deliveries keep going to the third.
    """
    device = await system.device("websocket")
    first, second, third = [await system.node(f"gw-{n}") for n in (1, 2, 3)]
    await first.connect(device, "s1")
    assert (await second.announce(device, "s1", 1)).epoch == 2
    assert (await second.announce(device, "s1", 1)).epoch == 2
    # The answer to the second did not arrive, so the third time the first epoch is named, too.
    assert (await third.announce(device, "s1", 1)).epoch == 3
    assert (await refused(second, device, "s1", epoch=1)).code == "expired"
    assert (await refused(first, device, "s1")).code == "expired"
    row = await row_of(system, device)
    assert row.presence is not None
    assert (row.presence.node, row.epoch) == ("gw-3", 3)


async def test_an_announcement_that_nobody_waits_for_changes_nothing(system: System) -> None:
    """Late announcements are refused like late hellos, so that the gateway asks again."""
    device = await system.device("websocket")
    first, second = await system.node("gw-1"), await system.node("gw-2")
    await first.connect(device, "s1")
    answer_by = system.clock.now().isoformat()
    system.clock.advance(1)
    late = await refused(second, device, "s1", epoch=1, answer_by=answer_by)
    assert late.code == "unavailable"
    assert (await row_of(system, device)).epoch == 1
