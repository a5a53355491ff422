"""Notifications by SMS: content, receipts, wake-ups, and what settles them (8.1.4, 8.2.4)."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events import Content, Publisher
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.client.core.events import DuplicateDropped, NotificationAcknowledged, WakeUpReceived
from aoi_events.contracts.answers import NotificationContentV1
from aoi_events.contracts.requests import ChannelOffer
from aoi_events.oma_push.payload import ContentPush, WakeUpPush, largest_content
from aoi_events.testing import AoiServer, FakeDevice, LoopbackSmsc, Reply, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset

WINDOW = 601.0
"""Seconds after which the acknowledgement of an SMS counts as missing here."""
LARGEST = largest_content(4, 16)


async def by_sms_only(server: AoiServer) -> FakeDevice:
    """A connected device that wants its notifications by SMS, and answers over its connection."""
    phone = await server.device("phone", apps=["org.mail"])
    await phone.offer(ChannelOffer(type="sms", parameters={"msisdn": phone.number or ""}))
    await server.wait_for(lambda: phone.client.channels == {"sms"})
    return phone


async def look_often(server: AoiServer) -> None:
    """Give whoever would do something wrong now the occasion to do it."""
    for _ in range(50):
        server.advance(0.01)
        await asyncio.sleep(0)


@BOTH
async def test_a_receipt_settles_content(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Content that went out whole is delivered as soon as the SMSC says that the telephone has it;
    the evidence is the provider's.
    """
    phone = await handset()
    accepted = await shop.send(phone.token, "Gate B12", notification="n1")
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.delivery == accepted.deliveries[0].delivery
    assert payload.content.data == "Gate B12"
    event = await wait_for("notification.delivered", notification="n1")
    assert (event.data.by, event.data.channel) == ("provider", "sms")  # type: ignore[union-attr]
    assert len(smsc.submissions) == 2


