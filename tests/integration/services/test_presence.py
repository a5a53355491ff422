"""The session of a client: a late or repeated request does not replace a newer one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aoi_events.contracts.answers import RefusedV1
from aoi_events.contracts.envelopes import OutcomeKind
from aoi_events.domain.clients.client import Client, Presence
from tests.integration.services.conftest import BOTH
from tests.support.actors import Device, Node
from tests.support.counts import value
from tests.support.system import System


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
    """A worker that was suspended handles a hello whose device is connected elsewhere by now: the
    hello is refused for now, and the present session stays.
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
    first = await node.next_close()
    assert (first.session, first.epoch) == ("s1", 1)
    system.clock.advance(60)
    assert await node.connect(device, "s2", answer_by=answer_by) == welcome
    assert await node.next_close() == first


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


@pytest.mark.parametrize("epoch", [1, 3])
async def test_an_announcement_of_another_session_changes_nothing(
    system: System, epoch: int
) -> None:
    """A session that another one replaced, or one of an unknown epoch, is refused also under a new
    name of its node.
    """
    old, new, renamed = [await system.node(f"gw-{n}") for n in (1, 2, 3)]
    device = await system.device("websocket")
    await old.connect(device, "s1")
    await new.connect(device, "s2")
    before = await row_of(system, device)
    assert before.epoch == 2
    assert (await refused(renamed, device, "s1", epoch=epoch)).code == "conflict"
    assert await row_of(system, device) == before
    assert new.items.empty()


async def test_the_newest_session_is_announced_after_its_presence_was_given_up(
    system: System,
) -> None:
    """A delivery came back from the name that went, so the presence is gone; as no other session
    has begun, the newest one goes on.
    """
    first, second = await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    await first.connect(device, "s1")
    await first.disconnect(device, 1)
    assert (await row_of(system, device)).presence is None
    assert (await second.announce(device, "s1", 1)).epoch == 2
    assert (await row_of(system, device)).presence == Presence("gw-2", "s1")


@BOTH
async def test_sessions_are_confirmed_together(system: System) -> None:
    """Of the sessions that a gateway names together one is as the store has it, one was given up,
    one has another node, and one was replaced: the answer names the last three, and only the two
    between are written.
    """
    old, new = await system.node("gw-1"), await system.node("gw-2")
    same, lost, moved, gone = [await system.device("websocket") for _ in range(4)]
    for device, node in ((same, new), (lost, new), (moved, old), (gone, new)):
        await node.connect(device, f"s{device.client[4:12]}")
    names = {device.client: f"s{device.client[4:12]}" for device in (same, lost, moved, gone)}
    await new.disconnect(lost, 1)
    await old.connect(gone, "other")
    before = {each.client: await row_of(system, each) for each in (same, gone)}
    answer = await new.confirm(
        *((each, names[each.client], 1) for each in (same, lost, moved, gone))
    )
    assert answer == {
        names[lost.client]: 2,
        names[moved.client]: 2,
        names[gone.client]: "conflict",
    }
    for device in (lost, moved):
        row = await row_of(system, device)
        assert row.presence == Presence("gw-2", names[device.client])
    for device in (same, gone):
        assert await row_of(system, device) == before[device.client]


@BOTH
async def test_what_was_stored_is_sent_when_a_session_is_confirmed(system: System) -> None:
    """A notification is stored while the presence is given up; the gateway says that the device is
    there, and it is sent at once, under the new epoch.
    """
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device, "s1")
    await node.disconnect(device, 1)
    await shop.send("n1", device.token)
    await system.events.wait_for("notification.stored", notification="n1")
    assert await node.confirm((device, "s1", 1)) == {"s1": 2}
    await system.process_due()
    assert (await node.next_delivery()).epoch == 2
    assert await node.confirm((device, "s1", 2)) == {}


async def test_an_epoch_whose_answer_was_lost_is_learned_again(system: System) -> None:
    """The store has a later epoch of the session than its gateway, which is answered with it; also
    when the presence was given up in between.
    """
    first, second = await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    await first.connect(device, "s1")
    assert await second.confirm((device, "s1", 1)) == {"s1": 2}
    assert await second.confirm((device, "s1", 1)) == {"s1": 2}
    await second.disconnect(device, 2)
    assert await second.confirm((device, "s1", 1)) == {"s1": 3}


async def test_a_late_confirmation_changes_nothing(system: System) -> None:
    """A session of a node that the device left, said again after its gateway stopped waiting, or
    after the device moved, is refused: nobody's presence is taken.
    """
    old, new = await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    await old.connect(device, "s1")
    await old.disconnect(device, 1)
    answer_by = system.clock.now().isoformat()
    system.clock.advance(1)
    late = await old.confirm((device, "s1", 1), answer_by=answer_by)
    assert late == {"s1": "unavailable"}
    await new.connect(device, "s2")
    before = await row_of(system, device)
    assert await old.confirm((device, "s1", 1)) == {"s1": "conflict"}
    assert await row_of(system, device) == before


async def test_who_removes_a_presence_logs_and_counts_it(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """A message for a device comes back, as its gateway's queue is gone: the log names the queue,
    and the presence counts once, however many messages come back.
    """
    shop, node = await system.user(), await system.node("gw-1")
    device = await system.device("websocket")
    await node.connect(device, "s1")
    await node.die()
    for name in ("n1", "n2"):
        await shop.send(name, device.token)
        await system.events.wait_for("notification.stored", notification=name)
    assert (await row_of(system, device)).presence is None
    (line,) = [vars(each) for each in caplog.records if each.getMessage() == "presences_removed"]
    assert (line["clients"], line["nodes"]) == (1, ["gw-1"])
    assert value(system.installation.metrics, "aoi_presences_removed_total") == 1


async def test_a_device_that_left_is_no_presence_that_was_removed(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """Its gateway runs, and reports the session as gone: nothing is wrong with a queue."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device, "s1")
    await shop.send("n1", device.token)
    await node.report(await node.next_delivery(), OutcomeKind.ROUTE_LOST, epoch=1)
    await system.events.wait_for("notification.stored", notification="n1")
    assert (await row_of(system, device)).presence is None
    assert "presences_removed" not in caplog.text


EPOCHS = pytest.mark.parametrize("epoch,ends", [(1, False), (2, True), (3, False)])
"""What is said of an older, the present, and a later session of a client, and which one ends it."""


@EPOCHS
async def test_only_the_present_session_leaves(system: System, epoch: int, *, ends: bool) -> None:
    """Late word of a session that another one took over from leaves the present one alone."""
    node, device = await system.node(), await system.device("websocket")
    for session in ("s1", "s2"):
        await node.connect(device, session)
    await node.disconnect(device, epoch)
    row = await row_of(system, device)
    assert (row.presence is None, row.epoch) == (ends, 2)


@EPOCHS
async def test_only_the_present_session_is_lost(system: System, epoch: int, *, ends: bool) -> None:
    """*Route lost* ends the presence of the epoch that it names, and of no other."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    await node.connect(device, "s1")
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    await node.connect(device, "s2")
    await node.report(item, OutcomeKind.ROUTE_LOST, epoch=epoch)
    await system.events.wait_for("notification.stored", notification="n1")
    row = await row_of(system, device)
    assert (row.presence is None, row.epoch) == (ends, 2)
