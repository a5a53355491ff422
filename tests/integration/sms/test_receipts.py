"""Receipts as SMSCs send them: too early, twice, never, about nothing, and contradicting."""

from __future__ import annotations

import pytest

from aoi_events import Publisher
from aoi_events.channels.sms.message_states import MessageState
from aoi_events.testing import AoiServer, LoopbackSmsc, Reply, WaitFor
from tests.integration.sms.conftest import BOTH, MakeHandset

DELIVERED, UNDELIVERABLE = MessageState.DELIVERED, MessageState.UNDELIVERABLE


@BOTH
async def test_a_receipt_that_overtakes_the_response_waits_for_it(
    smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """The receipt names a message that nobody has heard of yet; as soon as the response is noted,
    it counts.
    """
    phone = await handset()
    smsc.default = Reply(receipt_first=True)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")


@pytest.mark.parametrize("form", ["parameters", "text"])
async def test_receipts_that_come_twice_count_once(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    form: str,
) -> None:
    """Repeats change nothing and tell nothing new, in whichever form the SMSC writes them."""
    phone = await handset()
    smsc.default = Reply(receipts=(DELIVERED,) * 3, form=form)  # type: ignore[arg-type]
    for name in ("n1", "n2"):
        await shop.send(phone.token, "Gate B12", notification=name)
    for name in ("n1", "n2"):
        await wait_for("notification.delivered", notification=name)
    await shop.send(phone.token, "Gate B13", notification="n3")
    await wait_for("notification.delivered", notification="n3")
    delivered = [event for event in server.events if event.kind == "notification.delivered"]
    assert len({event.id for event in delivered}) == 3
    for name in ("n1", "n2"):
        [row] = await server.status(name)
        assert [hop.what for hop in row.story].count("delivered") == 1


@pytest.mark.parametrize("states", [(DELIVERED, UNDELIVERABLE), (UNDELIVERABLE, DELIVERED)])
async def test_of_contradicting_receipts_delivered_stands(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
    states: tuple[MessageState, ...],
) -> None:
    """Whichever the SMSC says first, and even when both come before its response: what once was
    with the telephone stays delivered.
    """
    phone = await handset()
    smsc.script(Reply(receipts=states), Reply(receipts=states, receipt_first=True))
    for name in ("n1", "n2"):
        await shop.send(phone.token, "Gate B12", notification=name)
    for name in ("n1", "n2"):
        await wait_for("notification.delivered", notification=name)
    await shop.send(phone.token, "Gate B13", notification="n3")
    await wait_for("notification.delivered", notification="n3")
    for name in ("n1", "n2"):
        [row] = await server.status(name)
        assert row.state == "delivered"


async def test_receipts_about_nothing_we_know_do_no_harm(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """Of another system's messages, of forgotten ones, or of none at all; they end with the minute
    for which they are kept, and the next receipt counts as always.
    """
    phone = await handset()
    for text in (
        b"id:ffffffff sub:001 dlvrd:001 stat:DELIVRD err:000 Text:",
        b"id: stat:DELIVRD",
        b"id:1 stat:NOSUCH",
        b"\0\xff" * 60,
        b"",
    ):
        await smsc.say(text, esm_class=0x04)
    await smsc.say(b"hello from a telephone")
    server.advance(61)
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for("notification.delivered", notification="n1", by="provider")


async def test_the_receipt_of_a_challenge_settles_nothing(
    server: AoiServer, smsc: LoopbackSmsc, shop: Publisher, handset: MakeHandset, wait_for: WaitFor
) -> None:
    """That the telephone has the challenge is no proof: only the code is."""
    phone = await handset(proved=False)
    await phone.offer()
    await phone.code()  # its receipt is on the way, or here
    await shop.send(phone.token, "Gate B12", notification="n1")
    await wait_for("notification.stored", notification="n1")
    assert not any(event.kind == "channel.activated" for event in server.events)


async def test_a_late_receipt_of_an_earlier_attempt_counts(
    server: AoiServer,
    smsc: LoopbackSmsc,
    shop: Publisher,
    handset: MakeHandset,
    wait_for: WaitFor,
) -> None:
    """The step was tried again meanwhile: the telephone has it all the same."""
    phone = await handset()
    smsc.script(Reply(receipts=(MessageState.EXPIRED,)), Reply(receipts=(), lost=True))
    await shop.send(phone.token, "Gate B12", notification="n1")
    first = await smsc.receive(phone.number)
    await smsc.submitted(3)
    text = f"id:{first.message_id} sub:001 dlvrd:001 stat:DELIVRD err:000 Text:"
    await smsc.say(text.encode(), esm_class=0x04)
    await wait_for("notification.delivered", notification="n1", by="provider")
