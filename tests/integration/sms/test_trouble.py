"""An SMSC that slows us down, refuses, goes away or says nothing: nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aoi_events import Publisher
from aoi_events.client.core.events import ChannelClosed
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.contracts.states import CloseReason
from aoi_events.oma_push.payload import ContentPush
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.integration.sms.handset import state_of
from tests.integration.sms.traffic import (
    all_delivered,
    all_delivered_in_time,
    contents,
    message,
    send,
)
from tests.support.limits import WITHIN

WINDOW = 601.0
"""Seconds after which the acknowledgement of an SMS counts as missing here."""


@BOTH
async def test_throttling_slows_down_and_loses_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """RTHROTTLED and RMSGQFUL: a pause, another attempt, and in the end every telephone has
    everything once.
    """
    phone = await handset()
    smsc.script(Reply.throttle(), Reply.queue_full(), Reply(), Reply.throttle(), Reply.throttle())
    names = await send(shop, phone, 12)
    await all_delivered(server, names)
    read = Counter([await message(phone) for _ in names])
    assert read == Counter(names)
    assert sum(contents(smsc).values()) == len(names) + 4


@BOTH
async def test_a_bad_number_closes_the_channel_and_its_proof(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, wait_for: WaitFor
) -> None:
    """The SMSC knows no such number: the channel closes, the notification is kept, the proof is
    gone, and the client is told at its next welcome.
    """
    phone = await server.device("phone", apps=["org.mail"])
    smsc.script(Reply.bad_number())
    phone.cut()
    await shop.send(phone.token, "Gate B12", notification="n1")
    server.advance(3)  # the WebSocket's window
    closed = await wait_for("channel.closed", client=phone.client.client_id, channel="sms")
    assert "RINVDSTADR" in (closed.data.detail or "")  # type: ignore[union-attr]
    await wait_for("notification.stored", notification="n1")
    submitted = len(smsc.submissions)

    await phone.restore()
    told = await wait_for(ChannelClosed, device="phone", type="sms")
    assert told.reason == CloseReason.ADDRESS_REFUSED
    assert "RINVDSTADR" in (told.detail or "")
    assert (await phone.read()).channel == "websocket"
    await wait_for("notification.delivered", notification="n1", by="device")
    # Offered anew (without and with it, so that the server is asked), it must be proved anew.
    await phone.offer(ChannelOffer(type="websocket"))
    await phone.offer(
        ChannelOffer(type="websocket"),
        ChannelOffer(type="sms", parameters={"msisdn": phone.number or ""}),
    )
    await phone.ready("websocket", "sms")
    assert len(smsc.submissions) == submitted + 1


@pytest.mark.parametrize("status", [0x0A, 0x15, 0x43, 0x48, 0x49, 0x50, 0x53, 0x61, 0x62])
async def test_a_status_that_blames_our_settings_costs_no_device_its_channel(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, status: int
) -> None:
    """The challenge and the notification wait, without an attempt that counts, until the operator
    has mended the settings.
    """
    phone = await handset(proved=False)
    smsc.script(Reply(status=status), Reply(), Reply(status=status))
    await phone.offer()
    await smsc.submitted(1)
    async with asyncio.timeout(WITHIN):
        while len(smsc.submissions) < 2:
            server.advance(61)
            await asyncio.sleep(0.1)
    assert state_of(await phone.confirm(await phone.code())) == "active"
    await shop.send(phone.token, "Gate B12", notification="n1")
    hop = await server.wait_for.hop("n1", "unavailable")
    assert f"0x{status:02X}" in (hop.detail or "")
    await all_delivered_in_time(server, ["n1"])
    assert contents(smsc) == Counter({"Gate B12": 2})
    assert not any(event.kind == "channel.closed" for event in server.events)


async def test_a_number_that_is_bad_for_its_challenge_is_given_up(
    server: AoiServer, smsc: LoopbackSmsc, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """The SMSC's refusal of the challenge ends the offer at once; no second one goes out."""
    smsc.default = Reply.bad_number()
    phone = await handset(proved=False)
    assert state_of(await phone.offer()) == "pending"
    await smsc.submitted(1)
    await wait_for("channel.closed", client=phone.client, channel="sms")
    server.advance(1_000)
    assert len(smsc.submissions) == 1
    assert phone.unread == 0


@BOTH
async def test_an_smsc_that_is_down_for_a_while_loses_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """What is sent while the SMSC is away waits, and goes out when it is back."""
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    names = await send(shop, phone, 5)
    assert phone.unread == 0
    await smsc.come_back()
    await all_delivered(server, names)
    assert contents(smsc) == Counter(names)


async def test_an_outage_longer_than_the_window_is_only_late(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """While the SMSC is away nothing is attempted, however often somebody looks; when it is back
    everything goes out by itself, and the telephone gets each notification once.
    """
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    names = await send(shop, phone, 3)
    for name in names:
        await wait_for.hop(name, "unavailable")
    for _ in range(3):
        server.advance(WINDOW)
    await smsc.come_back()
    await smsc.bound(1)
    await all_delivered_in_time(server, names)
    assert contents(smsc) == Counter(names)


async def test_a_line_that_is_cut_under_way_is_tried_again(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Submissions whose answers went with the line are repeated, and everything arrives."""
    phone = await handset()
    smsc.script(Reply.silence(), Reply.silence())
    names = await send(shop, phone, 2)
    await smsc.submitted(3)
    smsc.cut()
    await all_delivered(server, names)
    assert set(contents(smsc)) == set(names)


async def test_an_unanswered_submission_is_tried_again(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Nobody knows whether it went out: another attempt with the same delivery ID."""
    phone = await handset()
    smsc.script(Reply.silence())
    accepted = await shop.send(phone.token, "Gate B12", notification="n1")
    hop = await wait_for.hop("n1", "refused")
    assert (hop.detail or "").startswith("unanswered")
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.delivery == accepted.deliveries[0].delivery
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert contents(smsc)["Gate B12"] == 2


async def test_a_line_that_is_frozen_is_given_up(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Cut without a word: the link is found dead by the first message that nobody answers."""
    phone = await handset()
    smsc.freeze()
    await shop.send(phone.token, "Gate B12", notification="n1")
    await server.wait_for.hop("n1", "refused")
    smsc.thaw()
    await all_delivered(server, ["n1"])