async def test_acceptance_settles_when_nobody_says_more(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """Without a receipt the SMSC's acceptance settles content, but not before the window ended."""
    phone = await handset()
    smsc.default = Reply(receipts=())
    await shop.send(phone.token, "Gate B12", notification="n1")
    await phone.read()
    await wait_for.hop("n1", "accepted")
    await look_often(server)
    [row] = await server.status("n1")
    assert row.state == "sending"
    server.advance(WINDOW)
    event = await wait_for("notification.delivered", notification="n1")
    assert event.data.by == "provider"  # type: ignore[union-attr]
    [row] = await server.status("n1")
    assert [hop.what for hop in row.story] == ["sent", "accepted", "not acknowledged", "delivered"]


async def test_the_acknowledgement_of_the_device_outranks_the_receipt(
    server: AoiServer, shop: Publisher, wait_for: WaitFor
) -> None:
    """Whichever comes first, in the end the evidence is the device's."""
    phone = await by_sms_only(server)
    await shop.send(phone.token, "Gate B12", notification="n1")
    notification = await phone.read()
    assert (notification.channel, notification.content.data) == ("sms", "Gate B12")
    await wait_for("notification.delivered", notification="n1", by="device")
    [row] = await server.status("n1")
    assert (row.state, row.by) == ("delivered", "device")


async def test_undeliverable_content_is_kept_for_the_device(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, wait_for: WaitFor
) -> None:
    """A receipt that says *never* ends the step; nothing else is left, so it is stored, and goes
    over the connection when that is back. The number stays active: the network said nothing of it.
    """
    phone = await server.device("phone", apps=["org.mail"])
    smsc.default = Reply(receipts=(MessageState.UNDELIVERABLE,), lost=True)
    phone.cut()
    await shop.send(phone.token, "Gate B12", notification="n1")
    server.advance(3)  # the WebSocket's window
    stored = await wait_for("notification.stored", notification="n1")
    assert stored.data.reason == "refused"  # type: ignore[union-attr]
    await phone.restore()
    assert (await phone.read()).channel == "websocket"
    await wait_for("notification.delivered", notification="n1", by="device")
    assert phone.client.channels == {"websocket", "sms"}


async def test_what_the_smsc_gave_up_is_submitted_again(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """A telephone that was off too long for the SMSC is tried again within the time to live."""
    phone = await handset()
    smsc.script(Reply(receipts=(MessageState.EXPIRED,), lost=True))
    await shop.send(phone.token, "Gate B12", notification="n1")
    await phone.read()
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert len(smsc.submissions) == 3  # the challenge, and two attempts


@BOTH
async def test_a_wake_up_is_fetched_and_acknowledged_by_the_device(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, wait_for: WaitFor
) -> None:
    """Too large for SMS: the message names the delivery, the device fetches the content and says
    that it has it. The receipt of the wake-up counts for nothing.
    """
    phone = await by_sms_only(server)
    await shop.send(phone.token, "x" * 4_000, notification="n1")
    await wait_for(WakeUpReceived, device="phone", channel="sms")
    notification = await phone.read()
    assert notification.content.data == "x" * 4_000
    event = await wait_for("notification.delivered", notification="n1")
    assert (event.data.by, event.data.channel) == ("device", "sms")  # type: ignore[union-attr]
    [row] = await server.status("n1")
    assert "sent as wake-up" in [hop.what for hop in row.story]


async def test_a_wake_up_is_never_settled_by_the_provider(
    server: AoiServer, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Taken by the SMSC, received by the telephone, its window over: it is stored until the device
    fetches and acknowledges; fetching alone is no acknowledgement either.
    """
    phone = await handset()
    await shop.send(phone.token, "x" * 500, notification="n1")
    payload = await phone.read()
    assert isinstance(payload, WakeUpPush)
    await wait_for.hop("n1", "receipted")
    server.advance(WINDOW)
    await wait_for("notification.stored", notification="n1", reason="not_acknowledged")
    fetched = await phone.fetch(payload.delivery)
    assert isinstance(fetched, NotificationContentV1)
    assert fetched.content.data == "x" * 500
    await look_often(server)
    [row] = await server.status("n1")
    assert row.state == "stored"


@pytest.mark.parametrize(
    "octets, media, whole",
    [
        (LARGEST, "text/plain", True),
        (LARGEST + 1, "text/plain", False),
        (LARGEST - 12, "text/vcard", True),
        (LARGEST - 10, "text/vcard", False),
        (LARGEST, "text/vcard", False),
        (390, "text/" + "x" * 95, False),
    ],
)
async def test_what_takes_too_much_room_becomes_a_wake_up(
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    octets: int,
    media: str,
    whole: bool,
) -> None:
    """An unusual media type costs octets of the one short message: what does not fit with it is a
    wake-up from the first, and is never refused by the channel.
    """
    phone = await handset()
    content = Content(data="x" * octets, type=media)
    await shop.send(phone.token, content, notification="n1")
    payload = await phone.read()
    if whole:
        assert isinstance(payload, ContentPush)
        assert payload.content == content
        await wait_for("notification.delivered", notification="n1")
    else:
        assert isinstance(payload, WakeUpPush)
        assert (await phone.fetch(payload.delivery)).content == content
    [row] = (await shop.status("n1")).deliveries
    assert not {"refused", "rejected"} & {hop.what for hop in row.story}


async def test_expired_content_does_not_go_out(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """Expiry is absolute: what waited for the SMSC until its time was over is never submitted."""
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    await shop.send(phone.token, "old", notification="n1", ttl=30)
    server.advance(31)
    await wait_for("notification.expired", notification="n1")
    await smsc.come_back()
    await shop.send(phone.token, "new", notification="n2")
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.content.data == "new"
    assert phone.unread == 0


async def test_what_was_cancelled_does_not_go_out(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset
) -> None:
    """Before it submits the worker looks whether the delivery is still wanted."""
    phone = await handset()
    await smsc.go_down()
    await smsc.bound(0)
    await shop.send(phone.token, "cancelled", notification="n1")
    await shop.cancel("n1")
    await shop.send(phone.token, "wanted", notification="n2")
    await smsc.come_back()
    payload = await phone.read()
    assert isinstance(payload, ContentPush)
    assert payload.content.data == "wanted"
    assert phone.unread == 0


async def test_a_duplicate_by_sms_reaches_the_app_once(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, wait_for: WaitFor
) -> None:
    """An answer of the SMSC that got lost makes a second message with the same delivery ID: the
    device drops it and repeats its acknowledgement.
    """
    phone = await by_sms_only(server)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await phone.read()
    smsc.mailbox(phone.number or "").put_nowait(smsc.submissions[-1])
    await wait_for(DuplicateDropped, device="phone", channel="sms")
    acks = [
        entry.event
        for entry in server.diary.entries
        if isinstance(entry.event, NotificationAcknowledged)
    ]
    assert {ack.code for ack in acks} == {"delivered"}
    assert phone.app.unread == 0
