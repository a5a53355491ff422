"""Pushes of several short messages: all of them, in order, or none; and their receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from aoi_events import Publisher
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.oma_push.payload import ContentPush, WakeUpPush, largest_content
from aoi_events.testing import AoiServer, FakeDevice, LoopbackSmsc, Reply, WaitFor
from aoi_events.testing.smsc import ShortMessageReceived
from tests.integration.sms.conftest import BOTH, MakeHandset
from tests.support.limits import WITHIN
from tests.support.pushes import payload_of, payloads_of

LONG = "The gate has changed. " * 20
PARTS = 4
NO_RECEIPT = Reply(receipts=())


@pytest.fixture
def aoi_settings() -> Mapping[str, Any]:
    """Nothing here is about time-outs: a busy machine must not bring them on."""
    sms = {"throttle_pause": 0.05, "response_time": 20.0, "turn_time": 20.0}
    return {"channels": {"sms": sms}, "policy": {"retry_first": 0.1, "poll": 0.05}}


async def arrived(
    smsc: LoopbackSmsc, number: str, count: int = PARTS
) -> list[ShortMessageReceived]:
    """The next short messages to a number."""
    return [await smsc.receive(number) for _ in range(count)]


def receipt(message: ShortMessageReceived, state: str = "DELIVRD") -> bytes:
    """What the SMSC says later of a message."""
    return f"id:{message.message_id} sub:001 dlvrd:001 stat:{state} err:000 Text:".encode()


@BOTH
async def test_a_large_push_arrives_whole_and_counts_once_each_part_is_receipted(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Four messages in order to one number; delivered only with the receipt of the last of them,
    in whichever order the receipts come, and repeats of one do not stand for another.
    """
    phone = await handset()
    smsc.default = NO_RECEIPT
    await shop.send(phone.token, LONG, notification="n1")
    messages = await arrived(smsc, phone.number)
    payload = payload_of(*(message.user_data for message in messages))
    assert isinstance(payload, ContentPush)
    assert payload.content.data == LONG
    for message in (messages[3], messages[0], messages[0], messages[2]):
        await smsc.say(receipt(message), esm_class=0x04)
    await shop.send(phone.token, "short", notification="n2")
    [marker] = await arrived(smsc, phone.number, 1)
    await smsc.say(receipt(marker), esm_class=0x04)
    await wait_for("notification.delivered", notification="n2", by="provider")
    [row] = await server.status("n1")
    assert row.state == "sending"
    await smsc.say(receipt(messages[1]), esm_class=0x04)
    await wait_for("notification.delivered", notification="n1", by="provider")


async def test_an_aoi_client_reads_a_large_push(aoi: AoiServer) -> None:
    """The device puts the parts together and acknowledges the notification as delivered by SMS."""
    phone = await aoi.device("phone", apps=["org.mail"])
    shop = await aoi.publisher()
    phone.cut()
    await shop.send(phone.token, LONG, notification="n1")
    read = await phone.read()
    assert (read.channel, read.content.data) == ("sms", LONG)
    await phone.restore()
    await aoi.wait_for("notification.delivered", notification="n1", by="device")


@pytest.mark.parametrize("refused", [1, 2, 4])
async def test_one_refused_part_refuses_the_attempt(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    refused: int,
) -> None:
    """What follows the refused part is not sent; the whole push is sent again, with the same
    delivery and another reference, and both attempts read as what they are.
    """
    phone = await handset()
    before = len(smsc.submissions)
    smsc.script(*[Reply()] * (refused - 1), Reply(status=0x45))
    await shop.send(phone.token, LONG, notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert len(smsc.submissions) == before + refused + PARTS
    taken = await arrived(smsc, phone.number, refused - 1 + PARTS)
    payload = payload_of(*(message.user_data for message in taken))
    assert isinstance(payload, ContentPush)
    [row] = await server.status("n1")
    assert payload.delivery == row.delivery
    [hop] = [hop for hop in row.story if hop.what == "refused"]
    assert f"part {refused} of {PARTS}" in (hop.detail or "")


async def test_a_throttled_part_waits_and_the_others_do_not_go_out_again(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """RTHROTTLED and RMSGQFUL amid a push: the part alone is submitted again."""
    phone = await handset()
    before = len(smsc.submissions)
    smsc.script(Reply(), Reply.throttle(), Reply.queue_full(), Reply(), Reply.throttle())
    await shop.send(phone.token, LONG, notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")
    assert len(smsc.submissions) == before + PARTS + 3
    payload_of(*(message.user_data for message in await arrived(smsc, phone.number)))


async def test_one_undeliverable_part_rejects_the_push(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Three parts on the telephone are no notification: the step is over, and it is told why."""
    phone = await handset()
    smsc.script(Reply(), Reply(), Reply(receipts=(MessageState.UNDELIVERABLE,)), Reply())
    await shop.send(phone.token, LONG, notification="n1")
    await wait_for.hop("n1", "rejected")


async def test_receipts_of_all_parts_that_overtake_the_responses_count(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Nobody knows the messages yet when their receipts come; each waits for its name."""
    phone = await handset()
    smsc.default = Reply(receipt_first=True)
    await shop.send(phone.token, LONG, notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")


async def test_receipts_that_never_come_settle_when_nobody_objects(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Three receipts of four, and then silence: that the SMSC took it all is the evidence."""
    phone = await handset()
    smsc.script(Reply(), Reply(), NO_RECEIPT, Reply())
    await shop.send(phone.token, LONG, notification="n1")
    await arrived(smsc, phone.number)
    await wait_for.hop("n1", "accepted")
    server.advance(6)
    await wait_for("notification.delivered", notification="n1", by="provider")


@pytest.mark.parametrize("over", [0, 1])
async def test_what_takes_more_than_the_parts_is_a_wake_up(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, over: int
) -> None:
    """The limit is exact, and a wake-up is one message."""
    phone = await handset()
    await shop.send(phone.token, "x" * (largest_content(PARTS, 16) + over), notification="n1")
    messages = await arrived(smsc, phone.number, 1 if over else PARTS)
    payload = payload_of(*(message.user_data for message in messages))
    assert isinstance(payload, WakeUpPush if over else ContentPush)
    assert phone.unread == 0


async def test_large_and_small_pushes_through_one_narrow_window(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """Many at once to one telephone: each arrives once, and whole."""
    phone = await handset()
    texts = {f"n{number}": f"{number} " + LONG * (number % 2) for number in range(12)}
    for name, text in texts.items():
        await shop.send(phone.token, text, notification=name)
    for name in texts:
        await wait_for("notification.delivered", notification=name, within=WITHIN)
    seen = sorted(
        payload.content.data
        for payload in payloads_of((each.number, each.user_data) for each in smsc.submissions)
        if isinstance(payload, ContentPush)
    )
    assert seen == sorted(texts.values())


async def test_a_device_that_is_cut_reads_large_and_small(aoi: AoiServer) -> None:
    """The AOI Client hears several large pushes, mixed with small ones, each once."""
    phone: FakeDevice = await aoi.device("phone", apps=["org.mail"])
    shop = await aoi.publisher()
    phone.cut()
    texts = [f"{number} " + LONG * (number % 2) for number in range(6)]
    for number, text in enumerate(texts):
        await shop.send(phone.token, text, notification=f"n{number}")
    read = [(await phone.read()).content.data for _ in texts]
    assert sorted(read) == sorted(texts)
