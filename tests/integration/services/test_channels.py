"""Notification channel activation (8.1.2, 8.2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from aoi_events.contracts.answers import ChannelsActivatedV1
from aoi_events.contracts.states import CloseReason
from aoi_events.testing.scripted import Say
from tests.integration.services.conftest import BOTH, OpenSystem
from tests.support.actors import Device
from tests.support.system import System


def selected(answer: ChannelsActivatedV1) -> list[tuple[str, str]]:
    """Type and state of each selected channel, best first."""
    return [(channel.type, channel.state) for channel in answer.selected]


async def deactivate(device: Device, *types: str, sequence: int) -> ChannelsActivatedV1:
    """``channel.deactivate``."""
    answer = await device.ask("channel.deactivate", channels=list(types), sequence=sequence)
    assert isinstance(answer, ChannelsActivatedV1), answer
    return answer


@BOTH
async def test_several_channels_are_active_at_once(system: System) -> None:
    """8.2.2: the AOI Server "SHALL select the most appropriate notification channel(s)", "SHALL
    activate" and "SHALL communicate" them, and the result "SHALL be stored": a connection first,
    and a connectionless one beside it.
    """
    device = await system.client()
    answer = await device.activate("scripted:a1", "websocket")
    assert selected(answer) == [("websocket", "active"), ("scripted", "active")]
    async with system.installation.store.transaction(read_only=True) as tx:
        rows = (await tx.channels({device.client}))[device.client]
    assert [(row.type, row.parameters) for row in rows] == [
        ("websocket", {}),
        ("scripted", {"address": "a1"}),
    ]
    for kind in ("websocket", "scripted"):
        await system.events.wait_for("channel.activated", client=device.client, channel=kind)


async def test_the_answer_says_why_not(open_system: OpenSystem) -> None:
    """The answer says of each other offer why it was not selected."""
    system = await open_system(policy={"connectionless_channels": 0})
    device = await system.client()
    answer = await device.activate("telex", "websocket:x", "scripted:a1")
    unselected = {channel.type: channel for channel in answer.not_selected}
    assert answer.selected == ()
    assert unselected["telex"].reason == CloseReason.NO_SUCH_CHANNEL
    assert unselected["websocket"].reason == CloseReason.OFFER_REFUSED
    assert "no parameters" in (unselected["websocket"].detail or "")
    assert unselected["scripted"].reason == CloseReason.OTHERS_PREFERRED


@pytest.mark.parametrize("text", ["a" * 4_097, "\u00e4" * 2_049, "a\x00", "a\n", "\x9b"])
async def test_a_text_that_no_channel_can_use_is_one_refused_offer(
    system: System, text: str
) -> None:
    """A text that is too long, or has control characters, refuses its own offer and no other."""
    device = await system.client()
    offers = [{"type": "websocket"}, {"type": "scripted", "parameters": {"address": text}}]
    answer = await device.activate(offers=offers)
    assert [channel.type for channel in answer.selected] == ["websocket"]
    (refused,) = answer.not_selected
    assert (refused.type, refused.reason) == ("scripted", CloseReason.OFFER_REFUSED)
    assert "4096 octets" in (refused.detail or "")


async def test_circumstances_count(system: System) -> None:
    """8.2.2: it SHALL select "taking into account the information received from the AOI Client":
    without a bearer for a connection, the connectionless channel comes first.
    """
    device = await system.client()
    answer = await device.activate("websocket", "scripted:a1", circumstances={"bearer": "none"})
    assert [channel.type for channel in answer.selected] == ["scripted", "websocket"]


async def test_a_repeat_is_answered_the_same(system: System) -> None:
    """The same command again gets the same answer, and tells the same events again."""
    device = await system.device("websocket", "scripted:a1")
    first = await device.activate("websocket", "telex", sequence=5)
    again = await device.activate("websocket", "telex", sequence=5)
    assert first == again
    assert {c.type: c.reason for c in first.not_selected}["scripted"] == CloseReason.NOT_OFFERED
    await system.events.wait_for("channel.closed", count=2, channel="scripted")
    one, two = system.events.of("channel.closed", channel="scripted")
    assert one.id == two.id


async def test_an_older_or_different_command_changes_nothing(system: System) -> None:
    """An older sequence number, with whatever body, or an equal one with another body, is answered
    with the stored state and number, above which the client goes on.
    """
    device = await system.client()
    await device.activate("websocket", sequence=5)
    for answer in (
        await device.activate("scripted:a1", sequence=4),
        await device.activate("scripted:a1", sequence=5),
        await deactivate(device, sequence=5),
    ):
        assert (answer.applied, answer.sequence) == (False, 5)
        assert selected(answer) == [("websocket", "active")]
    assert (await device.activate("scripted:a1", sequence=6)).applied
    assert (await deactivate(device, sequence=8)).applied
    older = await deactivate(device, sequence=7)
    assert (older.applied, older.sequence) == (False, 8)


async def test_a_new_command_replaces_the_set(system: System) -> None:
    """8.1.2: the client indicates each change; what it offers no longer ends, with an event."""
    shop = await system.user()
    device = await system.device("websocket", "scripted:a1")
    answer = await device.activate("scripted:a2")
    assert selected(answer) == [("scripted", "active")]
    await system.events.wait_for("channel.closed", channel="websocket", reason="not_offered")
    await shop.send("n1", device.token)
    assert (await system.provider.next_delivery()).parameters == {"address": "a2"}


async def test_what_the_client_ended_itself_is_not_told_to_it(system: System) -> None:
    """A welcome names the channels that the server closed, and neither those that the client offers
    no longer nor those that it deactivated.
    """
    node, device = await system.node(), await system.device("websocket", "scripted:a1")
    assert selected(await device.activate("websocket")) == [("websocket", "active")]
    assert (await node.connect(device, "s1")).closed == ()
    await deactivate(device, "websocket", sequence=device.next())
    assert (await node.connect(device, "s2")).closed == ()


async def test_deactivated_channels_are_not_used(system: System) -> None:
    """``channel.deactivate`` ends the named channels, or all; a repeat is answered the same;
    nothing goes over them any more.
    """
    shop = await system.user()
    device = await system.device("websocket", "scripted:a1")
    first = await deactivate(device, "scripted", sequence=3)
    assert await deactivate(device, "scripted", sequence=3) == first
    assert selected(first) == [("websocket", "active")]
    assert [c.reason for c in first.not_selected] == [CloseReason.DEACTIVATED]
    assert selected(await deactivate(device, sequence=4)) == []
    await shop.send("n1", device.token)
    await system.events.wait_for("notification.stored", notification="n1")
    assert system.provider.taken == []


async def test_what_the_client_ended_is_no_news_to_it(system: System) -> None:
    """A welcome names channels that the server closed, not those that the client did."""
    node, device = await system.node(), await system.device("websocket", "scripted:a1")
    await device.activate("scripted:a1")
    await deactivate(device, "scripted", sequence=device.sequence + 1)
    assert (await node.connect(device)).closed == ()


async def test_a_repeat_does_not_reopen_what_the_server_closed(system: System) -> None:
    """A channel whose address is bad stays closed until a newer command offers it."""
    shop = await system.user()
    device = await system.device("scripted:a1")
    system.provider.script(Say.rejected(closes_channel=True))
    await shop.send("n1", device.token)
    await system.events.wait_for("channel.closed", channel="scripted")
    again = await device.activate("scripted:a1", sequence=device.sequence)
    assert selected(again) == []
    assert [(c.reason, c.detail) for c in again.not_selected] == [
        (CloseReason.ADDRESS_REFUSED, "no such address")
    ]
    assert selected(await device.activate("scripted:a1")) == [("scripted", "active")]


async def test_connecting_again_needs_no_activation(system: System) -> None:
    """Being connected is a second, separate epoch; presence follows the newest."""
    shop, node = await system.user(), await system.node()
    device = await system.device("websocket")
    first = await node.connect(device, "s1")
    second = await node.connect(device, "s2")
    assert second.epoch == first.epoch + 1
    assert (await node.next_close()).session == "s1"
    await node.disconnect(device, first.epoch)  # late word of the old session
    await shop.send("n1", device.token)
    item = await node.next_delivery()
    assert (item.session, item.epoch) == ("s2", second.epoch)
    await node.disconnect(device, second.epoch)
    await shop.send("n2", device.token)
    await system.events.wait_for("notification.stored", notification="n2")


async def test_a_repeated_hello_changes_nothing(system: System) -> None:
    """The same session announced twice (a redelivery) keeps its epoch."""
    node = await system.node()
    device = await system.device("websocket")
    assert await node.connect(device) == await node.connect(device)
    assert node.items.empty()


async def test_a_gateway_with_a_new_name_announces_its_sessions(system: System) -> None:
    """Under a new node name each open session is announced under a new epoch; one that was replaced
    since is refused.
    """
    shop, old, new = await system.user(), await system.node("gw-1"), await system.node("gw-2")
    device = await system.device("websocket")
    epoch = (await old.connect(device)).epoch
    body: dict[str, Any] = {
        "client": device.client,
        "node": "gw-2",
        "session": "s1",
        "epoch": epoch,
    }
    answer = await new.user.ask("client.connected", **body)
    assert getattr(answer, "epoch", None) == epoch + 1
    await shop.send("n1", device.token)
    assert (await new.next_delivery()).epoch == epoch + 1
    await old.connect(device, "s2")
    refused = await new.user.refused("client.connected", **body)
    assert refused.code == "conflict"


async def test_only_gateways_speak_of_connections(system: System) -> None:
    """``client.connected`` and ``client.disconnected`` are gateways' own requests. The refusal says
    what to set where it is a gateway after all, and nothing is left to replay.
    """
    device = await system.client()
    hello = await device.refused("client.connected", node="gw-1", session="s1")
    assert hello.code == "gateway_unknown"
    assert "'devices'" in hello.message
    assert "AOI_GATEWAY_USERS" in hello.message
    bye = await device.user.refused("client.disconnected", client=device.client, epoch=1)
    assert bye.code == "gateway_unknown"
    assert await system.parked() == []


async def test_a_wrong_secret_opens_no_session(system: System) -> None:
    """A session begins with the client's secret, and a retired client has none."""
    node = await system.node()
    device, other = await system.client(), await system.client()
    hello = {"node": "gw-1", "session": "s1", "client": device.client}
    wrong = await node.user.refused("client.connected", secret=other.secret, **hello)
    assert wrong.code == "unauthenticated"
    await device.ask("client.deregister")
    gone = await node.user.refused("client.connected", secret=device.secret, **hello)
    assert gone.code == "client_retired"
